"""Draw a parameter, or any box of it, by its name.

The values depend on the seed, the name, the purpose and the global index of each element.
A box is thus equal to that slice of the whole, bit for bit, and costs what it holds.
"""

from __future__ import annotations

import contextlib
import math
import operator
import threading
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from goodinit._common.memory import is_writable, overlaps
from goodinit._common.torch_private import dispatch_modes, transforms
from goodinit.errors import StreamError
from goodinit.streams import gpu, native
from goodinit.streams.part import Box, box_shape, regions, slices, within
from goodinit.streams.spec import (
    Key,
    Law,
    check_seed,
    key_bytes,
    key_from_bytes,
    make_key,
    philox,
    values,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Stream", "fresh_seed"]

CHUNK = 1 << 18
"""Elements drawn at a time, so that temporaries take a few MB. No value depends on it."""

MOST_BLOCKS = 256
"""Up to about this many blocks ``philox_words`` is faster than torch, as measured. No value depends
on it."""

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

# Callers draw these in float32 and cast. e8m0 is missing: it has neither sign nor zero.
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)


@dataclass(frozen=True)  # no slots: torch.compile may take weak references to it, as to a Law
class Stream:
    """Random numbers as a function of (seed, name, element index) and of nothing else.

    Args:
        seed: an int in [0, 2**64).

    Raises:
        StreamError: the seed is not such an int.

    >>> stream = Stream(seed=0)
    >>> law = Law.normal(0.0, 0.02)
    >>> whole = stream.draw("fc.weight", law, (4, 6))
    >>> part = stream.draw("fc.weight", law, (4, 6), box=((1, 3), (2, 6)))
    >>> torch.equal(part, whole[1:3, 2:6])
    True
    """

    seed: int

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def key(self, name: str, purpose: str = "") -> Key:
        """Return the key of a parameter's stream, as ``make_key`` does.

        >>> Stream(7).key("fc.weight") == make_key(7, "fc.weight")
        True
        """
        return make_key(self.seed, name, purpose)

    def draw(
        self,
        name: str,
        law: Law,
        shape: Sequence[int],
        *,
        box: Sequence[tuple[int, int]] | None = None,
        dtype: torch.dtype = torch.float32,
        purpose: str = "",
    ) -> Tensor:
        """Return a new tensor on the CPU with the parameter's values.

        Args:
            name: the parameter's name.
            law: what to draw.
            shape: the parameter's global shape.
            box: (start, stop) along each axis of ``shape``; the whole if None.
            dtype: float32, bfloat16, float16 or float64; each is one cast of the float32.
            purpose: distinguishes several draws for one parameter.

        Returns:
            A contiguous tensor of the box's shape.

        Raises:
            StreamError: another dtype, or a box outside of the shape.

        >>> Stream(0).draw("fc.bias", Law.uniform(-0.1, 0.1), (3,), dtype=torch.bfloat16).dtype
        torch.bfloat16
        """
        _check_dtype(name, dtype)
        full, box = _check_box(name, shape, box)
        out = torch.empty(box_shape(box), dtype=dtype, device="cpu")
        _fill_box(out, key_bytes(self.seed, name, purpose), law, full, box)
        return out

    def fill_(
        self,
        out: Tensor,
        name: str,
        law: Law,
        *,
        shape: Sequence[int] | None = None,
        box: Sequence[tuple[int, int]] | None = None,
        purpose: str = "",
    ) -> Tensor:
        """Write the parameter's values into ``out`` and return it.

        Args:
            out: float32, bfloat16, float16 or float64, on any device, with any strides and the
                box's shape. Its version counter is incremented.
            name: the parameter's name.
            law: what to draw.
            shape: the parameter's global shape; that of ``out`` if None.
            box: (start, stop) along each axis of ``shape``; the whole if None.
            purpose: distinguishes several draws for one parameter.

        Raises:
            StreamError: before anything is written: another dtype, no memory, elements that
                share memory, a box outside of the shape or of another shape than ``out``, a
                tensor that requires a gradient outside of ``torch.no_grad()``.

        >>> shard = torch.empty(2, 6)
        >>> box = ((2, 4), (0, 6))
        >>> shard is Stream(0).fill_(shard, "fc.weight", Law.normal(), shape=(4, 6), box=box)
        True
        """
        if out.requires_grad and torch.is_grad_enabled():
            raise StreamError(
                f"{name}: the tensor requires a gradient, and a draw has none: "
                "call this under torch.no_grad()"
            )
        key = key_bytes(self.seed, name, purpose)
        if shape is None and box is None:
            if native.may_fill_whole(out):
                native.write_whole(out, key, law)
                return out
            if gpu.fill_whole(out, key, law):
                return out
        _check_target(name, out)
        full, box = _check_box(name, out.shape if shape is None else shape, box)
        sizes = box_shape(box)
        if sizes != out.shape:
            raise StreamError(
                f"{name}: the tensor has the shape {tuple(out.shape)}, what is drawn has {sizes}: "
                "pass the global shape, and the box that the tensor holds"
            )
        _fill_box(out, key, law, full, box)
        return out


