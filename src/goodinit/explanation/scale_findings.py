"""Findings of scales that don't fit: GI111, GI112, GI125 to GI128, GI132 to GI134."""

from __future__ import annotations

import math
from collections.abc import Iterator

from goodinit.anatomy.heads import TABLES, multiplies
from goodinit.errors import GoodinitError
from goodinit.explanation.chains import Chain, squared
from goodinit.explanation.context import Case, Verdict, verdict
from goodinit.explanation.reading import Part, Seen
from goodinit.explanation.recognition import AS_ONE, FANS
from goodinit.findings.biases import GATES, bias_dominates, bias_severity, forgets_half
from goodinit.findings.depth import chain_severity, gain_is_off, has_depth
from goodinit.findings.logits import tied_table_is_too_large
from goodinit.findings.norms import around_zero, norm_lies_around_zero
from goodinit.findings.scales import fans_are_torchs_alone, values_are_off_center
from goodinit.schemes import Normal, Ones, Scheme, Uniform, XavierUniform, Zeros

__all__ = ["scales"]

DCGAN_STD = 0.2  # a smaller one looks like DCGAN's N(1, .02), drawn around the wrong number
HEAVY_BIAS = 100  # times what is left of the input's own part: then the cause names the biases


def scales(case: Case) -> Iterator[Verdict]:
    """Yield the findings of laws that are meant, and don't fit."""
    yield from _norms_around_zero(case)
    yield from _tied_too_large(case)
    flagged: set[str] = set()
    for chain in case.chains:
        for found in _over_depth(case, chain):
            flagged.update(found.names)
            yield found
    yield from _gains(case, flagged)
    yield from _off_center(case)
    yield from _forget_gates(case)
    yield from _biases(case)
    yield from _wrong_fans(case)


def _norms_around_zero(case: Case) -> Iterator[Verdict]:
    bad: list[Seen] = []
    for one in case.seen:
        f = one.row.facets
        if f.kind != "norm" or f.part == "bias" or one.whole is None or f.neutral == 0:
            continue
        sample = one.whole.sample
        if sample.finite and norm_lies_around_zero(sample.mean, sample.std):
            bad.append(one)
    if bad:
        assert bad[0].whole is not None
        sample = bad[0].whole.sample
        like_dcgan = sample.std < DCGAN_STD
        yield verdict(
            "GI111",
            "warning",
            bad,
            around_zero(sample.mean, sample.std),
            case.redraw(bad, Normal(float(f"{sample.std:.1g}"), 1.0) if like_dcgan else Ones()),
        )


def _tied_too_large(case: Case) -> Iterator[Verdict]:
    for one in case.seen:
        if one.row.facets.kind != "embedding" or not multiplies(one.slot):
            continue
        if one.whole is None or not one.whole.sample.finite or not case.look(one).known:
            continue
        std, width = one.whole.sample.std, one.row.shape[-1]
        factor = abs(case.heads.get(one.row.name, 1.0))
        if tied_table_is_too_large(std * factor, width):
            unless = "" if case.inputs else ", unless the model scales what it multiplies"
            yield verdict(
                "GI112",
                "warning",
                [one],
                f"it is tied with {_head(one)}, which multiplies by it: std {std:.3g} makes "
                f"the first logits {std * factor * width**0.5:.3g} wide{unless}",
                case.redraw([one], Normal(float(f"{width**-0.5:.3g}"))),
            )


def _head(seen: Seen) -> str:
    """Return the name under which a tied table multiplies."""
    names = [seen.row.name, *seen.row.tied]
    owners = [owner for owner, _ in seen.slot.places]
    if len(names) != len(owners):
        return seen.row.tied[0]
    pairs = zip(names, owners, strict=True)
    return next(name for name, owner in pairs if not isinstance(owner, TABLES))


# Over the depth.


def _known(case: Case, chain: Chain) -> bool:
    """Whether its weights are drawn, so that arithmetic on their moments is worth something."""
    return all(case.look(one).known and not one.constant for one in chain.weights)


def _hidden(chain: Chain) -> Chain:
    """Return a chain without a head or a gate at its end: those may be as small as they like."""
    facets = chain.links[-1].seen.row.facets
    if facets.part not in ("head", "gate", "router") and facets.activation not in GATES:
        return chain
    return Chain(chain.links[:-1], chain.biases[:-1])


def _over_depth(case: Case, whole: Chain) -> Iterator[Verdict]:
    chain = _hidden(whole)
    if not has_depth(len(chain.links)) or not _known(case, chain):
        return
    steps = chain.passed()
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
        left = ": what is left is the biases, the same for every input" if heavy else ""
        cause = f"{wide}: each passes {typical:.2g} of the second moment, together {p:.1g}{left}"
    else:
        code, severity = "GI126", explodes or "info"
        cause = f"{wide}: each multiplies the second moment by {typical:.3g}, together {q:.1g}"
    yield verdict(code, severity, weights, cause, case.redraw(weights))


def _gains(case: Case, flagged: set[str]) -> Iterator[Verdict]:
    """A weight whose factor doesn't fit the activation before it, in a chain that isn't deep."""
    groups: dict[str, list[tuple[Seen, float]]] = {}
    done: set[str] = set()
    for whole in case.chains:
        chain = _hidden(whole)
        if not chain.links or not _known(case, chain):
            continue
        for link in chain.links[1:]:
            one, name = link.seen, link.seen.row.name
            if name in flagged | done or one.row.facets.ends_residual or not link.activation:
                continue
            done.add(name)
            wanted = squared(link.activation, 1.0)
            gain = one.parts[0].gain
            if wanted and gain is not None and gain_is_off(gain**2 * wanted, link.activation):
                groups.setdefault(link.activation, []).append((one, gain))
    for activation, rows in groups.items():
        wanted = squared(activation, 1.0) or 1.0
        gains = sorted(gain for _, gain in rows)
        ends = dict.fromkeys((f"{gains[0]:.2g}", f"{gains[-1]:.2g}"))
        between = " to ".join(ends)
        after = activation.partition("(")[0]
        cause = f"gain {between} behind {after}, which wants {wanted**-0.5:.3g}"
        weights = [one for one, _ in rows]
        yield verdict("GI127", "info", weights, cause, case.redraw(weights))


