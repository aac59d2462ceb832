"""What a plan decides about one row, on rows made by hand."""

from __future__ import annotations

import gc
import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.anatomy.held import Held
from goodinit.anatomy.rows import Adapter, Block, Facets, Row
from goodinit.errors import RecipeError
from goodinit.findings import Finding
from goodinit.plans.attention_forecast import _passed_on
from goodinit.plans.authors_value import authors_reason
from goodinit.plans.growth import Growth, common_rates, growth_of
from goodinit.plans.keep import Growth as Kept
from goodinit.plans.keep import KeptRows, find_kept_rows, grow_blocks
from goodinit.plans.part_findings import _late_starts
from goodinit.plans.plain_stack_findings import _judge
from goodinit.plans.plan import collector_paused
from goodinit.plans.plan_findings import _biases_dominate
from goodinit.plans.resolve import Matcher
from goodinit.plans.rows import PlanBlock, PlanRow, Rates, common
from goodinit.plans.selection import _evenly_spaced
from goodinit.plans.tried_rules import offer, with_tried_rules
from goodinit.schemes import Layout

LINEAR = Layout(outputs=(0,), inputs=(1,))
WHOLE = Block("", ((0, 4), (0, 4)))


def row(name: str = "w", shape: tuple[int, ...] = (4, 4), **more: object) -> Row:
    own = {key: more.pop(key) for key in list(more) if key in Row.__slots__}
    facets = Facets(**{"kind": "linear", "layout": LINEAR, **more})
    given = {"dtype": torch.float32, "owner": nn.Linear, **own}
    return Row(name, shape, facets=facets, **given)


def adapter(role: str) -> Adapter:
    return Adapter(role, "w", "a", "b", 1.0)


# Two rows of which a selector takes the second alone: what is remembered of the first must not
# decide for the second.
APART = [
    (gi.sel.kind("conv"), row(), row(kind="conv"), ("", "")),
    (gi.sel.part("out"), row(), row(part="out"), ("", "")),
    (gi.sel.part("q"), row(), row(), ("k", "q")),
    (gi.sel.block("q"), row(), row(), ("k", "q")),
    (gi.sel.type(nn.Conv2d), row(), row(owner=nn.Conv2d), ("", "")),
    (gi.sel.followed_by("relu"), row(), row(activation="relu"), ("", "")),
    (gi.sel.ends_residual(), row(), row(ends_residual=True), ("", "")),
    (gi.sel.last_norm(), row(), row(last_norm=True), ("", "")),
    (gi.sel.head_bias(), row(part="bias"), row(part="bias", goes_with="head"), ("", "")),
    (gi.sel.gate_bias(), row(part="bias", goes_with="head"), row(part="bias", goes_with="gate"),
     ("", "")),
    (gi.sel.adapted(), row(adapter=adapter("in")), row(adapter=adapter("base")), ("", "")),
    (gi.sel.all(), row(buffer=True), row(), ("", "")),
    (gi.sel.name("b"), row("a"), row("b"), ("", "")),
    (gi.sel.name("b"), row("a"), row("a", tied=("b",)), ("", "")),
    (gi.sel.attr("b"), row("x.a"), row("x.b"), ("", "")),
    (gi.sel.when(lambda one: one.shape[0] > 3), row(shape=(3, 4)), row(), ("", "")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "without", "other", "blocks"), APART, ids=[repr(case[0]) for case in APART]
)
def test_rows_that_differ_in_what_a_rule_asks_for_are_told_apart(
    where: gi.recipes.Selector, without: Row, other: Row, blocks: tuple[str, str]
) -> None:
    recipe = gi.Recipe([gi.Rule(where, gi.Ones())])
    first, second = (replace(WHOLE, name=name) for name in blocks)
    matcher = Matcher(recipe)
    assert [matcher.match(without, first), matcher.match(other, second)] == [[], [0]]
    assert matcher.wins == {0: 1}


