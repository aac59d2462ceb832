"""Parameters multiplied by factors: all of them, or none if one fails."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from goodinit.anatomy.names import Slot
from goodinit.applying.write import assign_
from goodinit.errors import GoodinitError, WriteError
from goodinit.findings.scales import write_was_changed


@torch.no_grad()
def rescale_(factors: Mapping[str, float], found: Mapping[str, Slot]) -> None:
    """Multiply parameters by factors, by name; through their parametrizations where they have any.

    All have been checked. Only scales change: each number is multiplied once.

    Raises:
        WriteError: a write failed, or a parametrization changed it; everything is as it was.
    """
    before: list[tuple[Tensor, Tensor]] = []
    try:
        for name, factor in factors.items():
            slot = found[name]
            owned = (*slot.tensors, *slot.owner.buffers()) if slot.how != "plain" else slot.tensors
            before += [(tensor, tensor.detach().clone()) for tensor in owned]
            _rescale(slot, factor)
    except BaseException as error:
        for tensor, values in reversed(before):
            tensor.copy_(values)
        if isinstance(error, (RuntimeError, GoodinitError, ArithmeticError, ValueError)):
            raise WriteError(f"{name}: {error} (everything is as it was)") from error  # pyright: ignore[reportPossiblyUnboundVariable]
        raise


def _rescale(slot: Slot, factor: float) -> None:
    if slot.how == "plain":
        slot.tensor.mul_(factor)
        return
    wanted = slot.read() * factor
    assign_(slot, wanted.clone())
    actual = slot.read()
    error, largest = (actual - wanted).abs().max().item(), wanted.abs().max().item()
    if write_was_changed(error, largest, torch.finfo(wanted.dtype).eps):
        raise WriteError("its parametrization changes the scale of what is written through it")
