"""What half precision and smaller can hold of a scheme's values."""

from __future__ import annotations

import pytest
import torch

import goodinit.schemes as s
from goodinit.errors import SchemeError
from goodinit.schemes import Layout, Scheme, Site
from goodinit.schemes.dtype_range import check_range, share_of_zeros

SITE = Site((4,))
HALF = torch.float16  # ends at 65504; half of its smallest number is 2^-25 = 2.98e-8
LARGEST = 6.2306  # standard normal value


@pytest.mark.parametrize(
    ("scheme", "fits"),
    [
        (s.Constant(65504.0), True),
        (s.Constant(65505.0), False),
        (s.Constant(-65505.0), False),
        (s.Constant(2.99e-8), True),
        (s.Constant(2.97e-8), False),
        (s.Constant(-2.97e-8), False),
        (s.Zeros(), True),
        (s.Normal(65500.0 / LARGEST), True),
        (s.Normal(2000.0, mean=65504.0 - 2001 * LARGEST), True),
        (s.Normal(2000.0, mean=65504.0 - 1999 * LARGEST), False),
        (s.Normal(2000.0, mean=1999 * LARGEST - 65504.0), False),
        (s.Normal(2.99e-8 / LARGEST), True),
        (s.Normal(2.97e-8 / LARGEST), False),
        # Bounds keep values from where the law's tails are.
        (s.Uniform(-65000.0, 65500.0), True),
        (s.Uniform(-65000.0, 65510.0), False),
        (s.Uniform(-65510.0, 65000.0), False),
        (s.TruncatedNormal(30_000.0), True),
        (s.TruncatedNormal(30_000.0, cut=(-2.2, 2.0)), False),
        (s.TruncatedNormal(30_000.0, cut=(-9.0, -1.0)), False),
        (s.TruncatedNormal(30_000.0, cut=(1.0, 9.0)), False),
        (s.LogUniform(1.0, 16.0), True),
    ],
    ids=repr,
)
def test_half_precision(scheme: Scheme, fits: bool) -> None:
    check_range(scheme, SITE, torch.bfloat16)  # reaches as far as float32
    if fits:
        check_range(scheme, SITE, HALF)
    else:
        with pytest.raises(SchemeError, match="float16"):
            check_range(scheme, SITE, HALF)


def test_a_law_of_no_width_is_in_range() -> None:
    matrix = Site.of((4, 4), Layout((0,), (1,)))
    for scheme in (s.XavierUniform(0.0), s.Normal(0.0), s.TruncatedNormal(0.0)):
        check_range(scheme, matrix, HALF)


def test_shares_of_zeros() -> None:
    """Of U(-1, 1) / 64 in e4m3, whose smallest number is 2^-9: below 2^-10 are 1/16."""
    tiny, normal = s.Uniform(-1 / 64, 1 / 64), s.Normal(1 / 64)
    error = (1 / 16 * 15 / 16 / 4096) ** 0.5
    assert abs(share_of_zeros(tiny, SITE, torch.float8_e4m3fn) - 1 / 16) < 5 * error
    assert share_of_zeros(normal, SITE, torch.float8_e4m3fn) == pytest.approx(0.05, abs=0.017)
    assert share_of_zeros(s.LogUniform(1.0, 2.0), SITE, torch.float8_e4m3fn) < 0.02
    assert share_of_zeros(s.Zeros(), SITE, torch.float8_e4m3fn) == 0.0
    assert share_of_zeros(s.Normal(1e-12), SITE, torch.bfloat16) == 0.0
    assert share_of_zeros(s.Normal(1e-12), SITE, torch.float16) == 1.0
