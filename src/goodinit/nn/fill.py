"""What all functions of ``goodinit.nn.init`` share: checks, one draw, one write.

A call takes one number of the generator as the seed of a stream, and the element with row-major
index i gets the stream's number i: whatever the dtype, the memory format or the thread count.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, SupportsFloat, cast

import torch
from torch import Tensor
from torch.nn.init import normal_ as torch_normal_
from torch.nn.init import uniform_ as torch_uniform_
from torch.nn.parameter import Parameter, is_lazy

from goodinit._common.memory import is_transformed, is_writable
from goodinit.errors import LazyParameterError, StreamError
from goodinit.nn.refusals import InitDtypeError, InitMemoryError, InitTypeError, refuse
from goodinit.schemes.fields import shown
from goodinit.streams import Law, Stream, fresh_seed
from goodinit.streams.spec import REACH, cdf_word
from goodinit.streams.stream import CHUNK, DTYPES, FLOAT8

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "NAME",
    "Wanted",
    "check_drawable",
    "check_memory",
    "check_writable",
    "draw_",
    "largest",
    "normal",
    "number",
    "ours",
    "real",
    "stream_for",
    "uniform",
]

NAME = "nn.init"
"""The name that every tensor goes by in its stream; what tells two calls apart is the seed."""

_HAZARD = math.sqrt(2 / math.pi)


class Wanted(NamedTuple):
    """A law: loc + scale * z, with z between low and high where it is truncated.

    ``least`` and ``greatest`` bound the value itself.
    """

    kind: Literal["normal", "uniform", "truncated"]
    loc: float
    scale: float
    low: float = -math.inf
    high: float = math.inf
    least: float = -math.inf
    greatest: float = math.inf


def ours(function: str, tensor: Tensor) -> bool:
    """Return whether to draw here; a tensor of a kind that dispatches by itself is torch's.

    Such are DTensor, FakeTensor and whatever has its own ``__torch_function__``; and all under
    torch.func, which has rules of its own for random numbers, and under torch.jit.trace.

    Raises:
        InitTypeError: it is no tensor.
        InitValueError: it was made in inference mode and can't be written any more.
        LazyParameterError: it has no shape yet.
    """
    if not isinstance(tensor, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InitTypeError(
            f"{function}: the tensor is {shown(tensor)}: pass a torch.Tensor, such as layer.weight"
        )
    if is_lazy(tensor):
        raise LazyParameterError(
            f"{function}: the parameter has no shape yet, it belongs to a lazy module: run the "
            "module on an input first"
        )
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        mend = "it was made in inference mode: write to it there, or to its clone()"
        refuse(function, "tensor", tuple(tensor.shape), mend)  # torch writes first, then raises
    if is_transformed():
        return False
    kind, base = cast("Any", type(tensor)), cast("Any", Tensor)
    if kind is Tensor or kind is Parameter:
        return True
    handler = getattr(kind.__torch_function__, "__func__", kind.__torch_function__)
    plain = (base.__torch_function__.__func__, cast("Any", Parameter).__torch_function__)
    return handler in plain and kind.__torch_dispatch__ is base.__torch_dispatch__


def number(function: str, parameter: str, value: object) -> float:
    """Return the value as a float: a number, or a tensor that holds one."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        mend = f"{parameter} must be a number, not {type(value).__name__}"
        raise InitTypeError(f"{function}({parameter}={shown(value)}): {mend}")
    try:
        return float(cast("SupportsFloat", value))
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, RuntimeError) as error:
        mend = f"{parameter} must be one number ({error})"
        raise InitTypeError(f"{function}({parameter}={shown(value)}): {mend}") from error


def real(function: str, parameter: str, value: object, least: float = -math.inf) -> float:
    """Return the value as a finite float that is at least ``least``, or refuse it."""
    result = number(function, parameter, value)
    if not (math.isfinite(result) and result >= least):
        at_least = "" if least == -math.inf else f" of at least {least:g}"
        refuse(function, parameter, value, f"{parameter} must be a finite number{at_least}")
    return result


