"""Findings of scales that don't fit: GI107, GI111, GI112, GI125 to GI128, GI132 to GI134, GI142."""

from __future__ import annotations

import math
from collections.abc import Iterator

from goodinit.anatomy.heads import TABLES, multiplies
from goodinit.anatomy.saturation import saturated_by_law
from goodinit.anatomy.table_products import table_products
from goodinit.applying.lines import Line, globs, init_line, untried
from goodinit.errors import GoodinitError
from goodinit.explanation.chains import Chain, mean_square_after
from goodinit.explanation.context import Context, Verdict, verdict
from goodinit.explanation.reading import ParameterValues
from goodinit.explanation.recognition import AS_ONE, FANS
from goodinit.findings import Severity
from goodinit.findings.biases import (
    GATES,
    bias_dominates,
    bias_severity,
    forget_severity,
    forgets_half,
    kept_share,
)
from goodinit.findings.depth import chain_severity, gain_is_off, has_depth
from goodinit.findings.logits import (
    SMALLER_FACTORS,
    forecast_of_product,
    head_is_too_large,
)
from goodinit.findings.one_hot import SMALLER_SCORES
from goodinit.findings.scales import (
    around_zero,
    fans_are_torchs_alone,
    norm_lies_around_zero,
    values_are_off_center,
)
from goodinit.findings.units import UNSATURATED, forecast_of_saturation
from goodinit.plans.attention_forecast import one_hot_scores
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, sel
from goodinit.schemes import (
    Keep,
    LeCunNormal,
    Normal,
    Ones,
    Scheme,
    Uniform,
    VarianceScaling,
    XavierUniform,
    Zeros,
)

DEEP = "put norms or residual connections between the layers, or use fewer of them"
DCGAN_STD = 0.2  # a smaller one looks like DCGAN's N(1, .02), drawn around the wrong number
HEAVY_BIAS = 100  # times what is left of the input's own part: then the cause names the biases


def scale_findings(context: Context) -> Iterator[Verdict]:
    """Yield the findings of laws that don't fit the model."""
    yield from _norms_around_zero(context)
    yield from _tied_too_large(context)
    yield from _head_too_large(context)
    yield from _one_hot_attention(context)
    yield from _saturation(context)
    yield from _wide_products(context)
    flagged: set[str] = set()
    for chain in context.chains:
        for found in _over_depth(context, chain):
            flagged.update(found.names)
            yield found
    yield from _gains(context, flagged)
    yield from _off_center(context)
    yield from _forget_gates(context)
    yield from _biases(context)
    yield from _wrong_fans(context)


def _norms_around_zero(context: Context) -> Iterator[Verdict]:
    bad: list[ParameterValues] = []
    for one in context.parameters:
        f = one.row.facets
        if f.kind != "norm" or f.part == "bias" or one.whole is None or f.neutral == 0:
            continue
        sample = one.whole.sample
        if sample.finite and norm_lies_around_zero(sample.mean, sample.std):
            bad.append(one)
    if bad:
        sample = bad[0].sample
        like_dcgan = sample.std < DCGAN_STD
        scheme = Normal(float(f"{sample.std:.1g}"), mean=1.0) if like_dcgan else Ones()
        cause = around_zero(sample.mean, sample.std)
        remedy = context.redraw(bad, "draw it around 1", scheme)
        yield verdict("GI111", "warning", bad, cause, remedy)


def _tied_too_large(context: Context) -> Iterator[Verdict]:
    for one in context.parameters:
        if one.row.facets.kind != "embedding" or not multiplies(one.slot):
            continue
        if one.whole is None or not one.whole.sample.finite or not context.identified(one).known:
            continue
        std, width = one.whole.sample.std, one.row.shape[-1]
        factor = abs(context.heads.get(one.row.name, 1.0))
        if head_is_too_large(std * factor, width):
            unless = "" if context.inputs else ", unless the model scales what it multiplies"
            cause = (
                f"the table is tied with {_head(one)}, which multiplies by it: std {std:.3g} gives "
                f"the first logits a std of {std * factor * width**0.5:.3g}{unless}"
            )
            scheme = Normal(float(f"{width**-0.5:.3g}"))
            remedy = context.redraw([one], f"draw it with std {width**-0.5:.3g}", scheme)
            yield verdict("GI112", "warning", [one], cause, remedy)


