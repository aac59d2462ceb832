"""The kernel in Triton, and its launch. Importing this module imports triton.

It follows spec.py: each product and each sum is rounded (the launch disables contraction), and
bfloat16 is rounded in integers, because Triton's interpreter truncates instead.
"""

# triton has no types, and is absent from most machines.
# pyright: basic, reportMissingImports=false, reportIndexIssue=false
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import product

import triton
import triton.language as tl
from torch import Tensor

from goodinit.streams import spec
from goodinit.streams.native import library
from goodinit.streams.native.fill import box_axes
from goodinit.streams.spec import Law

__all__ = ["draw_kernel", "launch", "launch_arguments"]

TILE, BOX_TILE = 1024, 256
"""Lanes in a program; each computes one of Philox's blocks. The larger is up to 13 % faster for
whole tensors on an H100; for boxes, whose indices take registers, it was not tried."""

LOG2 = tl.constexpr(spec.LOG2)
QUANTILE = tl.constexpr(spec.QUANTILE)
NORMAL = tl.constexpr(library.KINDS["normal"])
UNIFORM = tl.constexpr(library.KINDS["uniform"])
TRUNCATED = tl.constexpr(library.KINDS["truncated"])

AXES = 4
"""Axes, besides the run's own, that one launch covers; more axes need several launches."""

NUMBERS = (
    "key0 key1 high0 high1 scale loc low high lo width first run stride blocks lanes "
    "size0 step0 stride0 size1 step1 stride1 size2 step2 stride2 size3 step3 stride3"
).split()
"""A new value of these compiles no new kernel. Numbers in a tuple would: they can't be listed."""


@triton.jit
def philox(block, key0, key1, high0, high1, narrow: tl.constexpr):
    """Return the four words of each block, uint32; ``narrow``: no number has a second word."""
    c0 = block.to(tl.uint32)
    c1 = 0 if narrow else (block >> 32).to(tl.uint32)
    k0 = tl.cast(key0, tl.uint32, bitcast=True)
    k1 = tl.cast(key1, tl.uint32, bitcast=True)
    c2 = tl.cast(high0, tl.uint32, bitcast=True)
    c3 = tl.cast(high1, tl.uint32, bitcast=True)
    for _ in tl.static_range(10):
        p = c0.to(tl.uint64) * 0xD2511F53
        q = c2.to(tl.uint64) * 0xCD9E8D57
        c0, c1 = (q >> 32).to(tl.uint32) ^ c1 ^ k0, q.to(tl.uint32)
        c2, c3 = (p >> 32).to(tl.uint32) ^ c3 ^ k1, p.to(tl.uint32)
        k0 += 0x9E3779B9
        k1 += 0xBB67AE85
    return c0, c1, c2, c3


@triton.jit
def odd(words):
    """Return (word - 2**31) | 1, int32."""
    return (words ^ 0x80000000).to(tl.int32, bitcast=True) | 1


@triton.jit
def standard_normal(words, n):
    """Return spec.standard_normal's z of the words, with their odd integers n."""
    signed = words.to(tl.int32, bitcast=True)
    c = ((signed ^ (signed >> 31)) | 1).to(tl.float32)  # 2**31 - |n|
    bits = (tl.fma(c, -(2.0**-54), 2.0**-22) * c).to(tl.int32, bitcast=True)
    e = ((bits >> 23) - 127).to(tl.float32)
    m = ((bits & 0x7FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)
    z = tl.fma(m, LOG2[0], LOG2[1])
    for k in tl.static_range(2, 6):
        z = tl.fma(z, m, LOG2[k])
    t = tl.fma(z, m, e)
    z = tl.fma(t, QUANTILE[0], QUANTILE[1])
    for k in tl.static_range(2, 16):
        z = tl.fma(z, t, QUANTILE[k])
    return z * (n.to(tl.float32) * 2.0**-31)


@triton.jit
def values(words, scale, loc, low, high, lo, width, kind: tl.constexpr):
    """Return spec.values of the words."""
    if kind == TRUNCATED:
        width = tl.cast(width, tl.uint32, bitcast=True).to(tl.uint64)
        words = (words.to(tl.uint64) * width >> 32).to(tl.uint32)
        words += tl.cast(lo, tl.uint32, bitcast=True)
    n = odd(words)
    z = n.to(tl.float32) * 2.0**-31 if kind == UNIFORM else standard_normal(words, n)
    z = z * tl.cast(scale, tl.float32, bitcast=True)
    z = z + tl.cast(loc, tl.float32, bitcast=True)
    if kind != NORMAL:
        z = tl.maximum(z, tl.cast(low, tl.float32, bitcast=True))
        z = tl.minimum(z, tl.cast(high, tl.float32, bitcast=True))
    return z


@triton.jit
def to_bfloat16(z):
    """Round to nearest, ties to even. No value is NaN; one that is too large becomes infinite."""
    bits = z.to(tl.uint32, bitcast=True)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).to(tl.uint16).to(tl.bfloat16, bitcast=True)


