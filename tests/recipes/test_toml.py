"""Recipes to TOML and back; each error names its place."""

from __future__ import annotations

import itertools
import re
import sys
import types
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import goodinit as gi
from goodinit.anatomy.rows import KINDS, PARTS
from goodinit.errors import RecipeError, RecipeFileError, SchemeError
from goodinit.recipes import rule
from goodinit.recipes.deferred import Neutral, ReluGain
from goodinit.recipes.toml import LARGEST, MOST_CONDITIONS, MOST_DOTTED, MOST_RULES

sel = gi.sel


class Outer(nn.Module):
    class Inner(nn.Linear):
        pass


# ------------------------------------------------------------------------------- there and back

OPTIONS: dict[str, dict[str, list[object]]] = {
    "he": {
        "distribution": ["normal", "uniform"],
        "nonlinearity": [None, "relu", "tanh"],
        "mode": ["fan_in", "fan_out", "fan_avg"],
    },
    "xavier": {"distribution": ["normal", "uniform"], "gain": [1.0, 5 / 3]},
    "lecun": {"distribution": ["normal", "uniform"]},
    "orthogonal": {"gain": [1.0, 2**0.5]},
    "gpt2": {"flavour": ["hf", "openai"]},
    "vit": {"flavour": ["timm", "flax"]},
}
ALIASES = {"kaiming": "he", "glorot": "xavier"}


@pytest.mark.parametrize("name", gi.recipes.names())
def test_every_recipe_of_the_library(name: str) -> None:
    options = OPTIONS.get(ALIASES.get(name, name), {})
    for values in itertools.product(*options.values()):
        recipe = gi.recipe(name, **dict(zip(options, values, strict=True)))
        assert gi.Recipe.from_toml(recipe.to_toml()) == recipe


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
classes = st.sampled_from([nn.Linear, nn.Conv2d, nn.modules.conv._ConvNd, Outer, Outer.Inner])
leaves = st.one_of(
    st.just(sel.all()),
    st.just(sel.ends_residual()),
    st.builds(sel.name, texts),
    st.builds(sel.attr, texts),
    st.builds(sel.block, texts),
    st.lists(classes, min_size=1, max_size=2).map(lambda c: sel.type(*c)),
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=3).map(lambda k: sel.kind(*k)),
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map(lambda p: sel.part(*p)),
    st.lists(texts, min_size=1, max_size=2).map(lambda f: sel.followed_by(*f)),
)
selectors = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(rule.Both, inner, inner),
        st.builds(rule.Either, inner, inner),
        st.builds(rule.Not, inner),
    ),
    max_leaves=8,
)
numbers = st.floats(1e-6, 1e6)
plain = st.one_of(
    st.builds(gi.Normal, numbers, mean=st.floats(-1, 1)),
    st.builds(gi.TruncatedNormal, numbers, cut=st.just((-1.5, 2.0)), corrected=st.booleans()),
    st.builds(gi.Constant, st.floats(-3e38, 3e38)),
    st.builds(gi.Dirac, st.integers(1, 2**62)),
    st.builds(gi.HeUniform, st.just("leaky_relu"), st.sampled_from([0.0, 0.1, 5**0.5])),
    st.builds(gi.VarianceScaling, numbers, st.just("fan_avg"), st.just("uniform")),
    st.sampled_from([gi.Zeros(), gi.Keep(), gi.TorchDefault(), gi.schemes.AddNoise()]),
)
powers = st.dictionaries(st.sampled_from(["depth", "layer", "width", "fan_in"]), numbers)
scaled = st.builds(lambda scheme, given: scheme.scaled(**given), plain, powers)
relu_gains = st.builds(ReluGain, st.builds(gi.HeNormal, mode=st.just("fan_out")), plain | scaled)
schemes = plain | scaled | relu_gains | st.just(Neutral())
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
recipes = st.builds(
    gi.Recipe,
    st.lists(
        st.builds(gi.Rule, selectors, schemes, anything, st.booleans()), min_size=1, max_size=3
    ),
    anything,
    anything,
)


