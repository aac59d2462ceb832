"""What differs between two plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from os import PathLike
from typing import Literal, cast

from goodinit._common.result import Result
from goodinit._common.text import (
    count,
    grouped_name,
    html_table,
    shape_text,
    without_numbers,
    wrap,
)
from goodinit.errors import PlanError
from goodinit.plans.json_file import write_row
from goodinit.plans.plan import Plan
from goodinit.plans.rows import PlanRow
from goodinit.schemes.fields import one_line

REASONS = ("rule", "why", "shadowed")
"""Fields that explain a row: shown in full texts only, since a change of the values is shown."""

SHAPES = ("shape", "grown_from")


@dataclass(frozen=True)
class DiffRow:
    """A parameter or buffer that differs.

    Attributes:
        name: its name.
        before: its row in the first plan; None if it is added.
        after: its row in the second plan; None if it is removed.
    """

    name: str
    before: PlanRow | None
    after: PlanRow | None

    @property
    def change(self) -> Literal["added", "removed", "changed"]:
        """Which plans have the row."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"

    @cached_property
    def fields(self) -> dict[str, tuple[object, object]]:
        """Field -> (first, second) of what differs in both plans' rows."""
        if self.before is None or self.after is None:
            return {}
        names = [field.name for field in fields(PlanRow)]
        pairs = {name: (getattr(self.before, name), getattr(self.after, name)) for name in names}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def __repr__(self) -> str:
        what = f" ({', '.join(self.fields)})" if self.fields else ""
        return f"<DiffRow {self.name!r}: {self.change}{what}>"

    def to_dict(self) -> dict[str, object]:
        """Return plain data, with the values of each field as a plan's file has them.

        Raises:
            SchemeError: a ``Function``, which is code.
        """
        before, after = ({} if row is None else write_row(row) for row in (self.before, self.after))
        both = before.keys() & after.keys()
        changed = {key: [before[key], after[key]] for key in both if before[key] != after[key]}
        return {"name": self.name, "change": self.change, "fields": changed}


@dataclass(frozen=True)
class Diff(Result[DiffRow]):
    """What differs between two plans. It is true if anything does.

    Attributes:
        rows: one for each name that differs; those of the second plan alone come first.

    Example:
        >>> from torch import nn
        >>> from goodinit.recipes.recipe import Recipe
        >>> from goodinit.recipes.rule import Rule, sel
        >>> from goodinit.plans.plan import plan
        >>> from goodinit.schemes import Ones
        >>> ones = Recipe([Rule(sel.all(), Ones())])
        >>> found = diff(plan(nn.Linear(3, 2), ones), plan(nn.Linear(3, 2, bias=False), ones))
        >>> found, bool(found), found["bias"].change
        (<Diff: 0 added, 1 removed, 0 changed>, True, 'removed')
    """

    rows: tuple[DiffRow, ...]

    @property
    def added(self) -> tuple[PlanRow, ...]:
        """Rows that only the second plan has."""
        return tuple(row.after for row in self if row.after and not row.before)

    @property
    def removed(self) -> tuple[PlanRow, ...]:
        """Rows that only the first plan has."""
        return tuple(row.before for row in self if row.before and not row.after)

    @property
    def changed(self) -> dict[str, dict[str, tuple[object, object]]]:
        """Name -> field -> (first, second) for rows that both plans have."""
        return {row.name: row.fields for row in self if row.change == "changed"}

    @property
    def ok(self) -> bool:
        """True if nothing differs."""
        return not self.rows

    def to_dict(self) -> dict[str, object]:
        """Return plain data, ready for JSON.

        Raises:
            SchemeError: a ``Function``, which is code.
        """
        return {"rows": [row.to_dict() for row in self.rows]}

    def __bool__(self) -> bool:
        return bool(self.rows)

    def to_text(self, *, full: bool = False) -> str:
        """Return what is drawn differently; ``full``: each row, and the rules and reasons too.

        Layers that differ in the same way share a line.
        """
        lines = difference_lines(self, full)
        return "\n".join(line for start, text in lines for line in wrap(text, start))

    def __repr__(self) -> str:
        counts = (len(self.added), len(self.removed), len(self.changed))
        return "<Diff: {} added, {} removed, {} changed>".format(*counts)

    def _repr_html_(self) -> str:
        body: list[tuple[str, ...]] = []
        groups: dict[object, list[DiffRow]] = {}
        for row in self:
            key = (without_numbers(row.name), row.change, *_changes(row), str(_schemes(row)))
            groups.setdefault(key, []).append(row)
        for rows in groups.values():
            name, fields = grouped_name([row.name for row in rows]), rows[0].fields
            pairs = {"scheme": _schemes(rows[0])}
            pairs |= {
                field: (_value_text(field, old), _value_text(field, new))
                for field, (old, new) in fields.items()
                if field not in (*REASONS, "scheme", "blocks")
            }
            pairs |= {what: (old, new) for what, old, new in _block_changes(rows[0])}
            for field, (old, new) in pairs.items():
                if old != new:
                    body.append((name, rows[0].change, field, old, new))
        return html_table(("name", "change", "field", "first", "second"), body)


