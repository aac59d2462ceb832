"""Checks of a model, its inputs and its loss before and while it is measured."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from goodinit._common.module_tree import buffers_of, named_parameters_of, parameters_of
from goodinit._common.torch_private import transforms
from goodinit.anatomy.names import Slot, slots
from goodinit.anatomy.writable import check_float, check_module
from goodinit.errors import MetaModelError, SignalError
from goodinit.signal.batch_axis import batch_of
from goodinit.trace.calls import HookError, tensors_in
from goodinit.trace.run import Inputs, arguments, first_line

Loss = Callable[[Any], Tensor]


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside of torch.compile and data parallelism.

    >>> net = nn.Linear(2, 2)
    >>> unwrapped(nn.DataParallel(net)) is net
    True
    """
    inner: object = getattr(model, "_orig_mod", None)
    if inner is None and isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = cast("object", model.module)
    return unwrapped(inner) if isinstance(inner, nn.Module) else cast("nn.Module", model)


LOSS_TAKES = (
    " It is called with what the model returns, and nothing else. Write "
    "loss = lambda out: torch.nn.functional.cross_entropy(out, y)"
)


def check_runnable(
    model: nn.Module, inputs: Inputs, loss: Loss | None = None, *, weights: bool = True
) -> list[Slot]:
    """Return the model's parameters and buffers if there is something to run, and to run it on.

    With ``weights``, the parameters must have memory.

    Raises:
        LazyParameterError: a lazy module.
        MetaModelError: a parameter or an input has no memory.
        ModelError: it isn't a module.
        SignalError: the batch is empty, an input is nested, or something was made under
            ``torch.inference_mode``.
    """
    found = slots(check_module(model, "measuring"))
    check_float(model)
    if loss is not None and not callable(loss):
        raise SignalError(f"loss is a function, got {type(loss).__name__}.{LOSS_TAKES}")
    if transforms():
        raise SignalError(
            "measuring needs values, which are hidden inside of torch.func.vmap, torch.func.grad "
            "and tracers: call it outside of them"
        )
    _check_unsplit(model, found)
    for name, tensor in named_parameters_of(model):
        if tensor.is_meta and weights:
            raise MetaModelError(
                f"{name} is on the meta device, and measuring needs weights: "
                "gi.apply_(model, plan, materialize='cpu') first; gi.forecast needs none"
            )
    if torch.is_inference_mode_enabled():
        raise SignalError("nothing can be differentiated under torch.inference_mode: leave it")
    given = list(tensors_in(arguments(inputs)))
    if any(t.is_meta for t in given):
        raise MetaModelError(
            "an input is on the meta device: measuring needs values, such as torch.randn's"
        )
    if any(t.is_nested for t in given):
        raise SignalError(
            "an input is a nested tensor, and measuring needs samples of one size: pad it, as "
            "torch.nested.to_padded_tensor does"
        )
    if any(t.is_inference() for t in (*parameters_of(model), *buffers_of(model), *given)):
        raise SignalError(
            "a tensor of the model or the inputs was made under torch.inference_mode, where "
            "nothing can be differentiated: make it outside, or clone it"
        )
    if batch_of(inputs) == 0:
        raise SignalError("the batch is empty: measuring needs at least one sample")
    return found


def _check_unsplit(model: nn.Module, found: list[Slot]) -> None:
    """Raise SignalError where this process holds a part of a parameter."""
    for slot in found:
        if slot.flat is not None:
            raise SignalError(
                f"{slot.name} is split by {slot.flat.by}, and each process holds a part: measure "
                f"the model before it is split, on one process"
            )
    for name, tensor in named_parameters_of(model):
        if "DTensor" in (type(tensor).__name__, type(tensor.data).__name__):
            raise SignalError(
                f"{name} is a DTensor, of which each process holds a part: measure the model "
                f"before it is sharded, on one process"
            )


def check_scalar(total: object) -> Tensor:
    """Return the loss; raise SignalError unless it is one number."""
    if not isinstance(total, Tensor) or total.numel() != 1:
        returned = tuple(total.shape) if isinstance(total, Tensor) else type(total).__name__
        do = "take its mean" if isinstance(total, Tensor) else f"compute it.{LOSS_TAKES}"
        raise SignalError(f"loss must return a scalar, but returned {returned}: {do}")
    return total


def check_count(value: object, name: str, least: int, why: str) -> int:
    """Return a number of times; raise SignalError unless it is an int that is large enough."""
    try:
        number = operator.index(cast("int", value))
    except TypeError:
        raise SignalError(f"{name}={value!r} isn't a whole number: pass an int") from None
    if number < least:
        raise SignalError(f"{name}={number}: {why} needs at least {least}")
    return number


def check_graph(total: Tensor, output: object, otherwise: str) -> None:
    """Raise SignalError if no gradient starts from the loss; ``otherwise`` if from no output."""
    if total.requires_grad:
        return
    if any(t.requires_grad for t in tensors_in(output)):
        raise SignalError(
            "the loss doesn't depend on the model's output in a way that can be differentiated: "
            "leave out detach(), item(), argmax() and integers between the two"
        )
    raise SignalError(otherwise)


def backward_error(error: Exception, do: str = "") -> SignalError:
    """Return the error to raise when a model's backward pass raised one, with what to do."""
    if isinstance(error, HookError) and error.__cause__ is not None:
        raise error.__cause__  # a bug of ours, not the model's
    line = first_line(error)
    if "checkpoint" in f"{type(error).__name__} {error}".lower():
        do = "gradient checkpointing must be off"
    return SignalError(f"the backward pass raised: {line}" + (f"; {do}" if do else ""))
