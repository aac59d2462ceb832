# pyright: basic
"""`make accuracy`: the distributions on 10^8 values. Every limit is as rare as five sigma.

What one test looks at is one number whose law is known; where a test takes the worst of many, the
limit is that of so many numbers (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from scipy import optimize, special, stats

from goodinit.streams import Law, Stream

pytestmark = pytest.mark.accuracy

N = 10**8
CHUNK = 10**6
FIVE_SIGMA = math.erfc(5 / math.sqrt(2))
CELLS = 4096  # a float32's step moves no more than 2 of the 24,000 values that a cell expects
LAWS = {
    "normal": (Law.normal(), stats.norm()),
    "uniform": (Law.uniform(-1.0, 1.0), stats.uniform(-1.0, 2.0)),
    "truncated": (Law.truncated(0.0, 1.0, -2.0, 2.0), stats.truncnorm(-2.0, 2.0)),
}


def draw(law: Law, name: str = "w", seed: int = 0, purpose: str = "", n: int = N) -> np.ndarray:
    return Stream(seed).draw(name, law, (n,), purpose=purpose).numpy()


@cache
def ordered(which: str) -> np.ndarray:
    return np.sort(draw(LAWS[which][0]))


def chunks(z: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Pieces in float64, and where they begin."""
    for at in range(0, len(z), CHUNK):
        yield at, z[at : at + CHUNK].astype(np.float64)


def worst_of(count: int) -> float:
    """The size that the greatest of so many standard normals exceeds as seldom as one exceeds 5."""
    return float(stats.norm.isf(FIVE_SIGMA / count / 2))


