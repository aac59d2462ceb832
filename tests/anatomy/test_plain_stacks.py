"""Which weights are in a plain stack, with the data flow and by module types."""

import pytest
import torch
from torch import Tensor, nn

from goodinit.anatomy import read

F = nn.functional

X = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))


def plain(model: nn.Module, inputs: Tensor | None = X) -> dict[str, int]:
    """The number of layers of each weight's stack."""
    rows = read(model, inputs).rows
    return {row.name: row.facets.plain for row in rows if row.facets.layout is not None}


def linear() -> nn.Linear:
    return nn.Linear(8, 8)


class Net(nn.Module):
    """Linear layers a to d, and a forward of its own."""

    def __init__(self, forward) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.norm = *(linear() for _ in range(4)), nn.LayerNorm(8)
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def by_hand(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def normed_by_hand(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


FLOWS = {
    "a to d": (lambda m, x: m.d(F.gelu(m.c(F.gelu(m.b(F.gelu(m.a(x))))))), [4, 4, 4, 0]),
    "silu by hand, dropout, reshaped": (
        lambda m, x: m.c(by_hand(m.b(F.dropout(by_hand(m.a(x))).view(2, 1, 8)))),
        [3, 3, 0, 0],
    ),
    "no activation between a and b": (lambda m, x: m.c(F.gelu(m.b(m.a(x)))), [0, 2, 0, 0]),
    "norm after a": (lambda m, x: m.c(F.gelu(m.b(F.gelu(m.norm(m.a(x)))))), [0, 2, 0, 0]),
    "norm behind the activation": (lambda m, x: m.b(m.norm(F.gelu(m.a(x)))), [0, 0, 0, 0]),
    "norm by hand behind it": (lambda m, x: m.b(normed_by_hand(F.gelu(m.a(x)))), [0, 0, 0, 0]),
    "b taken up by a norm": (lambda m, x: m.c(F.gelu(m.norm(m.b(F.gelu(m.a(x)))))), [0, 0, 0, 0]),
    "b taken up by a norm by hand": (
        lambda m, x: normed_by_hand(m.b(F.gelu(m.a(x)))),
        [0, 0, 0, 0],
    ),
    "residual branch": (lambda m, x: x + m.b(F.gelu(m.a(x))), [0, 0, 0, 0]),
    "residual branch of three": (
        lambda m, x: x + m.c(F.gelu(m.b(F.gelu(m.a(x))))),
        [2, 0, 0, 0],
    ),
    "sum of two signals": (lambda m, x: m.c(F.gelu(m.a(x)) + F.gelu(m.b(x))), [0, 0, 0, 0]),
    "gated": (lambda m, x: m.c(F.silu(m.a(x)) * m.b(x)), [0, 0, 0, 0]),
    "two heads": (lambda m, x: (m.b(F.gelu(m.a(x))), m.c(F.gelu(m.a(x)))), [2, 0, 0, 0]),
    "steps of a recurrence": (
        lambda m, x: m.c(F.gelu(m.b(F.gelu(m.b(F.gelu(m.b(F.gelu(m.a(x))))))))),
        [2, 0, 0, 0],
    ),
}


@pytest.mark.parametrize("name", FLOWS)
def test_by_flow(name: str) -> None:
    forward, expected = FLOWS[name]
    found = plain(Net(forward))
    assert [found[f"{letter}.weight"] for letter in "abcd"] == expected


def test_an_activation_at_the_output_has_no_weight_behind_it() -> None:
    net = nn.Sequential(linear(), nn.GELU(), linear(), nn.Tanh())
    for inputs in (X, None):
        assert list(plain(net, inputs).values()) == [2, 0]


SEQUENCES = {
    "plain": ([linear, nn.GELU, linear, nn.Tanh, linear], [3, 3, 0]),
    "norm before": ([linear, lambda: nn.LayerNorm(8), nn.GELU, linear, nn.GELU, linear], [0, 2, 0]),
    "norm after": ([linear, nn.GELU, lambda: nn.LayerNorm(8), linear, nn.GELU, linear], [0, 2, 0]),
    "norm at the end": ([linear, nn.GELU, linear, lambda: nn.LayerNorm(8)], [0, 0]),
    "dropout": ([linear, nn.Dropout, nn.GELU, nn.Dropout, linear], [2, 0]),
    "linear": ([linear, linear, nn.GELU, linear], [0, 2, 0]),
}


@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("inputs", [X, None], ids=["flow", "types"])
def test_a_sequential_is_read_alike_with_and_without_inputs(name: str, inputs) -> None:
    parts, expected = SEQUENCES[name]
    net = nn.Sequential(*(part() for part in parts))
    assert list(plain(net, inputs).values()) == expected


def test_what_follows_an_inner_sequential_is_unknown_without_inputs() -> None:
    """It may end a residual branch, as the feed-forward layer of a transformer does."""

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mlp = nn.Sequential(linear(), nn.GELU(), linear())
            self.deep = nn.Sequential(linear(), nn.GELU(), linear(), nn.GELU(), linear())

        def forward(self, x: Tensor) -> Tensor:
            return self.deep(x + self.mlp(x))

    assert list(plain(Outer(), None).values()) == [0, 0, 2, 0, 0]
    assert list(plain(Outer()).values()) == [0, 0, 3, 3, 0]
