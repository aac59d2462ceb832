"""Statistical tests: could these values have been drawn from that law?

A tensor is read once, in bounded memory: the extremes over all elements, the moments over at most
``MOMENTS`` and the distribution over at most ``SORTED`` evenly spaced ones. ``p_value`` is the
smallest p-value of six tests, times six (Bonferroni):

- the mean, against its standard error std/sqrt(n);
- the second moment about the law's mean, against sqrt((kurtosis - 1)/n): as a chi-square of
  2n/(kurtosis - 1) degrees of freedom (exact for a normal law), by Wilson & Hilferty's cube root;
- the distribution function, by Kolmogorov & Smirnov with Stephens' correction for small n: it
  separates uniform, normal and trained values;
- the minimum and maximum of all elements: P(max < t) = F(t)^N, P(max > t) <= N (1 - F(t)). It
  detects truncation and outliers;
- the mean squares of k rows of m values each, and likewise of columns: the sum over rows of
  (mean square / average - 1)^2 m/(kurtosis - 1) is a chi-square of k - 1 degrees of freedom
  (corrected for the fourth moment of those mean squares). It detects the structure that training
  leaves.

Each test allows for rounding to half precision.
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

LEVEL = 1e-3
"""Probability of rejecting a true recipe, over all tests of a model together."""

MOMENTS = 2**17  # elements for the moments: the standard error of a std is 0.2 %
SORTED = 2**14  # elements for the distribution: a Kolmogorov distance of 1.5 % is noticed
FEWEST = 2**12  # elements read of each block of a packed parameter: a std within 1.1 %
CHUNK = 2**24  # elements scanned for extremes at once: 64 MiB in float32
TESTS = 6
GRID = 256  # rows and columns compared: 65,536 values, about as many as MOMENTS
LEAST_ROWS = 8  # the spread of fewer mean squares is too uncertain
LEAST_VALUES = 32  # a mean square of fewer values is too skewed for the chi-square
TINY = 1e-30  # initializers draw nothing this small; memory read as floats is full of it
EMPTY_TAIL = 1e-6  # of less mass than this the moments cancel in float64
EXPONENTIAL, UNIFORM = 9.0, 1.8  # kurtosis of these laws: a far tail, cut on one side or on both
KOLMOGOROV_TERMS = 19  # the next term is below e^-72
NO_DISTANCE = 0.3  # P(distance > this) is 1 - 1e-5
DENSITY = 0.4  # the largest density of a normal law, times its std


@dataclass(frozen=True, slots=True)
class Sample:
    """Statistics of a tensor or block.

    Attributes:
        size: number of elements, without the rows that stay zero.
        low: the minimum of all elements; NaN if one is NaN.
        high: the maximum.
        n: number of elements in the moments.
        mean: their mean.
        second: their mean square.
        values: some of them, sorted, float64.
        zeros: share of exact zeros.
        tiny: share of values below ``TINY`` that aren't 0.
        eps: relative spacing of the dtype's numbers.
        quantum: absolute spacing around 0.
        row_spreads: for rows and for columns, if there are enough: (number of rows, values in
            each, sum over rows of (mean square / average - 1)^2).
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
    row_spreads: tuple[tuple[int, int, float], ...] = ()

    @property
    def std(self) -> float:
        """The standard deviation."""
        return math.sqrt(max(self.second - self.mean**2, 0.0)) if self.low < self.high else 0.0

    @property
    def finite(self) -> bool:
        """Whether all elements are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def constant(self) -> bool:
        """Whether all elements are equal."""
        return self.low == self.high

    @property
    def kurtosis(self) -> float:
        """E (x - mean)^4 / std^4: 3 for a normal law, 1.8 for a uniform one."""
        away = (self.values - self.mean) / (self.std or 1.0)
        return away.pow(4).mean().item()


@torch.no_grad()
def read_sample(tensor: Tensor, zero_rows: tuple[int, ...] = (), share: int = 1) -> Sample:
    """Return statistics of a tensor or block.

    Rows of ``zero_rows`` are left out. ``share`` is the number of blocks of its parameter: each is
    read at fewer elements.
    """
    extremes = [piece.aminmax() for piece in pieces(tensor, zero_rows)]
    low = min((ends.min.item() for ends in extremes), default=0.0)
    high = max((ends.max.item() for ends in extremes), default=0.0)
    if any(bool(ends.min.isnan()) for ends in extremes):
        low = high = math.nan
    some = _evenly_spaced(tensor, zero_rows, max(MOMENTS // share, FEWEST))
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
        tiny=((around > 0) & (around < TINY)).double().mean().item() if n else 0.0,
        eps=finfo.eps,
        quantum=finfo.smallest_normal * finfo.eps,
        row_spreads=_row_spreads(tensor, zero_rows),
    )


def pieces(tensor: Tensor, zero_rows: tuple[int, ...] = ()) -> Iterator[Tensor]:
    """Yield parts of at most ``CHUNK`` elements, without the zero rows."""
    if not tensor.numel():
        return
    tensor = tensor if tensor.dim() else tensor[None]
    cuts = [-1, *sorted(zero_rows), len(tensor)]
    rows = max(CHUNK * len(tensor) // tensor.numel(), 1)
    for before, stop in pairwise(cuts):
        if before + 1 < stop:
            for piece in cast("tuple[Tensor, ...]", tensor[before + 1 : stop].split(rows)):
                # torch can't compare float8
                yield piece.float() if piece.dtype.itemsize == 1 else piece


def _evenly_spaced(tensor: Tensor, zero_rows: tuple[int, ...], most: int) -> Tensor:
    """Return at most ``most`` elements at even steps, float64, on the CPU.

    The step shares no divisor with the size: otherwise it would hit the same few columns.
    """
    size = tensor.numel()
    if not size:
        return torch.empty(0, dtype=torch.float64, device="cpu")
    if size <= most and not zero_rows:
        return tensor.detach().reshape(-1).double().cpu()
    step = max(-(-size // most), 1)
    while step > 1 and math.gcd(step, size) != 1:
        step += 1
    flat = torch.arange(0, size, step, device=tensor.device)
    index = torch.unravel_index(flat, tensor.shape)
    some = tensor.detach()[index].double().cpu()
    if not zero_rows:
        return some
    return some[~torch.isin(index[0].cpu(), torch.tensor(zero_rows, device="cpu"))]


def _row_spreads(tensor: Tensor, zero_rows: tuple[int, ...]) -> tuple[tuple[int, int, float], ...]:
    if tensor.dim() < 2 or not tensor.numel():
        return ()
    rows = torch.ones(len(tensor), dtype=torch.bool, device="cpu")
    rows[list(zero_rows)] = False
    kept = rows.nonzero().flatten()
    kept = kept[:: max(len(kept) // GRID, 1)].to(tensor.device)
    grid = tensor.detach()[:, :: max(tensor.shape[1] // GRID, 1)][kept]
    squares = grid[..., None].flatten(2).double().cpu().square()
    found: list[tuple[int, int, float]] = []
    for axis in (0, 1):
        count = squares.shape[axis]
        each = squares.numel() // max(count, 1)
        means = squares.mean((1 - axis, 2))
        if count >= LEAST_ROWS and each >= LEAST_VALUES and means.mean() > 0:
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
    """Return the kurtosis of z ~ N(0, 1) given low < z < high."""
    mass = _normal_cdf(high) - _normal_cdf(low)
    ends = [(x, math.exp(-x * x / 2) / math.sqrt(2 * math.pi)) for x in (low, high)]
    if mass < EMPTY_TAIL:
        return EXPONENTIAL if math.isinf(low) or math.isinf(high) else UNIFORM
    raw = [1.0, (ends[0][1] - ends[1][1]) / mass]
    for k in (2, 3, 4):
        edge = [x ** (k - 1) * density if density else 0.0 for x, density in ends]
        raw.append((k - 1) * raw[k - 2] + (edge[0] - edge[1]) / mass)
    mean = raw[1]
    spread = raw[2] - mean**2
    fourth = raw[4] - 4 * mean * raw[3] + 6 * mean**2 * raw[2] - 3 * mean**4
    return min(max(fourth / spread**2, 1.5), EXPONENTIAL)


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
    """Return (P(x < value), P(x > value)), each precise when small."""
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
    """Return an upper bound of the probability of values as extreme as these under a law.

    Args:
        sample: of a tensor that isn't constant.
        law: a law whose scale isn't 0.
        level: once the result is below it, the remaining, more costly tests are skipped.

    Example:
        >>> some = read_sample(2 * torch.rand(1000, generator=torch.Generator().manual_seed(0)) - 1)
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
    """One-sided: rows more alike than chance rule out no law that is tried here."""
    mean, std, kurtosis = law_moments(law)
    second = mean**2 + std**2
    # Var x^2 / (E x^2)^2 for a symmetric law; the skew of a one-sided truncation isn't modeled.
    spread = ((kurtosis - 1) * std**4 + 4 * mean**2 * std**2) / second**2
    if law.kind == "truncated" and law.low != -law.high:
        return 1.0
    least = 1.0
    for count, each, total in sample.row_spreads:
        # The fourth moment of a mean square widens the sum: match its mean and variance.
        wide = 1 + 6 / each
        freedom = (count - 1) / wide
        z = _cube_root_z(total * each / spread / (count - 1), freedom)
        least = min(least, math.erfc(z / math.sqrt(2)))
    return least


