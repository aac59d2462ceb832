"""Schemes that depend on where in the model a parameter is: its layer, its branch, its shape."""

# The base class documents the methods; not every scheme uses every argument.
# ruff: noqa: D102

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from goodinit.anatomy.rows import Row
from goodinit.errors import SchemeError
from goodinit.recipes.deferred import DEFERRED, Deferred, TorchFans, check_scheme
from goodinit.schemes import Normal, Orthogonal, Ramp, Scheme, Uniform, Zeros
from goodinit.schemes.fields import check_choice, check_flag, set_float
from goodinit.schemes.mimetic import Mimetic

FIRST_ZERO = "the last weight of a residual branch: each block is the identity at first"
NOT_SEEN = "taken for one outside of residual branches: pass inputs= to find them"


@dataclass(frozen=True, repr=False)
class Fixup(Deferred):
    """Fixup's law of residual branches, for networks without norms.

    Each of L branches has m weights in a row. The last is 0 and the others are
    ``law`` times L^(-1/(2m - 2)); weights outside of branches are ``law``. Then one step of
    training changes the output by as much whatever the depth is (Zhang et al. 2019, section 3).

    Args:
        law: a scheme by fan.
        exact: whether strides and groups count in the fans; as published they don't.

    Raises:
        SchemeError: ``law`` isn't a scheme by fan.

    Example:
        >>> from goodinit.schemes import HeNormal
        >>> Fixup(HeNormal())
        Fixup(law=HeNormal())
    """

    law: Scheme
    exact: bool = False

    def __post_init__(self) -> None:
        TorchFans(self.law)  # refuses other laws
        check_flag(self, "exact")

    def on(self, row: Row) -> tuple[Scheme, str]:
        law = self.law if self.exact else TorchFans(self.law).on(row)[0]
        if row.facets.ends_residual is None:
            return law, NOT_SEEN
        if row.facets.ends_residual:
            return Zeros(), FIRST_ZERO
        length, branches = row.facets.branch or (0, 0)
        if not branches:
            return law, "in no residual branch"
        power = 1 / max(2 * length - 2, 1)
        text = f"{length} weights in each of {branches} branches: times {branches}^-{power:g}"
        return law.times(branches**-power), text


@dataclass(frozen=True, repr=False)
class LayerRamp(Deferred):
    """A ``Ramp`` that depends on the layer: its power is ``offset + factor * s**exponent``.

    s is the share of layers that are left, 1 - l/L, or already passed, l/(L - 1), of layer l
    from 0 of L. RWKV mixes a token with the one before it by these (BlinkDL/RWKV-LM).

    Args:
        start: as in ``Ramp``, with ``stop``, ``ends``, ``wave``, ``period``, ``phase``, ``flat``.
        of: "left" or "behind".
        factor: on s.
        offset: added to it.
        exponent: of s.
        start_by: added to ``start``, times the share of layers behind.
        stop_by: added to ``stop``, times the share of layers behind.

    Raises:
        SchemeError: as ``Ramp``; another word for ``of``; (when planned) a parameter of which no
            layer is known.

    Example:
        >>> LayerRamp(1.0, 0.0, factor=0.2)
        LayerRamp(start=1, stop=0, factor=0.2)
    """

    start: float
    stop: float
    of: str = "left"
    factor: float = 1.0
    offset: float = 0.0
    exponent: float = 1.0
    ends: bool = True
    wave: float = 0.0
    period: int = 0
    phase: int = 0
    flat: bool = False
    start_by: float = 0.0
    stop_by: float = 0.0

    def __post_init__(self) -> None:
        check_choice(self, "of", ("left", "behind"))
        for name in ("factor", "offset", "exponent", "start_by", "stop_by"):
            set_float(self, name)
        made = self._ramp(1.0, 0.0)
        vars(self).update(start=made.start, stop=made.stop, wave=made.wave)

    def on(self, row: Row) -> tuple[Scheme, str]:
        layer, depth = row.facets.layer, row.facets.depth
        if layer is None or not depth:
            raise SchemeError(f"{row.name}: {self!r} needs to know the layer: pass inputs=")
        left, behind = 1 - layer / depth, layer / max(depth - 1, 1)
        share = left if self.of == "left" else behind
        return self._ramp(self.offset + self.factor * share**self.exponent, behind), ""

    def _ramp(self, power: float, behind: float) -> Ramp:
        start, stop = self.start + self.start_by * behind, self.stop + self.stop_by * behind
        wave = self.wave, self.period, self.phase
        return Ramp(start, stop, power, self.ends, *wave, self.flat)