def _head_too_large(context: Context) -> Iterator[Verdict]:
    for one in context.parameters:
        f = one.row.facets
        known = f.kind in ("linear", "conv") and not f.guessed and one.whole is not None
        if one.row.name not in context.outputs or not known:
            continue
        fan_in = one.parts[0].block.fan_in if one.parts else None
        if not fan_in or not one.sample.finite or not context.identified(one).known:
            continue
        std, factor = one.sample.std, abs(context.factors.get(one.row.name, 1.0))
        if head_is_too_large(std * factor, fan_in):
            cause = (
                f"std {std:.3g} of an output projection gives the first logits "
                f"a std of {std * factor * fan_in**0.5:.3g}"
            )
            remedy = context.redraw([one], f"draw it with std {fan_in**-0.5:.3g}", LeCunNormal())
            yield verdict("GI112", "warning", [one], cause, remedy)


def _one_hot_attention(context: Context) -> Iterator[Verdict]:
    by_name = context.by_name
    names, cause = one_hot_scores(
        context.scores, lambda name, part: _passed_on(by_name.get(name), part)
    )
    if names:
        rows = [by_name[name] for name in names]
        remedy = context.redraw(rows, SMALLER_SCORES, LeCunNormal())
        yield verdict("GI142", "warning", rows, cause, remedy)


def _saturation(context: Context) -> Iterator[Verdict]:
    found = saturated_by_law(context.anatomy, context.size_of)
    if found is not None:
        rows = [context.by_name[name] for name in found.names]
        cause = forecast_of_saturation(found.function, found.share, found.layers)
        remedy = context.redraw(rows, UNSATURATED, LeCunNormal())
        yield verdict("GI107", "warning", rows, cause, remedy)


def _wide_products(context: Context) -> Iterator[Verdict]:
    for product in table_products(context.anatomy):
        wide = product.too_wide(context.size_of)
        if wide is not None:
            rows = [context.by_name[name] for name in dict.fromkeys(product.names)]
            law = Normal(float(f"{wide.std_of_one:.3g}"))
            remedy = context.redraw(rows, SMALLER_FACTORS, law)
            yield verdict("GI112", "warning", rows, forecast_of_product(wide.std), remedy)


def _passed_on(one: ParameterValues | None, part: str) -> float:
    """Return the second moment that queries, or keys, have of a unit signal; 0 if unknown."""
    for block in one.parts if one is not None else ():
        if block.block.name in ("", part) and block.block.fan_in and block.sample.finite:
            return block.block.fan_in * block.sample.second
    return 0.0


def _head(parameter: ParameterValues) -> str:
    """Return the name under which a tied table is a projection."""
    names = [parameter.row.name, *parameter.row.tied]
    owners = [owner for owner, _ in parameter.slot.places]
    if len(names) != len(owners):
        return parameter.row.tied[0]
    pairs = zip(names, owners, strict=True)
    return next(name for name, owner in pairs if not isinstance(owner, TABLES))


# Over the depth.


def _known(context: Context, chain: Chain) -> bool:
    """Return whether its weights follow laws, so that their moments determine the signal."""
    return all(context.identified(one).known and not one.constant for one in chain.weights)


def _hidden(chain: Chain) -> Chain:
    """Return a chain without a head or a gate at its end, which may be small."""
    facets = chain.links[-1].weight.row.facets
    if facets.part not in ("head", "gate", "router") and facets.activation not in GATES:
        return chain
    return Chain(chain.links[:-1], chain.biases[:-1])


