"""Adapters whose factors both hold values, beside a frozen layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.anatomy.zeros import TUNES

X = torch.randn(4, 12)


class Adapted(nn.Module):
    """A frozen layer and an adapter beside it, as adapters' packages write them."""

    def __init__(self, down: torch.Tensor, up: torch.Tensor, frozen: bool = True) -> None:
        super().__init__()
        self.base = nn.Linear(12, 20).requires_grad_(not frozen)
        self.down = nn.ParameterDict({"default": nn.Parameter(down)})
        self.up = nn.ParameterDict({"default": nn.Parameter(up)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.base.weight + (self.up["default"] @ self.down["default"]).tanh()
        return nn.functional.linear(x, weight, self.base.bias)


class Net(nn.Module):
    def __init__(self, **options: bool) -> None:
        super().__init__()
        down, up = torch.randn(3, 12), torch.randn(20, 3)
        self.layer, self.head = Adapted(down, up, **options), nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x))


class Layers(nn.Module):
    """Layers of the same shapes, in no dicts: a bottleneck that is trained on frozen features."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(12, 12).requires_grad_(False)
        self.down, self.up = nn.Linear(12, 3), nn.Linear(3, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.down(self.base(x)).relu())


@pytest.mark.parametrize("inputs", [X, None])
def test_an_adapter_with_values_keeps_them(inputs):
    rows = gi.plan(Net(), "standard", inputs=inputs)
    for name in ("layer.down.default", "layer.up.default"):
        assert rows[name].kept
        assert TUNES in rows[name].why
    assert not rows["head.weight"].kept


@pytest.mark.parametrize("net", [Net(frozen=False), nn.Sequential(Layers(), nn.Linear(12, 3))])
def test_other_weights_are_drawn(net):
    rows = gi.plan(net, "standard")
    assert all(not row.kept for row in rows if not row.frozen and len(row.shape) == 2)


def test_factors_of_another_shape_are_drawn():
    net = nn.Sequential(Adapted(torch.randn(3, 12), torch.randn(19, 3)))
    rows = gi.plan(net, "standard")
    assert not rows["0.down.default"].kept


class Dora(nn.Module):
    """The length of the tuned weight is detached: what is cut off carries nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(12, 12, bias=False).requires_grad_(False)
        self.a, self.b = nn.Linear(12, 4, bias=False), nn.Linear(4, 12, bias=False)
        nn.init.zeros_(self.b.weight)
        self.size = nn.Parameter(self.base.weight.detach().norm(dim=1))
        self.out = nn.Linear(12, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        added = self.b(self.a(torch.eye(12, dtype=x.dtype, device=x.device))).mT
        scale = self.size / (self.base.weight + added.detach()).norm(dim=1).detach()
        return self.out((scale - 1) * self.base(x) + scale * self.b(self.a(x)))


def test_a_detached_length_leaves_zeros_to_the_frozen_layer() -> None:
    plan = gi.plan(Dora(), "standard", inputs=X)
    assert plan["b.weight"].kept
    assert plan["size"].kept
    assert not plan["a.weight"].kept