def test_the_last_rule_wins_and_others_are_counted() -> None:
    rules = [gi.Rule(where, gi.Ones()) for where in ("*", gi.sel.all(), "w", "v")]
    matcher = Matcher(gi.Recipe(rules))
    assert matcher.match(row(), WHOLE) == [0, 1, 2]
    assert matcher.match(row("v"), WHOLE) == [0, 1, 3]
    assert matcher.wins == {0: 0, 1: 0, 2: 1, 3: 1}


# muP: how a weight grew from the base, and what that makes of its law and its rates.


def planned(*shape: int, layout: Layout | None = LINEAR) -> PlanRow:
    fans = layout.fans(shape) if layout else (None, None)
    what = ("w", shape, torch.float32, "Linear", "linear", "weight", gi.Normal(1.0))
    return PlanRow(*what, layout=layout, fan_in=fans[0], fan_out=fans[1])


def grown(after: PlanRow, before: PlanRow, factor: float = 1.0) -> Growth:
    return growth_of(after, after.parts()[0], before, before.parts()[0], factor)


DEPTHWISE = Layout(outputs=(0,), inputs=(1,), window=(2,), groups=16)


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        (planned(32, 64), planned(8, 8), Growth("hidden", 8.0, 4.0)),
        (planned(8, 64), planned(8, 8), Growth("output", 8.0, 1.0)),
        (planned(32, 8), planned(8, 8), Growth("input", 1.0, 4.0)),
        (planned(8, 8), planned(8, 8), Growth("fixed", 1.0, 1.0)),
        (planned(32, layout=None), planned(8, layout=None), Growth("vector", 1.0, 4.0)),
        (planned(8, layout=None), planned(8, layout=None), Growth("fixed")),
        (planned(16, 16, layout=None), planned(8, 8, layout=None), Growth("unknown")),
        (planned(16, 8, layout=None), planned(8, 8, layout=None), Growth("vector", 1.0, 2.0)),
        (
            planned(16, 1, 3, layout=DEPTHWISE),
            planned(4, 1, 3, layout=replace(DEPTHWISE, groups=4)),
            Growth("vector", 1.0, 4.0),
        ),
    ],
    ids=lambda value: str(getattr(value, "role", "")),
)
def test_how_a_weight_grew(after: PlanRow, before: PlanRow, expected: Growth) -> None:
    assert grown(after, before) == expected
    assert grown(after, before, 3.0) == expected._replace(factor=3.0)


def test_what_is_computed_before_the_product_is_a_factor() -> None:
    """A fan_in of 16 at 4 times as many inputs as 4: what is computed from w is twice as large."""
    after = replace(planned(8, 16), fan_in=64.0)
    assert grown(after, planned(8, 4)) == Growth("output", 4.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("growth", "std"),
    [
        (Growth("hidden", 4.0, 2.0), 0.5),
        (Growth("output", 4.0, 1.0), 0.25),
        (Growth("input", 1.0, 4.0), 1.0),
        (Growth("vector", 1.0, 4.0), 1.0),
        (Growth("hidden", 4.0, 4.0, factor=2.0), 0.25),
        (Growth("hidden", 4.0, 4.0, branch=0.5), 0.25),
    ],
)
def test_the_std_of_table_3(growth: Growth, std: float) -> None:
    assert growth.std == std


@pytest.mark.parametrize(
    ("growth", "inside", "rates"),
    [
        (Growth("hidden", 4.0, 2.0), False, Rates(0.25, 0.5, 0.5)),
        (Growth("hidden", 4.0, 2.0), True, Rates(0.25, 0.5, 0.5 / 3)),
        (Growth("output", 4.0, 1.0), False, Rates(0.25, 0.25, 1.0)),
        (Growth("input", 1.0, 4.0), False, Rates(1.0, 4.0, 0.25)),
        (Growth("hidden", 4.0, 4.0, factor=2.0), False, Rates(0.125, 0.25, 0.5)),
        (Growth("hidden", 4.0, 4.0, branch=0.5), False, Rates(0.125, 0.25, 0.25)),
    ],
)
def test_the_rates_of_table_3(growth: Growth, inside: bool, rates: Rates) -> None:
    assert growth.rates(3.0, inside, sgd=True) == rates
    assert growth.rates(3.0, inside, sgd=False) == replace(rates, sgd=None)


