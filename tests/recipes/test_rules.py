"""Selectors, rules and recipes."""

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.errors import RecipeError
from goodinit.recipes.base import Base
from goodinit.recipes.by_place import Fixup, LayerRamp
from goodinit.recipes.deferred import FirstLayer, LowRankPart
from goodinit.recipes.rule import glob_matches


@pytest.mark.parametrize(
    ("glob", "name", "expected"),
    [
        ("*.bias", "bias", True),
        ("*.bias", "a.b.bias", True),
        ("*.bias", "a.bias_k", False),
        ("h.*.weight", "h.0.attn.weight", True),
        ("H.*", "h.0", False),
        ("h.[01].w", "h.1.w", True),
        ("a.b", "axb", False),
        ("layers[0].w", "layers[0].w", True),  # a name, though no glob that matches itself
    ],
)
def test_globs(glob: str, name: str, expected: bool) -> None:
    assert glob_matches(glob, name) is expected


def test_selectors_compare_and_read_as_they_are_written() -> None:
    sel = gi.sel
    assert sel.kind("norm") & ~sel.part("bias") == sel.kind("norm") & ~sel.part("bias")
    assert repr(sel.kind("norm") & ~sel.part("bias")) == "kind('norm') & ~part('bias')"
    assert repr(~(sel.all() | sel.block("q"))) == "~(all() | block('q'))"
    assert repr((sel.all() | sel.ends_residual()) & sel.name("a")) == (
        "(all() | ends_residual()) & name('a')"
    )
    assert ~~sel.all() == sel.all()
    assert hash(sel.type(nn.Linear)) == hash(sel.type(nn.Linear))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: gi.sel.kind("nrom"), "Did you mean 'norm'"),
        (lambda: gi.sel.part("bais"), "Did you mean 'bias'"),
        (gi.sel.kind, "needs a name"),
        (lambda: gi.sel.type(3), "module classes"),
        (lambda: gi.sel.name(""), "nonempty string"),
        (lambda: gi.sel.when(3), "function"),
        (lambda: gi.sel.type("Linear"), r"Write gi\.sel\.type\(nn\.Linear\)"),
        (gi.sel.type, "module classes"),
        (gi.sel.followed_by, "names of functions"),
        (lambda: gi.sel.followed_by(""), "nonempty string"),
        (lambda: gi.Rule(3, gi.Zeros()), "selector"),
        (lambda: gi.Rule("*", gi.Zeros), "call it, Zeros"),
        (lambda: gi.Rule("*", 0.02), "needs a scheme"),
        (lambda: gi.Rule("*", gi.Zeros(), 3), "why is a text"),
        (lambda: gi.Recipe("he"), r"Write gi\.recipe\('he'\)"),
        (lambda: gi.Recipe({"a": gi.Zeros()}), r"override\(gi\.Rule\('a', gi\.Zeros\(\)\)\)"),
        (
            lambda: gi.Recipe([(nn.Linear, gi.Zeros())]),
            r"override\(gi\.Rule\(nn\.Linear, gi\.Zeros\(\)\)\)",
        ),
        (lambda: gi.Recipe([gi.Zeros()]), r"rules\[0\]"),
        (lambda: gi.Recipe(gi.Rule("*", gi.Zeros())), "list of rules"),
    ],
)
def test_misuse_is_named(make, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        make()


def test_last_rule_wins_and_the_lost_are_shown() -> None:
    recipe = gi.Recipe([gi.Rule("*", gi.Ones()), gi.Rule("*.bias", gi.Zeros())])
    row = gi.plan(nn.Linear(2, 3), recipe)["bias"]
    assert row.scheme == gi.Zeros()
    assert row.shadowed == ("name('*') -> Ones()",)
    assert ">Zeros()</td>" in recipe._repr_html_()
    assert "<b>recipe</b>" in gi.Recipe(recipe.rules)._repr_html_()
    assert "<b>mine</b>" in gi.Recipe(recipe.rules, "mine")._repr_html_()
    assert gi.plan(nn.Linear(2, 3), recipe.override(gi.Rule("bias", gi.Ones())))["bias"].mean == 1


def test_a_type_means_weights_and_its_subclasses() -> None:
    class Mine(nn.Linear):
        pass

    net = nn.Sequential(Mine(2, 3), nn.Bilinear(2, 2, 2))
    plan = gi.plan(net, {nn.Linear: gi.Ones()})
    assert [row.name for row in plan if not row.kept] == ["0.weight"]
    assert "doesn't name it" in plan["0.bias"].why


def test_tied_names_match() -> None:
    net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5, bias=False))
    net[1].weight = net[0].weight
    assert gi.plan(net, {"1.*": gi.Ones()})["0.weight"].scheme == gi.Ones()


