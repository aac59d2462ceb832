"""Schemes that depend on the row: planning replaces them, so that no plan contains one."""

# The base class documents the methods; not every scheme uses every argument.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace

from goodinit.anatomy.rows import Row
from goodinit.errors import GoodinitError, SchemeError
from goodinit.recipes.reasons import BEHIND_FUNCTION
from goodinit.schemes import (
    Constant,
    HeNormal,
    HeUniform,
    Keep,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Ones,
    Orthogonal,
    Scheme,
    Site,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    XavierNormal,
    XavierUniform,
    Zeros,
)
from goodinit.schemes.fans import torch_fans
from goodinit.schemes.fields import check_count, check_flag, refuse
from goodinit.schemes.grown import DropUnits
from goodinit.schemes.low_rank import METHODS, LowRank
from goodinit.schemes.operating_point import operating_point, split_label
from goodinit.schemes.scheme import Unplanned

DEEP = 10  # plain layers: fewer train from normal weights as well
WIDEST = 8192  # inputs of an orthogonal matrix: a wider one takes seconds to draw
EXPLODES = 20.0  # an error of a tenth, as chance makes, is then a factor of 3, and runs away
TOO_DEEP = "the gain of large signals in a stack too deep for its own: the signal can't explode"
FANS_OF_TORCH = "with the fans that torch reads off the shape"
_BY_FAN = (
    *(HeNormal, HeUniform, LeCunNormal, LeCunUniform),
    *(VarianceScaling, XavierNormal, XavierUniform),
)
DEEP_STACK = "orthogonal in a deep plain stack: trains where normal weights don't"


@dataclass(frozen=True, repr=False)
class Deferred(Unplanned):
    """A scheme that planning replaces with another one, depending on the row."""

    @abstractmethod
    def on(self, row: Row) -> tuple[Scheme, str]:
        """Return the scheme for this row, and why it is this one, or ""."""

    def times(self, factor: float) -> Scheme:
        fix = "multiply the schemes in it"
        raise SchemeError(f"{self!r} has no numbers to multiply before it is planned: {fix}")


@dataclass(frozen=True, repr=False)
class Neutral(Deferred):
    """The value at which a scale or an offset changes nothing.

    1 for ``x * w``, 0 for ``x * (1 + w)`` (Gemma's norms) and for ``x + b``. A parameter that
    goes through a function first (CLIP's ``exp(logit_scale)``) is kept. The library's recipes
    give it to norms, and leave other scales as their classes made them.

    Example:
        LayerScale, redrawn:

        >>> import torch
        >>> from goodinit.plans.plan import plan
        >>> from goodinit.recipes import Rule, recipe, sel
        >>> class Scale(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.gamma = torch.nn.Parameter(torch.full((8,), 1e-5))
        ...
        ...     def forward(self, x):
        ...         return x * self.gamma
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 8), Scale())
        >>> plan(net, "standard", inputs=torch.ones(2, 8))["1.gamma"].why
        'keeps the value 1e-05 that its class gave it'
        >>> anew = recipe("standard").override(Rule(sel.kind("scale"), Neutral()))
        >>> plan(net, anew, inputs=torch.ones(2, 8))["1.gamma"].scheme
        Ones()
    """

    def on(self, row: Row) -> tuple[Scheme, str]:
        if row.facets.part == "bias":
            return Zeros(), ""
        match row.facets.neutral:
            case None:
                return Keep(), BEHIND_FUNCTION
            case 1.0:
                return Ones(), ""
            case 0.0:
                return Zeros(), "an offset from the neutral value, as in x * (1 + w)"
            case value:
                return Constant(value), ""


@dataclass(frozen=True, repr=False)
class BranchNorm(Deferred):
    """(2 depth)^-1/2 times what is neutral: for a norm with which a residual branch ends.

    Such a norm makes each branch as large as the stream, whatever its weights are. 2 depth of
    them add up to 1, as those do that end with a weight. Where ``x * (1 + w)`` is computed, w is
    this number minus 1. Neutral where the depth isn't known.
    """

    def on(self, row: Row) -> tuple[Scheme, str]:
        neutral, depth = row.facets.neutral, row.facets.depth
        if neutral is None or depth is None:
            return Neutral().on(row)
        return Constant((2 * depth) ** -0.5 + neutral - 1), ""


@dataclass(frozen=True, repr=False)
class BesideRows(Deferred):
    """N(0, s) for positions that are added to an embedding's rows of second moment s.

    Smaller ones are lost: beside tokens from N(0, 1), a small GPT learns little from positions of
    N(0, .02^2) (docs/default.md). Other positions get ``otherwise``.

    Raises:
        SchemeError: ``otherwise`` isn't a scheme, or depends on the row.
    """

    otherwise: Scheme

    def __post_init__(self) -> None:
        _check_otherwise(self, self.otherwise)

    def on(self, row: Row) -> tuple[Scheme, str]:
        size = row.facets.beside
        if size is None:
            return self.otherwise, "small beside the signal"
        return Normal(math.sqrt(size)), "as large as the rows that they are added to"


