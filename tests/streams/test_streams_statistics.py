# pyright: basic
"""The distributions are what they are said to be. Every limit is at five standard errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from goodinit.streams import Law, Stream, spec

pytestmark = pytest.mark.filterwarnings("error")

N = 10**6
EACH = 32  # of the sorted values, at which the distance is looked for: it misses EACH / N at most
KS_LIMIT = math.sqrt(math.log(2 / math.erfc(5 / math.sqrt(2))) / 2)  # as rare as five sigma
KS_LIMIT -= EACH / math.sqrt(N)

LAWS = {
    "normal": (Law.normal(), stats.norm()),
    "uniform": (Law.uniform(-1.0, 1.0), stats.uniform(-1.0, 2.0)),
    "cut at 2": (Law.truncated(0.0, 1.0, -2.0, 2.0), stats.truncnorm(-2.0, 2.0)),
    "lopsided": (Law.truncated(0.0, 1.0, -0.5, 3.0), stats.truncnorm(-0.5, 3.0)),
    "tail": (Law.truncated(0.0, 1.0, 3.0, 9.0), stats.truncnorm(3.0, 9.0)),
}


def sample(law: Law, name: str = "w", seed: int = 0, purpose: str = "") -> np.ndarray:
    return Stream(seed).draw(name, law, (N,), purpose=purpose).double().numpy()


def moment_scores(z: np.ndarray, distribution) -> list[float]:
    """How many standard errors the first four moments are off, the errors being exact."""
    moments = [distribution.expect(lambda x, k=k: x**k) for k in range(9)]
    return [
        (np.mean(z**k) - moments[k]) / math.sqrt((moments[2 * k] - moments[k] ** 2) / len(z))
        for k in (1, 2, 3, 4)
    ]


def ks_score(z: np.ndarray, distribution) -> float:
    """sqrt(n) times the greatest distance between the two distribution functions."""
    n, at = len(z), np.arange(0, len(z), EACH)
    cdf = distribution.cdf(np.sort(z)[at])  # scipy's takes a microsecond a value
    return math.sqrt(n) * max(np.max((at + 1) / n - cdf), np.max(cdf - at / n))


@pytest.mark.parametrize("which", LAWS)
def test_moments_and_distribution(which: str) -> None:
    law, distribution = LAWS[which]
    z = sample(law, name=which)
    assert max(map(abs, moment_scores(z, distribution))) < 5
    assert ks_score(z, distribution) < KS_LIMIT


@pytest.mark.parametrize("which", ["normal", "uniform", "cut at 2"])
def test_the_tests_notice_two_percent(which: str) -> None:
    law, distribution = LAWS[which]
    z = 1.02 * sample(law, name=which)
    assert max(map(abs, moment_scores(z, distribution))) > 5
    assert ks_score(z, distribution) > KS_LIMIT


def test_loc_and_scale() -> None:
    z = sample(Law.normal())
    moved = sample(Law.normal(0.3, 0.02))
    two_roundings = np.float32(0.02) * z.astype(np.float32) + np.float32(0.3)
    assert np.array_equal(moved.astype(np.float32), two_roundings)


def true_quantile(word: torch.Tensor) -> np.ndarray:
    """The standard normal quantile of (1 + x) / 2, accurate near zero and in both tails."""
    n = ((word - 2**31) | 1).numpy()
    m = 2**31 - np.abs(n)
    near_zero = math.sqrt(2) * special.erfinv(n / 2.0**31)
    return np.where(m > 2**30, near_zero, -np.sign(n) * special.ndtri(m / 2.0**32))


def test_accuracy_against_scipy() -> None:
    """On some of the words; test_magnitudes.py has all of them."""
    flat = spec.philox(spec.make_key(0, "accuracy"), torch.arange(500_000)).view(-1)
    exponents = torch.linspace(0, 31, 200_001, dtype=torch.float64)
    tails = (2.0**exponents).long().clamp(max=2**31 - 1)
    words = torch.cat((flat, tails, 2**32 - 1 - tails, 2**31 + tails, 2**31 - tails))
    error = spec.standard_normal(words).double().numpy() / true_quantile(words) - 1
    assert np.abs(error).max() < 9e-7
    assert math.sqrt(np.mean(error**2)) < 3e-7


def test_variance_to_a_millionth() -> None:
    """The variance over a lattice of words, each the middle of an equal slice of probability."""
    step = 2**10
    z = spec.standard_normal(torch.arange(step // 2, 2**32, step)).double()
    exact = true_quantile(torch.arange(step // 2, 2**32, step))
    assert abs((z**2).mean().item() - np.mean(exact**2)) < 1e-7


def test_truncated_is_the_exact_inverse() -> None:
    """z(u) is the quantile at Phi(low) + u (Phi(high) - Phi(low)), to the fixed point's grid."""
    low, high = -1.5, 2.5
    words = torch.arange(2**10, 2**32, 2**12)
    z = spec.values(Law.truncated(0.0, 1.0, low, high), words).double().numpy()
    p = special.ndtr(low) + words.numpy() / 2.0**32 * (special.ndtr(high) - special.ndtr(low))
    np.testing.assert_allclose(z, special.ndtri(p), rtol=1e-6, atol=2e-8)
    assert np.all(z >= low)
    assert np.all(z <= high)


def test_independence() -> None:
    """No correlation of values or of squares between names, seeds, purposes or neighbours."""
    w = sample(Law.normal())
    pairs = [
        (w, sample(Law.normal(), name="v")),
        (w, sample(Law.normal(), name="w2")),
        (w, sample(Law.normal(), seed=1)),
        (w, sample(Law.normal(), seed=2**63)),
        (w, sample(Law.normal(), purpose="q")),
        *((w[:-lag], w[lag:]) for lag in (1, 2, 3, 4, 8, 1024)),
    ]
    for a, b in pairs:
        for f, g in itertools.product((lambda x: x, lambda x: x * x), repeat=2):
            r = np.corrcoef(f(a), g(b))[0, 1]
            assert abs(r) * math.sqrt(len(a)) < 5
