"""Weights of zeros and equal units: neighbors are those of the data flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.signal.made import Calls, constant, zeroed
from torch import Tensor, nn

from goodinit.explanation.explain import explained
from goodinit.signal.measure import measured

pytestmark = pytest.mark.usefixtures("few_recipes")

F = nn.functional
L, S = nn.Linear, nn.Sequential
D = 16


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def found(net: nn.Module, inputs: Any = None) -> dict[str, str]:
    """Return the severity of each code that isn't mere information."""
    findings = reversed(explained(net, inputs).findings)  # the worst comes first
    return {f.code: f.severity for f in findings if f.severity != "info"}


# Zeros that stand next to each other in the list of parameters, and work on the same signal.


def sampling(m: Any, x: Tensor) -> Tensor:
    """Offsets and shares of zeros, as deformable attention starts from."""
    where, share = m.off(x).tanh(), m.share(x).softmax(-1)
    values = m.value(x).unflatten(-1, (4, 4))
    return m.out(((values + where.unsqueeze(-1)) * share.unsqueeze(-1)).flatten(-2))


def modulated(m: Any, x: Tensor) -> Tensor:
    for up, down, ada in zip(m.ups, m.downs, m.adas, strict=True):
        shift, scale, gate = ada(F.silu(x)).chunk(3, -1)
        x = x + gate * down(F.gelu(up(F.layer_norm(x, (D,)) * (1 + scale) + shift)))
    return m.head(x)


def controlled(m: Any, x: Tensor) -> Tensor:
    side = x + m.hint(x)
    for copy, zero, layer in zip(m.copies, m.zeros, m.layers, strict=True):
        side = F.silu(copy(side))
        x = F.silu(layer(x)) + zero(side)
    return x


def gated(m: Any, x: Tensor) -> Tensor:
    """Dynamic weights of zeros on one signal, for two factors."""
    return m.head(x * (1 + (x @ m.alpha).tanh()) + (x @ m.beta).tanh())


def adapted(m: Any, x: Tensor) -> Tensor:
    for layer, a, b in zip(m.layers, m.down, m.up, strict=True):
        x = F.gelu(layer(x) + b(a(x)))
    return x


def recurrent(m: Any, x: Tensor) -> Tensor:
    h = torch.zeros(len(x), D)
    for _ in range(3):
        h = torch.tanh(m.w(x) + h @ m.r + h.flip(-1) @ m.r2)
    return h


def many(count: int, make: Callable[[], nn.Module]) -> nn.ModuleList:
    return nn.ModuleList(make() for _ in range(count))


def matrix() -> nn.Parameter:
    return nn.Parameter(torch.zeros(D, D))


MEANT: dict[str, Callable[[], nn.Module]] = {
    "sampling": lambda: Calls(sampling, off=zeroed(L(D, 4)), share=zeroed(L(D, 4)),
                              value=L(D, 16), out=L(16, D)),
    "modulation": lambda: Calls(modulated, ups=many(2, lambda: L(D, 32)),
                                downs=many(2, lambda: L(32, D)),
                                adas=many(2, lambda: zeroed(L(D, 3 * D))), head=zeroed(L(D, 3))),
    "zero convolutions": lambda: Calls(controlled, zeros=many(3, lambda: zeroed(L(D, D))),
                                       hint=S(L(D, D), nn.SiLU(), zeroed(L(D, D))),
                                       copies=many(3, lambda: L(D, D)),
                                       layers=many(3, lambda: L(D, D))),
    "dynamic factors": lambda: Calls(gated, alpha=matrix(), beta=matrix(), head=L(D, 3)),
    "adapters": lambda: Calls(adapted, up=many(3, lambda: zeroed(L(4, D))),
                              down=many(3, lambda: L(D, 4)), layers=many(3, lambda: L(D, D))),
    "recurrent weights": lambda: Calls(recurrent, w=L(D, D), r=matrix(), r2=matrix()),
}  # fmt: skip


@pytest.mark.parametrize("name", MEANT)
def test_zeros_beside_each_other_are_no_error(name: str) -> None:
    net, x = MEANT[name](), torch.randn(32, D)
    assert explained(net, x).ok
    assert explained(net).ok
    assert "GI122" not in {f.code for f in measured(net, x).findings}


# Zeros and equal units that follow one another.


def branch(m: Any, x: Tensor) -> Tensor:
    return m.head(x + m.b(F.gelu(m.a(F.layer_norm(x, (D,))))))


def tower(fill: Callable[[nn.Module], nn.Module], activation: type[nn.Module]) -> nn.Module:
    return fill(S(L(D, D), activation(), L(D, D), activation(), L(D, 3)))


ILL: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "zeros, tanh": (lambda: tower(zeroed, nn.Tanh), "GI122", "error"),
    "zeros, sigmoid": (lambda: tower(zeroed, nn.Sigmoid), "GI122", "error"),
    "constants, gelu": (lambda: tower(constant, nn.GELU), "GI123", "error"),
    "both of a branch": (
        lambda: Calls(branch, a=zeroed(L(D, 32)), b=zeroed(L(32, D)), head=L(D, 3)),
        *("GI122", "error"),
    ),
    "far apart in the list": (
        lambda: Calls(lambda m, x: m.head(x + m.b(F.gelu(m.a(x)))), a=zeroed(L(D, 32)),
                      head=L(D, 3), other=L(D, 3), b=zeroed(L(32, D))),
        *("GI122", "error"),
    ),
    "zeros before relu": (lambda: S(zeroed(L(D, D)), nn.ReLU(), L(D, 3)), "GI122", "error"),
    "zeros before tanh": (lambda: S(zeroed(L(D, D)), nn.Tanh(), L(D, 3)), "GI122", "warning"),
    "one constant": (lambda: S(constant(L(D, D)), nn.Tanh(), L(D, 3)), "GI123", "warning"),
    "constant, columns differ": (
        lambda: S(constant(L(D, D)), nn.Tanh(), rows_alike(L(D, D)), nn.Tanh(), L(D, 3)),
        *("GI123", "warning"),
    ),
    "kernels": (
        lambda: S(nn.Unflatten(1, (1, 4, 4)), constant(nn.Conv2d(1, 8, 3)), nn.ReLU(),
                  nn.Flatten(), constant(L(32, D)), nn.ReLU(), L(D, 3)),
        *("GI123", "error"),
    ),
}  # fmt: skip


def rows_alike(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape[1]).expand_as(layer.weight))
        layer.bias.zero_()
    return layer


@pytest.mark.parametrize("name", ILL)
def test_what_follows_is_what_the_data_flow_says(name: str) -> None:
    build, code, severity = ILL[name]
    net, x = build(), torch.randn(32, D)
    assert found(net, x).get(code) == severity
    assert found(net).get(code) != "error"  # nothing is sure without inputs
    assert code in {f.code for f in measured(net, x).findings}


def test_frozen_zeros_are_not_asked_to_learn() -> None:
    net = Calls(branch, a=zeroed(L(D, 32)), b=zeroed(L(32, D)), head=L(D, 3))
    net.a.requires_grad_(False)
    net.b.requires_grad_(False)
    x = torch.randn(32, D)
    assert found(net, x) == {}
    assert "GI122" not in {f.code for f in measured(net, x).findings}
