"""The path of a signal to each row, from the input or norm where its scale was last set."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from goodinit.errors import SchemeError
from goodinit.findings.chance import layer_variance
from goodinit.schemes.gains import slope
from goodinit.signal.rows import SignalRow

__all__ = [
    "SIGMOIDS",
    "Path",
    "kinds_that_follow",
    "last_outputs",
    "paths_to_rows",
    "rows_of_averages",
]

RESETS = frozenset(("norm", "softmax", "attention", "pick", "opaque", "source"))
SIGMOIDS = frozenset(("sigmoid", "hardsigmoid"))
POOLED = 16  # numbers per average: with more, averages of noise are alike
LEAST_SLOPE = 1e-3  # of an activation whose variance map is flat: its log stays finite


@dataclass(slots=True)
class Path:
    """The path to one row.

    Attributes:
        start: number of the row where it begins.
        layers: number of layers on the longest path.
        variance: of log(second) over seeds, due to the layers' finite width.
        slope: the factor by which an error in the variance grows with the right gains, on the
            shortest path: a residual connection skips layers.
    """

    start: int
    layers: int
    variance: float
    slope: float


def paths_to_rows(rows: Sequence[SignalRow]) -> list[Path]:
    """Return the path to each row."""
    found: list[Path] = []
    for number, row in enumerate(rows):
        before = [found[n] for n in row.takes if n >= 0]
        if row.kind in RESETS or not before:
            path = Path(number, 0, 0.0, 1.0)
        else:
            longest = max(before, key=lambda path: path.layers)
            least = min(before, key=lambda path: abs(math.log(path.slope))).slope
            path = Path(longest.start, longest.layers, longest.variance, least)
        if row.kind == "contract" and row.params:
            path.layers += 1
            path.variance += layer_variance(row.width)
        if row.kind == "activation":
            path.slope *= _slope(row.function)
        found.append(path)
    return found


def last_outputs(rows: Sequence[SignalRow], outputs: Iterable[int]) -> list[int]:
    """Return the outputs that no other output depends on; an encoder's state isn't one."""
    given = [number for number in outputs if number >= 0]
    inner = set[int]()
    for number in range(len(rows) - 1, -1, -1):
        if number in inner or number in given:
            inner.update(rows[number].takes)
    return sorted(set(given) - inner)


def rows_of_averages(rows: Sequence[SignalRow]) -> list[bool]:
    """Return which rows depend only on averages over many numbers, which are alike for noise."""
    found: list[bool] = []
    for row in rows:
        before = [n for n in row.takes if n >= 0]
        size = max((math.prod(rows[n].shape) for n in before), default=0)
        here = row.kind in ("pool", "reduce") and size >= POOLED * math.prod(row.shape)
        found.append(here or (bool(before) and all(found[n] for n in before)))
    return found


def kinds_that_follow(rows: Sequence[SignalRow]) -> list[set[str]]:
    """Return kinds and functions of the calls after each row, up to the next layer.

    A product of two signals is a "gate".
    """
    found = [set[str]() for _ in rows]
    for number in range(len(rows) - 1, -1, -1):
        row = rows[number]
        here = {"contract"}
        if row.kind != "contract":
            here = found[number] | {row.kind, row.function}
        if row.kind == "mul" and len(set(row.takes)) > 1:
            here.add("gate")
        for taken in row.takes:
            if taken >= 0:
                found[taken] |= here
    return found


@functools.cache
def _slope(function: str) -> float:
    """Return an activation's slope where the gain is right; 1 where that is unknown."""
    try:
        return max(LEAST_SLOPE, slope(function))
    except SchemeError:  # not elementwise, such as glu
        return 1.0
