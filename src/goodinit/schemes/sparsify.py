"""Zeros at random places of a matrix, equally many in each column."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor

from goodinit._common.memory import is_plain
from goodinit._common.threads import one_thread
from goodinit.schemes.fans import Layout
from goodinit.schemes.smallest_k import lowest
from goodinit.streams import Box
from goodinit.streams.native.smallest_k import zero_lowest

__all__ = ["thin_"]

STRIP = 1 << 23
"""Numbers that a thread holds at a time, unless one column's are more."""


class Chance(Protocol):
    """Fills ``out`` with U(0, 1) numbers, those of a box of the weight or of the whole."""

    def __call__(self, out: Tensor, *, box: Box | None = None) -> None: ...


@torch.no_grad()
def thin_(values: Tensor, layout: Layout, count: int, chance: Chance) -> None:
    """Write 0 where a number of ``chance`` is among the ``count`` lowest of its column.

    Strips of columns are worked on side by side, each by one thread.

    Args:
        values: float32, of the weight's shape, any strides.
        layout: which axes are outputs; a column runs over those of one group.
        count: zeros of each column.
        chance: fills a tensor with a box's numbers.
    """
    if not count or not values.numel():
        return
    boxes = list(_strips(tuple(values.shape), layout))
    threads = min(torch.get_num_threads(), len(boxes)) if values.is_cpu and is_plain(values) else 1

    @torch.no_grad()  # is a thread's, not the process's
    def work(first: int) -> None:
        numbers = torch.empty(0, device=values.device)  # kept: fresh memory is slow
        for box in itertools.islice(boxes, first, None, threads):
            part = values[tuple(slice(*ends) for ends in box)]
            if numbers.shape != part.shape:
                numbers = torch.empty(part.shape, device=values.device)
            if len(boxes) > 1:
                chance(numbers, box=box)
            else:
                chance(numbers)
            _thin(part, numbers, layout, count)

    if threads == 1:
        work(0)
        return
    with one_thread(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def _strips(shape: tuple[int, ...], layout: Layout) -> Iterator[Box]:
    """Cut the weight along an axis of inputs, but not between the groups of a convolution."""
    whole = tuple((0, size) for size in shape)
    if layout.transposed and layout.groups > 1:
        yield whole
        return
    axis = layout.inputs[-1]
    step = max(1, STRIP * shape[axis] // math.prod(shape))
    for start in range(0, shape[axis], step):
        yield (*whole[:axis], (start, min(start + step, shape[axis])), *whole[axis + 1 :])


def _thin(values: Tensor, chance: Tensor, layout: Layout, count: int) -> None:
    """Thin one strip."""
    view, numbers = layout.unfold(values), layout.unfold(chance)
    batch = len(layout.batch) + 1
    matrices = math.prod(view.shape[:batch])
    rows = math.prod(view.shape[batch : batch + len(layout.outputs)])
    numbers = numbers.reshape(matrices, rows, -1)
    try:
        flat = view.view(numbers.shape)
    except RuntimeError:  # strides that no such view has
        flat = None
    if flat is None or not all(
        zero_lowest(w, c, count) for w, c in zip(flat, numbers, strict=True)
    ):
        view.masked_fill_(lowest(numbers, count).view(view.shape), 0)
