"""The findings of a comparison, each once for a recipe, with their places in the model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from goodinit._common.text import findings_verdict, number
from goodinit.findings import SEVERITIES, Finding
from goodinit.report.curves import all_signals, line_over_depth, shown_rows
from goodinit.signal.compare import Comparison
from goodinit.signal.rows import Signal, SignalRow

# The plot that shows a finding; all others are shown in the forward plot.
PLOT_OF = {"GI104": "samples", "GI105": "positions", "GI108": "backward"}


@dataclass(frozen=True, slots=True)
class PlacedFinding:
    """A finding of a recipe.

    Attributes:
        recipe: the recipe's name.
        finding: the finding of the first seed that has it.
        count: number of seeds with a finding of this code.
        seeds: number of seeds.
        keys: of the rows that it is about, in the finding's order.
    """

    recipe: str
    finding: Finding
    count: int
    seeds: int
    keys: tuple[str, ...]

    @property
    def whose(self) -> str:
        """The recipe, and how many of its seeds if there are several."""
        share = f", {self.count} of {self.seeds} seeds" if self.seeds > 1 else ""
        return self.recipe + share

    @property
    def quantity(self) -> str:
        """Name of the quantity whose plot shows it."""
        return PLOT_OF.get(self.finding.code, "forward")


def placed_findings(comparison: Comparison) -> list[PlacedFinding]:
    """Return the findings, recipe by recipe, the most severe first."""
    found: list[PlacedFinding] = []
    for recipe, signals in comparison.signals.items():
        firsts: dict[str, tuple[Finding, Signal]] = {}
        for signal in signals:
            for finding in signal.findings:
                firsts.setdefault(finding.code, (finding, signal))
        mine = [
            PlacedFinding(
                recipe,
                finding,
                sum(any(f.code == code for f in signal.findings) for signal in signals),
                len(signals),
                _keys(finding.where, signal.rows),
            )
            for code, (finding, signal) in firsts.items()
        ]
        found += sorted(mine, key=lambda placed: -SEVERITIES.index(placed.finding.severity))
    return found


def split_by_severity(
    placed: Sequence[PlacedFinding],
) -> tuple[list[PlacedFinding], list[PlacedFinding]]:
    """Return the warnings and errors, and what only informs."""
    return (
        [p for p in placed if p.finding.severity != "info"],
        [p for p in placed if p.finding.severity == "info"],
    )


def _keys(where: str, rows: Sequence[SignalRow]) -> tuple[str, ...]:
    """Return the keys of the rows that a finding names by key or by parameter."""
    parts = [where, *where.split(" to "), *where.split(", ")]
    keys = {row.key for row in rows}
    by_param = {name: row.key for row in rows for name in row.params}
    found = [part if part in keys else by_param.get(part, "") for part in parts]
    return tuple(dict.fromkeys(key for key in found if key))


def notes(comparison: Comparison) -> list[str]:
    """Return the notes of all signals, each once."""
    return list(dict.fromkeys(note for signal in all_signals(comparison) for note in signal.notes))


def verdict(comparison: Comparison) -> str:
    """Return the result in one or two sentences."""
    if len(all_signals(comparison)) > 1:
        standings: dict[str, list[str]] = {}
        for name, signals in comparison.signals.items():
            standings.setdefault(_standing(signals), []).append(name)
        return " ".join(f"{', '.join(names)}: {standing}." for standing, names in standings.items())
    severe, _ = split_by_severity(placed_findings(comparison))
    return findings_verdict(p.finding for p in severe) if severe else _healthy(comparison)


def _standing(signals: Sequence[Signal]) -> str:
    """Return the findings of a recipe over its seeds, in words."""
    total = len(signals)
    if all(signal.ok for signal in signals):
        return "no findings" if total == 1 else f"no findings in {total} seeds"
    words: dict[str, str] = {}
    for finding in (f for s in signals for f in s.findings if f.severity != "info"):
        words.setdefault(finding.code, f"{_short(finding)} ({finding.code})")
    severe = [{f.code for f in s.findings if f.severity != "info"} for s in signals]
    counts = Counter(code for codes in severe for code in sorted(codes))
    if total == 1:
        return ", ".join(words[code] for code in sorted(counts))
    by_count: dict[int, list[str]] = {}
    for code, seeds in sorted(counts.items()):
        by_count.setdefault(seeds, []).append(words[code])
    return "; ".join(
        f"{', '.join(said)} in {seeds} of {total} seeds"
        for seeds, said in sorted(by_count.items(), reverse=True)
    )


def _short(finding: Finding) -> str:
    """Return the beginning of a cause, without its numbers."""
    return re.split(r"[:;,]", finding.cause, maxsplit=1)[0]


def _healthy(comparison: Comparison) -> str:
    """Return the range of the second moment over the layers of the only recipe."""
    line, rows = line_over_depth(comparison), shown_rows(comparison)
    shown = [rows[at] for at in line.at]
    if not shown:
        return "No findings: there is no call to measure."
    forward = _range(row.forward.second for row in shown)
    backward = _range(row.backward.second for row in shown if row.backward is not None)
    gradient = f", that of the gradient from {backward}" if backward else ""
    return f"No findings. Over {line.along}, the second moment ranges from {forward}{gradient}."


def _range(values: Iterable[float]) -> str:
    listed = list(values)
    return f"{number(min(listed))} to {number(max(listed))}" if listed else ""
