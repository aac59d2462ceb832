"""Signals and comparisons in a terminal: the verdict, a table, a plot, findings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from goodinit._common.text import filled_columns, notes_title, number, trimmed
from goodinit.errors import printable
from goodinit.report.curves import (
    QUANTITIES,
    all_signals,
    curve,
    line_over_depth,
    short_names,
    shown_rows,
)
from goodinit.report.placed_findings import (
    PlacedFinding,
    notes,
    placed_findings,
    split_by_severity,
    verdict,
)
from goodinit.report.signal_text import chosen_numbers, marked_calls
from goodinit.report.textplot import legend, text_plot
from goodinit.report.tooltips import error_text, shape_text
from goodinit.signal.compare import Comparison, summary
from goodinit.signal.rows import SignalRow

ROWS = 16  # of the table: it, the plot and the verdict fit a screen
WIDEST = 100  # columns of plots and text: longer lines are hard to read
NAME, FUNCTION, SHAPE = 24, 12, 14  # characters of these cells: 80 columns hold all
CAPTION = (
    "last layer: its second moment, median and range over seeds; samples: cosine of\n"
    "two samples there; gradient: squared norm at the first layer / at the last"
)
FULL = "--full, --html and --json show all"
STYLES = {"error": "bold red", "warning": "yellow", "info": ""}


def render(comparison: Comparison, width: int = 80, *, full: bool = False) -> RenderableType:
    """Return what rich prints, the verdict first; ``full``: all calls, and what only informs.

    Raises:
        ReportError: plotext isn't installed.
    """
    width = min(width, WIDEST)
    findings = placed_findings(comparison)
    severe, info = split_by_severity(findings)
    several = len(all_signals(comparison)) > 1
    first = textwrap.fill(printable(verdict(comparison)), width)
    parts: list[RenderableType] = [
        Text(first, "bold green" if comparison.ok else "bold red"),
        Text(),
        _summary(comparison) if several else _calls(comparison, full),
        Text(),
    ]
    parts += [*_plots(comparison, width, several=several)]
    for placed in findings if full else severe:
        parts += [Text(), *_finding(placed, width)]
    if info and not full:
        parts += [Text(), Text(f"{notes_title([p.finding for p in info])}: {FULL}", "dim")]
    for note in notes(comparison):
        parts += [Text(), Text(textwrap.fill(printable(note), width))]
    return Group(*parts)


def _table(*heads: str, left: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, head in enumerate(heads):
        table.add_column(head, justify="left" if at < left else "right", no_wrap=True)
    return table


def _summary(comparison: Comparison) -> RenderableType:
    head, *lines = summary(comparison)
    head, lines = filled_columns(head, lines)
    table = _table(*head, left=1)
    table.columns[-1].justify, table.columns[-1].no_wrap = "left", False
    for name, *cells in lines:
        table.add_row(*map(Text, (trimmed(printable(name), NAME), *cells)))
    return Group(table, Text(CAPTION, "dim"))


def _calls(comparison: Comparison, full: bool) -> RenderableType:
    """Return a table of calls along the line and of calls with findings; a selection if many."""
    rows, marked = shown_rows(comparison), marked_calls(comparison)
    short = short_names(row.name for row in rows)
    shown = chosen_numbers(line_over_depth(comparison), marked, ROWS)
    shown = list(range(len(rows))) if full else shown
    table = _table("call", "function", "shape", "second moment", "samples", "gradient", left=3)
    for n in shown:
        row = rows[n]
        name = trimmed(printable(short[row.name]), NAME)
        table.add_row(*map(Text, (name, *_cells(row))), style="red" if n in marked else "")
    left_out = len(rows) - len(shown)
    if not left_out:
        return table
    return Group(table, Text(f"{left_out} more calls: {FULL}", "dim"))


def _cells(row: SignalRow) -> tuple[str, ...]:
    return (
        trimmed(row.function, FUNCTION),
        trimmed(shape_text(row), SHAPE),
        f"{number(row.forward.second)} {error_text(row):>6}",
        number(row.forward.across_samples),
        number(QUANTITIES["backward"].value(row)),
    )


def _plots(comparison: Comparison, width: int, *, several: bool) -> Iterator[RenderableType]:
    rows, line = shown_rows(comparison), line_over_depth(comparison)
    keys = [rows[n].key for n in line.at]
    if not keys:
        return
    values = {
        name: {
            printable(recipe): curve(signals, QUANTITIES[name], keys).middle
            for recipe, signals in comparison.signals.items()
        }
        for name in ("forward", "backward")
    }
    known = [n for n in values if any(v is not None for c in values[n].values() for v in c)]
    if several:
        for name in known:
            yield Text(f"{QUANTITIES[name].title}, over {line.along}", "bold")
            yield text_plot(values[name], width, 13)
        yield legend([*values["forward"]])
        return
    both = {name: next(iter(values[name].values())) for name in known}
    yield Text(f"second moment, over {line.along}", "bold")
    yield text_plot(both, width, 14)
    yield legend([{"forward": "of the signal", "backward": "of the gradient"}[n] for n in both])


def _finding(placed: PlacedFinding, width: int) -> Iterator[Text]:
    finding = placed.finding
    whose = f", {placed.whose}" if placed.whose else ""
    yield Text.assemble(
        (finding.severity, STYLES[finding.severity]), printable(f"{whose}: {finding.where}")
    )
    for words in (f"{finding.cause}.", f"Remedy: {finding.remedy} [{finding.code}]"):
        yield Text(textwrap.indent(textwrap.fill(printable(words), width - 4), "    "))
