"""Critical points and depth scales against published numbers and closed forms."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import goodinit as gi
from goodinit.errors import SchemeError
from goodinit.theory import (
    chi,
    correlation_length,
    critical,
    depth_scale,
    fixed_correlation,
    fixed_point,
)


@pytest.mark.parametrize(
    ("nonlinearity", "bias", "published"),
    [
        ("relu", 0.0, 2.0),  # He et al., 2015
        ("tanh", 0.05, 1.761),  # Schoenholz et al., 2017, for the figures' bias variance
        ("tanh", 0.0, 1.0),
        # Roberts, Yaida and Hanin, The Principles of Deep Learning Theory, 2022, section 5.3.4.
        (functional.gelu, 0.17292, 1.98305),
        (functional.silu, 0.55514, 1.988),
        (lambda z: z.relu() ** 2, 0.05, 2.5),  # q = b + .75 q = .2, and 1 / E[4 relu(u)^2] there
        (torch.exp, 0.0, math.exp(-2)),  # f' = f, so that q = E f^2 / E f'^2 = 1
    ],
)
def test_critical_weight_variance(
    nonlinearity: str | Callable[[Tensor], Tensor], bias: float, published: float
) -> None:
    assert critical(nonlinearity, bias_variance=bias) == pytest.approx(published, rel=3e-4)


def test_slope_and_lengths_in_the_ordered_phase() -> None:
    given: dict[str, Any] = {"weight_variance": 1.3, "bias_variance": 0.05}
    assert chi(torch.tanh, **given) == pytest.approx(0.880, abs=5e-4)  # Schoenholz et al., 2017
    assert fixed_correlation(torch.tanh, **given) == 1
    length = -1 / math.log(chi(torch.tanh, **given))
    assert correlation_length(torch.tanh, **given) == pytest.approx(length, rel=1e-8)
    assert depth_scale(torch.tanh, **given) == pytest.approx(length, rel=1e-8)


def test_correlations_of_erf_in_the_chaotic_phase() -> None:
    """E[erf(u) erf(v)] = 2/pi arcsin(2 q c / (1 + 2 q)) (Williams, 1997)."""
    weight, bias = 6.0, 0.05

    def image(q: float, c: float) -> float:
        return weight * 2 / math.pi * math.asin(2 * q * c / (1 + 2 * q)) + bias

    q = c = 0.5
    for _ in range(400):
        q = image(q, 1.0)
    for _ in range(400):
        c = image(q, c) / q
    assert fixed_point(torch.erf, weight, bias_variance=bias) == pytest.approx(q, rel=1e-8)
    assert fixed_correlation(torch.erf, weight, bias_variance=bias) == pytest.approx(c, rel=1e-7)
    assert 0 < c < 0.5
    slope = (image(q, c + 1e-5) - image(q, c - 1e-5)) / q / 2e-5
    found = correlation_length(torch.erf, weight, bias_variance=bias)
    assert found == pytest.approx(-1 / math.log(slope), rel=1e-5)


def test_the_end_of_the_variance() -> None:
    assert fixed_point("selu", 1.0) == pytest.approx(1, rel=1e-9)  # Klambauer et al., 2017
    assert fixed_point("tanh", 0.9) == 0
    assert (chi("tanh", 0.9), chi("relu", 1.0)) == (0.9, 0.5)
    assert (correlation_length("relu", 2.0), depth_scale("relu", 2.0)) == (math.inf, math.inf)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: critical("tahn"), "Did you mean 'tanh'"),
        (lambda: critical("tanh", bias_variance=-1.0), "bias_variance is a finite number, at lea"),
        (lambda: chi("tanh", 0.0), "weight_variance is a finite number above 0, not 0.0"),
        (lambda: chi("tanh", math.nan), "weight_variance is a finite number above 0, not nan"),
        (lambda: critical("relu", bias_variance=0.05), "no weight variance is critical for 'relu'"),
        (lambda: chi("relu", 3.0), "grows without end with weight_variance=3.0"),
        (lambda: critical(torch.sign), "it jumps"),
        (lambda: chi(lambda z: z.tanh() + 0.1 * z.sign(), 1.0), "it jumps"),
        (lambda: critical(lambda z: z.cumsum(0)), "does not act element by element"),
    ],
)
def test_what_has_no_answer_is_named(call: Callable[[], float], message: str) -> None:
    with pytest.raises(SchemeError, match=message):
        call()


def test_the_names_are_public() -> None:
    assert gi.theory.critical is critical