def _over_depth(context: Context, whole: Chain) -> Iterator[Verdict]:
    chain = _hidden(whole)
    if not has_depth(len(chain.links)) or not _known(context, chain):
        return
    steps = chain.propagate()
    if not steps:
        return
    _, q, p = steps[-1]
    lost, explodes = chain_severity(p), chain_severity(1 / q if q > 0 else math.inf)
    if not (lost or explodes):
        return
    weights = chain.weights
    count = len(steps)
    each = [factor for factor, _, _ in steps[1:]]
    typical = sorted(each)[len(each) // 2]
    relu = chain.links[1].activation
    wide = f"{count} layers without a norm or residual between ({relu or 'linear'})"
    if lost:
        code, severity = "GI125", lost
        heavy = q > HEAVY_BIAS * p
        left = ": only the biases remain, the same for every input" if heavy else ""
        cause = f"{wide}: each passes {typical:.2g} of the second moment, together {p:.1g}{left}"
    else:
        code, severity = "GI126", explodes or "info"
        cause = f"{wide}: each multiplies the second moment by {typical:.3g}, together {q:.1g}"
    yield verdict(code, severity, weights, cause, context.redraw(weights, DEEP))


def _gains(context: Context, flagged: set[str]) -> Iterator[Verdict]:
    """Weights whose gain doesn't fit the activation before them, in chains without a finding."""
    groups: dict[str, list[tuple[ParameterValues, float]]] = {}
    done: set[str] = set()
    for whole in context.chains:
        chain = _hidden(whole)
        if not chain.links or not _known(context, chain):
            continue
        for link in chain.links[1:]:
            one, name = link.weight, link.weight.row.name
            if name in flagged | done or one.row.facets.ends_residual or not link.activation:
                continue
            done.add(name)
            wanted = mean_square_after(link.activation, 1.0)
            gain = one.parts[0].gain
            if wanted and gain is not None and gain_is_off(gain**2 * wanted, link.activation):
                groups.setdefault(link.activation, []).append((one, gain))
    for activation, rows in groups.items():
        wanted = mean_square_after(activation, 1.0) or 1.0
        gains = sorted(gain for _, gain in rows)
        between = " to ".join(dict.fromkeys((f"{gains[0]:.2g}", f"{gains[-1]:.2g}")))
        after = activation.partition("(")[0]
        cause = f"gain {between} after {after}, which needs {wanted**-0.5:.3g}"
        weights = [one for one, _ in rows]
        remedy = context.redraw(weights, f"draw it with gain {wanted**-0.5:.3g}")
        exact = init_line(
            dict.fromkeys(
                globs([one.row.name for one in weights], context.names),
                VarianceScaling(1 / wanted, "fan_in", "normal"),
            ),
            inputs=context.inputs,
        )
        own, whole = remedy.lines[:1], remedy.lines[1:]
        yield verdict("GI127", "info", weights, cause, untried(remedy, [*own, exact, *whole]))


def _off_center(context: Context) -> Iterator[Verdict]:
    """``nn.init.uniform_(w)`` draws from 0 to 1: sums of n inputs grow with n, not its root."""
    bad: list[ParameterValues] = []
    for one in context.parameters:
        f = one.row.facets
        if f.kind not in ("linear", "conv", "recurrent") or not one.matrix or f.guessed:
            continue
        if one.whole is None or one.row.frozen or one.constant or not context.identified(one).known:
            continue
        sample = one.whole.sample
        if sample.finite and values_are_off_center(sample.mean, sample.std, sample.n):
            bad.append(one)
    if bad:
        sample = bad[0].sample
        cause = (
            f"its values lie around {sample.mean:.2g} instead of 0 (std {sample.std:.2g}): "
            f"inputs of one sign, such as those after a relu, add up instead of averaging out"
        )
        yield verdict("GI134", "warning", bad, cause, context.redraw(bad, "draw it around 0"))


# Biases.

_KEEP = "gi.Rule(gi.sel.all() | gi.sel.part('buffer'), gi.Keep())"
_FORGET = "gi.Rule(gi.sel.part('bias') & gi.sel.block('forget'), gi.Zeros())"
_REMEMBER = (
    "gi.Rule(gi.sel.part('bias') & gi.sel.block('forget') & gi.sel.attr('bias_ih*'), gi.Ones())"
)
_KEEP_RULE = Rule(sel.all() | sel.part("buffer"), Keep())
_FORGET_RULE = Rule(sel.part("bias") & sel.block("forget"), Zeros())
_REMEMBER_RULE = Rule(sel.part("bias") & sel.block("forget") & sel.attr("bias_ih*"), Ones())


def _remembering_lines(inputs: bool) -> list[Line]:
    """Return the lines that start one of a layer's two biases at 1 and the other at 0."""
    one, both = [_KEEP_RULE, _REMEMBER_RULE], [_KEEP_RULE, _FORGET_RULE, _REMEMBER_RULE]
    return [
        init_line(Recipe(one), f"gi.Recipe([{_KEEP}, {_REMEMBER}])", inputs=inputs),
        init_line(Recipe(both), f"gi.Recipe([{_KEEP}, {_FORGET}, {_REMEMBER}])", inputs=inputs),
    ]


def _forget_gates(context: Context) -> Iterator[Verdict]:
    by_owner: dict[int, list[tuple[ParameterValues, float]]] = {}
    for one in context.parameters:
        if one.row.facets.kind == "recurrent" and one.row.facets.part == "bias":
            forget = [part for part in one.parts if part.block.name == "forget"]
            if forget and forget[0].sample.finite and context.identified(one).known:
                by_owner.setdefault(id(one.slot.owner), []).append((one, forget[0].sample.mean))
    sums = [
        (biases[0][0], sum(mean for _, mean in biases) * 2 / len(biases))
        for biases in by_owner.values()
    ]
    low = [(one, total) for one, total in sums if forgets_half(total)]
    if low:
        least = min(total for _, total in low)
        forgotten = 1 - kept_share(least)
        cause = (
            f"the forget gates' biases add up to {least:.2g}: about {forgotten:.0%} of the cell is "
            f"forgotten at each step; 1 remembers (Jozefowicz et al. 2015)"
        )
        remedy = untried("start the forget gates' biases at 1", _remembering_lines(context.inputs))
        severity = forget_severity(least)
        yield verdict("GI128", severity, [one for one, _ in low], cause, remedy)


def _biases(context: Context) -> Iterator[Verdict]:
    found = list(_dominating(context))
    severe = [one for one, severity, _ in found if severity != "info"]
    for one, severity, cause in found:
        together = [one] if severity == "info" else severe
        remedy = context.redraw(together, "draw it smaller", Zeros())
        every = context.redraw([one for one, _, _ in found], "draw it smaller", Zeros())
        remedy = untried(remedy, [*remedy.lines, *every.lines[:1]])
        yield verdict("GI132", severity, [one], cause, remedy)


def _dominating(context: Context) -> Iterator[tuple[ParameterValues, Severity, str]]:
    """Yield biases that are large beside their weight, the severity and the cause."""
    weights = {id(one.slot.owner): one for one in context.parameters if one.matrix and one.parts}
    for one in context.parameters:
        weight = weights.get(id(one.slot.owner))
        f = one.row.facets
        if one.whole is None or weight is None or f.part != "bias":
            continue
        if f.kind not in ("linear", "conv") or not context.identified(one).known:
            continue
        part = weight.parts[0]
        bias = one.whole.sample.second
        signal = (part.site.fan_in or 0.0) * part.sample.second
        if not (signal > 0 and bias_dominates(bias, bias + signal)):
            continue
        if one.row.name in context.subtracted:
            continue
        sample = one.whole.sample
        severity = bias_severity(
            drawn=abs(sample.mean) < sample.std,
            activation=weight.row.facets.activation,
            head=weight.row.facets.part == "head",
        )
        severity = severity if context.identified(weight).known else "info"
        cause = (
            f"its second moment is {bias:.2g}, and that of its weight's output for a unit signal "
            f"{signal:.2g}: the layer's output is almost only its bias"
        )
        yield one, severity, cause


# Fans.


def _wrong_fans(context: Context) -> Iterator[Verdict]:
    """A law by the fans that a shape suggests, where the layer has others."""
    groups: dict[tuple[str, Scheme], list[ParameterValues]] = {}
    for one in context.parameters:
        meant = _meant(context, one)
        if meant is None:
            continue
        part = one.parts[0]
        wanted = meant.moments(part.site)[1]
        if fans_are_torchs_alone(part.sample.std, wanted):
            groups.setdefault((context.identified(one).text, meant), []).append(one)
    for (text, meant), rows in groups.items():
        part = rows[0].parts[0]
        fans = f"{part.site.fan_in:g} in, {part.site.fan_out:g} out"
        cause = (
            f"{text}: std {part.sample.std:.3g} ({rows[0].row.name}); its true fans ({fans}) "
            f"would make it {meant.moments(part.site)[1]:.3g}"
        )
        remedy = context.redraw(rows, "draw it by its true fans", meant)
        yield verdict("GI133", "info", rows, cause, remedy)


def _meant(context: Context, parameter: ParameterValues) -> Scheme | None:
    """Return the scheme that a law by torch's fans was meant to be, with the true ones."""
    if not parameter.parts or not parameter.matrix:
        return None
    identified = context.identified(parameter)
    site = parameter.parts[0].site
    if identified.scheme is None or site.fan_in is None or site.fan_out is None:
        return None
    if FANS not in identified.text and AS_ONE not in identified.text:
        return None
    own = isinstance(identified.scheme, Uniform)  # nn.MultiheadAttention's
    meant: Scheme = XavierUniform() if own else identified.scheme
    try:
        meant.moments(site)
    except GoodinitError:
        return None
    return meant
