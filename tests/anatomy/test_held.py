"""What a parameter holds: one value, a pattern, or values."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from goodinit.anatomy.held import RECORDED, SMALL, Held, held_by, held_by_bias

BASE = torch.randn(16, generator=torch.Generator().manual_seed(0))
STARTS_AT_0 = BASE - BASE[0]
STEPS = 0.3 * torch.arange(8.0)[:, None]
ANGLES = STEPS * torch.tensor([1.0, 0.7, 0.123])
WAVES = torch.cat([ANGLES.sin(), ANGLES.cos()], -1)


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (torch.zeros(3, 3), "zeros"),
        (torch.full((3,), 1e-5), "constant"),
        (torch.ones(4).to(torch.float8_e4m3fn), "constant"),
        (torch.full((3,), 2e12), "values"),  # memory that nobody wrote to
        (torch.full((3,), 5e-13), "values"),
        (torch.eye(5), "pattern"),
        (torch.arange(1.0, 17.0).log(), "pattern"),
        (torch.arange(16.0) / 7, "pattern"),
        (torch.arange(5.0, 21.0) / 7, "pattern"),  # no 0 shows it at once
        (0.9 ** torch.arange(16.0), "pattern"),
        (700 * (1.36 ** torch.arange(1.0, 9.0) - 1), "pattern"),  # frequencies on the mel scale
        (300 - 1.5 ** torch.arange(2.0, 12.0), "pattern"),
        (700 * (1.36 ** torch.arange(1.0, 9.0) - 1) + torch.arange(8.0) ** 2, "values"),
        (torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0]]), "pattern"),  # integers
        (torch.tensor([0.3, 0.7, 0.3, 0.7, 0.3, 0.7]), "pattern"),
        (BASE.repeat_interleave(2), "pattern"),
        (STARTS_AT_0 + STEPS, "pattern"),  # each column is arithmetic
        (STARTS_AT_0 + STEPS.square(), "values"),
        (torch.arange(4.0) / 7, "pattern"),
        (torch.arange(3.0) / 7, "values"),  # three numbers are even now and then
        (torch.eye(2050), "values"),  # too large to be looked at
        (torch.tensor([0.0, 1.0, float("nan"), 1.0, 0.0]), "values"),
        (torch.tensor([0.0, 1e13, 0.0, 1e13]), "values"),  # no author chooses it
        (BASE.view(4, 4).T, "values"),
        (torch.full((4, 4), 0.5).T, "constant"),
        (torch.zeros(4, 4)[:, ::2], "zeros"),
        ((torch.arange(16.0) / 7).view(4, 4).T, "pattern"),
        (torch.stack([torch.arange(16.0) / 7, BASE], 1)[:, :1], "pattern"),  # along the column
        (torch.stack([BASE, torch.arange(16.0) / 7], 1)[:, :1], "values"),
        ((torch.arange(32.0) / 7).view(1, 32)[:, ::2], "pattern"),
        (torch.tensor(0.3).expand(3, 4), "constant"),
        (torch.tensor(0.3), "constant"),
        (torch.tensor([0.3] * 20 + [0.4]), "pattern"),  # two values, the other one at the end
        (torch.tensor([0.31] * 20 + [0.41, 1 / 7]), "values"),
        (BASE, "values"),
        (torch.cat([BASE[:3], torch.zeros(1)]).bfloat16(), "values"),  # it has three digits
        (torch.tensor([0.3, 0.25, 0.0, 0.125]), "pattern"),
        (torch.tensor([0.3, 0.7]), "pattern"),  # decimals of a few digits
        (torch.tensor([[1.0, 0.0], [0.125, 0.25]], dtype=torch.float64), "pattern"),
        (torch.tensor([0.3, 1 / 7]), "values"),
        (torch.tensor([0.3, 0.7142]), "values"),
        (torch.tensor([0.3, 0.7]).half(), "values"),  # a half has few digits
        (torch.tensor([0.0, 1 / 7]), "values"),  # two numbers are no pattern
        (torch.tensor([0.0, 1 / 7, 0.0]), "pattern"),
        (torch.cat([BASE.repeat_interleave(2), torch.zeros(2)]), "pattern"),
        (torch.cat([torch.zeros(2), BASE.repeat_interleave(2)]).bfloat16(), "values"),
        (torch.stack([STEPS.sin(), STEPS.cos()], -1).expand(8, 1, 2).repeat(1, 1, 3), "pattern"),
        (WAVES, "pattern"),
        (WAVES.view(2, 4, 6), "pattern"),
        (WAVES.bfloat16(), "values"),  # its squares are rounded
        (WAVES * 1.01, "values"),
        (torch.tensor([float("nan")]), "values"),
        (torch.tensor([float("inf")]), "values"),
        (torch.tensor(float("nan")), "values"),
        (torch.tensor([0.5, 0.1, 0.9, 0.3, 1 / 7]), "values"),
        (torch.empty(0), "unknown"),
        (torch.empty(3, device="meta"), "unknown"),
        (torch.ones(3, dtype=torch.int64), "unknown"),
    ],
    ids=str,
)
def test_what_it_holds(tensor: Tensor, what: str) -> None:
    assert held_by(tensor).what == what


def test_patterns_are_looked_for_where_they_may_be() -> None:
    assert held_by(torch.eye(5), patterns=False).what == "values"
    assert held_by(torch.ones(5), patterns=False) == Held("constant", 1.0)


def test_a_root_mean_square_is_known_where_it_is_small() -> None:
    signs = BASE.double().sign()
    assert held_by(0.04 * signs, patterns=False).rms == pytest.approx(0.04)
    assert held_by(SMALL * signs, patterns=False).rms == pytest.approx(SMALL)
    assert held_by(0.06 * signs, patterns=False).rms == float("inf")
    assert held_by(-0.06 * signs.abs(), patterns=False) == Held("constant", -0.06)
    assert held_by(torch.where(signs < 0, -0.06, 0.01), patterns=False).rms == float("inf")
    assert held_by(2e-12 * signs, patterns=False).rms == pytest.approx(2e-12)
    assert held_by(1e-12 * signs, patterns=False).rms == float("inf")


@pytest.mark.parametrize(
    ("real", "imaginary", "what"),
    [
        (torch.full((6,), -0.5), BASE[:6], "pattern"),
        (BASE[:6], torch.arange(6.0), "pattern"),
        (torch.zeros(6), BASE[:6], "unknown"),
    ],
)
def test_complex_numbers_are_a_pattern_by_their_parts(real, imaginary, what):
    assert held_by(torch.complex(real, imaginary)).what == what


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def row_of(values: Tensor, *at: int, value: float = 0.7) -> Tensor:
    """Values, of which those at these places are one value."""
    return values.index_fill(0, torch.tensor(at), value)


LONG = torch.randn(160, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("value", "what"),
    [(1e12, "values"), (0.99e12, "constant"), (1e-12, "values"), (1.01e-12, "constant"),
     (-1e12, "values"), (-0.99e12, "constant")],
)  # fmt: skip
def test_one_value_that_an_author_chooses(value: float, what: str) -> None:
    assert held_by(doubles(*[value] * 5)).what == what


@pytest.mark.parametrize(
    ("bias", "what"),
    [
        (torch.tensor([1.0]), "unknown"),  # alone, a law of torch's gives it
        (torch.tensor([1.01]), "constant"),
        (torch.tensor([-1.01]), "constant"),
        (torch.tensor([1.01e12]), "unknown"),
        (torch.tensor([1.5, 1.5]).half(), "unknown"),
        (torch.tensor([1.5, 1.5, 1.5]).half(), "unknown"),
        (torch.tensor([0.5] * 4).half(), "constant"),
        (torch.tensor([0.5, 0.5]), "constant"),
        (torch.tensor([-1.0, -1.0]), "constant"),
        (doubles(0.5), "unknown"),
        (torch.tensor([0.3, 0.25, 0.7]), "pattern"),  # decimals of a few digits
        (torch.tensor([0.3, 0.25]), "unknown"),
        (torch.zeros(2), "unknown"),
        (torch.zeros(20), "unknown"),
        (torch.full((4,), 1e-13), "unknown"),
        (row_of(BASE[:12], *range(8)), "pattern"),
        (row_of(BASE[:12], *range(7)), "unknown"),
        (row_of(BASE[:12], *range(8), value=0.0), "unknown"),
        (row_of(row_of(BASE[:12], *range(3, 12)), 0, 1, 2, value=-1.0), "pattern"),
        (row_of(LONG, *range(0, 100, 10)), "pattern"),
        (row_of(LONG, *range(0, 90, 10)), "unknown"),
        (row_of(LONG, *range(1, 120, 10)), "unknown"),  # the first look doesn't meet them
        (torch.full((2, 3), 0.5), "unknown"),
        (BASE, "unknown"),
        (torch.tensor([1, 1, 1]), "unknown"),
        (torch.full((3,), 0.5, device="meta"), "unknown"),
    ],
    ids=str,
)
def test_what_a_bias_holds(bias: Tensor, what: str) -> None:
    assert held_by_bias(bias).what == what


def test_a_bias_on_meta_holds_what_was_recorded() -> None:
    bias = torch.empty(3, device="meta")
    vars(bias)[RECORDED] = torch.full((3,), 0.5)
    assert held_by_bias(bias) == Held("constant", 0.5)
    assert held_by(bias) == Held("constant", 0.5)


@pytest.mark.parametrize(
    ("values", "apart"),
    [
        ((1.2, 1.3, 1.41), True),
        ((-1.2, -1.3, -1.41), True),
        ((-1.2, 1.3, 1.41), False),
        ((1.2, 1.3, -1.41), False),
        ((1.2, 1.31), False),  # two lie on one side now and then
        ((0.9, 0.93, 1.0), False),  # as a law with the bound 1 may
        ((0.9, 0.93, 1.01), True),
        ((1e-4, 5.0, 6.0), False),  # memory that was never written
        ((1.1e-4, 5.0, 6.0), True),
        ((9.0e3, 9.1e3, 1e4), False),
        ((9.0e3, 9.1e3, 9.99e3), True),
        ((0.51, 1.0, 1.49), True),  # 3.53 standard errors
        ((0.505, 1.0, 1.495), False),  # 3.4995
        ((0.1, 0.5, 5.17), False),  # an rms of 2.999
        ((0.1, 0.5, 5.18), True),
    ],
)
def test_values_on_one_side_of_0(values: tuple[float, ...], apart: bool) -> None:
    assert held_by(doubles(*values), patterns=False).apart is apart
    if apart:
        assert held_by_bias(doubles(*values) * (1 + 1e-9)).apart  # no short decimals
    assert not held_by(doubles(*values).view(1, -1), patterns=False).apart


@pytest.mark.parametrize(
    ("table", "what"),
    [
        (WAVES, "pattern"),
        (torch.cat([torch.zeros(2, 6), WAVES]), "pattern"),  # padding comes first
        (torch.cat([WAVES[:3], torch.zeros(1, 6), WAVES[3:]]), "pattern"),
        (torch.cat([torch.zeros(2, 6), WAVES[:1]]), "values"),  # one row says little
        (torch.cat([torch.zeros(2, 6), WAVES[:2]]), "pattern"),
        (WAVES[:1], "values"),
        (torch.cat([WAVES, BASE[None, :6]]), "values"),
        (torch.cat([BASE[None, :6], WAVES]), "values"),
        (WAVES.view(2, 4, 6), "values"),
        (WAVES.bfloat16(), "values"),
    ],
    ids=str,
)
def test_a_table_of_sines_is_one_without_its_padding(table: Tensor, what: str) -> None:
    assert held_by(table, patterns=False).what == what
