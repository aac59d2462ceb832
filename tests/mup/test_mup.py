"""muP and CompleteP: laws, learning rates, and what no draw can do."""

from __future__ import annotations

import itertools
import math
from functools import partial

import pytest
import torch
from tests.mup.networks import HEAD, IMAGES, NUMBERS, TOKENS, WORDS, Cnn, Gpt, Mlp
from torch import Tensor, nn
from torch.nn import functional

import goodinit as gi
from goodinit.errors import CallError, PlanError, RecipeError
from goodinit.plans.rows import Rates

MODELS = [(Mlp, NUMBERS), (Gpt, TOKENS), (Cnn, IMAGES)]


def lacking(plan: gi.Plan) -> list[str]:
    return [f.where for f in plan.findings if (f.code, f.severity) == ("GI151", "warning")]


@pytest.fixture(scope="module")
def gpt() -> gi.Plan:
    """Four times as wide and twice as deep as its base."""
    with torch.device("meta"):
        wide = Gpt(256, 4)
    return gi.plan(wide, gi.recipe("completep", base=lambda: Gpt(64, 2)), inputs=TOKENS)


@pytest.mark.parametrize(("make", "inputs"), MODELS)
def test_the_base_itself_is_drawn_by_its_law(make, inputs: Tensor) -> None:
    plan = gi.plan(
        make(64), gi.recipe("mup", base=partial(make, 64), law="megatron"), inputs=inputs
    )
    law = gi.plan(make(64), "megatron", inputs=inputs)
    assert [row.scheme for row in plan] == [row.scheme for row in law]
    assert {row.rates for row in plan} == {Rates(1.0, 1.0, 1.0)}
    assert plan.ok


def test_table_3_and_table_1(gpt: gi.Plan) -> None:
    base = gi.plan(Gpt(64, 2), "standard", inputs=TOKENS)
    expected = {  # factors of std, Adam's rate and epsilon, with m_N = 4 and m_L = 2
        "words.weight": (1, 1, 1 / 4),
        "places.weight": (1, 1, 1 / 4),
        "blocks.0.norm.weight": (1, 1, 1 / 8),
        "blocks.1.qkv.weight": (1 / 2, 1 / 4, 1 / 8),
        "blocks.1.qkv.bias": (1, 1, 1 / 8),
        "blocks.1.mix.weight": (1 / 4, 1 / 8, 1 / 4),
        "blocks.1.mix.bias": (1, 1 / 2, 1 / 4),
        "blocks.0.down.weight": (1 / 4, 1 / 8, 1 / 4),
        "norm.weight": (1, 1, 1 / 4),
        "head.weight": (1 / 4, 1 / 4, 1),
    }
    for name, (std, adam, eps) in expected.items():
        row = gpt[name]
        assert row.rates == Rates(adam, None, eps), name
        if base[name].std:
            assert row.std == pytest.approx(base[name].std * std, rel=1e-9), name
    assert gpt["blocks.3.mix.weight"].rates == gpt["blocks.0.mix.weight"].rates
    assert not lacking(gpt)


def test_a_plan_survives_its_file(gpt: gi.Plan) -> None:
    assert gi.Plan.from_dict(gpt.to_dict()) == gpt
    assert "rates" not in gi.plan(nn.Linear(2, 2)).to_dict()["rows"][0]


@pytest.mark.parametrize(("make", "inputs"), MODELS)
def test_a_width_is_as_good_as_the_model(make, inputs: Tensor) -> None:
    by_model = gi.plan(make(256), gi.recipe("mup", base=partial(make, 64)), inputs=inputs)
    by_width = gi.plan(make(256), gi.recipe("mup", base=64), inputs=inputs)
    assert [row.rates for row in by_width] == [row.rates for row in by_model]
    for one, other in zip(by_width, by_model, strict=True):
        assert one.std == pytest.approx(other.std, rel=1e-9), one.name  # None equals None alone
    assert [f.where for f in by_width.findings if f.code == "GI151"] == ["base"]


