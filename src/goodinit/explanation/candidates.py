"""Which recipe the values look like: plan each one and test it against them, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from goodinit.anatomy import Anatomy
from goodinit.anatomy.rows import Block, Row
from goodinit.errors import GoodinitError
from goodinit.explanation.common_practice import common_practice
from goodinit.explanation.fitted import FittedOption, fitted_option
from goodinit.explanation.laws import Fit, fit
from goodinit.explanation.reading import ParameterValues, Part
from goodinit.explanation.statistics import LEVEL
from goodinit.explanation.tried import Tried, library_recipes, numeric_options, with_option
from goodinit.plans.other_family import lacks_branches, possible_families
from goodinit.plans.resolve import Matcher, resolve_row, rule_matches, torch_laws
from goodinit.plans.rows import PlanRow
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule
from goodinit.schemes import Scheme

STANDARD = '"standard"'
PRICE = 2  # parameters that a free number must explain more than a recipe without it


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
        free: how many of its numbers were read off the values.
        fits: whether the model has what the recipe's family has, or it is for any model.
    """

    recipe: Recipe
    call: str
    rows: Mapping[str, PlanRow]
    holds: Mapping[str, bool]
    matrices: int
    score: float
    free: int = 0
    fits: bool = True

    @property
    def explained(self) -> int:
        """Number of rows that are consistent with it."""
        return sum(self.holds.values())

    @property
    def contradicted(self) -> int:
        """Number of rows that it draws otherwise."""
        return len(self.holds) - self.explained

    @property
    def rank(self) -> tuple[int, bool, int, int, float]:
        """The higher the better: by weights, by family, by all rows, by likelihood."""
        # A row that is drawn otherwise speaks against a recipe; one that it keeps doesn't.
        rows = self.explained - self.contradicted - PRICE * self.free
        return self.matrices, self.fits, rows, -self.contradicted, round(self.score, 3)


class _Answers(dict[int, bool]):
    """Whether each rule, by its number, matches a block: asked once for all recipes."""

    def __init__(self, rules: Sequence[Rule], row: Row, block: Block) -> None:
        super().__init__()
        self.rules, self.row, self.block = rules, row, block

    def __missing__(self, number: int) -> bool:
        found = self[number] = rule_matches(self.rules[number], self.row, self.block)
        return found


