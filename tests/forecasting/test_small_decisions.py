"""What a forecast decides about one parameter, at its edges."""

from __future__ import annotations

import pytest
import torch

from goodinit.errors import SignalError
from goodinit.forecasting.streamed import KEPT_WHOLE, Parameter, _content, _windows_meet

G = torch.tensor([3.0, 4.0])


def parameter(uses: int) -> Parameter:
    return Parameter(torch.zeros(2), "w", 0, uses=uses)


def test_a_gradient_is_the_norm_of_the_sum_of_what_arrives() -> None:
    once, twice, partly, never = (parameter(uses) for uses in (1, 2, 2, 1))
    once.add(G)
    twice.add(G)
    assert twice.size is None  # one more may come
    twice.add(G * torch.tensor([1.0, -1.0]))
    partly.add(G)
    for one in (once, twice, partly, never):
        one.close()
    assert (once.size, twice.size, partly.size, never.size) == (5.0, 6.0, 5.0, None)
    assert twice.sum is partly.sum is None


def test_more_gradients_than_uses_can_not_be_added_up() -> None:
    one = parameter(1)
    one.add(G)
    with pytest.raises(SignalError, match="the gradient of w arrived in more parts than it was"):
        one.add(G)


BASE = torch.arange(12.0)


@pytest.mark.parametrize(
    ("a", "b", "meet"),
    [
        (BASE[:6], BASE[6:], False),
        (BASE[:7], BASE[6:], True),
        (BASE[6:], BASE[:6], False),
        (BASE[6:], BASE[:7], True),
        (BASE[2:4], BASE, True),
        (BASE.view(3, 4)[:, 0], BASE[9:], False),  # 0, 4, 8
        (BASE.view(3, 4)[:, 0], BASE[8:], True),
        (BASE.view(3, 4)[:, 3], BASE[:3], False),  # 3, 7, 11
        (BASE[:2].double(), BASE[2:], True),  # by bytes
    ],
)
def test_windows_that_meet(a: torch.Tensor, b: torch.Tensor, meet: bool) -> None:
    assert _windows_meet(a, b) is meet
    assert _windows_meet(b, a) is meet


def test_of_a_large_value_the_row_with_the_largest_number_is_kept() -> None:
    large = torch.zeros(KEPT_WHOLE // 4 + 1, 4)
    large[7, 2] = -3.0
    assert torch.equal(_content(large), large[7].expand(large.shape))
    assert _content(large).stride() == (0, 1)
    for whole in (large[:-1], large.flatten(), large.int()):
        assert torch.equal(_content(whole), whole)
        assert _content(whole).data_ptr() != whole.data_ptr()