@dataclass(frozen=True, repr=False)
class EvenSteps(Deferred):
    """0, step, 2 step, ... along the last axis: the frequencies of S4D-Lin are pi n.

    Raises:
        SchemeError: a step that isn't finite; (when planned) a parameter without axes.

    Example:
        >>> EvenSteps(2.0)
        EvenSteps(step=2)
    """

    step: float

    def __post_init__(self) -> None:
        set_float(self, "step")

    def on(self, row: Row) -> tuple[Scheme, str]:
        if not row.shape:
            raise SchemeError(f"{row.name}: {self!r} counts along an axis, and a number has none")
        return Ramp(0.0, self.step * (row.shape[-1] - 1)), ""


@dataclass(frozen=True, repr=False)
class XavierOverHeads(Deferred):
    """U(+-sqrt(6/(a + b))), a and b the last two axes: vectors of attention, a row for each head.

    Graph attention's ``att_src`` of shape (1, heads, features); torch_geometric's ``glorot``.

    Raises:
        SchemeError: (when planned) a parameter with one axis or none.

    Example:
        >>> XavierOverHeads()
        XavierOverHeads()
    """

    def on(self, row: Row) -> tuple[Scheme, str]:
        if len(row.shape) < 2:
            raise SchemeError(f"{row.name}: {self!r} needs heads and features, two axes")
        bound = math.sqrt(6 / (row.shape[-1] + row.shape[-2]))
        return Uniform(-bound, bound), ""


@dataclass(frozen=True, repr=False)
class TallOrthogonal(Deferred):
    """Orthogonal, times gain, and times sqrt(rows/columns) where there are more rows.

    Then each row has length gain, in a head of more classes than channels too. RWKV's heads
    (BlinkDL/RWKV-LM, ``generate_init_weight``).

    Args:
        gain: the length of a row.
        elements: whether gain is the size of an element instead: times sqrt(columns) as well.

    Raises:
        SchemeError: a gain that isn't finite; (when planned) a parameter with one axis or none.

    Example:
        >>> TallOrthogonal(0.5)
        TallOrthogonal(gain=0.5)
    """

    gain: float = 1.0
    elements: bool = False

    def __post_init__(self) -> None:
        set_float(self, "gain")
        check_flag(self, "elements")

    def on(self, row: Row) -> tuple[Scheme, str]:
        if len(row.shape) < 2:
            raise SchemeError(f"{row.name}: {self!r} is for a matrix")
        rows, columns = row.shape[0], math.prod(row.shape[1:])
        size = self.gain * columns**0.5 if self.elements else self.gain
        return Orthogonal(size * max(rows / columns, 1.0) ** 0.5), ""


@dataclass(frozen=True, repr=False)
class MimeticOut(Deferred):
    """``Mimetic`` for the matrix that ends an attention, which is square, else ``otherwise``.

    Raises:
        SchemeError: as ``Mimetic``; ``otherwise`` isn't a scheme, or depends on the row.

    Example:
        >>> MimeticOut(Normal(0.02), alpha=0.4, beta=0.4)
        MimeticOut(otherwise=Normal(std=0.02), alpha=0.4, beta=0.4)
    """

    otherwise: Scheme
    head_dim: int = 64
    alpha: float = 0.7
    beta: float = 0.7

    def __post_init__(self) -> None:
        check_scheme(self, "otherwise", self.otherwise)
        self._made()

    def on(self, row: Row) -> tuple[Scheme, str]:
        if len(row.shape) == 2 and row.shape[0] == row.shape[1]:
            return self._made(), ""
        return self.otherwise, ""

    def _made(self) -> Mimetic:
        return Mimetic("out", self.head_dim, self.alpha, self.beta)


@dataclass(frozen=True, repr=False)
class UnitRows(Deferred):
    """Variance 1/n, n the last axis: rows of length 1, whatever the parameter is.

    Args:
        distribution: "normal" or "uniform".

    Raises:
        SchemeError: another word; (when planned) a parameter without axes.

    Example:
        >>> UnitRows()
        UnitRows()
    """

    distribution: str = "normal"

    def __post_init__(self) -> None:
        check_choice(self, "distribution", ("normal", "uniform"))

    def on(self, row: Row) -> tuple[Scheme, str]:
        if not row.shape:
            raise SchemeError(f"{row.name}: {self!r} is by the last axis, and a number has none")
        std, why = row.shape[-1] ** -0.5, "rows have length 1"
        if self.distribution == "normal":
            return Normal(std), why
        return Uniform(-math.sqrt(3) * std, math.sqrt(3) * std), why


NAMED: Mapping[str, type[Scheme]] = {
    **DEFERRED,
    "EvenSteps": EvenSteps,
    "Fixup": Fixup,
    "LayerRamp": LayerRamp,
    "MimeticOut": MimeticOut,
    "TallOrthogonal": TallOrthogonal,
    "UnitRows": UnitRows,
    "XavierOverHeads": XavierOverHeads,
}
"""By name, for ``schemes.from_dict``: a recipe's file may hold them, a plan's may not."""
