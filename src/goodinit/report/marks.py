"""Findings of a comparison: each once for a recipe, and where in the model it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from goodinit._common.text import number
from goodinit.findings import Finding
from goodinit.report.curves import lined, listed, places
from goodinit.signal.compare import Comparison
from goodinit.signal.rows import Signal, SignalRow

__all__ = ["Mark", "marks", "notes", "verdict"]

# The quantity that a finding is seen in; the others are seen forward.
SEEN_IN = {"GI104": "samples", "GI105": "positions", "GI108": "backward"}
GRAVITY = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Mark:
    """A finding of a recipe.

    Attributes:
        recipe: its name.
        finding: as the first seed has it that has it.
        count: how many seeds have one of this code.
        seeds: how many there are.
        keys: of the rows that it is about, in its own order.
    """

    recipe: str
    finding: Finding
    count: int
    seeds: int
    keys: tuple[str, ...]

    @property
    def whose(self) -> str:
        """Recipe and share of its seeds, where there is more than one of either."""
        share = f", {self.count} of {self.seeds} seeds" if self.seeds > 1 else ""
        return self.recipe + share

    @property
    def quantity(self) -> str:
        """Name of the quantity that it is seen in."""
        return SEEN_IN.get(self.finding.code, "forward")


def marks(comparison: Comparison) -> list[Mark]:
    """Return the findings, recipe by recipe, the gravest first."""
    found: list[Mark] = []
    for recipe, signals in comparison.signals.items():
        firsts: dict[str, tuple[Finding, Signal]] = {}
        for signal in signals:
            for finding in signal.findings:
                firsts.setdefault(finding.code, (finding, signal))
        mine = [
            Mark(
                recipe,
                finding,
                sum(any(f.code == code for f in signal.findings) for signal in signals),
                len(signals),
                _keys(finding.where, signal.rows),
            )
            for code, (finding, signal) in firsts.items()
        ]
        found += sorted(mine, key=lambda mark: GRAVITY.index(mark.finding.severity))
    return found


def _keys(where: str, rows: Sequence[SignalRow]) -> tuple[str, ...]:
    """Return the keys of the rows that a finding names, by their keys or their parameters."""
    parts = [where, *where.split(" to "), *where.split(", ")]
    keys = {row.key for row in rows}
    by_param = {name: row.key for row in rows for name in row.params}
    found = [part if part in keys else by_param.get(part, "") for part in parts]
    return tuple(dict.fromkeys(key for key in found if key))


def notes(comparison: Comparison) -> list[str]:
    """Return what could not be known, each once."""
    return list(dict.fromkeys(note for signal in listed(comparison) for note in signal.notes))


def verdict(comparison: Comparison) -> str:
    """Return in a sentence or two what there is to know first."""
    if len(listed(comparison)) > 1:
        standings: dict[str, list[str]] = {}
        for name, signals in comparison.signals.items():
            standings.setdefault(_standing(signals), []).append(name)
        return " ".join(f"{', '.join(names)}: {said}." for said, names in standings.items())
    grave = [m for m in marks(comparison) if m.finding.severity != "info"]
    if grave:
        first, more = grave[0], len(grave) - 1
        others = f", and {more} more finding{'s' * (more > 1)}" if more else ""
        return f"{_capital(first.finding.cause)} ({first.finding.code}){others}."
    return _healthy(comparison)


def _standing(signals: Sequence[Signal]) -> str:
    """Return how a recipe did over its seeds."""
    total = len(signals)
    if all(signal.ok for signal in signals):
        return "no findings" if total == 1 else f"no findings in {total} seeds"
    grave = [{f.code for f in s.findings if f.severity != "info"} for s in signals]
    counts = Counter(code for codes in grave for code in sorted(codes))
    if total == 1:
        return ", ".join(sorted(counts))
    alike: dict[int, list[str]] = {}
    for code, count in sorted(counts.items()):
        alike.setdefault(count, []).append(code)
    return "; ".join(
        f"{', '.join(codes)} in {count} of {total} seeds"
        for count, codes in sorted(alike.items(), reverse=True)
    )


def _healthy(comparison: Comparison) -> str:
    """Return between which values the layers of the only recipe lie."""
    line, rows = lined(comparison), places(comparison)
    shown = [rows[at] for at in line.at]
    if not shown:
        return "No findings, and no call to measure."
    said = f"No findings. Over {line.along} the second moment is "
    said += _span(row.forward.second for row in shown)
    back = _span(row.backward.second for row in shown if row.backward is not None)
    return f"{said}, the gradient's {back}." if back else f"{said}."


def _span(values: Iterable[float]) -> str:
    listed = list(values)
    return f"{number(min(listed))} to {number(max(listed))}" if listed else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
