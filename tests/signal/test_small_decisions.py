"""What measuring decides about one tensor or one call, at its edges."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from goodinit.signal.equality import (
    holds_one_number,
    is_the_same_for_all,
    is_zero,
    units_are_equal,
    units_move_as_one,
)
from goodinit.signal.first_loss import FirstLoss, cross_entropy_of
from goodinit.signal.moments import Axes, moments_of
from goodinit.trace.calls import Call

EPS = 2.0**-23
UNITS = torch.tensor([[1.0, 1.0, 1.0], [-3.0, -3.0, -3.0]])  # two samples of three units


def off(by: float, unit: int = 2) -> torch.Tensor:
    """Equal units, but for one number, by a multiple of the largest one's spacing."""
    x = UNITS.double().clone()
    x[0, unit] += by * 3 * EPS
    return x.float()


@pytest.mark.parametrize(
    ("x", "equal"),
    [
        (UNITS, True),
        (off(60.0), True),
        (off(70.0), False),  # 64 roundings are allowed
        (off(70.0, unit=1), False),
        (off(1e6, unit=1), False),
        (torch.zeros(2, 3), False),  # they do nothing
        (UNITS[:, :1], False),  # one unit
        (UNITS.int(), False),
    ],
)
def test_units_are_equal_within_rounding(x: torch.Tensor, equal: bool) -> None:
    assert units_are_equal(x, 1) is equal
    assert units_are_equal(x.T, 0) is equal


@pytest.mark.parametrize(
    ("x", "one"),
    [
        (UNITS + torch.tensor([0.0, 5.0, -2.0]), True),
        (UNITS * torch.tensor([1.0, 2.0, 1.0]), False),
        (torch.tensor([[1.0, 2.0], [1.0, 2.0]]), False),  # they don't move
        # Moves below 16 times the rounding of the largest number, 64 * 8 eps, are rounding.
        (torch.tensor([[8.0, 8.0], [8.0, 8.0]]) + torch.tensor([[0.0], [1000 * 8 * EPS]]), False),
        (torch.tensor([[8.0, 8.0], [8.0, 8.0]]) + torch.tensor([[0.0], [1100 * 8 * EPS]]), True),
    ],
)
def test_units_move_as_one_if_they_move(x: torch.Tensor, one: bool) -> None:
    assert units_move_as_one(x, 1) is one


@pytest.mark.parametrize(
    ("x", "one"),
    [
        (torch.full((2, 3), 2.0), True),
        (torch.tensor([2.0, 3.0, 2.0]), False),  # its ends agree
        (torch.tensor([2.0, 2.0, 3.0]), False),
        (torch.empty(0), False),
        (torch.tensor(2.0).expand(3, 4), True),
        (torch.tensor([[2.0], [3.0]]).expand(2, 4), False),
    ],
)
def test_one_number(x: torch.Tensor, one: bool) -> None:
    assert holds_one_number(x) is one


def test_zeros_and_samples_bit_for_bit() -> None:
    assert [is_zero(x) for x in (torch.zeros(3), torch.tensor([0.0, 1e-38]))] == [True, False]
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    assert [is_the_same_for_all(x, axis) for axis in (0, 1)] == [True, False]


def loss_of(*args: torch.Tensor, function: str = "cross_entropy", **kwargs: object) -> FirstLoss:
    result = getattr(functional, function)(*args, **kwargs)
    found = cross_entropy_of(Call("", function, False, args, kwargs, result), 7)
    assert found is not None
    return found


LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0], [1.0, 0.0, 0.0]])
TARGET = torch.tensor([0, 1, 0, 0])
EACH = -LOGITS.log_softmax(1)[torch.arange(4), TARGET].double()
HALVES = -2 * 0.5 * math.log(0.5)


def test_the_first_loss_of_classes() -> None:
    found = loss_of(LOGITS, TARGET)
    assert found.value == pytest.approx(EACH.mean().item())
    assert found.error == pytest.approx(EACH.std().item() / 2)
    assert (found.classes, found.blind, found.row) == (3, math.log(3), 7)
    assert found.by_frequency == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    summed = loss_of(LOGITS, TARGET, reduction="sum")
    assert summed == found
    again = loss_of(LOGITS.log_softmax(1), TARGET, function="nll_loss")
    assert again.value == pytest.approx(found.value)


