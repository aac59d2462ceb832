"""Where float32's stream ends and float64's arithmetic begins."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from goodinit.schemes.request import Request, fill_request_, float32_law, quantile_above
from goodinit.streams import Law, Stream


@pytest.mark.parametrize(("high", "single"), [(0.0097, False), (0.0099, True)])
def test_an_interval_of_2_to_the_24_words_is_drawn_in_float32(high: float, single: bool) -> None:
    """P(0 < z < h) = .399 h, to three digits, is 2^-8 of all words at h = .00979."""
    law = float32_law(Request("truncated", 0.0, 1.0, 0.0, high, 0.0, high))
    assert (law is not None) is single


@pytest.mark.parametrize(
    ("request_", "law"),
    [
        (Request("normal", 0.0, 1e-40), Law.normal()),
        (Request("normal", 1.0, 1e-9), Law.normal()),
        (Request("uniform", 3.0, 1e-30), Law.uniform(-1.0, 1.0)),
        (Request("truncated", 0.0, 1e60, -2.0, 1.0), Law.truncated(0.0, 1.0, -2.0, 1.0)),
    ],
)
def test_numbers_beyond_float32_are_standard_ones_times_the_scale(
    request_: Request, law: Law
) -> None:
    drawn = fill_request_(torch.empty(3, 5, dtype=torch.float64), request_, Stream(0), "w")
    standard = Stream(0).draw("w", law, (15,), dtype=torch.float64).view(3, 5)
    assert torch.equal(drawn, standard * request_.scale + request_.loc)


def test_a_narrow_interval_left_of_0_is_the_mirror_image() -> None:
    def drawn(low: float, high: float) -> torch.Tensor:
        request = Request("truncated", 0.0, 1.0, low, high, low, high)
        return fill_request_(torch.empty(99, dtype=torch.float64), request, Stream(0), "w")

    right, left = drawn(0.1, 0.101), drawn(-0.101, -0.1)
    assert torch.equal(right, -left)
    assert right.unique().numel() == 99
    # Values grow with the stream's words, from the middle on.
    words = Stream(0).draw("w", Law.uniform(0.0, 1.0), (99,)).argsort()
    assert torch.equal(right.argsort(), words)
    assert torch.equal(drawn(-0.001, 0.001).argsort(), words)
    assert torch.equal(drawn(-0.0011, 0.001).argsort(), words.flip(0))


@pytest.mark.parametrize(
    ("low", "high"), [(3.0, 3.001), (6.0, math.inf), (30.0, 31.0), (0.0, 1e-3)]
)
def test_far_and_narrow_quantiles_against_scipy(low: float, high: float) -> None:
    """z - low of a share p of what lies between low and high, to float64's digits."""
    chance = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
    upper, lower = stats.norm.logsf(low), stats.norm.logsf(high)
    tail = upper + np.log1p(-chance.numpy() * -np.expm1(lower - upper))
    found = low + quantile_above(chance, low, high).numpy()
    np.testing.assert_allclose(stats.norm.logsf(found), tail, rtol=1e-12)
    ends = quantile_above(torch.tensor([0.0, 1.0], dtype=torch.float64), low, high)
    assert (ends >= 0).all()
    assert (ends <= high - low).all()
