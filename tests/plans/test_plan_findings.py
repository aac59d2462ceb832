"""Where the findings of a plan point, and where there are none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.plans.plan_findings import find_packed


class Holder(nn.Module):
    """Parameters, and layers whose order is unknown without inputs."""

    def __init__(self, layers: int = 0, **tensors: torch.Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor))
        for number in range(layers):
            self.add_module(f"layer{number}", nn.Linear(8, 8))


def found(plan: gi.Plan) -> list[tuple[str, str, str]]:
    return [(one.code, one.severity, one.where) for one in plan.findings]


@pytest.mark.parametrize(("norms", "where"), [(1, "0.weight"), (3, "0.weight and 2 more")])
def test_norms_around_0_are_one_finding(norms: int, where: str) -> None:
    net = nn.Sequential(*(nn.LayerNorm(3) for _ in range(norms)))
    plan = gi.plan(net, {nn.LayerNorm: gi.Normal(0.02, mean=0.001)})
    assert found(plan) == [("GI111", "warning", where)]
    assert "(mean 0.001, std 0.02)" in plan.findings[0].cause


@pytest.mark.parametrize(
    ("kinds", "found"), [([], []), (["A"], ["A: 1 module"]), (["A", "B"], ["A: 2 modules"])]
)
def test_quantized_modules_are_one_finding(kinds: list[str], found: list[str]) -> None:
    assert [
        f"{one.where}: {one.cause.removeprefix('left unchanged: ').partition(' with')[0]}"
        for one in find_packed(kinds)
    ] == found


class Attention(nn.Module):
    """One head of 64."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(64, 64, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        mixed = nn.functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))
        return self.out(mixed)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (gi.LeCunNormal(), []),
        (gi.Normal(1.0), [("GI142", "warning", "q.weight, k.weight")]),
    ],
)
def test_scores_that_make_attention_one_hot(law: gi.Scheme, expected: list[object]) -> None:
    """Of N(0, 1) queries and keys have std 8, and their scores 8 * 8 * sqrt(64) / sqrt(64)."""
    recipe = {"*": gi.LeCunNormal(), "[qk].weight": law}
    plan = gi.plan(Attention(), recipe, inputs=torch.ones(2, 16, 64))
    assert found(plan) == expected
    assert all("scores of attention have std 64 " in one.cause for one in plan.findings)


def test_what_no_rule_knows_is_one_finding() -> None:
    net = Holder(a=torch.zeros(3), b=torch.zeros(4))
    net.a.data.normal_()
    net.b.data.normal_()
    assert found(gi.plan(net, "standard")) == [("GI117", "info", "a and 1 more")]


def test_complex_numbers_without_a_rule_are_one_finding() -> None:
    parts = {name: torch.randn(4, dtype=torch.cfloat) for name in "abc"}
    assert found(gi.plan(Holder(**parts), "standard")) == [("GI117", "info", "a and 2 more")]


def test_values_that_are_kept_are_one_finding() -> None:
    net = Holder(a=torch.full((3,), 1e-5), b=torch.full((4,), 1e-5))
    assert found(gi.plan(net, "standard")) == [("GI119", "info", "a and 1 more")]


@pytest.mark.parametrize(
    ("layers", "recipe", "codes"),
    [
        (2, "he", ["GI113"]),  # asks for the activation that follows
        (2, "gpt2", ["GI113", "GI141"]),  # and for residual ends, and for tables
        (2, "xavier", []),
        (1, "he", []),  # nothing follows a single layer
    ],
)
def test_without_inputs_what_a_recipe_asks_for_is_named(
    layers: int, recipe: str, codes: list[str]
) -> None:
    assert [one[0] for one in found(gi.plan(Holder(layers), recipe))] == codes


def test_a_state_may_have_a_large_bias() -> None:
    """Gates start open or shut by theirs: GI132 is asked of linear layers and convolutions."""
    recipe = {"*": gi.LeCunNormal(), "bias_*": gi.Constant(5.0)}
    assert found(gi.plan(nn.RNN(8, 8), recipe)) == []


