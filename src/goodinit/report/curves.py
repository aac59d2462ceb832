"""What reports show over depth: which calls, which quantities, under which names.

All reports take a ``Comparison``; one signal is a comparison of one recipe with one seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from goodinit.dataflow.traversal import leads_to
from goodinit.plans.plan import Plan
from goodinit.signal.compare import Comparison
from goodinit.signal.rows import Signal, SignalRow

# Okabe and Ito's palette for color-blind readers, the darker colors first.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A7F00")
LEAST_POINTS = 3  # fewer layers, or sums of a residual stream, make no curve
STEP = "step of the residual stream"
WIDEST_ERROR = 50.0  # of log(second): e^50 is 21 decades, beyond any plot; larger ones overflow

Value = float | None


class Quantity(NamedTuple):
    """A quantity that each call has a value of.

    Attributes:
        title: of its plot.
        unit: name of its axis.
        log: whether its axis is logarithmic.
        value: returns its value for a row, or None.
    """

    title: str
    unit: str
    log: bool
    value: Callable[[SignalRow], Value]


def _second(row: SignalRow) -> Value:
    return row.forward.second


def _gradient(row: SignalRow) -> Value:
    return None if row.backward is None else row.backward.second


def _samples(row: SignalRow) -> Value:
    return row.forward.across_samples


def _positions(row: SignalRow) -> Value:
    return row.forward.across_positions


QUANTITIES = {
    "forward": Quantity("forward: second moment", "second moment", True, _second),
    "backward": Quantity(
        "backward: the gradient's second moment", "second moment", True, _gradient
    ),
    "samples": Quantity("cosine of two samples", "cosine", False, _samples),
    "positions": Quantity("cosine of two positions", "cosine", False, _positions),
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity under one recipe, row by row.

    Attributes:
        seeds: the values of each seed; None if there is none.
        middle: their median; NaN if one of them isn't finite.
        rows: of the first seed; None if it has no such call.
    """

    seeds: list[list[Value]]
    middle: list[Value]
    rows: list[SignalRow | None]

    @property
    def has_values(self) -> bool:
        """Whether any call has the quantity."""
        return any(value is not None for value in self.middle)


def as_comparison(signal: Signal, plan: Plan | None = None) -> Comparison:
    """Return one signal as a comparison of one recipe, named as in the plan."""
    name = plan.recipe if plan is not None else ""
    return Comparison({name: [signal]}, {} if plan is None else {name: plan})


def all_signals(comparison: Comparison) -> list[Signal]:
    """Return the signals of all recipes and seeds."""
    return [signal for signals in comparison.signals.values() for signal in signals]


def shown_rows(comparison: Comparison) -> list[SignalRow]:
    """Return one row for each key, in execution order, without views and casts."""
    found: dict[str, SignalRow] = {}
    for signal in all_signals(comparison):
        for row in signal.rows:
            if row.kind not in ("view", "cast"):
                found.setdefault(row.key, row)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Line:
    """The calls that a line over depth connects.

    Attributes:
        unit: what each of them is.
        at: their numbers among the shown rows.
    """

    unit: str
    at: list[int]

    @property
    def along(self) -> str:
        """All of them, as the object of "over": "30 layers"."""
        units = self.unit.replace("step", "steps") if self.unit == STEP else f"{self.unit}s"
        return f"{len(self.at)} {units}" if len(self.at) != 1 else "the only call"


def line_over_depth(comparison: Comparison) -> Line:
    """Return the sums of the residual stream if there is one, else the layers, else all calls.

    Layers inside residual branches have scales of their own, and a line through them would jump.
    """
    number = {row.key: n for n, row in enumerate(shown_rows(comparison))}
    rows = [row for signal in all_signals(comparison)[:1] for row in signal.rows]
    trunk = [row for row in _trunk(rows) if row.key in number]
    sums = {row.key for row in rows if row.kind == "add" and _is_residual_sum(row, rows)}
    if len(sums) >= LEAST_POINTS:
        # Where a block widens, its skip is projected; its sum is still on the trunk.
        sums |= {row.key for row in trunk if row.kind == "add"}
        inner = [n for n, row in enumerate(trunk) if row.key in sums] or [len(trunk)]
        ends = [row for row in trunk[: inner[0]] if is_layer(row) or row.kind == "pick"][:1]
        ends += [row for row in trunk[inner[-1] :] if is_layer(row)][-1:]
        return Line(STEP, sorted({number[key] for key in sums} | {number[r.key] for r in ends}))
    layers = [number[row.key] for row in rows if is_layer(row)]
    if len(layers) >= LEAST_POINTS:
        return Line("layer", layers)
    return Line("call", list(number.values()))


