"""The way of a signal from where its scale was last set, at an input or a norm, to each row."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from goodinit.errors import SchemeError
from goodinit.schemes.gains import slope
from goodinit.signal.rows import SignalRow

__all__ = ["SPREAD", "Run", "runs", "width"]

RESETS = frozenset(("norm", "softmax", "attention", "pick", "opaque", "source"))
SPREAD = 5.0  # the variance of log q grows by this / width a layer (Hanin & Rolnick, 2018)


@dataclass(slots=True)
class Run:
    """The way to one row.

    Attributes:
        start: number of the row where it begins.
        layers: that were passed, on the longest way.
        variance: of log(second) over seeds, for the layers' finite width.
        slope: by how much an error in the variance would be multiplied with the right gains, on
            the shortest way: a residual connection goes around.
    """

    start: int
    layers: int
    variance: float
    slope: float


def runs(rows: Sequence[SignalRow]) -> list[Run]:
    """Return the way to each row."""
    found: list[Run] = []
    for number, row in enumerate(rows):
        before = [found[n] for n in row.takes if n >= 0]
        if row.kind in RESETS or not before:
            run = Run(number, 0, 0.0, 1.0)
        else:
            longest = max(before, key=lambda way: way.layers)
            least = min(before, key=lambda way: abs(math.log(way.slope))).slope
            run = Run(longest.start, longest.layers, longest.variance, least)
        if row.kind == "contract" and row.params:
            run.layers += 1
            run.variance += SPREAD / width(row)
        if row.kind == "activation":
            run.slope *= _slope(row.function)
        found.append(run)
    return found


def width(row: SignalRow) -> int:
    """Return the number of channels."""
    if not row.shape:
        return 1
    return max(1, row.shape[1] if len(row.shape) in (4, 5) else row.shape[-1])


@functools.cache
def _slope(function: str) -> float:
    """Return an activation's slope where the gain is right; 1 where that is unknown."""
    try:
        return max(1e-3, slope(function))
    except SchemeError:  # glu, say, which isn't elementwise
        return 1.0
