"""Which elements of a whole parameter one tensor holds: boxes, runs of an axis, a flat range.

Nothing here knows of processes or torch.distributed: only of shapes and index arithmetic.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, product
from typing import Any, cast

from goodinit.errors import StreamError

__all__ = [
    "Box", "Part", "Runs", "Split", "box_shape", "chunk_bounds", "cut_runs", "intersect",
    "join_runs", "regions", "run_size", "slices", "whole_box", "within",
]  # fmt: skip

Box = tuple[tuple[int, int], ...]
Runs = tuple[tuple[int, int], ...]
"""(start, stop) of the runs of consecutive indices along one axis, in the tensor's own order."""

Where = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Which elements of a whole parameter a tensor holds.

    Args:
        shape: the whole parameter's shape.
        box: for each axis (start, stop), or a sequence of these where the tensor holds several
            runs of the axis one after another.

    Raises:
        StreamError: a run that is empty backwards, overlaps another, or lies outside of the shape.

    Example:
        Rows 4 to 7 of a (8, 6) matrix; the first quarter of each of two projections in one weight:

        >>> Part((8, 6), ((4, 8), (0, 6))).local_shape
        (4, 6)
        >>> Part((16, 6), ([(0, 2), (8, 10)], (0, 6))).local_shape
        (4, 6)
        >>> Part.split(0, rank=1, size=2).of((8, 6)) == Part((8, 6), ((4, 8), (0, 6)))
        True
    """

    shape: tuple[int, ...]
    box: tuple[Runs, ...]
    flat_range: tuple[int, int] | None = None
    """(start, stop) of the box in row-major order, if the tensor is flat; see ``flat``."""

    def __post_init__(self) -> None:
        try:
            shape = tuple(map(operator.index, self.shape))
            box = tuple(map(_runs, self.box))
        except (TypeError, ValueError) as error:
            raise StreamError(
                f"Part({self.shape!r}, {self.box!r}): pass the whole shape, and for each axis "
                f"(start, stop) or a list of such pairs"
            ) from error
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "box", box)
        if len(box) != len(shape):
            raise StreamError(
                f"Part({shape}, {self.box}): {len(box)} axes in the box, {len(shape)} in the shape"
            )
        for axis, (runs, size) in enumerate(zip(box, shape, strict=True)):
            ends = sorted(runs)
            apart = all(stop <= start for (_, stop), (start, _) in pairwise(ends))
            if not apart or any(not 0 <= start <= stop <= size for start, stop in runs):
                raise StreamError(
                    f"Part({shape}, {self.box}): axis {axis} has {size} indices, and {list(runs)} "
                    f"overlap or lie outside: pass 0 <= start <= stop <= {size}"
                )

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Part:
        """Return the part that is everything.

        >>> Part.whole((2, 3)).is_whole
        True
        """
        return cls(tuple(shape), tuple(((0, size),) for size in shape))

    @staticmethod
    def split(axis: int, rank: int, size: int, pieces: int = 1) -> Split:
        """Return what process ``rank`` of ``size`` holds of a parameter split along an axis.

        The shape may be any, so that one split serves many parameters. An axis that isn't a
        multiple of ``size`` is cut as by ``torch.chunk``.

        Args:
            axis: the axis; -1 is the last.
            rank: from 0.
            size: the number of processes.
            pieces: equal projections that are stacked along the axis and split one by one, as gate
                and up are in the first weight of a SwiGLU (Megatron's ``partition_stride``).

        >>> Part.split(0, rank=1, size=4, pieces=2).of((16,)).box
        (((2, 4), (10, 12)),)
        """
        return Split(axis, rank, size, pieces)

    @classmethod
    def flat(cls, shape: Sequence[int], start: int, stop: int) -> Part:
        """Return the part that a one-dimensional tensor holds: a range in row-major order.

        >>> [box for box, _ in Part.flat((3, 4), 2, 9).pieces()]
        [((0, 1), (2, 4)), ((1, 2), (0, 4)), ((2, 3), (0, 1))]
        """
        total = math.prod(shape)
        if not 0 <= start <= stop <= total:
            raise StreamError(
                f"a flat part from {start} to {stop} lies outside of {total} elements"
            )
        return cls(tuple(shape), tuple(((0, size),) for size in shape), (start, stop))

    @property
    def local_shape(self) -> tuple[int, ...]:
        """Shape of the tensor that holds the part."""
        if self.flat_range is not None:
            return (self.flat_range[1] - self.flat_range[0],)
        return tuple(map(run_size, self.box))

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the parameter, in its own order."""
        return math.prod(self.local_shape) == math.prod(self.shape) and all(
            len(runs) <= 1 for runs in self.box
        )

    def within(self, outer: Part) -> Part:
        """Return this part of what another part holds as a part of the whole.

        Raises:
            StreamError: it is another shape's, or a flat range of several runs.

        Example:
            FSDP over experts 8 to 15 of 64, held as a plain tensor:

            >>> experts = Part((64, 6), ((8, 16), (0, 6)))
            >>> Part.split(0, rank=1, size=4).of((8, 6)).within(experts).box
            (((10, 12),), ((0, 6),))
            >>> [box for box, _ in Part.flat((8, 6), 3, 8).within(experts).pieces()]
            [((8, 9), (3, 6)), ((9, 10), (0, 2))]
        """
        if self.shape != outer.local_shape or outer.flat_range is not None:
            raise StreamError(f"a part of shape {self.shape} isn't one of {outer.local_shape}")
        if self.flat_range is None:
            both = zip(outer.box, self.box, strict=True)
            box = (join_runs(r for a, b in mine for r in cut_runs(of, a, b)) for of, mine in both)
            return Part(outer.shape, tuple(box))
        if any(len(runs) > 1 for runs in outer.box):
            raise StreamError("a flat range of a tensor that holds several runs of an axis")
        return Part(outer.shape, outer.box, self.flat_range)

    def pieces(self) -> Iterator[tuple[Box, Where]]:
        """Yield (a box of the whole, where it is in the tensor); empty boxes are left out.

        A flat tensor's elements there have to be viewed in the box's shape.
        """
        if self.flat_range is not None:
            at = 0
            first = [runs[0][0] if runs else 0 for runs in self.box]
            for inner in _flat_boxes(tuple(map(run_size, self.box)), *self.flat_range):
                size = math.prod(b - a for a, b in inner)
                box = tuple((a + f, b + f) for (a, b), f in zip(inner, first, strict=True))
                yield box, (slice(at, at + size),)
                at += size
            return
        for runs in product(*(_placed(axis) for axis in self.box)):
            yield tuple(run for run, _ in runs), tuple(where for _, where in runs)


@dataclass(frozen=True, slots=True)
class Split:
    """An even split of any parameter along an axis; ``Part.split`` makes one.

    Raises:
        StreamError: numbers that don't describe a split.
    """

    axis: int
    rank: int
    size: int
    pieces: int = 1

    def __post_init__(self) -> None:
        for name in ("axis", "rank", "size", "pieces"):
            try:
                object.__setattr__(self, name, operator.index(getattr(self, name)))
            except TypeError as error:
                raise StreamError(f"{self!r}: {name} must be a whole number") from error
        if not (0 <= self.rank < self.size and self.pieces > 0):
            raise StreamError(f"{self!r}: pass 0 <= rank < size, and pieces from 1")

    def of(self, shape: Sequence[int]) -> Part:
        """Return the part of a parameter of this shape.

        Raises:
            StreamError: the shape has no such axis, or the pieces don't divide it.
        """
        axes = len(shape)
        if not -axes <= self.axis < axes:
            raise StreamError(f"{self!r}: a parameter of shape {tuple(shape)} has no such axis")
        axis = self.axis % axes
        if shape[axis] % self.pieces:
            raise StreamError(
                f"{self!r}: axis {axis} of shape {tuple(shape)} isn't a multiple of the pieces"
            )
        each = shape[axis] // self.pieces
        start, stop = chunk_bounds(each, self.size, self.rank)
        runs = join_runs((n * each + start, n * each + stop) for n in range(self.pieces))
        box = (runs if n == axis else ((0, size),) for n, size in enumerate(shape))
        return Part(tuple(shape), tuple(box))


def _runs(axis: object) -> Runs:
    pairs = list(cast("Sequence[Any]", axis))
    if len(pairs) == 2 and not any(isinstance(end, (tuple, list)) for end in pairs):
        pairs = [pairs]
    return tuple((operator.index(start), operator.index(stop)) for start, stop in pairs)


def _placed(runs: Runs) -> list[tuple[tuple[int, int], slice]]:
    """Return each run that isn't empty with its place along the tensor's own axis."""
    ends = accumulate(stop - start for start, stop in runs)
    return [
        ((start, stop), slice(end - (stop - start), end))
        for (start, stop), end in zip(runs, ends, strict=True)
        if start < stop
    ]


def _flat_boxes(shape: tuple[int, ...], start: int, stop: int) -> Iterator[Box]:
    """Cut a row-major range into boxes, in order: the end of a row, whole rows, a row's start."""
    if start >= stop:
        return
    if not shape:
        yield ()
        return
    inner = math.prod(shape[1:])
    first, last = start // inner, stop // inner
    head, tail = start - first * inner, stop - last * inner
    if head:
        end = inner if first < last else tail
        for box in _flat_boxes(shape[1:], head, end):
            yield ((first, first + 1), *box)
        if first == last:
            return
        first += 1
    if first < last:
        yield ((first, last), *whole_box(shape[1:]))
    for box in _flat_boxes(shape[1:], 0, tail):
        yield ((last, last + 1), *box)


def chunk_bounds(size: int, parts: int, index: int) -> tuple[int, int]:
    """Return where a chunk of ``torch.chunk`` begins and ends; the last ones may be empty.

    >>> [chunk_bounds(5, 4, index) for index in range(4)]
    [(0, 2), (2, 4), (4, 5), (5, 5)]
    """
    each = -(-size // parts)
    return min(index * each, size), min((index + 1) * each, size)


def cut_runs(runs: Runs, start: int, stop: int) -> Runs:
    """Return what lies from ``start`` to ``stop`` if the runs are put one after another.

    >>> cut_runs(((0, 3), (10, 14)), 2, 5)
    ((2, 3), (10, 12))
    """
    cut: list[tuple[int, int]] = []
    at = 0
    for first, last in runs:
        low, high = max(start, at), min(stop, at + last - first)
        if low < high:
            cut.append((first + low - at, first + high - at))
        at += last - first
    return join_runs(cut)


def join_runs(runs: Iterator[tuple[int, int]] | Sequence[tuple[int, int]]) -> Runs:
    """Return the runs that aren't empty; those that continue one another become one."""
    joined: list[tuple[int, int]] = []
    for start, stop in runs:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        elif start < stop:
            joined.append((start, stop))
    return tuple(joined)


def run_size(runs: Runs) -> int:
    """Return the number of indices.

    >>> run_size(((0, 3), (10, 14)))
    7
    """
    return sum(stop - start for start, stop in runs)


def whole_box(shape: Sequence[int]) -> Box:
    """Return the box that is all of a shape."""
    return tuple((0, size) for size in shape)


def box_shape(box: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return the shape of what a box holds."""
    return tuple(stop - start for start, stop in box)


def slices(box: Box) -> Where:
    """Return the index that takes a box out of a tensor."""
    return tuple(slice(start, stop) for start, stop in box)


def within(box: Box, outer: Box) -> Box:
    """Return a box as counted from the start of an outer one.

    >>> within(((5, 6), (2, 4)), ((4, 8), (2, 9)))
    ((1, 2), (0, 2))
    """
    both = zip(box, outer, strict=True)
    return tuple((start - first, stop - first) for (start, stop), (first, _) in both)


def intersect(box: Box, other: Box) -> Box | None:
    """Return the box that two boxes share, or None.

    >>> intersect(((0, 3), (2, 6)), ((1, 9), (0, 4))), intersect(((0, 3),), ((3, 9),))
    (((1, 3), (2, 4)), None)
    """
    both = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, other, strict=True))
    return both if all(start < stop for start, stop in both) else None


def regions(box: Box, limit: int) -> Iterator[Box]:
    """Cut a box that isn't empty into boxes of at most ``limit`` elements, in row-major order.

    >>> list(regions(((0, 2), (1, 4)), 2))
    [((0, 1), (1, 3)), ((0, 1), (3, 4)), ((1, 2), (1, 3)), ((1, 2), (3, 4))]
    >>> list(regions(((2, 4), (1, 4)), 3)), list(regions(((0, 2), (1, 4)), 6))
    ([((2, 3), (1, 4)), ((3, 4), (1, 4))], [((0, 2), (1, 4))])
    """
    axis, inner = len(box), 1  # the axes from ``axis`` on fit whole, with ``inner`` elements
    while axis and inner * (box[axis - 1][1] - box[axis - 1][0]) <= limit:
        axis -= 1
        inner *= box[axis][1] - box[axis][0]
    if not axis:
        yield box
        return
    first, last = box[axis - 1]
    step = limit // inner
    for outer in product(*(range(start, stop) for start, stop in box[: axis - 1])):
        corner = tuple((i, i + 1) for i in outer)
        for start in range(first, last, step):
            yield (*corner, (start, min(start + step, last)), *box[axis:])