@triton.jit(do_not_specialize=NUMBERS)
def draw_kernel(
    out,
    key0,
    key1,
    high0,
    high1,
    scale,
    loc,
    low,
    high,
    lo,
    width,
    first,
    run,
    stride,
    blocks,
    lanes,
    size0,
    step0,
    stride0,
    size1,
    step1,
    stride1,
    size2,
    step2,
    stride2,
    size3,
    step3,
    stride3,
    kind: tl.constexpr,
    count: tl.constexpr,
    aligned: tl.constexpr,
    adjacent: tl.constexpr,
    across: tl.constexpr,
    narrow: tl.constexpr,
    wide: tl.constexpr,
    tile: tl.constexpr,
):
    """Write the values of many runs of consecutive indices; a lane writes those of a block.

    The element at ``out`` is the first, with index ``first``. A run has ``run`` elements,
    ``stride`` apart in memory, and takes ``blocks`` lanes, of ``lanes`` in all. Along up to four
    axes there are several runs; one step leads ``step`` indices and ``stride`` elements on. The
    numbers of the key and of the law are int32 with the bits of what they stand for.

    Compile-time constants: ``kind`` of the law; ``count`` of axes; ``aligned``: each run
    begins and ends with a block; ``adjacent``: the stride is 1; ``across``: neighboring lanes
    are in neighboring runs, not in one; ``narrow``: the blocks' numbers fit in 32 bits; ``wide``:
    the lanes, or the elements of a run, don't; ``tile``: lanes in a program.
    """
    program = tl.program_id(0)
    if wide:
        program = program.to(tl.int64)
    lane = program * tile + tl.arange(0, tile)
    inside = (lane < lanes)[:, None]
    index = tl.cast(first, tl.int64)
    offset = tl.zeros((tile,), tl.int64)
    if count == 0:
        k = lane
    else:
        sizes = (size0, size1, size2, size3)
        steps = (step0, step1, step2, step3)
        strides = (stride0, stride1, stride2, stride3)
        if across:
            rest, k = lane % (lanes // blocks), lane // (lanes // blocks)
        else:
            rest, k = lane // blocks, lane % blocks
        for axis in tl.static_range(count - 1, -1, -1):
            at = (rest % sizes[axis]).to(tl.int64)
            rest = rest // sizes[axis]
            index = index + at * steps[axis]
            offset = offset + at * strides[axis]
    block = (index >> 2).to(tl.int32) + k.to(tl.int32) if narrow else (index >> 2) + k
    c0, c1, c2, c3 = philox(block, key0, key1, high0, high1, narrow)
    words = tl.join(tl.join(c0, c2), tl.join(c1, c3)).reshape(tile, 4)
    z = values(words, scale, loc, low, high, lo, width, kind)
    if out.dtype.element_ty == tl.bfloat16:
        z = to_bfloat16(z)
    position = (4 * k)[:, None] + tl.arange(0, 4)[None, :]
    if not aligned:
        position = position - (tl.zeros((tile,), tl.int64) + (index & 3))[:, None]
        inside = inside & (position >= 0) & (position < run)
    if not adjacent:
        position = position.to(tl.int64) * stride
    if count:
        position = offset[:, None] + position
    tl.store(out + position, z.to(out.dtype.element_ty), mask=inside)


def launch_arguments(
    law: Law, key: bytes, shape: Sequence[int], box: Sequence[tuple[int, int]], out: Tensor
) -> Iterator[tuple[Tensor, tuple[int, ...], dict[str, object], int]]:
    """Yield what ``draw_kernel`` takes: where, its numbers, its constants, and how many programs.

    Args:
        law: what to draw.
        key: of ``key_bytes``.
        shape: the parameter's global shape.
        box: (start, stop) along each axis of ``shape``, not empty.
        out: of the box's shape.
    """
    kind, *numbers = struct.unpack("=I6i", library.pack_law(law))
    if kind == library.SYMMETRIC:
        kind = library.KINDS["uniform"]
    first, (*outer, (run, _, stride)) = box_axes(shape, box, out.stride())
    outer.sort(key=lambda axis: -axis[2])  # so that neighboring lanes write side by side
    aligned = not any(number % 4 for number in (first, run, *(step for _, step, _ in outer)))
    blocks = run // 4 if aligned else (run + 6) // 4
    far, near = outer[:-AXES], outer[-AXES:]
    lanes = blocks
    for size, _, _ in near:
        lanes *= size
    tile = BOX_TILE if near else TILE
    constants: dict[str, object] = {
        "kind": kind,
        "count": len(near),
        "aligned": aligned,
        "adjacent": stride == 1,
        "across": bool(near) and near[-1][2] < stride,
        "narrow": first + sum((size - 1) * step for size, step, _ in outer) + run < 2**34,
        "wide": max(lanes, 4 * blocks) > 2**31 - 4 * tile,
        "tile": tile,
    }
    padded = [*near, *[(1, 0, 0)] * (AXES - len(near))]
    axes = [number for axis in padded for number in axis]
    for at in product(*(range(size) for size, _, _ in far)):
        index = first + sum(i * step for i, (_, step, _) in zip(at, far, strict=True))
        start = sum(i * stride for i, (_, _, stride) in zip(at, far, strict=True))
        place = out.as_strided((1,), (1,), out.storage_offset() + start) if start else out
        where = (index, run, stride, blocks, lanes, *axes)
        yield place, (*struct.unpack("=4i", key), *numbers, *where), constants, -(-lanes // tile)


def launch(
    out: Tensor, key: bytes, law: Law, shape: Sequence[int], box: Sequence[tuple[int, int]]
) -> None:
    """Write the values of a box on the current device.

    The arguments are those of ``launch_arguments``; no two elements of ``out`` share memory.
    """
    for place, given, constants, programs in launch_arguments(law, key, shape, box, out):
        draw_kernel[(programs,)](place, *given, **constants, enable_fp_fusion=False)
