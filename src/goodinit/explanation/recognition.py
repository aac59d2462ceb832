"""What values look like, in words: the name of a law, torch's spelling where it is torch's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from goodinit.anatomy.names import Slot
from goodinit.explanation.laws import fit, law_of, orthogonal_gain
from goodinit.explanation.outliers import trimmed
from goodinit.explanation.reading import Part, Seen
from goodinit.explanation.statistics import Sample, p_value
from goodinit.plans.defaults import torch_default
from goodinit.plans.rows import PlanRow
from goodinit.schemes import (
    Constant,
    Dirac,
    Drawn,
    HeNormal,
    HeUniform,
    Identity,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Ones,
    Orthogonal,
    Scheme,
    Site,
    Uniform,
    VarianceScaling,
    XavierNormal,
    XavierUniform,
    Zeros,
)
from goodinit.streams import Law

__all__ = ["AS_ONE", "FANS", "TRAINED", "Look", "look", "nice", "spelled", "torch_fans"]

TRAINED = "no known law: looks trained (or loaded)"
UNKNOWN = "no known law"
OWN = ", torch's default"
FANS = " by torch's fans"
AS_ONE = " as one matrix"

_NAMED: tuple[tuple[str, Drawn], ...] = (
    ("xavier_uniform_", XavierUniform()),
    ("xavier_normal_", XavierNormal()),
    ("kaiming_normal_", HeNormal()),
    ("kaiming_uniform_", HeUniform()),
    ("kaiming_uniform_(a=sqrt(5))", HeUniform("leaky_relu", a=5**0.5)),
    ("kaiming_normal_(mode=fan_out)", HeNormal(mode="fan_out")),
    ("kaiming_uniform_(mode=fan_out)", HeUniform(mode="fan_out")),
    ("N(0, 1/fan_in), LeCun's", LeCunNormal()),
    ("U(+-sqrt(3/fan_in)), LeCun's", LeCunUniform()),
    ("flax's lecun_normal", VarianceScaling(1.0, "fan_in", "truncated")),
    ("flax's he_normal", VarianceScaling(2.0, "fan_in", "truncated")),
    ("xavier_uniform_(sqrt(2))", XavierUniform(2**0.5)),
    ("xavier_normal_(sqrt(2))", XavierNormal(2**0.5)),
    ("xavier_uniform_(5/3)", XavierUniform(5 / 3)),
    ("xavier_normal_(5/3)", XavierNormal(5 / 3)),
)
"""Laws that go by fans, in the order in which they are thought of."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a parameter looks like.

    Attributes:
        text: in words.
        certain: whether there are enough values to tell a normal from a uniform law.
        known: whether it has a law at all.
        scheme: the scheme that draws it, where the name is a scheme's.
    """

    text: str
    certain: bool = True
    known: bool = True
    scheme: Scheme | None = None


def look(
    seen: Seen,
    own: Scheme | None,
    planned: PlanRow | None,
    level: float,
    meant: Scheme | None = None,
) -> Look:
    """Return what a parameter looks like.

    Args:
        seen: its values.
        own: PyTorch's own law for it, if there is one.
        planned: what the recipe that was found plans here.
        level: of each test.
        meant: the scheme that is thought of first, with whatever fans.
    """
    if meant is None and planned is not None:
        meant = next((block.scheme for block in planned.parts()), None)
    if seen.whole is None:
        return Look(seen.why_not or "holds no values", known=False)
    if seen.constant:
        return Look(_number(seen.whole.sample.low), scheme=Constant(seen.whole.sample.low))
    named = [_named(seen, part, planned, own, level, meant) for part in seen.parts]
    found = [one for one in named if one is not None]
    if len(found) == len(named):
        return _several(seen, found)
    if len(seen.parts) > 1:
        as_one = _named(seen, seen.whole, None, own, level, meant)
        if as_one is not None:
            return replace(as_one, text=f"{as_one.text}{AS_ONE}")
        generic = _generic(seen.whole, level)
        if generic.known:
            return generic
        pairs = zip(named, seen.parts, strict=True)
        return _several(seen, [one or _generic(part, level) for one, part in pairs])
    generic = _generic(seen.whole, level)
    if generic.text == UNKNOWN and seen.matrix:
        return replace(generic, text=TRAINED)
    return generic


def torch_fans(site: Site) -> Site | None:
    """Return a site with the fans that ``torch.nn.init`` reads off the shape."""
    if len(site.shape) < 2 or 0 in site.shape:
        return None
    window = math.prod(site.shape[2:])
    return replace(site, fan_in=site.shape[1] * window, fan_out=site.shape[0] * window)


def _several(seen: Seen, looks: list[Look]) -> Look:
    """Return the looks of several blocks as one text, alike ones together."""
    groups: dict[str, list[str]] = {}
    for part, one in zip(seen.parts, looks, strict=True):
        groups.setdefault(one.text, []).append(part.block.name)
    shown = [
        f"{', '.join(names[:3])}{f', ... ({len(names)})' if len(names) > 3 else ''}: {text}"
        for text, names in groups.items()
    ]
    more = f"; and {len(shown) - 3} more" if len(shown) > 3 else ""
    known = all(one.known for one in looks)
    certain = all(one.certain for one in looks)
    if len(groups) == 1:
        return Look(next(iter(groups)), certain, known, looks[0].scheme)
    return Look("; ".join(shown[:3]) + more, certain, known)


def _named(
    seen: Seen,
    part: Part,
    planned: PlanRow | None,
    own: Scheme | None,
    level: float,
    meant: Scheme | None,
) -> Look | None:
    """Return the law of one block if it has a name."""
    sample = part.sample
    if not sample.finite:
        return Look("NaN or infinite", known=False)
    if sample.constant:
        return Look(_number(sample.low), scheme=Constant(sample.low))
    for scheme, text in ((Identity(), "the identity"), (Dirac(), "dirac_")):
        if seen.matrix and sample.zeros > 0 and fit(part, scheme, level).holds:
            return Look(text, scheme=scheme)
    gain = orthogonal_gain(part) if seen.matrix and seen.row.facets.kind != "embedding" else None
    if gain is not None:
        return Look(_scheme(Orthogonal(gain)), scheme=Orthogonal(gain))
    if own is not None and fit(part, own, level).holds:
        return Look(_torchs_own(seen.slot, own) + OWN, _certain(part, own, level), scheme=own)
    if planned is not None:
        scheme = next((b.scheme for b in planned.parts() if b.box == part.block.box), None)
        if scheme is not None and fit(part, scheme, level).holds:
            text = spelled(scheme, part.site)
            return Look(text, _certain(part, scheme, level), scheme=scheme)
    if not seen.matrix or seen.row.facets.kind == "embedding":
        return None
    sites = [(part.site, "")]
    by_shape = torch_fans(part.site)
    if by_shape is not None and _fans(by_shape) != _fans(part.site):
        sites.append((by_shape, FANS))
    for text, how, site, scheme in _in_order(sites, meant):
        at = replace(part, site=site)
        if fit(at, scheme, level).holds:
            return Look(text + how, _certain(at, scheme, level), scheme=scheme)
    return None


def _in_order(
    sites: list[tuple[Site, str]], meant: Scheme | None
) -> Iterator[tuple[str, str, Site, Drawn]]:
    """Yield (name, whose fans, site, scheme): first the scheme that is thought of."""

    def is_meant(scheme: Drawn) -> bool:
        mode = getattr(meant, "mode", None)
        return type(scheme) is type(meant) and getattr(scheme, "mode", None) == mode

    every = [(text, how, site, scheme) for site, how in sites for text, scheme in _NAMED]
    yield from sorted(every, key=lambda one: not is_meant(one[3]))


def _fans(site: Site) -> tuple[float | None, float | None]:
    return site.fan_in, site.fan_out


def _certain(part: Part, scheme: Scheme, level: float) -> bool:
    law = law_of(part, scheme)
    return not isinstance(law, Law) or _told_apart(part.sample, law, level)


def _told_apart(sample: Sample, law: Law, level: float) -> bool:
    """Whether another law with the same moments would have been noticed."""
    if law.kind == "uniform":
        other = Law.normal(sample.mean, sample.std)
    else:
        half = 3**0.5 * sample.std
        other = Law.uniform(sample.mean - half, sample.mean + half)
    return p_value(sample, other, level) < level


def _torchs_own(slot: Slot, own: Scheme) -> str:
    name = type(slot.owner).__name__
    if own != torch_default(slot.owner, slot.attr):  # nn.Transformer draws all matrices anew
        return "xavier_uniform_" + AS_ONE * (slot.attr == "in_proj_weight")
    match own:
        case Normal():
            return _scheme(own)
        case Uniform() if slot.attr in ("in_proj_weight", "q_proj_weight", "k_proj_weight") or (
            slot.attr == "v_proj_weight"
        ):
            return "xavier_uniform_" + AS_ONE * (slot.attr == "in_proj_weight")
        case Uniform() if any(word in name for word in ("LSTM", "GRU", "RNN")):
            return "U(+-1/sqrt(hidden))"
        case Uniform() if slot.attr == "weight" and "Bilinear" not in name:
            return "kaiming_uniform_(a=sqrt(5))"
        case Uniform():
            return "U(+-1/sqrt(fan_in))"
        case _:
            return _scheme(own)


def spelled(scheme: Scheme, site: Site) -> str:
    """Return the name of a scheme, torch's where the fans of the site are torch's too.

    >>> spelled(HeNormal(), Site((30, 20), None, 20, 30)), spelled(Normal(0.02), Site((3,)))
    ('kaiming_normal_', 'N(0, 0.02^2)')
    """
    by_shape = torch_fans(site)
    agrees = by_shape is not None and _fans(by_shape) == _fans(site)
    name = next((text for text, known in _NAMED if known == scheme), "")
    if name and (agrees or not name.startswith(("xavier", "kaiming"))):
        return name
    return _scheme(scheme)


def _scheme(scheme: Scheme) -> str:
    match scheme:
        case Normal(std, mean):
            return normal(f"{mean:g}", _number(std))
        case Zeros() | Ones() | Constant():
            return _number(scheme.moments(Site(()))[0])
        case Orthogonal(gain):
            return "orthogonal" if abs(gain - 1) < 1e-2 else f"orthogonal, times {gain:.3g}"
        case Uniform(low, high) if low == -high:
            return f"U(+-{high:.3g})"
        case Uniform(low, high):
            return f"U({low:.3g}, {high:.3g})"
        case _:
            return repr(scheme).removesuffix("()")


def normal(mean: str, std: str) -> str:
    return f"N({mean}, 1)" if std == "1" else f"N({mean}, {std}^2)"


def _number(value: float) -> str:
    return f"{value:.4g}"


# Laws without a name: the family, with what was measured.


def _generic(part: Part, level: float) -> Look:
    sample = part.sample
    if not sample.finite:
        return Look("NaN or infinite", known=False)
    if sample.constant:
        return Look(_number(sample.low))
    if sample.zeros > 0.01:
        return Look(f"{sample.zeros:.0%} zeros, no known law", known=False)
    for law, text in _families(sample):
        if p_value(sample, law, level) >= level:
            return Look(text, _told_apart(sample, law, level))
    core = trimmed(part, level)
    if core is not None:
        _, text = next(_families(core))  # a normal law
        return Look(f"{text}, but for {sample.size - core.size:,} outliers", known=False)
    return Look(UNKNOWN, known=False)


def _families(sample: Sample) -> Iterator[tuple[Law, str]]:
    """Yield laws with the sample's own moments or bounds."""
    std = sample.std
    if not std > 2.0**-60:
        return
    centred = abs(sample.mean) < 4.5 * std / math.sqrt(sample.n)
    mean = 0.0 if centred else sample.mean
    about = math.sqrt(sample.second - 2 * mean * sample.mean + mean**2)
    shown = _scale(about, about / math.sqrt(2 * sample.n))
    at = "0" if centred else nice(mean, std / math.sqrt(sample.n))
    yield Law.normal(mean, about), normal(at, shown)
    reach = max(-sample.low, sample.high) * (1 + 1 / sample.size)
    if centred and reach > 0:
        yield Law.uniform(-reach, reach), f"U(+-{_scale(reach, 2 * reach / sample.size)})"
    elif sample.low < sample.high:
        more = (sample.high - sample.low) / sample.size
        low, high = nice(sample.low, 2 * more), nice(sample.high, 2 * more)
        yield Law.uniform(sample.low - more, sample.high + more), f"U({low}, {high})"
    for cut in (2.0, 3.0):
        # The bounds say more of the scale than the moments do: all lie within, the last one close.
        density = 2 * math.exp(-(cut**2) / 2) / math.sqrt(2 * math.pi)
        wide = max(mean - sample.low, sample.high - mean) / cut
        wide *= 1 + 1 / (sample.size * density * cut)
        shown = normal(at, _scale(wide, about / math.sqrt(2 * sample.n)))
        yield Law.truncated(mean, wide, -cut, cut), f"{shown} cut at {cut:g} sigma"


def _scale(value: float, error: float) -> str:
    """Return a short number that isn't 0, for a scale of few values is no constant."""
    short = nice(value, error)
    return f"{value:.1g}" if short == "0" else short


def nice(value: float, error: float) -> str:
    """Return the shortest number within three standard errors; four digits where none is.

    >>> nice(0.020004, 0.00001), nice(0.0213, 0.00001)
    ('0.02', '0.0213')
    """
    if abs(value) <= 3 * error:
        return "0"
    for digits in (1, 2, 3):
        short = f"{value:.{digits}g}"
        if abs(float(short) - value) <= 3 * error:
            return f"{float(short):g}"
    return f"{value:.4g}"
