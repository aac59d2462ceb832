"""Explanations as text for a terminal, HTML for a notebook, and plain data.

Repeated layers share a line, as in a plan; what matters stands last, where a terminal stops.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, cast

from goodinit._common.text import WIDTH, grouped_name, wrap
from goodinit.explanation.context import named
from goodinit.explanation.recognition import OWN
from goodinit.explanation.rows import ExplainedRow

if TYPE_CHECKING:
    from goodinit.explanation.explain import Explanation

__all__ = ["html", "plain", "text"]

HEAD = ("", "name", "shape", "std", "gain", "looks like")
RIGHT = (3, 4)
NAME = 36  # a longer name gets a line of its own
FEW = 4

_Cells = tuple[str, ...]


def text(told: Explanation) -> str:
    """Return an explanation as plain text, at most 80 columns wide where names allow it."""
    lines = _lines(told)
    short = [cells for cells in lines if len(cells[1]) <= NAME]
    widths = [max((len(c[i]) for c in (HEAD, *short)), default=0) for i in range(len(HEAD) - 1)]
    out = [_format(HEAD, widths), _format(tuple("-" * w for w in (*widths, 10)), widths)]
    for cells in lines:
        out += _fitted(cells, widths)
    if not told.rows:
        out = ["no parameters"]
    out.append("")
    for label, words in _summary(told):
        out += wrap(f"{label:<12}{words}", "") if label else wrap(words, "")
    for finding in told.findings:
        out += wrap(str(finding))
    if told.remedy:
        out += ["", "remedy", *wrap(told.remedy)]
    return "\n".join(line.rstrip() for line in out)


def html(told: Explanation) -> str:
    """Return an explanation as an HTML table, with its findings and the remedy."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in HEAD)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for cells in _lines(told)
    )
    notes = "".join(
        f"<p><b>{escape(label)}</b> {escape(words)}</p>" for label, words in _summary(told)
    )
    notes += "".join(f"<p>{escape(str(finding))}</p>" for finding in told.findings)
    if told.remedy:
        notes += f"<pre>{escape(told.remedy)}</pre>"
    return f"<table><tr>{head}</tr>{rows}</table>{notes}"


def plain(told: Explanation) -> dict[str, object]:
    """Return an explanation as plain data; what isn't finite is None."""
    return {
        "recipe": told.recipe,
        "habit": told.habit,
        "call": told.call,
        "also": list(told.also),
        "ok": told.ok,
        "weights": {"explained": told.matrices[0], "told": told.matrices[1]},
        "parameters": {"explained": told.parameters[0], "told": told.parameters[1]},
        "how": told.how,
        "remedy": told.remedy,
        "findings": [dataclasses.asdict(finding) for finding in told.findings],
        "rows": [
            {name: _finite(value) for name, value in dataclasses.asdict(row).items()}
            for row in told.rows
        ],
    }


def _finite(value: object) -> object:
    if isinstance(value, tuple):
        return list(cast("tuple[object, ...]", value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


# Lines.


def _lines(told: Explanation) -> list[_Cells]:
    """Return the lines of the table: layers that look alike share one."""
    severe = {f.code for f in told.findings if f.severity != "info"}
    groups: dict[tuple[str, ...], list[ExplainedRow]] = {}
    for row in told.rows:
        mark = "!" if severe & {*row.findings} else "-" if row.ok is False else ""
        pattern = re.sub(r"\d+", "{}", row.name)
        key = (mark, pattern, _shape(row), _looks(row))
        groups.setdefault(key, []).append(row)
    return [
        (
            mark,
            grouped_name([row.name for row in rows]),
            shape,
            _mean([row.std for row in rows]),
            _mean([row.gain for row in rows]),
            looks,
        )
        for (mark, _, shape, looks), rows in groups.items()
    ]


def _shape(row: ExplainedRow) -> str:
    return "x".join(map(str, row.shape)) or "()"


def _looks(row: ExplainedRow) -> str:
    words = OWN.strip(", ") if row.looks.endswith(OWN) else row.looks
    return words if row.certain else f"~ {words}"


def _mean(values: list[float | None]) -> str:
    """Return the root mean square over the layers of a line; nothing where it is 0 or unknown."""
    squares = [value**2 for value in values if value is not None and math.isfinite(value)]
    value = math.sqrt(sum(squares) / len(squares)) if squares else 0.0
    return f"{value:.3g}" if value else ""


def _fitted(cells: _Cells, widths: list[int]) -> list[str]:
    """Return a line of the table, broken where it is too wide."""
    out: list[str] = []
    if len(cells[1]) > NAME:
        out.append(f"{cells[0]:<{widths[0]}}  {cells[1]}")
        cells = ("", "", *cells[2:])
    line = _format(cells, widths)
    if len(line) <= WIDTH:
        return [*out, line]
    return [*out, _format((*cells[:-1], ""), widths), *wrap(cells[-1], "      ")]


def _format(cells: _Cells, widths: list[int]) -> str:
    body = (
        cell.rjust(width) if i in RIGHT else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells[:-1], widths, strict=True))
    )
    return "  ".join((*body, cells[-1])).rstrip()


# What is said below the table.


def _summary(told: Explanation) -> list[tuple[str, str]]:
    if not told.rows:
        return [("", "nothing to explain")]
    said = [("looks like", _verdict(told))]
    laws = Counter(row.looks for row in told.rows if row.gain is not None)
    if laws:
        listed = [f"{law} (x{count})" for law, count in laws.most_common(FEW)]
        more = [f"{len(laws) - FEW} more laws"] if len(laws) > FEW else []
        said.append(("weights", "; ".join([*listed, *more])))
    others: dict[str, list[str]] = {}
    for row in told.rows:
        if row.ok is False:
            others.setdefault(f"{_looks(row)} instead of {row.expected}", []).append(row.name)
    if others:
        listed = [f"{named(names)}: {words}" for words, names in list(others.items())[:FEW]]
        more = [f"{len(others) - FEW} more kinds"] if len(others) > FEW else []
        said.append(("but not (-)", "; ".join([*listed, *more])))
    if any(not row.certain for row in told.rows):
        said.append(("~", "too few values to tell laws apart: no more than consistent with it"))
    if not told.findings:
        said.append(("findings", "none"))
    return said


def _verdict(told: Explanation) -> str:
    if not told.recipe and not told.habit:
        return "no recipe of the library"
    weights, parameters = told.matrices, told.parameters
    same = [*told.also[:2], *(["others"] if len(told.also) > 2 else [])]
    also = f"; {' and '.join(same)} would draw the same here" if same else ""
    left = len(told.rows) - parameters[1]
    rest = f"; it leaves {left} as they are" if left else ""
    counts = [f"{parameters[0]} of {parameters[1]} parameters"]
    if weights[1]:
        counts.insert(0, f"{weights[0]} of {weights[1]} weights")
    return f"{told.call or told.habit}: explains {', '.join(counts)}{rest}{also}"