@given(recipes)
@settings(max_examples=100)
def test_written_and_read_is_equal(recipe: gi.Recipe) -> None:
    text = recipe.to_toml()
    assert gi.Recipe.from_toml(text) == recipe
    assert gi.Recipe.from_toml(text).to_toml() == text
    assert gi.Recipe.from_toml(text.replace("\n", "\r\n")) == recipe


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: abs(x) < 3e38))
def test_floats_are_read_exactly(value: float) -> None:
    recipe = gi.Recipe([gi.Rule("*", gi.Constant(value))])
    read = gi.Recipe.from_toml(recipe.to_toml()).rules[0].scheme
    assert repr(read.value) == repr(value)


def test_the_common_case_is_pretty() -> None:
    where = sel.kind("linear", "conv") & ~sel.part("bias")
    rules = [
        gi.Rule(where, gi.Normal(0.02).scaled(depth=-0.5), "ends a branch", True),
        gi.Rule(where & ~sel.ends_residual() & sel.type(nn.Linear), gi.Zeros()),
        gi.Rule(sel.name("*.a") | sel.kind("norm"), ReluGain(gi.HeNormal(), gi.Ones())),
        gi.Rule(nn.Linear, gi.TruncatedNormal(1e-6, cut=(-1, 2))),
    ]
    assert gi.Recipe(rules, "mine", 'a "tab"\t\x7f').to_toml() == (
        "goodinit_recipe = 1\n"
        'name = "mine"\n'
        r'why = "a \"tab\"\t\u007f"' + "\n"
        "\n[[rule]]\n"
        'where = { kind = ["linear", "conv"], not = { part = "bias" } }\n'
        'scheme = "Normal"\n'
        "std = 0.02\n"
        "scaled = { depth = -0.5 }\n"
        'why = "ends a branch"\n'
        "optional = true\n"
        "\n[[rule]]\n"
        'where = { every = [{ kind = ["linear", "conv"], not = { part = "bias" } }, '
        '{ not = { ends_residual = true } }, { type = "torch.nn.Linear" }] }\n'
        'scheme = "Zeros"\n'
        "\n[[rule]]\n"
        'where = { any = ["*.a", { kind = "norm" }] }\n'
        'scheme = "ReluGain"\n'
        'he = { scheme = "HeNormal" }\n'
        'otherwise = { scheme = "Ones" }\n'
        "\n[[rule]]\n"
        'where = { type = "torch.nn.Linear", not = { part = "bias" } }\n'
        'scheme = "TruncatedNormal"\n'
        "std = 1e-06\n"
        "cut = [-1.0, 2.0]\n"
    )


def test_a_saved_recipe_draws_the_same(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    recipe = gi.recipe("standard")
    recipe.save(path)
    assert gi.Recipe.load(path) == recipe
    nets = [nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.LayerNorm(8)) for _ in range(3)]
    plans = [
        gi.init_(net, given, seed=0)
        for net, given in zip(nets, [recipe, path, str(path)], strict=True)
    ]
    assert plans[0] == plans[1] == plans[2]
    assert torch.equal(nets[0][0].weight, nets[2][0].weight)
    assert list(tmp_path.iterdir()) == [path]


def local() -> type[nn.Module]:
    class Local(nn.Linear):
        pass

    return Local


class Mine(gi.Normal):
    pass


