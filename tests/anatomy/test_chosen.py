"""Weights whose best outputs are chosen: a router where they score, a layer where they go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from goodinit.anatomy import read


class Net(nn.Module):
    """A weight of which three outputs of six are chosen, and one that takes three or eight."""

    def __init__(self, run: Callable[..., Tensor], inputs: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(8, 6, bias=False)
        self.second = nn.Linear(inputs, 4, bias=False)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def scattered(m: Net, x: Tensor) -> Tensor:
    best = m.first(x).topk(3)
    return m.second(torch.zeros(len(x), 6).scatter(1, best.indices, best.values)[:, :3])


@pytest.mark.parametrize(
    "run",
    [
        lambda m, x: m.second(m.first(x).topk(3).values),
        lambda m, x: m.second(m.first(x).topk(3).values.relu()),
        lambda m, x: m.second(m.first(x).sort(-1).values[:, :3]),
        lambda m, x: m.second(m.first(x).relu().topk(3).values.view(-1, 3).tanh()),
        lambda m, x: m.second(torch.cat([m.first(x).topk(2).values, x[:, :1]], 1)),
        scattered,
    ],
)
def test_what_is_chosen_and_goes_into_a_weight_is_a_signal(run: Callable[..., Tensor]) -> None:
    row = read(Net(run), torch.randn(5, 8)).rows[0]
    assert (row.facets.kind, row.facets.part) == ("linear", "weight")


def weighted(m: Net, x: Tensor) -> Tensor:
    shares = m.first(x).softmax(-1).topk(1).values
    return m.second(x) * shares


def picked(m: Net, x: Tensor) -> Tensor:
    return m.second(x) * m.first(x).argmax(-1, keepdim=True)


def gathered(m: Net, x: Tensor) -> Tensor:
    return m.second(x.gather(1, m.first(x).topk(3).indices.repeat(1, 3)[:, :8]))


@pytest.mark.parametrize("run", [weighted, picked, gathered])
def test_scores_that_only_choose_are_a_routers(run: Callable[..., Tensor]) -> None:
    row = read(Net(run, inputs=8), torch.randn(5, 8)).rows[0]
    assert (row.facets.kind, row.facets.part) == ("router", "router")