@dataclass(frozen=True)
class ReluGain(Deferred):
    """He's law with the exact gain of the relu-like function that follows, else ``otherwise``.

    The relu-like functions are relu, leaky_relu, prelu, rrelu and relu6: their outputs grow with
    their inputs (the slope of the variance map is 1), so matching the second moment is stable.

    Raises:
        SchemeError: ``he`` isn't He's law, or ``otherwise`` isn't a scheme, or depends on the row.
    """

    he: HeNormal | HeUniform
    otherwise: Scheme

    def __post_init__(self) -> None:
        if not isinstance(self.he, (HeNormal, HeUniform)):  # pyright: ignore[reportUnnecessaryIsInstance]
            refuse(self, "he", self.he, "he must be a HeNormal or a HeUniform")
        _check_otherwise(self, self.otherwise)

    def on(self, row: Row) -> tuple[Scheme, str]:
        name, numbers = split_label(row.facets.activation or "")
        if row.facets.squared:
            return self.otherwise, "the square of a relu grows as no relu does"
        match name:
            case "relu" | "relu6" | "rrelu":
                return replace(self.he, nonlinearity=name, a=0.0), ""
            case "leaky_relu" | "prelu":
                a = numbers[0] if numbers else 0.01 if name == "leaky_relu" else 0.25
                return replace(self.he, nonlinearity="leaky_relu", a=a), ""
            case _:
                return self.otherwise, ""

    def __repr__(self) -> str:
        return f"ReluGain({self.he!r}, else {self.otherwise!r})"


@dataclass(frozen=True)
class StackGain(ReluGain):
    """As ``ReluGain``, and in a plain stack the exact gain of whatever activation follows.

    In a plain stack only activations lie between the weights, so that each gain counts to its
    end. A deep one gets orthogonal matrices, which have the same variance: they pass on every
    direction alike, and the stack's scale depends less on chance. One so deep that chance makes
    the signal explode gets the gain of large signals: it decays, and trains.

    Raises:
        SchemeError: as ``ReluGain``.
    """

    def on(self, row: Row) -> tuple[Scheme, str]:
        scheme, why = super().on(row)
        plain = row.facets.plain and not row.facets.squared
        point = operating_point(row.facets.activation or "") if plain else None
        if point is None:
            return scheme, why
        if point.slope ** (row.facets.plain - 1) > EXPLODES:
            return replace(self.he.scaling(), scale=point.large_gain_squared), TOO_DEEP
        if row.facets.plain >= DEEP and _fits_orthogonal(row):
            return Orthogonal(math.sqrt(point.gain_squared)), DEEP_STACK
        if scheme is self.otherwise:
            scaling = replace(self.he.scaling(), scale=point.gain_squared)
            return scaling, f"the gain of {row.facets.activation}"
        return scheme, why

    def __repr__(self) -> str:
        return f"StackGain({self.he!r}, else {self.otherwise!r})"


def _fits_orthogonal(row: Row) -> bool:
    """Whether an orthogonal matrix keeps the signal as a normal law does, and costs little."""
    (_, site), *more = row.sites()
    if more or row.dtype.is_complex or site.fan_in is None or site.fan_in > WIDEST:
        return False
    try:
        return math.isclose(Orthogonal().moments(site)[1] ** 2 * site.fan_in, 1.0, rel_tol=1e-6)
    except GoodinitError:
        return False


@dataclass(frozen=True, repr=False)
class TorchFans(Deferred):
    """A scheme by fan, with the fans that torch reads off the weight's shape.

    Published recipes were run with those: the stride doesn't count, nor does it matter that a
    weight is packed or grouped. ``grouped`` divides fan_out by the groups of a convolution, as
    TensorFlow and timm do.

    Raises:
        SchemeError: ``law`` isn't a scheme by fan.

    Example:
        torchvision's ResNet, on a convolution with stride 2, for which goodinit counts a quarter of
        the outputs:

        >>> from torch import nn
        >>> from goodinit.plans.plan import plan
        >>> from goodinit.recipes import Recipe, Rule, sel
        >>> scheme = TorchFans(HeNormal(mode="fan_out"))
        >>> recipe = Recipe([Rule(sel.all(), scheme)])
        >>> plan(nn.Conv2d(3, 64, 7, 2, bias=False), recipe)["weight"].scheme
        Normal(std=0.0252538)
    """

    law: Scheme
    grouped: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.law, _BY_FAN):
            refuse(self, "law", self.law, "law must be by fan, such as HeNormal()")
        check_flag(self, "grouped")

    def on(self, row: Row) -> tuple[Scheme, str]:
        layout = row.facets.layout
        if layout is None or len(row.shape) < 2 or not isinstance(self.law, _BY_FAN):
            return self.law, ""
        fan_in, fan_out = torch_fans(tuple(row.shape))
        site = Site(row.shape, layout, fan_in, fan_out / layout.groups if self.grouped else fan_out)
        std = self.law.moments(site)[1]
        match self.law.scaling().distribution:
            case "normal":
                return Normal(std), FANS_OF_TORCH
            case "uniform":
                return Uniform(-math.sqrt(3) * std, math.sqrt(3) * std), FANS_OF_TORCH
            case _:
                return TruncatedNormal(std, corrected=True), FANS_OF_TORCH


