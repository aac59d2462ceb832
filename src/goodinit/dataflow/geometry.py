"""Where the elements of a tensor lie in the one it was made from.

A view shares its base's memory, so its strides show which axes of the base each of its axes
runs over, and over which range: no list of view functions is needed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul

Dims = tuple[tuple[int, ...], ...]
Range = tuple[int, int]


def view_dims(
    base: tuple[Sequence[int], Sequence[int], int], view: tuple[Sequence[int], Sequence[int], int]
) -> tuple[Dims, tuple[Range, ...]]:
    """Return, of a view of a base, which base axes each axis runs over, and their ranges.

    Args:
        base: (shape, strides, storage offset) of the base.
        view: the same of the view.

    Returns:
        For each axis of the view the base axes it runs over (none for an expanded or new
        one, several for a merged one); and for each axis of the base (start, stop).

    Example:
        The second of three chunks along the last axis of a (2, 5, 12) tensor, split in heads:

        >>> view_dims(((2, 5, 12), (60, 12, 1), 0), ((2, 2, 5, 2), (60, 2, 12, 1), 4))
        (((0,), (2,), (1,), (2,)), ((0, 2), (0, 5), (4, 8)))
    """
    shape, strides, origin = base
    order = [a for a in range(len(shape)) if shape[a] > 1 and strides[a]]
    order.sort(key=lambda axis: -strides[axis])
    rest = view[2] - origin
    start = [0] * len(shape)
    for axis in order:
        start[axis], rest = divmod(rest, strides[axis])
    extent = [1] * len(shape)
    dims: list[tuple[int, ...]] = []
    for size, stride in zip(view[0], view[1], strict=True):
        if size <= 1 or stride <= 0:
            dims.append(())
            continue
        last = stride * (size - 1)
        over = [a for a in order if strides[a] <= last and strides[a] * shape[a] > stride]
        for axis in over:  # of a merged axis, only the leading one may be cut short
            extent[axis] += last // strides[axis] if axis == over[0] else shape[axis] - 1
        dims.append(tuple(sorted(over)))
    ranges = tuple(
        (start[a], min(start[a] + extent[a], shape[a])) if shape[a] > 1 else (0, shape[a])
        for a in range(len(shape))
    )
    return tuple(dims), ranges


def align(dims: Dims, rank: int) -> Dims:
    """Return dims of a tensor broadcast to a higher rank, or of the trailing axes of a lower.

    >>> align(((0,), (1,)), 3)
    ((), (0,), (1,))
    """
    return ((),) * (rank - len(dims)) + dims if rank >= len(dims) else dims[len(dims) - rank :]


def regroup(shape: Sequence[int], dims: Dims, new: Sequence[int]) -> Dims | None:
    """Return dims after a reshape that copied, or None where the sizes don't fit together.

    >>> regroup((2, 3, 4), ((0,), (1,), ()), (6, 2, 2))
    ((0, 1), (), ())
    >>> regroup((6, 4), ((0,), (1,)), (2, 3, 4))
    ((0,), (0,), (1,))
    """
    if 0 in shape or prod(shape) != prod(new):
        return None
    ends, new_ends = _ends(shape), _ends(new)
    common = sorted({1, *ends} & {1, *new_ends})
    group = {end: bisect_left(common, end) for end in {*ends, *new_ends}}
    members: dict[int, set[int]] = {}
    for end, size, over in zip(ends, shape, dims, strict=True):
        if size > 1:
            members.setdefault(group[end], set()).update(over)
    return tuple(
        tuple(sorted(members.get(group[end], ()))) if size > 1 else ()
        for end, size in zip(new_ends, new, strict=True)
    )


def _ends(shape: Sequence[int]) -> list[int]:
    return list(accumulate(shape, mul, initial=1))[1:]