def test_rates_of_blocks() -> None:
    one, other = Rates(1.0, 2.0, 4.0), Rates(1.0, 3.0, 4.0)
    assert common_rates([one, other]) == Rates(1.0, None, 4.0)
    assert common_rates([one, Rates(1.0, None, 4.0)]).sgd is None
    assert common([gi.Ones(), gi.Ones(), gi.Zeros()]) is None


@pytest.mark.parametrize(
    ("growth", "text"),
    [
        (Growth("hidden", 4.0, 2.0), "muP: hidden, inputs x4, outputs x2"),
        (Growth("output", 4.0, 1.0), "muP: output, inputs x4"),
        (Growth("vector", 1.0, 4.0), "muP: vector, size x4"),
        (
            Growth("fixed", factor=2.0, branch=0.5),
            "muP: fixed, the model's own factor x2, its branch x0.5",
        ),
    ],
)
def test_growth_in_words(growth: Growth, text: str) -> None:
    assert growth.text() == text


# keep: what a checkpoint holds of a row.


@pytest.mark.parametrize(
    ("box", "old", "parts"),
    [
        (((0, 4), (0, 4)), (4, 4), {"old": ((0, 4), (0, 4))}),
        (((0, 4), (0, 4)), (3, 4), {"new": ((3, 4), (0, 4)), "old": ((0, 3), (0, 4))}),
        (
            ((0, 4), (0, 4)),
            (3, 2),
            {"new0": ((3, 4), (0, 4)), "new1": ((0, 3), (2, 4)), "old": ((0, 3), (0, 2))},
        ),
        (((4, 8), (0, 4)), (3, 4), {"new": ((4, 8), (0, 4))}),
        (((2, 8), (0, 4)), (3, 4), {"new": ((3, 8), (0, 4)), "old": ((2, 3), (0, 4))}),
    ],
)
def test_a_block_is_split_where_the_checkpoint_ends(box, old, parts) -> None:
    block = PlanBlock("", box, 4.0, 4.0, gi.Ones())
    made = grow_blocks([block], Kept(old, copies=False))
    assert {b.name: b.box for b in made} == parts
    assert all(isinstance(b.scheme, gi.Keep) is (b.name == "old") for b in made)
    named = grow_blocks([replace(block, name="q")], Kept(old, copies=False))
    assert [b.name for b in named] == [f"q.{b.name}" for b in made]


def test_copies_get_noise_but_for_what_draws_units_anew() -> None:
    blocks = [PlanBlock(name, ((0, 1),), None, None, gi.Normal(1.0)) for name in "ab"]
    blocks[1] = replace(blocks[1], scheme=gi.AddNoise(0.5))
    made = grow_blocks(blocks, Kept((1,), copies=True))
    assert [b.scheme for b in made] == [gi.AddNoise(), gi.AddNoise(0.5)]


def kept(one: Row, *shape: int) -> Kept | None:
    found = find_kept_rows({one.name: torch.ones(shape)}, (one,), "")
    return found.grown.get(one.name)


CONV = Layout(outputs=(0,), inputs=(1,), window=(2,))
STACKED = Layout(outputs=(1,), inputs=(2,), batch=(0,))


@pytest.mark.parametrize(
    ("one", "old", "growth"),
    [
        (row(shape=(6, 4)), (6, 4), None),
        (row(shape=(6, 4)), (5, 4), ((5, 4), False)),
        (row(shape=(6, 4)), (6, 3), ((6, 3), False)),
        (row(shape=(8, 6, 4), layout=STACKED), (6, 4), ((6, 4), True)),
        (row(shape=(8, 6, 4), layout=STACKED), (4, 6, 4), ((4, 6, 4), False)),
        (row(shape=(8, 6), layout=None, part="bias"), (6,), ((6,), True)),
    ],
)
def test_what_a_row_has_grown_from(one: Row, old: tuple[int, ...], growth) -> None:
    found = kept(one, *old)
    assert (found and (found.shape, found.copies)) == growth