def check_memory(function: str, tensor: Tensor) -> None:
    """Raise unless the tensor is a strided one whose elements have memory of their own."""
    if tensor.layout != torch.strided:
        raise InitDtypeError(
            f"{function}: the layout is {tensor.layout}: pass a strided tensor, and convert it"
        )
    check_writable(function, tensor)
    if tensor.is_contiguous():
        return
    reach = 0  # the last offset that the axes so far lead to
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reach and tensor.numel():
            raise InitMemoryError(
                f"{function}: elements of the tensor share memory (shape {tuple(tensor.shape)}, "
                f"strides {tensor.stride()}): initialise what was expanded, or its clone()"
            )
        reach += stride * (size - 1)


def check_writable(function: str, tensor: Tensor) -> None:
    """Raise if the tensor lies in a file that is mapped for reading: a write ends the process."""
    if not is_writable(tensor):
        raise InitMemoryError(f"{function}: the memory is read-only: pass the tensor's clone()")


def check_drawable(
    function: str, tensor: Tensor, generator: object, *, complex_too: bool = True
) -> None:
    """Raise unless the tensor can hold random numbers and the generator is one."""
    if not (generator is None or isinstance(generator, torch.Generator)):
        raise InitTypeError(
            f"{function}: the generator is {shown(generator)}: pass a torch.Generator, such as "
            "torch.Generator().manual_seed(0), or None"
        )
    dtype = tensor.dtype
    if not (dtype in DTYPES or dtype in FLOAT8 or (complex_too and dtype.is_complex)):
        also = " or complex" if complex_too else ""
        raise InitDtypeError(
            f"{function}: not implemented for {dtype}: pass a floating{also} tensor, and convert "
            "it; zeros_, ones_ and constant_ take any dtype"
        )
    check_memory(function, tensor)


@cache
def largest(dtype: torch.dtype) -> float:
    """Return the largest finite number of a dtype."""
    return torch.finfo(dtype.to_real() if dtype.is_complex else dtype).max


def uniform(
    function: str, tensor: Tensor, low: float, high: float, generator: torch.Generator | None
) -> Tensor:
    """Fill with U(low, high); a complex tensor's two parts each."""
    if not ours(function, tensor):
        return torch_uniform_(tensor, low, high, generator=generator)
    check_drawable(function, tensor, generator)
    limit = largest(tensor.dtype)
    for parameter, bound in (("a", low), ("b", high)):
        if not abs(bound) <= limit:
            refuse(function, parameter, bound, f"out of bounds for {tensor.dtype}, {limit:.3g}")
    if low > high:
        refuse(function, "b", high, f"the interval is empty: b must not be below a, {low:g}")
    if high - low > limit:
        refuse(function, "b", high, f"b - a must be within {tensor.dtype}, {limit:.3g}")
    middle, half = low / 2 + high / 2, high / 2 - low / 2
    return draw_(tensor, Wanted("uniform", middle, half, least=low, greatest=high), generator)


def normal(
    function: str, tensor: Tensor, mean: float, std: float, generator: torch.Generator | None
) -> Tensor:
    """Fill with N(mean, std^2); a complex tensor's two parts with N(mean, std^2 / 2) each."""
    if not ours(function, tensor):
        return torch_normal_(tensor, mean, std, generator=generator)
    check_drawable(function, tensor, generator)
    if tensor.is_complex():
        std /= math.sqrt(2)
    if abs(mean) + REACH * std > largest(tensor.dtype):
        refuse(function, "std", std, f"values would be infinite in {tensor.dtype}: pass a smaller")
    return draw_(tensor, Wanted("normal", mean, std), generator)


def stream_for(tensor: Tensor, generator: torch.Generator | None) -> Stream | None:
    """Return a fresh stream, or None where there is nothing to draw: on meta, of size 0."""
    if tensor.is_meta or not tensor.numel():
        return None
    return Stream(fresh_seed(generator))


@torch.no_grad()
def draw_(
    tensor: Tensor, wanted: Wanted, generator: torch.Generator | Stream | None = None
) -> Tensor:
    """Fill the tensor with numbers of a law, from a generator or a stream, and return it."""
    stream = generator if isinstance(generator, Stream) else stream_for(tensor, generator)
    if stream is None:
        return tensor
    if wanted.scale == 0:
        value = complex(wanted.loc, wanted.loc) if tensor.is_complex() else wanted.loc
        return tensor.fill_(value)
    if tensor.is_complex():
        shape, dtype = (*tensor.shape, 2), tensor.dtype.to_real()
        parts = torch.empty(shape, dtype=dtype, device=tensor.device)
        return tensor.copy_(torch.view_as_complex(_fill_(parts, wanted, stream)))
    if tensor.dtype in FLOAT8:
        single = torch.empty(tensor.shape, dtype=torch.float32, device=tensor.device)
        return tensor.copy_(_fill_(single, wanted, stream))
    return _fill_(tensor, wanted, stream)


