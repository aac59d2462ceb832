"""Schemes whose variance follows from the fans: VarianceScaling and its one-line names."""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: D102

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, cast

from goodinit.errors import FanError
from goodinit.schemes import fields, gains
from goodinit.schemes.fans import Site
from goodinit.schemes.scheme import Scheme
from goodinit.schemes.values import Drawn, TruncatedNormal, Zeros
from goodinit.streams import Law

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("normal", "uniform", "truncated")


class _ByFan(Drawn):
    """A scheme that is a ``VarianceScaling`` under another name."""

    @abstractmethod
    def scaling(self) -> VarianceScaling:
        """Return the same scheme as a ``VarianceScaling``."""

    def law(self, site: Site) -> Law:
        std = self._std(site)
        match self.scaling().distribution:
            case "normal":
                return Law.normal(0.0, std)
            case "uniform":
                return Law.uniform(-math.sqrt(3) * std, math.sqrt(3) * std)
            case _:
                return TruncatedNormal(std, corrected=True).law(site)

    def moments(self, site: Site) -> tuple[float, float]:
        return 0.0, self._std(site)

    def times(self, factor: float) -> Scheme:
        factor = fields.as_factor(self, factor)
        scaling = self.scaling()
        return replace(scaling, scale=scaling.scale * _square(factor)) if factor else Zeros()

    def _std(self, site: Site) -> float:
        """Return sqrt(scale / fan). Errors name the scheme that was used, not VarianceScaling."""
        scaling = self.scaling()
        names = ["fan_in", "fan_out"] if scaling.mode == "fan_avg" else [scaling.mode]
        fans: list[float | None] = [getattr(site, name) for name in names]
        known = [fan for fan in fans if fan is not None]
        if len(known) < len(fans):
            raise FanError(
                f"{self!r} needs {' and '.join(names)}, which a tensor of shape "
                f"{site.shape} without known axes doesn't have. Use Normal(std), Constant(value) "
                f"or Zeros() for a bias or a scale; say which axis is which with a Layout if it "
                f"is a weight"
            )
        fan = sum(known) / len(known)
        if not 0 < fan < math.inf:
            raise FanError(
                f"{self!r} divides by {' and '.join(names)}, which is {fan:g} for a tensor of "
                f"shape {site.shape}. Use Zeros(), or leave it out: it has nothing to draw"
            )
        return math.sqrt(scaling.scale / fan)


def share_gain(scheme: Scheme, factors: int) -> Scheme:
    """Return the law of one of several weights that are multiplied, so that all have one gain.

    Each has its own share of the fan. If each is drawn with variance scale/fan, the product has
    scale^factors times LeCun's: to have scale once, each needs scale^(1/factors).

    >>> share_gain(HeNormal(), 2)
    VarianceScaling(scale=1.41421)
    """
    if factors < 2 or not isinstance(scheme, _ByFan):
        return scheme
    scale = scheme.scaling().scale
    return scheme if scale in (0.0, 1.0) else scheme.times(scale ** (0.5 / factors - 0.5))


def _square(value: float) -> float:
    """Return the square, infinite where ``**`` would raise."""
    try:
        return value**2
    except OverflowError:
        return math.inf


