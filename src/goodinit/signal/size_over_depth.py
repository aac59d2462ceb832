"""The size of the signal over depth: GI102, GI103, and GI135, whose cause is the activations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from goodinit.findings import Finding
from goodinit.findings.depth import (
    has_depth,
    is_drowned,
    is_most_of_the_change,
    no_gain_helps,
    signal_is_lost_or_explodes,
    signal_severity,
    variance_map_is_unstable,
)
from goodinit.signal.paths import Path
from goodinit.signal.remedies import NORMS, STANDARD
from goodinit.signal.rows import Signal, SignalRow

__all__ = ["find_lost_signal", "find_unstable_variance"]


def find_lost_signal(signal: Signal, ways: list[Path], outputs: set[int]) -> Iterator[Finding]:
    """Yield vanishing and exploding, at the place where it is worst."""
    worst: dict[str, tuple[float, SignalRow, Path]] = {}
    carried = _carried(signal.rows, outputs)
    for number, (row, run) in enumerate(zip(signal.rows, ways, strict=True)):
        first = signal.rows[run.start].forward
        now = row.forward
        if row.kind != "contract" or not row.params or not has_depth(run.layers):
            continue
        if not (first.second and now.second):
            continue
        change = math.log(now.second / first.second)
        variance = (first.error or 0.0) ** 2 + (now.error or 0.0) ** 2 + run.variance
        code = "GI102" if change < 0 else "GI103"
        if change < 0 and number not in carried:
            continue
        # A last layer that is drawn small, or large, is no matter of depth.
        deep = min(abs(change), abs(change - _own(row, signal.rows)))
        if signal_is_lost_or_explodes(run.layers, deep, variance) and (
            code not in worst or abs(change) > abs(worst[code][0])
        ):
            worst[code] = change, row, run
    for code, (change, row, run) in sorted(worst.items()):
        start, word = signal.rows[run.start], "vanishes" if change < 0 else "explodes"
        each = math.exp(change / max(1, run.layers - 1))
        one = _one(signal.rows, run.start, row, change)
        yield Finding(
            code,
            signal_severity(change),
            f"{start.key} to {row.key}",
            f"the signal {word}: its second moment goes from {start.forward.second:.3g} to "
            f"{row.forward.second:.3g} over {run.layers} layers, "
            + (f"most of it at {one.key}" if one is not None else f"by {each:.3g} a layer"),
            NORMS if no_gain_helps(run.slope) else STANDARD,
        )


def _own(row: SignalRow, rows: Sequence[SignalRow]) -> float:
    """Return the log of what a call alone makes of its signal's second moment."""
    before = max((rows[n].forward.second for n in row.takes if n >= 0), default=0.0)
    return math.log(row.forward.second / before) if before else 0.0


def _one(rows: Sequence[SignalRow], start: int, end: SignalRow, change: float) -> SignalRow | None:
    """Return the layer that most of a change is due to, if one alone is."""
    layers = [row for row in rows[start + 1 :] if row.kind == "contract" and row.params]
    layers = layers[: layers.index(end) + 1]
    worst = max(layers, key=lambda row: _own(row, rows) / change)
    return worst if is_most_of_the_change(_own(worst, rows), change) else None


def _carried(rows: Sequence[SignalRow], outputs: set[int]) -> set[int]:
    """Return the rows whose signal gets to an output: not a branch that a larger skip drowns.

    Residual branches that start at almost nothing are meant so.
    """
    found = set(outputs)
    for number in range(len(rows) - 1, -1, -1):
        row = rows[number]
        if number not in found:
            continue
        before = [n for n in row.takes if n >= 0]
        largest = max((rows[n].forward.second for n in before), default=0.0)
        found.update(
            n for n in before
            if row.kind != "add" or not is_drowned(rows[n].forward.second, largest)
        )  # fmt: skip
    return found


def find_unstable_variance(signal: Signal, ways: list[Path]) -> Iterator[Finding]:
    """Yield a variance map whose slope is above 1, over many layers (Poole et al., 2016)."""
    layers = [(way, row) for way, row in zip(ways, signal.rows, strict=True)
              if row.kind == "contract" and row.params]  # fmt: skip
    way, row = max(layers, key=lambda pair: pair[0].slope, default=(None, None))
    if way is None or row is None or not variance_map_is_unstable(way.slope):
        return
    start = signal.rows[way.start]
    each = way.slope ** (1 / max(1, way.layers - 1))
    yield Finding(
        "GI135",
        "warning",
        f"{start.key} to {row.key}",
        f"the variance map has no stable fixed point: with the right gain an error in the variance "
        f"grows by {each:.3g} a layer, by {way.slope:.3g} over {way.layers} layers",
        NORMS,
    )