def test_a_width_fits_into_a_file() -> None:
    recipe = gi.recipe("completep", base=64, layers=2, law="gpt2")
    assert gi.Recipe.from_toml(recipe.to_toml()) == recipe
    with pytest.raises(RecipeError, match="its width can, base=64"):
        gi.recipe("mup", base=lambda: Gpt(64)).to_toml()


class Multiplied(nn.Module):
    """The model multiplies by its own numbers, as MiniCPM, Gemma and NTK nets do."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words, self.hidden = nn.Embedding(7, width), nn.Linear(width, width, bias=False)
        self.head, self.width = nn.Linear(width, 3, bias=False), width

    def forward(self, words: Tensor) -> Tensor:
        x = self.words(words) * self.width**0.5
        x = functional.linear(x, self.hidden.weight * self.width**-0.5)
        return self.head(x.relu()) / (self.width / 64)


def test_the_models_own_numbers_count() -> None:
    words = torch.arange(6).view(2, 3)
    recipe = gi.recipe("mup", base=lambda: Multiplied(64), law=gi.Recipe(
        [gi.Rule("*", gi.Normal(0.02))]))  # fmt: skip
    rows = gi.plan(Multiplied(1024), recipe, inputs=words)  # m = 16
    found = {row.name: (round(row.std / 0.02, 6), row.rates.adam, row.rates.sgd) for row in rows}
    assert found == {
        "words.weight": (0.25, 0.25, 1.0),  # times 4 in the model: as large as the base's
        "hidden.weight": (1.0, 0.25, 16.0),  # N(0, 1)/sqrt(n) is 1/sqrt(m) by itself
        "head.weight": (1.0, 1.0, 16.0),  # table 8: the multiplier is there
    }


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.weight_norm])
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm`:FutureWarning")
def test_lengths_and_directions_of_weight_norm(norm) -> None:
    def net(width: int) -> nn.Sequential:
        return nn.Sequential(norm(nn.Linear(8, width)), nn.ReLU(), norm(nn.Linear(width, width)))

    model = net(64)
    plan = gi.plan(model, gi.recipe("mup", base=lambda: net(16)), inputs=NUMBERS[:, :8])
    for optimizer, lengths, hidden in (("adamw", 1.0, 0.25), ("sgd", 4.0, 1.0)):
        groups = gi.mup.param_groups(model, plan, lr=1.0, optimizer=optimizer)
        rate = {id(p): group["lr"] for group in groups for p in group["params"]}
        found = {name: rate[id(p)] for name, p in model.named_parameters()}
        assert [v for n, v in found.items() if n.endswith(("original0", "weight_g"))] == [
            lengths
        ] * 2
        assert [v for n, v in found.items() if n.startswith("2.") and "bias" not in n] == [
            lengths, hidden
        ]  # fmt: skip


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_form_without_multipliers_is_the_one_with_them(optimizer: str) -> None:
    """Table 3 and table 8 train the same function: here the model with 1/m in its forward."""

    class Scaled(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) / (self[0].out_features / 16)

    def net(cls: type[nn.Sequential], width: int) -> nn.Sequential:
        return cls(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                   nn.Linear(width, 2))  # fmt: skip

    x, y = NUMBERS[:, :4], NUMBERS[:, 4:6]
    losses: list[list[float]] = []
    for cls in (nn.Sequential, Scaled):
        model = net(cls, 64).double()
        recipe = gi.recipe("mup", base=partial(net, cls, 16))
        plan = gi.init_(model, recipe, inputs=x.double(), seed=0)
        groups = gi.mup.param_groups(model, plan, lr=0.02, optimizer=optimizer, weight_decay=0.1,
                                     eps=1e-12)  # fmt: skip
        stepper = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer](groups)
        losses.append([])
        for _ in range(5):
            loss = (model(x.double()) - y).square().mean()
            losses[-1].append(loss.item())
            stepper.zero_grad()
            loss.backward()
            stepper.step()
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[0][-1] < 0.9 * losses[0][0]


def test_what_no_draw_can_do() -> None:
    tied = gi.recipe("mup", base=lambda: Gpt(64, tied=True))
    plan = gi.plan(Gpt(256, tied=True), tied, inputs=TOKENS)
    assert lacking(plan) == ["words.weight"]
    assert "logits = logits * 0.25" in plan.to_text(full=True)
    assert plan["words.weight"].std == pytest.approx(1 / 8)
    few = gi.plan(Gpt(256, heads=4), gi.recipe("mup", base=lambda: Gpt(64, heads=4)), inputs=TOKENS)
    assert lacking(few) == ["attention"]
    wanted = (64 / 4) ** -0.5 * (64 / 4) / (256 / 4)
    assert f"scale={wanted:.6g}" in few.to_text(full=True)
    assert HEAD == 16


def test_which_layer_an_end_is_in_may_be_unknown() -> None:
    """A list of first weights and one of ends: no layer is called open."""
    recipe = gi.recipe("completep", base=lambda: Mlp(8, 2))
    assert not lacking(gi.plan(Mlp(16, 4), recipe, inputs=NUMBERS))


@pytest.mark.parametrize(("first", "marked"), [(True, []), (False, ["residual stream"])])
def test_post_norm_under_completep_is_marked(first: bool, marked: list[str]) -> None:
    def net(layers: int) -> nn.Module:
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=first)
        return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    recipe = gi.recipe("completep", base=lambda: net(1))
    plan = gi.plan(net(2), recipe, inputs=torch.ones(2, 3, 16))
    assert lacking(plan) == marked
    assert ("x = x + branch(norm(x))" in plan.to_text(full=True)) == bool(marked)


def test_what_was_done_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    attend = functional.scaled_dot_product_attention

    def by_dimension(q: Tensor, k: Tensor, v: Tensor, **options: object) -> Tensor:
        return attend(q, k, v, scale=4 / q.shape[-1], **options)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", by_dimension)

    class Done(Gpt):
        def forward(self, words: Tensor) -> Tensor:
            return super().forward(words) * (64 / self.norm.normalized_shape[0])

    make = partial(Done, heads=4, tied=True)
    assert not lacking(gi.plan(make(256), gi.recipe("mup", base=partial(make, 64)), inputs=TOKENS))


def test_torchs_attention_is_known_by_its_module() -> None:
    def net(width: int, heads: int) -> nn.Module:
        return nn.TransformerEncoderLayer(width, heads, 4 * width, batch_first=True)

    x = torch.randn(2, 3, 8)

    class Wide(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.enter, self.layer = nn.Linear(8, width), net(width, heads)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.enter(x))

    for heads, where in ((2, ["attention"]), (8, [])):
        recipe = gi.recipe("mup", base=lambda: Wide(16, 2))
        assert lacking(gi.plan(Wide(64, heads), recipe, inputs=x)) == where


def test_groups() -> None:
    model = Mlp(256)
    model.enter.weight.requires_grad_(False)
    plan = gi.init_(model, gi.recipe("mup", base=lambda: Mlp(64)), inputs=NUMBERS, seed=0)
    groups = gi.mup.param_groups(model, plan, lr=1e-2, weight_decay=0.1)
    inside = [p for group in groups for p in group["params"]]
    assert {id(p) for p in inside} == {id(p) for p in model.parameters() if p.requires_grad}
    assert len(inside) == len({id(p) for p in inside})
    assert {round(group["lr"] * group["weight_decay"], 12) for group in groups} == {1e-3}
    (hidden,) = (g for g in groups if any(p is model.up[0].weight for p in g["params"]))
    assert (hidden["lr"], hidden["eps"]) == (1e-2 / 4, 1e-8 / 4)
    loaded = gi.Plan.from_dict(plan.to_dict())
    sgd = gi.mup.param_groups(model, loaded, lr=0.1, optimizer="sgd")
    assert sorted({group["lr"] for group in sgd}) == pytest.approx([0.025, 0.1, 0.4])
    torch.optim.SGD(sgd, momentum=0.9)


def test_groups_that_nobody_knows() -> None:
    model = Mlp(64)
    plain = gi.init_(model, "he", inputs=NUMBERS)
    deep = gi.plan(Mlp(64), gi.recipe("completep", base=lambda: Mlp(32)), inputs=NUMBERS)
    for call, error, says in (
        (lambda: gi.mup.param_groups(model, plain, lr=1.0), PlanError, "of another recipe"),
        (lambda: gi.mup.param_groups(nn.Linear(2, 2), deep, lr=1.0), PlanError, "another model"),
        (lambda: gi.mup.param_groups(model, deep, lr=1.0, optimizer="sgd"), PlanError, "use AdamW"),
        (lambda: gi.mup.param_groups(model, deep, lr=1.0, optimizer="adam", weight_decay=0.1),
         CallError, "AdamW"),
        (lambda: gi.mup.param_groups(model, deep, lr=1.0, optimizer="lion"), CallError, "one of"),
    ):  # fmt: skip
        with pytest.raises(error, match=says):
            call()


def test_a_table_alone_has_no_layers_to_count() -> None:
    recipe = gi.recipe("completep", base=lambda: nn.Embedding(WORDS, 32), law="gpt2")
    (row,) = gi.plan(nn.Embedding(WORDS, 64), recipe, inputs=TOKENS)
    assert (row.depth, row.scheme) == (None, gi.Normal(0.02))


def test_bases_that_do_not_fit() -> None:
    for base, says in (
        (lambda: Mlp(64, 1), "no parameter like"),
        (lambda: Mlp(64, 3), "which this one doesn't have"),
        (lambda width: Mlp(width, 2), "takes no arguments"),
        (lambda: 3, "not an nn.Module"),
        (lambda: nn.Linear(3, 3), "the base model: "),
        (Mlp, "width or a function"),
        ("64", "width or a function"),
        (0, "whole number from 1"),
    ):
        with pytest.raises(RecipeError, match=says):
            gi.plan(Mlp(256), gi.recipe("mup", base=base), inputs=NUMBERS)
    odd = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 85), nn.ReLU(), nn.Linear(85, 64)
    )
    with pytest.raises(RecipeError, match=r"2\.weight has a size of 85 .* no whole number"):
        gi.plan(nn.Sequential(odd, nn.Linear(64, 2)), gi.recipe("mup", base=32), inputs=NUMBERS)
    with pytest.raises(RecipeError, match="pass inputs="):
        gi.plan(Mlp(256), gi.recipe("mup", base=64))
    with pytest.raises(RecipeError, match="drawn as torch does"):
        gi.plan(Mlp(256), gi.recipe("mup", base=64, law="torch_default"), inputs=NUMBERS)
    with pytest.raises(RecipeError, match="compares a model with its base"):
        Mlp(64).apply(gi.recipe("mup", base=64).each)


def test_layers_of_the_base_that_differ() -> None:
    """The message names two that do, whatever comes between them."""

    def net(*sizes: int) -> nn.Module:
        pairs = itertools.pairwise(sizes)
        return nn.Sequential(*(part for a, b in pairs for part in (nn.Linear(a, b), nn.ReLU())))

    recipe = gi.recipe("completep", base=lambda: net(8, 8, 16, 8, 8))
    with pytest.raises(RecipeError, match=r"8\.weight could be 0\.weight or 2\.weight of the base"):
        gi.plan(net(8, 32, 32, 32, 32, 32), recipe, inputs=NUMBERS)


def test_a_base_that_needs_values_to_run_is_read_by_its_flow() -> None:
    class Branching(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.enter, self.leave = nn.Linear(8, width), nn.Linear(width, 3)
            self.inside = nn.Parameter(torch.randn(width, width))

        def forward(self, x: Tensor) -> Tensor:
            x = self.enter(x)
            return self.leave(x @ self.inside if x.sum().item() < math.inf else x)

    recipe = gi.recipe("mup", base=lambda: Branching(16))
    row = gi.plan(Branching(64), recipe, inputs=torch.randn(5, 8))["inside"]
    assert row.rates == Rates(1 / 4, 1.0, 1 / 4)
    assert "muP: hidden" in row.why


def test_norms_that_end_a_branch() -> None:
    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(width, width, 1), nn.BatchNorm2d(width)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.norm(self.conv(x.relu()))

    def net(width: int, depth: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, width, 1), *(Block(width) for _ in range(depth)),
                             nn.Conv2d(width, 2, 1))  # fmt: skip

    plan = gi.plan(net(32, 4), gi.recipe("completep", base=lambda: net(16, 2)), inputs=IMAGES)
    assert plan["3.norm.weight"].scheme == gi.Constant(0.5)
    assert plan["3.norm.weight"].rates.adam == plan["3.norm.bias"].rates.adam == 0.5


class Rows(nn.Module):
    """Branches whose weights stand in rows of their own: no module is a layer."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(8, width), nn.Linear(width, 3)
        self.up = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(depth))
        self.down = nn.ModuleList(nn.Linear(4 * width, width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(up(x).relu())
        return self.leave(x)


def test_weights_of_branches_are_inside_them_wherever_they_stand() -> None:
    recipe = gi.recipe("completep", base=lambda: Rows(16, 4))
    plan = gi.plan(Rows(64, 8), recipe, inputs=torch.randn(5, 8))
    eps = {name: plan[name].rates.eps for name in ("enter.weight", "leave.weight", "up.7.bias")}
    assert eps == {"enter.weight": 1 / 4, "leave.weight": 1.0, "up.7.bias": 1 / 8}
    assert [plan[f"up.{n}.weight"].rates.eps for n in (0, 7)] == [1 / 8, 1 / 8]
    assert plan["down.3.weight"].rates.eps == 1 / 4


def test_a_depthwise_kernel_is_a_vector() -> None:
    def net(width: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, width, 1), nn.Conv2d(width, width, 3, groups=width),
                             nn.Conv2d(width, 2, 1))  # fmt: skip

    for base in (partial(net, 16), 16):
        plan = gi.plan(net(64), gi.recipe("mup", base=base), inputs=IMAGES)
        assert plan["1.weight"].rates == Rates(1.0, 4.0, 0.25)
        assert plan["1.weight"].std == pytest.approx(1 / 3)


def test_new_rows_of_a_checkpoint_grow_as_the_others() -> None:
    table = gi.recipe("mup", base=lambda: nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 8)))
    wide = nn.Sequential(nn.Embedding(9, 32), nn.Linear(32, 8))
    old = {"0.weight": torch.ones(5, 32), "1.weight": torch.ones(6, 32)}
    plan = gi.plan(wide, table, inputs=torch.arange(3), keep=old)
    assert (plan["0.weight"].rates.adam, plan["1.weight"].rates.adam) == (1.0, 0.25)


