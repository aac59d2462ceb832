"""The value that a module computes with, behind each kind of parametrization."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm
from torch.nn.utils import spectral_norm as by_hook

from goodinit.anatomy.logical_values import logical_value, weight_normed
from goodinit.anatomy.names import slots

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")  # the hook's

W = torch.arange(1.0, 7.0).view(2, 3)


class Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 2


class Rounded(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.round().to(torch.int32)


def layer(wrap: Callable[[nn.Module], object]) -> nn.Module:
    net = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        net.weight.copy_(W)
    wrap(net)
    return net


def pruned(net: nn.Module) -> None:
    prune.custom_from_mask(net, "weight", torch.tensor([[1, 0, 1], [0, 1, 1]]))


@pytest.mark.parametrize(
    ("wrap", "value"),
    [
        (lambda net: None, W),
        (weight_norm, W),
        (parametrizations.weight_norm, W),
        (lambda net: parametrize.register_parametrization(net, "weight", Half()), W / 2),
        (by_hook, W),  # what is stored: the computed one follows no law
        (parametrizations.spectral_norm, W),
        (pruned, W),
    ],
    ids=["plain", "hook", "weight_norm", "half", "spectral hook", "spectral_norm", "pruned"],
)
def test_the_value_that_recipes_describe(wrap, value: Tensor) -> None:
    net = layer(wrap)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    (found,) = (logical_value(slot) for slot in slots(net) if slot.name == "weight")
    assert torch.allclose(found, value)
    assert not found.requires_grad
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())


def test_what_is_stored_where_the_value_is_no_number_with_a_law() -> None:
    net = layer(lambda net: None)
    parametrize.register_parametrization(net, "weight", Rounded(), unsafe=True)
    (slot,) = slots(net)
    assert torch.equal(logical_value(slot), W)


def test_a_weight_norm_is_computed_anew() -> None:
    """Of two parameters that it normalizes, each by its own hook."""
    net = nn.LSTM(3, 2, bias=False)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        weight_norm(net, name)
    with torch.no_grad():
        net.weight_hh_l0_g.fill_(2.0)
    found = {slot.name: weight_normed(slot) for slot in slots(net) if slot.how == "weight_norm"}
    assert torch.allclose(found["weight_hh_l0"].norm(dim=1), torch.full((8,), 2.0))
    assert found["weight_ih_l0"].shape == (8, 3)