@dataclass(frozen=True, repr=False)
class FirstLayer(Deferred):
    """One scheme for weights that the model's input goes into first, another for all others.

    Raises:
        SchemeError: ``first`` or ``others`` isn't a scheme, or depends on the row.
    """

    first: Scheme
    others: Scheme

    def __post_init__(self) -> None:
        check_scheme(self, "first", self.first)
        check_scheme(self, "others", self.others)

    def on(self, row: Row) -> tuple[Scheme, str]:
        match row.facets.takes_input:
            case True:
                return self.first, "the model's input goes into it"
            case False:
                return self.others, ""
            case None:
                return self.others, "taken for a later layer: pass inputs= to find the first"


@dataclass(frozen=True)
class DropUpcycling(Deferred):
    """Experts made from one feed-forward layer, with a share of their hidden units redrawn.

    Nakamura et al. 2025 (2502.19261), r = .5: the same units in the projections to and from them.
    Plain copies, and copies with noise (``AddNoise``), take long to become different experts.
    ``load_`` makes copies of a layer for a stack of experts; experts in a list hold theirs already,
    and ``init_`` draws units of each again.

    Args:
        share: of the hidden units of each expert.

    Raises:
        SchemeError: a share that isn't between 0 and 1; (when planned) a parameter of which it
            isn't known where the hidden units are, or to which expert it belongs.

    Example:
        >>> DropUpcycling(share=0.25)
        DropUpcycling(share=0.25)
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", DropUnits(self.share).share)

    def on(self, row: Row) -> tuple[Scheme, str]:
        parts = {block.name.rpartition(".")[2] for block in row.facets.blocks} | {row.facets.part}
        if parts & {"in", "gate"}:
            return DropUnits(self.share, "outputs"), "its outputs are the hidden units"
        if "out" in parts or row.facets.ends_residual:
            return DropUnits(self.share, "inputs"), "its inputs are the hidden units"
        raise SchemeError(
            f"{row.name}: it isn't known which axis are the hidden units of an expert: pass "
            f"inputs=, and name the experts' projections alone"
        )


@dataclass(frozen=True, repr=False)
class LowRankPart(Deferred):
    """A low-rank adapter's A, B or base weight, computed together: "pissa", "eva", "loftq", ...

    Raises:
        SchemeError: a method that isn't known, or fewer steps than one; (when planned) a parameter
            of no such adapter, or of one that is multiplied by what isn't a known number.
    """

    method: str
    steps: int = 1
    faithful: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            refuse(self, "method", self.method, f"method is one of {', '.join(METHODS)}")
        check_count(self, "steps")
        check_flag(self, "faithful")

    def on(self, row: Row) -> tuple[Scheme, str]:
        link = row.facets.adapter
        if link is None:
            raise SchemeError(
                f"{row.name}: {self.method} needs W x + s B A x in the data flow, with three "
                f"weights: gi.recipe('lora') draws A and B alone"
            )
        if link.factor is None:
            raise SchemeError(
                f"{row.name}: {self.method} needs the number that B A x is multiplied by, which "
                f"isn't known, or {link.base} has two adapters: gi.recipe('lora') needs neither"
            )
        names = {"base": link.base, "down": link.down, "up": link.up}
        factor = 1.0 if self.faithful else link.factor
        scheme = LowRank(self.method, link.role, **names, factor=factor, steps=self.steps)
        if self.method == "eva":
            return scheme, f"{link.base}'s inputs vary most in these directions, on a batch"
        if link.role != "base":
            return scheme, f"computed together with {link.up if link.role == 'in' else link.down}"
        if self.method == "loftq":
            return scheme, f"W in 4 bits (NF4); {factor:g} B A is the best that its rank adds"
        part = f"W - {link.factor:g} B A: what the adapter adds is taken out"
        return scheme, f"{part}, so that outputs stay as they are"


DEFERRED: Mapping[str, type[Scheme]] = {
    kind.__name__: kind
    for kind in (
        *(BesideRows, BranchNorm, DropUpcycling, FirstLayer, LowRankPart),
        *(Neutral, ReluGain, StackGain, TorchFans),
    )
}
"""By name, those of this file; ``by_place.NAMED`` has all."""


def _check_otherwise(scheme: Scheme, otherwise: object) -> None:
    check_scheme(scheme, "otherwise", otherwise)


def check_scheme(scheme: Scheme, field: str, value: object) -> None:
    """Refuse a field that isn't a scheme, or depends on the row."""
    if not isinstance(value, Scheme) or isinstance(value, Deferred):
        refuse(scheme, field, value, f"{field} must be a scheme that does not depend on the row")