def test_a_tied_attribute_matches() -> None:
    net = nn.ParameterDict({"a": nn.Parameter(torch.ones(3, 3))})
    net["b"] = net["a"]
    recipe = gi.Recipe([gi.Rule("*", gi.Zeros()), gi.Rule(gi.sel.attr("b"), gi.Constant(2.0))])
    assert gi.plan(net, recipe)["a"].scheme == gi.Constant(2.0)


def test_gates_are_no_parts() -> None:
    net = nn.LSTM(2, 3)
    recipe = gi.Recipe([gi.Rule("*", gi.Ones()), gi.Rule(gi.sel.part("out"), gi.Zeros(), "", True)])
    assert all(row.scheme == gi.Ones() for row in gi.plan(net, recipe))


def test_when_sees_the_row() -> None:
    wide = gi.sel.when(lambda row: row.shape[0] > 3)
    plan = gi.plan(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)), gi.Recipe(
        [gi.Rule("*", gi.Zeros()), gi.Rule(wide, gi.Ones())]
    ))  # fmt: skip
    assert [row.mean for row in plan] == [0, 0, 1, 1]


def test_each_by_type() -> None:
    net = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64), nn.BatchNorm1d(64))
    torch.manual_seed(3)
    net.apply(gi.recipe("he").each)
    first = [p.clone() for p in net.parameters()]
    assert not torch.equal(first[0], first[2])
    assert net[0].bias.count_nonzero() == 0
    torch.manual_seed(3)
    net.apply(gi.recipe("he").each)
    assert all(torch.equal(a, b) for a, b in zip(first, net.parameters(), strict=True))


# What one module can't show; the others work.
REFUSED = {
    **dict.fromkeys(("deepnorm", "tfixup"), "scales by depth"),
    **dict.fromkeys(("hiera",), "a head's or a gate's"),
    "fixup": "the residual branch or the layer",
    "lora": "have an adapter",
    "mimetic": "of one attention",
    "siren": "comes first",
    **dict.fromkeys(
        (
            *("alphafold", "beit", "convnext", "detr", "dit", "gpt_oss", "hybrid", "hyena"),
            *(
                "mamba",
                "mamba2",
                "mimi",
                "modernbert",
                "nanochat",
                "ppo",
                "retinanet",
                "retnet",
                *("rwkv4", "rwkv5", "rwkv6", "rwkv7"),
                "siglip",
            ),
            *("stylegan2", "switch", "t5", "wav2vec2", "xlstm"),
        ),
        "goes by name",
    ),
}


@pytest.mark.parametrize("name", gi.recipes.names())
def test_each_draws_or_says_what_it_needs(name: str) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, groups=1), nn.BatchNorm2d(8), nn.PReLU(), nn.Linear(8, 4),
        nn.Embedding(5, 4), nn.LSTM(4, 4), nn.MultiheadAttention(4, 2), nn.Bilinear(2, 3, 4),
    )  # fmt: skip
    if name in REFUSED:
        with pytest.raises(RecipeError, match=f"{REFUSED[name]}.*use gi.init_"):
            net.apply(gi.recipe(name).each)
        return
    before = net[0].weight.clone()
    net.apply(gi.recipe(name).each)
    assert not torch.equal(net[0].weight, before)


def test_each_of_an_option_that_one_module_cannot_show() -> None:
    with pytest.raises(RecipeError, match="asks which norm ends a residual branch"):
        _ = gi.recipe("resnet", zero_last_gamma=True).each


def test_each_leaves_what_it_does_not_know() -> None:
    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.raw = nn.Parameter(torch.full((3, 3), 7.0))
            self.fc = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))

    net = Mine()
    before = net.fc.weight.clone()
    net.apply(gi.recipe("xavier").each)
    assert (net.raw == 7).all()
    assert not torch.equal(net.fc.weight, before)


