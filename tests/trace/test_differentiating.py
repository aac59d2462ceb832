"""Models that take a gradient in their forward: force fields, PINNs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.anatomy import read


class Energy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 16), nn.SiLU(), nn.Linear(16, 1))


class Force(Energy):
    def forward(self, x: Tensor) -> Tensor:
        x = x.requires_grad_(True)
        return -torch.autograd.grad(self.net(x).sum(), x, create_graph=True)[0]


class ForceAndEnergy(Energy):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            energy = self.net(x).sum()
            return energy, -torch.autograd.grad(energy, x, create_graph=True)[0]


class Laplace(Energy):
    def forward(self, x: Tensor) -> Tensor:
        x = x.clone().requires_grad_(True)
        u = self.net(x)
        (du,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
        return torch.autograd.grad(du[:, 0].sum(), x, create_graph=True)[0]


class Backward(Energy):
    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().clone().requires_grad_(True)
        self.net(x).sum().backward(create_graph=True)
        assert x.grad is not None
        return x.grad


class Functional(Energy):
    def forward(self, x: Tensor) -> Tensor:
        return torch.func.vmap(torch.func.jacrev(self.net))(x)


@pytest.mark.parametrize("kind", [Force, ForceAndEnergy, Laplace, Backward, Functional])
def test_a_model_that_differentiates_is_planned_and_measured(kind: type[Energy]) -> None:
    x = torch.randn(5, 3, generator=torch.manual_seed(0))
    model = kind()
    anatomy = read(model, x)
    assert anatomy.how == "meta"
    rows = {row.name: row.facets for row in anatomy.rows}
    assert rows["net.0.weight"].activation == "silu"
    plan = gi.init_(model, "standard", inputs=x, seed=0)
    assert plan["net.0.weight"].fan_in == 3
    assert len(gi.measure(model, x)) > 0
    assert not x.requires_grad
    assert all(p.grad is None for p in model.parameters())


def test_forces_need_no_weights() -> None:
    with torch.device("meta"):
        model = Force()
    assert read(model, torch.randn(5, 3)).how == "meta"
