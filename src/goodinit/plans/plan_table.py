"""Plans as tables: plain text for a terminal, HTML for a notebook.

Repeated layers share a line, ``h.{0-11}.attn.weight x12``, and rules are referred to by their
numbers in the list below the table, so that a line fits 80 columns where names allow it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from goodinit._common.text import grouped_name, html_table, number, several, table, wrap
from goodinit.findings import Finding
from goodinit.plans.rows import PlanBlock, PlanRow
from goodinit.schemes import Constant, Keep, Normal, Ones, Scheme, Zeros

__all__ = ["plan_html", "plan_text"]

HEAD = ("name", "shape", "what", "fans", "drawn", "std", "#")
RIGHT = {5, 6}  # the columns of numbers
MOST_NAMES = 4  # of blocks or rows in one remark; more would break the line


@dataclass(frozen=True)
class _Line:
    """One line: cells without the name's numbers, the same for all layers that share it."""

    pattern: str
    cells: tuple[str, ...]
    remarks: tuple[str, ...]


def plan_text(rows: Sequence[PlanRow], summary: str, findings: Iterable[Finding]) -> str:
    """Return the rows as a table in plain text, with their rules, the summary and findings."""
    lines, rules = _group_rows(rows)
    body: list[tuple[str, ...] | str] = []
    for line, names in lines.items():
        body += [(grouped_name(names), *line.cells), *line.remarks]
    out = [*table(HEAD, body, RIGHT), "", "rules"]
    for count, (rule, why) in enumerate(rules.items(), start=1):
        out += wrap(f"{rule}  # {why}" if why else rule, f"{count:>4}  ")
    out += ["", *wrap(summary)]
    for finding in findings:
        out += wrap(str(finding))
    return "\n".join(line.rstrip() for line in out)


def plan_html(rows: Sequence[PlanRow], summary: str, findings: Iterable[Finding]) -> str:
    """Return the rows as an HTML table, with their rules, the summary and findings."""
    lines, rules = _group_rows(rows)
    body: list[tuple[str, ...]] = []
    for line, names in lines.items():
        body += [(grouped_name(names), *line.cells), *((remark,) for remark in line.remarks)]
    listed = "".join(
        f"<li>{escape(rule)}{f' <i>{escape(why)}</i>' if why else ''}</li>"
        for rule, why in rules.items()
    )
    notes = "".join(f"<p>{escape(str(note))}</p>" for note in (summary, *findings))
    return f"{html_table(HEAD, body)}<ol>{listed}</ol>{notes}"


def _group_rows(rows: Sequence[PlanRow]) -> tuple[dict[_Line, list[str]], dict[str, str]]:
    """Return the lines with the names that share each, and the rules with their reasons."""
    rules: dict[str, str] = {}
    for row in rows:
        own = _rules_of(row)
        for rule in own:
            reason = row.why if row.rule and len(own) == 1 else ""
            rules[rule] = rules.get(rule) or reason
    numbers = {rule: str(count) for count, rule in enumerate(rules, start=1)}
    lines: dict[_Line, list[str]] = {}
    for row in rows:
        own = _rules_of(row)
        cells = _cells(row, ",".join(numbers[rule] for rule in own))
        more = row.why if row.rule and len(own) == 1 and row.why != rules[own[0]] else ""
        line = _Line(re.sub(r"\d+", "{}", row.name), cells, _remarks(row, more))
        lines.setdefault(line, []).append(row.name)
    return lines, rules


def _rules_of(row: PlanRow) -> list[str]:
    return row.rule.splitlines() or [f"no rule: {row.why}"]


def _cells(row: PlanRow, rules: str) -> tuple[str, ...]:
    return (
        "x".join(map(str, row.shape)) or "()",
        row.kind if row.part in (row.kind, "table", "weight") else f"{row.kind} {row.part}",
        _fans_text(row.fan_in, row.fan_out) or ("by block" if row.layout else ""),
        "by block" if row.scheme is None else _scheme_text(row.scheme),
        "" if row.scheme is None else number(row.std or None),
        rules,
    )


def _remarks(row: PlanRow, more: str) -> tuple[str, ...]:
    """Return the lines under a row: blocks that differ, marks, and what else there is to say."""
    groups: dict[str, list[str]] = {}
    for block in row.blocks if row.scheme is None else ():
        groups.setdefault(_block_text(row, block), []).append(block.name)
    out = [f"{several(names, MOST_NAMES)}: {drawn}" for drawn, names in groups.items()]
    path = f"{row.name.rpartition('.')[0]}."
    stored = several([name.removeprefix(path) for name in row.stored], MOST_NAMES)
    blocks = [block.name for block in row.blocks]
    by_block = row.layout is not None and row.scheme is not None and len(blocks) > 1
    marks = {
        f"each of {several(blocks, MOST_NAMES)}": by_block,
        f"tied with {several(row.tied, MOST_NAMES)}": row.tied,
        "frozen": row.frozen and not row.buffer,
        "guessed by its shape": row.guessed,
        f"rows {several(map(str, row.zero_rows), MOST_NAMES)} stay zero": row.zero_rows,
        _growth_text(row): row.grown_from,
        f"stored as {stored}": row.stored,
        "UNRESOLVED: no memory, and nothing here can compute it": row.unresolved,
        more: more,
    }
    shown = [mark for mark, holds in marks.items() if holds]
    return (*out, ", ".join(shown)) if shown else tuple(out)


def _growth_text(row: PlanRow) -> str:
    old = "x".join(map(str, row.grown_from))
    if len(row.grown_from) < len(row.shape):
        return f"{row.shape[0]} copies of the checkpoint's {old}, with noise"
    return f"the first {old} from the checkpoint"


def _scheme_text(scheme: Scheme) -> str:
    match scheme:
        case Zeros():
            return "0"
        case Ones():
            return "1"
        case Constant(value):
            return f"{value:g}"
        case Keep():
            return "kept"
        case Normal():  # its own column has the std
            return f"Normal(mean={scheme.mean:g})" if scheme.mean else "Normal"
        case _:
            return repr(scheme).replace("()", "")


def _block_text(row: PlanRow, block: PlanBlock) -> str:
    """Return a block's scheme, standard deviation and fans, as the columns have them."""
    std = block.scheme.moments(row.site(block))[1]
    shown = number(std) if std > 0 else ""  # NaN where values are kept
    cells = (_scheme_text(block.scheme), shown, _fans_text(block.fan_in, block.fan_out))
    return " ".join(cell for cell in cells if cell)


def _fans_text(fan_in: float | None, fan_out: float | None) -> str:
    return "" if fan_in is None or fan_out is None else f"{fan_in:g}>{fan_out:g}"
