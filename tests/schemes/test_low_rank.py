"""Adapters that are computed from a weight, against what they are to be, component by component."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from goodinit.errors import SchemeError
from goodinit.schemes.low_rank import DAMPING, InputMoments, factors, from_batch, loftq

RANDOM = torch.Generator().manual_seed(3)
WEIGHT = torch.randn(6, 9, generator=RANDOM)
INPUTS = (torch.randn(50, 9, generator=RANDOM) * torch.arange(1.0, 10.0) + 2).double()


def moments(inputs: Tensor) -> InputMoments:
    return InputMoments(inputs.T @ inputs, inputs.sum(0), len(inputs))


@pytest.mark.parametrize("factor", [2.0, -0.5])
@pytest.mark.parametrize("rank", [1, 3])
def test_pissa_takes_the_largest_components(rank: int, factor: float) -> None:
    a, b = factors("pissa", WEIGHT, rank, factor)
    assert (a.shape, b.shape) == ((rank, 9), (6, rank))
    values = torch.linalg.svdvals(WEIGHT)
    left = torch.linalg.svdvals(WEIGHT - factor * b @ a)
    torch.testing.assert_close(left[: 6 - rank], values[rank:])
    torch.testing.assert_close(a.square().sum(1), b.square().sum(0))  # equal halves


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_olora_takes_the_first_rows_of_qr(rank: int) -> None:
    a, b = factors("olora", WEIGHT, rank, 2.0)
    torch.testing.assert_close(b.T @ b, torch.eye(rank))
    torch.testing.assert_close((b @ a)[:, :rank], WEIGHT[:, :rank])
    assert not a.tril(-1).any()


@pytest.mark.parametrize(("method", "largest"), [("corda_ipm", True), ("corda_kpm", False)])
@pytest.mark.parametrize(("rank", "factor"), [(1, 1.0), (3, -2.0)])
def test_corda_takes_what_the_inputs_use_most_or_least(
    method: str, largest: bool, rank: int, factor: float
) -> None:
    a, b = from_batch(method, WEIGHT, moments(INPUTS), rank, factor)
    second = INPUTS.T @ INPUTS / 50
    second += DAMPING * second.diagonal().mean() * torch.eye(9)
    values = torch.linalg.svdvals(WEIGHT.double() @ second)
    taken = torch.linalg.svdvals((factor * b @ a).double() @ second)[:rank]
    expected = values[:rank] if largest else values[-rank:]
    torch.testing.assert_close(taken, expected, rtol=1e-4, atol=1e-4 * values[0].item())


def test_eva_takes_the_directions_in_which_inputs_vary_most() -> None:
    a, b = from_batch("eva", WEIGHT, moments(INPUTS), 3, 1.0)
    assert not b.any()
    _, _, directions = torch.linalg.svd(INPUTS - INPUTS.mean(0), full_matrices=False)
    torch.testing.assert_close(a.abs(), directions[:3].abs().float(), rtol=1e-4, atol=1e-4)
    assert (a.gather(1, a.abs().argmax(1, keepdim=True)) > 0).all()
    flat = INPUTS.clone()
    flat[:, 2:] = 7.0  # nothing but two features vary
    from_batch("eva", WEIGHT, moments(flat), 2, 1.0)
    with pytest.raises(SchemeError, match="vary in 2 directions, and the adapter has rank 3"):
        from_batch("eva", WEIGHT, moments(flat), 3, 1.0)


def test_loftq_makes_up_for_what_is_rounded() -> None:
    def error(steps: int) -> float:
        a, b, quantized = loftq(WEIGHT, 2, 2.0, steps, lambda w: w)
        return (WEIGHT - quantized - 2.0 * b @ a).norm().item()

    rounded = (WEIGHT - loftq(WEIGHT, 2, 2.0, 1, lambda w: w)[2]).norm().item()
    assert error(1) < 0.9 * rounded
    assert error(5) < error(1)
