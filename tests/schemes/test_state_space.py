"""Decay rates and step sizes, against their closed forms."""

import math

import pytest
import torch

import goodinit as gi
from goodinit.errors import SchemeError
from goodinit.schemes import Scheme, Site, from_dict
from goodinit.streams import Stream

SIZE = 100_000


def drawn(scheme: Scheme) -> torch.Tensor:
    out = torch.empty(SIZE)
    stream = Stream(0)
    scheme.fill_(
        out,
        lambda out, law, purpose="": stream.fill_(out, "w", law, purpose=purpose),
        Site((SIZE,)),
    )
    return out.double()


def test_rates_are_uniform() -> None:
    rates = drawn(gi.LogUniform(1.0, 16.0)).exp()
    assert rates.min() >= 1.0
    assert rates.max() <= 16.0 + 1e-5
    # The standard error of a mean of U(1, 16) is 15 / sqrt(12 n).
    assert abs(rates.mean().item() - 8.5) < 5 * 15 / math.sqrt(12 * SIZE)


def test_steps_are_log_uniform() -> None:
    steps = torch.nn.functional.softplus(drawn(gi.StepBias()))
    assert steps.min() > 0.001 - 1e-6
    assert steps.max() < 0.1 + 1e-6
    logs = steps.log()
    width = math.log(100)
    assert abs(logs.mean().item() - math.log(0.01)) < 5 * width / math.sqrt(12 * SIZE)
    # facts: the mean of exp(U) is (b - a) / ln(b / a); its variance below that of U(a, b), .0286^2
    assert abs(steps.mean().item() - 0.099 / width) < 5 * 0.0286 / math.sqrt(SIZE)


def test_small_steps_are_raised() -> None:
    steps = torch.nn.functional.softplus(drawn(gi.StepBias(1e-5, 0.1, least=1e-4)))
    assert steps.min().item() == pytest.approx(1e-4, rel=1e-4)


@pytest.mark.parametrize("scheme", [gi.LogUniform(), gi.StepBias()])
def test_moments_are_those_of_the_values(scheme: Scheme) -> None:
    mean, std = scheme.moments(Site((SIZE,)))
    values = drawn(scheme)
    assert abs(values.mean().item() - mean) < 5 * std / math.sqrt(SIZE)
    assert abs(values.std().item() / std - 1) < 5 * math.sqrt(0.5 / SIZE) * 2  # kurtosis below 9


def test_moments_in_closed_form() -> None:
    """Of log U(a, b): with t log t and t log^2 t integrated; the midpoint rule holds to 1e-6."""
    low, high = 2.0, 5.0

    def integral(t: float) -> tuple[float, float]:
        log = math.log(t)
        return t * (log - 1), t * (log * log - 2 * log + 2)

    first, second = ((b - a) / 3 for a, b in zip(integral(low), integral(high), strict=True))
    mean, std = gi.LogUniform(low, high).moments(Site((1,)))
    assert mean == pytest.approx(first, rel=1e-6)
    assert std == pytest.approx(math.sqrt(second - first * first), rel=1e-6)


def test_a_range_counts_along_the_last_axis() -> None:
    out = torch.empty(3, 4)
    gi.LogRange().fill_(out, None, Site((3, 4)))  # type: ignore[arg-type]
    assert torch.allclose(out.exp(), torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(3, 4))
    mean, std = gi.LogRange().moments(Site((3, 4)))
    assert (mean, std) == pytest.approx((out.mean().item(), out.std(correction=0).item()))
    with pytest.raises(SchemeError, match="a number has none"):
        gi.LogRange().moments(Site(()))


@pytest.mark.parametrize("scheme", [gi.LogUniform(2.0, 3.0), gi.StepBias(0.01), gi.LogRange()])
def test_they_are_saved_and_have_no_factor(scheme: Scheme) -> None:
    assert from_dict(scheme.to_dict()) == scheme
    assert scheme.times(1.0) == scheme
    with pytest.raises(SchemeError, match="pass other bounds"):
        scheme.times(2.0)


@pytest.mark.parametrize(
    "call", [lambda: gi.LogUniform(0.0), lambda: gi.LogUniform(3.0, 2.0), lambda: gi.StepBias(1.0)]
)
def test_bounds_are_checked(call) -> None:
    with pytest.raises(SchemeError, match="low must be above 0 and below high"):
        call()
