"""The statistics: against scipy and plain loops, at their level, with the power they claim."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from goodinit.explanation import statistics
from goodinit.explanation.statistics import law_moments, p_value, read_sample
from goodinit.streams import Law

LAWS = {
    "normal": Law.normal(0.0, 0.02),
    "around one": Law.normal(1.0, 0.02),
    "uniform": Law.uniform(-0.1, 0.1),
    "cut": Law.truncated(0.0, 0.02, -2.0, 2.0),
    "cut on one side": Law.truncated(0.0, 1.0, 0.0, 3.0),
}


def drawn(law: Law, n: int, generator: torch.Generator) -> torch.Tensor:
    """Numbers of a law by the inverse of its distribution function: independent of streams."""
    u = torch.rand(n, dtype=torch.float64, generator=generator)
    if law.kind == "uniform":
        return law.loc + law.scale * (2 * u - 1)
    low, high = (torch.special.ndtr(torch.tensor(x, dtype=torch.float64)) for x in _cut(law))
    return law.loc + law.scale * torch.special.ndtri(low + u * (high - low))


def _cut(law: Law) -> tuple[float, float]:
    return (law.low, law.high) if law.kind == "truncated" else (-40.0, 40.0)


def scipys(law: Law):
    if law.kind == "uniform":
        return stats.uniform(law.loc - law.scale, 2 * law.scale)
    return stats.truncnorm(*_cut(law), law.loc, law.scale)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_moments_and_distributions_are_scipys(law: Law) -> None:
    other = scipys(law)
    mean, std, kurtosis = law_moments(law)
    expected = [float(v) for v in other.stats(moments="mvk")]
    assert mean == pytest.approx(expected[0], abs=1e-9)
    assert std == pytest.approx(math.sqrt(expected[1]), rel=1e-8)
    assert kurtosis == pytest.approx(expected[2] + 3, rel=1e-6)
    x = torch.linspace(law.loc - 3.1 * law.scale, law.loc + 3.1 * law.scale, 41).double()
    assert statistics.cdf(law, x).numpy() == pytest.approx(other.cdf(x.numpy()), abs=1e-12)
    for value in x.tolist():
        below, above = statistics._tails(law, value)
        assert below == pytest.approx(other.cdf(value), abs=1e-12)
        assert above == pytest.approx(other.sf(value), rel=1e-6, abs=1e-15)


@pytest.mark.parametrize("n", [5, 30, 400])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_distance_is_scipys(law: Law, n: int) -> None:
    """The statistic by a plain loop; its p-value within Stephens' accuracy of the exact one."""
    values = drawn(law, n, torch.Generator().manual_seed(n))
    x = sorted(values.tolist())
    below = [float(v) for v in scipys(law).cdf(x)]
    steps = ((i + 1) / n - f for i, f in enumerate(below))
    slow = max(*steps, *(f - i / n for i, f in enumerate(below)))
    exact = stats.kstest(values.numpy(), scipys(law).cdf)
    assert slow == pytest.approx(exact.statistic, abs=1e-9)
    got = statistics._by_distribution(read_sample(values), law)
    assert got == pytest.approx(exact.pvalue, rel=0.1, abs=0.02)


@pytest.mark.parametrize(
    ("dtype", "n"),
    [
        *[(torch.float32, n) for n in (1, 16, 3000)],
        *[pytest.param(torch.float32, n, marks=pytest.mark.battery) for n in (2, 4, 100)],
        *[(torch.bfloat16, n) for n in (16, 100_000)],
        pytest.param(torch.bfloat16, 3000, marks=pytest.mark.battery),
        *[pytest.param(torch.float16, n, marks=pytest.mark.battery) for n in (16, 3000, 100_000)],
    ],
)
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_true_laws_are_rejected_at_the_level(law: Law, n: int, dtype: torch.dtype) -> None:
    """At level .01: no more often than a binomial law allows (5 sigma), small and rounded too."""
    trials = 200 if n <= 3000 else 10
    generator = torch.Generator().manual_seed(7)
    samples = drawn(law, n * trials, generator).to(dtype).view(trials, n)
    rejected = sum(p_value(read_sample(sample), law) < 0.01 for sample in samples)
    # A chi-square by a cube root and a sum of few uniforms by a normal law are not exact: twice.
    allowed = 0.02 if n <= 16 else 0.01
    assert rejected <= trials * allowed + 5 * math.sqrt(trials * allowed)


@pytest.mark.parametrize(
    "n", [16, *(pytest.param(n, marks=pytest.mark.battery) for n in (64, 1000))]
)
def test_the_far_tail_holds_too(n: int) -> None:
    """A thousand tests are made of one model: p below 1e-5 is met about once in 1e5."""
    generator = torch.Generator().manual_seed(1)
    trials = 1000
    for law in (LAWS["normal"], LAWS["uniform"]):
        samples = drawn(law, n * trials, generator).view(trials, n)
        assert sum(p_value(read_sample(sample), law, 1e-5) < 1e-5 for sample in samples) <= 2