class Judge:
    """Tests recipes against the values of a model."""

    def __init__(self, model: nn.Module, parameters: Sequence[ParameterValues]) -> None:
        self.parameters = parameters
        self.level = level_of(parameters)
        self._default = torch_laws(model)
        self._trains = any(not one.row.frozen for one in parameters)
        # Recipes share most of their rules, and of their schemes.
        self._numbers: dict[Rule, int] = {}
        self._numbers_by_id: dict[int, int] = {}  # to hash a rule takes as long as to match it
        self._recipes: dict[int, tuple[Recipe, list[int]]] = {}
        self._rules: list[Rule] = []  # by their numbers
        self._answers = {
            id(one): [_Answers(self._rules, one.row, block) for block, _ in one.row.sites()]
            for one in parameters
        }
        self._planned: dict[tuple[object, ...], PlanRow | None] = {}
        self._fits: dict[tuple[int, Scheme], Fit] = {}

    def plan(self, made: Recipe, parameters: Sequence[ParameterValues]) -> dict[str, PlanRow]:
        """Return the rows of a recipe's plan, without those that it can't be planned on."""
        rows = zip(parameters, self._rows(made, parameters), strict=True)
        return {one.row.name: planned for one, planned in rows if planned is not None}

    def _rows(
        self, made: Recipe, parameters: Iterable[ParameterValues]
    ) -> Iterator[PlanRow | None]:
        """Yield what a recipe plans for each parameter; None where it can't be planned."""
        numbers = self._numbered(made)
        matcher: Matcher | None = None
        for one in parameters:
            answers = self._answers[id(one)]
            matched = (tuple([n for n in numbers if known[n]]) for known in answers)
            key = (id(one), *matched)
            if key not in self._planned:
                matcher = matcher or Matcher(made)
                self._planned[key] = self._resolved(one, matcher)
            yield self._planned[key]

    def _numbered(self, made: Recipe) -> list[int]:
        """Return the number of each rule of a recipe: one number for equal rules."""
        rules = made.rules
        if id(rules) not in self._recipes:  # which holds them, so that no others get the id
            for rule in rules:
                if id(rule) not in self._numbers_by_id:
                    self._numbers_by_id[id(rule)] = self._number(rule)
            self._recipes[id(rules)] = made, [self._numbers_by_id[id(rule)] for rule in rules]
        return self._recipes[id(rules)][1]

    def _number(self, rule: Rule) -> int:
        number = self._numbers.setdefault(rule, len(self._rules))
        if number == len(self._rules):
            self._rules.append(rule)
        return number

    def _resolved(self, one: ParameterValues, matcher: Matcher) -> PlanRow | None:
        own = "frozen" if one.row.frozen and self._trains else ""
        try:
            return resolve_row(one.row, one.slot, matcher, self._default, own=own)
        except GoodinitError:  # can't be written (an expanded parameter): no recipe drew it
            return None

    def _fit(self, part: Part, scheme: Scheme) -> Fit:
        """Return how a scheme fits a block, once."""
        key = id(part), scheme
        if key not in self._fits:
            self._fits[key] = fit(part, scheme, self.level)
        return self._fits[key]

    def _fits_of(self, one: ParameterValues, planned: PlanRow) -> list[Fit]:
        """Return how a row fits each block that it covers."""
        boxes = {block.box: block.scheme for block in planned.parts()}
        every = [self._fit(part, boxes[part.block.box]) for part in one.parts]
        return [f for f in every if f.says]

    def weights_explained(
        self, made: Recipe, weights: Sequence[ParameterValues], least: float
    ) -> int:
        """Return how many of these weights a recipe explains, or a number below ``least``."""
        explained, left = 0, len(weights)
        for one, planned in zip(weights, self._rows(made, weights), strict=True):
            predicted = [] if planned is None else self._fits_of(one, planned)
            explained += bool(predicted) and all(f.holds for f in predicted)
            left -= 1
            if explained + left < least:  # which is where most recipes end, after some weights
                break
        return explained

    def judge(self, made: Recipe, call: str, fits: Sequence[FittedOption] = ()) -> Candidate:
        """Return how much of the parameters a recipe explains."""
        rows = self.plan(made, self.parameters)
        holds: dict[str, bool] = {}
        matrices, score = 0, -sum(one.penalty for one in fits)
        for one in self.parameters:
            planned = rows.get(one.row.name)
            predicted = [] if planned is None else self._fits_of(one, planned)
            if predicted:
                holds[one.row.name] = all(f.holds for f in predicted)
                if holds[one.row.name]:
                    matrices += one.matrix
                    score += sum(f.score for f in predicted)
        return Candidate(made, call, rows, holds, matrices, score, len(fits))

    def fit(
        self, tried: Tried, weights: Sequence[ParameterValues], least: float
    ) -> Candidate | None:
        """Return a recipe with the numbers that fit the values.

        None if its own do, or none, or if it explains fewer than ``least`` of the weights.
        """
        options = numeric_options(tried)
        once = self.plan(tried.recipe, self.parameters) if options else {}
        fitted, fits = tried, list[FittedOption]()
        for option, default in options.items():
            twice = self.plan(with_option(tried, option, 2 * default).recipe, self.parameters)
            found = fitted_option(self.parameters, once, twice, default)
            if found is not None and found.value not in (0.0, default):
                fitted = with_option(fitted, option, found.value)
                fits.append(found)
        if not fits or self.weights_explained(fitted.recipe, weights, least) < least:
            return None
        return self.judge(fitted.recipe, fitted.call, fits)


def rank_candidates(
    model: nn.Module, anatomy: Anatomy, parameters: list[ParameterValues], near: float = 1.0
) -> list[Candidate]:
    """Return the recipes and common practice that explain most weights, the best first.

    Others are returned if they explain the share ``near`` of the weights that the best explains;
    the recipe ``standard`` always is. A family's recipe is tried where the model has what that
    family's models have, and comes later where only names are missing.
    """
    judge = Judge(model, parameters)
    ends = [one.row.ends_residual is True for one in parameters]  # without inputs none is
    families = possible_families(anatomy)
    tried = [
        one
        for one in library_recipes()
        if (one.general or one.name in families) and not lacks_branches(one.recipe.rules, ends)
    ]
    practice = list(common_practice(parameters))
    every = [*((one.recipe, one.call) for one in tried), *((made, "") for made in practice)]
    # Weights decide first, and most rows are biases and norms: these are read for the best alone.
    weights = [one for one in parameters if one.matrix]
    counts: list[int] = []
    for made, _ in every:
        counts.append(judge.weights_explained(made, weights, near * max(counts, default=0)))
    least = near * max(counts)
    found = [
        judge.judge(made, call)
        for (made, call), count in zip(every, counts, strict=True)
        if count >= least or call == STANDARD
    ]
    found = [replace(one, fits=families.get(one.recipe.name, True)) for one in found]
    found.sort(key=lambda candidate: candidate.rank, reverse=True)
    if found[0].explained < len(parameters):
        more = filter(None, (judge.fit(one, weights, least) for one in tried))
        found += [replace(one, fits=families.get(one.recipe.name, True)) for one in more]
        found.sort(key=lambda candidate: candidate.rank, reverse=True)
    return found


def level_of(parameters: Sequence[ParameterValues]) -> float:
    """Return the level of each test, such that all together have ``LEVEL`` (Bonferroni)."""
    return LEVEL / max(sum(len(one.parts) for one in parameters), 1)
