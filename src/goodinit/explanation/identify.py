"""``identify``: which recipe do fresh weights follow, facet by facet, and where do they deviate?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from goodinit._common.progress import progress_line
from goodinit.explanation.candidates import Candidate, Judge, rank_candidates
from goodinit.explanation.identification import (
    FACETS,
    Deviation,
    FacetRow,
    Identification,
    Near,
    facet_of,
)
from goodinit.explanation.laws import law_of
from goodinit.explanation.reading import ParameterValues, read_model
from goodinit.explanation.recognition import identify_law, scheme_name
from goodinit.explanation.statistics import p_value
from goodinit.plans.resolve import torch_laws
from goodinit.plans.rows import PlanRow
from goodinit.recipes.by_name import RecipeLike, as_recipe
from goodinit.schemes import Keep
from goodinit.streams import Law
from goodinit.trace import Inputs

MOST = 1 / 2  # of the weights that it draws a recipe must explain, or it isn't named
LEAST = 1 / 4  # of all weights of the model, too
MOST_NEAR = 3  # groups of recipes that are shown beside the best


@progress_line("identifying")
def identify(
    model: nn.Module, inputs: Inputs | None = None, recipe: RecipeLike | None = None
) -> Identification:
    """Return which recipe a model's values follow, by facet, and where they deviate.

    Each recipe of the library, with each of its flavours, is planned on the model and tested
    against its values, block by block, at a significance level of 0.001 for all tests together.
    Numbers such as ``std`` are read off the values. Recipes that draw the same laws on this model
    can't be distinguished: ``also`` names them. Nothing is written or drawn.

    Args:
        model: any module with fresh values; trained ones follow no recipe.
        inputs: a tensor, a tuple or a dict of keyword arguments, as for ``plan``. They show
            residual ends, the head and the depth, by which families differ.
        recipe: the recipe that was meant, as for ``plan``: deviations are those from it. None
            finds the one that explains most weights.

    Raises:
        MetaModelError: a parameter is on meta and has no values.
        LazyParameterError: the model has a lazy module, whose shapes aren't known yet.
        RecipeError: ``recipe`` is none.
        TraceError: the model raised on these inputs.

    Example:
        A port that forgot a factor:

        >>> import torch
        >>> import goodinit as gi
        >>> net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
        >>> plan = gi.init_(net, "he", seed=0)
        >>> with torch.no_grad():
        ...     _ = net[2].weight.mul_(2)
        >>> found = gi.identify(net, recipe="he")
        >>> [(one.name, round(one.times, 1)) for one in found.deviations]
        [('2.weight', 2.0)]
    """
    meant = None if recipe is None else _meant(recipe)
    anatomy, parameters = read_model(model, inputs, "identify")
    ranked = rank_candidates(model, anatomy, parameters, near=MOST)
    best = best_candidate(ranked, parameters) if meant is None else meant(model, parameters)
    return Identification(
        recipe=best.recipe.name if best is not None and best.call else None,
        call="" if best is None else best.call,
        habit=best.recipe.name if best is not None and not best.call else "",
        also=() if best is None else same_laws(best, ranked),
        rows=_facet_rows(parameters, best, ranked),
        deviations=_deviations(model, parameters, best),
        weights=counts(best, parameters, matrices=True),
        parameters=counts(best, parameters, matrices=False),
        kept=0 if best is None else len(parameters) - len(best.holds),
        near=_near(parameters, best, ranked),
        meant=meant is not None,
        how=anatomy.how,
    )


def _meant(recipe: RecipeLike) -> Callable[[nn.Module, Sequence[ParameterValues]], Candidate]:
    """Return the function that judges a recipe; refuse what isn't a recipe."""
    made = as_recipe(recipe)
    call = f'"{recipe}"' if isinstance(recipe, str) else made.name or "recipe"
    return lambda model, parameters: Judge(model, parameters).judge(made, call)


def best_candidate(
    ranked: Sequence[Candidate], parameters: Sequence[ParameterValues]
) -> Candidate | None:
    """Return the recipe that explains most, if it explains enough."""
    best = ranked[0]
    explained, covered = counts(best, parameters, matrices=True)
    weights = sum(one.matrix for one in parameters)
    if not weights:  # a model of norms, for example
        explained, covered = counts(best, parameters, matrices=False)
    named = explained > MOST * covered and explained >= LEAST * weights
    return best if named and explained else None


def counts(
    best: Candidate | None, parameters: Sequence[ParameterValues], *, matrices: bool
) -> tuple[int, int]:
    """Return how many weights (or parameters) a recipe explains, and how many it draws."""
    counted = [one.row.name for one in parameters if one.matrix or not matrices]
    if best is None:
        return 0, len(counted)
    held = [best.holds[name] for name in counted if name in best.holds]
    return sum(held), len(held)