class Far(rule.Fact):
    pass


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (gi.Rule(sel.when(bool), gi.Ones()), r"rule 2 of recipe 'r', when\(bool\).*holds code"),
        (gi.Rule(~(sel.all() & sel.when(bool)), gi.Ones()), "holds code.*override"),
        (gi.Rule("*", gi.Function(torch.ones)), r"rule 2 .*Function.* holds code"),
        (gi.Rule("*", gi.Function(torch.ones).scaled(depth=1)), "rule 2 .*code"),
        (gi.Rule("*", ReluGain(gi.HeNormal(), gi.Function(torch.ones))), "rule 2 .*code"),
        (gi.Rule(local(), gi.Ones()), "rule 2 .*define it in a module"),
        (gi.Rule("*", Mine(0.1)), "Mine is a class of your own"),
        (gi.Rule(Far("all"), gi.Ones()), "read back as another|selector of your own"),
        (gi.Rule("\ud800", gi.Ones()), "surrogate"),
        (gi.Rule("x" * 301, gi.Ones()), "rule 2, where: 301 characters"),
        (gi.Rule(rule.Kind(("nrom",)), gi.Ones()), "Did you mean 'norm'"),
    ],
)
def test_what_cannot_be_written_is_named(given: gi.Rule, says: str) -> None:
    recipe = gi.Recipe([gi.Rule("*", gi.Ones()), given], "r")
    with pytest.raises(RecipeError, match=f"(?s){says}"):
        recipe.to_toml()


