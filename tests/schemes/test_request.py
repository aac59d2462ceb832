"""Where float32's stream ends and float64's arithmetic begins."""

from __future__ import annotations

import pytest
import torch

from goodinit.schemes.request import Request, fill_request_, float32_law
from goodinit.streams import Stream


@pytest.mark.parametrize(("high", "single"), [(0.0097, False), (0.0099, True)])
def test_an_interval_of_2_to_the_24_words_is_drawn_in_float32(high: float, single: bool) -> None:
    """P(0 < z < h) = .399 h, to three digits, is 2^-8 of all words at h = .00979."""
    law = float32_law(Request("truncated", 0.0, 1.0, 0.0, high, 0.0, high))
    assert (law is not None) is single


def test_a_narrow_interval_left_of_0_is_the_mirror_image() -> None:
    def drawn(low: float, high: float) -> torch.Tensor:
        request = Request("truncated", 0.0, 1.0, low, high, low, high)
        return fill_request_(torch.empty(99, dtype=torch.float64), request, Stream(0), "w")

    right, left = drawn(0.1, 0.101), drawn(-0.101, -0.1)
    assert torch.equal(right, -left)
    assert right.unique().numel() == 99
