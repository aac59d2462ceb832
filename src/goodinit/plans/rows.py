"""The rows of a plan: what will be done with one parameter or buffer, and why."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import torch

from goodinit._common.text import shape_text
from goodinit.anatomy.rows import Box
from goodinit.schemes import AddNoise, Keep, Layout, Scheme, Site
from goodinit.schemes.complex_numbers import complex_std
from goodinit.schemes.grown import DropUnits
from goodinit.schemes.low_rank import LowRank
from goodinit.schemes.scheme import FromValues
from goodinit.streams.part import box_shape, whole_box


@dataclass(frozen=True, slots=True)
class PlanBlock:
    """One logical matrix of a packed parameter, and its scheme.

    Attributes:
        name: "q", "forget", "expert3".
        box: (start, stop) along each axis of the parameter.
        fan_in: of this block alone; None if there is no sum over inputs.
        fan_out: of this block alone; None as for ``fan_in``.
        scheme: how it is drawn.
    """

    name: str
    box: Box
    fan_in: float | None
    fan_out: float | None
    scheme: Scheme

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the block."""
        return box_shape(self.box)


@dataclass(frozen=True, slots=True)
class Rates:
    """Factors of the base model's learning rate and epsilon, as muP has them.

    Attributes:
        adam: of the rate of Adam and AdamW; None if blocks of the parameter differ.
        sgd: of SGD's rate; None also where none is published.
        eps: of Adam's epsilon.
    """

    adam: float | None
    sgd: float | None
    eps: float | None


@dataclass(frozen=True)
class PlanRow:
    """What is planned for one parameter or buffer.

    Attributes:
        name: logical dotted name with the prefix; the key of its random numbers.
        shape: its shape.
        dtype: its dtype.
        owner: class name of the module that holds it.
        kind: what it is, one of ``goodinit.anatomy.KINDS``.
        part: what it does there, one of ``goodinit.anatomy.PARTS``.
        layer: number of its layer, from 0; None outside of any.
        depth: how many layers there are.
        activation: the function that follows.
        ends_residual: whether its output is added to a residual stream; None if unknown.
        layout: which axis is which; None if there are no fans.
        fan_in: how many products are summed into one output; None if blocks differ or there is
            no sum.
        fan_out: the same for the gradient.
        scheme: how it is drawn; None if blocks differ.
        blocks: the logical matrices of a packed parameter; empty if it is a single one.
        rule: the rule that won, as text; several lines if blocks differ.
        why: the reason.
        shadowed: rules that matched too, and lost to a later one.
        tied: its other names.
        stored: names of the tensors that hold it, if not ``name`` itself.
        zero_rows: rows that stay zero (``padding_idx``).
        grown_from: its shape in the checkpoint if that is smaller: the shape of the corner that
            is kept or, with one axis less, of the matrix that each stacked one is a copy of.
        guessed: whether its kind was guessed from the shape alone.
        frozen: whether ``requires_grad`` is off.
        buffer: whether it is a buffer.
        unresolved: whether it is on meta and no rule computes it.
        rates: factors of its learning rate, in a plan of ``mup`` or ``completep``.

    Example:
        >>> from goodinit.schemes import Normal
        >>> what = ("fc.weight", (3, 4), torch.float32, "Linear", "linear", "weight")
        >>> row = PlanRow(*what, Normal(0.1))
        >>> row.size, row.mean, row.std
        (12, 0.0, 0.1)
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    owner: str
    kind: str
    part: str
    scheme: Scheme | None
    blocks: tuple[PlanBlock, ...] = ()
    layout: Layout | None = None
    fan_in: float | None = None
    fan_out: float | None = None
    layer: int | None = None
    depth: int | None = None
    activation: str | None = None
    ends_residual: bool | None = None
    rule: str = ""
    why: str = ""
    shadowed: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    zero_rows: tuple[int, ...] = ()
    grown_from: tuple[int, ...] = ()
    guessed: bool = False
    frozen: bool = False
    buffer: bool = False
    unresolved: bool = False
    rates: Rates | None = None

    def __repr__(self) -> str:
        scheme = "by block" if self.scheme is None else repr(self.scheme)
        std = f", std {self.std:.3g}" if self.std else ""
        shape = shape_text(self.shape)
        return f"<PlanRow {self.name!r}: {shape} {self.kind} {self.part}, {scheme}{std}>"

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @cached_property
    def kept(self) -> bool:
        """True if nothing is written."""
        if not self.blocks:
            return type(self.scheme) is Keep  # isinstance is slow for an abstract class
        return all(isinstance(block.scheme, Keep) for block in self.blocks)

    @property
    def mean(self) -> float | None:
        """Planned mean, by formula; None if it is kept or blocks differ."""
        return self._moments[0]

    @property
    def std(self) -> float | None:
        """Planned standard deviation, by formula; None if it is kept or blocks differ."""
        return self._moments[1]

    def moments(self) -> tuple[tuple[str, float, float], ...]:
        """Return (block name, mean, standard deviation) of each block that is drawn, not kept.

        For complex numbers the std is sqrt(E|w - E w|^2).
        """
        drawn = [b for b in self.parts() if not isinstance(b.scheme, FromValues)]
        found = ((b, *b.scheme.moments(self.site(b))) for b in drawn)
        return tuple(
            (b.name, mean, complex_std(b.scheme, std) if self.dtype.is_complex else std)
            for b, mean, std in found
        )

    def parts(self) -> tuple[PlanBlock, ...]:
        """Return the blocks; the whole parameter is one if it isn't packed."""
        return self.blocks or self._whole

    def site(self, block: PlanBlock) -> Site:
        """Return where a block's scheme draws."""
        shape = block.shape if self.blocks else self.shape
        return Site(shape, self.layout, block.fan_in, block.fan_out)

    @cached_property
    def _whole(self) -> tuple[PlanBlock, ...]:
        assert self.scheme is not None  # only blocks can differ
        return (PlanBlock("", whole_box(self.shape), self.fan_in, self.fan_out, self.scheme),)

    @cached_property
    def _moments(self) -> tuple[float | None, float | None]:
        different = {(mean, std) for _, mean, std in self.moments()}
        return different.pop() if len(different) == 1 else (None, None)


def renamed(row: PlanRow, name: str) -> PlanRow:
    """Return the row of a parameter that differs in its name alone.

    Layers are alike, so most rows are made here: ``replace`` would take ten times as long.
    """
    other = copy(row)
    object.__setattr__(other, "name", name)
    return other


def needs_old(row: PlanRow) -> bool:
    """Return whether old values stay in some of its blocks: kept, or with noise added."""
    return any(
        isinstance(b.scheme, (Keep, AddNoise, DropUnits))
        or (isinstance(b.scheme, LowRank) and b.scheme.role == "base")
        for b in row.parts()
    )


def common(schemes: list[Scheme]) -> Scheme | None:
    """Return the scheme that all of these are equal to, or None.

    >>> from goodinit.schemes import Ones, Zeros
    >>> common([Ones(), Ones()]), common([Ones(), Zeros()])
    (Ones(), None)
    """
    first = schemes[0]
    return first if all(scheme == first for scheme in schemes[1:]) else None
