"""Fill a tensor with the library, if it is plain CPU memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from goodinit._common.memory import bump_version, is_writable, kernel_may_write
from goodinit.streams.native import library
from goodinit.streams.spec import Law

__all__ = ["fill_box", "may_fill_whole", "write_whole"]

LONGEST_RUN = 64
"""Longest strided run written at once: 64 cache lines. Longer runs are split into PIECEs."""

PIECE = 8
"""Elements of a piece; the neighboring runs then reuse the cache lines that it touched."""

_PACK = library.REQUEST.pack

Axes = tuple[tuple[int, int, int], ...]


def may_fill_whole(out: Tensor) -> bool:
    """Return whether ``write_whole`` can write the tensor: contiguous, and the CPU's plain memory.

    It answers for most tensors at once what callers would ask one question after another.

    >>> may_fill_whole(torch.empty(2)), may_fill_whole(torch.empty(2, device="meta"))
    (True, False)
    """
    return _is_plain(out) and out.dtype in library.TYPES and out.is_contiguous()


def write_whole(out: Tensor, key: bytes, law: Law) -> None:
    """Write all values of a tensor that ``may_fill_whole`` accepts.

    ``key`` is of ``key_bytes``. The version counter is incremented.
    """
    native = library.load()
    assert native.fill is not None
    bump_version(out)
    head = (out.data_ptr(), 0, key, library.pack_law(law), library.TYPES[out.dtype])
    native.fill(_PACK(*head, native.instructions, torch.get_num_threads(), 1, out.numel(), 1, 1))


def fill_box(
    out: Tensor, key: bytes, law: Law, shape: Sequence[int], box: Sequence[tuple[int, int]]
) -> bool:
    """Write the values of a box, if a kernel may write the tensor, and return whether it did.

    ``out`` has the box's shape and one of the dtypes; no two of its elements share memory.
    """
    native = library.load()
    if not (_is_plain(out) and native.fill):
        return False
    bump_version(out)
    coded, kind, size = library.pack_law(law), library.TYPES[out.dtype], out.element_size()
    pointer, threads = out.data_ptr(), torch.get_num_threads()
    first, axes = box_axes(shape, box, out.stride())
    for index, offset, part in in_cache_order(axes):
        at, start = pointer + offset * size, first + index
        head = (at, start, key, coded, kind, native.instructions, threads, len(part))
        more = b"".join(library.AXIS.pack(*axis) for axis in part[1:])
        native.fill(_PACK(*head, *part[0]) + more)
    return True


def _is_plain(out: Tensor) -> bool:
    """Return whether there is a kernel, and it may write the tensor: plain memory of the CPU."""
    return (
        kernel_may_write(out)
        and out.is_cpu
        and library.load().fill is not None
        and (out.untyped_storage().resizable() or is_writable(out))  # torch's own memory is
    )


def box_axes(
    shape: Sequence[int], box: Sequence[tuple[int, int]], strides: Sequence[int]
) -> tuple[int, Axes]:
    """Return the row-major index of the box's first element, and the box's axes.

    An axis is (size, step, stride): the number of its elements, and how far one step goes in
    row-major order and in memory. Axes of size 1 are omitted, and adjacent axes that one step
    joins are merged. The last axis has step 1.

    >>> box_axes((4, 6, 5), ((1, 3), (0, 6), (0, 5)), (30, 5, 1))
    (30, ((60, 1, 1),))
    >>> box_axes((2, 3, 4), ((0, 2), (0, 3), (0, 2)), (12, 4, 1))  # the first two are joined
    (0, ((6, 4, 4), (2, 1, 1)))
    >>> box_axes((4, 6), ((0, 4), (2, 3)), (1, 1))
    (2, ((4, 6, 1), (1, 1, 1)))
    """
    first, step = 0, 1
    axes: list[tuple[int, int, int]] = []  # the last one first
    for whole, (start, stop), stride in zip(
        reversed(shape), reversed(box), reversed(strides), strict=True
    ):
        first += start * step
        size = stop - start
        if size != 1:
            if axes and (step, stride) == (axes[-1][0] * axes[-1][1], axes[-1][0] * axes[-1][2]):
                axes[-1] = (size * axes[-1][0], *axes[-1][1:])
            else:
                axes.append((size, step, stride))
        step *= whole
    if not axes or axes[0][1] != 1:
        axes.insert(0, (1, 1, 1))
    return first, tuple(reversed(axes))


def in_cache_order(axes: Axes) -> Iterator[tuple[int, int, Axes]]:
    """Yield (index, offset, axes) of parts in an order that uses the cache well.

    Long strided runs, as in a transposed matrix, would touch a cache line for each element. They
    are split into short pieces, and pieces that are neighbors in memory follow one another.
    """
    size, step, stride = axes[-1]
    if stride == 1 or len(axes) == 1:
        yield 0, 0, axes
        return
    near = min(axes[:-1], key=lambda axis: axis[2])
    outer = tuple(axis for axis in axes[:-1] if axis != near)
    if size <= LONGEST_RUN:
        yield 0, 0, (*outer, near, axes[-1])
        return
    pieces, rest = divmod(size, PIECE)
    wide = (pieces, PIECE * step, PIECE * stride)
    yield 0, 0, (*outer, wide, near, (PIECE, step, stride))
    if rest:
        done = pieces * PIECE
        yield done * step, done * stride, (*outer, near, (rest, step, stride))
