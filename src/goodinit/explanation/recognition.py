"""Identify the law that values follow, and name it: with torch's name if it is one of torch's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from goodinit.anatomy.names import Slot
from goodinit.explanation.laws import fit, law_of, orthogonal_gain
from goodinit.explanation.outliers import without_outliers
from goodinit.explanation.reading import ParameterValues, Part
from goodinit.explanation.statistics import Sample, p_value
from goodinit.plans.defaults import torch_default
from goodinit.plans.rows import PlanRow
from goodinit.recipes.deferred import FANS_OF_TORCH
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
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    XavierNormal,
    XavierUniform,
    Zeros,
    fans,
)
from goodinit.streams import Law

TRAINED = "no known law: looks trained (or loaded)"
UNKNOWN = "no known law"
OWN = ", torch's default"
FANS = " by torch's fans"
AS_ONE = " as one matrix"

SHOWN = 3  # blocks that a cell names, and laws that it lists: about what fits a line
PRUNED = 0.01  # share of exact zeros: a continuous law draws practically none
SMALLEST_STD = 2.0**-60  # a smaller one is rounding error around a constant
UNIT_GAIN = 0.01  # a gain this close to 1 is printed as 1
CENTERED = 4.5  # standard errors of a mean: a centered law exceeds them once in 1.5e5
CUTS = (2.0, 3.0)  # in sigma: the truncations in use (goodinit, timm, flax and JAX cut at 2)
ERRORS = 3.0  # standard errors that a rounded number may be off

# Of nn.MultiheadAttention.
_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
_LAWS: tuple[tuple[str, Drawn], ...] = (
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
"""Laws that depend on fans, the likeliest first."""


@dataclass(frozen=True, slots=True)
class FoundLaw:
    """The law that a parameter's values follow.

    Attributes:
        text: its name.
        certain: whether there are enough values to distinguish a normal from a uniform law.
        known: whether the values follow any known law.
        scheme: the scheme that draws it, if the name is that of a scheme.
    """

    text: str
    certain: bool = True
    known: bool = True
    scheme: Scheme | None = None


def identify_law(
    parameter: ParameterValues,
    own: Scheme | None,
    planned: PlanRow | None,
    level: float,
    preferred: Scheme | None = None,
) -> FoundLaw:
    """Return the law that a parameter's values follow.

    ``own`` is PyTorch's default law for it, ``planned`` the row of the recipe that was found, and
    ``preferred`` the kind of scheme that is tried first, with any fans.
    """
    if preferred is None and planned is not None:
        preferred = next((block.scheme for block in planned.parts()), None)
    if parameter.whole is None:
        return FoundLaw(parameter.why_not or "holds no values", known=False)
    if parameter.constant:
        return FoundLaw(
            _four_digits(parameter.whole.sample.low), scheme=Constant(parameter.whole.sample.low)
        )
    laws = [_known_law(parameter, part, planned, own, level, preferred) for part in parameter.parts]
    found = [one for one in laws if one is not None]
    if len(found) == len(laws):
        return _joined(parameter, found)
    if len(parameter.parts) > 1:
        as_one = _known_law(parameter, parameter.whole, None, own, level, preferred)
        if as_one is not None:
            return replace(as_one, text=f"{as_one.text}{AS_ONE}")
        by_family = _by_family(parameter.whole, level)
        if by_family.known:
            return by_family
        pairs = zip(laws, parameter.parts, strict=True)
        return _joined(parameter, [one or _by_family(part, level) for one, part in pairs])
    by_family = _by_family(parameter.whole, level)
    if by_family.text == UNKNOWN and parameter.matrix:
        return replace(by_family, text=TRAINED)
    return by_family


def torch_fans(site: Site) -> Site | None:
    """Return a site with the fans that ``torch.nn.init`` computes from the shape."""
    if len(site.shape) < 2 or 0 in site.shape:
        return None
    fan_in, fan_out = fans.torch_fans(site.shape)
    return replace(site, fan_in=fan_in, fan_out=fan_out)


def _joined(parameter: ParameterValues, laws: list[FoundLaw]) -> FoundLaw:
    """Return the laws of several blocks as one; equal ones are grouped."""
    groups: dict[str, list[str]] = {}
    for part, one in zip(parameter.parts, laws, strict=True):
        groups.setdefault(one.text, []).append(part.block.name)
    shown = [
        f"{', '.join(names[:SHOWN])}{f', ... ({len(names)})' if len(names) > SHOWN else ''}: {text}"
        for text, names in groups.items()
    ]
    more = f"; and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    known = all(one.known for one in laws)
    certain = all(one.certain for one in laws)
    if len(groups) == 1:
        return FoundLaw(next(iter(groups)), certain, known, laws[0].scheme)
    return FoundLaw("; ".join(shown[:SHOWN]) + more, certain, known)


def _known_law(
    parameter: ParameterValues,
    part: Part,
    planned: PlanRow | None,
    own: Scheme | None,
    level: float,
    preferred: Scheme | None,
) -> FoundLaw | None:
    """Return the law of one block if it has a name, else None."""
    sample = part.sample
    if not sample.finite:
        return FoundLaw("NaN or infinite", known=False)
    if sample.constant:
        return FoundLaw(_four_digits(sample.low), scheme=Constant(sample.low))
    for scheme, text in ((Identity(), "the identity"), (Dirac(), "dirac_")):
        if parameter.matrix and sample.zeros > 0 and fit(part, scheme, level).holds:
            return FoundLaw(text, scheme=scheme)
    multiplies = parameter.matrix and parameter.row.facets.kind != "embedding"
    gain = orthogonal_gain(part) if multiplies else None
    if gain is not None:
        return FoundLaw(_formula(Orthogonal(gain)), scheme=Orthogonal(gain))
    if own is not None and fit(part, own, level).holds:
        return FoundLaw(
            _torch_name(parameter.slot, own) + OWN, _certain(part, own, level), scheme=own
        )
    if planned is not None and FANS_OF_TORCH not in planned.why:  # below it gets its name
        scheme = next((b.scheme for b in planned.parts() if b.box == part.block.box), None)
        if scheme is not None and fit(part, scheme, level).holds:
            text = scheme_name(scheme, part.site)
            return FoundLaw(text, _certain(part, scheme, level), scheme=scheme)
    if not multiplies:
        return None
    sites = [(part.site, "")]
    by_shape = torch_fans(part.site)
    if by_shape is not None and _fans(by_shape) != _fans(part.site):
        sites.append((by_shape, FANS))
    for text, how, site, scheme in _in_order(sites, preferred):
        at = replace(part, site=site)
        if fit(at, scheme, level).holds:
            return FoundLaw(text + how, _certain(at, scheme, level), scheme=scheme)
    return None


def _in_order(
    sites: list[tuple[Site, str]], preferred: Scheme | None
) -> list[tuple[str, str, Site, Drawn]]:
    """Return (name, whose fans, site, scheme), the preferred kind of scheme first."""
    every = [(text, how, site, scheme) for site, how in sites for text, scheme in _LAWS]
    return sorted(every, key=lambda one: _kind(one[3]) != _kind(preferred))


def _kind(scheme: Scheme | None) -> tuple[type, object]:
    return type(scheme), getattr(scheme, "mode", None)


def _fans(site: Site) -> tuple[float | None, float | None]:
    return site.fan_in, site.fan_out


def _certain(part: Part, scheme: Scheme, level: float) -> bool:
    law = law_of(part, scheme)
    return not isinstance(law, Law) or _is_distinguishable(part.sample, law, level)


def _is_distinguishable(sample: Sample, law: Law, level: float) -> bool:
    """Whether the other family, with the same moments, would have been rejected."""
    if law.kind == "uniform":
        other = Law.normal(sample.mean, sample.std)
    else:
        half = 3**0.5 * sample.std
        other = Law.uniform(sample.mean - half, sample.mean + half)
    return p_value(sample, other, level) < level


def _torch_name(slot: Slot, own: Scheme) -> str:
    name = type(slot.owner).__name__
    uniform = isinstance(own, Uniform)
    anew = own != torch_default(slot.owner, slot.attr)  # nn.Transformer redraws all matrices
    if anew or (uniform and slot.attr in _PROJECTIONS):
        return "xavier_uniform_" + AS_ONE * (slot.attr == "in_proj_weight")
    if not uniform:
        return _formula(own)
    if any(word in name for word in ("LSTM", "GRU", "RNN")):
        return "U(+-1/sqrt(hidden))"
    if slot.attr == "weight" and "Bilinear" not in name:
        return "kaiming_uniform_(a=sqrt(5))"
    return "U(+-1/sqrt(fan_in))"


def scheme_name(scheme: Scheme, site: Site) -> str:
    """Return the name of a scheme: torch's, if the fans of the site are torch's too.

    >>> scheme_name(HeNormal(), Site((30, 20), None, 20, 30)), scheme_name(Normal(0.02), Site((3,)))
    ('kaiming_normal_', 'N(0, 0.02^2)')
    """
    by_shape = torch_fans(site)
    agrees = by_shape is not None and _fans(by_shape) == _fans(site)
    name = next((text for text, known in _LAWS if known == scheme), "")
    if name and (agrees or not name.startswith(("xavier", "kaiming"))):
        return name
    return _formula(scheme)


def _formula(scheme: Scheme) -> str:
    match scheme:
        case Normal(std=std, mean=mean):
            return _normal_formula(f"{mean:g}", _four_digits(std))
        case Zeros() | Ones() | Constant():
            return _four_digits(scheme.moments(Site(()))[0])
        case Orthogonal(gain):
            return "orthogonal" if abs(gain - 1) < UNIT_GAIN else f"orthogonal, times {gain:.3g}"
        case Uniform(low, high) if low == -high:
            return f"U(+-{high:.3g})"
        case Uniform(low, high):
            return f"U({low:.3g}, {high:.3g})"
        case TruncatedNormal(std=std, mean=mean, cut=float(cut), corrected=False):
            return f"{_normal_formula(f'{mean:g}', _four_digits(std))} cut at {cut:g} sigma"
        case _:
            return repr(scheme).removesuffix("()")


def _normal_formula(mean: str, std: str) -> str:
    return f"N({mean}, 1)" if std == "1" else f"N({mean}, {std}^2)"


def _four_digits(value: float) -> str:
    return f"{value:.4g}"


# Laws without a name: a family with the measured numbers.


def _by_family(part: Part, level: float) -> FoundLaw:
    """Return the law of a part that ``_known_law`` doesn't know: finite, and not constant."""
    sample = part.sample
    if sample.zeros > PRUNED:
        return FoundLaw(f"{sample.zeros:.0%} zeros, no known law", known=False)
    for law, text in _families(sample):
        if p_value(sample, law, level) >= level:
            return FoundLaw(text, _is_distinguishable(sample, law, level))
    core = without_outliers(part, level)
    if core is not None:
        _, text = next(_families(core))  # a normal law
        return FoundLaw(f"{text}, but for {sample.size - core.size:,} outliers", known=False)
    return FoundLaw(UNKNOWN, known=False)


