"""The laws of a state space model's own parameters: decay rates and step sizes."""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from goodinit.errors import SchemeError
from goodinit.schemes import fields
from goodinit.schemes.fans import Site
from goodinit.schemes.ramps import AlongLastAxis
from goodinit.schemes.scheme import Draw, Scheme, mean_and_std
from goodinit.streams import Box, Law

LOGARITHM = "{} is the logarithm of a rate: pass other bounds, not a factor"
POINTS = 4096  # of the midpoint rule: the moments of these smooth functions hold to 1e-6


class Transformed(Scheme):
    """A smooth function of a number from U(0, 1), the same for all elements."""

    no_factor = LOGARITHM

    @abstractmethod
    def transform(self, chance: Tensor) -> Tensor:
        """Return the values for numbers from [0, 1), float64; they rise with the numbers."""

    def moments(self, site: Site) -> tuple[float, float]:
        numbers = torch.arange(POINTS, dtype=torch.float64, device="cpu")
        return mean_and_std(self.transform((numbers + 0.5) / POINTS))

    @torch.no_grad()
    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        chance = torch.empty(out.shape, dtype=torch.float32, device=out.device)
        draw(chance, Law.uniform(0.0, 1.0))
        out.copy_(self.transform(chance.double()))

    def reach(self, site: Site, box: Box) -> tuple[Box, Site]:
        return box, site


@dataclass(frozen=True, repr=False)
class LogUniform(Transformed):
    """log(U(low, high)): Mamba-2's ``A_log``, whose exp is a decay rate (Dao & Gu, 2024).

    Args:
        low: the smallest rate.
        high: the largest rate.

    Raises:
        SchemeError: a bound that isn't positive and finite, or low >= high; a factor other than 1.

    Example:
        >>> mean, std = LogUniform(1.0, 16.0).moments(Site((24,)))
        >>> round(mean, 4), round(16 * math.log(16) / 15 - 1, 4)
        (1.9574, 1.9574)
    """

    low: float = 1.0
    high: float = 16.0

    def __post_init__(self) -> None:
        _check_range(self)

    def transform(self, chance: Tensor) -> Tensor:
        return (self.low + (self.high - self.low) * chance).log()


@dataclass(frozen=True, repr=False)
class StepBias(Transformed):
    """The bias of a step size: softplus of it is log-uniform from ``low`` to ``high``.

    Mamba's ``dt_proj.bias`` and Mamba-2's ``dt_bias`` (Gu & Dao, 2023).

    Args:
        low: the smallest step.
        high: the largest step.
        least: steps below it are raised to it.

    Raises:
        SchemeError: a bound that isn't positive and finite, or low >= high; a factor other than 1.

    Example:
        The median step is 0.01, the mean step (0.1 - 0.001) / ln(100) = 0.0215:

        >>> steps = torch.nn.functional.softplus(StepBias().transform(torch.tensor([0.5]).double()))
        >>> round(steps.item(), 6)
        0.01
    """

    low: float = 1e-3
    high: float = 0.1
    least: float = 1e-4

    def __post_init__(self) -> None:
        _check_range(self)
        fields.set_float(self, "least", least=0.0)

    def transform(self, chance: Tensor) -> Tensor:
        start, width = math.log(self.low), math.log(self.high / self.low)
        step = (start + width * chance).exp().clamp(min=self.least)
        return step + (-torch.expm1(-step)).log()  # the inverse of softplus


@dataclass(frozen=True, repr=False)
class LogRange(AlongLastAxis):
    """log(1), log(2), ..., log(n) along the last axis: the decay rates of S4D-Real and Mamba.

    Raises:
        SchemeError: (when used) a tensor without axes; a factor other than 1.

    Example:
        >>> out = torch.empty(2, 3)
        >>> LogRange().fill_(out, draw=None, site=Site((2, 3)))
        >>> out[1]
        tensor([0.0000, 0.6931, 1.0986])
    """

    no_factor = LOGARITHM

    def row(self, site: Site) -> Tensor:
        if not site.shape:
            raise SchemeError(f"{self!r} counts along an axis, and a number has none")
        numbers = torch.arange(1, site.shape[-1] + 1, dtype=torch.float64, device="cpu")
        return numbers.log()


def _check_range(scheme: LogUniform | StepBias) -> None:
    for name in ("low", "high"):
        fields.set_float(scheme, name, least=0.0)
    if not 0 < scheme.low < scheme.high:
        fix = f"low must be above 0 and below high, {scheme.high:g}"
        fields.refuse(scheme, "low", scheme.low, fix)
