"""The path of a signal to each row, from the input or norm where its scale was last set."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from goodinit.errors import SchemeError
from goodinit.findings.chance import layer_variance
from goodinit.schemes.gains import slope
from goodinit.signal.rows import SignalRow

RESETS = frozenset(("norm", "softmax", "attention", "pick", "opaque", "source"))
SIGMOIDS = frozenset(("sigmoid", "hardsigmoid"))
# Bounded values have their own size, whatever they come from, such as raw time steps after sin.
BOUNDS = {"tanh": 1.0, "sin": 1.0, "erf": 1.0, "softsign": 1.0, "hardtanh": 1.0, "relu6": 6.0}
AROUND_A_HALF = frozenset(("cos", "sigmoid", "hardsigmoid", "expit"))  # also of small inputs
ROOTS = frozenset(("rsqrt", "sqrt", "reciprocal", "pow", "std", "norm", "vector_norm"))
LAYER_OF = {"contract": 1.0, "mul": 0.5}
POOLED = 16  # numbers per average: with more, averages of noise are alike
LEAST_SLOPE = 1e-3  # of an activation whose variance map is flat: its log stays finite


@dataclass(slots=True)
class Path:
    """The path to one row.

    Attributes:
        start: number of the row where it begins.
        layers: number of layers on the longest path: calls that multiply the signal by weights.
        depth: the same, with half a layer for each product of numbers: a block has one of those
            for each matrix, in its norm, its gate or its scale.
        variance: of log(second) over seeds, due to the layers' finite width.
        slope: the factor by which an error in the variance grows with the right gains, on the
            shortest path: a residual connection skips layers.
        shares: whether it is straight from a softmax, and averages what it multiplies.
        via: number of the row before it on the path; None where it begins.
    """

    start: int
    layers: int
    variance: float
    slope: float
    depth: float = 0.0
    shares: bool = False
    via: int | None = None

    @property
    def is_of_products(self) -> bool:
        """Whether what it multiplies by are numbers rather than matrices."""
        halves = self.layers - self.depth
        return halves >= self.depth - halves


def paths_to_rows(rows: Sequence[SignalRow]) -> list[Path]:
    """Return the path to each row."""
    found: list[Path] = []
    for number, row in enumerate(rows):
        path = None if _is_divided_by_itself(row, rows) else _continued(row, rows, found)
        path = path or Path(number, 0, 0.0, 1.0)
        path.shares = row.kind == "softmax" or (path.shares and not is_layer(row))
        if is_layer(row):
            shared = any(n >= 0 and found[n].shares for n in row.takes)
            path.layers += 1
            path.depth += 0.0 if shared else LAYER_OF.get(row.kind, 0.0)
            path.variance += layer_variance(row.width) if row.kind == "contract" else 0.0
        elif not path.layers:  # what is done to inputs before the first layer
            path.start = number
        if row.kind == "activation":
            path.slope *= _slope(row.function)
        found.append(path)
    return found


def is_layer(row: SignalRow) -> bool:
    """Return whether a call multiplies a signal by weights, whatever holds them.

    They may be parameters, buffers, or what another layer has made of the inputs.
    """
    many = len(set(row.takes)) > 1
    return row.kind == "contract" or (row.kind == "mul" and (bool(row.params) or many))


def _sets_scale(row: SignalRow, rows: Sequence[SignalRow]) -> bool:
    """Return whether a function's bounds, or a root that it divides by, set its result's size."""
    if row.function in AROUND_A_HALF:
        return True
    if row.kind == "mul" and any(n >= 0 and rows[n].function in ROOTS for n in row.takes):
        return True  # a norm by hand
    bound = BOUNDS.get(row.function)
    taken = max((rows[n].forward.second for n in row.takes if n >= 0), default=0.0)
    return bound is not None and taken > bound**2


def _is_divided_by_itself(row: SignalRow, rows: Sequence[SignalRow]) -> bool:
    """Return whether a call divides a signal by a part of it, as linear attention does."""
    return row.function == "div" and len({*row.takes}) == 2 and len(_origins(row, rows)) == 1


def rows_divided(rows: Sequence[SignalRow]) -> set[int]:
    """Return the rows whose size cancels, because each is divided by a part of itself.

    So does that of what such a row alone is made of, up to a layer's weights.
    """
    found = {n for row in rows if _is_divided_by_itself(row, rows) for n in _origins(row, rows)}
    taken = [set[int]() for _ in rows]
    for number, row in enumerate(rows):
        for before in row.takes:
            if before >= 0:
                taken[before].add(number)
    for number in range(len(rows) - 1, -1, -1):
        if taken[number] and taken[number] <= found and not rows[number].params:
            found.add(number)
    return found


def _origins(row: SignalRow, rows: Sequence[SignalRow]) -> set[int]:
    """Return the rows whose parts a call takes, perhaps with a number added."""
    return {_origin(number, rows) for number in row.takes}


def _origin(number: int, rows: Sequence[SignalRow]) -> int:
    while number >= 0 and rows[number].kind in ("view", "cast", "add"):
        before = set(rows[number].takes)
        if len(before) != 1 or rows[number].params:
            break
        number = before.pop()
    return number


def place_of(rows: Sequence[SignalRow], number: int) -> str:
    """Return the key of the call that made the numbers of a row, or "inputs"."""
    row = rows[number]
    while row.kind in ("view", "cast"):
        before = [n for n in row.takes if n >= 0]
        if not before:
            return "inputs"
        row = rows[max(before)]
    return row.key


def _continued(row: SignalRow, rows: Sequence[SignalRow], found: Sequence[Path]) -> Path | None:
    """Return the path to what a row takes; None if the row resets the scale."""
    before = [n for n in row.takes if n >= 0]
    if row.kind in RESETS or not before or _sets_scale(row, rows):
        return None
    via = max(before, key=lambda n: found[n].depth)
    longest = found[via]
    slope = min((found[n].slope for n in before), key=lambda slope: abs(math.log(slope)))
    if is_layer(row) and len(set(row.takes)) > 1 and longest.depth <= 1:
        # Which of the two is the signal, and which its weights, isn't known: both begin here.
        return replace(longest, start=len(found), slope=slope, via=None)
    return replace(longest, slope=slope, via=via)


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