@pytest.mark.parametrize(
    ("one", "old"),
    [
        (row(shape=(6, 4)), (7, 4)),
        (row(shape=(6, 4)), (6, 5)),
        (row(shape=(6, 4)), (0, 4)),
        (row(shape=(6, 4)), (4,)),  # a matrix isn't a stack of biases
        (row(shape=(1, 6, 4), layout=STACKED), (6, 4)),  # a stack of one is none
        (row(shape=(8, 6, 4), layout=CONV), (6, 4)),  # a kernel isn't a stack of matrices
        (row(shape=(8, 6), layout=None), (6,)),
        (row(shape=(), layout=None), (1,)),
        (row(shape=(1,), layout=None), ()),
    ],
)
def test_what_no_row_can_have_grown_from(one: Row, old: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match="it can't have grown"):
        kept(one, *old)


def packed(axis: int) -> tuple[Block, ...]:
    along = [((0, 4), (0, 4)), ((4, 8), (0, 4))], [((0, 8), (0, 2)), ((0, 8), (2, 4))]
    sides = along[axis]
    return tuple(Block(name, box) for name, box in zip("qk", sides, strict=True))


def test_a_packed_axis_can_not_grow_and_the_other_can() -> None:
    with pytest.raises(RecipeError, match="w packs q, k along axis 0, which has grown from 6 to 8"):
        kept(row(shape=(8, 4), blocks=packed(0)), 6, 4)
    with pytest.raises(RecipeError, match="w packs q, k along axis 1, which has grown from 2 to 4"):
        kept(row(shape=(8, 4), blocks=packed(1)), 8, 2)
    assert kept(row(shape=(8, 4), blocks=packed(0)), 8, 2).shape == (8, 2)
    experts = replace(STACKED, batch=(0,))
    stacked = tuple(Block(f"expert{n}", ((n, n + 1), (0, 4), (0, 4))) for n in range(3))
    assert kept(row(shape=(3, 4, 4), layout=experts, blocks=stacked), 2, 4, 4).shape == (2, 4, 4)


def test_only_names_what_is_drawn_and_grown() -> None:
    rows = (row("a"), row("b", (6, 4)), row("c", (6, 4)))
    values = {"a": torch.ones(4, 4), "b": torch.ones(5, 4), "c": torch.ones(5, 4)}
    whole = find_kept_rows(values, rows, "")
    assert (whole.names, [*whole.grown]) == ({"a"}, ["b", "c"])
    assert whole.limited_to((), rows) is whole
    limited = whole.limited_to("b", rows)
    assert ([*limited.grown], limited.left_out) == (["b"], {"a", "c"})
    assert [limited.why(name) for name in "abc"] == ["not in only=", "", "not in only="]
    assert [whole.why(name) for name in "ab"] == ["loaded already", ""]
    with pytest.raises(RecipeError, match="only='d' names nothing"):
        whole.limited_to("d", rows)
    assert KeptRows().why("a") == ""


def test_a_module_in_keep_is_meant_with_what_is_in_it() -> None:
    with pytest.raises(RecipeError, match=r"Did you mean 'encoder\.\*'\?"):
        find_kept_rows("encoder", (row("encoder.fc.weight"),), "")


def test_a_stack_of_one_layer_has_no_even_spacing() -> None:
    many = [f"h.{n}.w" for n in range(5)]
    assert _evenly_spaced(["h.0.w"], many) == {"h.0.w": "h.0.w"}
    assert _evenly_spaced(["h.0.w", "h.2.w"], many) == {"h.0.w": "h.0.w", "h.2.w": "h.2.w"}
    assert _evenly_spaced(many, many) == {name: name for name in many}


