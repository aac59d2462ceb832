"""Schemes whose elements are independent, and schemes that draw nothing."""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor

from goodinit.errors import SchemeError, StreamError
from goodinit.schemes import fields
from goodinit.schemes.fans import Site
from goodinit.schemes.quadrature import ten_digits, truncated_moments
from goodinit.schemes.scheme import BoxDraw, Draw, FromValues, Scheme, Unplanned, mean_and_std
from goodinit.streams import Box, Law
from goodinit.streams.part import slices

if TYPE_CHECKING:
    from collections.abc import Callable

_NO_SITE = Site(())  # for laws that don't depend on the site


class Drawn(Scheme):
    """A scheme that draws each element from one law, independently of the others."""

    @abstractmethod
    def law(self, site: Site) -> Law:
        """Return the law that every element is drawn from.

        Raises:
            FanError: the scheme needs fans and the site has none.
            StreamError: numbers that no stream draws, such as a std of 1e-30.
        """

    def check(self, site: Site) -> None:
        _, std = self.moments(site)
        if std > 0:
            self._check_law(site)

    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        law = _law_or_constant(self, site)
        if not isinstance(law, Law):
            _copy_(out, law)
        elif out.requires_grad and torch.is_grad_enabled():
            with torch.no_grad():
                draw(out, law)
        else:
            draw(out, law)

    def reach(self, site: Site, box: Box) -> tuple[Box, Site]:
        return box, site

    def _check_law(self, site: Site) -> None:
        try:
            self.law(site)
        except StreamError as error:
            raise SchemeError(f"{self!r} can't be drawn: {error}") from error


@functools.lru_cache(maxsize=4096)
def _law_or_constant(scheme: Drawn, site: Site) -> Law | float:
    """Return the law, or the constant if there is nothing to draw; cached for equal layers."""
    mean, std = scheme.moments(site)
    return scheme.law(site) if std > 0 else mean


@dataclass(frozen=True, repr=False)
class Normal(Drawn):
    """N(mean, std^2).

    Args:
        std: standard deviation; 0 gives the mean, which planning refuses for a weight.
        mean: mean. By keyword only: torch and numpy have it first.

    Raises:
        SchemeError: a number that isn't finite, or a negative std.

    Example:
        >>> Normal(0.02).moments(Site((10,)))
        (0.0, 0.02)
    """

    torch_order = ("mean", "std")
    std: float
    mean: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        fields.set_float(self, "std", least=0.0)
        fields.set_float(self, "mean")
        self._check_law(_NO_SITE)

    def law(self, site: Site) -> Law:
        return Law.normal(self.mean, self.std)

    def moments(self, site: Site) -> tuple[float, float]:
        return self.mean, self.std

    def times(self, factor: float) -> Scheme:
        factor = fields.as_factor(self, factor)
        return Normal(self.std * factor, mean=self.mean * factor) if factor else Zeros()