def test_torchs_biases_stay_as_wide() -> None:
    recipe = gi.recipe("mup", base=lambda: Mlp(64), law="torch_default")
    plan = gi.plan(Mlp(1024), recipe, inputs=NUMBERS)
    assert plan["up.0.bias"].std == pytest.approx(64**-0.5 / math.sqrt(3))
    assert plan["up.0.weight"].std == pytest.approx(1024**-0.5 / math.sqrt(3))


class Experts(nn.Module):
    """As many matrices in one tensor as there are experts."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(8, width), nn.Linear(width, 4)
        self.w = nn.Parameter(torch.randn(experts, width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x).relu()
        return self.leave(torch.bmm(x.expand(len(self.w), *x.shape), self.w).relu().mean(0))


def test_an_expert_takes_the_law_of_its_own_in_a_base_with_fewer() -> None:
    law = gi.Recipe([
        gi.Rule("*", gi.Normal(0.5)), gi.Rule(gi.sel.block("expert1"), gi.Normal(1.5)),
    ])  # fmt: skip
    recipe = gi.recipe("mup", base=lambda: Experts(16, 2), law=law)
    row = gi.plan(Experts(64, 4), recipe, inputs=NUMBERS)["w"]
    assert [block.name for block in row.blocks] == [f"expert{n}" for n in range(4)]
    stds = [std for _, _, std in row.moments()]
    assert stds == pytest.approx([0.25, 0.75, 0.25, 0.25])  # 4 times the inputs: half of the law
    assert row.rates == Rates(0.25, 1.0, 0.25)
