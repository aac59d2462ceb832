"""`recipe("lora")`: A, B and W of W x + s B A x, exact, or refused before anything is written."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.errors import PlanError, RecipeError, SchemeError, UnusedRuleError

COMPUTED = ("pissa", "olora", "orthogonal", "corda", "corda:kpm")
X = torch.randn(50, 12, generator=torch.Generator().manual_seed(0))


def recipe(method: str) -> gi.Recipe:
    init, _, corda = method.partition(":")
    return gi.recipe("lora", init=init, corda_method=corda or "ipm")


class Adapted(nn.Module):
    """A frozen linear layer with a low-rank pair beside it, scaled in one of several ways."""

    def __init__(self, into: int = 12, out: int = 10, rank: int = 4, how: str = "number") -> None:
        super().__init__()
        self.base = nn.Linear(into, out).requires_grad_(False)
        self.a, self.b = nn.Linear(into, rank, bias=False), nn.Linear(rank, out, bias=False)
        nn.init.zeros_(self.b.weight)
        self.how = how
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        low = self.a(nn.functional.dropout(x, 0.0))
        match self.how:
            case "number":
                low = self.b(low) * 2.0
            case "divided":
                low = self.b(low * 4) / 2
            case "learned":
                low = self.b(low) * self.gain
            case _:
                low = self.b(low)
        return self.base(x) + low


FORMULAS = {
    "minus": (lambda m, x: m.base(x) - m.b(m.a(x)), True),
    "both scaled": (lambda m, x: 3 * m.base(x) + m.b(m.a(x)) / 2, True),
    "scaled input": (lambda m, x: m.base(x) + m.b(m.a(x * 4)), True),
    "all scaled": (lambda m, x: 0.5 * (m.base(x / 2) + 2 * m.b(m.a(x))), True),
    "in place": (lambda m, x: m.base(x).sub_(m.b(m.a(x)) * 2), True),
    "alpha": (lambda m, x: torch.add(m.base(x), m.b(m.a(x)), alpha=3), False),
    "negated base": (lambda m, x: m.b(m.a(x)) - m.base(x), False),
    "normalized": (lambda m, x: m.base(x) + nn.functional.layer_norm(m.b(m.a(x)), (10,)), False),
}


class Formula(Adapted):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.formula = FORMULAS[name][0]

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(self, x)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_factor_is_known_or_it_is_refused(name: str) -> None:
    torch.manual_seed(0)
    net = Formula(name)
    y = net(X)
    if FORMULAS[name][1]:
        gi.init_(net, "pissa", inputs=X, seed=0)
        assert net.b.weight.abs().max() > 0.1
    else:
        with pytest.raises(SchemeError, match="the number that B A x is multiplied by"):
            gi.init_(net, "pissa", inputs=X, seed=0)
    assert torch.allclose(net(X), y, atol=1e-5)


class Transposed(nn.Module):
    """x @ W, as GPT-2's Conv1D, with A and B that are raw and lie the same way."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(12, 10))
        self.a, self.b = nn.Parameter(torch.randn(12, 4)), nn.Parameter(torch.zeros(4, 10))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w + 0.5 * ((x @ self.a) @ self.b)


def two(how: str = "number") -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Adapted(how=how), nn.ReLU(), Adapted(10, 6, how=how))


@pytest.mark.parametrize("how", ["number", "divided", "none"])
@pytest.mark.parametrize("method", COMPUTED)
def test_the_sum_is_the_base_weight(method: str, how: str) -> None:
    net, before = two(how), two(how)
    plan = gi.init_(net, recipe(method), inputs=X, seed=0)
    factor = 1.0 if how == "none" else 2.0
    for new, old in ((net[0], before[0]), (net[2], before[2])):
        added = factor * new.b.weight.double() @ new.a.weight.double()
        error = (new.base.weight.double() + added - old.base.weight.double()).abs().max()
        # Sums of 4 products of numbers below 1, and one difference: a few float32 roundings.
        assert error < 8 * 2**-24
        assert new.b.weight.abs().max() > 0.01
        assert torch.equal(new.base.bias, old.base.bias)
        assert torch.equal(new.base.weight, old.base.weight) == (method == "orthogonal")
    assert gi.Plan.from_dict(json.loads(json.dumps(plan.to_dict()))).rows == plan.rows
    assert plan.ok
    assert ("W - " in plan["0.base.weight"].why) == (method != "orthogonal")


