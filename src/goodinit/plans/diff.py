"""What differs between two plans."""

from __future__ import annotations

from dataclasses import dataclass, fields

from goodinit.errors import PlanError
from goodinit.plans.plan import Plan
from goodinit.plans.rows import PlanRow

__all__ = ["Diff", "diff"]


@dataclass(frozen=True)
class Diff:
    """What differs; true when anything does.

    Attributes:
        added: rows that only the second plan has.
        removed: rows that only the first has.
        changed: name -> field -> (first, second).
    """

    added: tuple[PlanRow, ...]
    removed: tuple[PlanRow, ...]
    changed: dict[str, dict[str, tuple[object, object]]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        if not self:
            return "no difference"
        lines = [f"+ {row.name} {list(row.shape)} {row.scheme}" for row in self.added]
        lines += [f"- {row.name} {list(row.shape)} {row.scheme}" for row in self.removed]
        for name, what in self.changed.items():
            lines.append(f"~ {name}")
            lines += [f"    {field}: {old!r} -> {new!r}" for field, (old, new) in what.items()]
        return "\n".join(lines)


def diff(a: Plan, b: Plan) -> Diff:
    """Return what differs between two plans, row by row; findings and seeds don't count.

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
            raise PlanError(f"diff compares two plans, got {value!r}")
    first = {row.name: row for row in a}
    second = {row.name: row for row in b}
    changed = {name: _fields(row, second[name]) for name, row in first.items() if name in second}
    return Diff(
        added=tuple(row for name, row in second.items() if name not in first),
        removed=tuple(row for name, row in first.items() if name not in second),
        changed={name: what for name, what in changed.items() if what},
    )


def _fields(a: PlanRow, b: PlanRow) -> dict[str, tuple[object, object]]:
    names = [field.name for field in fields(PlanRow)]
    pairs = {name: (getattr(a, name), getattr(b, name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