def _by_distribution(sample: Sample, law: Law) -> float:
    n = len(sample.values)
    expected = cdf(law, sample.values)
    steps = torch.arange(1, n + 1, dtype=torch.float64, device="cpu") / n
    away = torch.maximum(steps - expected, expected - steps + 1 / n).max().item()
    # Rounding can shift the distribution function by its density times half a spacing.
    mean, std, _ = law_moments(law)
    reach = abs(mean) + math.sqrt(3) * std
    away -= DENSITY / std * (sample.eps * reach + sample.quantum) / 2
    if away <= 0:
        return 1.0
    return _kolmogorov((math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n)) * away)


def _kolmogorov(x: float) -> float:
    """Return P(sup of a Brownian bridge > x)."""
    if x < NO_DISTANCE:
        return 1.0
    terms = (
        2 * (-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, KOLMOGOROV_TERMS + 1)
    )
    return min(max(sum(terms), 0.0), 1.0)


def _by_extremes(sample: Sample, law: Law) -> float:
    """Minimum and maximum, each too far out or not far enough: four p-values, so times four."""
    found = 1.0
    for value, end in ((sample.low, 0), (sample.high, 1)):
        slack = (sample.eps * abs(value) + sample.quantum) / 2
        sign = 1 if end else -1
        inside, outside = value - sign * slack, value + sign * slack
        beyond = sample.size * _tails(law, inside)[end]  # P(some value lies this far out)
        within = _tails(law, outside)[end]  # P(a given value lies further out)
        found = min(found, beyond, math.exp(sample.size * math.log1p(-min(within, 1 - 1e-16))))
    return min(4 * found, 1.0)


def log_density(sample: Sample, law: Law) -> float:
    """Return the mean log-density of the values under a law, to compare laws.

    Values outside a bounded law count as if they lay on its bound.
    """
    if law.kind == "uniform":
        return -math.log(2 * law.scale)
    spread = (sample.second - 2 * law.loc * sample.mean + law.loc**2) / law.scale**2
    density = -math.log(law.scale) - spread / 2 - math.log(2 * math.pi) / 2
    if law.kind == "truncated":
        density -= math.log(_normal_cdf(law.high) - _normal_cdf(law.low))
    return density