def test_pissa_leaves_the_smallest_singular_values() -> None:
    """Eckart & Young: no matrix of that rank leaves less."""
    net, weight = two(), two()[0].base.weight
    gi.init_(net, "pissa", inputs=X, seed=0)
    s = torch.linalg.svdvals(weight.double())
    left = net[0].base.weight.double().square().sum()
    assert left.item() == pytest.approx(s[4:].square().sum().item(), rel=1e-5)
    a, b = net[0].a.weight.double(), net[0].b.weight.double()
    halves = torch.diag(s[:4] / 2.0)  # sqrt(S/s) on each side
    assert torch.allclose(a @ a.T, halves, atol=1e-6)
    assert torch.allclose(b.T @ b, halves, atol=1e-6)


def test_olora_is_the_start_of_qr_and_orthogonal_ones_cancel() -> None:
    net, weight = two(), two()[0].base.weight
    gi.init_(net, "olora", inputs=X, seed=0)
    q, r = torch.linalg.qr(weight.detach())
    assert torch.equal(net[0].b.weight, q[:, :4])
    assert torch.equal(net[0].a.weight, r[:4])
    drawn = [two() for _ in range(3)]
    for other, seed in zip(drawn, (0, 0, 1), strict=True):
        gi.init_(other, gi.recipe("lora", init="orthogonal"), inputs=X, seed=seed)
        assert (other[0].b.weight @ other[0].a.weight).abs().max() < 1e-7
    first, same, another = (other[0].a.weight for other in drawn)
    assert torch.equal(first, same)
    assert not torch.equal(first, another)


def test_plain_ones_and_what_lies_the_other_way() -> None:
    net = two()
    plan = gi.init_(net, gi.recipe("lora", init="gaussian"), inputs=X, seed=0)
    assert (plan["0.a.weight"].std, plan["0.b.weight"].std) == (0.25, 0.0)
    assert {row.name for row in plan if not row.kept} == {
        "0.a.weight", "0.b.weight", "2.a.weight", "2.b.weight"
    }  # fmt: skip
    default = gi.plan(net, "lora", inputs=X)
    assert default["0.a.weight"].std == pytest.approx(12**-0.5 / 3**0.5)
    for method in COMPUTED:
        torch.manual_seed(1)
        other = Transposed()
        y = other(X)
        gi.init_(other, recipe(method), inputs=X, seed=0)
        assert torch.allclose(other(X), y, atol=1e-5)
        assert other.b.abs().max() > 0.01


def test_in_half_precision_the_rest_holds_what_rounding_took() -> None:
    net, before = two().bfloat16(), two().bfloat16()
    gi.init_(net, "pissa", inputs=X.bfloat16(), seed=0)
    for new, old in ((net[0], before[0]), (net[2], before[2])):
        added = 2.0 * new.b.weight.double() @ new.a.weight.double()
        error = (new.base.weight.double() + added - old.base.weight.double()).abs().max()
        largest = new.base.weight.abs().max().item()
        assert error <= largest * 2**-8  # W - s B A is rounded once


@pytest.mark.parametrize(
    ("build", "arguments", "kind", "text"),
    [
        (two, {"inputs": None}, UnusedRuleError, "found in the data flow; pass inputs="),
        (lambda: nn.Linear(12, 3), {}, UnusedRuleError, "the model has no low-rank adapter"),
        (lambda: two("learned"), {}, SchemeError, "the number that B A x is multiplied by"),
        (two, {"keep": "0.base.weight"}, PlanError, "together with 0.base.weight"),
        (two, {"only": "0.a.weight"}, PlanError, "isn't planned so"),
        (lambda: Adapted(rank=3), {"method": "orthogonal"}, PlanError, "an even rank"),
    ],
)
def test_refused_before_anything_is_written(build, arguments, kind, text) -> None:
    torch.manual_seed(0)
    net = build()
    before = {name: p.clone() for name, p in net.state_dict().items()}
    options = {"inputs": X, **arguments}
    recipe = gi.recipe("lora", init=options.pop("method", "pissa"))
    with pytest.raises(kind, match=text):
        gi.init_(net, recipe, seed=0, **options)
    assert all(torch.equal(p, before[name]) for name, p in net.state_dict().items())


def test_an_adapter_that_adds_something_is_not_lost() -> None:
    net = two()
    gi.init_(net, "pissa", inputs=X, seed=0)
    y = net(X)
    with pytest.raises(PlanError, match="adds something already"):
        gi.init_(net, "pissa", inputs=X, seed=0)
    assert torch.equal(net(X), y)


def test_an_init_that_is_none() -> None:
    with pytest.raises(RecipeError, match="mean 'pissa'"):
        gi.recipe("lora", init="pisa")


def test_a_fresh_adapter_is_identified() -> None:
    net = two()
    gi.init_(net, "lora", inputs=X, seed=0)
    row = gi.identify(copy.deepcopy(net), X)["adapters"]
    assert '"lora"' in row.also
