"""Parameters that overlap in memory without being one tensor: a draw of one changes the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from goodinit._common.torch_private import storage_key
from goodinit.anatomy.names import Slot


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
    end = 0
    cluster: list[_Span] = []  # spans in a row, each beginning before one of them has ended
    for span in sorted((s for s in spans if s is not None), key=lambda s: s[:3]):
        if cluster and not (cluster[0].space == span.space and span.start < end):
            yield from _pairs(cluster)
            cluster = []
        end = max(end, span.end) if cluster else span.end
        cluster.append(span)
    yield from _pairs(cluster)


def _pairs(cluster: list[_Span]) -> Iterator[tuple[Slot, Slot]]:
    """Yield the pairs of one cluster: each tensor with the first one before it that it meets."""
    if len(cluster) < 2:
        return
    units = {s.tensor.element_size() for s in cluster}
    first = cluster[0].start
    unit = units.pop() if len(units) == 1 else 1  # bytes, where dtypes differ
    if any((s.start - first) % unit for s in cluster):
        unit = 1
    taken = torch.zeros(
        (max(s.end for s in cluster) - first) // unit, dtype=torch.bool, device="cpu"
    )
    for number, span in enumerate(cluster):
        own = _window(taken, span, first, unit)
        if own.any():
            other = next(s for s in cluster[:number] if _meet(s, span, first, unit, len(taken)))
            if other.slot is not span.slot:
                yield other.slot, span.slot
        own.fill_(True)


def _meet(a: _Span, b: _Span, first: int, unit: int, length: int) -> bool:
    taken = torch.zeros(length, dtype=torch.bool, device="cpu")
    _window(taken, a, first, unit).fill_(True)
    return bool(_window(taken, b, first, unit).any())


def _window(taken: Tensor, span: _Span, first: int, unit: int) -> Tensor:
    """Return the part of a map of units that a tensor's elements lie on."""
    tensor, size = span.tensor, span.tensor.element_size() // unit
    shape = (*tensor.shape, size)
    stride = (*(step * size for step in tensor.stride()), 1)
    return taken.as_strided(shape, stride, (span.start - first) // unit)


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
