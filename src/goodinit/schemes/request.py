"""Draw a law whatever its numbers and the tensor's dtype, as ``torch.nn.init`` does.

A stream draws in float32. A tiny or huge scale, a narrow interval or a far tail has too few
numbers there, or none: those are drawn in float64 from the stream's uniform or standard numbers.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import torch
from torch import Tensor

from goodinit.errors import StreamError
from goodinit.streams import Law, Stream
from goodinit.streams.spec import cdf_word
from goodinit.streams.stream import CHUNK, FLOAT8

if TYPE_CHECKING:
    from collections.abc import Callable

FEWEST_WORDS = 1 << 24
"""Words of a stream's 2**32, so that an interval has at least float32's 24 bits."""

NEWTON_STEPS = 10
"""Convergence is quadratic: the rest is rounding noise, so a change of it changes the last bits."""

LEAST_CHANCE = 2.0**-33
"""Half a step of the stream's uniform: keeps log(1 - chance) finite at both ends."""

_DENSITY = math.sqrt(2 / math.pi)


class Request(NamedTuple):
    """A law: loc + scale * z, with z between low and high where it is truncated.

    ``least`` and ``greatest`` bound the value itself. A scale of 0 gives the constant loc.
    """

    kind: Literal["normal", "uniform", "truncated"]
    loc: float
    scale: float
    low: float = -math.inf
    high: float = math.inf
    least: float = -math.inf
    greatest: float = math.inf


def fill_request_(out: Tensor, request: Request, stream: Stream, name: str) -> Tensor:
    """Fill the tensor with numbers of the law and return it.

    ``out`` is floating or complex (each part is drawn), float8 too, with any strides.
    """
    if out.requires_grad and torch.is_grad_enabled():  # asked, since no_grad takes 2 us
        with torch.no_grad():
            return fill_request_(out, request, stream, name)
    if request.scale == 0:
        return out.fill_(complex(request.loc, request.loc) if out.is_complex() else request.loc)
    if out.is_complex():
        parts = torch.empty((*out.shape, 2), dtype=out.dtype.to_real(), device=out.device)
        return out.copy_(torch.view_as_complex(_fill(parts, request, stream, name)))
    if out.dtype in FLOAT8:
        single = torch.empty(out.shape, dtype=torch.float32, device=out.device)
        return out.copy_(_fill(single, request, stream, name))
    return _fill(out, request, stream, name)


def _fill(out: Tensor, request: Request, stream: Stream, name: str) -> Tensor:
    law = float32_law(request)
    if law is not None:
        return stream.fill_(out, name, law)
    flat = torch.empty(out.numel(), dtype=out.dtype, device=out.device)
    for start in range(0, len(flat), CHUNK):
        stop = min(start + CHUNK, len(flat))

        def draw(law: Law, part: tuple[int, int] = (start, stop)) -> Tensor:
            return stream.draw(name, law, (len(flat),), box=(part,), dtype=torch.float64)

        flat[start:stop] = _draw_float64(request, draw)
    return out.copy_(flat.view(out.shape))


@lru_cache(maxsize=1024)
def float32_law(request: Request) -> Law | None:
    """Return the stream's law; None for a constant, and what float32 can't hold, or coarsely."""
    if request.scale == 0:
        return None
    try:
        law = Law(*request[:5])
    except StreamError:
        return None
    return None if _is_narrow(request) else law


def _is_narrow(request: Request) -> bool:
    words = cdf_word(request.high) - cdf_word(request.low)
    return request.kind == "truncated" and words < FEWEST_WORDS


def _draw_float64(request: Request, draw: Callable[[Law], Tensor]) -> Tensor:
    kind, loc, scale, low, high, least, greatest = request
    if not _is_narrow(request):
        return draw(Law(kind, 0.0, 1.0, low, high)).mul_(scale).add_(loc).clamp_(least, greatest)
    chance = draw(Law.uniform(0.0, 1.0))
    if low + high < 0:  # the mirror image
        return greatest - scale * quantile_above(chance, -high, -low)
    return (least + scale * quantile_above(chance, low, high)).clamp_(least, greatest)


def quantile_above(chance: Tensor, low: float, high: float) -> Tensor:
    """Return z - low, z the quantile of a standard normal between low and high.

    With the hazard integrated from low, H(t) = low t + t^2/2 - log(erfcx((low + t)/sqrt 2) /
    erfcx(low/sqrt 2)), the distribution of t is (1 - exp(-H(t))) / (1 - exp(-H(high - low))).
    H is convex where low is not far below 0, so Newton's method from the right descends to the
    root. No digits are lost however far out or narrow the interval is.

    Args:
        chance: float64 in [0, 1].
        low: in units of the standard deviation, like ``high``; low + high >= 0.
        high: may be infinite.
    """
    start = torch.tensor(low / math.sqrt(2), dtype=torch.float64, device="cpu")
    if not start.square().isfinite():  # nothing but the bound itself is left
        return torch.zeros_like(chance)
    erfcx = cast("Callable[[Tensor], Tensor]", torch.special.erfcx)
    at_low = erfcx(start)

    def hazard(t: Tensor) -> Tensor:
        return _DENSITY / erfcx(start + t / math.sqrt(2))

    def integrated(t: Tensor, hazard_at_t: Tensor) -> Tensor:
        return low * t + t * t / 2 + torch.log(hazard_at_t * at_low / _DENSITY)

    width = torch.tensor(high - low, dtype=torch.float64, device="cpu")
    infinite = not width.isfinite()
    mass = torch.ones_like(width) if infinite else -torch.expm1(-integrated(width, hazard(width)))
    target = -torch.log1p(-chance.clamp(LEAST_CHANCE, 1 - LEAST_CHANCE) * mass)
    t = target / hazard(torch.zeros_like(width))
    for _ in range(NEWTON_STEPS):
        slope = hazard(t)
        t = t - (integrated(t, slope) - target) / slope
    return t.clamp(0.0, high - low)
