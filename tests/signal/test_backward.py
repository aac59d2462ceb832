"""GI108: the way back is followed wherever the gradient goes, whatever is called last."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.signal.measure import measured

N = 64
X = torch.randn(N, N, generator=torch.Generator().manual_seed(0))
SEQUENCE = torch.randn(32, 60, 8, generator=torch.Generator().manual_seed(1))


def found(model: nn.Module, inputs: gi.Inputs) -> list[tuple[str, str]]:
    signal = measured(model, inputs)
    return [(f.where, f.cause.split()[2]) for f in signal.findings if f.code == "GI108"]


class Cells(nn.Module):
    """A recurrent network by steps, and a head on the last one."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.cell, self.head = nn.RNNCell(8, N), nn.Linear(N, 10)
        gi.init_(self, "xavier", seed=0)
        gi.init_(self.cell, {"weight_hh": gi.Normal(std)}, seed=0)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), N)
        for step in x.unbind(1):
            h = self.cell(step, h)
        return self.head(h)


class ByHand(nn.Module):
    """The same, written out; the terms of the sum in one order or the other."""

    def __init__(self, std: float, add: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.hidden, self.taken, self.add = nn.Linear(N, N), nn.Linear(8, N), add
        gi.init_(self, {"*": gi.LeCunNormal(), "*.bias": gi.Zeros()}, seed=0)
        gi.init_(self, {"hidden.weight": gi.Normal(std)}, seed=0)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), N)
        for step in x.unbind(1):
            h = self.add(self.hidden(h), self.taken(step)).tanh()
        return h


@pytest.mark.parametrize(("std", "what"), [(0.6, "explodes"), (0.01, "vanishes")])
def test_through_time(std: float, what: str) -> None:
    ((where, how),) = found(Cells(std), SEQUENCE)
    assert where.startswith("head:linear to cell:rnn_tanh_cell")
    assert how == what
    for add in (torch.add, lambda a, b: b + a):
        ((where, how),) = found(ByHand(std, add), SEQUENCE)
        assert where.startswith("hidden:linear#60 to ")
        assert how == what


class Headed(nn.Module):
    def __init__(self, head_first: bool) -> None:
        super().__init__()
        parts = [part for _ in range(40) for part in (nn.Linear(N, N), nn.Tanh())]
        self.body, self.main, self.head = nn.Sequential(*parts), nn.Linear(N, N), nn.Linear(N, 10)
        self.head_first = head_first
        gi.init_(self, "xavier", seed=0)
        gi.init_(self.body, gi.Normal(0.6), seed=0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.head_first:
            aside = self.head(x)
            return self.main(self.body(x)), aside
        y = self.main(self.body(x))
        return y, self.head(x)


class Conditioned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(N, N) for _ in range(40))
        self.conditions = nn.ModuleList(nn.Linear(8, N) for _ in range(40))
        gi.init_(self, "xavier", seed=0)
        gi.init_(self.layers, gi.Normal(0.6), seed=0)

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        for layer, condition in zip(self.layers, self.conditions, strict=True):
            x = torch.tanh(layer(x) + condition(given))
        return x


def test_whatever_is_called_last() -> None:
    for head_first in (True, False):
        ((where, how),) = found(Headed(head_first), X)
        assert (where, how) == ("main:linear to body.0:linear", "explodes")
    ((where, how),) = found(Conditioned(), (X, SEQUENCE[:, 0].repeat(2, 1)))
    assert (where, how) == ("layers.39:linear to layers.0:linear", "explodes")


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_inside_of_one_call(kind: type[nn.RNNBase]) -> None:
    net = kind(8, N, batch_first=True)
    gi.init_(net, "standard", seed=0)
    assert found(net, SEQUENCE) == []
    gi.init_(net, {"weight_hh_l0": gi.Normal(1.0)}, seed=0)
    (finding,) = (f for f in measured(net, SEQUENCE).findings if f.code == "GI108")
    assert finding.where == f":{kind.__name__.lower().replace('rnn', 'rnn_tanh')}"
    assert "from step to step" in finding.cause


def test_a_branch_or_head_that_starts_at_zero_is_left_alone() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(N, N) for _ in range(20))
            self.ends = nn.ModuleList(nn.Linear(N, N) for _ in range(20))
            gi.init_(self, "he", seed=0)
            gi.init_(self.ends, gi.Zeros())

        def forward(self, x: Tensor) -> Tensor:
            for layer, end in zip(self.layers, self.ends, strict=True):
                x = end(layer(x).relu()) + x
            return x

    assert found(Residual(), X) == []
    parts = [part for _ in range(20) for part in (nn.Linear(N, N), nn.ReLU())]
    net = nn.Sequential(*parts, nn.Linear(N, 10))
    gi.init_(net, "he", seed=0)
    gi.init_(net, {"40.weight": gi.Zeros()})
    assert found(net, X) == []
