"""EVA and CorDA from a batch, and LoftQ: against their formulas, computed in another way."""

from __future__ import annotations

import pytest
import torch
from tests.recipes.test_lora import Transposed, X, two
from torch import Tensor, nn

import goodinit as gi
from goodinit.applying import low_rank_batch
from goodinit.errors import PlanError
from goodinit.schemes.nf4 import nf4

EVA, KPM = gi.recipe("eva"), gi.recipe("corda", corda_method="kpm")


def inner(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Return what goes into the two base weights, before the adapters do anything."""
    return [x, net[1](net[0](x)).detach()]


def test_eva_is_the_start_of_the_principal_components() -> None:
    net, before = two(), two()
    plan = gi.init_(net, "eva", inputs=X, seed=0)
    for place, x in zip((0, 2), inner(before, X), strict=True):
        a, b = net[place].a.weight, net[place].b.weight
        _, _, vh = torch.linalg.svd((x - x.mean(0)).double(), full_matrices=False)
        assert torch.allclose((a @ vh[:4].float().T).abs(), torch.eye(4), atol=1e-5)
        assert (a.gather(1, a.abs().argmax(1, keepdim=True)) > 0).all()
        assert not b.any()
        assert torch.equal(net[place].base.weight, before[place].base.weight)
    assert {row.name.partition(".")[2] for row in plan if not row.kept} == {"a.weight", "b.weight"}
    assert (
        plan["0.a.weight"].why == "0.base.weight's inputs vary most in these directions, on a batch"
    )
    assert gi.Plan.from_dict(plan.to_dict()).rows == plan.rows


@pytest.mark.parametrize(("recipe", "part"), [("corda", slice(4)), (KPM, slice(-4, None))])
def test_corda_takes_the_weight_as_the_inputs_see_it(recipe: str, part: slice) -> None:
    net, before = two(), two()
    gi.init_(net, recipe, inputs=X, seed=0)
    for place, x in zip((0, 2), inner(before, X), strict=True):
        c = (x.T @ x).double() / len(x)
        c = c + 0.01 * c.diagonal().mean() * torch.eye(len(c))
        u, s, vh = torch.linalg.svd(before[place].base.weight.double() @ c, full_matrices=False)
        added = 2.0 * net[place].b.weight.double() @ net[place].a.weight.double()
        expected = u[:, part] @ torch.diag(s[part]) @ vh[part] @ torch.linalg.inv(c)
        assert torch.allclose(added, expected, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 4])
def test_loftq_holds_what_four_bits_lose(steps: int) -> None:
    torch.manual_seed(3)
    net, weight = two(), two()[0].base.weight.detach()
    plan = gi.init_(net, gi.recipe("loftq", loftq_iter=steps), inputs=X, seed=0)
    base, added = net[0].base.weight, 2.0 * net[0].b.weight @ net[0].a.weight
    assert torch.equal(nf4(base), base)
    lost = weight - base
    s = torch.linalg.svdvals(lost.double())
    assert (lost - added).square().sum().item() == pytest.approx(
        s[4:].square().sum().item(), rel=1e-4
    )
    assert "4 bits" in plan["0.base.weight"].why
    if steps == 1:
        assert torch.equal(base, nf4(weight))
    else:  # each step takes what is left of the one before: Li et al. 2023, Table 6
        once = two()
        gi.init_(once, "loftq", inputs=X, seed=0)
        left = weight - once[0].base.weight - 2.0 * once[0].b.weight @ once[0].a.weight
        assert (lost - added).norm() < 0.9 * left.norm()


def test_faithful_loftq_leaves_the_factor_out() -> None:
    torch.manual_seed(3)
    right, faithful = two(), two()
    faithful.load_state_dict(right.state_dict())
    gi.init_(right, "loftq", inputs=X, seed=0)
    gi.init_(faithful, gi.recipe("loftq", faithful=True), inputs=X, seed=0)
    assert torch.equal(faithful[0].base.weight, right[0].base.weight)
    added, product = (net[0].b.weight @ net[0].a.weight for net in (right, faithful))
    assert torch.allclose(product, 2.0 * added, atol=1e-6)


def test_what_lies_the_other_way_is_quantized_along_memory() -> None:
    torch.manual_seed(0)
    net = Transposed()
    weight = net.w.detach().clone()
    gi.init_(net, "loftq", inputs=X, seed=0)
    assert torch.equal(net.w, nf4(weight))
    assert (weight - net.w - 0.5 * net.a @ net.b).norm() < 0.9 * (weight - net.w).norm()


class Written(nn.Module):
    """W x + B A x with the product of W written out, in one of several ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(10, 12))
        self.a, self.b = nn.Linear(12, 3, bias=False), nn.Linear(3, 10, bias=False)
        nn.init.zeros_(self.b.weight)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        match self.how:
            case "transposed":
                base = x @ self.w.T
            case "columns":
                base = (self.w @ x.T).T
            case "addmm":
                base = torch.addmm(torch.zeros(10), x, self.w.t())
            case "twice":
                half = len(x) // 2
                parts = [nn.functional.linear(part, self.w) for part in (x[:half], x[half:])]
                base = torch.cat(parts)
            case _:
                base = nn.functional.linear(x, self.w)
        return base + self.b(self.a(x))