@pytest.mark.parametrize("ignored", [-100, 1])
def test_ignored_targets_count_for_nothing(ignored: int) -> None:
    target = torch.tensor([0, ignored, 0, 2])
    found = loss_of(LOGITS, target, ignore_index=ignored)
    each = -LOGITS.log_softmax(1)[torch.tensor([0, 2, 3]), torch.tensor([0, 0, 2])].double()
    assert found.value == pytest.approx(each.mean().item())
    assert found.error == pytest.approx(each.std().item() / math.sqrt(3))
    assert found.by_frequency == pytest.approx(
        -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)), rel=1e-6
    )


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "by_frequency"),
    [
        ((LOGITS[:1], TARGET[:1]), {}, None, 0.0),
        ((LOGITS[0], TARGET[0]), {}, None, 0.0),  # no batch
        ((LOGITS[:2], torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5]])), {}, True, 1.0397),
        ((LOGITS[:2], TARGET[:2]), {"weight": torch.ones(3)}, None, None),
        ((LOGITS[:2], TARGET[:2]), {"label_smoothing": 0.1}, None, None),
        ((LOGITS[:2], TARGET[:2]), {"label_smoothing": 0.0}, True, HALVES),
        ((LOGITS[:2, :, None].expand(2, 3, 5), TARGET[:2, None].expand(2, 5)), {}, True, HALVES),
    ],
)
def test_other_calls_of_a_loss(args, kwargs, error, by_frequency) -> None:
    found = loss_of(*args, **kwargs)
    assert (found.error is None) is (error is None)
    assert found.classes == 3
    if by_frequency is None:
        assert found.by_frequency is None
    else:
        assert found.by_frequency == pytest.approx(by_frequency, abs=1e-4)


def test_what_is_no_first_loss() -> None:
    result = torch.tensor(1.0)
    for function, args in (("mse_loss", (LOGITS, LOGITS)), ("cross_entropy", (result, TARGET))):
        assert cross_entropy_of(Call("", function, False, args, {}, result), 0) is None


# Two samples of two positions of two features; the last sample is the first, times -1.
ROWS = torch.tensor([[[3.0, 0.0], [0.0, 3.0]], [[-3.0, 0.0], [0.0, -3.0]]])


@pytest.mark.parametrize(
    ("x", "axes", "batch"),
    [
        (ROWS, Axes(0, 2), 2),
        (ROWS.movedim(0, 1), Axes(1, 2), 2),
        (ROWS.movedim(2, 0), Axes(1, 0), 2),  # features before the samples
        (ROWS.mT, Axes(0, 1), 2),
        (ROWS.flatten(0, 1), Axes(0, 1), 2),  # several rows of each sample
        (ROWS.double() * 1e150, Axes(0, 2), 2),
        (ROWS * 1e19, Axes(0, 2), 2),  # its squares overflow in float32
        (ROWS * 1e-22, Axes(0, 2), 2),
    ],
)
def test_axes(x: torch.Tensor, axes: Axes, batch: int) -> None:
    found = moments_of(x, axes, batch)
    scale = x.abs().max().item() / 3
    assert found.mean == 0.0
    assert found.second / scale / scale == pytest.approx(4.5)
    assert (found.across_samples, found.across_positions) == pytest.approx((-1.0, 0.0), abs=1e-6)
    assert found.error == 0.0


@pytest.mark.parametrize(
    ("axes", "batch", "samples", "positions"),
    [
        (Axes(0, 2), 1, False, True),
        (Axes(None, 2), 1, False, True),
        (Axes(0, None), 2, True, False),
    ],
)
def test_what_one_sample_or_one_position_leaves_unknown(axes, batch, samples, positions) -> None:
    found = moments_of(ROWS if batch == 2 else ROWS[:1], axes, batch)
    assert (found.across_samples is not None) is samples
    assert (found.error is not None) is samples
    assert (found.across_positions is not None) is positions


def test_masks_count_as_0_where_they_are_meant() -> None:
    x = torch.tensor([[1.0, -math.inf], [2.0, -1e31]])
    masked = moments_of(x, Axes(0, 1), 2, masks=True)
    assert (masked.second, masked.bad) == (5 / 4, 0)
    assert moments_of(x, Axes(0, 1), 2).bad == 1
    assert moments_of(x / 0, Axes(0, 1), 2, idle=0.5).idle == 0.5
