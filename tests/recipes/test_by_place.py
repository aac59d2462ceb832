"""Schemes by layer, branch and shape: the numbers that they come to on a model."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import goodinit as gi
from goodinit.errors import RecipeError, SchemeError
from goodinit.recipes.by_place import (
    EvenSteps,
    Fixup,
    LayerRamp,
    TallOrthogonal,
    UnitRows,
    XavierOverHeads,
)


class Branches(nn.Module):
    """Two branches of two weights and one of four, a stem and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 8), nn.Linear(8, 3)
        lengths = (2, 4, 2)
        self.branches = nn.ModuleList(
            nn.ModuleList(nn.Linear(8, 8) for _ in range(length)) for length in lengths
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for branch in self.branches:
            y = x
            for number, layer in enumerate(branch):
                y = layer(functional.relu(y) if number else y)
            x = x + y
        return self.head(x)


def only(scheme: gi.Scheme, glob: str = "*") -> gi.Recipe:
    return gi.Recipe([gi.Rule("*", gi.Keep()), gi.Rule(glob, scheme)], "only")


def test_fixup_counts_the_weights_of_each_branch() -> None:
    plan = gi.plan(Branches(), "fixup", inputs=torch.ones(2, 4))
    he = math.sqrt(2 / 8)
    stds = [[plan[f"branches.{b}.{n}.weight"].std for n in range(length)]
            for b, length in enumerate((2, 4, 2))]  # fmt: skip
    assert stds[0] == pytest.approx([he * 3**-0.5, 0.0])
    assert stds[1] == pytest.approx([he * 3 ** (-1 / 6)] * 3 + [0.0])
    assert plan["stem.weight"].std == pytest.approx(he)
    assert plan["head.weight"].scheme == gi.Zeros()


def test_fixup_says_that_it_needs_inputs() -> None:
    row = gi.plan(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), "fixup")["0.weight"]
    assert "pass inputs=" in row.why
    with pytest.raises(RecipeError, match="residual branch or the layer"):
        nn.Linear(2, 2).apply(gi.recipe("fixup").each)


class Residual(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Linear(32, 32, bias=False) for _ in range(depth))
        self.last = nn.ModuleList(nn.Linear(32, 32, bias=False) for _ in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for first, last in zip(self.first, self.last, strict=True):
            x = x + last(functional.relu(first(x)))
        return x


def moved(depth: int) -> float:
    """How far one small step moves the output of a network that is this deep."""
    net, x = Residual(depth), torch.randn(32, 32, generator=torch.Generator().manual_seed(0))
    gi.init_(net, "fixup", inputs=x, seed=0)
    target = torch.randn(32, 32, generator=torch.Generator().manual_seed(1))
    (net(x) * target).sum().backward()
    rate = 1e-6  # so small that the change is linear in it
    with torch.no_grad():
        before = net(x)
        for p in net.parameters():
            p.sub_(rate * p.grad)
        return (net(x) - before).norm().item()


def test_the_output_moves_alike_at_any_depth() -> None:
    # The change is a sum of L alike terms, each 1/L of it. A term's own chance, 10 % over 32
    # hidden units, is halved by the four terms of the shallow network.
    assert moved(12) == pytest.approx(moved(4), rel=0.15)


def test_a_layer_ramp_bends_with_the_layer() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Parameter(torch.zeros(1, 1, 8))
            self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.two(functional.relu(self.one(x * self.mix)))

    net = nn.Sequential(*(Layer() for _ in range(4)))
    left = gi.plan(net, only(LayerRamp(1.0, 0.0, factor=0.2), "*.mix"), inputs=torch.ones(2, 5, 8))
    assert [left[f"{n}.mix"].scheme.power for n in range(4)] == pytest.approx(
        [0.2, 0.15, 0.1, 0.05]
    )
    bent = LayerRamp(0.0, 1.0, "behind", offset=1.0, exponent=0.5)
    behind = gi.plan(net, only(bent, "*.mix"), inputs=torch.ones(2, 5, 8))
    assert behind["3.mix"].scheme == gi.Ramp(0.0, 1.0, 2.0)
    moved = LayerRamp(0.0, 1.0, factor=0.0, offset=1.0, start_by=0.3, stop_by=-0.6)
    planned = gi.plan(net, only(moved, "*.mix"), inputs=torch.ones(2, 5, 8))
    assert planned["0.mix"].scheme == gi.Ramp(0.0, 1.0)
    assert planned["3.mix"].scheme == gi.Ramp(0.3, 0.4)
    with pytest.raises(SchemeError, match="needs to know the layer"):
        gi.plan(nn.Linear(3, 2), only(bent))


def test_laws_by_the_shape_alone() -> None:
    table = nn.Embedding(10, 16)
    assert gi.plan(table, only(UnitRows()))["weight"].scheme == gi.Normal(0.25)
    uniform = gi.plan(table, only(UnitRows("uniform")))["weight"]
    assert uniform.std == pytest.approx(0.25)
    over = gi.plan(table, only(XavierOverHeads()))["weight"].scheme
    assert over == gi.Uniform(-math.sqrt(6 / 26), math.sqrt(6 / 26))
    rows = gi.plan(table, only(TallOrthogonal(0.5)))["weight"].scheme
    assert rows == gi.Orthogonal(0.5)
    tall = gi.plan(nn.Linear(4, 16, bias=False), only(TallOrthogonal(0.5)))["weight"].scheme
    assert tall == gi.Orthogonal(1.0)
    elements = gi.plan(nn.Linear(4, 16, bias=False), only(TallOrthogonal(0.5, elements=True)))
    assert elements["weight"].std == pytest.approx(0.5)
    assert gi.plan(table, only(EvenSteps(2.0)))["weight"].scheme == gi.Ramp(0.0, 30.0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Fixup(gi.Orthogonal()), "law must be by fan"),
        (lambda: LayerRamp(0.0, 1.0, "above"), "of must be one of left, behind"),
        (lambda: UnitRows("round"), "distribution must be one of"),
        (lambda: EvenSteps(math.nan), "step must be a finite number"),
    ],
)
def test_what_is_refused(call, text: str) -> None:
    with pytest.raises(SchemeError, match=text):
        call()


def test_gates_are_known_by_the_flow() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.c(self.b(x) * torch.sigmoid(self.a(x))))

    rule = gi.Rule(gi.sel.gate_bias(), gi.Ones())
    plan = gi.plan(Gated(), gi.recipe("he").override(rule), inputs=torch.ones(2, 6))
    assert [row.name for row in plan if row.scheme == gi.Ones()] == ["a.bias"]
