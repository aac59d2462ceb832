"""Plans as tables: plain text for a terminal, HTML for a notebook.

Repeated layers share a line, ``h.{0-11}.attn.weight x12``, and rules go by the numbers of the
list below the table, so that a line fits 80 columns where names allow it.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from goodinit.plans.rows import PlanBlock, PlanRow
from goodinit.schemes import Constant, Keep, Normal, Ones, Scheme, Zeros

if TYPE_CHECKING:
    from goodinit.plans.plan import Plan

__all__ = ["WIDTH", "called", "html", "summary", "text", "wrapped"]

HEAD = ("name", "shape", "what", "fans", "drawn", "std", "#")
WIDTH = 80
FEW = 4  # equal blocks are named up to here


@dataclass(frozen=True)
class _Line:
    """One line: cells without the name's numbers, the same for all layers that share it."""

    pattern: str
    cells: tuple[str, ...]
    below: tuple[str, ...]


def text(plan: Plan) -> str:
    """Return the plan as a table in plain text, with its rules, findings and a summary."""
    lines, rules = _lines(plan)
    body: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
        ((called(names), *line.cells), line.below) for line, names in lines.items()
    ]
    widths = [max(len(row[i]) for row in (HEAD, *(b[0] for b in body))) for i in range(len(HEAD))]
    out = [_format(HEAD, widths), _format(tuple("-" * w for w in widths), widths)]
    for cells, below in body:
        out.append(_format(cells, widths))
        out += [f"  {extra}" for extra in below]
    out += ["", "rules"]
    for number, (rule, why) in enumerate(rules.items(), start=1):
        out += wrapped(f"{rule}  # {why}" if why else rule, f"{number:>4}  ")
    out += ["", *wrapped(summary(plan))]
    for finding in plan.findings:
        out += wrapped(str(finding))
    return "\n".join(line.rstrip() for line in out)


def html(plan: Plan) -> str:
    """Return the plan as an HTML table, with its findings and a summary."""
    lines, rules = _lines(plan)
    head = "".join(f"<th>{escape(cell)}</th>" for cell in HEAD)
    rows: list[str] = []
    for line, names in lines.items():
        name = "<br>&nbsp;&nbsp;".join(map(escape, (called(names), *line.below)))
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in line.cells)
        rows.append(f"<tr><td>{name}</td>{cells}</tr>")
    listed = "".join(
        f"<li>{escape(rule)}{f' <i>{escape(why)}</i>' if why else ''}</li>"
        for rule, why in rules.items()
    )
    notes = "".join(f"<p>{escape(str(x))}</p>" for x in (summary(plan), *plan.findings))
    return f"<table><tr>{head}</tr>{''.join(rows)}</table><ol>{listed}</ol>{notes}"


def summary(plan: Plan) -> str:
    """Return one line: the recipe, how many rows and parameters, how they are known."""
    parameters = [row for row in plan if not row.buffer]
    count = sum(row.size for row in parameters)
    guessed = sum(row.guessed for row in parameters) / max(len(parameters), 1)
    buffers = len(plan) - len(parameters)
    facts = [
        f"{plan.recipe or 'unnamed recipe'}: {len(parameters)} parameters ({count:,} values)",
        *([f"{buffers} buffers"] if buffers else []),
        f"{guessed:.0%} guessed",
        f"read by {plan.how}",
        *([] if plan.seed is None else [f"seed {plan.seed}"]),
        *_digest(plan),
    ]
    return ", ".join(facts)


def _digest(plan: Plan) -> list[str]:
    try:
        return [f"digest {plan.digest}"]
    except ValueError:  # a Function has no data
        return []


def _lines(plan: Plan) -> tuple[dict[_Line, list[str]], dict[str, str]]:
    """Return the lines with the names that share each, and the rules with their reasons."""
    rules: dict[str, str] = {}
    for row in plan:
        mine = _rules(row)
        for rule in mine:
            reason = row.why if row.rule and len(mine) == 1 else ""
            rules[rule] = rules.get(rule) or reason
    numbers = {rule: str(number) for number, rule in enumerate(rules, start=1)}
    lines: dict[_Line, list[str]] = {}
    for row in plan:
        mine = _rules(row)
        number = ",".join(numbers[rule] for rule in mine)
        more = row.why if row.rule and len(mine) == 1 and row.why != rules[mine[0]] else ""
        line = _Line(re.sub(r"\d+", "{}", row.name), _cells(row, number), _below(row, more))
        lines.setdefault(line, []).append(row.name)
    return lines, rules


