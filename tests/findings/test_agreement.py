"""A plan, an explanation and a measurement judge the same weights alike: one test, one threshold.

docs/findings.md says which of them judges which code. The grids stay away from the thresholds by
more than the chance of the draw, for a plan knows the law and the others its values.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.explanation.explain import explained
from goodinit.explanation.tried import library_recipes
from goodinit.signal.measure import measured

# What values are compared with, of 60 recipes: a finding depends on the weights alone.
TRIED = ("torch_default", "he", "standard")


@pytest.fixture(autouse=True)
def few_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    few = tuple(tried for tried in library_recipes() if tried.name in TRIED and not tried.options)
    monkeypatch.setattr("goodinit.explanation.candidates.library_recipes", lambda: few)


N = 256
X = torch.randn(64, N, generator=torch.Generator().manual_seed(0))


def ill(findings: Iterable[gi.Finding], code: str) -> bool:
    return any(f.code == code and f.severity != "info" for f in findings)


def verdicts(model: nn.Module, recipe: Any, inputs: Any, code: str) -> dict[str, bool]:
    """What each of the three says once the recipe is applied."""
    plan = gi.init_(model, recipe, inputs=inputs, seed=0)
    return {
        "plan": ill(plan.findings, code),
        "plan without inputs": ill(gi.plan(model, recipe).findings, code),
        "explain": ill(explained(model, inputs).findings, code),
        "explain without inputs": ill(explained(model).findings, code),
        "measure": ill(measured(model, inputs).findings, code),
    }


# GI107: of inputs of second moment 1.


def bent(depth: int, activation: type[nn.Module]) -> nn.Module:
    parts = [part for _ in range(depth) for part in (nn.Linear(N, N), activation())]
    return nn.Sequential(*parts, nn.Linear(N, 10))


@pytest.mark.parametrize(
    ("activation", "depth", "gain", "expected"),
    [
        (nn.Tanh, 1, 2.0, False),
        (nn.Tanh, 1, 6.0, True),
        (nn.Tanh, 3, 3.0, False),
        (nn.Tanh, 6, 5 / 3, False),
        (nn.Tanh, 6, 3.0, True),
        (nn.Sigmoid, 2, 4.0, False),
        (nn.Sigmoid, 2, 20.0, True),
        (nn.Sigmoid, 6, 4.0, False),
    ],
)
def test_saturation(activation: type[nn.Module], depth: int, gain: float, expected: bool) -> None:
    law = gi.VarianceScaling(gain**2, "fan_in", "normal")
    found = verdicts(bent(depth, activation), {nn.Linear: law, "*.bias": gi.Zeros()}, X, "GI107")
    assert found == dict.fromkeys(found, expected)


class Between(nn.Module):
    """A loud layer before a tanh, with something in between, or a sigmoid that is a gate."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first, self.loud, self.head = nn.Linear(N, N), nn.Linear(N, N), nn.Linear(N, 10)
        self.other, self.norm, self.kind = nn.Linear(N, N), nn.LayerNorm(N), kind

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        y = self.loud(x)
        if self.kind == "norm":
            y = self.norm(y).tanh()
        elif self.kind == "gate":
            y = y.sigmoid() * x
        elif self.kind == "smaller":
            y = (y * 0.1).tanh()
        elif self.kind == "sum":
            y = (y + self.other(x)).tanh()
        return self.head(y)


@pytest.mark.parametrize("kind", ["norm", "gate", "smaller", "sum"])
def test_what_comes_between_a_loud_layer_and_its_activation(kind: str) -> None:
    recipe = {
        nn.Linear: gi.HeNormal(),
        "*.bias": gi.Zeros(),
        "loud.weight": gi.VarianceScaling(300.0, "fan_in", "normal"),
    }
    model = Between(kind)
    plan = gi.init_(model, recipe, inputs=X, seed=0)
    expected = kind == "sum"
    for found in (plan.findings, explained(model, X).findings, measured(model, X).findings):
        assert ill(found, "GI107") is expected


# GI111.

MEANS, STDS = (0.0, 0.01, 1.0), (0.0, 0.001, 0.02, 0.4, 5.0)
NEAR = {0.0: (0.0, 0.001), 0.01: (0.001, 0.4), 1.0: (0.4, 5.0)}
# Of one kind of norm the whole grid, of another what is near the threshold: the weights are judged
# alike.
NORMED = [
    pytest.param(
        *(norm, mean, std),
        marks=pytest.mark.battery
        if norm == "batch" or (norm == "layer" and std not in NEAR[mean])
        else (),
    )
    for norm in ("group", "layer", "batch")
    for mean in MEANS
    for std in STDS
    if not 1.5 * mean < std < 3 * mean
]


@pytest.mark.parametrize(("norm", "mean", "std"), NORMED)
def test_weights_of_norms(norm: str, mean: float, std: float) -> None:
    width = 1024
    norms = {
        "batch": nn.BatchNorm1d(width),
        "layer": nn.LayerNorm(width),
        "group": nn.GroupNorm(4, width),
    }
    net = nn.Sequential(nn.Linear(16, width), norms[norm], nn.ReLU(), nn.Linear(width, 4))
    law = gi.Normal(std, mean=mean) if std else gi.Constant(mean)
    expected = std > 2 * mean
    found = verdicts(net, {"1.weight": law}, X[:, :16], "GI111")
    assert found == dict.fromkeys(found, expected)


