"""``explain``: which initialization does a model have, what is wrong with it, what fixes it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from goodinit._common.progress import progress_line
from goodinit.anatomy import Anatomy
from goodinit.anatomy.attention_scores import attention_scores
from goodinit.anatomy.centering import subtracted_biases
from goodinit.anatomy.heads import head_factors, names_of_heads
from goodinit.anatomy.multipliers import multipliers
from goodinit.applying.lines import FIRST_SEED, Untried, library_lines
from goodinit.applying.trials import Trials
from goodinit.explanation.alike_findings import alike_findings
from goodinit.explanation.candidates import Candidate, level_of, rank_candidates
from goodinit.explanation.chains import chains_by_flow, chains_by_type
from goodinit.explanation.common_practice import scheme_by_shape
from goodinit.explanation.context import Context
from goodinit.explanation.explanation import Explanation
from goodinit.explanation.identify import best_candidate, counts, same_laws
from goodinit.explanation.reading import ParameterValues, read_model
from goodinit.explanation.recognition import TRAINED, identify_law
from goodinit.explanation.rows import explained_row
from goodinit.explanation.scale_findings import scale_findings
from goodinit.explanation.value_findings import value_findings
from goodinit.findings import SEVERITIES, Finding
from goodinit.plans.resolve import torch_laws
from goodinit.plans.rows import PlanRow
from goodinit.trace import Inputs


@progress_line("explaining")
def explain(model: nn.Module, inputs: Inputs | None = None) -> Explanation:
    """Return which initialization a model has, what is wrong with it, and how to fix it.

    Only values are read: nothing is trained, measured or written, and no random number is drawn.
    Each recipe of the library is planned on the model and tested against its values, block by
    block, at a significance level of 0.001 for all tests together. The recipe that explains most
    weights is named.

    Args:
        model: any module with values. The moments of a large tensor come from 131,072 evenly
            spaced elements, its minimum and maximum from all.
        inputs: a tensor, a tuple or a dict of keyword arguments, as for ``plan``. They determine
            fans, activations, residual ends and which weights follow one another. The model is
            run on meta, as for a plan.

    Raises:
        MetaModelError: a parameter is on meta and has no values.
        LazyParameterError: the model has a lazy module, whose shapes aren't known yet.
        TraceError: the model raised on these inputs.

    Example:
        >>> import torch
        >>> layers = [m for _ in range(20) for m in (nn.Linear(64, 64), nn.ReLU())]
        >>> with torch.random.fork_rng():
        ...     explanation = explain(nn.Sequential(*layers))
        >>> explanation.recipe, explanation["0.weight"].looks
        ('torch_default', "kaiming_uniform_(a=sqrt(5)), torch's default")
        >>> print(explanation.findings[0].code, explanation.remedy)
        GI125 gi.init_(model, {"*.weight": gi.Orthogonal(gain=1.41421), "38.weight": ...}, seed=0)
    """
    untried = explained(model, inputs)

    def judge(copied: nn.Module) -> Sequence[Finding]:
        return explained(copied, inputs).findings

    trials = Trials(
        model,
        inputs,
        untried.findings,
        judge,
        seeds=(FIRST_SEED,),  # what a law is isn't chance
        control=False,  # inputs that a run used up raise in the next one
    )
    findings = trials.findings()
    remedy = _remedy(untried, findings, trials, inputs is not None)
    return replace(untried, findings=findings, remedy=remedy)


def explained(model: nn.Module, inputs: Inputs | None = None) -> Explanation:
    """Explain as ``explain`` does; the remedies are not tried, and say in words what helps."""
    anatomy, parameters = read_model(model, inputs, "explain")
    ranked = rank_candidates(model, anatomy, parameters)
    best = best_candidate(ranked, parameters)
    context = _context(model, inputs is not None, anatomy, parameters, ranked, best)
    buffers = [slot for slot in anatomy.slots if slot.buffer]
    verdicts = [
        *value_findings(context, buffers),
        *scale_findings(context),
        *alike_findings(context),
    ]
    verdicts.sort(key=lambda found: -SEVERITIES.index(found.finding.severity))
    return Explanation(
        recipe=best.recipe.name if best is not None and best.call else None,
        habit=best.recipe.name if best is not None and not best.call else "",
        call="" if best is None else best.call,
        also=() if best is None else same_laws(best, ranked),
        rows=tuple(explained_row(one, context, verdicts) for one in parameters),
        matrices=counts(best, parameters, matrices=True),
        parameters=counts(best, parameters, matrices=False),
        findings=tuple(found.finding for found in verdicts),
        remedy="",
        how=anatomy.how,
    )


def _context(
    model: nn.Module,
    inputs: bool,
    anatomy: Anatomy,
    parameters: list[ParameterValues],
    ranked: list[Candidate],
    best: Candidate | None,
) -> Context:
    level = level_of(parameters)
    own = torch_laws(model)
    graph = anatomy.graph
    by_name = {one.row.name: one for one in parameters}
    by_number = {
        number: by_name[slot.name]
        for number, slot in enumerate(anatomy.slots)
        if slot.name in by_name
    }
    chains = (
        chains_by_type(model, parameters) if graph is None else chains_by_flow(graph, by_number)
    )
    by_shape = scheme_by_shape(best.recipe) if best is not None else None
    planned: Mapping[str, PlanRow] = {} if best is None or by_shape is not None else best.rows
    return Context(
        model=model,
        parameters=parameters,
        laws={
            name: identify_law(one, own(one.slot), planned.get(name), level, by_shape)
            for name, one in by_name.items()
        },
        best=best,
        standard=next(c for c in ranked if c.call == '"standard"'),
        chains=chains,
        heads=head_factors(anatomy),
        outputs=names_of_heads(anatomy),
        factors=multipliers(anatomy, "contract"),
        scores=attention_scores(anatomy),
        subtracted=subtracted_biases(anatomy),
        inputs=inputs,
        level=level,
        numbers={slot.name: number for number, slot in enumerate(anatomy.slots)},
        graph=graph,
        anatomy=anatomy,
    )


def _remedy(untried: Explanation, tried: Sequence[Finding], trials: Trials, inputs: bool) -> str:
    """Return one line that fixes all warnings, or else the most severe; "" if there is none."""
    lines = [
        (found.remedy, before.remedy.lines)
        for before, found in zip(untried.findings, tried, strict=True)
        if found.severity != "info" and isinstance(before.remedy, Untried)
    ]
    if not lines:
        return ""
    trained = any(row.looks == TRAINED for row in untried)
    one = len({line.text for _, several in lines for line in several[:1]}) == 1
    several = lines[0][1] if one or trained else library_lines(inputs=inputs)
    best = trials.first(several, lambda after: all(f.severity == "info" for f in after))
    fixing = (text for text, several in lines if text in {line.text for line in several})
    return best or next(fixing, "")