def same_laws(best: Candidate, ranked: Sequence[Candidate]) -> tuple[str, ...]:
    """Return the recipes that draw the same as the best one on this model."""
    same = [c for c in ranked if c.holds == best.holds and _draws_as(c, best)]
    calls = dict.fromkeys(c.call or c.recipe.name for c in same)
    return tuple(call for call in calls if call != (best.call or best.recipe.name))


def _draws_as(one: Candidate, best: Candidate) -> bool:
    """Whether a recipe is as likely, and draws the same where the values contradict both."""
    wrong = [name for name, holds in best.holds.items() if not holds]
    return one.rank == best.rank and all(
        _moments(one.rows[name]) == _moments(best.rows[name]) for name in wrong
    )


def _moments(planned: PlanRow) -> list[tuple[float, float]]:
    return [(float(f"{mean:.6g}"), float(f"{std:.6g}")) for _, mean, std in planned.moments()]


def _facet_rows(
    parameters: Sequence[ParameterValues], best: Candidate | None, ranked: Sequence[Candidate]
) -> tuple[FacetRow, ...]:
    groups: dict[str, list[str]] = {}
    for one in parameters:
        groups.setdefault(facet_of(one.row.facets), []).append(one.row.name)
    rows: list[FacetRow] = []
    for facet in sorted(groups, key=FACETS.index):
        names = groups[facet]
        holds = [best.holds[name] for name in names if name in best.holds] if best else []
        calls = (c.call for c in ranked if c.call and all(c.holds.get(name) for name in names))
        also = tuple(call for call in dict.fromkeys(calls) if best is None or call != best.call)
        rows.append(FacetRow(facet, tuple(names), len(holds), sum(holds), also))
    return tuple(rows)


def _near(
    parameters: Sequence[ParameterValues], best: Candidate | None, ranked: Sequence[Candidate]
) -> tuple[Near, ...]:
    """Return other recipes that explain most weights, one of a name, by where they deviate."""
    facets = {one.row.name: facet_of(one.row.facets) for one in parameters}
    seen: set[str] = set()
    groups: dict[tuple[str, ...], tuple[tuple[int, int], list[str]]] = {}
    for one in ranked:
        weights = counts(one, parameters, matrices=True)
        alike = best is not None and one.holds == best.holds
        if alike or not one.call or one.recipe.name in seen or weights[0] <= MOST * weights[1]:
            continue
        seen.add(one.recipe.name)
        wrong = tuple(name for name, holds in one.holds.items() if not holds)
        groups.setdefault(wrong, (weights, []))[1].append(one.call)
    found: list[Near] = []
    for wrong, (weights, calls) in groups.items():
        by_facet: dict[str, tuple[str, ...]] = {}
        for name in wrong:
            by_facet[facets[name]] = (*by_facet.get(facets[name], ()), name)
        found.append(Near(tuple(calls), weights, by_facet))
    return tuple(found[:MOST_NEAR])


def _deviations(
    model: nn.Module, parameters: Sequence[ParameterValues], best: Candidate | None
) -> tuple[Deviation, ...]:
    if best is None:
        return ()
    own, level = torch_laws(model), Judge(model, parameters).level
    found: list[Deviation] = []
    for one in parameters:
        planned = best.rows.get(one.row.name)
        if planned is None or best.holds.get(one.row.name) is not False:
            continue
        found.append(
            Deviation(
                name=one.row.name,
                facet=facet_of(one.row.facets),
                looks=identify_law(one, own(one.slot), None, level).text,
                expected=expected_law(planned),
                std=one.sample.std,
                expected_std=planned.std,
                p=_chance(one, planned),
            )
        )
    return tuple(found)


def expected_law(planned: PlanRow) -> str:
    """Return the names of the laws that a row draws."""
    drawn = [block for block in planned.parts() if not isinstance(block.scheme, Keep)]
    return ", ".join(
        dict.fromkeys(scheme_name(block.scheme, planned.site(block)) for block in drawn)
    )


def _chance(parameter: ParameterValues, planned: PlanRow) -> float | None:
    """Return the least p-value of the blocks, times their number; None without a continuous law."""
    schemes = {block.box: block.scheme for block in planned.parts()}
    found: list[float] = []
    for part in parameter.parts:
        law = law_of(part, schemes[part.block.box])
        if isinstance(law, Law) and not part.sample.constant:
            found.append(p_value(part.sample, law))
    return min(min(found) * len(found), 1.0) if found else None
