"""Could these numbers have been drawn from that law: all of the statistics.

A tensor is read once, in bounded memory: least and greatest value over all of its elements,
moments over at most ``MOMENTS`` and the distribution over at most ``SORTED`` of them, taken at
even steps. Six tests ask in six ways; ``p_value`` is the least of their p-values times six:

- the mean, against its standard error std/sqrt(n);
- the second moment about the law's mean, against sqrt((kurtosis - 1)/n): as a chi-square of
  2n/(kurtosis - 1) degrees of freedom (exact for a normal law), by Wilson & Hilferty's cube root;
- the distribution function, by Kolmogorov & Smirnov with Stephens' correction for small n: tells
  uniform from normal from what was trained;
- the least and the greatest of all elements: P(max < t) = F(t)^N, P(max > t) <= N (1 - F(t)). It
  sees a cut, and an outlier;
- the mean squares of single rows, and of single columns, against one another: sum over k of them,
  (ratio - 1)^2 m/(kurtosis - 1), is a chi-square of k - 1 degrees of freedom, with m values each
  (of a normal law with the fourth moment of those mean squares). It sees what training leaves.

What rounding to half precision does to a moment or a distribution is allowed for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor

from goodinit.schemes import truncated_moments
from goodinit.streams import Law

__all__ = ["LEVEL", "Sample", "law_moments", "likelihood", "p_value", "take"]

LEVEL = 1e-3
"""Probability that a model drawn as a recipe says is said not to be, over all of its tests."""

MOMENTS = 2**17
SORTED = 2**14
CHUNK = 2**24  # elements whose extremes are looked for at once
TESTS = 6
GRID = 256  # rows and columns whose mean squares are compared
LONG = 32  # values that a mean square is of, at least


@dataclass(frozen=True, slots=True)
class Sample:
    """What was read of a tensor or block.

    Attributes:
        size: how many elements it has, rows that stay zero left out.
        low: the least of all of them; NaN if one is.
        high: the greatest.
        n: how many the moments are of.
        mean: their mean.
        second: their mean square.
        values: some of them in order, float64.
        zeros: the share of exact zeros among those of the moments.
        tiny: the share below 1e-30 and not 0.
        eps: relative spacing of the dtype's numbers.
        quantum: absolute spacing around 0.
        spreads: for rows and for columns, if there are enough: (how many, values in each, sum of
            squares of their relative mean squares less 1).
    """

    size: int
    low: float
    high: float
    n: int
    mean: float
    second: float
    values: Tensor
    zeros: float
    tiny: float
    eps: float
    quantum: float
    spreads: tuple[tuple[int, int, float], ...] = ()

    @property
    def std(self) -> float:
        """Standard deviation."""
        return math.sqrt(max(self.second - self.mean**2, 0.0)) if self.low < self.high else 0.0

    @property
    def finite(self) -> bool:
        """Whether all elements are."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def constant(self) -> bool:
        """Whether all elements are the same number."""
        return self.low == self.high

    @property
    def kurtosis(self) -> float:
        """E (x - mean)^4 / std^4: 3 for a normal law, 1.8 for a uniform one."""
        away = (self.values - self.mean) / (self.std or 1.0)
        return away.pow(4).mean().item()