@dataclass(frozen=True, repr=False)
class Uniform(Drawn):
    """U(low, high), whose standard deviation is (high - low)/sqrt(12).

    Args:
        low: lower bound.
        high: upper bound.

    Raises:
        SchemeError: a bound that isn't finite, or low >= high.

    Example:
        >>> mean, std = Uniform(-0.1, 0.1).moments(Site((10,)))
        >>> mean, round(std, 6)
        (0.0, 0.057735)
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        fields.set_float(self, "low")
        fields.set_float(self, "high")
        if self.low == self.high:
            fix = f"nothing lies between equal bounds; use Constant({self.low:g})"
            fields.refuse(self, "low", self.low, fix)
        if self.low > self.high:
            fields.refuse(self, "low", self.low, f"low must be below high, {self.high:g}")
        self._check_law(_NO_SITE)

    def law(self, site: Site) -> Law:
        return Law.uniform(self.low, self.high)

    def moments(self, site: Site) -> tuple[float, float]:
        return (self.low + self.high) / 2, (self.high - self.low) / math.sqrt(12)

    def times(self, factor: float) -> Scheme:
        factor = fields.as_factor(self, factor)
        return Uniform(self.low * factor, self.high * factor) if factor else Zeros()


@dataclass(frozen=True, repr=False)
class TruncatedNormal(Drawn):
    """A normal law conditioned on lying within ``cut`` standard deviations of its mean.

    Cutting narrows: the usual cut at 2 sigma leaves .880 of the std. (The bounds of timm's and
    torch's ``trunc_normal_`` are absolute; they cut a std of .02 at 100 sigma, which cuts nothing.)
    ``corrected=True`` widens the law first.

    Args:
        std: standard deviation before the cut; after it if ``corrected``. The others are by
            keyword only.
        mean: mean before the cut (after it as well, if the cut is symmetric).
        cut: c for [-c, c], or (low, high); in units of the standard deviation of the law that
            is cut, so a corrected law's bounds are wider.
        corrected: whether ``std`` holds after the cut.

    Raises:
        SchemeError: a number that isn't finite, a negative std, an empty cut.

    Example:
        >>> site = Site((10,))
        >>> round(TruncatedNormal(0.02).moments(site)[1], 6)
        0.017593
        >>> round(TruncatedNormal(0.02, corrected=True).moments(site)[1], 6)
        0.02
        >>> round(TruncatedNormal(1.0, cut=(0.0, 3.0)).moments(site)[0], 6)
        0.791157
    """

    torch_order = ("mean", "std")
    std: float
    mean: float = field(default=0.0, kw_only=True)
    cut: float | tuple[float, float] = field(default=2.0, kw_only=True)
    corrected: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        fields.set_float(self, "std", least=0.0)
        fields.set_float(self, "mean")
        self._check_cut()
        fields.check_flag(self, "corrected")
        self._check_law(_NO_SITE)

    def _check_cut(self) -> None:
        cut: object = self.cut
        if isinstance(cut, (tuple, list)):
            pair = cast("tuple[object, ...] | list[object]", cut)
            if len(pair) != 2:
                fields.refuse(self, "cut", cut, "cut must be a number or a pair (low, high)")
            low, high = (fields.as_float(self, "cut", bound) for bound in pair)
            object.__setattr__(self, "cut", (low, high))
        else:
            fields.set_float(self, "cut")
        low, high = self._bounds()
        if low >= high or (self.corrected and truncated_moments(low, high)[1] == 0):
            fix = "cut must be positive, or a pair low < high, in units of std"
            fields.refuse(self, "cut", cut, f"nothing lies within it; {fix}")

    def _bounds(self) -> tuple[float, float]:
        return self.cut if isinstance(self.cut, tuple) else (-self.cut, self.cut)

    def _uncut_std(self) -> float:
        return self.std / truncated_moments(*self._bounds())[1] if self.corrected else self.std

    def law(self, site: Site) -> Law:
        return Law.truncated(self.mean, self._uncut_std(), *self._bounds())

    def moments(self, site: Site) -> tuple[float, float]:
        shift, narrowing = truncated_moments(*self._bounds())
        std = self._uncut_std()
        return self.mean + std * shift, std * narrowing

    def times(self, factor: float) -> Scheme:
        factor = fields.as_factor(self, factor)
        return replace(self, std=self.std * factor, mean=self.mean * factor) if factor else Zeros()


class _Fixed(Scheme):
    """Shared: one number for all elements."""

    value: float

    def moments(self, site: Site) -> tuple[float, float]:
        return self.value, 0.0

    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        _copy_(out, self.value)

    def reach(self, site: Site, box: Box) -> tuple[Box, Site]:
        return box, site


@dataclass(frozen=True, repr=False)
class Constant(_Fixed):
    """The same value everywhere.

    Raises:
        SchemeError: a value that isn't a finite number.

    Example:
        >>> Constant(0.01).moments(Site((10,)))
        (0.01, 0.0)
    """

    value: float

    def __post_init__(self) -> None:
        fields.set_float(self, "value")
        if abs(self.value) > torch.finfo(torch.float32).max:
            fields.refuse(self, "value", self.value, "value must be within float32")

    def times(self, factor: float) -> Scheme:
        factor = fields.as_factor(self, factor)
        return Constant(self.value * factor) if factor else Zeros()


@dataclass(frozen=True, repr=False)
class Zeros(_Fixed):
    """0 everywhere.

    >>> Zeros().moments(Site((10,)))
    (0.0, 0.0)
    """

    value = 0.0

    def times(self, factor: float) -> Scheme:
        fields.as_factor(self, factor)
        return self


@dataclass(frozen=True, repr=False)
class Ones(_Fixed):
    """1 everywhere.

    >>> Ones().times(0.1)
    Constant(value=0.1)
    """

    value = 1.0

    def times(self, factor: float) -> Scheme:
        return self if factor == 1 else Constant(1.0).times(factor)


@dataclass(frozen=True, repr=False)
class TorchDefault(Unplanned):
    """What the module's own ``reset_parameters`` would draw; a plan resolves it into a law.

    >>> TorchDefault()
    TorchDefault()
    """

    fix = ": it depends on the module that owns the tensor. Use goodinit.plan or goodinit.init_"
    no_factor = "{} has no numbers to multiply before it is planned"


@dataclass(frozen=True, repr=False)
class Keep(FromValues):
    """The tensor's current values: nothing is written, and nothing is known about them.

    >>> Keep().moments(Site((10,)))
    (nan, nan)
    """

    no_factor = "{} writes nothing, so there is nothing to multiply"

    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        pass


@dataclass(frozen=True, repr=False)
class AddNoise(FromValues):
    """The current values plus normal noise, a share of their standard deviation.

    It makes copies differ: experts made from one feed-forward layer (sparse upcycling, Komatsuzaki
    et al. 2023). Applied twice, it adds noise twice.

    Args:
        share: standard deviation of the noise over that of the tensor's (or block's) values.

    Raises:
        SchemeError: a share that is negative or not finite.

    Example:
        >>> from goodinit.streams import Stream
        >>> out = torch.tensor([-2.0, 2.0])  # of standard deviation 2
        >>> draw = lambda out, law, purpose="": Stream(0).fill_(out, "w", law, purpose=purpose)
        >>> AddNoise(0.01).fill_(out, draw, Site((2,)))
        >>> bool((out - torch.tensor([-2.0, 2.0])).abs().max() < 0.2)
        True
    """

    no_factor = "AddNoise adds to the current values: pass another share instead"

    share: float = 0.01

    def __post_init__(self) -> None:
        fields.set_float(self, "share", least=0.0)

    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        std = self.share * _rounded_std(out)
        if std > 0:
            noise = torch.empty(out.shape, dtype=torch.float32, device=out.device)
            draw(noise, Law.normal(0.0, std))
            _copy_(out, out + noise)


@dataclass(frozen=True, repr=False)
class Function(Scheme):
    """Values computed from the shape and the fans: sinusoids, Mamba's A_log.

    Args:
        f: given the site, returns a real tensor of ``site.shape`` or one that broadcasts to it.
            It must not draw: its own random numbers would not depend on the seed and the name.
        factor: multiplies the values; ``times`` sets it.

    Raises:
        SchemeError: an f that can't be called, or (when used) one that raises, or returns
            another shape, NaN or infinity. ``to_dict`` too: code can't go into a file.

    Example:
        >>> a_log = Function(lambda site: torch.arange(1, site.shape[-1] + 1).log())
        >>> out = torch.empty(2, 3)
        >>> a_log.fill_(out, draw=None, site=Site((2, 3)))
        >>> out[1]
        tensor([0.0000, 0.6931, 1.0986])
    """

    example_call: ClassVar[str] = "gi.Function(lambda site: torch.ones(site.shape))"

    f: Callable[[Site], Tensor]
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not callable(self.f):
            fields.refuse(self, "f", self.f, "f must be a function of a Site")
        fields.set_float(self, "factor", least=0.0)

    def moments(self, site: Site) -> tuple[float, float]:
        return mean_and_std(self._values(site).double())

    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        _copy_(out, self._values(site))

    def fill_part_(self, out: Tensor, draw: BoxDraw, site: Site, box: Box) -> None:
        _copy_(out, self._values(site)[slices(box)])

    def times(self, factor: float) -> Scheme:
        factor = fields.as_factor(self, factor)
        return Function(self.f, self.factor * factor) if factor else Zeros()

    def to_dict(self) -> dict[str, object]:
        raise SchemeError(f"{self!r} holds code, which can't be written to a file")

    def _values(self, site: Site) -> Tensor:
        try:
            with torch.device("cpu"), torch.no_grad():  # values, even where a model is on meta
                values = cast("object", self.f(site))
        except Exception as error:
            message = f"{self!r} raised {type(error).__name__} on {site}: {error}"
            fix = f"f gets a site and returns its values. Write {self.example_call}"
            raise SchemeError(f"{message}. {fix}") from error
        if not isinstance(values, Tensor) or values.is_complex() or values.is_meta:
            got = fields.short_repr(values)
            raise SchemeError(f"{self!r} must return a real tensor, not {got}")
        try:
            values = values.expand(site.shape)
        except RuntimeError as error:
            message = f"{self!r} returned shape {tuple(values.shape)}, which doesn't broadcast to"
            raise SchemeError(f"{message} {site.shape}") from error
        values = values if self.factor == 1 else values * self.factor
        if not values.float().isfinite().all():
            raise SchemeError(f"{self!r} has NaN, or values beyond float32, on {site}")
        return values


def _rounded_std(values: Tensor) -> float:
    """Return the standard deviation, rounded so that the number of threads doesn't matter."""
    if not values.numel():
        return 0.0
    values = values.detach()
    mean = values.mean(dtype=torch.float64).item()
    norm = cast("float", torch.linalg.vector_norm(values, dtype=torch.float64).item())
    return ten_digits(math.sqrt(max(norm**2 / values.numel() - mean**2, 0.0)))


def _copy_(out: Tensor, values: Tensor | float) -> None:
    if torch.is_grad_enabled():  # entering no_grad takes longer than a small fill
        with torch.no_grad():
            _copy_(out, values)
    elif isinstance(values, Tensor):
        out.copy_(values)
    else:
        out.fill_(values)