def test_a_bias_that_dominates_is_found_behind_layers_that_do_not() -> None:
    parts = [nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 8, bias=False), nn.ReLU()]
    parts += [part for _ in range(2) for part in (nn.Linear(8, 8), nn.ReLU())]
    net = nn.Sequential(*parts, nn.Linear(8, 8))
    loud = {"*.weight": gi.LeCunNormal(), "1.weight": gi.Ones(), "*.bias": gi.Zeros()}
    plan = gi.plan(net, {**loud, "4.bias": gi.Normal(9.0), "6.bias": gi.Normal(9.0)})
    assert found(plan) == [("GI132", "warning", "4.bias and 1 more")]


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.trunk(x).relu()
        return self.a(x), self.b(x)


def with_prior(where: gi.recipes.Selector) -> gi.Recipe:
    return gi.recipe("he").override(gi.Rule(where, gi.PriorBias(0.1)))


@pytest.mark.parametrize(
    ("where", "codes"),
    [
        (gi.sel.head_bias(), [("GI150", "warning", "a.bias, b.bias")]),
        (gi.sel.head_bias() & gi.sel.name("a.*"), []),
        (gi.sel.head_bias() & gi.sel.attr("b*"), []),  # both, and asked for by name
        (gi.sel.part("bias"), []),  # not as heads
    ],
)
def test_one_prior_for_two_heads(where: gi.recipes.Selector, codes: list) -> None:
    assert found(gi.plan(Heads(), with_prior(where), inputs=torch.ones(3, 8))) == codes


@pytest.mark.parametrize(
    ("bias", "severity"),
    [
        (gi.Normal(9.0), "warning"),
        (gi.Normal(1.0, mean=9.0), "info"),  # one number for all units, more or less
        (gi.Normal(1.0, mean=-9.0), "info"),
        (gi.Normal(9.0, mean=8.9), "warning"),
        (gi.Constant(9.0), "info"),
    ],
)
def test_a_bias_that_is_drawn_around_0_is_meant_by_nobody(bias: gi.Scheme, severity: str) -> None:
    plan = gi.plan(Holder(2), {"layer0.weight": gi.LeCunNormal(), "layer0.bias": bias})
    assert found(plan) == [("GI132", severity, "layer0.bias")]


ALL = gi.Recipe([gi.Rule(gi.sel.all(), gi.Normal(0.1))])


@pytest.mark.parametrize(
    ("frozen", "device", "recipe", "codes"),
    [
        (["layer0.weight"], "cpu", ALL, [("GI138", "warning", "layer0.weight")]),
        (["layer0.weight"], "meta", ALL, []),  # nothing is lost
        (["layer0.weight"], "cpu", {"layer0.weight": gi.Normal(0.1)},
         [("GI138", "info", "layer0.weight")]),  # by its name
        (["layer0.weight", "layer0.bias"], "cpu", ALL,
         [("GI138", "info", "layer0.weight and 1 more")]),  # a network that gives targets
        (["layer0.bias"], "cpu", {"layer0.weight": gi.Normal(0.1)}, []),
    ],
)  # fmt: skip
def test_frozen_parameters_that_are_drawn(frozen, device, recipe, codes) -> None:
    with torch.device(device):
        net = Holder(1)
    for name in frozen:
        net.get_parameter(name).requires_grad_(False)
    assert found(gi.plan(net, recipe)) == codes


class Multiplied(nn.Module):
    """f(number W x), layer by layer."""

    def __init__(self, number: float, function: str) -> None:
        super().__init__()
        self.number, self.function = number, getattr(torch, function)
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.function(self.number * layer(x))
        return x


@pytest.mark.parametrize(
    ("number", "function", "recipe", "warned"),
    [
        (30.0, "sin", "standard", True),
        (30.0, "sin", gi.recipe("siren"), False),
        (10.0, "sin", gi.recipe("siren", omega=10.0), False),
        (1.0, "sin", "standard", False),
        (0.02, "tanh", "standard", True),
        (30.0, "tanh", "standard", True),
    ],
)
def test_numbers_beside_the_weights_of_a_plain_stack(
    number: float, function: str, recipe: gi.RecipeLike, warned: bool
) -> None:
    x = torch.randn(16, 32, generator=torch.manual_seed(0))
    found = gi.plan(Multiplied(number, function), recipe, inputs=x).findings
    said = [f for f in found if f.code == "GI136"]
    assert bool(said) is warned
    assert all(f"by {number:g}" in f.cause and f.severity == "warning" for f in said)
