"""Text for people: tables, wrapped lines, lists of names, numbers."""

from __future__ import annotations

import math
import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from html import escape
from itertools import pairwise

from goodinit.errors import printable
from goodinit.findings import Finding

WIDTH = 80  # of text that goes to a file or a pipe
INDENT, GAP = "    ", "  "
NUMBER = re.compile(r"[-+.\de]*|nan|-?inf")  # as in the cells of tables
BREAKS = re.compile(r"(?<=[(,_.])(?=[^\W\d])")  # where a line of a cell may end, besides spaces
GOOD, BAD = "#00734f", "#c1272d"  # colors of a verdict
LEAST = 12  # characters of a cell that are always shown


def terminal_width() -> int | None:
    """Return the terminal's number of columns; None where stdout is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(
    head: Sequence[str],
    lines: Iterable[Sequence[str] | str],
    right: Collection[int] = (),
    name: int = 0,
) -> list[str]:
    """Return the lines of an aligned table that fits the terminal, if there is one.

    Where it is too wide, each of its lines becomes two: the name, and the other cells below it.
    In a file or a pipe a row stays one line, for grep.

    Args:
        head: titles of the columns.
        lines: cells of each row; a plain string is a remark below the row before it.
        right: columns that are aligned to the right.
        name: the column that gets a line of its own where the table is too wide.

    Example:
        >>> rows = [("a", "0.5"), "tied to b", ("b.c", "1")]
        >>> for line in table(("name", "std"), rows, right={1}):
        ...     print(line)
        name  std
        ----  ---
        a     0.5
          tied to b
        b.c     1
    """
    lines = [
        printable(line) if isinstance(line, str) else tuple(map(printable, line)) for line in lines
    ]
    rows = [tuple(head), *(line for line in lines if not isinstance(line, str))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = tuple("-" * width for width in widths)
    limit = terminal_width()
    if limit is None or len(_aligned(rule, widths, right)) <= limit:
        body = [f"  {x}" if isinstance(x, str) else _aligned(x, widths, right) for x in lines]
        return [_aligned(head, widths, right), _aligned(rule, widths, right), *body]
    return _stacked(tuple(head), lines, widths, right, name, limit)


def _aligned(cells: Sequence[str], widths: Sequence[int], right: Collection[int]) -> str:
    padded = (
        cell.rjust(width) if at in right else cell.ljust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return GAP.join(padded).rstrip()


def _stacked(
    head: tuple[str, ...],
    lines: Sequence[tuple[str, ...] | str],
    widths: Sequence[int],
    right: Collection[int],
    name: int,
    limit: int,
) -> list[str]:
    """Return the table with two lines a row; the widest columns give up what doesn't fit."""
    others = [at for at in range(len(widths)) if at > name]
    kept = [widths[at] for at in others]
    between = len(INDENT) + len(GAP) * (len(kept) - 1)
    while between + sum(kept) > limit and max(kept) > LEAST:
        kept[kept.index(max(kept))] -= 1
    total = between + sum(kept)
    aligned = {n for n, at in enumerate(others) if at in right}
    out: list[str] = []
    for line in (head, *lines):
        if isinstance(line, str):
            out.append(INDENT + line)
            continue
        cells = [_cut(line[at], width) for at, width in zip(others, kept, strict=True)]
        out.append(_aligned(line[: name + 1], widths[: name + 1], right))
        out.append(INDENT + _aligned(cells, kept, aligned))
    out.insert(2, "-" * min(total, limit))
    return out


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 3]}..."