def _rules(row: PlanRow) -> list[str]:
    return row.rule.splitlines() or [f"no rule: {row.why}"]


def _cells(row: PlanRow, rules: str) -> tuple[str, ...]:
    return (
        "x".join(map(str, row.shape)) or "()",
        row.kind if row.part in (row.kind, "table", "weight") else f"{row.kind} {row.part}",
        _fans(row.fan_in, row.fan_out) or ("by block" if row.layout else ""),
        "by block" if row.scheme is None else _scheme(row.scheme),
        "" if row.scheme is None else _std(row),
        rules,
    )


def _below(row: PlanRow, more: str) -> tuple[str, ...]:
    """Return the lines under a row: blocks that differ, marks, and what else there is to say."""
    out: list[str] = []
    if row.scheme is None:
        groups: dict[str, list[str]] = {}
        for block in row.blocks:
            groups.setdefault(_drawn(row, block), []).append(block.name)
        out += [f"{_few(names)}: {drawn}" for drawn, names in groups.items()]
    stored = _few([name.removeprefix(_parent(row.name)) for name in row.stored])
    blocks = [block.name for block in row.blocks]
    by_block = row.layout is not None and row.scheme is not None and len(blocks) > 1
    marks = {
        f"each of {_few(blocks)}": by_block,
        f"tied with {_few(list(row.tied))}": row.tied,
        "frozen": row.frozen and not row.buffer,
        "guessed by its shape": row.guessed,
        f"rows {_few(list(map(str, row.zero_rows)))} stay zero": row.zero_rows,
        _grown(row): row.grown_from,
        f"stored as {stored}": row.stored,
        "UNRESOLVED: no memory, and nothing here can compute it": row.unresolved,
        more: more,
    }
    shown = [mark for mark, holds in marks.items() if holds]
    return (*out, *([", ".join(shown)] if shown else []))


def _grown(row: PlanRow) -> str:
    old = "x".join(map(str, row.grown_from))
    if len(row.grown_from) < len(row.shape):
        return f"{row.shape[0]} copies of the checkpoint's {old}, with noise"
    return f"the first {old} from the checkpoint"


def _parent(name: str) -> str:
    return name.rpartition(".")[0] + "." if "." in name else ""


def _scheme(scheme: Scheme) -> str:
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


def _drawn(row: PlanRow, block: PlanBlock) -> str:
    """Return a block's scheme, standard deviation and fans, as the columns have them."""
    std = block.scheme.moments(row.site(block))[1]
    shown = f"{std:.3g}" if std > 0 else ""  # what is kept has NaN
    cells = (_scheme(block.scheme), shown, _fans(block.fan_in, block.fan_out))
    return " ".join(cell for cell in cells if cell)


def _std(row: PlanRow) -> str:
    std = row.std
    return "" if std is None or std == 0 else f"{std:.3g}"


def _fans(fan_in: float | None, fan_out: float | None) -> str:
    if fan_in is None or fan_out is None:
        return ""
    return f"{fan_in:g}>{fan_out:g}"


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:FEW])
    return f"{shown}, ... ({len(names)})" if len(names) > FEW else shown


def called(names: list[str]) -> str:
    """Return the names that share a line: ``h.{0-11}.fc.weight x12``."""
    if len(names) == 1:
        return names[0]
    numbers = zip(*(map(int, re.findall(r"\d+", name)) for name in names), strict=True)
    texts = iter([_range(set(column)) for column in numbers])
    text = re.sub(r"\d+", lambda _: next(texts), names[0])
    return f"{text} x{len(names)}"


def _range(numbers: set[int]) -> str:
    ordered = sorted(numbers)
    if len(ordered) == 1:
        return str(ordered[0])
    steps = {b - a for a, b in pairwise(ordered)}
    if len(steps) == 1:
        step = steps.pop()
        by = f":{step}" if step > 1 else ""
        return f"{{{ordered[0]}-{ordered[-1]}{by}}}"
    return "{" + _few([str(n) for n in ordered]) + "}"


def wrapped(line: str, start: str = "") -> list[str]:
    """Return a text in lines of at most 80 columns; further ones are indented."""
    return textwrap.wrap(
        line,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * (len(start) or 4),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _format(cells: tuple[str, ...], widths: list[int]) -> str:
    right = {5, 6}
    return "  ".join(
        cell.rjust(width) if i in right else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