def _families(sample: Sample) -> Iterator[tuple[Law, str]]:
    """Yield laws with the sample's own moments or bounds."""
    std = sample.std
    if not std > SMALLEST_STD:
        return
    centered = abs(sample.mean) < CENTERED * std / math.sqrt(sample.n)
    mean = 0.0 if centered else sample.mean
    about = math.sqrt(sample.second - 2 * mean * sample.mean + mean**2)
    shown = _scale(about, about / math.sqrt(2 * sample.n))
    at = "0" if centered else shortest_number(mean, std / math.sqrt(sample.n))
    yield Law.normal(mean, about), _normal_formula(at, shown)
    reach = max(-sample.low, sample.high) * (1 + 1 / sample.size)
    if centered and reach > 0:
        yield Law.uniform(-reach, reach), f"U(+-{_scale(reach, 2 * reach / sample.size)})"
    elif sample.low < sample.high:
        more = (sample.high - sample.low) / sample.size
        low, high = shortest_number(sample.low, 2 * more), shortest_number(sample.high, 2 * more)
        yield Law.uniform(sample.low - more, sample.high + more), f"U({low}, {high})"
    for cut in CUTS:
        # The extremes estimate the scale better than the moments: all values lie within the cut,
        # and the outermost is expected 1/(size * density there) from it.
        density = 2 * math.exp(-(cut**2) / 2) / math.sqrt(2 * math.pi)
        wide = max(mean - sample.low, sample.high - mean) / cut
        wide *= 1 + 1 / (sample.size * density * cut)
        shown = _normal_formula(at, _scale(wide, about / math.sqrt(2 * sample.n)))
        yield Law.truncated(mean, wide, -cut, cut), f"{shown} cut at {cut:g} sigma"


def _scale(value: float, error: float) -> str:
    """Return a short number other than 0: the scale of a law is positive."""
    short = shortest_number(value, error)
    return f"{value:.1g}" if short == "0" else short


def shortest_number(value: float, error: float) -> str:
    """Return the shortest number within three standard errors; four digits if there is none.

    >>> shortest_number(0.020004, 0.00001), shortest_number(0.0213, 0.00001)
    ('0.02', '0.0213')
    """
    if abs(value) <= ERRORS * error:
        return "0"
    for digits in (1, 2, 3):
        short = f"{value:.{digits}g}"
        if abs(float(short) - value) <= ERRORS * error:
            return f"{float(short):g}"
    return f"{value:.4g}"
