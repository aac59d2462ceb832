"""Activations that weights of a known size drive into saturation: GI107 without a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from goodinit.anatomy.bends import Bend, Term, bends
from goodinit.anatomy.read import Anatomy
from goodinit.anatomy.rows import Row
from goodinit.anatomy.sizes import Size, SizeOf
from goodinit.findings.units import (
    SATURATED_BEYOND,
    SATURATED_SHARE_OF_DEPTH,
    is_sure_both_ways,
    share_above,
    share_saturated,
    values_are_saturated,
)
from goodinit.schemes.operating_point import mean_square_after

SIGMOIDS = ("sigmoid", "hardsigmoid")


class Saturated(NamedTuple):
    """What is saturated.

    Attributes:
        function: the activation.
        share: of its values beyond 99 % of their bounds.
        layers: how many in a row are saturated.
        names: of the weights before them.
    """

    function: str
    share: float
    layers: int
    names: tuple[str, ...]


def saturated_by_law(anatomy: Anatomy, size_of: SizeOf) -> Saturated | None:
    """Return which activations are saturated, of inputs whose second moment is 1.

    Args:
        anatomy: of the model.
        size_of: returns the size of a parameter's numbers by its name, or None if unknown.
    """
    found = list(_saturated(anatomy, size_of))
    if not found:
        return None
    names = dict.fromkeys(name for one in found for name in one.names)
    return found[0]._replace(names=tuple(names), layers=max(one.layers for one in found))


class _Pass:
    """The second moments before and after each activation, in the order of the calls."""

    def __init__(self, rows: Sequence[Row], size_of: SizeOf) -> None:
        self._rows, self._size_of = rows, size_of
        self._after: list[float] = []
        self.shares: list[tuple[float, float]] = []

    def step(self, bend: Bend) -> None:
        """Add an activation: its share of saturated values, and of those above its middle."""
        sizes = [self._size_of(self._rows[term.param].name) for term in bend.terms]
        known = [size for size in sizes if size is not None]
        if not bend.terms or len(known) < len(sizes):
            self._after.append(_after(bend, 1.0))  # of an unknown sum, as of any signal
            self.shares.append((0.0, 0.5))
            return
        variance, mean = 0.0, 0.0
        for term, size in zip(bend.terms, known, strict=True):
            variance += term.factor**2 * size.strength * self._taken(term)
        for param, factor in bend.biases:
            size = self._size_of(self._rows[param].name) or Size(0.0, 0.0)
            mean, variance = mean + factor * size.mean, variance + factor**2 * size.variance
        share = share_saturated(bend.function, variance, mean)
        self.shares.append((share, share_above(variance, mean)))
        self._after.append(_after(bend, variance + mean**2))

    def _taken(self, term: Term) -> float:
        if term.before >= 0:
            return self._after[term.before]
        size = self._size_of(self._rows[term.table].name) if term.table >= 0 else None
        return 1.0 if size is None else size.second


def _saturated(anatomy: Anatomy, size_of: SizeOf) -> Iterator[Saturated]:
    run, every = _Pass(anatomy.rows, size_of), bends(anatomy)
    if not any(bend.function in SATURATED_BEYOND for bend in every):
        return
    for bend in every:
        run.step(bend)
    layers = _layers(every, [share for share, _ in run.shares])
    for bend, (share, above), count in zip(every, run.shares, layers, strict=True):
        if bend.function in SIGMOIDS and (
            bend.is_gate or (bend.is_last and not is_sure_both_ways(above))
        ):
            continue
        if bend.function in SATURATED_BEYOND and values_are_saturated(share, count):
            names = (anatomy.rows[term.param].name for term in bend.terms)
            yield Saturated(bend.function, share, count, tuple(names))


def _after(bend: Bend, second: float) -> float:
    """Return the mean square after an activation; 1 of one that isn't a function of one number."""
    after = mean_square_after(bend.function, second)
    return 1.0 if after is None else after


def _layers(every: Sequence[Bend], shares: Sequence[float]) -> list[int]:
    """Return how many saturated activations there are on the longest path through each."""
    found: list[int] = []
    for bend, share in zip(every, shares, strict=True):
        here = bend.function not in SIGMOIDS and share > SATURATED_SHARE_OF_DEPTH
        before = [found[term.before] for term in bend.terms if term.before >= 0]
        found.append(max(before, default=0) + here)
    longest = list(found)
    for place in range(len(every) - 1, -1, -1):
        for term in every[place].terms:
            if term.before >= 0:
                longest[term.before] = max(longest[term.before], longest[place])
    return longest
