"""What functions make of a signal is measured for each layer, by its own constants."""

from __future__ import annotations

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
    near, far, again = (plan[f"{number}.weight"].why for number in (0, 2, 4))
    assert "a second moment of about 0.38" in near  # exp(-0.4 c^2) / sqrt(5), over the centers
    assert "e-05, which" in far  # 7e-5
    assert again == near