def is_layer(row: SignalRow) -> bool:
    """Whether a call multiplies by a parameter."""
    return row.kind == "contract" and bool(row.params)


def _is_residual_sum(row: SignalRow, rows: Sequence[SignalRow]) -> bool:
    """Whether a sum's later operand was computed from its earlier one, which skips that.

    Rows link by ``takes``; a measurement has no data-flow graph, since the model may not run on
    meta. Anatomy asks the graph more (which weight ends a branch), with the same ``leads_to``.
    """
    if len(row.takes) < 2 or max(row.takes) < 0:
        return False
    return leads_to(lambda n: rows[n].takes, min(row.takes), max(row.takes))


def _trunk(rows: Sequence[SignalRow]) -> list[SignalRow]:
    """Return the rows on a shortest path from the inputs to the last row.

    It takes the earlier of two operands, which is the skip of a residual sum.
    """
    fed: list[bool] = []
    for row in rows:
        fed.append(any(n < 0 or fed[n] for n in row.takes))
    path: list[SignalRow] = []
    at = next((n for n in reversed(range(len(rows))) if fed[n]), -1)
    while at >= 0:
        path.append(rows[at])
        at = min((n for n in rows[at].takes if n >= 0 and fed[n]), default=-1)
    return path[::-1]


def curve(signals: Sequence[Signal], quantity: Quantity, keys: Sequence[str]) -> Curve:
    """Return a quantity of one recipe's signals at the rows with these keys."""
    found: list[list[SignalRow | None]] = []
    for signal in signals:
        rows = {row.key: row for row in signal.rows}
        found.append([rows.get(key) for key in keys])
    seeds = [[None if row is None else quantity.value(row) for row in rows] for rows in found]
    return Curve(seeds, [_median(values) for values in zip(*seeds, strict=True)], found[0])


def _median(values: Sequence[Value]) -> Value:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return statistics.median(known) if all(map(math.isfinite, known)) else math.nan


def error_factor(row: SignalRow) -> float:
    """Return the factor that one standard error multiplies or divides the second moment by."""
    return math.exp(min(row.error, WIDEST_ERROR))


def whole_decades(values: Iterable[float]) -> tuple[int, int]:
    """Return exponents of ten for the ends of an axis, so that small changes look flat.

    >>> whole_decades([0.5, 1.2]), whole_decades([1.0]), whole_decades([])
    ((-1, 1), (0, 1), (-1, 1))
    """
    logs = [math.log10(value) for value in values]
    if not logs:
        return -1, 1
    low = math.floor(min(logs))
    return low, max(math.ceil(max(logs)), low + 1)


def short_names(names: Iterable[str]) -> Mapping[str, str]:
    """Return names without the path that all names share, except those at the root.

    Numbers of layers stay.

    >>> list(short_names(["model.layers.0.fc", "model.layers.1.fc", "head", ""]).values())
    ['layers.0.fc', 'layers.1.fc', 'head', '(model)']
    """
    listed = list(dict.fromkeys(names))
    split = [name.split(".") for name in listed if "." in name]
    least = min(map(len, split), default=1)
    shared = 0
    while shared < least - 1 and len({parts[shared] for parts in split}) == 1:
        shared += 1
    while shared and any(parts[shared].isdigit() for parts in split):
        shared -= 1
    short = {n: ".".join(n.split(".")[shared:]) if "." in n else n or "(model)" for n in listed}
    # If two short names are equal, all keep their full names.
    return short if len({*short.values()}) == len(short) else {n: n or "(model)" for n in listed}


def evenly_chosen(numbers: Sequence[int], most: int) -> list[int]:
    """Return at most ``most`` of the numbers, evenly spaced, with the first and the last.

    >>> evenly_chosen(range(100), 4)
    [0, 33, 66, 99]
    """
    if len(numbers) <= most:
        return list(numbers)
    step = (len(numbers) - 1) / (most - 1)
    return [numbers[round(at * step)] for at in range(most)]


def at_least_apart(numbers: Sequence[int], gap: float) -> list[int]:
    """Return numbers at least ``gap`` apart, with the first and the last.

    >>> at_least_apart([0, 1, 5, 9, 10, 14, 15], 3)
    [0, 5, 9, 15]
    """
    found: list[int] = []
    for number in numbers:
        if not found or number - found[-1] >= gap:
            found.append(number)
    while len(found) > 1 and numbers[-1] - found[-1] < gap:
        found.pop()
    return found if not numbers or numbers[-1] in found else [*found, numbers[-1]]