@torch.no_grad()
def take(tensor: Tensor, zero_rows: tuple[int, ...] = (), share: int = 1) -> Sample:
    """Read a tensor or a block of one, which isn't changed.

    Args:
        tensor: real and floating, of any strides, on any device.
        zero_rows: rows along the first axis that are left out.
        share: of how many blocks of one parameter it is: each is read in fewer places.
    """
    extremes = [_extremes(piece) for piece in _pieces(tensor, zero_rows)]
    low = min((a for a, _ in extremes), default=0.0, key=_nan_first)
    high = max((b for _, b in extremes), default=0.0, key=_nan_last)
    if any(math.isnan(a) for a, _ in extremes):
        low = high = math.nan
    some = _spread(tensor, zero_rows, max(MOMENTS // share, 4096))
    finfo = torch.finfo(tensor.dtype)
    n = some.numel()
    size = tensor.numel() - len(zero_rows) * (tensor[:1].numel() if zero_rows else 0)
    sorted_some = some[:: max(-(-n // SORTED), 1)].sort().values
    around = some.abs()
    return Sample(
        size=size,
        low=low,
        high=high,
        n=n,
        mean=some.mean().item() if n else 0.0,
        second=some.square().mean().item() if n else 0.0,
        values=sorted_some,
        zeros=(some == 0).double().mean().item() if n else 0.0,
        tiny=((around > 0) & (around < 1e-30)).double().mean().item() if n else 0.0,
        eps=finfo.eps,
        quantum=finfo.smallest_normal * finfo.eps,
        spreads=_spreads(tensor, zero_rows),
    )


def _nan_first(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _pieces(tensor: Tensor, zero_rows: tuple[int, ...]) -> Iterator[Tensor]:
    """Yield parts that are small enough to be looked at whole, without the zero rows."""
    if not tensor.numel():
        return
    if not tensor.dim():
        yield tensor
        return
    cuts = [-1, *sorted(zero_rows), len(tensor)]
    rows = max(CHUNK * len(tensor) // tensor.numel(), 1)
    for before, stop in pairwise(cuts):
        if before + 1 < stop:
            yield from tensor[before + 1 : stop].split(rows)


def _extremes(piece: Tensor) -> tuple[float, float]:
    if piece.dtype.itemsize == 1:  # float8 has no comparison of its own
        piece = piece.float()
    low, high = piece.aminmax()
    return low.item(), high.item()


def _spread(tensor: Tensor, zero_rows: tuple[int, ...], most: int) -> Tensor:
    """Return at most so many elements at even steps, float64, on the CPU.

    The step shares no divisor with the size, so that no axis is met at a few places only.
    """
    size = tensor.numel()
    if not size:
        return torch.empty(0, dtype=torch.float64)
    if size <= most and not zero_rows:
        return tensor.detach().reshape(-1).double().cpu()
    step = max(-(-size // most), 1)
    while step > 1 and math.gcd(step, size) != 1:
        step += 1
    flat = torch.arange(0, size, step, device=tensor.device)
    index = torch.unravel_index(flat, tensor.shape)
    some = tensor.detach()[index].double().cpu()
    if zero_rows:
        first = index[0].cpu()
        some = some[~torch.isin(first, torch.tensor(zero_rows))]
    return some


def _spreads(tensor: Tensor, zero_rows: tuple[int, ...]) -> tuple[tuple[int, int, float], ...]:
    if tensor.dim() < 2 or not tensor.numel():
        return ()
    rows = torch.ones(len(tensor), dtype=torch.bool)
    rows[list(zero_rows)] = False
    kept = rows.nonzero().flatten()
    kept = kept[:: max(len(kept) // GRID, 1)].to(tensor.device)
    grid = tensor.detach()[:, :: max(tensor.shape[1] // GRID, 1)][kept]
    squares = grid.flatten(2).double().cpu().square() if grid.dim() > 2 else None
    squares = grid.double().cpu().square()[..., None] if squares is None else squares
    found: list[tuple[int, int, float]] = []
    for axis in (0, 1):
        count = squares.shape[axis]
        each = squares.numel() // max(count, 1)
        means = squares.mean((1 - axis, 2))
        if count >= 8 and each >= LONG and means.mean() > 0:
            ratio = means / means.mean()
            found.append((count, each, (ratio - 1).square().sum().item()))
    return tuple(found)


# Laws.


def law_moments(law: Law) -> tuple[float, float, float]:
    """Return (mean, standard deviation, kurtosis) of a law.

    >>> mean, std, kurtosis = law_moments(Law.uniform(-3.0, 3.0))
    >>> mean, round(std, 6), kurtosis
    (0.0, 1.732051, 1.8)
    """
    if law.kind == "normal":
        return law.loc, law.scale, 3.0
    if law.kind == "uniform":
        return law.loc, law.scale / math.sqrt(3), 1.8
    shift, narrowing = truncated_moments(law.low, law.high)
    return law.loc + law.scale * shift, law.scale * narrowing, _cut_kurtosis(law.low, law.high)


def _cut_kurtosis(low: float, high: float) -> float:
    """Return that of z ~ N(0, 1) given low < z < high; between 1.8 and 3 if cut on both sides."""
    mass = _normal_cdf(high) - _normal_cdf(low)
    ends = [(x, math.exp(-x * x / 2) / math.sqrt(2 * math.pi)) for x in (low, high)]
    if mass < 1e-6:
        return 9.0 if math.isinf(low) or math.isinf(high) else 1.8  # a far tail falls off like exp
    raw = [1.0, (ends[0][1] - ends[1][1]) / mass]
    for k in (2, 3, 4):
        edge = [x ** (k - 1) * density if density else 0.0 for x, density in ends]
        raw.append((k - 1) * raw[k - 2] + (edge[0] - edge[1]) / mass)
    mean = raw[1]
    spread = raw[2] - mean**2
    fourth = raw[4] - 4 * mean * raw[3] + 6 * mean**2 * raw[2] - 3 * mean**4
    return min(max(fourth / spread**2, 1.5), 9.0)


def _normal_cdf(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def cdf(law: Law, values: Tensor) -> Tensor:
    """Return the law's distribution function at float64 values."""
    z = (values - law.loc) / law.scale
    if law.kind == "uniform":
        return ((z + 1) / 2).clamp(0, 1)
    below = cast("Tensor", torch.special.ndtr(z))
    if law.kind == "normal":
        return below
    start, stop = _normal_cdf(law.low), _normal_cdf(law.high)
    return ((below - start) / (stop - start)).clamp(0, 1)


def _tails(law: Law, value: float) -> tuple[float, float]:
    """Return (P(x < value), P(x > value)), each exact where it is small."""
    z = (value - law.loc) / law.scale
    if law.kind == "uniform":
        below = min(max((z + 1) / 2, 0.0), 1.0)
        return below, 1 - below
    below, above = _normal_cdf(z), _normal_cdf(-z)
    if law.kind == "normal":
        return below, above
    if z <= law.low:
        return 0.0, 1.0
    if z >= law.high:
        return 1.0, 0.0
    mass = _normal_cdf(law.high) - _normal_cdf(law.low)
    return (below - _normal_cdf(law.low)) / mass, (above - _normal_cdf(-law.high)) / mass


# Tests.


def p_value(sample: Sample, law: Law, level: float = 0.0) -> float:
    """Return at most how probable numbers as odd as these are under a law.

    Args:
        sample: of a tensor that isn't constant.
        law: a law whose scale isn't 0.
        level: below it nobody looks closer, and the tests that cost more are left out.

    Example:
        >>> some = take(2 * torch.rand(1000, generator=torch.Generator().manual_seed(0)) - 1)
        >>> p_value(some, Law.uniform(-1, 1)) > 0.1, p_value(some, Law.normal(0, 0.577)) < 1e-3
        (True, True)
    """
    if not sample.finite or not sample.n:
        return 0.0
    least = 1.0
    for test in (_by_extremes, _by_mean, _by_second, _by_rows, _by_distribution):
        least = min(least, test(sample, law))
        if TESTS * least < level:
            break
    return min(TESTS * least, 1.0)


def _by_mean(sample: Sample, law: Law) -> float:
    mean, std, _ = law_moments(law)
    z = abs(sample.mean - mean) / std * math.sqrt(sample.n)
    return math.erfc(z / math.sqrt(2))


def _by_second(sample: Sample, law: Law) -> float:
    mean, std, kurtosis = law_moments(law)
    second = (sample.second - 2 * mean * sample.mean + mean**2) / std**2
    rounding = ((sample.eps**2 * (mean**2 + std**2)) + sample.quantum**2) / 12 / std**2
    if second > 1:
        second = max(second - rounding, 1.0)
    z = _cube_root_z(second, 2 * sample.n / (kurtosis - 1))
    return math.erfc(abs(z) / math.sqrt(2))


def _cube_root_z(ratio: float, freedom: float) -> float:
    """Return Wilson & Hilferty's normal deviate of a chi-square over its degrees of freedom."""
    spread = 2 / (9 * freedom)
    return (ratio ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


def _by_rows(sample: Sample, law: Law) -> float:
    """One-sided: values that are more evenly spread than chance have no name among laws.

    Of mean squares about 0, whose variance is that of x^2 over its squared mean.
    """
    mean, std, kurtosis = law_moments(law)
    second = mean**2 + std**2
    # Var x^2 of a law about its mean; the skew of one that is cut to one side is left out.
    spread = ((kurtosis - 1) * std**4 + 4 * mean**2 * std**2) / second**2
    if law.kind == "truncated" and law.low != -law.high:
        return 1.0
    least = 1.0
    for count, each, total in sample.spreads:
        # A chi-square's own fourth moment widens the sum: scaled to its mean and variance.
        wide = 1 + 6 / each
        freedom = (count - 1) / wide
        z = _cube_root_z(total * each / spread / (count - 1), freedom)
        least = min(least, 2 * math.erfc(z / math.sqrt(2)) / 2)
    return least


def _by_distribution(sample: Sample, law: Law) -> float:
    n = len(sample.values)
    expected = cdf(law, sample.values)
    steps = torch.arange(1, n + 1, dtype=torch.float64) / n
    away = torch.maximum(steps - expected, expected - steps + 1 / n).max().item()
    away -= _rounded_away(sample, law)
    if away <= 0:
        return 1.0
    return _kolmogorov((math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)) * away)


def _rounded_away(sample: Sample, law: Law) -> float:
    """Return how far rounding can shift a distribution function: density times half a spacing."""
    mean, std, _ = law_moments(law)
    density = 0.4 / std
    reach = abs(mean) + math.sqrt(3) * std
    return density * (sample.eps * reach + sample.quantum) / 2


def _kolmogorov(x: float) -> float:
    """Return P(sup of a Brownian bridge > x)."""
    if x < 0.3:
        return 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 20))
    return min(max(sum(terms), 0.0), 1.0)


def _by_extremes(sample: Sample, law: Law) -> float:
    """Both ends, and both ways of being odd: four p-values, so four times the least."""
    found = 1.0
    for value, end in ((sample.low, 0), (sample.high, 1)):
        slack = (sample.eps * abs(value) + sample.quantum) / 2
        sign = 1 if end else -1
        inside, outside = value - sign * slack, value + sign * slack
        beyond = sample.size * _tails(law, inside)[end]  # that one lies this far out
        within = _tails(law, outside)[end]  # that none does
        found = min(found, beyond, math.exp(sample.size * math.log1p(-min(within, 1 - 1e-16))))
    return min(4 * found, 1.0)


def likelihood(sample: Sample, law: Law) -> float:
    """Return the log-density of the values under a law, a value; only differences mean anything.

    Values outside of a bounded law count as on its bound.
    """
    if law.kind == "uniform":
        return -math.log(2 * law.scale)
    spread = (sample.second - 2 * law.loc * sample.mean + law.loc**2) / law.scale**2
    density = -math.log(law.scale) - spread / 2 - math.log(2 * math.pi) / 2
    if law.kind == "truncated":
        density -= math.log(_normal_cdf(law.high) - _normal_cdf(law.low))
    return density