_thread = threading.local()
"""Has a number to draw a seed into: to make one takes longer than to draw it."""


def fresh_seed(generator: torch.Generator | None = None) -> int:
    """Return one number of a torch generator, and advance it: a seed for a stream.

    Args:
        generator: on any device; None is torch's default CPU generator, so
            ``torch.manual_seed`` applies.

    >>> fresh_seed(torch.Generator().manual_seed(0)) == fresh_seed(torch.Generator().manual_seed(0))
    True
    """
    if generator is None and not (
        torch.compiler.is_compiling() or dispatch_modes() or transforms()
    ):  # a number that was made under one of these would be fake, or wrapped
        return default_seed()
    device = torch.device("cpu") if generator is None else generator.device
    number = torch.empty((), dtype=torch.int64, device=device)
    return int(number.random_(generator=generator).item())


def default_seed() -> int:
    """Return ``fresh_seed()``, where no compiler, mode or transform is active."""
    if not hasattr(_thread, "number"):
        with torch.inference_mode(False):
            _thread.number = torch.empty((), dtype=torch.int64, device="cpu")
    return int(_thread.number.random_())


def stream_of(seed: int | None) -> Stream:
    """Return the stream of a seed; None takes a fresh one.

    Any object with ``__index__`` is an int here, numpy's numbers too.

    >>> stream_of(3)
    Stream(seed=3)
    """
    if seed is None:
        return Stream(fresh_seed())
    counts = hasattr(seed, "__index__") and not isinstance(seed, bool)
    with contextlib.suppress(TypeError):  # a tensor of several numbers has an __index__ too
        seed = operator.index(seed) if counts else seed
    return Stream(seed)


def _check_dtype(name: str, dtype: torch.dtype) -> None:
    if dtype not in DTYPES:
        raise StreamError(
            f"{name}: can't draw {dtype}: pass float32, float64, bfloat16 or float16, "
            "and convert the result"
        )


def _check_target(name: str, out: Tensor) -> None:
    """Raise StreamError unless every element of ``out`` is a float with memory of its own."""
    _check_dtype(name, out.dtype)
    if out.layout != torch.strided:
        raise StreamError(f"{name}: the layout is {out.layout}: pass a strided tensor")
    if out.is_meta:
        raise StreamError(f"{name}: on meta there is no memory to write to: call to_empty first")
    if not is_writable(out):
        raise StreamError(f"{name}: the memory is read-only: pass out.clone()")
    if overlaps(out):
        raise StreamError(
            f"{name}: elements share memory (shape {tuple(out.shape)}, strides "
            f"{out.stride()}): pass out.clone(memory_format=torch.contiguous_format)"
        )


def _check_box(
    name: str, shape: Sequence[int], box: Sequence[tuple[int, int]] | None
) -> tuple[tuple[int, ...], Box]:
    """Return the shape and the box as tuples; raise StreamError if the box isn't inside."""
    try:  # numpy's numbers would wrap around
        full = tuple(map(operator.index, shape))
        pairs = [(0, size) for size in full] if box is None else box
        given = tuple((operator.index(start), operator.index(stop)) for start, stop in pairs)
    except (TypeError, ValueError) as error:
        raise StreamError(
            f"{name}: the shape is {shape!r} and the box {box!r}: pass a sequence of ints, and one "
            "of pairs (start, stop)"
        ) from error
    if any(size < 0 for size in full) or math.prod(full) >= 2**63:
        raise StreamError(f"{name}: no tensor has the shape {full}: pass sizes of at least 0")
    if len(given) != len(full) or not all(
        0 <= start <= stop <= size for (start, stop), size in zip(given, full, strict=True)
    ):
        raise StreamError(
            f"{name}: the box {given} isn't inside the shape {full}: "
            "pass 0 <= start <= stop <= size for each axis"
        )
    return full, given


