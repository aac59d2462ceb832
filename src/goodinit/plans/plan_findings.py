"""The findings of a plan: GI107, GI111 to GI115, GI117 to GI119, GI132, GI136, GI142 and GI150."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from goodinit._common.text import count, several
from goodinit.anatomy import Anatomy
from goodinit.anatomy.centering import subtracted_biases
from goodinit.anatomy.heads import head_factors, multiplies, names_of_heads
from goodinit.anatomy.multipliers import multipliers
from goodinit.anatomy.names import Slot
from goodinit.errors import nearest
from goodinit.findings import Finding, Severity
from goodinit.findings.authors_values import (
    authors_values_are_lost,
    keeps_authors_values,
    what_is_kept,
)
from goodinit.findings.biases import BIAS_SHARE, bias_dominates, bias_severity
from goodinit.findings.casts import what_a_cast_lost
from goodinit.findings.logits import head_is_too_large
from goodinit.findings.scales import around_zero, grew_on_another_scale, norm_lies_around_zero
from goodinit.plans.attention_forecast import find_one_hot_attention
from goodinit.plans.keep import KeptRows
from goodinit.plans.other_family import find_other_family
from goodinit.plans.plain_stack_findings import find_deep_stacks
from goodinit.plans.rows import PlanRow
from goodinit.plans.size_forecasts import find_saturation, find_wide_products
from goodinit.plans.tried_rules import named, offer
from goodinit.recipes.deferred import FirstLayer, Neutral, ReluGain
from goodinit.recipes.reasons import KEEPS, WHY_LEFT
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, sel
from goodinit.schemes import LeCunNormal, Normal, PriorBias, Zeros
from goodinit.schemes.dtype_range import NARROW, share_of_zeros
from goodinit.schemes.low_rank import LowRank
from goodinit.schemes.scheme import FromValues
from goodinit.trace.run import OURS

SCALES = 'gi.Rule(gi.sel.kind("scale"), gi.Neutral())'


def find_in_plan(
    rows: tuple[PlanRow, ...],
    slots: list[Slot],
    recipe: Recipe,
    wins: dict[int, int],
    kept: KeptRows,
    anatomy: Anatomy,
) -> tuple[Finding, ...]:
    """Return what is doubtful about a plan."""
    return (
        *_norms_around_zero(rows, anatomy),
        *_tied_too_large(rows, slots, anatomy),
        *_head_too_large(rows, anatomy),
        *find_one_hot_attention(rows, anatomy),
        *find_saturation(rows, anatomy),
        *find_wide_products(rows, anatomy),
        *_biases_dominate(rows, slots, anatomy),
        *find_deep_stacks(rows, anatomy),
        *_needs_flow(rows, recipe, anatomy),
        *_never_won(recipe, wins),
        *find_other_family(recipe, anatomy),
        *_extra_keys(kept, rows),
        *_left_alone(rows),
        *_authors_values(rows),
        *_grown_apart(rows, kept),
        *_rounded_to_zero(rows),
        *_frozen_are_drawn(rows, slots, recipe),
        *_one_prior_for_heads(rows, recipe),
    )


def _first_of(rows: Sequence[PlanRow]) -> str:
    """Return the name of the first row, and how many more there are."""
    return several((row.name for row in rows), 1)


def find_packed(kinds: list[str]) -> Iterator[Finding]:
    """Quantized modules beside others: they have no parameters that a plan could list."""
    if kinds:
        cause = f"left unchanged: {count(len(kinds), 'module')} with packed, quantized weights"
        fix = "initialize the float model, and quantize it afterwards"
        yield Finding("GI117", "warning", kinds[0], cause, fix)


def _norms_around_zero(rows: tuple[PlanRow, ...], anatomy: Anatomy) -> Iterator[Finding]:
    """The much-copied DCGAN snippet: ``normal_(m.weight, 0, .02)`` on BatchNorm as well."""
    bad = [
        (row.name, row.mean, row.std)
        for row, known in zip(rows, anatomy.rows, strict=True)
        if row.kind == "norm" and row.part == "weight" and not row.buffer
        # Of a norm that multiplies by 1 + weight, 0 is the neutral value.
        if known.facets.neutral != 0
        if row.mean is not None and row.std is not None and norm_lies_around_zero(row.mean, row.std)
    ]
    if bad:
        _, mean, std = bad[0]
        names = several((name for name, _, _ in bad), 1)
        fix = f"draw it around 1: Normal(std={std:g}, mean=1.0), as the DCGAN code does"
        yield Finding("GI111", "warning", names, around_zero(mean, std), fix)


def _tied_too_large(
    rows: tuple[PlanRow, ...], slots: list[Slot], anatomy: Anatomy
) -> Iterator[Finding]:
    factors: dict[str, float] | None = None
    for row, slot in zip(rows, slots, strict=True):
        std = row.std if row.kind == "embedding" and multiplies(slot) else None
        if std is None:
            continue
        if factors is None:
            factors = head_factors(anatomy)
        width = row.shape[-1] if row.shape else 0
        times = abs(factors.get(row.name, 1.0))
        if head_is_too_large(std * times, width):
            cause = (
                f"the table is tied with {row.tied[0]}, which multiplies by it: std {std:g} gives "
                f"the first logits a std of {std * times * width**0.5:.3g}"
            )
            fix = f"draw it with std {width**-0.5:.3g}, 1/sqrt({width})"
            yield Finding("GI112", "warning", row.name, cause, fix)


def _head_too_large(rows: tuple[PlanRow, ...], anatomy: Anatomy) -> Iterator[Finding]:
    """An output projection of N(0, 1): its logits have a std of sqrt(width)."""
    names = names_of_heads(anatomy)
    heads = [row for row in rows if row.name in names and row.kind in ("linear", "conv")]
    drawn = [row for row in heads if row.std and row.fan_in and not (row.guessed or row.buffer)]
    factors = multipliers(anatomy, "contract")
    for row in drawn:
        std, fan_in = (row.std or 0.0) * abs(factors.get(row.name, 1.0)), row.fan_in or 0.0
        if head_is_too_large(std, fan_in):
            cause = (
                f"std {row.std:g} of an output projection gives the first logits "
                f"a std of {std * fan_in**0.5:.3g}"
            )
            fix = offer(
                f"draw it with std {fan_in**-0.5:.3g}, 1/sqrt({fan_in:g})",
                named((row.name,), LeCunNormal()),
            )
            yield Finding("GI112", "warning", row.name, cause, fix)


def _biases_dominate(
    rows: tuple[PlanRow, ...], slots: list[Slot], anatomy: Anatomy
) -> Iterator[Finding]:
    """A bias that is larger than what its weight passes on of a signal of second moment 1."""
    weights = {
        id(slot.owner): row
        for row, slot in zip(rows, slots, strict=True)
        if row.layout is not None and row.part != "bias"
    }
    found: dict[Severity, list[PlanRow]] = {}
    for row, slot in zip(rows, slots, strict=True):
        weight = weights.get(id(slot.owner))
        if weight is None or row.part != "bias" or row.kind not in ("linear", "conv"):
            continue
        fan_in = weight.parts()[0].fan_in or 0.0  # 0 where it is unknown
        bias = _second_moment(row)
        passed = _second_moment(weight) * fan_in if bias else 0.0
        if passed and bias_dominates(bias, bias + passed):
            severity = bias_severity(
                drawn=row.mean is not None and row.std is not None and abs(row.mean) < row.std,
                activation=weight.activation,
                head=weight.part == "head",
            )
            if row.name not in subtracted_biases(anatomy):
                found.setdefault(severity, []).append(row)
    for severity, bad in found.items():
        names = _first_of(bad)
        cause = (
            f"more than {BIAS_SHARE:.0%} of what the layer passes on of a signal of second moment "
            "1 is the bias, the same for all inputs"
        )
        fix = offer("draw it smaller", named((row.name for row in bad), Zeros()))
        yield Finding("GI132", severity, names, cause, fix)


def _second_moment(row: PlanRow) -> float:
    """Return the mean square of what is drawn, of the first block; 0 where it is kept."""
    return next((mean**2 + std**2 for _, mean, std in row.moments()), 0.0)


def _needs_flow(rows: tuple[PlanRow, ...], recipe: Recipe, anatomy: Anatomy) -> Iterator[Finding]:
    if anatomy.how != "module types":
        return
    if anatomy.reason:
        why = f"the model has no weights and needs values to run ({anatomy.reason})"
        fix = "plan a small model of the same kind that has weights: it can run"
        if anatomy.reason.startswith(OURS):
            why, fix = anatomy.reason, "report it, with the model, as a bug of goodinit"
        cause = f"{why}, so that module types and shapes were used instead"
        yield Finding("GI113", "warning", "what only the data flow shows", cause, fix)
        return
    weights = [row for row in rows if row.layout is not None and row.kind in ("linear", "conv")]
    unclear = [row for row in weights if row.activation is None and row.ends_residual is None]
    shallow = [row for row in weights if row.ends_residual and row.depth is None]
    asked = any(
        isinstance(rule.scheme, (FirstLayer, ReluGain))
        or rule.where.aspects & {"residual", "activation"}
        for rule in recipe.rules
    )
    if asked and (len(unclear) > 1 or shallow):  # nothing follows a single layer
        where = "rules by residual ends, by the activation that follows, or by what takes the input"
        cause = "no inputs were given, so that these, and the depth, come from module types alone"
        fix = "pass inputs=, a batch like those that the model will get"
        yield Finding("GI113", "info", where, cause, fix)


def _never_won(recipe: Recipe, wins: dict[int, int]) -> Iterator[Finding]:
    for number, rule in enumerate(recipe.rules):
        if not rule.optional and wins.get(number) == 0:
            cause, fix = "later rules win wherever it matches", "move it after them, or remove it"
            yield Finding("GI114", "info", rule.text, cause, fix)


def _extra_keys(kept: KeptRows, rows: tuple[PlanRow, ...]) -> Iterator[Finding]:
    cause, fix = kept.misnamed
    if cause:
        yield Finding("GI115", "error", kept.extra[0], cause, fix)
    elif kept.extra:
        near = nearest(kept.extra[0], [row.name for row in rows])
        cause = f"{kept.source} has {count(len(kept.extra), 'key')} that the model doesn't have"
        fix = f"check their names.{near}" if near else "none if they belong to another part"
        yield Finding("GI115", "info", kept.extra[0], cause, fix)


def _left_alone(rows: tuple[PlanRow, ...]) -> Iterator[Finding]:
    """A parameter that no rule knows keeps its constructor's value, which may be garbage."""
    left = [row for row in rows if row.why.startswith(WHY_LEFT) and not row.buffer]
    odd = [row for row in left if row.dtype.is_complex]
    if odd:
        names = _first_of(odd)
        cause = "left unchanged: complex numbers that no rule of the recipe draws"
        line = named((row.name for row in odd), Normal(1.0))
        fix = offer("if they are weights, give them a rule", line)
        yield Finding("GI117", "info", names, cause, fix)
    bad = [row for row in left if not row.dtype.is_complex]
    if bad:
        names = _first_of(bad)
        cause = "left unchanged: goodinit has no rule for this kind of parameter"
        words = "if its constructor calls torch.empty, give it a rule"
        fix = offer(words, named((row.name for row in bad), Zeros()))
        yield Finding("GI117", "info", names, cause, fix)


