"""The rows of a plan: what is to be done with one parameter or buffer, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from goodinit.anatomy.rows import Box
from goodinit.schemes import AddNoise, Keep, Layout, Scheme, Site

__all__ = ["PlanBlock", "PlanRow", "common", "needs_old"]


@dataclass(frozen=True, slots=True)
class PlanBlock:
    """One logical matrix of a packed parameter, and its scheme.

    Attributes:
        name: "q", "forget", "expert3".
        box: (start, stop) along each axis of the parameter.
        fan_in: of this block alone; None where there is no sum over inputs.
        fan_out: likewise.
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
        return tuple(stop - start for start, stop in self.box)


@dataclass(frozen=True)
class PlanRow:
    """What is planned for one parameter or buffer.

    Attributes:
        name: logical dotted name, prefix included; the key of its random numbers.
        shape: its shape.
        dtype: its dtype.
        owner: class name of the module that holds it.
        kind: what it is, one of ``goodinit.anatomy.KINDS``.
        part: what it does there, one of ``goodinit.anatomy.PARTS``.
        layer: number of its layer, from 0; None outside of any.
        depth: how many layers there are.
        activation: the function that follows.
        ends_residual: whether its output is added to a residual stream; None if unknown.
        layout: which axis is which; None where there are no fans.
        fan_in: how many products one output adds up; None where blocks differ or there is none.
        fan_out: likewise backward.
        scheme: how it is drawn; None where blocks differ.
        blocks: the logical matrices of a packed parameter; empty where it is one.
        rule: the rule that won, as text; several lines where blocks differ.
        why: the reason.
        shadowed: rules that matched as well, and lost to a later one.
        tied: its other names.
        stored: names of the tensors that hold it, where not ``name`` itself.
        zero_rows: rows that stay zero (``padding_idx``).
        grown_from: its shape in the checkpoint, where that is smaller: the corner that is kept,
            or, with an axis less, what each of the stacked matrices is a copy of.
        guessed: whether the shape alone told what it is.
        frozen: whether ``requires_grad`` is off.
        buffer: whether it is a buffer.
        unresolved: whether it has no memory yet and nothing here can compute it.

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

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def kept(self) -> bool:
        """Whether nothing is written."""
        if not self.blocks:
            return type(self.scheme) is Keep  # isinstance is slow for an abstract class
        return all(isinstance(block.scheme, Keep) for block in self.blocks)

    @property
    def mean(self) -> float | None:
        """Planned mean, by formula; None where it is kept or blocks differ."""
        return self._moments[0]

    @property
    def std(self) -> float | None:
        """Planned standard deviation, by formula; None where it is kept or blocks differ."""
        return self._moments[1]

    def moments(self) -> tuple[tuple[str, float, float], ...]:
        """Return (block name, mean, standard deviation) of what is drawn; not of what was there."""
        drawn = [b for b in self.parts() if not isinstance(b.scheme, (Keep, AddNoise))]
        return tuple((b.name, *b.scheme.moments(self.site(b))) for b in drawn)

    def parts(self) -> tuple[PlanBlock, ...]:
        """Return the blocks; the whole is one where it isn't packed."""
        if self.blocks:
            return self.blocks
        assert self.scheme is not None  # only blocks can differ
        box = tuple((0, size) for size in self.shape)
        return (PlanBlock("", box, self.fan_in, self.fan_out, self.scheme),)

    def site(self, block: PlanBlock) -> Site:
        """Return where a block's scheme draws."""
        return Site(block.shape, self.layout, block.fan_in, block.fan_out)

    @cached_property
    def _moments(self) -> tuple[float | None, float | None]:
        different = {(mean, std) for _, mean, std in self.moments()}
        return different.pop() if len(different) == 1 else (None, None)


def needs_old(row: PlanRow) -> bool:
    """Return whether some of what was there before stays: kept, or with noise on it."""
    return any(isinstance(block.scheme, (Keep, AddNoise)) for block in row.parts())


def common(schemes: list[Scheme]) -> Scheme | None:
    """Return the one scheme that they all are, or None.

    >>> from goodinit.schemes import Ones, Zeros
    >>> common([Ones(), Ones()]), common([Ones(), Zeros()])
    (Ones(), None)
    """
    first = schemes[0]
    return first if all(scheme == first for scheme in schemes[1:]) else None
