"""What functions make of a signal is measured for each layer, by its own constants."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import goodinit as gi


class Bumps(nn.Module):
    def __init__(self, reach: float) -> None:
        super().__init__()
        self.register_buffer("centers", torch.linspace(-reach, reach, 8))
        self.weight = nn.Parameter(torch.randn(16, 16 * 8))

    def forward(self, x):
        bumps = torch.exp(-((x[..., None] - self.centers) ** 2))
        return nn.functional.linear(bumps.flatten(-2), self.weight)


def test_layers_with_other_constants_are_measured_by_themselves():
    model = nn.Sequential(Bumps(1.0), nn.Linear(16, 16), Bumps(30.0), nn.Linear(16, 16), Bumps(1.0))
    plan = gi.plan(model, "lecun", inputs=torch.zeros(512, 16))
    near, far, again = (plan[f"{number}.weight"] for number in (0, 2, 4))
    square = (-0.4 * torch.linspace(-1, 1, 8) ** 2).exp().mean().item() / 5**0.5
    assert near.fan_in == pytest.approx(128 * square, rel=0.01)
    assert not near.guessed
    assert "e-05, which" in far.why  # 7e-5
    assert again.fan_in == near.fan_in


class Pooled(nn.Module):
    """Rows of the input, averaged by shares that a weight makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.share, self.out = nn.Linear(24, 4), nn.Linear(24, 8)

    def forward(self, x):
        return self.out(self.share(x).softmax(1).mT @ x)


def test_an_average_of_inputs_by_shares_is_doubted():
    plan = gi.plan(Pooled(), "lecun", inputs=torch.randn(16, 12, 24))
    assert [row.name for row in plan if row.guessed] == ["out.weight"]
    assert "shares made of the data multiply its input" in plan["out.weight"].why