# What a class set on purpose.

VALUE = Held("constant", 0.5)


@pytest.mark.parametrize(
    ("one", "trains", "stands"),
    [
        (row(raw=True, held=VALUE), True, "the value 0.5 that its class gave it"),
        (row(raw=True, held=Held("pattern")), True, "the pattern that its class gave it"),
        (row(raw=False, held=VALUE), True, ""),
        (row(raw=True, held=VALUE, buffer=True), True, ""),
        (row(raw=True, held=VALUE, dtype=torch.int64), True, ""),
        (row(raw=True, held=VALUE, dtype=torch.cfloat), True, "the value 0.5"),
        (row(frozen=True), True, "its values: frozen"),
        (row(frozen=True), False, ""),
        (row(frozen=True, part="bias"), True, ""),  # no value is known, and none is lost
        (row(frozen=True, part="bias", held=VALUE), True, "its values: frozen"),
        (row(frozen=True, part="bias", raw=True), True, "its values: frozen"),
        (row(held=Held("zeros", 0.0), meant="a gate"), True, "the value 0: a gate"),
        (row(held=Held("values"), meant="a gate"), True, "its values: a gate"),
        (row(raw=True, kind="norm", neutral=1.0, held=Held("constant", 1.0)), True, ""),
        (row(raw=True, kind="norm", neutral=1.0, held=VALUE), True, "the value 0.5"),
        (row(raw=True, kind="norm", part="out", neutral=1.0, held=VALUE), True, ""),
        (row(raw=True, kind="norm", neutral=None, held=Held("constant", 1.0)), True, "the value 1"),
        (
            row(shape=(1,), raw=True, kind="norm", neutral=1.0, held=Held("constant", 1.0)),
            True,
            "the value 1",
        ),
    ],
)
def test_what_a_class_set_on_purpose(one: Row, trains: bool, stands: str) -> None:
    reason = authors_reason(one, trains)
    assert bool(reason) is bool(stands)
    assert stands in reason


def test_buffers_do_not_train() -> None:
    """Of a model whose parameters are all frozen they say nothing, whatever buffers there are."""
    net = nn.BatchNorm1d(3).requires_grad_(False)
    plan = gi.plan(net, "standard")
    assert [r.name for r in plan if "frozen" in r.why] == []


# Findings of a plan, and the rules that they offer.


@pytest.mark.parametrize(
    ("activation", "layers", "says"),
    [
        ("gelu", 29, ""),  # 28 activations between them, and 10 = 1.0838^28.6
        ("gelu", 30, "usable to about 29 plain layers; this stack has 30"),
        ("sigmoid", 4, ""),  # 3 between them, and .001 = .153^3.7
        ("sigmoid", 5, "alike after about 4 plain layers; this stack has 5"),
        ("relu", 1000, ""),
        ("unheard_of", 1000, ""),
    ],
)
def test_how_deep_a_plain_stack_may_be(activation: str, layers: int, says: str) -> None:
    stack = [replace(planned(8, 8), activation=activation)]
    text = "".join(map(str, _judge(layers, stack)))
    assert bool(text) is bool(says)
    assert says in text


def test_a_stack_of_two_functions_has_their_geometric_mean() -> None:
    """gelu's 1.0838 and relu's 1 make 1.041, and 10 = 1.041^57."""
    stack = [replace(planned(8, 8), activation=name) for name in ("gelu", "relu")]
    assert [list(_judge(layers, stack)) != [] for layers in (58, 59)] == [False, True]