def _fill_box(out: Tensor, key: bytes, law: Law, shape: tuple[int, ...], box: Box) -> None:
    if not out.numel() or native.fill_box(out, key, law, shape, box):
        return
    if gpu.fill_box(out, key, law, shape, box):
        return
    if not out.is_cpu or torch.compiler.is_compiling():  # a graph would break at the clock
        _fill_box_by_torch(out, key_from_bytes(key), law, shape, box)
        return
    start = time.perf_counter()
    _fill_box_by_torch(out, key_from_bytes(key), law, shape, box)
    native.note_plain_drawing(time.perf_counter() - start)


@torch.no_grad()
def _fill_box_by_torch(out: Tensor, key: Key, law: Law, shape: tuple[int, ...], box: Box) -> None:
    """Write the box's values, a region of at most CHUNK elements at a time."""
    for region in regions(box, CHUNK):
        drawn = values(law, _region_words(key, shape, region)).view(box_shape(region))
        out[slices(within(region, box))].copy_(drawn)


def _region_words(key: Key, shape: tuple[int, ...], region: Box) -> Tensor:
    """Return the random word of each element of the region, in row-major order, int64 [n].

    The region's elements lie in runs of consecutive global indices. A single run is a range of
    blocks. Several runs have equal lengths; the blocks that each touches are computed together.
    """
    axis, run, stride, index = len(shape), 1, 1, 0
    whole = True  # all axes after this one are in the region from end to end
    outer: list[tuple[int, int]] = []  # (size, stride) of the axes that make several runs
    while axis:
        axis -= 1
        start, stop = region[axis]
        index += start * stride
        if whole:
            run *= stop - start
            whole = stop - start == shape[axis]
        elif stop - start > 1:
            outer.append((stop - start, stride))
        stride *= shape[axis]
    if not outer:
        first, end = index // 4, (index + run + 3) // 4
        if end - first <= MOST_BLOCKS:
            words = philox_words(key, first, end - first)
        else:
            words = philox(key, torch.arange(first, end, device="cpu")).view(-1)
        return words[index - 4 * first : index - 4 * first + run]
    starts = torch.tensor([index], device="cpu")
    for size, stride in reversed(outer):
        starts = (starts[:, None] + torch.arange(size, device="cpu") * stride).view(-1)
    touched = torch.arange((run + 6) // 4, device="cpu")
    words = philox(key, (starts // 4)[:, None] + touched).view(len(starts), -1)
    places = (starts % 4)[:, None] + torch.arange(run, device="cpu")
    return words.gather(1, places).view(-1)


@lru_cache(maxsize=MOST_BLOCKS)
def _lanes(count: int) -> tuple[int, int]:
    """Return the integers whose lanes hold 1, 1, 1, ... and 0, 1, 2, ..."""
    return sum(1 << 64 * i for i in range(count)), sum(i << 64 * i for i in range(count))


def philox_words(key: Key, first: int, count: int) -> Tensor:
    """Return the words of the blocks first, ..., first + count - 1, flat, as ``philox`` does.

    For a tiny parameter, nearly all time is the overhead of a hundred calls of torch. Here one long
    Python integer holds a word of every block in lanes of 64 bits. A product with a 32-bit
    multiplier stays within its lane, so each step of Philox is one operation for all blocks.
    """
    ones, ramp = _lanes(count)
    low = 0xFFFFFFFF * ones
    blocks = first * ones + ramp
    c0, c1, c2, c3 = blocks & low, blocks >> 32 & low, key.high0 * ones, key.high1 * ones
    k0, k1 = key.key0, key.key1
    for _ in range(10):
        a, b = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1 = (b >> 32 & low) ^ c1 ^ k0 * ones, b & low
        c2, c3 = (a >> 32 & low) ^ c3 ^ k1 * ones, a & low
        k0, k1 = k0 + 0x9E3779B9 & 0xFFFFFFFF, k1 + 0xBB67AE85 & 0xFFFFFFFF
    data = bytearray(b"".join(c.to_bytes(8 * count, "little") for c in (c0, c1, c2, c3)))
    return torch.frombuffer(data, dtype=torch.int64).view(4, count).t().reshape(-1)