def _fill_(out: Tensor, wanted: Wanted, stream: Stream) -> Tensor:
    law = _law(wanted)
    if law is not None:
        return stream.fill_(out, NAME, law)
    flat = torch.empty(out.numel(), dtype=out.dtype, device=out.device)
    for start in range(0, len(flat), CHUNK):
        stop = min(start + CHUNK, len(flat))
        flat[start:stop] = _in_double(wanted, stream, len(flat), (start, stop))
    return out.copy_(flat.view(out.shape))


@lru_cache(maxsize=1024)
def _law(wanted: Wanted) -> Law | None:
    """Return the stream's law; None for what is beyond float32, or coarse there."""
    try:
        law = Law(*wanted[:5])
    except StreamError:
        return None
    return None if _is_narrow(wanted) else law


def _is_narrow(wanted: Wanted) -> bool:
    """Whether an interval holds fewer of a stream's 2**32 words than float32 has digits for."""
    if wanted.kind != "truncated":
        return False
    return cdf_word(wanted.high) - cdf_word(wanted.low) < 1 << 24


def _in_double(wanted: Wanted, stream: Stream, numel: int, part: tuple[int, int]) -> Tensor:
    """Return some of the values in float64: for tiny or huge scales, narrow intervals, far tails.

    Args:
        wanted: the law.
        stream: what to draw from.
        numel: of the whole tensor.
        part: the first row-major index, and the one behind the last.
    """
    kind, loc, scale, low, high, least, greatest = wanted

    def draw(law: Law) -> Tensor:
        return stream.draw(NAME, law, (numel,), box=(part,), dtype=torch.float64)

    if not _is_narrow(wanted):
        return draw(Law(kind, 0.0, 1.0, low, high)).mul_(scale).add_(loc).clamp_(least, greatest)
    chance = draw(Law.uniform(0.0, 1.0))
    if low + high < 0:  # the mirror image
        return greatest - scale * _excess(chance, -high, -low)
    return (least + scale * _excess(chance, low, high)).clamp_(least, greatest)


def _excess(chance: Tensor, low: float, high: float) -> Tensor:
    """Return z - low, z the quantile of a standard normal between low and high.

    With the hazard integrated from low, H(t) = low t + t^2/2 - log(erfcx((low + t)/sqrt 2) /
    erfcx(low/sqrt 2)), the distribution of t is (1 - exp(-H(t))) / (1 - exp(-H(high - low))).
    H is convex where low is not far below 0, so that Newton's method from the right goes down to
    the root; no digits are lost however far out or narrow the interval is.

    Args:
        chance: float64 in [0, 1].
        low: in units of the standard deviation, as ``high``; low + high >= 0.
        high: may be infinite.
    """
    start = torch.tensor(low / math.sqrt(2), dtype=torch.float64, device="cpu")
    if not start.square().isfinite():  # nothing but the bound itself is left
        return torch.zeros_like(chance)
    erfcx = cast("Callable[[Tensor], Tensor]", torch.special.erfcx)
    at_low = erfcx(start)

    def hazard(t: Tensor) -> Tensor:
        return _HAZARD / erfcx(start + t / math.sqrt(2))

    def integrated(t: Tensor) -> Tensor:
        return low * t + t * t / 2 + torch.log(hazard(t) * at_low / _HAZARD)

    width = torch.tensor(high - low, dtype=torch.float64, device="cpu")
    mass = -torch.expm1(-integrated(width)) if width.isfinite() else torch.ones_like(width)
    wanted = -torch.log1p(-chance.clamp(2.0**-33, 1 - 2.0**-33) * mass)
    t = wanted / hazard(torch.zeros_like(width))
    for _ in range(10):
        t = t - (integrated(t) - wanted) / hazard(t)
    return t.clamp(0.0, high - low)