def test_as_many_activations_as_are_steady_are_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five weights have four activations between them."""
    findings = "goodinit.plans.plain_stack_findings"
    stack = [replace(planned(8, 8), activation="gelu")]
    for steady, distinct, found in ((4.0, 9.0, 6), (9.0, 4.0, 6), (9.0, 3.9, 5), (3.9, 9.0, 5)):
        monkeypatch.setattr(f"{findings}.steady_layers", lambda _, n=steady: n)
        monkeypatch.setattr(f"{findings}.distinct_layers", lambda _, n=distinct: n)
        assert next(n for n in range(2, 9) if list(_judge(n, stack))) == found


@pytest.mark.parametrize(
    ("fan_in", "std", "found"),
    [(4.0, 9.0, True), (None, 9.0, False), (4.0, 1.79, False), (4.0, 1.81, True)],
)  # the bias has std^2 of std^2 + 4 * .3^2: nine tenths at 1.8
def test_a_bias_beside_a_weight_of_unknown_fan(fan_in, std: float, found: bool) -> None:
    what = (torch.float32, "Linear", "linear")
    weight = PlanRow("w", (4, 4), *what, "weight", gi.Normal(0.3), layout=LINEAR, fan_in=fan_in)
    bias = PlanRow("b", (4,), *what, "bias", gi.Normal(std))
    slots: list[Any] = [SimpleNamespace(owner=nn.Identity)] * 2
    anatomy: Any = SimpleNamespace(graph=None, rows=())
    assert bool([*_biases_dominate((weight, bias), slots, anatomy)]) is found


@pytest.mark.parametrize(
    ("names", "late"),
    [
        (["0", "1"], []),
        (["1", "2"], []),  # it may count from 1
        (["2", "3"], [("", 2)]),
        (["2", "4"], []),
        (["3", "2"], []),
        (["2", "norm"], []),
        (["7"], [("", 7)]),
    ],
)
def test_layers_that_begin_late(names: list[str], late: list[tuple[str, int]]) -> None:
    model = nn.Module()
    for name in names:
        model.add_module(name, nn.ReLU())
    assert list(_late_starts(model)) == late


def finding(code: str, severity: str = "warning") -> Finding:
    rules = {"gi.Rule('w', gi.Zeros())": gi.Rule("w", gi.Zeros(), optional=True)}
    return Finding(code, severity, "w", "it is ill", offer("in words", rules))


FAILS = gi.GoodinitError("no plan")


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (["GI111"], [], True),
        (["GI111"], ["GI111"], False),
        (["GI111", "GI111"], ["GI111"], True),  # one of two is gone
        (["GI111"], ["GI112"], False),  # another is there instead
        (["GI111", "GI112"], ["GI112"], True),
        (["GI111"], FAILS, False),
    ],
)
def test_a_rule_is_offered_if_it_takes_the_finding_away(before, after, line: bool) -> None:
    def again(recipe: gi.Recipe) -> list[Finding]:
        assert [rule.scheme for rule in recipe.rules[-1:]] == [gi.Zeros()]
        if after is FAILS:
            raise FAILS
        return [finding(code) for code in after]

    first = with_tried_rules([finding(code) for code in before], gi.recipe("he"), again)[0]
    fix = ": gi.recipe('he').override(gi.Rule('w', gi.Zeros()))" if line else ""
    assert first.remedy == f"in words{fix}"


def test_a_finding_that_only_informs_is_no_harm() -> None:
    def again(_: gi.Recipe) -> list[Finding]:
        return [finding("GI114", "info")]

    mine = gi.Recipe([gi.Rule("w", gi.Ones(), optional=True)], "mine")
    (made,) = with_tried_rules([finding("GI111")], mine, again)
    assert made.remedy == "in words: recipe.override(gi.Rule('w', gi.Zeros()))"
    plain = replace(finding("GI111"), remedy="no offer")
    assert with_tried_rules([plain], mine, again) == (plain,)


def test_many_rules_are_words() -> None:
    rules = {str(n): gi.Rule("w", gi.Zeros()) for n in range(4)}
    assert offer("in words", rules).rules == {}
    assert len(offer("in words", dict(list(rules.items())[:3])).rules) == 3


def test_what_differs_between_two_plans() -> None:
    def plan(*sizes: int, scheme: gi.Scheme) -> gi.Plan:
        layers = [nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(sizes)]
        return gi.plan(nn.Sequential(*layers), gi.Recipe([gi.Rule("*", scheme)], "r"))

    ones, zeros = plan(2, 2, 2, 2, scheme=gi.Ones()), plan(2, 2, 2, scheme=gi.Zeros())
    found = gi.diff(zeros, ones)
    assert repr(found) == "<Diff: 1 added, 0 removed, 2 changed>"
    assert (found.ok, bool(found), gi.diff(ones, ones).ok) == (False, True, True)
    assert [row.change for row in found] == ["added", "changed", "changed"]
    assert [row.name for row in gi.diff(ones, zeros).removed] == ["2.weight"]
    assert gi.diff(ones, zeros).added == found.removed == ()
    assert [*found.changed] == ["0.weight", "1.weight"]
    assert found.to_text().splitlines() == [
        "+ 2.weight: Ones()",
        "~ {0-1}.weight x2",
        "    Zeros() -> Ones()",
    ]
    assert [line for line in found.to_text(full=True).splitlines() if line[0] != " "] == [
        "+ 2.weight: Ones()", "~ 0.weight", "~ 1.weight",
    ]  # fmt: skip
    assert gi.diff(ones, ones).to_text() == "no difference"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_planning_and_drawing_by_a_seed_leave_torchs_generator_alone() -> None:
    net, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)), torch.ones(2, 4)
    before = torch.get_rng_state()
    gi.init_(net, "standard", inputs=x, seed=0)
    gi.plan(net, gi.recipe("mup", base=lambda: nn.Sequential(*net[:0], *net)), inputs=x)
    assert torch.equal(before, torch.get_rng_state())
    gi.init_(net, "standard")
    assert not torch.equal(before, torch.get_rng_state())


def test_the_summary_counts_guessed_parameters_alone() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    net.raw = nn.Parameter(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
    plan = gi.plan(net, "standard")
    assert [row.name for row in plan if row.guessed] == ["raw"]
    assert plan._summary().startswith(
        "standard: 5 parameters (44 values), 3 buffers, 20% guessed, read by module types, digest "
    )


def test_only_weights_that_say_so_are_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one of many processes: Megatron marks what it splits."""
    monkeypatch.setattr("goodinit.plans.part_findings.is_one_of_many", lambda: True)
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    assert not [f for f in gi.plan(net, "he").findings if f.code == "GI140"]
    net[1].weight.tensor_model_parallel = True
    found = gi.plan(net, "he").findings
    assert [(f.code, f.where) for f in found if f.code == "GI140"] == [("GI140", "1.weight")]


