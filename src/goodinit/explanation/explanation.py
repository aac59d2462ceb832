"""`Explanation`: what `explain` found, as rows, text for a terminal, HTML and plain data.

Repeated layers share a line, as in a plan. What they look like comes first, the remedy last.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from goodinit._common.plain_words import plain_words
from goodinit._common.result import Result, plain_data
from goodinit._common.text import (
    escaped,
    finding_lines,
    findings_html,
    findings_verdict,
    folded_html,
    grouped_names,
    html_table,
    labeled,
    number,
    one_name,
    shape_text,
    table,
    verdict_html,
    without_numbers,
    wrap,
)
from goodinit.explanation.recognition import OWN
from goodinit.explanation.rows import ExplainedRow
from goodinit.findings import Finding

HEAD = ("", "name", "shape", "std", "gain", "looks like")
RIGHT = (3, 4)
LEVELS = range(4)  # of how much shares a line: see _cells
SCREEN = 20  # lines of the table: with what stands above and below it, they fit a screen
FULL = "explanation.to_text(full=True) or --full shows all"
FIRST = 2  # lines of the summary that stand above the table: what it looks like, the verdict
MOST_LAWS = 4  # in the summary; the table above it has all
MOST_ALIKE = 2  # recipes that would draw the same


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation(Result[ExplainedRow]):
    """Which initialization a model has, what is wrong with it, and how to fix it.

    Attributes:
        recipe: name of the library recipe that the values look like; None if no recipe explains
            most of them, or if a common practice explains more.
        habit: a common practice that isn't a recipe of the library, in words; "" if the values
            don't look like one.
        call: how the recipe is written: ``"he"`` in quotes, or ``gi.recipe("he", ...)``.
        also: other recipes and common practices that draw the same laws on this model.
        rows: one for each parameter, in registration order.
        matrices: (number of weights that the recipe explains, number of weights that it draws).
        parameters: the same for all parameters.
        findings: what is wrong, the most severe first.
        remedy: one line of code that fixes it, using ``gi``, ``model`` and, if they were given,
            ``inputs``; "" if nothing is wrong or one line can't fix it.
        how: how the model was read: "module types", "meta", "real".

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> net = torch.nn.Linear(64, 64)
        >>> plan = gi.init_(net, "orthogonal", seed=0)
        >>> report = gi.explain(net)
        >>> report.recipe, report["weight"].looks, report.ok
        ('orthogonal', 'orthogonal', True)
    """

    recipe: str | None
    habit: str
    call: str
    also: tuple[str, ...]
    rows: tuple[ExplainedRow, ...]
    matrices: tuple[int, int]
    parameters: tuple[int, int]
    findings: tuple[Finding, ...]
    remedy: str
    how: str

    def to_dict(self) -> dict[str, object]:
        """Return plain data, ready for strict JSON: NaN and infinity become None."""
        return {
            "recipe": self.recipe,
            "habit": self.habit,
            "call": self.call,
            "also": list(self.also),
            "ok": self.ok,
            "weights": dict(zip(("explained", "covered"), self.matrices, strict=True)),
            "parameters": dict(zip(("explained", "covered"), self.parameters, strict=True)),
            "how": self.how,
            "remedy": self.remedy,
            "findings": plain_data(self.findings),
            "rows": plain_data(self.rows),
        }

    def to_text(self, *, full: bool = False) -> str:
        """Return what the values look like, the rows, the findings and a remedy.

        The text fits a screen; ``full`` shows each shape and all findings.
        """
        summary = _summary(self)
        first, rest = summary[:FIRST], summary[FIRST:]
        out = [line for label, words in first for line in labeled(label, words)]
        if self.rows:
            out += ["", *_table(self, full)]
        out += ["", *(line for label, words in rest for line in labeled(label, words))]
        found = finding_lines(self.findings, FULL, full=full)
        out += ["", *found] if found and rest else found
        words = plain_words("\n".join(out))
        out += ["", *(line for word in words for line in wrap(word))] if words else []
        if self.remedy:
            out += ["", "remedy", *wrap(self.remedy)]
        return "\n".join(out).rstrip()

    def __repr__(self) -> str:
        return (
            f"<Explanation {self.recipe!r}: {len(self.rows)} rows, {len(self.findings)} findings>"
        )

    def _repr_html_(self) -> str:
        summary = _summary(self)
        first, rest = summary[:FIRST], summary[FIRST:]
        words = "\n".join(": ".join(filter(None, line)) for line in first)
        head = verdict_html(words, self.ok)
        level = next((n for n in LEVELS if len(_cells(self, n)) <= SCREEN), LEVELS[-1])
        said = "".join(f"<p><b>{escaped(label)}</b> {escaped(words)}</p>" for label, words in rest)
        said += findings_html(self.findings)
        said += "".join(f"<p>{escaped(word)}</p>" for word in plain_words(f"{HEAD} {said}"))
        remedy = f"<pre>{escaped(self.remedy)}</pre>" if self.remedy else ""
        every = folded_html("All shapes", html_table(HEAD, _cells(self))) if level else ""
        return f"{head}{html_table(HEAD, _cells(self, level))}{said}{remedy}{every}"

    def _names(self, row: ExplainedRow) -> Iterable[str]:
        return (row.name, *row.tied)


# The table.


def _table(explanation: Explanation, full: bool) -> list[str]:
    """Return the table in most detail that fits a screen."""
    lines: list[str] = []
    for level in (0,) if full else LEVELS:
        lines = table(HEAD, _cells(explanation, level), RIGHT, name=1)
        if len(lines) <= SCREEN:
            break
    return lines


def _cells(explanation: Explanation, level: int = 0) -> list[tuple[str, ...]]:
    """Return the lines of the table; layers that are alike share one.

    Args:
        explanation: what to show.
        level: 0: rows share a line if their names differ in numbers alone; 1: also those that
            aren't matrices; 2: also matrices of other shapes; 3: also those of other names.
    """
    severe = {f.code for f in explanation.findings if f.severity != "info"}
    groups: dict[tuple[object, ...], list[ExplainedRow]] = {}
    for row in explanation.rows:
        mark = "!" if severe & {*row.findings} else "-" if row.ok is False else ""
        least = 3 if row.gain is not None else 1
        pattern = without_numbers(row.name) if level < least else ""
        shape = row.shape if level < min(least, 2) else ""
        key = (mark, pattern, shape, _law(row), row.gain is None)
        groups.setdefault(key, []).append(row)
    return [
        (
            str(mark),
            one_name([row.name for row in rows]),
            _shapes(rows),
            _root_mean_square([row.std for row in rows]),
            _root_mean_square([row.gain for row in rows]),
            str(law),
        )
        for (mark, _, _, law, _), rows in groups.items()
    ]


def _shapes(rows: Sequence[ExplainedRow]) -> str:
    shapes = {shape_text(row.shape) for row in rows}
    return shapes.pop() if len(shapes) == 1 else f"{len(shapes)} shapes"


def _law(row: ExplainedRow) -> str:
    words = OWN.strip(", ") if row.looks.endswith(OWN) else row.looks
    return words if row.certain else f"~ {words}"


def _root_mean_square(values: list[float | None]) -> str:
    """Return the root mean square over the layers of a line; "" if it is 0 or unknown."""
    squares = [value**2 for value in values if value is not None and math.isfinite(value)]
    return number(math.sqrt(sum(squares) / len(squares)) or None) if squares else ""


# The summary around it.


def _summary(explanation: Explanation) -> list[tuple[str, str]]:
    """Return labels and sentences."""
    rows = explanation.rows
    if not rows:
        return [("", "nothing to explain: no parameters")]
    verdict = findings_verdict(explanation.findings)
    lines = [("looks like", _verdict(explanation)), ("verdict", verdict)]
    laws = Counter(row.looks for row in rows if row.gain is not None)
    if laws:
        listed = [f"{law} (x{count})" for law, count in laws.most_common()]
        lines.append(("weights", _first(listed, "laws")))
    others: dict[str, list[str]] = {}
    for row in rows:
        if row.ok is False:
            others.setdefault(f"{_law(row)} instead of {row.expected}", []).append(row.name)
    if others:
        listed = [f"{grouped_names(names)}: {words}" for words, names in others.items()]
        lines.append(("but not (-)", _first(listed, "kinds")))
    if any(not row.certain for row in rows):
        lines.append(("~", "too few values to distinguish laws: merely consistent with this one"))
    return lines


def _first(listed: Sequence[str], noun: str) -> str:
    more = [f"{len(listed) - MOST_LAWS} more {noun}"] if len(listed) > MOST_LAWS else []
    return "; ".join([*listed[:MOST_LAWS], *more])


def _verdict(explanation: Explanation) -> str:
    if not explanation.recipe and not explanation.habit:
        return "no recipe of the library"
    (weights, of_weights), (parameters, of) = explanation.matrices, explanation.parameters
    counts = [f"{weights} of {of_weights} weights"] if of_weights else []
    counts.append(f"{parameters} of {of} parameters")
    kept = len(explanation.rows) - of
    rest = f"; it keeps the other {kept}" if kept else ""
    alike = [*explanation.also[:MOST_ALIKE], *["others"] * (len(explanation.also) > MOST_ALIKE)]
    also = f"; {' and '.join(alike)} would draw the same here" if alike else ""
    name = explanation.call or explanation.habit
    return f"{name}: explains {', '.join(counts)}{rest}{also}"
