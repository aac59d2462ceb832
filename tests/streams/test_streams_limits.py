"""Where the laws end: the last number that is taken and the first that is refused."""

import math

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.errors import SchemeError, StreamError
from goodinit.streams import Law
from goodinit.streams.spec import float32_bounds

BELOW = 1 - 2.0**-50


def test_the_least_scale() -> None:
    assert Law.normal(0.0, 2.0**-64).scale == 2.0**-64
    with pytest.raises(StreamError, match="below"):
        Law.normal(0.0, 2.0**-64 * BELOW)


@pytest.mark.parametrize("loc", [1.0, -3.0])
def test_the_least_scale_beside_a_mean(loc: float) -> None:
    assert Law.normal(loc, abs(loc) * 2.0**-20).loc == loc
    with pytest.raises(StreamError, match="float32 has"):
        Law.normal(loc, abs(loc) * 2.0**-20 * BELOW)


def test_the_least_probability() -> None:
    """P(z > 4.17) = 1.523e-5 and P(z > 4.18) = 1.458e-5, on either side of 2^-16 = 1.526e-5."""
    assert Law.truncated(0.0, 1.0, 4.16, math.inf).low == 4.16
    with pytest.raises(StreamError, match="probability"):
        Law.truncated(0.0, 1.0, 4.17, math.inf)


def test_the_bounds_of_a_law_are_rounded_inward() -> None:
    assert float32_bounds(Law.uniform(-1.0, 1.0)) == (-1.0, 1.0)
    assert float32_bounds(Law.truncated(0.0, 1.0, -2.0, 0.5)) == (-2.0, 0.5)
    assert float32_bounds(Law.truncated(0.5, 2.0, -2.0, 0.5)) == (-3.5, 1.5)
    least, greatest = float32_bounds(Law.uniform(-0.1, 0.1))
    assert -0.1 <= least < -0.1 + 1e-8
    assert 0.1 - 1e-8 < greatest <= 0.1
    for law in (Law.normal(0.0, 1.0), Law.truncated(1.0, 0.0, -2.0, 0.5)):
        assert float32_bounds(law) == (-math.inf, math.inf)


def test_a_bound_of_0_has_no_sign() -> None:
    """Machines differ in which of 0.0 and -0.0 is the greater."""
    for law in (
        Law.uniform(-1.0, 0.0),
        Law.uniform(0.0, 1.0),
        Law("truncated", -0.0, 1.0, -1.0, -0.0),
    ):
        zeros = [bound for bound in float32_bounds(law) if bound == 0]
        assert [math.copysign(1.0, bound) for bound in zeros] == [1.0]


def test_the_largest_mean() -> None:
    largest = torch.finfo(torch.float32).max
    assert Law.normal(math.nextafter(largest, 0.0), 0.0).scale == 0.0
    with pytest.raises(StreamError, match="beyond float32"):
        Law.normal(largest, 0.0)


def test_a_single_value_is_a_law() -> None:
    """Between 1 and the next float32, 1 + 2^-23, lies 1 alone."""
    law = Law.truncated(1.0, 2.0**-20, 0.0, 0.1)
    assert float32_bounds(law) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("std", "fits"), [(10_513.0, True), (10_514.0, False)], ids=["below", "above"]
)
def test_the_largest_normal_value(std: float, fits: bool) -> None:
    """It is 6.2305 sigma, and float16 ends at 65504 = 6.2305 * 10513.4."""
    net = nn.Linear(3, 3, dtype=torch.float16)
    if fits:
        gi.init_(net, gi.Normal(std), seed=0)
        assert net.weight.isfinite().all()
    else:
        with pytest.raises(SchemeError, match="float16"):
            gi.plan(net, gi.Normal(std))
