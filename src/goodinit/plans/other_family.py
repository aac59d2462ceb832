"""A family's recipe on a model of another kind: which rules found nothing, and what would fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

from goodinit._common.text import several
from goodinit.anatomy import Anatomy, Block, Row
from goodinit.anatomy.multipliers import multipliers
from goodinit.findings import Finding
from goodinit.recipes.by_name import FAMILIES
from goodinit.recipes.by_place import Fixup
from goodinit.recipes.made_of import ATTENTION, DIVIDED, MADE_OF, MADE_WITHOUT, TABLES
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Both, Either, FollowedBy, Kind, Not, Part, Rule, Selector, sel

MOST_NAMED = 9  # recipes in one finding
# What module types show as well; other parts and kinds, the data flow alone.
_PARTS = frozenset(("bias", "weight", "table", "recurrent", "buffer"))
_KINDS = frozenset(("linear", "conv", "embedding", "recurrent", "norm"))
_BY_FLOW = frozenset(("residual", "head"))
_BY_NAME = frozenset(("name", "attr"))
# Kinds by which models differ: a recipe that fits asks for as many of them as any other.
_MATERIALS = (TABLES, *map(sel.kind, ("conv", "recurrent", "ssm")))
_WHOLE = Block("", ())  # of a row without blocks


def find_other_family(recipe: Recipe, anatomy: Anatomy) -> Iterator[Finding]:
    """Yield a finding if a model lacks what models of the recipe's family have."""
    name = recipe.name
    if name not in FAMILIES or not any(rule.library for rule in recipe.rules):
        return
    model = _Model(anatomy)
    differs = list(_differences(name, model))
    if not differs or _is_a_part(name, model):
        return
    fitting = _fitting(model)
    fix = "gi.recipe('standard') fits any model"
    if fitting:
        fix = f"recipes for layers like these: {several(fitting, MOST_NAMED)}; {fix}"
    cause = f"for models of another kind, or a part of one: {'; '.join(differs)}"
    yield Finding("GI141", "info", f"recipe {name!r}", cause, fix)


def possible_families(anatomy: Anatomy) -> dict[str, bool]:
    """Return the families that a model may be of, each with whether it has all that they have.

    It may be of one whose parameters only have other names in it.
    """
    model = _Model(anatomy)
    found: dict[str, bool] = {}
    for name in FAMILIES:
        lost = [] if _is_a_part(name, model) else list(filter(model.lacks, MADE_OF[name]))
        divided = name not in DIVIDED or model.divides
        if divided and all(where.aspects & _BY_NAME for where in lost):
            found[name] = not lost
    return found


def lacks_branches(rules: Iterable[Rule], ends: Iterable[bool | None]) -> bool:
    """Return whether a law is for residual branches, and no row is known to end one."""
    return any(isinstance(rule.scheme, Fixup) for rule in rules) and not any(ends)


class _Model:
    """What a model has; each selector goes through its rows once."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        self._answers: dict[Selector, bool] = {}

    @cached_property
    def _blocks(self) -> list[tuple[Row, Block]]:
        rows = (row for row in self.anatomy.rows if not row.buffer)
        return [(row, block) for row in rows for block in row.facets.blocks or (_WHOLE,)]

    def has(self, where: Selector) -> bool:
        """Whether a selector matches anything."""
        if where not in self._answers:
            self._answers[where] = any(where.matches(*one) for one in self._blocks)
        return self._answers[where]

    def lacks(self, where: Selector) -> bool:
        """Whether it is known that nothing matches."""
        match where:
            case Both(left, right) if self.lacks(left) or self.lacks(right):
                return True
            case Either(left, right):
                return self.lacks(left) and self.lacks(right)
            case _:
                return self._knows(where) and not self.has(where)

    def _knows(self, where: Selector) -> bool:
        """Whether what a selector asks for is known; some is only with a data flow."""
        if self.anatomy.graph is not None:
            return True
        match where:
            case Both(left, right) | Either(left, right):
                return self._knows(left) and self._knows(right)
            case Not():
                return True  # what isn't known to be excluded matches
            case Kind(kinds):
                return _KINDS.issuperset(kinds)
            case Part(parts):
                return _PARTS.issuperset(parts)
            case FollowedBy():
                return any(row.facets.activation is not None for row in self.anatomy.rows)
            case _:
                return not where.aspects & _BY_FLOW

    @cached_property
    def divides(self) -> bool:
        """Whether most weights' results are multiplied by a number; without a flow, as if so."""
        if self.anatomy.graph is None:
            return True
        by = multipliers(self.anatomy, "contract")
        weights = [row for row in self.anatomy.rows if row.facets.layout is not None]
        return 2 * sum(by.get(row.name, 1.0) != 1.0 for row in weights) >= len(weights)


def _differences(name: str, model: _Model) -> Iterator[str]:
    """Yield how a model differs from those of a family, in words."""
    lost = list(filter(model.lacks, MADE_OF[name]))
    if lost:
        yield f"nothing matches {' or '.join(map(repr, lost))}"
    odd = list(filter(model.has, MADE_WITHOUT.get(name, ())))
    if odd:
        yield f"such models have no {' or '.join(map(repr, odd))}"
    if name in DIVIDED and not model.divides:
        yield "no number divides what most of the weights pass on"


def _is_a_part(name: str, model: _Model) -> bool:
    """Whether a model is a stack of attention that lacks nothing but the tables before it."""
    lost = list(filter(model.lacks, MADE_OF[name]))
    foreign = any(map(model.has, MADE_WITHOUT.get(name, ())))
    return lost == [TABLES] and not foreign and model.has(ATTENTION)


def _fitting(model: _Model) -> list[str]:
    """Return the families that the model may be of: those that ask for most of what it has."""
    has = list(filter(model.has, _MATERIALS))
    fits = [
        name
        for name in FAMILIES
        if any(map(model.has, MADE_OF[name])) and not any(_differences(name, model))
    ]
    asked = {name: sum(_asks_for(MADE_OF[name], where) for where in has) for name in fits}
    most = max(asked.values(), default=0)
    return [name for name in fits if asked[name] == most]


def _asks_for(needs: tuple[Selector, ...], where: Selector) -> bool:
    return any(repr(where) in repr(need) for need in needs)
