"""Which recipe the values look like: each one is planned, and held against them row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from goodinit.errors import GoodinitError
from goodinit.explanation.common_practice import habits
from goodinit.explanation.laws import fit
from goodinit.explanation.reading import Seen
from goodinit.explanation.statistics import LEVEL
from goodinit.plans.resolve import Matcher, own_laws, resolve_row
from goodinit.plans.rows import PlanRow
from goodinit.recipes import names, recipe
from goodinit.recipes.recipe import Recipe

__all__ = ["Candidate", "candidates", "level_of"]

_OPTIONS: Mapping[str, tuple[Mapping[str, object], ...]] = {
    "he": (
        {"distribution": "uniform"},
        {"mode": "fan_out"},
        {"distribution": "uniform", "mode": "fan_out"},
        {"nonlinearity": "relu"},
        {"nonlinearity": "relu", "distribution": "uniform"},
        {"nonlinearity": "relu", "mode": "fan_out"},
    ),
    "xavier": (
        {"distribution": "normal"},
        {"gain": 2**0.5},
        {"gain": 5 / 3},
    ),
    "lecun": ({"distribution": "uniform"},),
    "orthogonal": ({"gain": 2**0.5},),
    "gpt2": ({"flavour": "openai"},),
    "vit": ({"flavour": "flax"},),
}
"""Options under which a recipe is tried besides its defaults."""

_NONE: Mapping[str, object] = {}

_PLAINER = ("torch_default", "he", "xavier", "lecun", "orthogonal")
"""Named first where several draw the same laws on a model."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe, and what of the model it explains.

    Attributes:
        recipe: the recipe.
        call: how it is written, ``"he"`` or ``gi.recipe("he", mode="fan_out")``; "" for a habit.
        rows: what it plans, by name; rows that it can't be planned on are absent.
        holds: for each row that it says anything of, whether the values are consistent with it.
        matrices: how many weights it explains.
        score: log-likelihood of the values of all that it explains.
    """

    recipe: Recipe
    call: str
    rows: Mapping[str, PlanRow]
    holds: Mapping[str, bool]
    matrices: int
    score: float

    @property
    def explained(self) -> int:
        """How many rows are consistent with it."""
        return sum(self.holds.values())

    @property
    def rank(self) -> tuple[int, int, float]:
        """The greater the better: weights first, then all rows, then the likelihood."""
        return self.matrices, self.explained, round(self.score, 3)

    @property
    def mapping(self) -> str:
        """What ``gi.init_`` takes to draw this again; the default where it is a habit."""
        return self.call or '"standard"'


def candidates(model: nn.Module, seen: list[Seen]) -> list[Candidate]:
    """Return every recipe of the library with what it explains, the best first.

    Args:
        model: the model.
        seen: its parameters, with their values.
    """
    every = [*_recipes(), *((made, "") for made in habits(seen))]
    found = [_candidate(made, call, model, seen) for made, call in every]
    return sorted(found, key=lambda candidate: candidate.rank, reverse=True)


def level_of(seen: list[Seen]) -> float:
    """Return the level of each test, so that ``LEVEL`` is that of all of them together."""
    return LEVEL / max(sum(len(one.parts) for one in seen), 1)


def _recipes() -> Iterator[tuple[Recipe, str]]:
    """Yield each recipe once, plainer ones first, with the call that makes it."""
    known = names()
    first = [name for name in _PLAINER if name in known]
    already: list[Recipe] = []
    for name in (*first, *(name for name in known if name not in first)):
        for options in (_NONE, *_OPTIONS.get(name, ())):
            made = recipe(name, **options)
            if made in already:  # an alias
                continue
            already.append(made)
            given = "".join(f", {key}={_short(value)}" for key, value in options.items())
            yield made, f'gi.recipe("{name}"{given})' if given else f'"{name}"'


def _short(value: object) -> str:
    if isinstance(value, float):
        return {2**0.5: "2**.5", 5 / 3: "5/3"}.get(value, f"{value:g}")
    return f'"{value}"'


def _candidate(made: Recipe, call: str, model: nn.Module, seen: list[Seen]) -> Candidate:
    matcher, default, level = Matcher(made), own_laws(model), level_of(seen)
    rows: dict[str, PlanRow] = {}
    holds: dict[str, bool] = {}
    matrices, score = 0, 0.0
    for one in seen:
        try:
            planned = resolve_row(one.row, one.slot, matcher, default)
        except GoodinitError:  # what can't be written (an expanded parameter) wasn't drawn by us
            continue
        rows[one.row.name] = planned
        boxes = {block.box: block.scheme for block in planned.parts()}
        fits = [fit(part, boxes[part.block.box], level) for part in one.parts]
        told = [f for f in fits if f.says]
        if told:
            holds[one.row.name] = all(f.holds for f in told)
            if holds[one.row.name]:
                matrices += one.matrix
                score += sum(f.score for f in told)
    return Candidate(made, call, rows, holds, matrices, score)