@dataclass(frozen=True, repr=False)
class VarianceScaling(_ByFan):
    """Mean 0 and variance scale/fan, for any distribution.

    With fans as in ``Layout``, E[y^2] = scale * E[x^2] through the module for ``fan_in``, and
    E[g_x^2] = scale * E[g_y^2] for ``fan_out``.

    Args:
        scale: the variance times the fan.
        mode: ``"fan_in"``, ``"fan_out"`` or ``"fan_avg"`` (their mean).
        distribution: ``"normal"``, ``"uniform"``, or ``"truncated"``: a normal law cut at 2
            sigma, widened so that the variance holds after the cut.

    Raises:
        SchemeError: a negative scale, an unknown mode or distribution.
        FanError: (when used) the tensor has no fans, or a fan of 0.

    Example:
        >>> from goodinit.schemes import Layout
        >>> site = Site.of((64, 16, 3, 3), Layout(outputs=(0,), inputs=(1,), window=(2, 3)))
        >>> VarianceScaling(2.0).moments(site)[1] == (2 / 144) ** 0.5
        True
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "normal"

    def __post_init__(self) -> None:
        fields.set_float(self, "scale", least=0.0)
        fields.check_choice(self, "mode", MODES)
        fields.check_choice(self, "distribution", DISTRIBUTIONS)

    def scaling(self) -> VarianceScaling:
        return self


class _Xavier(_ByFan):
    gain: float
    _distribution: ClassVar[str]

    def __post_init__(self) -> None:
        fields.set_float(self, "gain", least=0.0)
        if _square(self.gain) == math.inf:
            fields.refuse(self, "gain", self.gain, "gain must have a finite square")

    def scaling(self) -> VarianceScaling:
        return VarianceScaling(_square(self.gain), "fan_avg", self._distribution)

    def times(self, factor: float) -> Scheme:
        factor = fields.as_factor(self, factor)
        return replace(self, gain=self.gain * factor) if factor else Zeros()


@dataclass(frozen=True, repr=False)
class XavierUniform(_Xavier):
    """U(-b, b), b = gain * sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio, 2010).

    Args:
        gain: factor on the values; ``goodinit.schemes.gain`` gives the true one.

    Raises:
        SchemeError: a gain that is negative or not finite.
        FanError: (when used) the tensor has no fans.

    Example:
        >>> from goodinit.schemes import Layout
        >>> site = Site.of((20, 30), Layout(outputs=(0,), inputs=(1,)))
        >>> XavierUniform().law(site).scale, math.sqrt(6 / 50)  # the half width
        (0.346410..., 0.346410...)
    """

    gain: float = 1.0

    _distribution = "uniform"


@dataclass(frozen=True, repr=False)
class XavierNormal(_Xavier):
    """N(0, gain^2 * 2 / (fan_in + fan_out)) (Glorot & Bengio, 2010).

    Arguments and errors as for ``XavierUniform``.

    Example:
        >>> from goodinit.schemes import Layout
        >>> site = Site.of((20, 30), Layout(outputs=(0,), inputs=(1,)))
        >>> XavierNormal(gain=2.0).moments(site)
        (0.0, 0.4)
    """

    gain: float = 1.0

    _distribution = "normal"


class _He(_ByFan):
    nonlinearity: str
    a: float
    mode: str
    _distribution: ClassVar[str]

    def __post_init__(self) -> None:
        fields.set_float(self, "a")
        fields.check_choice(self, "mode", MODES)
        name = self.nonlinearity
        if name in MODES:
            line = f"gi.{type(self).__name__}(mode={name!r})"
            fields.refuse(self, "nonlinearity", name, f"that is a mode. Write {line}")
        if not isinstance(cast("object", name), str):
            fix = "nonlinearity must be a name; for a callable f: VarianceScaling(gain(f) ** 2)"
            fields.refuse(self, "nonlinearity", name, fix)
        if self.a and name != "leaky_relu":
            line = f"gi.{type(self).__name__}(nonlinearity='leaky_relu', a={self.a:g})"
            fix = f"a is the negative slope of leaky_relu, and {name} has none. Write {line}"
            fields.refuse(self, "a", self.a, fix)
        self.scaling()  # refuses an unknown nonlinearity

    def scaling(self) -> VarianceScaling:  # with scale = gain^2 = 1/E[f^2]
        slope = {"negative_slope": self.a} if self.nonlinearity == "leaky_relu" else {}
        second = gains.second_moment(self.nonlinearity, **slope)
        return VarianceScaling(1 / second, self.mode, self._distribution)


@dataclass(frozen=True, repr=False)
class HeUniform(_He):
    """U(-b, b), b = gain * sqrt(3 / fan) with the gain of a nonlinearity (He et al., 2015).

    Args:
        nonlinearity: a name of ``gains.NONLINEARITIES``; the true gain is used, not torch's.
        a: negative slope of leaky_relu, for which the gain is sqrt(2 / (1 + a^2)); 0 gives relu.
        mode: ``"fan_in"`` keeps the signal, ``"fan_out"`` the gradient.

    Two values of ``a`` aren't real slopes: ``HeUniform("leaky_relu", a=math.sqrt(5))`` is torch's
    default law, U(+-1/sqrt(fan_in)), a third of LeCun's variance; ``a=math.sqrt(3)`` gives
    U(+-sqrt(1.5 / fan_in)), half of it. ``VarianceScaling(1/3, "fan_in", "uniform")`` states the
    first directly.

    Raises:
        SchemeError: an unknown nonlinearity or mode; an ``a`` with another nonlinearity.
        FanError: (when used) the tensor has no fans.

    Example:
        >>> from goodinit.schemes import Layout
        >>> site = Site.of((20, 100), Layout(outputs=(0,), inputs=(1,)))
        >>> round(HeUniform("leaky_relu", a=math.sqrt(5)).law(site).scale, 9)  # the half width
        0.1
        >>> HeUniform().times(0.5)
        VarianceScaling(scale=0.5, distribution='uniform')
    """

    nonlinearity: str = "relu"
    a: float = 0.0
    mode: str = "fan_in"

    _distribution = "uniform"


@dataclass(frozen=True, repr=False)
class HeNormal(_He):
    """N(0, gain^2 / fan) with the gain of a nonlinearity (He et al., 2015).

    Arguments and errors as for ``HeUniform``.

    Example:
        >>> from goodinit.schemes import Layout
        >>> site = Site.of((20, 50), Layout(outputs=(0,), inputs=(1,)))
        >>> HeNormal().moments(site)
        (0.0, 0.2)
    """

    nonlinearity: str = "relu"
    a: float = 0.0
    mode: str = "fan_in"

    _distribution = "normal"


@dataclass(frozen=True, repr=False)
class LeCunUniform(_ByFan):
    """U(-b, b), b = sqrt(3 / fan_in): E[y^2] = E[x^2] (LeCun et al., 1998).

    >>> LeCunUniform().scaling()
    VarianceScaling(distribution='uniform')
    """

    def scaling(self) -> VarianceScaling:
        return VarianceScaling(1.0, "fan_in", "uniform")


@dataclass(frozen=True, repr=False)
class LeCunNormal(_ByFan):
    """N(0, 1 / fan_in): E[y^2] = E[x^2] (LeCun et al., 1998).

    Not cut; JAX's ``lecun_normal`` is ``VarianceScaling(1.0, "fan_in", "truncated")``.

    >>> LeCunNormal().times(2.0)
    VarianceScaling(scale=4)
    """

    def scaling(self) -> VarianceScaling:
        return VarianceScaling(1.0, "fan_in", "normal")


KaimingUniform, KaimingNormal = HeUniform, HeNormal
GlorotUniform, GlorotNormal = XavierUniform, XavierNormal