@pytest.mark.parametrize("how", ["linear", "transposed", "columns", "addmm"])
def test_inputs_are_seen_however_the_product_is_written(how: str) -> None:
    drawn = []
    for way in ("linear", how):
        torch.manual_seed(0)
        drawn.append(Written(way))
        gi.init_(drawn[-1], "eva", inputs=X, seed=0)
    assert torch.allclose(drawn[0].a.weight, drawn[1].a.weight, atol=1e-6)


def test_in_several_runs_and_by_a_plan_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    net, other = two(), two()
    gi.init_(net, "corda", inputs=X, seed=0)
    monkeypatch.setattr(low_rank_batch, "AT_ONCE", 1)
    plan = gi.plan(other, "corda", inputs=X)
    gi.apply_(other, plan, inputs=X, seed=0)
    assert all(map(torch.equal, net.parameters(), other.parameters()))


class Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.adapted = nn.Embedding(30, 12), Written("linear")

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        return self.adapted(self.table(input_ids))


def test_hidden_positions_do_not_count() -> None:
    torch.manual_seed(0)
    tokens = torch.randint(1, 30, (6, 8))
    mask = torch.ones_like(tokens)
    mask[:, 5:] = 0
    drawn = []
    for given in (tokens, tokens * mask):
        torch.manual_seed(0)
        drawn.append(Language())
        gi.init_(drawn[-1], "eva", inputs={"input_ids": given, "attention_mask": mask}, seed=0)
    assert torch.equal(*(net.adapted.a.weight for net in drawn))


def test_the_mode_and_dropout_are_left_alone() -> None:
    net = nn.Sequential(nn.Dropout(0.5), two()).train()
    gi.init_(net, "eva", inputs=X, seed=0)
    plain = two()
    gi.init_(plain, "eva", inputs=X, seed=0)
    assert net[0].training
    assert torch.equal(net[1][0].a.weight, plain[0].a.weight)


def _blind() -> nn.Module:
    net = two()
    nn.utils.parametrizations.weight_norm(net[0].base)
    return net


def _fresh() -> nn.Module:
    net = two()
    net[0].a.to("meta")
    return net


@pytest.mark.parametrize(
    ("build", "batch", "text"),
    [
        (two, None, r"computed from a batch.*gi.apply_\(model, plan, inputs=batch\)"),
        (two, X.to("meta"), "a batch with values"),
        (two, X[:3], "vary in 2 directions, and the adapter has rank 4. Pass a larger batch"),
        (two, torch.ones(50, 12), "vary in 0 directions"),
        (two, torch.zeros(50, 12), "all 0 on this batch"),
        (two, X / 0, "aren't finite"),
        (two, X[:, :5], "the model raised on the batch: RuntimeError"),
        (_blind, X, "can't be seen"),
        (_fresh, X, "0.a.weight has no memory yet, and eva runs the model"),
    ],
)
def test_refused_before_anything_is_written_too(build, batch, text) -> None:
    net = build()
    plan = gi.plan(net, "eva", inputs=X)
    before = {name: p.clone() for name, p in net.state_dict().items()}
    with pytest.raises(PlanError, match=text):
        gi.apply_(
            net,
            plan,
            inputs=batch,
            seed=0,
            materialize="cpu" if build is _fresh else None,
        )
    assert all(p.is_meta or torch.equal(p, before[name]) for name, p in net.state_dict().items())