@pytest.mark.parametrize(
    "rule",
    [
        gi.Rule("*.weight", gi.Ones()),
        gi.Rule(gi.sel.ends_residual(), gi.Ones()),
        gi.Rule(gi.sel.when(bool), gi.Ones()),
        gi.Rule(gi.sel.followed_by("relu"), gi.Ones()),
        gi.Rule(gi.sel.all(), gi.Normal(0.02).scaled(depth=-0.5)),
        gi.Rule(gi.sel.all(), gi.Normal(0.02).scaled(layer=-0.5)),
        gi.Rule(gi.sel.all(), gi.Normal(0.02).scaled(width=-0.5)),
        gi.Rule(gi.sel.all(), LayerRamp(1.0, 0.0)),
        gi.Rule(gi.sel.all(), Fixup(gi.HeNormal())),
        gi.Rule(gi.sel.all(), FirstLayer(gi.Ones(), gi.Zeros())),
        gi.Rule(gi.sel.all(), LowRankPart("pissa")),
        gi.Rule(gi.sel.adapted(), gi.Ones()),
        gi.Rule(gi.sel.kind("adapter"), gi.Ones()),
        gi.Rule(gi.sel.head_bias(), gi.Ones()),
        gi.Rule(~gi.sel.last_norm(), gi.Ones()),
    ],
)
def test_each_refuses_what_one_module_does_not_show(rule: gi.Rule) -> None:
    with pytest.raises(RecipeError, match=r"gi\.init_"):
        _ = gi.Recipe([rule]).each


def test_what_is_made_from_a_recipe_keeps_the_rest_of_it() -> None:
    base = Base("mup", 64)
    recipe = gi.Recipe([gi.Rule("*", gi.Ones())], "mine", "why", base).with_options({"a": 1})
    more = recipe.override(gi.Rule("*", gi.Zeros()))
    assert (more.name, more.why, more.base, more.options) == ("mine", "why", base, {"a": 1})
    assert [rule.scheme for rule in more.rules] == [gi.Ones(), gi.Zeros()]


@pytest.mark.parametrize(
    ("rule", "optional", "library"),
    [
        (gi.Rule("*", gi.Ones()), False, False),
        (gi.Rule("*", gi.Ones(), optional=True), True, False),
        (gi.Rule("*", gi.Ones(), library=True), True, True),
    ],
)
def test_a_librarys_rule_may_match_nothing(rule: gi.Rule, optional: bool, library: bool) -> None:
    assert (rule.optional, rule.library) == (optional, library)


@pytest.mark.parametrize(
    ("selector", "reaches"),
    [
        (gi.sel.part("buffer"), True),
        (gi.sel.part("buffer") | gi.sel.kind("norm"), True),
        (gi.sel.kind("norm") & gi.sel.part("buffer"), True),
        (gi.sel.part("bias", "buffer"), True),
        (gi.sel.all(), False),
        (~gi.sel.part("buffer"), False),
        (gi.sel.name("running_mean"), False),
    ],
)
def test_buffers_are_reached_by_their_part_alone(selector, reaches: bool) -> None:
    assert selector.reaches_buffers is reaches


@pytest.mark.parametrize(
    ("give", "says"),
    [
        (lambda: Base("mup", 0), "base is a whole number from 1, got 0"),
        (lambda: Base("mup", True), "base is a whole number from 1, got True"),
        (lambda: Base("mup", 64, 0), "layers is a whole number from 1, got 0"),
        (lambda: Base("mup", "64"), "base is a width or a function"),
        (lambda: Base("mup", nn.Linear), "base is a width or a function"),
        (lambda: Base("completep", nn.Linear(2, 2), 2), "layers= goes with a base that is a width"),
        (lambda: Base("mup", lambda: 3).build(meta=False), "base() returned 3"),
        (lambda: Base("mup", lambda: 1 / 0).build(meta=True), "that makes the base model raised"),
    ],
)
def test_what_is_no_base(give, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        give()
    assert says in str(caught.value)


def test_a_base_that_needs_values_has_them_and_draws_nothing_of_torchs() -> None:
    class Picky(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.first = self.weight[0, 0].item()

    def picky() -> nn.Module:
        return Picky()

    before = torch.get_rng_state()
    assert not Base("mup", picky).build(meta=True).weight.is_meta
    assert Base("mup", lambda: nn.Linear(2, 2)).build(meta=True).weight.is_meta
    assert torch.equal(before, torch.get_rng_state())