def _authors_values(rows: tuple[PlanRow, ...]) -> Iterator[Finding]:
    """Values that classes gave on purpose, which library recipes don't redraw."""
    kept = [row for row in rows if row.kept and not row.buffer and row.why.startswith(KEEPS)]
    held = [row for row in kept if not row.unresolved]
    if held:
        names = _first_of(held)
        cause = keeps_authors_values([what_is_kept(row.kind, row.frozen) for row in held])
        scales = all(row.kind == "scale" for row in held)
        fix = offer(
            "none; to draw them again, name them in rules of your own",
            {SCALES: Rule(sel.kind("scale"), Neutral())} if scales else {},
        )
        yield Finding("GI119", "info", names, cause, fix)
    lost = [row for row in kept if row.unresolved]
    if lost:
        names = _first_of(lost)
        fix = (
            "build the model inside `with gi.skeleton():`, or name the value in a rule of your "
            "own, gi.Constant(value)"
        )
        yield Finding("GI119", "info", names, authors_values_are_lost(len(lost)), fix)


def _grown_apart(rows: tuple[PlanRow, ...], kept: KeptRows) -> Iterator[Finding]:
    """New rows whose scale isn't that of the checkpoint's."""
    for row in rows:
        old = kept.grown[row.name].std if row.name in kept.grown else None
        for block, _, new in row.moments() if old else ():
            if old and grew_on_another_scale(old, new):
                drawn = f"its {block} part is drawn with std {new:.3g}"
                cause = f"{drawn}; the checkpoint's values have {old:.3g}"
                scheme = Normal(float(f"{old:.3g}"))
                fix = offer("draw it with their std", named([row.name], scheme))
                yield Finding("GI118", "warning", row.name, cause, fix)
                break