def difference_lines(found: Diff, full: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the lines of the text, each as what it starts with and the rest."""
    if not found:
        yield "", "no difference"
    for sign, rows in (("-", found.removed), ("+", found.added)):
        schemes = {row.name: _scheme_text(row) for row in rows}
        for names in _group_equal(schemes, full):
            yield f"{sign} ", f"{grouped_name(names)}: {schemes[names[0]]}"
    changed = [row for row in found if row.change == "changed"]
    texts = {row.name: tuple(_changes(row, full)) for row in changed}
    shown = {name: text for name, text in texts.items() if text}
    for names in _group_equal(shown, full):
        yield "~ ", grouped_name(names)
        yield from (("    ", line) for line in shown[names[0]])
    if len(shown) < len(texts):
        yield "  ", f"{count(len(texts) - len(shown), 'row')} drawn alike, by other rules"


def _scheme_text(row: PlanRow) -> str:
    """Return the law of a row, and its std where the law doesn't say it."""
    if row.scheme is None:
        return f"by block ({', '.join(block.name for block in row.blocks)})"
    std = row.std
    return f"{row.scheme!r}{f' std {std:.3g}' if std and 'std=' not in repr(row.scheme) else ''}"


def _schemes(row: DiffRow) -> tuple[str, str]:
    before, after = ("" if one is None else _scheme_text(one) for one in (row.before, row.after))
    return before, after


def _changes(row: DiffRow, full: bool = False) -> Iterator[str]:
    """Yield what changed in a row of both plans."""
    for field, (old, new) in row.fields.items():
        if field == "scheme":
            yield " -> ".join(_schemes(row))
        elif field == "blocks":
            yield from (f"{what}: {old} -> {new}" for what, old, new in _block_changes(row))
        elif full or field not in REASONS:
            yield f"{field}: {_value_text(field, old)} -> {_value_text(field, new)}"


def _block_changes(row: DiffRow) -> Iterator[tuple[str, str, str]]:
    """Yield what changed in the blocks of a row whose blocks differ in one of the plans."""
    a, b = row.before, row.after
    if a is None or b is None or (a.scheme and b.scheme):
        return
    first, second = ({block.name: block for block in one.blocks} for one in (a, b))
    if first.keys() != second.keys():
        yield "blocks", ", ".join(first) or "none", ", ".join(second) or "none"
        return
    for name, block in first.items():
        if block.scheme != second[name].scheme:
            yield name, repr(block.scheme), repr(second[name].scheme)


def _value_text(field: str, value: object) -> str:
    if not isinstance(value, tuple):
        return repr(value)
    items = cast("tuple[object, ...]", value)
    if field in SHAPES and (items or field == "shape"):
        return shape_text(cast("tuple[int, ...]", items))
    return ", ".join(map(str, items)) or "none"


def _group_equal(lines: Mapping[str, object], full: bool) -> list[list[str]]:
    """Group names that differ only in their numbers and have equal lines."""
    groups: dict[object, list[str]] = {}
    for name, text in lines.items():
        groups.setdefault((name if full else without_numbers(name), text), []).append(name)
    return list(groups.values())


def _code(value: object, name: str) -> str:
    """Return the code of the plan that a value stands for: a file's, a recipe's or a model's."""
    if isinstance(value, PathLike) or (isinstance(value, str) and value.endswith(".json")):
        return f"gi.Plan.load({str(cast('str', value))!r})"
    if isinstance(value, str):
        return f"gi.plan(model, {value!r})"
    return name if isinstance(value, Plan) else f"gi.plan({'model' if name == 'plan' else name})"


def diff(a: Plan, b: Plan) -> Diff:
    """Return what differs between two plans, row by row, ignoring findings and seeds.

    Raises:
        PlanError: something that isn't a plan.

    Example:
        >>> from torch import nn
        >>> from goodinit.recipes.recipe import Recipe
        >>> from goodinit.recipes.rule import Rule, sel
        >>> from goodinit.plans.plan import plan
        >>> from goodinit.schemes import Ones, Zeros
        >>> net = nn.LayerNorm(3, bias=False)
        >>> zeros, ones = (plan(net, Recipe([Rule(sel.all(), s)])) for s in (Zeros(), Ones()))
        >>> print(diff(zeros, ones))
        ~ weight
            Zeros() -> Ones()
    """
    for value in (a, b):
        if not isinstance(value, Plan):  # pyright: ignore[reportUnnecessaryIsInstance]
            line = f"gi.diff({_code(a, 'plan')}, {_code(b, 'other')})"
            raise PlanError(f"diff compares two plans, got {one_line(value)}. Write {line}")
    first = {row.name: row for row in a}
    second = {row.name: row for row in b}
    added = [DiffRow(name, None, row) for name, row in second.items() if name not in first]
    removed = [DiffRow(name, row, None) for name, row in first.items() if name not in second]
    both = [DiffRow(name, row, second[name]) for name, row in first.items() if name in second]
    return Diff((*added, *removed, *(row for row in both if row.before != row.after)))