def test_as_many_rules_and_as_long_names_as_are_read() -> None:
    many = gi.Recipe([gi.Rule("x" * 300, gi.Ones())] + [gi.Rule("*", gi.Ones())] * (MOST_RULES - 1))
    assert len(gi.Recipe.from_toml(many.to_toml()).rules) == MOST_RULES


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (gi.Recipe([], "r"), "no rule"),
        (gi.Recipe([gi.Rule("*", gi.Ones())] * (MOST_RULES + 1)), f"at most {MOST_RULES}"),
        (gi.Recipe([gi.Rule("*", gi.Ones())], 3), "would be read back|text is expected"),
        (gi.Recipe([gi.Rule("*", gi.Ones())], why=b"x"), "can't be written"),
    ],
)
def test_what_is_no_recipe_is_not_written(recipe: gi.Recipe, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        recipe.to_toml()


def test_nothing_is_saved_of_what_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("old")
    with pytest.raises(RecipeError):
        gi.Recipe([gi.Rule(sel.when(bool), gi.Ones())]).save(path)
    assert path.read_text() == "old"


def test_a_deep_selector_is_refused() -> None:
    where = sel.all()
    for _ in range(5000):
        where = rule.Not(where)
    with pytest.raises(RecipeError, match="deep"):
        gi.Recipe([gi.Rule(where, gi.Ones())]).to_toml()


# -------------------------------------------------------------------------- errors and their places

START = "goodinit_recipe = 1\n\n[[rule]]\n"
ONES = 'where = "*"\nscheme = "Ones"\n'


PLACES = [
    ("", "not a recipe", "goodinit_recipe = 1"),
    ("\n\nname = 'x'", "not a recipe", "goodinit_recipe = 1"),
    ("# new\ngoodinit_recipe = 2", "goodinit_recipe", "reads version 1, not 2"),
    ("\ngoodinit_recipe = true", "goodinit_recipe", "not True"),
    ("goodinit_recipe = 1\nname = 'x'\n\n", "no rule", r"\[\[rule\]\]"),
    ("goodinit_recipe = 1\nrule = []", "rule", r"\[\[rule\]\]"),
    ("goodinit_recipe = 1\n[rule]\n" + ONES, "rule", "two brackets"),
    ("goodinit_recipe = 1\nrule = [\n3]", "rule 1", "a rule is a table"),
    ("goodinit_recipe = 1\nnmae = 'x'", "nmae", "unknown.*Did you mean 'name'"),
    ("goodinit_recipe = 1\nwhy = 3\n[[rule]]\n" + ONES, "why", "a text is expected, not 3"),
    (
        "goodinit_recipe = 1\n[[rule]\n",
        "not valid TOML",
        r"Expected ']]' .*\(at line 2, column 7\)$",
    ),
    ("goodinit_recipe = 1\nname = 'x", "not valid TOML", r"\(at end of document\)$"),
    ("goodinit_recipe = 1\nname = '''x\n\n\ny", "not valid TOML", r"\(at end of document\)$"),
    ("goodinit_recipe = 1\ngoodinit_recipe = 1", "not valid TOML", r"\(at end of document\)$"),
    ("a = 1\na = 1\n", "not valid TOML", r"\(at line 2, column 6\)$"),
    (START + 'scheme = "Ones"', "rule 1", "where is missing"),
    (START + 'where = "*"', "rule 1", "scheme is missing"),
    (START + ONES + "std = 1", "rule 1, std", "unknown"),
    (START + "wher = '*'\nscheme = 'Ones'", "rule 1, wher", "unknown.*Did you mean 'where'"),
    (START + "where = '*'\nshceme = 'Ones'", "rule 1, shceme", "unknown.*Did you mean 'scheme'"),
    (START + "where = '*'\nscheme = 'Nromal'\nstd = 1", "rule 1, scheme", "mean 'Normal'"),
    (START + "where = '*'\nscheme = 3", "rule 1, scheme", "no scheme is called 3"),
    (START + "where = '*'\nscheme = 'Function'", "rule 1, scheme", "holds code"),
    (START + "where = '*'\nscheme = 'Scaled'", "rule 1, scheme", "no scheme is called"),
    (START + "where = '*'\nscheme = 'Normal'", "rule 1, scheme", "Normal needs std"),
    (START + "where = '*'\nscheme = 'Normal'\nstd = -1", "rule 1, std", "at least 0"),
    (START + "where = '*'\nscheme = 'Normal'\nstd = nan", "rule 1, std", "finite"),
    (START + "where = '*'\nscheme = 'Normal'\nstd = 2001-01-01", "rule 1, std", "not date"),
    (START + "where = '*'\nscheme = 'Normal'\nstd = 1e-40", "rule 1, scheme", "can't be drawn"),
    (START + ONES + "scaled = 3", "rule 1, scaled", "scaled is a mapping"),
    (START + ONES + "[rule.scaled]\ndepth = 1\nwith = 1", "rule 1, scaled.with", "'width'"),
    (START + ONES + "scaled.depth = ''", "rule 1, scaled.depth", "must be a number"),
    (
        START + "where = '*'\nscheme = 'Keep'\nscaled.depth = '1'",
        "rule 1, scaled.depth",
        "must be a number",
    ),
    (
        START + "where = '*'\nscheme = 'Neutral'\nscaled.depth = 1",
        "rule 1, scheme",
        "no numbers to multiply",
    ),
    (
        START + "where = '*'\nscheme = 'ReluGain'\nhe = 3\notherwise = 3",
        "rule 1, he",
        "he must be a He",
    ),
    (
        START + "where = '*'\nscheme = 'ReluGain'\nhe = { scheme = 'HeNormal' }\n"
        "[rule.otherwise]\nscheme = 'Normal'\nstd = -1",
        "rule 1, otherwise.std",
        "at least 0",
    ),
    (
        START + "where = '*'\nscheme = 'ReluGain'\nhe.scheme = 'HeNormal'\n"
        "otherwise.scheme = 'Neutral'",
        "rule 1, otherwise.scheme",
        "no scheme is called 'Neutral'",
    ),
    (START + ONES + "why = 3", "rule 1, why", "a text is expected"),
    (START + ONES + "optional = 1", "rule 1, optional", "true or false is expected, not 1"),
    (START + "where = 3\nscheme = 'Ones'", "rule 1, where", "a glob or a table"),
    (START + "where = ''\nscheme = 'Ones'", "rule 1, where", "the text is empty"),
    (START + "where = {}\nscheme = 'Ones'", "rule 1, where", "all = true"),
    (START + "where = { all = false }\nscheme = 'Ones'", "rule 1, where.all", "write true or"),
    (
        START + "where.ends_residual = 1\nscheme = 'Ones'",
        "rule 1, where.ends_residual",
        "not = { ends_residual = true }",
    ),
    (START + "where.when = 'x'\nscheme = 'Ones'", "rule 1, where.when", "when is code"),
    (START + "where.knid = 'norm'\nscheme = 'Ones'", "rule 1, where.knid", "mean 'kind'"),
    (START + "where.kind = 'nrom'\nscheme = 'Ones'", "rule 1, where.kind", "mean 'norm'"),
    (START + "where.kind = []\nscheme = 'Ones'", "rule 1, where.kind", "the list is empty"),
    (START + "where.part = 3\nscheme = 'Ones'", "rule 1, where.part", "a text or a list"),
    (START + "where.not = 3\nscheme = 'Ones'", "rule 1, where.not", "a glob or a table"),
    (START + "where.any = 'a'\nscheme = 'Ones'", "rule 1, where.any", "a text or a list"),
    (START + "where.type = 'Lienar'\nscheme = 'Ones'", "rule 1, where.type", "or 'Linear'"),
    (START + "where.type = 'nn.Linear'\nscheme = 'Ones'", "rule 1, where.type", "torch.nn.Linear"),
    (
        START + "where.type = 'a.b.C'\nscheme = 'Ones'",
        "rule 1, where.type",
        "Import a.b before.* imports nothing",
    ),
    (START + "where.type = 'torch.Tensor'\nscheme = 'Ones'", "rule 1, where.type", "no module cl"),
    (START + "where.type = 'os.system'\nscheme = 'Ones'", "rule 1, where.type", "no module class"),
    (START + "where.type = 'Module.x'\nscheme = 'Ones'", "rule 1, where.type", "is loaded"),
    (START + "where.type = '.'\nscheme = 'Ones'", "rule 1, where.type", "is loaded"),
    (START + f"where.any = {['a'] * MOST_CONDITIONS}\nscheme = 'Ones'", "rule 1, where", "several"),
    (START + ONES + ("[[rule]]\n" + ONES) * MOST_RULES, "rule", f"at most {MOST_RULES} are read"),
    # rules and items are counted from 1
    (START + ONES + "[[rule]]\nscheme = 'Ones'", "rule 2", "where is missing"),
    (
        START + "scheme = 'Ones'\n[rule.where]\nkind = ['norm', 'conv', 'x']",
        "rule 1, where.kind, item 3",
        "'x'",
    ),
    (
        START + "where = { any = ['a', { kind = ['norm', 'x'] }] }\nscheme = 'Ones'",
        "rule 1, where.any, item 2, kind, item 2",
        "'x'",
    ),
    (
        START + '"where" . "any" = [\n"a",\n{ not.k = 1 }]\nscheme="Ones"',
        "rule 1, where.any, item 2, not.k",
        "unknown",
    ),
    (START + '"wh\\u0065re".kind = "x"\nscheme="Ones"', "rule 1, where.kind", "known are linear"),
    (START + ONES + '"a.b\\n" = 1\n[[rule]]\na.b = 1', r"rule 1, 'a.b\n'", "unknown"),
    ((START + ONES + "\nstd = 1\n").replace("\n", "\r\n"), "rule 1, std", "unknown"),
    ("\ufeff" + START + ONES + "std = 1", "rule 1, std", "unknown"),
    # limits
    ("a = 1\nb = " + "[" * 3000, "nested too deeply", "$"),
    (
        "a = 1\n" + "b." * MOST_DOTTED + "b = 1",
        f"more than {MOST_DOTTED} names joined by dots (at line 2)",
        "$",
    ),
    (
        "a = 1\n[ 'b' " + ' . "b"' * MOST_DOTTED + "]",
        f"more than {MOST_DOTTED} names joined by dots (at line 2)",
        "$",
    ),
    ("a = 1\nb = " + "9" * 5000, "not valid TOML", "a number has too many digits"),
    ("a = 1\nb = '\ud800'", "half of a surrogate pair, which isn't a character", "$"),
    ("a = 1\nb = '\0'", "not valid TOML", r"\(at line 2, column 6\)$"),
]


@pytest.mark.parametrize(("text", "place", "says"), PLACES)
def test_an_error_names_its_place(text: str, place: str, says: str) -> None:
    with pytest.raises(RecipeFileError, match=f"^{re.escape(place)}(: .*)?{says}") as alone:
        gi.Recipe.from_toml(text)
    assert len(str(alone.value)) < 1000
    with pytest.raises(RecipeFileError) as named:
        gi.Recipe.from_toml(text, "mine.toml")
    assert str(named.value) == f"mine.toml: {alone.value}"


def test_a_key_as_long_as_may_be_is_read() -> None:
    with pytest.raises(RecipeFileError, match=r"^b: unknown"):
        gi.Recipe.from_toml("goodinit_recipe = 1\n" + "b." * (MOST_DOTTED - 1) + "b = 1")


# ------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not a recipe"),
        (b"\xef\xbb\xbf", "not a recipe"),
        (b"a = 1\n\nb = '\xff'", r"not UTF-8 text .*at line 3\)"),
        ("a = 1".encode("utf-16"), r"not UTF-8 text .*at line 1\)"),
        (b"\0", r"not valid TOML: .*\(at line 1, column 1\)"),
        (b"\n\xff", r"not UTF-8 text .*at line 2\)"),
        (b"#" * LARGEST, "not a recipe"),
        (b"#" * (LARGEST + 1), f"more than {LARGEST} bytes"),
    ],
)
def test_bad_files_are_named(raw: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(raw)
    with pytest.raises(RecipeFileError, match=f"bad.toml: {says}"):
        gi.init_(nn.Linear(2, 2), path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeFileError, match="No such file"):
        gi.plan(nn.Linear(2, 2), "missing.toml")
    with pytest.raises(RecipeFileError, match="directory"):
        gi.Recipe.load(tmp_path)
    with pytest.raises(RecipeFileError, match="null"):
        gi.Recipe.load("a\0b.toml")
    with pytest.raises(RecipeError, match=r"Recipe\.load"):
        gi.Recipe.from_toml(tmp_path)
    with pytest.raises(RecipeFileError, match=r"^more than"):
        gi.Recipe.from_toml("#" * (LARGEST + 1))


# --------------------------------------------------------------------- nothing is run or imported


def test_classes_are_looked_up_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(types.ModuleType):
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(f"asked for {name}")

    class Trap:
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(f"asked for {name}")

    lazy = Lazy("lazy_mod")
    types.ModuleType.__getattribute__(lazy, "__dict__")["Net"] = Outer
    trap = types.ModuleType("trap_mod")
    trap.__getattr__ = lambda name: pytest.fail(f"asked for {name}")
    trap.Net = Trap()
    for name, module in [("lazy_mod", lazy), ("trap_mod", trap), ("none_mod", None), ("t", Trap())]:
        monkeypatch.setitem(sys.modules, name, module)
    read = gi.Recipe.from_toml
    loaded = set(sys.modules)
    text = START + 'where = {{ type = "{}" }}\nscheme = "Ones"'
    assert read(text.format("lazy_mod.Net")).rules[0].where == sel.type(Outer)
    assert read(text.format("lazy_mod.Net.Inner")).rules[0].where == sel.type(Outer.Inner)
    for name in ("trap_mod.Net", "trap_mod.x", "none_mod.x", "t.x", "trap_mod.Net.x", "xml.dom.X"):
        with pytest.raises(RecipeFileError, match="is loaded"):
            read(text.format(name))
    assert set(sys.modules) == loaded


@pytest.mark.parametrize(
    "make",
    [
        lambda: ReluGain(gi.Normal(1.0), gi.Ones()),
        lambda: ReluGain(gi.HeNormal(), 3),
        lambda: ReluGain(gi.HeNormal(), Neutral()),
        lambda: Neutral().scaled(depth=1),
        lambda: ReluGain(gi.HeNormal(), gi.Ones()).scaled(depth=1),
    ],
)
def test_schemes_that_ask_the_row_do_not_nest(make) -> None:
    with pytest.raises(SchemeError):
        make()


def test_a_rule_may_have_a_hundred_conditions() -> None:
    """The table and its list count as two."""

    def text(count: int) -> str:
        names = ", ".join(['"a"'] * count)
        return f'goodinit_recipe = 1\n[[rule]]\nwhere = {{ any = [{names}] }}\nscheme = "Zeros"\n'

    assert len(gi.Recipe.from_toml(text(98)).rules) == 1
    with pytest.raises(RecipeFileError, match="more than 100 conditions"):
        gi.Recipe.from_toml(text(99))
