"""A family's recipe on a model of another kind: which rules found nothing, and what would fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from goodinit._common.text import several
from goodinit.findings import Finding
from goodinit.plans.rows import PlanRow
from goodinit.recipes.by_name import FAMILIES, recipe
from goodinit.recipes.by_place import Fixup
from goodinit.recipes.library.general import REST, WEIGHTS
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import (
    Attr,
    Both,
    Either,
    Kind,
    Name,
    Not,
    Part,
    Rule,
    Selector,
    glob_matches,
)

# Kinds that only some models of a family have: positions may be rotary, experts absent.
_SOME = frozenset(("position", "token", "router", "scale", "ssm", "adapter", "other"))
# Kinds by which models differ: a recipe for a model that has one has a rule for it.
_MATERIAL = frozenset(("conv", "embedding", "recurrent"))
MOST_NAMED = 9  # recipes in one finding
MOST_SELECTORS = 4  # in one finding
# One name may be of a part that a model lacks; that it has none of several is telling.
LEAST_MARKS = 2


def find_other_family(rows: tuple[PlanRow, ...], made: Recipe) -> Iterator[Finding]:
    """Yield a finding if a family's recipe has rules for layers that the model doesn't have."""
    if made.name not in FAMILIES:
        return
    present = frozenset(row.kind for row in rows if not row.buffer)
    lost = [branch for branch in _asked(made.rules) if not _kinds(branch) & present]
    unnamed = _without_marks(made.rules, rows)
    if not (lost or unnamed or _asks_for_branches(made.rules, rows)):
        return
    fitting = [name for name in _fitting(present) if not _without_marks(recipe(name).rules, rows)]
    only_tables = bool(lost) and all("embedding" in _kinds(branch) for branch in lost)
    if only_tables and not (fitting or unnamed):
        return  # a part of a language model: it has no tables
    fix = "gi.recipe('standard') fits any model"
    if fitting:
        fix = f"recipes for layers like these: {several(fitting, MOST_NAMED)}; {fix}"
    names = [name for one in unnamed for name in _names(one)]
    texts = list(dict.fromkeys(map(repr, [*lost, *names]))) or ["ends_residual()"]
    nothing = " or ".join(texts[:MOST_SELECTORS])
    more = f" or {len(texts) - MOST_SELECTORS} more" if texts[MOST_SELECTORS:] else ""
    cause = f"for models of another kind, or a part of one: nothing matches {nothing}{more}"
    yield Finding("GI141", "info", f"recipe {made.name!r}", cause, fix)


def _without_marks(rules: tuple[Rule, ...], rows: tuple[PlanRow, ...]) -> list[Selector]:
    """Return what a recipe selects by names, if the model has none of these."""
    marks = [
        branch
        for rule in rules
        if rule not in REST and rule.optional
        for branch in _branches(rule.where)
        if _names(branch)
    ]
    if len(marks) < LEAST_MARKS or any(_is_named(one, row) for one in marks for row in rows):
        return []
    return marks


def _names(where: Selector) -> list[Name | Attr]:
    """Return the names that a selector asks for."""
    match where:
        case Name() | Attr():
            return [where]
        case Both(left, right) | Either(left, right):
            return _names(left) + _names(right)
        case _:
            return []


def _is_named(where: Selector, row: PlanRow) -> bool:
    """Whether a row has one of the names that a selector asks for."""
    names = (row.name, *row.tied)
    return any(
        glob_matches(one.glob, name if isinstance(one, Name) else name.rpartition(".")[2])
        for one in _names(where)
        for name in names
    )


def _asks_for_branches(rules: tuple[Rule, ...], rows: tuple[PlanRow, ...]) -> bool:
    """Whether a law is for residual branches, and the data flow shows that there are none."""
    ends = [row.ends_residual for row in rows]
    return lacks_branches(rules, ends) and any(end is not None for end in ends)


def lacks_branches(rules: Iterable[Rule], ends: Iterable[bool | None]) -> bool:
    """Return whether a law is for residual branches, of which no row is known to be an end."""
    return any(isinstance(rule.scheme, Fixup) for rule in rules) and not any(ends)


def _fitting(present: frozenset[str]) -> list[str]:
    """Return the families that have rules for what the model consists of, and for no more."""
    found: dict[str, frozenset[str]] = {}
    for name in FAMILIES:
        asked = _asked_by_name(name)
        if all(kinds & present for kinds in asked):
            found[name] = _MATERIAL & present & frozenset[str]().union(*asked)
    most = max(map(len, found.values()), default=0)
    return [name for name, material in found.items() if most and len(material) == most]


@cache
def _asked_by_name(name: str) -> tuple[frozenset[str], ...]:
    return tuple(map(_kinds, _asked(recipe(name).rules)))


def _asked(rules: tuple[Rule, ...]) -> Iterator[Selector]:
    """Yield what a recipe's own rules select by kind, other than all weights."""
    for rule in rules:
        if rule in REST or not rule.optional:
            continue
        for branch in _branches(rule.where):
            if _kinds(branch) - _SOME and not _kinds(branch) >= _kinds(WEIGHTS):
                yield branch


def _branches(where: Selector) -> Iterator[Selector]:
    if isinstance(where, Either):
        yield from _branches(where.left)
        yield from _branches(where.right)
    else:
        yield where


def _kinds(where: Selector) -> frozenset[str]:
    """Return the kinds that a selector asks for by kind and part alone."""
    match where:
        case Kind(kinds):
            return frozenset(kinds)
        case Both(left, right) if isinstance(right, (Not, Part)):
            return _kinds(left)
        case _:
            return frozenset()