# What a row passes on, of a forecast.


@pytest.mark.parametrize(
    ("law", "fan_in", "buffer", "passed"),
    [
        (gi.Normal(0.5), 8.0, False, 2.0), (gi.Normal(0.5, mean=1.0), 8.0, False, 10.0),
        (gi.Normal(0.5), 8.0, True, 0.0), (gi.Normal(0.5), None, False, 0.0),
        (gi.Keep(), 8.0, False, 0.0),
    ],
)  # fmt: skip
def test_what_a_row_passes_on(law: gi.Scheme, fan_in: float, buffer: bool, passed: float) -> None:
    one = PlanRow(
        "w", (4, 8), torch.float32, "Linear", "linear", "weight", law, fan_in=fan_in, buffer=buffer
    )
    assert _passed_on(one, "q") == passed
    assert _passed_on(None, "q") == 0


def test_what_a_part_of_a_row_passes_on() -> None:
    laws = {"q": gi.Normal(0.5), "k": gi.Keep(), "v": gi.Normal(1.0)}
    blocks = tuple(
        PlanBlock(name, ((4 * n, 4 * n + 4), (0, 8)), 8.0, 4.0, law)
        for n, (name, law) in enumerate(laws.items())
    )
    packed = PlanRow(
        "w", (12, 8), torch.float32, "Linear", "linear", "weight", None, blocks, fan_in=8.0
    )
    assert [_passed_on(packed, part) for part in "qkvx"] == [2.0, 0.0, 8.0, 0.0]
