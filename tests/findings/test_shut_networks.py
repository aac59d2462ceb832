"""Networks that are shut by zeros in tables, recurrent layers and factors, and open ones like them.

Explaining and measuring agree on each of them: on GI122, and on GI123.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.signal.made import Calls, linears, zeroed
from torch import Tensor, nn

import goodinit as gi
from goodinit.explanation.explain import explained
from goodinit.signal.measure import measured

Built = tuple[nn.Module, gi.Inputs]
TOKENS = torch.arange(24).view(4, 6) % 20
SIGNAL = torch.randn(8, 6, 12, generator=torch.manual_seed(0))


def drawn(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * shape[-1] ** -0.5)


def product_of_two_tables(first: float, second: float) -> Built:
    net = Calls(
        lambda s, u, v: (s.u(u) * s.v(v)).sum(-1) + s.b(u).squeeze(-1),
        u=nn.Embedding(20, 8), v=nn.Embedding(20, 8), b=zeroed(nn.Embedding(20, 1)),
    )  # fmt: skip
    nn.init.normal_(net.u.weight, std=first)
    nn.init.normal_(net.v.weight, std=second)
    return net, (TOKENS, TOKENS.flip(0))


def indexed_tables(std: float) -> Built:
    net = Calls(lambda s, u: (s.u[u] * s.v[u]).sum(-1), u=drawn(20, 8), v=drawn(20, 8))
    for table in (net.u, net.v):
        table.data.mul_(std)
    return net, TOKENS


def recurrent(kind: type[nn.RNNBase], *, head: bool, bias: bool = False) -> Built:
    layer = zeroed(kind(12, 16, batch_first=True))
    if bias:
        nn.init.normal_(layer.bias_ih_l0)
    net = Calls(lambda s, x: s.head(s.layer(x)[0]), layer=layer, head=nn.Linear(16, 5))
    if not head:
        nn.init.zeros_(net.head.weight)
    return net, SIGNAL


def weight_normed(scale: float) -> Built:
    normed = nn.utils.parametrizations.weight_norm
    first, second = normed(nn.Linear(12, 12)), normed(nn.Linear(12, 12))
    for layer in (first, second):
        nn.init.zeros_(layer.bias)
        layer.parametrizations.weight.original0.data.mul_(scale)
    return Calls(lambda s, x: x + s.b(s.a(x).relu()), a=first, b=second), SIGNAL


def kernels_on_a_grid() -> Built:
    """One weight of a three-way product holds ones: the others tell units apart."""
    net = Calls(
        lambda s, x: torch.einsum(
            "ntig,oig,oi->nto", (x[..., None] - s.grid).square().neg().exp(), s.c, s.scale
        ),
        grid=torch.linspace(-1, 1, 5), c=drawn(8, 12, 5), scale=nn.Parameter(torch.ones(8, 12)),
    )  # fmt: skip
    return net, SIGNAL


CASES: dict[str, tuple[Callable[[], Built], bool]] = {
    "both tables of a product are 0": (lambda: product_of_two_tables(0.0, 0.0), True),
    "one table of a product is 0": (lambda: product_of_two_tables(0.1, 0.0), False),
    "rows of zeros in brackets": (lambda: indexed_tables(0.0), True),
    "rows in brackets": (lambda: indexed_tables(1.0), False),
    "a recurrent layer and its head are 0": (lambda: recurrent(nn.LSTM, head=False), True),
    "so are a GRU and its head": (lambda: recurrent(nn.GRU, head=False), True),
    "but its biases aren't": (lambda: recurrent(nn.LSTM, head=False, bias=True), False),
    "weight_norm of length 0, twice": (lambda: weight_normed(0.0), True),
    "weight_norm": (lambda: weight_normed(1.0), False),
    "a factor of ones": (kernels_on_a_grid, False),
}


@pytest.mark.parametrize("name", CASES)
def test_explaining_and_measuring_agree(name: str) -> None:
    torch.manual_seed(0)
    build, shut = CASES[name]
    model, inputs = build()
    for result in (measured(model, inputs), explained(model, inputs)):
        errors = {f.code for f in result.findings if f.severity == "error"}
        assert errors == ({"GI122"} if shut else set()), result.findings
        severe = {f.code for f in result.findings if f.severity != "info"}
        assert "GI123" not in severe, result.findings


def test_an_explosion_past_a_layer_of_zeros_is_measured() -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        side = self.side(x)
        for layer in self.layers:
            x = layer(x)
            side = side + self.side(x)
        return x + side

    net = Calls(run, layers=linears(6, 32, 32, 4.0), side=zeroed(nn.Linear(32, 32)))
    signal = measured(net, torch.randn(64, 32, generator=torch.manual_seed(0)))
    assert "GI103" in {f.code for f in signal.findings}


class Windowed(nn.Module):
    """Layers inside, and a small table beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(49, 4) * 0.02)
        self.mix = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(x) * self.table.mean()


def test_a_module_with_layers_inside_is_no_link_of_a_chain() -> None:
    stack = nn.Sequential(*[Windowed() for _ in range(5)])
    assert not [f for f in explained(stack).findings if f.severity != "info"]
