"""Parameters that overlap in memory without being one tensor: a draw of one changes the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from goodinit._common.torch_private import storage_key
from goodinit.anatomy.names import Slot

__all__ = ["overlapping"]


class _Span(NamedTuple):
    """The bytes from a tensor's first element to its last, in one space of addresses."""

    space: str
    start: int
    end: int
    slot: Slot
    tensor: Tensor


def overlapping(slots: Iterable[Slot]) -> Iterator[tuple[Slot, Slot]]:
    """Yield pairs of parameters that share elements; views that interleave don't.

    Example:
        >>> from goodinit.anatomy.names import slots
        >>> net, memory = torch.nn.Module(), torch.zeros(6)
        >>> net.a, net.b = torch.nn.Parameter(memory[:4]), torch.nn.Parameter(memory[3:])
        >>> [(first.name, second.name) for first, second in overlapping(slots(net))]
        [('a', 'b')]
    """
    spans = [_span(slot, t) for slot in slots if not slot.buffer for t in slot.tensors]
    before: list[_Span] = []  # those that may reach the next one
    for span in sorted((s for s in spans if s is not None), key=lambda s: s[:3]):
        before = [b for b in before if b.space == span.space and b.end > span.start]
        for other in before:
            if other.slot is not span.slot and _share(other, span):
                yield other.slot, span.slot
        before.append(span)


def _span(slot: Slot, tensor: Tensor) -> _Span | None:
    if tensor.layout is not torch.strided or not tensor.numel():
        return None
    size = tensor.element_size()
    length = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)) + 1
    try:
        address = 0 if tensor.is_meta else tensor.data_ptr()
    except (RuntimeError, NotImplementedError):  # a wrapper without memory of its own
        return None
    space = str(tensor.device)
    if not address:
        space, address = f"meta {storage_key(tensor)}", int(tensor.storage_offset()) * size
    return _Span(space, address, address + length * size, slot, tensor)


def _share(first: _Span, second: _Span) -> bool:
    """Whether two tensors whose spans overlap have an element in common."""
    a, b = first.tensor, second.tensor
    between = second.start - first.start
    if (
        a.dtype != b.dtype
        or between % a.element_size()
        or (a.is_contiguous() and b.is_contiguous())
    ):
        return True
    offset = between // a.element_size()
    last = max(first.end, second.end) - first.start
    taken = torch.zeros(last // a.element_size(), dtype=torch.bool, device="cpu")
    taken.as_strided(a.shape, a.stride()).fill_(True)
    return bool(taken.as_strided(b.shape, b.stride(), offset).any())