def _off_center(case: Case) -> Iterator[Verdict]:
    """``nn.init.uniform_(w)`` draws from 0 to 1: sums of n inputs grow with n, not its root."""
    bad: list[Seen] = []
    for one in case.seen:
        f = one.row.facets
        if f.kind not in ("linear", "conv", "recurrent") or not one.matrix or f.guessed:
            continue
        if one.whole is None or one.row.frozen or one.constant or not case.look(one).known:
            continue
        sample = one.whole.sample
        if sample.finite and values_are_off_center(sample.mean, sample.std, sample.n):
            bad.append(one)
    if bad:
        assert bad[0].whole is not None
        sample = bad[0].whole.sample
        yield verdict(
            "GI134",
            "warning",
            bad,
            f"its values lie around {sample.mean:.2g} instead of 0 (std {sample.std:.2g}): "
            f"inputs of one sign, such as those behind a relu, add up instead of averaging out",
            case.redraw(bad),
        )


# Biases.

_FORGET = (
    "gi.Recipe([gi.Rule(gi.sel.all() | gi.sel.part('buffer'), gi.Keep()), "
    "gi.Rule(gi.sel.part('bias') & gi.sel.block('forget') & gi.sel.attr('bias_ih*'), gi.Ones())])"
)


def _forget_gates(case: Case) -> Iterator[Verdict]:
    by_owner: dict[int, list[tuple[Seen, float]]] = {}
    for one in case.seen:
        if one.row.facets.kind == "recurrent" and one.row.facets.part == "bias":
            forget = [part for part in one.parts if part.block.name == "forget"]
            if forget and forget[0].sample.finite and case.look(one).known:
                by_owner.setdefault(id(one.slot.owner), []).append((one, forget[0].sample.mean))
    sums = [
        (biases[0][0], sum(mean for _, mean in biases) * 2 / len(biases))
        for biases in by_owner.values()
    ]
    low = [(one, total) for one, total in sums if forgets_half(total)]
    if low:
        yield verdict(
            "GI128",
            "info",
            [one for one, _ in low],
            f"the forget gates' biases add up to {low[0][1]:.2g}: about half of the cell is "
            f"forgotten at each step; 1 remembers (Jozefowicz et al. 2015)",
            case.init(_FORGET),
        )


def _biases(case: Case) -> Iterator[Verdict]:
    weights = {id(one.slot.owner): one for one in case.seen if one.matrix and one.parts}
    for one in case.seen:
        weight = weights.get(id(one.slot.owner))
        f = one.row.facets
        if one.whole is None or weight is None or f.part != "bias":
            continue
        if f.kind not in ("linear", "conv") or not case.look(one).known:
            continue
        part = weight.parts[0]
        bias = one.whole.sample.second
        signal = (part.site.fan_in or 0.0) * part.sample.second
        if not (signal > 0 and bias_dominates(bias, bias + signal)):
            continue
        sample = one.whole.sample
        severity = bias_severity(
            drawn=abs(sample.mean) < sample.std,
            activation=weight.row.facets.activation,
            head=weight.row.facets.part == "head",
        )
        yield verdict(
            "GI132",
            severity if case.look(weight).known else "info",
            [one],
            f"its second moment is {bias:.2g}, and what its weight makes of a unit signal "
            f"{signal:.2g}: the layer starts by adding its bias and little else",
            case.redraw([one], Zeros()),
        )


# Fans.


def _wrong_fans(case: Case) -> Iterator[Verdict]:
    """A law by the fans that a shape suggests, where the layer has others."""
    groups: dict[tuple[str, Scheme], list[Seen]] = {}
    for one in case.seen:
        meant = _meant(case, one)
        if meant is None:
            continue
        part = one.parts[0]
        wanted = meant.moments(part.site)[1]
        if fans_are_torchs_alone(part.sample.std, wanted):
            groups.setdefault((case.look(one).text, meant), []).append(one)
    for (text, meant), rows in groups.items():
        part = rows[0].parts[0]
        fans = f"{part.site.fan_in:g} in, {part.site.fan_out:g} out"
        cause = (
            f"{text}: std {part.sample.std:.3g} ({rows[0].row.name}); its true fans ({fans}) "
            f"would make it {meant.moments(part.site)[1]:.3g}"
        )
        yield verdict("GI133", "info", rows, cause, case.redraw(rows, meant))


def _meant(case: Case, seen: Seen) -> Scheme | None:
    """Return the scheme that a law by torch's fans was meant to be, with the true ones."""
    if not seen.parts or not seen.matrix:
        return None
    look = case.look(seen)
    if look.scheme is None or not _has_fans(seen.parts[0]):
        return None
    if FANS in look.text or AS_ONE in look.text:
        own = isinstance(look.scheme, Uniform)  # nn.MultiheadAttention's
        meant: Scheme = XavierUniform() if own else look.scheme
        return meant if _fits(meant, seen.parts[0]) else None
    return None


def _has_fans(part: Part) -> bool:
    return part.site.fan_in is not None and part.site.fan_out is not None


def _fits(scheme: Scheme, part: Part) -> bool:
    try:
        scheme.moments(part.site)
    except GoodinitError:
        return False
    return True