def moment_scores(z: np.ndarray, distribution) -> list[float]:
    """How many standard errors the first four moments are off, the errors being exact."""
    sums = np.zeros(4)
    for _, part in chunks(z):
        sums += [np.sum(part**k) for k in (1, 2, 3, 4)]
    moments = [distribution.expect(lambda x, k=k: x**k) for k in range(9)]
    return [
        (sums[k - 1] / len(z) - moments[k]) / math.sqrt((moments[2 * k] - moments[k] ** 2) / len(z))
        for k in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize("which", LAWS)
def test_moments_to_the_fourth(which: str) -> None:
    scores = moment_scores(ordered(which), LAWS[which][1])
    print(f"{which}: moments off by {', '.join(f'{s:+.2f}' for s in scores)} standard errors")
    assert max(map(abs, scores)) < worst_of(4)


def ks_p(ordered: np.ndarray, distribution) -> float:
    n, distance = len(ordered), 0.0
    for at, part in chunks(ordered):
        cdf, rank = distribution.cdf(part), np.arange(at, at + len(part))
        distance = max(distance, np.max((rank + 1) / n - cdf), np.max(cdf - rank / n))
    return float(special.kolmogorov(math.sqrt(n) * distance))


@pytest.mark.parametrize("which", LAWS)
def test_kolmogorov_smirnov(which: str) -> None:
    p = ks_p(ordered(which), LAWS[which][1])
    print(f"{which}: Kolmogorov-Smirnov p = {p:.3f}")
    assert p > FIVE_SIGMA


def anderson_darling(ordered: np.ndarray, distribution) -> float:
    n, total = len(ordered), 0.0
    for at, part in chunks(ordered):
        odd = 2 * np.arange(at, at + len(part)) + 1
        total += np.sum(odd * distribution.logcdf(part) + (2 * n - odd) * distribution.logsf(part))
    return -n - total / n


# For large A the chance of more is sqrt(3) erfc(sqrt(A)): that of the first term of the sum of
# chi2_j / (j (j + 1)), whose weight is 1/2, times prod_{j > 1} (1 - 2/(j (j + 1)))^(-1/2)
# (Zolotarev, 1961).
AD_LIMIT = optimize.brentq(
    lambda a: math.sqrt(3) * math.erfc(math.sqrt(a)) / FIVE_SIGMA - 1, 1.0, 30.0
)


def test_anderson_darling() -> None:
    """Of the normal only: at a bound float32's step is as large as what one value in 10^8 has."""
    found = anderson_darling(ordered("normal"), LAWS["normal"][1])
    print(f"normal: Anderson-Darling A2 = {found:.2f}, limit {AD_LIMIT:.1f}")
    assert found < AD_LIMIT


def chi_square_score(counts: np.ndarray) -> float:
    """Standard errors by which counts of equally likely cells are too uneven, or too even."""
    expected = counts.sum() / len(counts)
    chi = np.sum((counts - expected) ** 2) / expected
    return (chi - (len(counts) - 1)) / math.sqrt(2 * (len(counts) - 1))


@pytest.mark.parametrize("which", LAWS)
def test_chi_square(which: str) -> None:
    edges = LAWS[which][1].ppf(np.arange(1, CELLS) / CELLS)
    places = np.searchsorted(ordered(which), edges.astype(np.float32))
    score = chi_square_score(np.diff(places, prepend=0, append=N))
    print(f"{which}: chi-square of {CELLS} cells off by {score:+.2f} standard errors")
    assert abs(score) < 5


def test_tails_of_the_normal() -> None:
    z, normal = ordered("normal"), stats.norm()
    bounds = [4.0, 4.5, 5.0, 5.5]
    tests = 2 * len(bounds)
    for low, high in zip(bounds, [4.5, 5.0, 5.5, math.inf], strict=True):
        expected = N * (normal.sf(low) - normal.sf(high))
        above, below = (np.sum((s > low) & (s <= high)) for s in (z[-5000:], -z[:5000]))
        print(f"{low} to {high} sigma: {below} below, {above} above, {expected:.1f} expected")
        for found in (above, below):
            chance = 2 * min(
                stats.poisson.cdf(found, expected), stats.poisson.sf(found - 1, expected)
            )
            assert chance > FIVE_SIGMA / tests


LAGS = [*range(1, 65), 4096, 65536]


def serial_scores(z: np.ndarray, of_squares: bool) -> list[float]:
    """The correlation at each lag, in standard errors."""
    sums = np.zeros(len(LAGS))
    for at in range(0, len(z), CHUNK):
        part = z[at : at + CHUNK + max(LAGS)].astype(np.float64)
        if of_squares:
            part = part**2 - 1
        for i, lag in enumerate(LAGS):
            ahead = part[lag : lag + CHUNK]
            sums[i] += part[: len(ahead)] @ ahead
    variance = 2.0 if of_squares else 1.0
    return [s / (variance * math.sqrt(len(z) - lag)) for s, lag in zip(sums, LAGS, strict=True)]


@pytest.mark.parametrize("of_squares", [False, True], ids=["values", "squares"])
def test_serial_correlation(of_squares: bool) -> None:
    worst = max(map(abs, serial_scores(draw(Law.normal()), of_squares)))
    print(f"{len(LAGS)} lags: the worst correlation is {worst:.2f} standard errors")
    assert worst < worst_of(len(LAGS))


def test_serial_pairs() -> None:
    """Of pairs that share no value, 64 x 64 cells."""
    z, edges = draw(Law.normal()), stats.norm.ppf(np.arange(1, 64) / 64).astype(np.float32)
    codes = np.searchsorted(edges, z).astype(np.int64)
    lags = (1, 2, 3, 4, 5, 8, 64, 4096)
    scores: list[float] = []
    for lag in lags:
        pairs = codes[: N // (2 * lag) * 2 * lag].reshape(-1, 2, lag)
        counts = np.bincount((64 * pairs[:, 0] + pairs[:, 1]).ravel(), minlength=4096)
        scores.append(chi_square_score(counts))
    print(f"pairs at lags {lags}: {', '.join(f'{s:+.2f}' for s in scores)} standard errors")
    assert max(map(abs, scores)) < worst_of(len(lags))


def streams(n: int) -> np.ndarray:
    """Neighbours: seeds that differ in a low or a high bit, names and purposes in a digit."""
    law = Law.normal()
    rows = [draw(law, seed=k, n=n) for k in range(16)]
    rows += [draw(law, seed=k << 32, n=n) for k in range(1, 17)]
    rows += [draw(law, name=f"layers.{k}.weight", n=n) for k in range(16)]
    rows += [draw(law, purpose=f"{k}", n=n) for k in range(16)]
    return np.stack(rows).astype(np.float64)


def test_streams_of_neighbouring_keys() -> None:
    n = 10**6
    z = streams(n)
    between = np.triu_indices(len(z), 1)
    for what, x in (("values", z), ("squares", (z**2 - 1) / math.sqrt(2))):
        worst = float(np.abs((x @ x.T / math.sqrt(n))[between]).max())
        print(f"{len(between[0])} pairs of streams, {what}: worst {worst:.2f} standard errors")
        assert worst < worst_of(len(between[0]))


def test_these_tests_notice() -> None:
    """A scale, a mean or a correlation that is off by a thousandth."""
    z, normal = ordered("normal"), LAWS["normal"][1]
    wide, moved = z * np.float32(1.001), z + np.float32(1e-3)
    assert abs(moment_scores(wide, normal)[1]) > worst_of(4)
    assert ks_p(moved, normal) < FIVE_SIGMA
    assert anderson_darling(moved, normal) > AD_LIMIT
    plain = draw(Law.normal())
    mixed = plain + np.float32(1e-3) * np.roll(plain, 7)
    assert abs(serial_scores(mixed, False)[6]) > worst_of(len(LAGS))
