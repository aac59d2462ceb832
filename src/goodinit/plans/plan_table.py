"""Plans as tables: plain text for a terminal, HTML for a notebook.

The text fits a screen; ``full`` shows each name, and the rules. Reasons are referred to by their
numbers in the list below the table.
"""

from __future__ import annotations

from collections.abc import Sequence

from goodinit._common.plain_words import plain_words
from goodinit._common.text import (
    escaped,
    finding_lines,
    findings_html,
    findings_verdict,
    folded_html,
    html_table,
    table,
    wrap,
)
from goodinit.findings import Finding
from goodinit.plans.plan_cells import rules_of
from goodinit.plans.plan_folding import LEVELS, Line, count_folded, group_rows
from goodinit.plans.rows import PlanRow

HEAD = ("name", "shape", "what", "fans", "drawn", "std", "#")
RIGHT = {5, 6}  # the columns of numbers
SCREEN = 20  # lines of the table: with what stands above and below it, they fit a screen
FULL = "plan.to_text(full=True) or --full shows all"


def plan_text(
    rows: Sequence[PlanRow], summary: str, findings: Sequence[Finding], *, full: bool = False
) -> str:
    """Return the summary, the rows as a table, their reasons, and the findings."""
    shown, folded = (list(rows), []) if full else count_folded(rows)
    reasons = _Reasons(shown, full)
    level = 0 if full else _level(shown, reasons)
    blocks = [
        [line for text in (summary, *_verdict(findings)) for line in wrap(text)],
        _table(group_rows(shown, reasons.number_of, level)) if shown else [],
    ]
    blocks.append([line for text in folded for line in wrap(text)])
    listed = [line for text, n in reasons.numbers.items() for line in wrap(text, f"{n:>4}  ")]
    blocks.append(["rules" if full else "why (#)", *listed] if listed else [])
    blocks.append(finding_lines(findings, FULL, full=full))
    words = plain_words("\n".join(line for block in blocks for line in block))
    blocks.append([line for word in words for line in wrap(word)])
    return "\n\n".join("\n".join(map(str.rstrip, block)) for block in blocks if block)


def plan_html(rows: Sequence[PlanRow], summary: str, findings: Sequence[Finding]) -> str:
    """Return the same as HTML, with all names and rules folded away."""
    shown, folded = count_folded(rows)
    reasons = _Reasons(shown, full=False)
    lines = group_rows(shown, reasons.number_of, _level(shown, reasons))
    body = html_table(HEAD, _cells(lines)) if lines else ""
    body += "".join(f"<p>{escaped(line)}</p>" for line in folded)
    listed = "".join(f"<li>{escaped(text)}</li>" for text in reasons.numbers)
    words = plain_words(f"{HEAD} {summary} {listed}")
    body += f"<ol>{listed}</ol>{findings_html(findings)}"
    body += "".join(f"<p>{escaped(word)}</p>" for word in words)
    every = _Reasons(rows, full=True)
    table_of_all = html_table(HEAD, _cells(group_rows(rows, every.number_of, 0)))
    rules = "".join(f"<li>{escaped(text)}</li>" for text in every.numbers)
    more = folded_html("All parameters and rules", f"{table_of_all}<ol>{rules}</ol>")
    head = "<br>".join(map(escaped, [summary, *_verdict(findings)]))
    return f"<p><b>{head}</b></p>{body}{more}"


def _verdict(findings: Sequence[Finding]) -> list[str]:
    """Return what is wrong with the plan, if anything is."""
    severe = [f for f in findings if f.severity != "info"]
    return [findings_verdict(severe)] if severe else []


class _Reasons:
    """The reasons of rows, numbered: the rule itself where it gives none, or with ``full``."""

    def __init__(self, rows: Sequence[PlanRow], full: bool) -> None:
        self._full = full
        self._why_of: dict[str, str] = {}
        for row in rows:
            if row.rule and len(rules_of(row)) == 1:
                self._why_of.setdefault(row.rule, row.why)
        texts = (text for row in rows for text in self._texts(row))
        self.numbers = {text: n for n, text in enumerate(dict.fromkeys(texts), start=1)}

    def number_of(self, row: PlanRow) -> str:
        """Return the numbers of a row's reasons."""
        return ",".join(dict.fromkeys(str(self.numbers[text]) for text in self._texts(row)))

    def _texts(self, row: PlanRow) -> list[str]:
        rules = rules_of(row)
        whys = [row.why] if row.rule and len(rules) == 1 else self._whys(row, rules)
        pairs = zip(rules, whys, strict=True)
        if self._full:
            return [f"{rule}  # {why}" if why else rule for rule, why in pairs]
        return [why or rule for rule, why in pairs]

    def _whys(self, row: PlanRow, rules: Sequence[str]) -> list[str]:
        """Return the reasons of a row whose blocks have several rules; "" where none is known.

        The row has them joined. Those that other rows have alone are known; what is left is the
        reason of the only other one.
        """
        whys, left = [self._why_of.get(rule, "") for rule in rules], row.why
        for why in whys:
            left = left.replace(why, "", 1)
        if whys.count("") == 1:
            whys[whys.index("")] = left.strip("; ")
        return whys


def _level(rows: Sequence[PlanRow], reasons: _Reasons) -> int:
    """Return the level of the most detailed table that fits a screen."""
    fitting = (
        level
        for level in LEVELS
        if len(_table(group_rows(rows, reasons.number_of, level))) <= SCREEN
    )
    return next(fitting, LEVELS[-1])


def _table(lines: Sequence[Line]) -> list[str]:
    body: list[tuple[str, ...] | str] = []
    for line in lines:
        body += [line.cells, *line.remarks]
    return table(HEAD, body, RIGHT)


def _cells(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """Return the cells of an HTML table: remarks stand below the name."""
    return [("\n".join((line.cells[0], *line.remarks)), *line.cells[1:]) for line in lines]
