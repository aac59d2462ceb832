"""Signals and comparisons as plain text: the verdict, the calls that matter, findings, words."""

from __future__ import annotations

from collections.abc import Sequence

from goodinit._common.plain_words import plain_words
from goodinit._common.text import (
    count,
    filled_columns,
    finding_lines,
    number,
    table,
    trimmed,
    wrap,
)
from goodinit.report.curves import Line, all_signals, evenly_chosen, line_over_depth, shown_rows
from goodinit.report.placed_findings import notes, placed_findings, verdict
from goodinit.signal.compare import Comparison, summary
from goodinit.signal.rows import SignalRow

CALLS = ("call", "function", "shape", "mean", "second moment", "cosine", "positions", "gradient")
NAME, FUNCTION = 24, 12  # characters of these cells
ROWS = 12  # of the table: it, the findings and the verdict fit a screen
FULL = "signal.to_text(full=True) shows all"
SUMMARY_WORDS = (
    "last layer: its second moment, median and range over seeds; samples: cosine of two samples "
    "there; gradient: squared norm at the first layer / at the last: 1 where it survives"
)


def signal_text(comparison: Comparison, *, full: bool = False) -> str:
    """Return the text of a single signal; ``full`` shows all calls and all findings."""
    (signal,) = all_signals(comparison)
    rows = shown_rows(comparison)
    chosen = rows if full else chosen_calls(comparison)
    out = [*wrap(verdict(comparison)), ""]
    if rows:
        out += _table(chosen, full)
    if len(chosen) < len(rows):
        out += wrap(f"{len(chosen)} of {count(len(rows), 'call')}: {FULL}")
    if signal.first_loss is not None:
        out += ["", *wrap(signal.first_loss.text())]
    if signal.findings:
        out += ["", *finding_lines(signal.findings, FULL, full=full)]
    for note in signal.notes:
        out += ["", *wrap(f"note: {note}")]
    out += ["", *(line for word in plain_words("\n".join(out)) for line in wrap(word))]
    return "\n".join(out).rstrip()


def chosen_calls(comparison: Comparison) -> list[SignalRow]:
    """Return the calls along the depth and those that findings name, a selection if many."""
    rows, marked = shown_rows(comparison), marked_calls(comparison)
    return [rows[n] for n in chosen_numbers(line_over_depth(comparison), marked, ROWS)]


def marked_calls(comparison: Comparison) -> set[int]:
    """Return the numbers of the shown rows that findings name."""
    at = {row.key: n for n, row in enumerate(shown_rows(comparison))}
    return {at[key] for p in placed_findings(comparison) for key in p.keys if key in at}


def chosen_numbers(line: Line, marked: set[int], most: int) -> list[int]:
    """Return so many calls along the line, evenly, and half as many of those that are marked."""
    return sorted({*evenly_chosen(line.at, most), *evenly_chosen(sorted(marked), most // 2)})


def call_cells(rows: Sequence[SignalRow]) -> list[tuple[str, ...]]:
    """Return the cells of calls under ``CALLS``."""
    return [
        (
            trimmed(row.name or "(model)", NAME),
            trimmed(row.function, FUNCTION),
            "x".join(map(str, row.shape)),
            number(row.forward.mean),
            number(row.forward.second),
            number(row.forward.across_samples),
            number(row.forward.across_positions),
            number(None if row.backward is None else row.backward.second),
        )
        for row in rows
    ]


def _table(rows: Sequence[SignalRow], full: bool) -> list[str]:
    """Return the table without columns that are empty, and without the mean but with ``full``."""
    head, lines = filled_columns(CALLS, call_cells(rows), () if full else ("mean",))
    return table(head, lines, {n for n, title in enumerate(head) if title in CALLS[3:]})


def comparison_text(comparison: Comparison, *, full: bool = False) -> str:
    """Return the verdict and a line for each recipe; ``full`` adds the findings."""
    head, *lines = summary(comparison)
    head, lines = filled_columns(head, lines)
    out = [*wrap(verdict(comparison)), ""]
    out += table(head, lines, range(1, len(head) - 1))
    if full and comparison.findings:
        out += ["", *finding_lines(comparison.findings, "", full=True)]
    for note in notes(comparison):
        out += ["", *wrap(f"note: {note}")]
    out += ["", *wrap(SUMMARY_WORDS)]
    out += [line for word in plain_words("", "second moment") for line in wrap(word)]
    return "\n".join(out)