def _frozen_are_drawn(
    rows: tuple[PlanRow, ...], slots: list[Slot], recipe: Recipe
) -> Iterator[Finding]:
    """Frozen parameters that hold values and are drawn: a trained backbone is lost that way."""
    drawn = [
        row
        for row, slot in zip(rows, slots, strict=True)
        if row.frozen and not row.buffer and not row.kept and not slot.tensor.is_meta
        if not isinstance(row.scheme, LowRank)  # the adapter has what is taken out
    ]
    if not drawn:
        return
    by_name = {rule.text for rule in recipe.rules if rule.where.aspects & {"name", "attr"}}
    asked = all(rule in by_name for row in drawn for rule in row.rule.split("\n"))
    whole = all(row.frozen for row in rows if not row.buffer)
    cause = f"{count(len(drawn), 'frozen parameter')} drawn again, which training won't change"
    fix = "gi.init_(..., keep=[n for n, p in model.named_parameters() if not p.requires_grad])"
    severity: Severity = "info" if asked or whole else "warning"
    names = _first_of(drawn)
    yield Finding("GI138", severity, names, cause, f"none if this is intended; otherwise {fix}")


def _one_prior_for_heads(rows: tuple[PlanRow, ...], recipe: Recipe) -> Iterator[Finding]:
    """One prior for the biases of several heads, none of which the rule names."""
    for rule in recipe.rules:
        aspects = rule.where.aspects
        if not isinstance(rule.scheme, PriorBias) or "head" not in aspects:
            continue
        heads = [row.name for row in rows if row.rule == rule.text]
        if len(heads) > 1 and not aspects & {"name", "attr"}:
            cause = f"{count(len(heads), 'head')} start at one prior, {rule.scheme!r}"
            glob = heads[0].rpartition(".")[0]
            fix = f"name the head that it is of: gi.sel.head_bias() & gi.sel.name('{glob}.*')"
            yield Finding("GI150", "warning", several(heads), cause, fix)


def _rounded_to_zero(rows: tuple[PlanRow, ...]) -> Iterator[Finding]:
    """Values that are drawn, and mostly 0 in a dtype as narrow as float8."""
    for row in rows if any(row.dtype in NARROW for row in rows) else ():
        drawn = [b for b in row.parts() if not isinstance(b.scheme, FromValues)]
        shares = [share_of_zeros(b.scheme, row.site(b), row.dtype) for b in drawn]
        lost = what_a_cast_lost(0, max(shares, default=0.0))
        if lost is not None:
            cause = f"drawn with std {row.std or 0:.3g} and cast to {row.dtype}: {lost[1]}"
            fix = "draw the model in float32 and quantize it with a scale per tensor afterwards"
            yield Finding("GI137", lost[0], row.name, cause, fix)
