"""An explanation and a measurement judge zeros (GI122) and equal units (GI123) alike.

An explanation follows the data flow, a measurement what the calls returned.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from tests.findings.test_agreement import X, few_recipes, ill  # noqa: F401  # a fixture
from torch import Tensor, nn

import goodinit as gi
from goodinit.explanation.explain import explained
from goodinit.signal.measure import measured

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}
FILLS = ("drawn", "zero", "constant")


class Around(nn.Module):
    """A layer or two with a residual connection."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def filled(fills: tuple[str, ...], activation: str, bias: bool, around: bool) -> nn.Module:
    layers = [nn.Linear(16, 16) for _ in fills]
    with torch.no_grad():
        for layer, fill in zip(layers, fills, strict=True):
            if fill != "drawn":
                layer.weight.fill_(0.0 if fill == "zero" else 0.1)
            if not bias:
                layer.bias.zero_()
    parts: list[nn.Module] = [m for layer in layers for m in (layer, ACTIVATIONS[activation]())]
    parts.pop()
    whole = nn.Sequential(*parts)
    return nn.Sequential(nn.Linear(8, 16), Around(whole) if around else whole, nn.Linear(16, 3))


BOTH = (False, True)


@pytest.mark.parametrize(
    ("around", "activation", "biases"),
    [
        (False, "gelu", (False,)),
        (True, "gelu", BOTH),
        pytest.param(False, "gelu", (True,), marks=pytest.mark.battery),
        *((False, activation, (False,)) for activation in ("relu", "sigmoid")),
        *(pytest.param(False, a, (True,), marks=pytest.mark.battery) for a in ("relu", "sigmoid")),
        *(pytest.param(True, a, BOTH, marks=pytest.mark.battery) for a in ("relu", "sigmoid")),
    ],
)
def test_zeros_and_equal_units(around: bool, activation: str, biases: tuple[bool, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 8)
    for fills, bias in itertools.product(itertools.product(FILLS, repeat=2), biases):
        net = filled(fills, activation, bias, around)
        values, signal = explained(net, x).findings, measured(net, x).findings
        for code in ("GI122", "GI123"):
            found = ill(values, code), ill(signal, code)
            assert found[0] is found[1], (fills, bias, code, found)
        if not bias:  # which changes nothing of what is known without inputs
            assert not any(f.severity == "error" for f in explained(net).findings)


class Normed(nn.Module):
    """Layers with a norm whose weight is 0, with or without a way around each."""

    def __init__(self, around: bool, activation: str) -> None:
        super().__init__()
        self.around, self.activation = around, ACTIVATIONS[activation]()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(2))
        self.head = nn.Linear(16, 3)
        for norm in self.norms:
            nn.init.zeros_(norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            y = self.activation(norm(layer(x)))
            x = x + y if self.around else y
        return self.head(x)


@pytest.mark.parametrize(
    ("around", "activation", "says"),
    [(True, "gelu", ""), (True, "relu", "error"), (False, "gelu", "warning")],
)
def test_norms_that_multiply_by_zero(around: bool, activation: str, says: str) -> None:
    net, x = Normed(around, activation), torch.randn(8, 16, generator=torch.manual_seed(0))
    for found in (explained(net, x).findings, measured(net, x).findings):
        severe = [f.severity for f in found if f.code == "GI122" and f.severity != "info"]
        assert severe == [says][: bool(says)]


class TwiceUsed(nn.Module):
    """A weight that codes and decodes, and a matrix of scalars that mixes two signals."""

    def __init__(self, alike: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1 if alike else 4, 8).repeat(4 if alike else 1, 1))
        self.mix = nn.Parameter(torch.tensor([[0.9, 0.1], [0.1, 0.9]]).repeat(2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        decoded = nn.functional.linear(x, self.weight).relu() @ self.weight
        for (a, b), (c, d) in self.mix:
            x, decoded = a * x + b * decoded, c * x + d * decoded
        return x + decoded


@pytest.mark.parametrize("alike", [False, True])
def test_equal_units_of_a_weight_that_is_used_twice(alike: bool) -> None:
    net, x = TwiceUsed(alike), torch.randn(8, 8, generator=torch.manual_seed(0))
    for found, where in ((explained(net, x), "weight"), (measured(net, x), ":linear")):
        places = [finding.where for finding in found.findings if finding.code == "GI123"]
        assert places == ([where] if alike else [])


class Pooled(nn.Module):
    """Attends with a query of ones, and weighs positions alike: neither has hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.shares = nn.Parameter(torch.ones(1, 8)), nn.Parameter(torch.ones(5) / 5)
        self.keys, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores = (self.query @ self.keys(x).transpose(1, 2)).softmax(-1)
        return self.head((scores @ x)[:, 0] + torch.einsum("btd,t->bd", x, self.shares))


def test_parameters_of_one_number_without_units() -> None:
    torch.manual_seed(0)
    net, x = Pooled(), torch.randn(8, 5, 8)
    for found in (explained(net, x).findings, measured(net, x).findings):
        assert "GI123" not in {finding.code for finding in found}


class Inward(nn.Module):
    """A product whose weight has its inputs first, in no layer of torch's; all units equal."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.head = nn.Parameter(torch.randn(8, 1).repeat(1, 6)), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.einsum("bi,io->bo", x, self.weight).tanh())


def test_the_line_for_a_parameter_in_no_layer_has_the_inputs() -> None:
    torch.manual_seed(0)
    (remedy,) = {f.remedy for f in gi.measure(Inward(), X[:, :8]).findings if f.code == "GI123"}
    assert remedy == 'gi.init_(model, {"weight": gi.LeCunNormal()}, inputs=inputs, seed=0)'