class OnePlusWeight(nn.Module):
    """A norm whose weight is learned as the distance from 1, as Gemma's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
        return x * (1 + self.weight)


def test_a_norm_that_multiplies_by_one_plus_its_weight_is_meant_around_zero() -> None:
    net = nn.Sequential(nn.Linear(N, N), OnePlusWeight(N), nn.Linear(N, 4))
    gi.init_(net, "standard", inputs=X, seed=0)
    recipe = gi.recipe("standard").override(gi.Rule("1.weight", gi.Normal(0.02)))
    plan = gi.init_(net, recipe, inputs=X, seed=0)
    for findings in (plan.findings, explained(net, X).findings, measured(net, X).findings):
        assert not ill(findings, "GI111")


# GI112: measuring shows the logits themselves, as GI110.


class Tied(nn.Module):
    def __init__(self, width: int, factor: float) -> None:
        super().__init__()
        self.table = nn.Embedding(500, width)
        self.layer = nn.Linear(width, width)
        self.head = nn.Linear(width, 500, bias=False)
        self.head.weight = self.table.weight
        self.factor = factor

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.layer(self.table(tokens))
        return self.head(x * self.factor if self.factor != 1 else x)


@pytest.mark.parametrize("width", [16, 256])
@pytest.mark.parametrize("std", [0.02, 0.3, 0.7, 5.0])
@pytest.mark.parametrize("scaled", [False, True])
def test_tied_tables(width: int, std: float, scaled: bool) -> None:
    factor = width**-0.5 if scaled else 1.0
    model, tokens = Tied(width, factor), torch.arange(32).view(4, 8)
    recipe = gi.recipe("standard").override(gi.Rule("table.weight", gi.Normal(std)))
    expected = std * factor > 0.5 and std * factor * width**0.5 > 4
    plan = gi.init_(model, recipe, inputs=tokens, seed=0)
    assert ill(plan.findings, "GI112") is expected
    assert ill(explained(model, tokens).findings, "GI112") is expected
    unscaled = std > 0.5 and std * width**0.5 > 4  # without inputs the factor isn't known
    assert ill(gi.plan(model, recipe).findings, "GI112") is unscaled
    assert ill(explained(model).findings, "GI112") is unscaled


class Product(nn.Module):
    """A score of two tables, written in several ways."""

    def __init__(self, way: str, width: int) -> None:
        super().__init__()
        self.way = way
        self.users, self.items = nn.Embedding(64, width), nn.Embedding(64, width)
        self.offset = nn.Embedding(64, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        u, i = self.users(user), self.items(item)
        if self.way == "biased":
            return (u * i).sum(-1) + self.offset(item).squeeze(-1)
        if self.way == "biased, one column":
            return (u * i).sum(-1, keepdim=True) + self.offset(item)
        if self.way == "divided":
            return torch.einsum("bd,bd->b", u, i) / u.shape[-1] ** 0.5
        if self.way == "normalized":
            return (nn.functional.normalize(u, dim=-1) * nn.functional.normalize(i, dim=-1)).sum(-1)
        if self.way == "all items":
            return u @ self.items.weight.T
        return u @ i.T if self.way == "batch" else torch.einsum("bd,bd->b", u, i)


PRODUCTS = ("pairs", "batch", "all items", "biased", "biased, one column", "divided", "normalized")


@pytest.mark.parametrize("way", PRODUCTS)
@pytest.mark.parametrize(("std", "width"), [(1.0, 64), (0.1, 64), (1.0, 8)])
def test_products_of_two_tables(way: str, std: float, width: int) -> None:
    pairs = torch.arange(64), torch.arange(64).flip(0)
    model = Product(way, width)
    plan = gi.init_(model, {"*s.weight": gi.Normal(std)}, inputs=pairs, seed=0)
    expected = std == 1 and width == 64 and way not in ("divided", "normalized")
    for found in (plan.findings, explained(model, pairs).findings, measured(model, pairs).findings):
        assert ill(found, "GI112") is expected


# GI124: a plan draws no two layers alike.


def cloned(kind: str) -> tuple[nn.Module, Any, bool]:
    """A model, its inputs, and whether it should be called ill."""
    images = X.view(64, 4, 8, 8)
    tokens = torch.arange(64).view(8, 8)
    if kind == "encoder":
        layer = nn.TransformerEncoderLayer(32, 4, batch_first=True)
        return nn.TransformerEncoder(layer, 2), X[:, :N].reshape(64, 8, 32), True
    linear, conv = nn.Linear(N, N), nn.Conv2d(4, 4, 3, padding=1)
    table = nn.Embedding(64, 16)
    lstm = nn.LSTM(32, 32, batch_first=True)
    return {
        "linear": (nn.Sequential(linear, nn.ReLU(), copy.deepcopy(linear)), X, True),
        "conv": (nn.Sequential(conv, nn.ReLU(), copy.deepcopy(conv)), images, True),
        "tables": (Tables(table, copy.deepcopy(table)), tokens, True),
        "lstm": (Recurrent(lstm, copy.deepcopy(lstm)), X.view(64, 8, 32), True),
        "identities": (identities(), X, False),
        "constants": (constants(), X, False),
        "other seeds": (nn.Sequential(linear, nn.ReLU(), nn.Linear(N, N)), X, False),
        "a few values": (nn.Sequential(nn.Linear(3, 5), *twice(nn.Linear(5, 3))), X[:, :3], False),
        "a copy of a module": (Online(), X, False),
        "shared": (nn.Sequential(linear, nn.ReLU(), linear), X, False),
    }[kind]


def twice(layer: nn.Module) -> list[nn.Module]:
    return [layer, nn.Linear(3, 5), copy.deepcopy(layer)]


def identities() -> nn.Module:
    net = nn.Sequential(nn.Linear(N, N), nn.ReLU(), nn.Linear(N, N))
    gi.init_(net, {nn.Linear: gi.Identity(), "*.bias": gi.Zeros()})
    return net


def constants() -> nn.Module:
    net = nn.Sequential(nn.Linear(N, N), nn.ReLU(), nn.Linear(N, N))
    gi.init_(net, {nn.Linear: gi.Constant(1 / N), "*.bias": gi.Zeros()})
    return net


class Tables(nn.Module):
    def __init__(self, *tables: nn.Module) -> None:
        super().__init__()
        self.tables = nn.ModuleList(tables)

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.cat([table(tokens) for table in self.tables], -1)


class Recurrent(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x, _ = layer(x)
        return x


class Online(nn.Module):
    """A network and its target, both in the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Linear(N, N), nn.ReLU(), nn.Linear(N, N))
        self.target = copy.deepcopy(self.online)

    def forward(self, x: Tensor) -> Tensor:
        return self.online(x) - 0.5 * self.target(x.flip(0))