def filled_columns(
    head: Sequence[str], lines: Sequence[tuple[str, ...]], without: Collection[str] = ()
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return a table without columns that are empty, or whose title is in ``without``."""
    kept = [
        at
        for at, title in enumerate(head)
        if title not in without and any(line[at] for line in lines)
    ]
    return [head[at] for at in kept], [tuple(line[at] for at in kept) for line in lines]


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table of plain text.

    It scrolls where it is too wide. Text is on the left, which Jupyter's style sheet changes, and
    may be broken after a dot or a bracket: a telephone is 420 wide.

    >>> html_table(("a.b",), [("c(d",)])[29:]
    '<table><tr><th style="padding:.3em .2em;text-align:left">a.<wbr>b</th></tr>\
<tr><td style="padding:.3em .2em;text-align:left">c(<wbr>d</td></tr></table></div>'
    """
    lines = [tuple(row) for row in rows]
    columns = range(max(map(len, (head, *lines))))
    numeric = [
        all(NUMBER.fullmatch(line[at]) for line in lines if at < len(line)) for at in columns
    ]

    def cells(texts: Iterable[str], tag: str) -> str:
        return "".join(
            f'<{tag} style="padding:.3em .2em{"" if number else ";text-align:left"}">'
            f"{_html_cell(text, breaks=not number)}</{tag}>"
            for text, number in zip(texts, numeric, strict=False)
        )

    body = "".join(f"<tr>{cells(line, 'td')}</tr>" for line in lines)
    table = f"<table><tr>{cells(head, 'th')}</tr>{body}</table>"
    return f'<div style="overflow-x:auto">{table}</div>'


def escaped(text: str) -> str:
    """Return text for HTML, with control and direction characters made visible."""
    return escape(printable(text))


def _html_cell(cell: str, *, breaks: bool = False) -> str:
    parts = BREAKS.split(cell) if breaks else [cell]
    return "<wbr>".join(map(escaped, parts)).replace("\n", "<br>")


def folded_html(title: str, content: str) -> str:
    """Return HTML that a click on its title shows."""
    margin = ' style="margin:.5em 0"'
    return f"<details{margin}><summary>{escaped(title)}</summary>{content}</details>"


def finding_lines(findings: Sequence[Finding], more: str, *, full: bool = False) -> list[str]:
    """Return findings in lines that fit the terminal; those that only inform are counted."""
    severe = [f for f in findings if full or f.severity != "info"]
    lines: list[str] = []
    for finding in severe:
        lines += wrap(f"{finding.severity}: {finding.where}: {finding.cause}.")
        lines += wrap(f"Remedy: {finding.remedy} [{finding.code}]", INDENT)
    rest = [finding for finding in findings if finding not in severe]
    return [*lines, *(wrap(f"{notes_title(rest)}: {more}") if rest else [])]


def findings_verdict(findings: Iterable[Finding]) -> str:
    """Return the first finding that is a warning or an error, and how many more there are.

    >>> findings_verdict([Finding("GI102", "error", "", "the signal vanishes", "")] * 2)
    'The signal vanishes (GI102), and 1 more finding.'
    """
    severe = [f for f in findings if f.severity != "info"]
    if not severe:
        return "No findings."
    first, more = severe[0], len(severe) - 1
    others = f", and {count(more, 'more finding')}" if more else ""
    return f"{first.cause[:1].upper()}{first.cause[1:]} ({first.code}){others}."


def notes_title(notes: Sequence[Finding]) -> str:
    """Return how many findings there are that only inform, and their codes.

    >>> notes_title([Finding("GI127", "info", "0.weight", "", "")] * 2)
    '2 notes (GI127)'
    """
    return f"{count(len(notes), 'note')} ({', '.join(dict.fromkeys(f.code for f in notes))})"


def findings_html(findings: Sequence[Finding]) -> str:
    """Return findings as paragraphs; a click shows those that only inform.

    >>> findings_html([Finding("GI127", "info", "0.weight", "the gain is 2", "")])[:71]
    '<details style="margin:.5em 0"><summary>1 note (GI127)</summary><p>info'
    """
    severe = [f for f in findings if f.severity != "info"]
    notes = [f for f in findings if f.severity == "info"]
    shown, folded = ("".join(f"<p>{escaped(str(f))}</p>" for f in some) for some in (severe, notes))
    return shown + (folded_html(notes_title(notes), folded) if notes else "")


def verdict_html(text: str, ok: bool) -> str:
    """Return a verdict as a paragraph, green or red; its lines stay apart.

    >>> verdict_html("No findings.", True)
    '<p style="color:#00734f"><b>No findings.</b></p>'
    """
    return f'<p style="color:{GOOD if ok else BAD}"><b>{_html_cell(text)}</b></p>'


def wrap(text: str, start: str = "") -> list[str]:
    """Return a text in lines that fit the terminal, or 80 columns; later ones are indented."""
    return textwrap.wrap(
        printable(text),
        terminal_width() or WIDTH,
        initial_indent=start,
        subsequent_indent=" " * (len(start) or 4),
        break_long_words=False,
        break_on_hyphens=False,
    )


def labeled(label: str, words: str) -> list[str]:
    """Return words in lines after a label in its own column; without a label, from the left.

    >>> labeled("verdict", "No findings.")
    ['verdict     No findings.']
    """
    return wrap(f"{label:<12}{words}" if label else words)


def several(names: Iterable[str], most: int = 3) -> str:
    """Return the first names, and how many more there are.

    >>> several(["a", "b"]), several(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def without_numbers(text: str) -> str:
    """Return a text with a star in place of each number: equal for repeated layers."""
    return re.sub(r"\d+", "*", text)


def alike_names(names: Iterable[str]) -> dict[str, list[str]]:
    """Group names that differ in their numbers alone.

    >>> alike_names(["h.0.fc", "h.1.fc", "head"])
    {'h.*.fc': ['h.0.fc', 'h.1.fc'], 'head': ['head']}
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(without_numbers(name), []).append(name)
    return groups


def grouped_names(names: Iterable[str], most: int = 3) -> str:
    """Return names as text, those of repeated layers as one.

    >>> grouped_names(["h.0.fc.weight", "h.1.fc.weight", "head.weight"])
    'h.{0-1}.fc.weight x2, head.weight'
    """
    return several(map(grouped_name, alike_names(names).values()), most)


def one_name(names: Sequence[str]) -> str:
    """Return the names of one line of a table: as one, or the first and how many more.

    >>> one_name(["h.0.fc", "h.1.fc"]), one_name(["h.0.fc", "h.0.out"])
    ('h.{0-1}.fc x2', 'h.0.fc and 1 more')
    """
    return grouped_name(names) if len(alike_names(names)) == 1 else several(names, 1)


def shape_text(shape: Iterable[int]) -> str:
    """Return a shape as text.

    >>> shape_text((3, 4)), shape_text(())
    ('3x4', '()')
    """
    return "x".join(map(str, shape)) or "()"


def grouped_name(names: Sequence[str]) -> str:
    """Return names that differ in their numbers alone as one.

    >>> grouped_name(["h.0.fc", "h.1.fc", "h.2.fc"])
    'h.{0-2}.fc x3'
    """
    if len(names) == 1:
        return names[0]
    numbers = zip(*(map(int, re.findall(r"\d+", name)) for name in names), strict=True)
    texts = iter([_number_range(set(column)) for column in numbers])
    text = re.sub(r"\d+", lambda _: next(texts), names[0])
    return f"{text} x{len(names)}"


def _number_range(numbers: set[int]) -> str:
    ordered = sorted(numbers)
    if len(ordered) == 1:
        return str(ordered[0])
    steps = {b - a for a, b in pairwise(ordered)}
    if len(steps) > 1:
        shown = ", ".join(map(str, ordered[:4]))
        return f"{{{shown}, ... ({len(ordered)})}}" if len(ordered) > 4 else f"{{{shown}}}"
    step = steps.pop()
    by = f":{step}" if step > 1 else ""
    return f"{{{ordered[0]}-{ordered[-1]}{by}}}"


def number(value: float | None) -> str:
    """Return three digits of a number; nothing where there is none.

    >>> number(0.12345), number(None), number(math.nan)
    ('0.123', '', 'nan')
    """
    if value is None:
        return ""
    return "nan" if math.isnan(value) else f"{value:.3g}"


def trimmed(name: str, width: int) -> str:
    """Return a name that fits, cut in its middle: both ends of a path matter.

    >>> trimmed("encoder.layers.11.attention.output", 20)
    'encoder.l…ion.output'
    """
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "tensor"), count(2000, "tensor")
    ('1 tensor', '2,000 tensors')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"
