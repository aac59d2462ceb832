"""Signals and comparisons in a terminal: a table, a plot, findings, and last the verdict."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from goodinit._common.text import number, trimmed
from goodinit.report.curves import QUANTITIES, curve, lined, listed, places, shortened, spread_over
from goodinit.report.hover import error_of, shape_of
from goodinit.report.marks import Mark, marks, notes, verdict
from goodinit.report.textplot import key, plot
from goodinit.signal.compare import Comparison, summary
from goodinit.signal.rows import SignalRow

__all__ = ["printable", "rendered"]

ROWS = 16  # of a table
WIDEST = 100  # columns of a plot and of text
CAPTION = (
    "last layer: second moment there, the median and its range over seeds; samples:\n"
    "cosine of two there; gradient: its squared norm at the first layer over the last"
)
STYLES = {"error": "bold red", "warning": "yellow", "info": ""}


def rendered(comparison: Comparison, width: int = 80) -> RenderableType:
    """Return what rich prints; the verdict stands last, where a terminal stops.

    Raises:
        ReportError: plotext isn't installed.
    """
    width = min(width, WIDEST)
    found = marks(comparison)
    several = len(listed(comparison)) > 1
    parts: list[RenderableType] = [
        _summary(comparison) if several else _calls(comparison, found),
        Text(),
    ]
    parts += [*_plots(comparison, width, several=several), Text()]
    for mark in found:
        parts += [*_finding(mark, width), Text()]
    parts += [Text(textwrap.fill(printable(note), width)) for note in notes(comparison)]
    said = textwrap.fill(printable(verdict(comparison)), width)
    return Group(*parts, Text(said, "bold green" if comparison.ok else "bold red"))


def printable(text: str) -> str:
    r"""Return text without control characters: names may come from anybody's file.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def _table(*heads: str, left: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, head in enumerate(heads):
        table.add_column(head, justify="left" if at < left else "right", no_wrap=True)
    return table


def _summary(comparison: Comparison) -> RenderableType:
    head, *lines = summary(comparison)
    kept = [n for n in range(len(head)) if any(line[n] for line in lines)]
    table = _table(*(head[n] for n in kept), left=1)
    table.columns[-1].justify, table.columns[-1].no_wrap = "left", False
    for name, *cells in lines:
        shown = [trimmed(printable(name), 24), *(cells[n - 1] for n in kept[1:])]
        table.add_row(*map(Text, shown))
    return Group(table, Text(CAPTION, "dim"))


def _calls(comparison: Comparison, found: Sequence[Mark]) -> RenderableType:
    """Return the rows along the line, of many some; those with findings are among them."""
    rows = places(comparison)
    line = lined(comparison)
    short = shortened(row.name for row in rows)
    at = {row.key: n for n, row in enumerate(rows)}
    told = {n for mark in found for k in mark.keys if (n := at.get(k)) is not None}
    shown = sorted({*spread_over(line.at, ROWS), *spread_over(sorted(told), ROWS // 2)})
    table = _table("call", "function", "shape", "second moment", "samples", "gradient", left=3)
    for n in shown:
        row = rows[n]
        name = trimmed(printable(short[row.name]), 24)
        table.add_row(*map(Text, (name, *_cells(row))), style="red" if n in told else "")
    left_out = len(rows) - len(shown)
    if not left_out:
        return table
    return Group(table, Text(f"{left_out} more calls: --html and --json have all", "dim"))


def _cells(row: SignalRow) -> tuple[str, ...]:
    f, b = row.forward, row.backward
    return (
        trimmed(row.function, 12),
        trimmed(shape_of(row), 14),
        f"{number(f.second)} {error_of(row):>6}",
        number(f.across_samples),
        number(None if b is None else b.second),
    )


def _plots(comparison: Comparison, width: int, *, several: bool) -> Iterator[RenderableType]:
    rows, line = places(comparison), lined(comparison)
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
            yield plot(values[name], width, 13)
        yield key([*values["forward"]])
        return
    both = {name: next(iter(values[name].values())) for name in known}
    yield Text(f"second moment, over {line.along}", "bold")
    yield plot(both, width, 14)
    yield key([{"forward": "of the signal", "backward": "of the gradient"}[n] for n in both])


def _finding(mark: Mark, width: int) -> Iterator[Text]:
    finding = mark.finding
    whose = f", {mark.whose}" if mark.whose else ""
    yield Text.assemble(
        (f"{finding.code} {finding.severity}", STYLES[finding.severity]),
        printable(f"{whose}: {finding.where}"),
    )
    for words in (f"{finding.cause}.", f"Remedy: {finding.remedy}"):
        yield Text(textwrap.indent(textwrap.fill(printable(words), width - 4), "    "))
