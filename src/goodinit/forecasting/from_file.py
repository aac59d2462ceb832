"""Measuring a model whose weights are in a file, and read where they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike

from torch import Tensor, nn

from goodinit._common.text import several
from goodinit.anatomy.names import Slot
from goodinit.applying.planned_values import PlannedValues
from goodinit.errors import CheckpointError
from goodinit.forecasting.call_arguments import device_of_inputs
from goodinit.forecasting.streamed import StreamedWeights
from goodinit.plans.checkpoint import Checkpoint, find_values, open_checkpoint
from goodinit.schemes.fields import one_line
from goodinit.signal.checks import Loss, check_runnable, unwrapped
from goodinit.signal.measure import measured_with
from goodinit.signal.rows import Signal
from goodinit.streams import Stream
from goodinit.trace.run import Inputs


def measured_from_file(
    model: nn.Module,
    inputs: Inputs,
    weights: str | PathLike[str] | Mapping[str, object],
    loss: Loss | None = None,
    *,
    backward: bool = True,
    rank: bool = False,
) -> Signal:
    """Measure a model with the weights of a checkpoint, each read at the call that takes it.

    The arguments are those of ``gi.measure``.

    Raises:
        CheckpointError: a value that can't be read, or has another shape; a parameter on meta
            that the checkpoint doesn't have.
    """
    model = unwrapped(model)
    found = check_runnable(model, inputs, loss, weights=False)
    checkpoint = open_checkpoint(weights, loads=True)
    if checkpoint is None:
        raise CheckpointError(f"weights is a state dict or a path, got {one_line(weights)}")
    copied = find_values(found, checkpoint, "", grown_only=False)
    _check(found, copied, checkpoint)
    device = device_of_inputs(inputs)
    values = PlannedValues(found, {}, Stream(0), device, copied)
    streamed = StreamedWeights(found, values, device)
    return measured_with(streamed, model, inputs, loss, backward=backward, rank=rank)


def _check(
    found: Sequence[Slot], copied: Mapping[str, Sequence[Tensor | None]], checkpoint: Checkpoint
) -> None:
    """Raise where the checkpoint has another shape, or nothing for a parameter without values."""
    missing: list[str] = []
    for slot in found:
        values = copied.get(slot.name, [None] * len(slot.tensors))
        for tensor, value in zip(slot.tensors, values, strict=True):
            if value is None and tensor.is_meta:
                missing.append(slot.name)
            elif value is not None and value.shape != tensor.shape:
                raise CheckpointError(
                    f"{slot.name} has shape {tuple(tensor.shape)}, but {tuple(value.shape)} in "
                    f"{checkpoint.text}: build the model of the checkpoint"
                )
    if missing:
        first = next(iter(checkpoint.values), "nothing")
        raise CheckpointError(
            f"{several(missing)}: on meta, and not in {checkpoint.text}, whose first name is "
            f"{first!r}: rename its values, or build the model with memory, which then keeps "
            f"what it has"
        )
