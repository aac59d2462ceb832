"""Values that rise or fall along the last axis of a tensor."""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from goodinit.errors import SchemeError
from goodinit.schemes import fields
from goodinit.schemes.fans import Site
from goodinit.schemes.scheme import BoxDraw, Draw, Scheme, mean_and_std
from goodinit.streams import Box
from goodinit.streams.part import slices


class AlongLastAxis(Scheme):
    """Fixed numbers along the last axis, the same for every index of the others."""

    @abstractmethod
    def row(self, site: Site) -> Tensor:
        """Return the numbers, float64: along the last axis, or of the site's shape."""

    def moments(self, site: Site) -> tuple[float, float]:
        return mean_and_std(self.row(site))

    @torch.no_grad()
    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        out.copy_(self.row(site))

    @torch.no_grad()
    def fill_part_(self, out: Tensor, draw: BoxDraw, site: Site, box: Box) -> None:
        values = self.row(site)
        out.copy_(values[slices(box[-values.dim() :])])


@dataclass(frozen=True, repr=False)
class Ramp(AlongLastAxis):
    """Values from ``start`` to ``stop`` along the last axis; nothing is drawn.

    Element i of n is start + (stop - start) t^power, with t = i/(n - 1), or i/n where the end is
    left out. Gates and decay rates of xLSTM and RWKV start so: each channel remembers for another
    time.

    Args:
        start: the first value.
        stop: the last value.
        power: of t; 1 is even.
        ends: whether the last element is ``stop``. If not, the next one would be.
        wave: height of a wave s |s| that is added, with s from -1 to 1 over each ``period``.
        period: number of elements of a wave, such as those of a head; 0 is none.
        phase: by how many elements the wave has begun at the first.
        flat: whether it runs along all axes together, one after the other, such as heads and
            channels of a head.

    Raises:
        SchemeError: a number that isn't finite; a power that isn't positive; a wave without a
            period of 2 or more; (when used) a tensor without axes.

    Example:
        >>> import torch
        >>> out = torch.empty(4)
        >>> Ramp(3.0, 6.0).fill_(out, draw=None, site=Site((4,)))
        >>> out
        tensor([3., 4., 5., 6.])
    """

    start: float
    stop: float
    power: float = 1.0
    ends: bool = True
    wave: float = 0.0
    period: int = 0
    phase: int = 0
    flat: bool = False

    def __post_init__(self) -> None:
        for name in ("start", "stop", "power", "wave"):
            fields.set_float(self, name)
        for name in ("ends", "flat"):
            fields.check_flag(self, name)
        if self.power <= 0:
            fields.refuse(self, "power", self.power, "power must be above 0")
        if self.period != 0:
            fields.check_count(self, "period")
        if self.phase != 0:
            fields.check_count(self, "phase")
        if self.wave and self.period < 2:
            fields.refuse(self, "period", self.period, "a wave has a period of 2 or more")

    def times(self, factor: float) -> Scheme:
        factor = fields.as_factor(self, factor)
        changes = {name: getattr(self, name) * factor for name in ("start", "stop", "wave")}
        return replace(self, **changes)

    def row(self, site: Site) -> Tensor:
        if not site.shape:
            raise SchemeError(f"{self!r} runs along an axis, and a number has none")
        size = math.prod(site.shape) if self.flat else site.shape[-1]
        numbers = torch.arange(size, dtype=torch.float64, device="cpu")
        along = numbers / max(size - self.ends, 1)
        values = self.start + (self.stop - self.start) * along**self.power
        if self.wave:
            half = (self.period - 1) / 2
            slope = ((numbers + self.phase) % self.period - half) / half
            values = values + self.wave * slope * slope.abs()
        return values.view(site.shape) if self.flat else values
