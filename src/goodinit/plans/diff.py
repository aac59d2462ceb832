"""What differs between two plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from os import PathLike
from typing import Literal, cast

from goodinit._common.result import Result
from goodinit._common.text import grouped_name, html_table, without_numbers, wrap
from goodinit.errors import PlanError, printable
from goodinit.plans.json_file import write_row
from goodinit.plans.plan import Plan
from goodinit.plans.rows import PlanRow


@dataclass(frozen=True, repr=False)
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
        """Return the differences; layers that differ in the same share a line but with ``full``."""
        if not self:
            return "no difference"
        groups = self._groups(full)
        return printable("\n".join(line for rows in groups for line in _lines(rows)))

    def __repr__(self) -> str:
        counts = (len(self.added), len(self.removed), len(self.changed))
        return "<Diff: {} added, {} removed, {} changed>".format(*counts)

    def _groups(self, full: bool) -> list[list[DiffRow]]:
        """Return rows that differ in the same way and, but for numbers, have the same name."""
        groups: dict[object, list[DiffRow]] = {}
        for row in self:
            whole = row.after or row.before
            assert whole is not None
            changes = repr(row.fields or (whole.shape, whole.scheme))
            pattern = row.name if full else without_numbers(row.name)
            groups.setdefault((pattern, row.change, changes), []).append(row)
        return [*groups.values()]

    def _repr_html_(self) -> str:
        body: list[tuple[str, ...]] = []
        for rows in self._groups(full=False):
            row, name = rows[0], grouped_name([row.name for row in rows])
            schemes = (None if r is None else r.scheme for r in (row.before, row.after))
            changes = row.fields or {"scheme": tuple(schemes)}
            for field, pair in changes.items():
                body.append((name, row.change, field, *map(repr, pair)))
        return html_table(("name", "change", "field", "first", "second"), body)


def _lines(rows: Sequence[DiffRow]) -> Iterator[str]:
    """Yield the lines of rows that differ in the same way."""
    first, name = rows[0], grouped_name([row.name for row in rows])
    if first.change == "changed":
        yield f"~ {name}"
    for sign, whole in (("+", first.after), ("-", first.before)):
        if whole is not None and first.change != "changed":
            yield from wrap(f"{name} {list(whole.shape)} {whole.scheme}", f"{sign} ")
    for field, (old, new) in first.fields.items():
        yield from wrap(f"{field}: {old!r} -> {new!r}", "    ")


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
            scheme: Zeros() -> Ones()
            rule: 'all() -> Zeros()' -> 'all() -> Ones()'
    """
    for value in (a, b):
        if not isinstance(value, Plan):  # pyright: ignore[reportUnnecessaryIsInstance]
            line = f"gi.diff({_code(a, 'plan')}, {_code(b, 'other')})"
            raise PlanError(f"diff compares two plans, got {value!r:.200}. Write {line}")
    first = {row.name: row for row in a}
    second = {row.name: row for row in b}
    added = [DiffRow(name, None, row) for name, row in second.items() if name not in first]
    removed = [DiffRow(name, row, None) for name, row in first.items() if name not in second]
    both = [DiffRow(name, row, second[name]) for name, row in first.items() if name in second]
    return Diff((*added, *removed, *(row for row in both if row.before != row.after)))
