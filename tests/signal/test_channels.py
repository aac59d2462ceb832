"""The axis of channels: what cosines, dead units and error bars are counted along."""

from __future__ import annotations

import math

import pytest
import torch
from tests.signal.ways import normal
from torch import Tensor, nn

import goodinit as gi
from goodinit.signal.measure import measured

F = nn.functional


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (lambda: nn.Linear(64, 64, bias=False), normal(64, 64)),
        (lambda: nn.Linear(64, 64, bias=False), normal(8, 16, 64)),
        (lambda: nn.Linear(64, 64, bias=False), normal(8, 4, 4, 64)),
        (lambda: nn.Conv1d(64, 64, 1, bias=False), normal(8, 64, 4)),
        (lambda: nn.Conv1d(64, 64, 1, bias=False), normal(8, 64, 500)),
        (lambda: nn.Conv2d(64, 64, 1, bias=False), normal(8, 64, 4, 4)),
    ],
)
def test_the_width_is_the_number_of_channels(layer: type[nn.Module], x: Tensor) -> None:
    net = nn.Sequential(*[part for _ in range(30) for part in (layer(), nn.ReLU())])
    gi.init_(net, "xavier", seed=0)
    signal = measured(net, x)
    assert {row.width for row in signal.rows} == {64}
    assert math.isclose(signal.layers[-1].spread, math.sqrt(5 * 30 / 64))
    assert "GI102" in [finding.code for finding in signal.findings]


class Moves(nn.Module):
    """60 of 64 channels are dead, and lie along another axis when it shows."""

    def __init__(self, layer: nn.Module, move: object) -> None:
        super().__init__()
        self.layer, self.move = layer, move
        gi.init_(self, "he", seed=0)
        with torch.no_grad():
            layer.bias[:60] = -30

    def forward(self, x: Tensor) -> Tensor:
        return self.move(self.layer(x)).relu()


@pytest.mark.parametrize(
    ("layer", "x", "move"),
    [
        (nn.Linear(32, 64), normal(8, 10, 10, 32), lambda y: y.permute(0, 3, 1, 2)),
        (nn.Linear(32, 64), normal(8, 10, 32), lambda y: y.transpose(1, 2)),
        (nn.Linear(32, 64), normal(8, 64, 32), lambda y: y.mT),
        (nn.Conv1d(32, 64, 1), normal(8, 32, 64), lambda y: y.transpose(1, 2)),
        (nn.Conv1d(32, 64, 1), normal(8, 32, 9), lambda y: y),
        (nn.Conv2d(32, 64, 1), normal(8, 32, 6, 6), lambda y: y.flatten(2)),
        (nn.Conv2d(32, 64, 1), normal(8, 32, 6, 6), lambda y: y.flatten(2).mT.contiguous()),
        (nn.Conv2d(32, 64, 1), normal(8, 32, 6, 6), lambda y: torch.cat([y, y], 2)),
        (nn.Conv2d(32, 64, 1), normal(8, 32, 6, 6), lambda y: y.mean((2, 3), keepdim=True)),
        (nn.Conv2d(32, 64, 1), normal(8, 32, 6, 6), lambda y: F.interpolate(y, scale_factor=2)),
    ],
)
def test_dead_channels_are_seen_wherever_they_lie(
    layer: nn.Module, x: Tensor, move: object
) -> None:
    row = measured(Moves(layer, move), x)[":relu"]
    assert row.width == 64
    assert row.forward.idle is not None
    assert 60 / 64 <= row.forward.idle < 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_blur_the_cosines(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))
    gi.init_(net, {"*": gi.LeCunNormal(), "*.bias": gi.Normal(1.0)}, seed=0)
    gi.init_(net, {"2.bias": gi.Normal(8.0)}, seed=1)
    x = normal(64, 64)
    with torch.autocast("cpu", dtype=dtype):
        cosines = measured(net, x, backward=False).rows[-1].forward.across_samples
        y = net(x).double()
    unit = y / y.norm(dim=1, keepdim=True)
    cosine = (unit.sum(0).square().sum().item() - 64) / (64 * 63)
    assert 0.98 < cosine < 1
    assert cosines == pytest.approx(cosine, abs=1e-5)
