"""The fan of a product of which a power is taken, or the largest of a few: E[y^2] = 1."""

import pytest
import torch
from torch import nn

import goodinit as gi

SAMPLES, INPUTS, OUTPUTS = 4096, 256, 60


class Net(nn.Module):
    def __init__(self, function, layers):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(INPUTS, OUTPUTS) for _ in range(layers))
        self.function = function

    def forward(self, x):
        return self.function(*(layer(x) for layer in self.layers))


FOLLOWED = {
    "third power": lambda y: y**3,
    "third power of a view": lambda y: y.view(-1, 6, 10).pow(3).flatten(1),
    "square": torch.square,
    "second power": lambda y: y.pow(2),
    "largest of three": lambda y: y.view(-1, 20, 3).amax(-1),
    "largest of five": lambda y: y.view(-1, 12, 5).max(-1)[0],
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_power_has_the_second_moment_of_the_input(name):
    torch.manual_seed(0)
    net, x = Net(FOLLOWED[name], 1), torch.randn(SAMPLES, INPUTS)
    plan = gi.plan(net, "lecun", inputs=x[:4])
    row = plan["layers.0.weight"]
    assert row.guessed
    assert row.fan_in != INPUTS
    found = []
    for seed in range(8):
        gi.apply_(net, plan, seed=seed)
        found.append(net(x).square().mean().item())
    # Of a third power one draw varies by .052, the mean of 8 by .018. It is 1 + 6 / INPUTS, as the
    # variance of INPUTS weights varies: four standard errors and that are .098.
    assert sum(found) / len(found) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    "function",
    [
        lambda y: (y / 2) ** 3,
        lambda y: (y**3).sum(-1),
        lambda y: y**3 + y,
        lambda y: y.view(-1, 2, 30).amax(-1),
        lambda y: y.float_power(3),
    ],
    ids=["a number before", "a sum after", "a sum with it", "of thirty", "without a number"],
)
def test_what_is_not_known_is_left_out(function):
    torch.manual_seed(0)
    row = gi.plan(Net(function, 1), "lecun", inputs=torch.randn(4, INPUTS))["layers.0.weight"]
    assert (row.fan_in, row.guessed) == (INPUTS, True)
