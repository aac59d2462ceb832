"""`Explanation`: what `explain` found, as rows, text for a terminal, HTML and plain data.

Repeated layers share a line, as in a plan. The summary comes last, where a terminal stops.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from goodinit._common.result import Result, plain_data
from goodinit._common.text import grouped_name, html_table, number, table, wrap
from goodinit.explanation.context import grouped_names
from goodinit.explanation.recognition import OWN
from goodinit.explanation.rows import ExplainedRow
from goodinit.findings import Finding

__all__ = ["Explanation"]

HEAD = ("", "name", "shape", "std", "gain", "looks like")
RIGHT = (3, 4)
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

    def __str__(self) -> str:
        out = table(HEAD, _cells(self), RIGHT, name=1) if self.rows else ["no parameters"]
        out.append("")
        for label, words in _summary(self):
            out += wrap(f"{label:<12}{words}" if label else words)
        for finding in self.findings:
            out += wrap(str(finding))
        if self.remedy:
            out += ["", "remedy", *wrap(self.remedy)]
        return "\n".join(out)

    def __repr__(self) -> str:
        return (
            f"<Explanation {self.recipe!r}: {len(self.rows)} rows, {len(self.findings)} findings>"
        )

    def _repr_html_(self) -> str:
        notes = [f"<b>{escape(label)}</b> {escape(words)}" for label, words in _summary(self)]
        notes += [escape(str(finding)) for finding in self.findings]
        remedy = f"<pre>{escape(self.remedy)}</pre>" if self.remedy else ""
        paragraphs = "".join(f"<p>{note}</p>" for note in notes)
        return f"{html_table(HEAD, _cells(self))}{paragraphs}{remedy}"

    def _names(self, row: ExplainedRow) -> Iterable[str]:
        return (row.name, *row.tied)


# The table.


def _cells(explanation: Explanation) -> list[tuple[str, ...]]:
    """Return the lines of the table; layers that are alike share one."""
    severe = {f.code for f in explanation.findings if f.severity != "info"}
    groups: dict[tuple[str, ...], list[ExplainedRow]] = {}
    for row in explanation.rows:
        mark = "!" if severe & {*row.findings} else "-" if row.ok is False else ""
        pattern = re.sub(r"\d+", "{}", row.name)
        shape = "x".join(map(str, row.shape)) or "()"
        groups.setdefault((mark, pattern, shape, _law(row)), []).append(row)
    return [
        (
            mark,
            grouped_name([row.name for row in rows]),
            shape,
            _root_mean_square([row.std for row in rows]),
            _root_mean_square([row.gain for row in rows]),
            law,
        )
        for (mark, _, shape, law), rows in groups.items()
    ]


def _law(row: ExplainedRow) -> str:
    words = OWN.strip(", ") if row.looks.endswith(OWN) else row.looks
    return words if row.certain else f"~ {words}"


def _root_mean_square(values: list[float | None]) -> str:
    """Return the root mean square over the layers of a line; "" if it is 0 or unknown."""
    squares = [value**2 for value in values if value is not None and math.isfinite(value)]
    return number(math.sqrt(sum(squares) / len(squares)) or None) if squares else ""


# The summary below it.


def _summary(explanation: Explanation) -> list[tuple[str, str]]:
    """Return labels and sentences."""
    rows = explanation.rows
    if not rows:
        return [("", "nothing to explain")]
    lines = [("looks like", _verdict(explanation))]
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
    if not explanation.findings:
        lines.append(("findings", "none"))
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