@pytest.mark.parametrize("kind", [
    "encoder", "linear", "conv", "tables", "lstm", "identities", "constants", "other seeds",
    "a few values", "a copy of a module", "shared",
])  # fmt: skip
def test_layers_that_are_alike(kind: str) -> None:
    model, inputs, expected = cloned(kind)
    assert ill(explained(model).findings, "GI124") is expected
    assert ill(explained(model, inputs).findings, "GI124") is expected
    assert ill(measured(model, inputs).findings, "GI124") is expected


# GI132: of the bias of a layer that another follows, for inputs of second moment 1.


BIASES = [
    pytest.param(
        *(function, size, constant),
        # All sizes with one function; of the others those on both sides of the threshold.
        marks=pytest.mark.battery if function != "tanh" and size < 2 else (),
    )
    for function in ("tanh", "relu", "sigmoid")
    for size in (0.0, 1.0, 2.0, 5.0)
    for constant in (False, True)
]


@pytest.mark.parametrize(("function", "size", "constant"), BIASES)
def test_biases_of_hidden_layers(function: str, size: float, constant: bool) -> None:
    between = {"tanh": nn.Tanh(), "relu": nn.ReLU(), "sigmoid": nn.Sigmoid()}[function]
    net = nn.Sequential(nn.Linear(N, N), between, nn.Linear(N, 10))
    law = gi.Constant(size) if constant or not size else gi.Normal(size)
    recipe = {nn.Linear: gi.LeCunNormal(), "*.bias": gi.Zeros(), "0.bias": law}
    expected = size > 3 and function != "sigmoid"  # which opens a gate, or shuts it
    found = verdicts(net, recipe, X, "GI132")
    assert found == dict.fromkeys(found, expected)


@pytest.mark.parametrize("size", [1.0, 30.0])
def test_the_bias_of_a_head_is_a_prior(size: float) -> None:
    net = nn.Sequential(nn.Linear(N, N), nn.ReLU(), nn.Linear(N, 10))
    recipe = {nn.Linear: gi.LeCunNormal(), "*.bias": gi.Zeros(), "2.bias": gi.Constant(-size)}
    found = verdicts(net, recipe, X, "GI132")
    assert found == dict.fromkeys(found, False)


@pytest.mark.parametrize("size", [1.0, 30.0])
@pytest.mark.parametrize("constant", [False, True])
def test_a_norm_subtracts_a_bias(size: float, constant: bool) -> None:
    net = nn.Sequential(nn.Linear(N, N), nn.BatchNorm1d(N), nn.ReLU(), nn.Linear(N, 10))
    law = gi.Constant(size) if constant else gi.Normal(size)
    recipe = {nn.Linear: gi.LeCunNormal(), "*.bias": gi.Zeros(), "0.bias": law}
    plan = gi.init_(net, recipe, inputs=X, seed=0)
    assert not ill(plan.findings, "GI132")
    assert not ill(explained(net, X).findings, "GI132")
    assert not ill(measured(net, X).findings, "GI132")