@pytest.mark.parametrize(
    ("law", "n", "claimed"),
    [
        (LAWS["normal"], 20_000, Law.uniform(-0.02 * 3**0.5, 0.02 * 3**0.5)),  # another family
        (LAWS["normal"], 20_000, Law.normal(0.0, 0.021)),  # std 5 % off
        (LAWS["normal"], 20_000, Law.normal(0.001, 0.02)),  # mean .05 sigma off
        (LAWS["cut"], 5_000, Law.normal(0.0, 0.02 * 0.8796)),  # a cut at 2 sigma
        (Law.truncated(0.0, 1.0, -3.0, 3.0), 30_000, Law.normal(0.0, 0.98658)),  # at 3 sigma
        (LAWS["uniform"], 20_000, Law.uniform(-0.1, 0.1002)),  # a bound .1 % off: e^-20
    ],
)
def test_wrong_laws_are_noticed(law: Law, n: int, claimed: Law) -> None:
    values = drawn(law, n, torch.Generator().manual_seed(3))
    assert p_value(read_sample(values), law) > 1e-3
    assert p_value(read_sample(values), claimed, 1e-6) < 1e-6


def test_one_outlier_in_a_million_is_noticed() -> None:
    values = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    assert p_value(read_sample(values), Law.normal(0.0, 1.0)) > 1e-3
    values[123_457] = 9.0
    # 1e6 * P(z > 9) = 1.1e-13, at either of two ends, by either of two ways, in one of six tests
    assert p_value(read_sample(values), Law.normal(0.0, 1.0)) < 1e-11


@pytest.mark.parametrize(
    "shape",
    [(8, 32), (32, 32), (40, 8, 3, 3), pytest.param((300, 200), marks=pytest.mark.battery)],
)
@pytest.mark.parametrize("name", ["normal", "around one", "uniform", "cut"])
def test_rows_and_columns_of_true_laws_are_alike(name: str, shape: tuple[int, ...]) -> None:
    law, trials = LAWS[name], 200
    numbers = drawn(law, trials * math.prod(shape), torch.Generator().manual_seed(5))
    samples = [read_sample(values) for values in numbers.view(trials, *shape)]
    rejected = sum(statistics._by_rows(sample, law) < 0.01 for sample in samples)
    assert rejected <= trials * 0.01 + 5 * math.sqrt(trials * 0.01)


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_or_columns_of_another_scale_are_noticed(axis: int) -> None:
    """Rows whose std varies by 10 %: (.2^2) n m / (k - 1) = 4 times the variance of chance."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(200, 200, generator=generator)
    scales = 1 + 0.1 * torch.randn(200, generator=generator)
    values = values * (scales[:, None] if axis == 0 else scales)
    sample = read_sample(values / values.std())
    assert statistics._by_rows(sample, Law.normal(0.0, 1.0)) < 1e-12


@given(
    shape=st.lists(st.integers(1, 7), min_size=0, max_size=4).map(tuple),
    order=st.randoms(use_true_random=False),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
)
def test_a_sample_is_what_a_slow_reader_finds(shape, order, dtype) -> None:
    axes = list(range(len(shape)))
    order.shuffle(axes)
    generator = torch.Generator().manual_seed(sum(shape))
    tensor = torch.randn(shape, generator=generator).permute(axes).to(dtype)
    values = [float(value) for value in tensor.reshape(-1).tolist()]
    sample = read_sample(tensor)
    assert (sample.size, sample.n, len(sample.values)) == (len(values),) * 3
    assert (sample.low, sample.high) == (min(values), max(values))
    assert sample.mean == pytest.approx(math.fsum(values) / len(values), abs=1e-12)
    squares = math.fsum(value**2 for value in values)
    assert sample.second == pytest.approx(squares / len(values), rel=1e-12)
    assert sample.values.tolist() == sorted(values)


def test_large_tensors_are_read_at_even_steps_and_their_ends_whole() -> None:
    size = 3 * statistics.MOMENTS
    tensor = torch.zeros(size)
    tensor[12345], tensor[54321] = -3.0, 5.0
    sample = read_sample(tensor)
    assert (sample.low, sample.high, sample.size) == (-3.0, 5.0, size)
    assert statistics.MOMENTS // 2 < sample.n <= statistics.MOMENTS
    assert len(sample.values) <= statistics.SORTED
    # Steps that divide no axis: each column of 256 is met about as often as any other.
    columns = torch.arange(256.0).expand(size // 256, 256)
    met = torch.bincount(read_sample(columns).values.long(), minlength=256)
    assert met.min() > 0.5 * met.double().mean()


def test_zero_rows_are_left_out() -> None:
    table = torch.ones(10, 4)
    table[3] = 0.0
    sample = read_sample(table, zero_rows=(3,))
    assert (sample.size, sample.n, sample.low, sample.high) == (36, 36, 1.0, 1.0)


def test_nan_and_infinity_are_seen_anywhere() -> None:
    for value in (math.nan, math.inf, -math.inf):
        tensor = torch.randn(2 * statistics.MOMENTS, generator=torch.Generator().manual_seed(0))
        tensor[77] = value
        assert not read_sample(tensor).finite
        assert p_value(read_sample(tensor), Law.normal(0.0, 1.0)) == 0.0
    assert read_sample(torch.randn(5)).finite


def test_float8_is_read() -> None:
    tensor = torch.linspace(-1, 1, 64).to(torch.float8_e4m3fn)
    assert (read_sample(tensor).low, read_sample(tensor).high) == (-1.0, 1.0)
