"""Effective rank: of known matrices, exactly and by the sketch."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from goodinit.signal.measure import measured
from goodinit.signal.moments import PROBES, effective_rank


def slowly(x: torch.Tensor) -> float:
    values = torch.linalg.svdvals(x.double()).square()
    return (values.sum().square() / values.square().sum()).item()


SHAPES = [(1, 7), (50, 20), (20, 50)]
SCALES = [1.0, 1e-30, 1e30]


@pytest.mark.parametrize(
    ("shape", "scale"), [*itertools.product(SHAPES, SCALES), ((1200, 1100), 1e30)]
)
def test_effective_rank(shape: tuple[int, int], scale: float) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) @ torch.diag(
        torch.linspace(0, 1, shape[1]) ** 2 + 0.01
    )
    found = effective_rank(x * scale)
    large = min(shape) > 1024
    # Hutchinson's relative standard error: sqrt(2 sum l^4 / (sum l^2)^2 / probes), at most 18 %.
    squares = torch.linalg.svdvals(x.double()).square()
    noise = (2 * squares.pow(4).sum() / squares.square().sum().square() / PROBES).sqrt().item()
    assert found == pytest.approx(slowly(x), rel=5 * noise if large else 1e-3)


def test_no_rank() -> None:
    assert effective_rank(torch.zeros(3, 4)) is None
    assert effective_rank(torch.full((3, 4), math.inf)) is None


def test_on_request() -> None:
    net = nn.Sequential(nn.Conv2d(3, 16, 1, bias=False), nn.ReLU())
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert all(row.forward.rank is None for row in measured(net, x).rows)
    rows = measured(net, x, rank=True).rows
    features = net[0](x).detach().movedim(1, -1).reshape(-1, 16)
    assert rows[0].forward.rank == pytest.approx(slowly(features), rel=1e-3)
    assert rows[0].forward.rank < 3.001  # three channels went in
