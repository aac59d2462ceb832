"""The HTML page: one file that opens offline, the verdict first, details last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from os import PathLike
from pathlib import Path

from goodinit._common.files import atomic_write
from goodinit._common.plain_words import plain_words
from goodinit._common.text import filled_columns, notes_title, number
from goodinit.report.curves import (
    COLORS,
    QUANTITIES,
    all_signals,
    curve,
    is_layer,
    line_over_depth,
    short_names,
    shown_rows,
)
from goodinit.report.optional import import_optional
from goodinit.report.placed_findings import (
    PlacedFinding,
    notes,
    placed_findings,
    split_by_severity,
    verdict,
)
from goodinit.report.plot import plotly_figure
from goodinit.report.tooltips import error_text, shape_text
from goodinit.signal.compare import Comparison, summary
from goodinit.signal.rows import SignalRow

SUMMARY = (
    "recipe",
    "second moment at the last layer",
    "its range over seeds",
    "cosine of two samples at the last layer",
    "squared gradient norm: first layer / last layer",
    "loss",
    "findings",
)
LEGEND = (
    "The line connects {}. {} A cross is a value that is 0 (bottom) or not finite (top). Calls "
    "that only reshape or cast are omitted. goodinit's docs/findings.md has a section on each code."
)
SEEDS = "Thin lines are single seeds, the thick line is their median."
ONE_SEED = (
    "Dots are other calls. The band is one standard error, from the finite number of samples and "
    "units."
)
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    # plotly's default bar has a button that uploads the figure.
    "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    "plotlyServerURL": "",
}
# With this policy the browser blocks all network requests of the page.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; form-action 'none'; base-uri 'none'"
)
COLUMNS = {
    "forward": "second moment",
    "backward": "gradient",
    "samples": "samples",
    "positions": "positions",
}
WORDS = plain_words("", "second moment", "cosine", "gradient")
CODE = re.compile(r"\bgi\.\w+\(")


def write_page(comparison: Comparison, path: str | PathLike[str]) -> None:
    """Write the page, replacing the file at once.

    Raises:
        ReportError: plotly isn't installed.
        OSError: the file can't be written.
    """
    title = Path(path).stem
    content = "".join(_page(comparison, title)).encode("utf-8", "backslashreplace")
    with atomic_write(path) as new:
        new.write_bytes(content)


def _page(comparison: Comparison, title: str) -> Iterator[str]:
    rows = shown_rows(comparison)
    findings = placed_findings(comparison)
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}: signal</title>\n<style>\n{_file('page.css')}</style>\n</head>\n"
        f'<body>\n<h1>{escape(title)}</h1>\n<p class="facts">{escape(_facts(comparison))}</p>\n'
    )
    status = "ok" if comparison.ok else "bad"
    yield f'<p class="verdict {status}">{escape(verdict(comparison))}</p>\n'
    if _several(comparison):
        yield _summary(comparison)
    if rows:
        yield _plots(comparison, findings)
    yield from _findings(findings, rows)
    yield "".join(f"<p>{escape(note)}</p>\n" for note in notes(comparison))
    if rows:
        yield from _table(comparison, rows)
    yield from _plans(comparison)
    yield (
        f"<footer><p>{escape(_legend(comparison))}</p><p>{'<br>'.join(map(escape, WORDS))}</p>"
        "</footer>\n"
        f"<script>\n{_file('page.js')}</script>\n</body>\n</html>\n"
    )


def _legend(comparison: Comparison) -> str:
    seeds = max((len(signals) for signals in comparison.signals.values()), default=0)
    return LEGEND.format(line_over_depth(comparison).along, SEEDS if seeds > 1 else ONE_SEED)


def _file(name: str) -> str:
    return files("goodinit.report").joinpath(name).read_text("utf-8")


def _several(comparison: Comparison) -> bool:
    return len(all_signals(comparison)) > 1


def _facts(comparison: Comparison) -> str:
    """Return what was measured, in one line."""
    names = [name for name in comparison.signals if name]
    seeds = max((len(signals) for signals in comparison.signals.values()), default=0)
    first = next(iter(all_signals(comparison)), None)
    if first is None:
        return "nothing was measured"
    facts = [", ".join(names)] if names else []
    facts += [f"{seeds} seeds each"] * (seeds > 1)
    facts += [f"batch {first.batch}", f"{len(first.rows)} calls, {len(first.layers)} layers"]
    if first.loss is not None:
        facts.append(f"loss {number(first.loss)}" if not _several(comparison) else "with a loss")
    elif any(row.backward is not None for row in first.rows):
        facts.append(
            "gradient of a random projection of the outputs: compare it between layers only"
        )
    return " · ".join(facts)


def _summary(comparison: Comparison) -> str:
    """Return the table of the comparison, one line per recipe."""
    titles, lines = filled_columns(SUMMARY, summary(comparison)[1:])
    body = "".join(
        f'<tr><td><span class="swatch" style="background:{COLORS[at % len(COLORS)]}"></span>'
        f"{escape(name)}</td>{_cells(cells)}</tr>\n"
        for at, (name, *cells) in enumerate(lines)
    )
    head = "".join(f"<th>{title}</th>" for title in titles)
    table = f'<table class="summary"><tr>{head}</tr>\n{body}</table>'
    return f'<div class="wide">{table}</div>\n'


def _plots(comparison: Comparison, findings: Sequence[PlacedFinding]) -> str:
    plotly = import_optional("plotly.io")
    drawn: str = plotly.to_html(
        plotly_figure(comparison, findings),
        config=dict(CONFIG),  # plotly adds to it
        include_plotlyjs=True,
        full_html=False,
        div_id="plots",
        default_height="auto",
    )
    return drawn


def _findings(findings: Sequence[PlacedFinding], rows: Sequence[SignalRow]) -> Iterator[str]:
    yield "<h2>Findings</h2>\n"
    at = {row.key: n for n, row in enumerate(rows)}
    severe, info = split_by_severity(findings)
    if not severe:
        yield "<p>None.</p>\n"
    yield from (_finding(placed, at) for placed in severe)
    if info:
        yield f"<details><summary>{escape(notes_title([p.finding for p in info]))}</summary>\n"
        yield from (_finding(placed, at) for placed in info)
        yield "</details>\n"


def _finding(placed: PlacedFinding, at: dict[str, int]) -> str:
    finding = placed.finding
    return (
        f'<article class="finding {finding.severity}">\n'
        f"<p><b>{finding.severity}</b><span>{escape(placed.whose)}</span>"
        f"{_where(placed, at)} <span>{finding.code}</span></p>\n"
        f"<p>{escape(finding.cause)}.</p>\n"
        f"<p>Remedy: {_remedy(finding.remedy)}</p>\n</article>\n"
    )


def _where(placed: PlacedFinding, at: dict[str, int]) -> str:
    """Return where a finding is, as a link that highlights the place."""
    numbers = [at[key] for key in placed.keys if key in at]
    where = escape(placed.finding.where)
    if not numbers:
        return where
    return f'<a href="#plots" data-from="{numbers[0]}" data-to="{numbers[-1]}">{where}</a>'


def _remedy(text: str) -> str:
    """Return a remedy; each of its calls of goodinit gets a copy button."""
    out, done = "", 0
    for match in CODE.finditer(text):
        if match.start() < done:
            continue
        end = _closing(text, match.end())
        code = text[match.start() : end]
        out += (
            f"{escape(text[done : match.start()])}<code>{escape(code)}</code>"
            f'<button type="button" data-copy="{escape(code)}">copy</button>'
        )
        done = end
    return out + escape(text[done:])


def _closing(text: str, start: int) -> int:
    """Return where the bracket that is open at ``start`` closes, or the end of the text."""
    depth = 1
    for at in range(start, len(text)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if not depth:
            return at + 1
    return len(text)


def _table(comparison: Comparison, rows: Sequence[SignalRow]) -> Iterator[str]:
    """Return all rows, folded away; medians if there are several seeds."""
    short = short_names(row.name for row in rows)
    keys = [row.key for row in rows]
    found = [
        {name: curve(signals, quantity, keys) for name, quantity in QUANTITIES.items()}
        for signals in comparison.signals.values()
    ]
    known = [name for name in COLUMNS if any(each[name].has_values for each in found)]
    yield (
        f'<details id="calls"><summary>All calls ({len(rows)})</summary>\n'
        '<div class="scroll"><table>\n'
    )
    if len(found) > 1:
        recipes = "".join(
            f'<th colspan="{len(known)}">{escape(recipe)}</th>' for recipe in comparison.signals
        )
        yield f'<tr><th colspan="3"></th>{recipes}</tr>\n'
    heads = ["call", "function", "shape", *[COLUMNS[name] for name in known] * len(found)]
    yield f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>\n"
    for n, row in enumerate(rows):
        kind = ' class="layer"' if is_layer(row) else ""
        numbers = [number(each[name].middle[n]) for each in found for name in known]
        if not _several(comparison):
            numbers[0] = f"{numbers[0]} {error_text(row)}".rstrip()
        yield (
            f'<tr id="row-{n}"{kind}><td title="{escape(row.key)}">{escape(short[row.name])}</td>'
            f"{_cells([row.function, shape_text(row)])}{_cells(numbers, 'n')}</tr>\n"
        )
    yield "</table></div></details>\n"


def _plans(comparison: Comparison) -> Iterator[str]:
    for name, plan in comparison.plans.items():
        yield (
            f"<details><summary>How each parameter was initialized: {escape(name)}</summary>\n"
            f'<div class="scroll">{plan._repr_html_()}</div></details>\n'
        )


def _cells(cells: Iterable[str], style: str = "") -> str:
    opened = f'<td class="{style}">' if style else "<td>"
    return "".join(f"{opened}{escape(cell)}</td>" for cell in cells)
