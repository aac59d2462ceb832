"""What is shown of signals over depth: which calls, which quantities, under which names.

All renderers take a ``Comparison``; one signal is a comparison of one recipe and one seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from goodinit.plans.plan import Plan
from goodinit.signal.compare import Comparison
from goodinit.signal.rows import Signal, SignalRow

__all__ = [
    "COLOURS",
    "QUANTITIES",
    "Curve",
    "Line",
    "Quantity",
    "alone",
    "apart",
    "curve",
    "lined",
    "listed",
    "places",
    "shortened",
    "spread_over",
]

# Okabe and Ito's, the darker ones first: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A7F00")
FEW = 3  # fewer than this are no line
STEP = "step of the residual stream"

Value = float | None


class Quantity(NamedTuple):
    """Something that each call has a value of.

    Attributes:
        title: what a plot of it is called.
        log: whether its axis is logarithmic.
        of: its value; None where there is none.
    """

    title: str
    log: bool
    of: Callable[[SignalRow], Value]


def _second(row: SignalRow) -> Value:
    return row.forward.second


def _gradient(row: SignalRow) -> Value:
    return None if row.backward is None else row.backward.second


def _samples(row: SignalRow) -> Value:
    return row.forward.across_samples


def _positions(row: SignalRow) -> Value:
    return row.forward.across_positions


QUANTITIES = {
    "forward": Quantity("forward: second moment", True, _second),
    "backward": Quantity("backward: the gradient's second moment", True, _gradient),
    "samples": Quantity("cosine of two samples", False, _samples),
    "positions": Quantity("cosine of two positions", False, _positions),
}


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity under one recipe, place by place.

    Attributes:
        seeds: each seed's values; None where there is none.
        middle: their median; NaN where one of them isn't finite.
        rows: of the first seed; None where it doesn't come by.
    """

    seeds: list[list[Value]]
    middle: list[Value]
    rows: list[SignalRow | None]


def alone(signal: Signal, plan: Plan | None = None) -> Comparison:
    """Return one signal as a comparison of one recipe, under the plan's name for it."""
    name = plan.recipe if plan is not None else ""
    return Comparison({name: [signal]}, {} if plan is None else {name: plan})


def listed(comparison: Comparison) -> list[Signal]:
    """Return the signals of all recipes."""
    return [signal for signals in comparison.signals.values() for signal in signals]


def places(comparison: Comparison) -> list[SignalRow]:
    """Return one row for each key, in execution order; those that only move numbers left out."""
    found: dict[str, SignalRow] = {}
    for signal in listed(comparison):
        for row in signal.rows:
            if row.kind not in ("view", "cast"):
                found.setdefault(row.key, row)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Line:
    """The places that a line over depth goes through.

    Attributes:
        unit: what each of them is.
        at: their numbers among the places.
    """

    unit: str
    at: list[int]

    @property
    def along(self) -> str:
        """What they are all together, in a sentence that begins with "Over"."""
        many = self.unit.replace("step", "steps") if self.unit == STEP else f"{self.unit}s"
        return f"{len(self.at)} {many}" if len(self.at) != 1 else "the only call"


def lined(comparison: Comparison) -> Line:
    """Return the sums of residual streams, where there are some; else the layers; else all.

    Layers inside of residual branches lie on different scales, and a line through them would jump.
    """
    number = {row.key: n for n, row in enumerate(places(comparison))}
    rows = [row for signal in listed(comparison)[:1] for row in signal.rows]
    spine = [row for row in _spine(rows) if row.key in number]
    skips = {row.key for row in rows if row.kind == "add" and _skips(row, rows)}
    if len(skips) >= FEW:
        # Where a block widens, its sum's first operand is projected, and nothing skips.
        sums = skips | {row.key for row in spine if row.kind == "add"}
        inner = [n for n, row in enumerate(spine) if row.key in sums] or [len(spine)]
        ends = [row for row in spine[: inner[0]] if _is_layer(row) or row.kind == "pick"][:1]
        ends += [row for row in spine[inner[-1] :] if _is_layer(row)][-1:]
        return Line(STEP, sorted({number[key] for key in sums} | {number[r.key] for r in ends}))
    layers = [number[row.key] for row in rows if _is_layer(row)]
    if len(layers) >= FEW:
        return Line("layer", layers)
    return Line("call", list(number.values()))


def _is_layer(row: SignalRow) -> bool:
    return row.kind == "contract" and bool(row.params)


def _skips(row: SignalRow, rows: Sequence[SignalRow]) -> bool:
    """Whether a sum's first operand skips what its last one went through."""
    if len(row.takes) < 2 or max(row.takes) < 0:
        return False
    skip, seen, ahead = min(row.takes), set[int](), [max(row.takes)]
    while ahead:
        number = ahead.pop()
        if number == skip:
            return True
        if number > skip and number not in seen:
            seen.add(number)
            ahead += rows[number].takes
    return False


def _spine(rows: Sequence[SignalRow]) -> list[SignalRow]:
    """Return the rows on a shortest way from the inputs to the last row.

    Of two operands the earlier one is nearer to the inputs: what a residual connection skips with.
    """
    fed: list[bool] = []
    for row in rows:
        fed.append(any(n < 0 or fed[n] for n in row.takes))
    way: list[SignalRow] = []
    at = next((n for n in reversed(range(len(rows))) if fed[n]), -1)
    while at >= 0:
        way.append(rows[at])
        at = min((n for n in rows[at].takes if n >= 0 and fed[n]), default=-1)
    return way[::-1]


def curve(signals: Sequence[Signal], quantity: Quantity, keys: Sequence[str]) -> Curve:
    """Return a quantity of one recipe's signals at some places."""
    found: list[list[SignalRow | None]] = []
    for signal in signals:
        rows = {row.key: row for row in signal.rows}
        found.append([rows.get(key) for key in keys])
    seeds = [[None if row is None else quantity.of(row) for row in rows] for rows in found]
    return Curve(seeds, [_middle(values) for values in zip(*seeds, strict=True)], found[0])


def _middle(values: Sequence[Value]) -> Value:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return statistics.median(known) if all(map(math.isfinite, known)) else math.nan


def shortened(names: Iterable[str]) -> Mapping[str, str]:
    """Return names without the modules that all of them, but those at the root, are in.

    What counts layers keeps its name.

    >>> list(shortened(["model.layers.0.fc", "model.layers.1.fc", "head", ""]).values())
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
    # Two that would look alike keep their whole names.
    return short if len({*short.values()}) == len(short) else {n: n or "(model)" for n in listed}


def spread_over(numbers: Sequence[int], most: int) -> list[int]:
    """Return at most so many of the numbers, evenly spread, the first and the last among them.

    >>> spread_over(range(100), 4)
    [0, 33, 66, 99]
    """
    if len(numbers) <= most:
        return list(numbers)
    step = (len(numbers) - 1) / (most - 1)
    return [numbers[round(at * step)] for at in range(most)]


def apart(numbers: Sequence[int], gap: float) -> list[int]:
    """Return numbers that are at least so far apart, the first and the last among them.

    >>> apart([0, 1, 5, 9, 10, 14, 15], 3)
    [0, 5, 9, 15]
    """
    found: list[int] = []
    for number in numbers:
        if not found or number - found[-1] >= gap:
            found.append(number)
    while len(found) > 1 and numbers[-1] - found[-1] < gap:
        found.pop()
    return found if not numbers or numbers[-1] in found else [*found, numbers[-1]]
