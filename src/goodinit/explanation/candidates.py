"""Which recipe the values look like: plan each one and test it against them, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from goodinit.errors import GoodinitError
from goodinit.explanation.common_practice import common_practice
from goodinit.explanation.laws import fit
from goodinit.explanation.reading import ParameterValues
from goodinit.explanation.statistics import LEVEL
from goodinit.plans.resolve import Matcher, resolve_row, torch_laws
from goodinit.plans.rows import PlanRow
from goodinit.recipes import recipe
from goodinit.recipes.recipe import Recipe

__all__ = ["Candidate", "level_of", "library_recipes", "rank_candidates"]

_OPTIONS: Mapping[str, tuple[Mapping[str, object], ...]] = {
    "he": (
        {"distribution": "uniform"},
        {"mode": "fan_out"},
        {"distribution": "uniform", "mode": "fan_out"},
        {"nonlinearity": "relu"},
        {"nonlinearity": "relu", "distribution": "uniform"},
        {"nonlinearity": "relu", "mode": "fan_out"},
    ),
    "xavier": ({"distribution": "normal"}, {"gain": 2**0.5}, {"gain": 5 / 3}),
    "lecun": ({"distribution": "uniform"},),
    "orthogonal": ({"gain": 2**0.5},),
    "gpt2": ({"flavour": "openai"},),
    "vit": ({"flavour": "flax"},),
}
"""Options with which a recipe is tried, besides its defaults."""

_NONE: Mapping[str, object] = {}

_PLAINER = ("torch_default", "he", "xavier", "lecun", "orthogonal")
"""Preferred where several recipes draw the same laws on a model."""

# Those of model families aren't tried yet: on a plain network many of them draw the same laws.
_TRIED = (*_PLAINER, "dcgan", "gpt2", "lstm", "standard", "vit")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A recipe, and how much of the model it explains.

    Attributes:
        recipe: the recipe.
        call: how it is written, ``"he"`` or ``gi.recipe("he", mode="fan_out")``; "" for common
            practice.
        rows: the plan, by name; without rows on which it can't be planned.
        holds: for each row that it draws, whether the values are consistent with it.
        matrices: number of weights that it explains.
        score: log-likelihood of all values that it explains.
    """

    recipe: Recipe
    call: str
    rows: Mapping[str, PlanRow]
    holds: Mapping[str, bool]
    matrices: int
    score: float

    @property
    def explained(self) -> int:
        """Number of rows that are consistent with it."""
        return sum(self.holds.values())

    @property
    def rank(self) -> tuple[int, int, float]:
        """The higher the better: by weights, then by all rows, then by likelihood."""
        return self.matrices, self.explained, round(self.score, 3)


def rank_candidates(model: nn.Module, parameters: list[ParameterValues]) -> list[Candidate]:
    """Return the recipes that are tried and common practice, the best first."""
    every = [*library_recipes(), *((made, "") for made in common_practice(parameters))]
    found = [_candidate(made, call, model, parameters) for made, call in every]
    return sorted(found, key=lambda candidate: candidate.rank, reverse=True)


def level_of(parameters: list[ParameterValues]) -> float:
    """Return the level of each test, such that all together have ``LEVEL`` (Bonferroni)."""
    return LEVEL / max(sum(len(one.parts) for one in parameters), 1)


def library_recipes() -> Iterator[tuple[Recipe, str]]:
    """Yield each recipe that is tried once, the plainest first, with the call that makes it."""
    for name in _TRIED:
        for options in (_NONE, *_OPTIONS.get(name, ())):
            made = recipe(name, **options)
            given = "".join(f", {key}={_option(value)}" for key, value in options.items())
            yield made, f'gi.recipe("{name}"{given})' if given else f'"{name}"'


def _option(value: object) -> str:
    if isinstance(value, float):
        return {2**0.5: "2**.5", 5 / 3: "5/3"}.get(value, f"{value:g}")
    return f'"{value}"'


def _candidate(
    made: Recipe, call: str, model: nn.Module, parameters: list[ParameterValues]
) -> Candidate:
    matcher, default, level = Matcher(made), torch_laws(model), level_of(parameters)
    rows: dict[str, PlanRow] = {}
    holds: dict[str, bool] = {}
    matrices, score = 0, 0.0
    for one in parameters:
        try:
            planned = resolve_row(one.row, one.slot, matcher, default)
        except GoodinitError:  # can't be written (an expanded parameter): no recipe drew it
            continue
        rows[one.row.name] = planned
        boxes = {block.box: block.scheme for block in planned.parts()}
        fits = [fit(part, boxes[part.block.box], level) for part in one.parts]
        predicted = [f for f in fits if f.says]
        if predicted:
            holds[one.row.name] = all(f.holds for f in predicted)
            if holds[one.row.name]:
                matrices += one.matrix
                score += sum(f.score for f in predicted)
    return Candidate(made, call, rows, holds, matrices, score)
