"""Recipes worked out on models."""

import dataclasses

import pytest
import torch
from tests.steps import steps
from torch import nn

import goodinit as gi
from goodinit.errors import (
    DtypeError,
    EmptyParameterError,
    ExpandedParameterError,
    FanError,
    GoodinitError,
    LazyParameterError,
    ModelError,
    ParametrizationError,
    RecipeError,
    SchemeError,
    UncoveredError,
    UnknownRowError,
    UnusedRuleError,
)

ALL = gi.Recipe([gi.Rule(gi.sel.all(), gi.Normal(0.02))])


class Holder(nn.Module):
    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            floating = tensor.is_floating_point()
            self.register_parameter(name, nn.Parameter(tensor, requires_grad=floating))


def test_rows_say_what_why_and_from_which_fans() -> None:
    net = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10))
    plan = gi.plan(net, "he", prefix="net")
    row = plan["net.0.weight"]
    assert (row.owner, row.kind, row.fan_in, row.fan_out) == ("Linear", "linear", 100, 50)
    assert row.std == pytest.approx((2 / 100) ** 0.5)
    assert "He et al" in row.why
    assert "part('bias')" in row.rule
    assert len(plan) == len(list(plan)) == 4
    assert "net.0.bias" in plan
    with pytest.raises(UnknownRowError, match=r"Did you mean 'net.0.weight'"):
        plan["net.0.weigth"]
    with pytest.raises(KeyError):
        plan["weigth"]


def test_blocks_that_differ_have_no_common_scheme() -> None:
    row = gi.plan(nn.LSTM(4, 8), "lstm")["bias_ih_l0"]
    assert row.scheme is None
    assert row.mean is None
    assert {b.name: b.scheme for b in row.blocks}["forget"] == gi.Ones()
    assert gi.plan(nn.LSTM(4, 8), "lstm")["bias_hh_l0"].scheme == gi.Zeros()


def test_scaled_becomes_numbers() -> None:
    recipe = gi.Recipe([gi.Rule(gi.sel.all(), gi.Zeros()),
                        gi.Rule("weight", gi.Normal(1.0).scaled(fan_in=-0.5))])  # fmt: skip
    assert gi.plan(nn.Linear(25, 3), recipe)["weight"].scheme == gi.Normal(0.2)
    unknown = gi.Recipe([gi.Rule("*", gi.Normal(1.0).scaled(layer=-0.5))])
    with pytest.raises(SchemeError, match=r"^weight: .*layer.*inputs="):
        gi.plan(nn.Linear(25, 3), unknown)


def test_buffers() -> None:
    net = nn.BatchNorm1d(3)
    net.register_buffer("table", torch.ones(3))
    plan = gi.plan(net, ALL)
    assert [plan[n].scheme for n in ("running_mean", "running_var", "num_batches_tracked")] == [
        gi.Zeros(), gi.Ones(), gi.Zeros()
    ]  # fmt: skip
    assert plan["table"].kept
    assert not plan["table"].unresolved
    assert gi.plan(net.to("meta"), ALL)["table"].unresolved
    everything = {"*": gi.Ones()}
    assert gi.plan(nn.BatchNorm1d(3), everything)["running_mean"].kept
    asked = gi.Recipe([*ALL.rules, gi.Rule(gi.sel.part("buffer"), gi.Constant(3.0))])
    assert gi.plan(nn.BatchNorm1d(3), asked)["running_mean"].scheme == gi.Constant(3.0)
    with pytest.raises(UnusedRuleError, match="part\\('buffer'\\)"):
        gi.plan(nn.BatchNorm1d(3), ALL.override(gi.Rule("running_*", gi.Ones())))


@pytest.mark.parametrize(
    ("net", "recipe", "error", "says"),
    [
        (lambda: nn.Linear(2, 2), ALL.override(gi.Rule("head.*", gi.Zeros())), UnusedRuleError,
         "head"),
        (lambda: nn.Linear(2, 2), gi.Recipe([gi.Rule(nn.Linear, gi.Zeros())]), UncoveredError,
         "bias"),
        (lambda: nn.Linear(2, 2), gi.Recipe([gi.Rule("*", gi.HeNormal())]), FanError, "^bias: "),
        (lambda: nn.LazyLinear(3), ALL, LazyParameterError, "run the model once"),
        (lambda: Holder(w=torch.empty(0)), ALL, EmptyParameterError, "^w .*ZeRO"),
        (lambda: Holder(w=torch.ones(1, 3).expand(4, 3)), ALL, ExpandedParameterError,
         "contiguous"),
        (lambda: Holder(w=torch.ones(3, 3, dtype=torch.int8)), ALL, DtypeError, "int8"),
        (lambda: Holder(w=torch.ones(3, 3, dtype=torch.complex64)),
         gi.Recipe([gi.Rule("*", gi.Orthogonal())]), DtypeError, "complex"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)),
         gi.Recipe([gi.Rule("*", gi.Zeros())]), ParametrizationError, "0/0"),
    ],
)  # fmt: skip
def test_refused_by_name_with_a_mend(net, recipe, error, says: str) -> None:
    with pytest.raises(error, match=says):
        gi.plan(net(), recipe)


def test_a_parameter_whose_class_refuses_torchs_functions_is_named() -> None:
    class Point(nn.Parameter):  # hyperbolic layers have such
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func.__name__ == "__get__":
                return super().__torch_function__(func, types, args, kwargs or {})
            raise TypeError("no function of a point")

    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = Point(torch.ones(3, 3))
    with pytest.raises(ModelError, match=r"^1\.weight is a Point.*no function of a point"):
        gi.plan(net, "he")


def test_parametrization_without_right_inverse() -> None:
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

    net = nn.Linear(3, 3)
    nn.utils.parametrize.register_parametrization(net, "weight", Twice())
    with pytest.raises(ParametrizationError, match=r"^weight .*Twice.*right_inverse"):
        gi.plan(net, "he")
    assert gi.plan(net, "he", keep="weight")["weight"].why == "loaded already"


def test_what_is_kept_is_not_checked() -> None:
    net = Holder(w=torch.empty(0), v=torch.ones(3, dtype=torch.int8))
    assert all(row.kept for row in gi.plan(net, ALL, keep="*"))
    assert "int8" in gi.plan(net, "standard", keep="w")["v"].why


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: gi.plan(3, "he"), "Module"),
        (lambda: gi.plan(nn.Linear, "he"), "call it"),
        (lambda: gi.plan(nn.Linear(2, 2), 3), "a recipe is"),
        (lambda: gi.plan(nn.Linear(2, 2), "hee"), "Did you mean 'he'"),
        (lambda: gi.plan(nn.Linear(2, 2), {}), "empty"),
        (lambda: gi.plan(nn.Linear(2, 2), {3: gi.Zeros()}), "selector"),
        (lambda: gi.plan(nn.Linear(2, 2), "he", inputs=[1]), "inputs"),
        (lambda: gi.plan(nn.Linear(2, 2), "he", prefix=3), "prefix"),
        (lambda: gi.plan(nn.Linear(2, 2), "he", keep="wieght"), "Did you mean 'weight'"),
        (lambda: gi.plan(nn.Linear(2, 2), "he", keep=[3]), "keep takes"),
        (lambda: gi.plan(nn.Linear(2, 2), "he", keep={"x.y": 0}), "no parameter of this model"),
        (lambda: gi.apply_(nn.Linear(2, 2), "he"), "takes a Plan"),
        (lambda: gi.diff(1, 2), "two plans"),
    ],
)
def test_wrong_arguments(call, says: str) -> None:
    with pytest.raises(GoodinitError, match=says):
        call()


def test_keep_by_name_glob_and_state_dict() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))

    def kept(keep, prefix: str = "") -> list[str]:
        return [row.name for row in gi.plan(net, "he", keep=keep, prefix=prefix) if row.kept]

    assert kept("0.*") == ["0.weight", "0.bias"]
    assert kept(["*.bias"]) == ["0.bias", "1.bias"]
    assert len(kept(net.state_dict())) == len(kept(net.state_dict(), "p")) == 4
    plan = gi.plan(net, "he", keep={"0.bias": 0, "other.bias": 0})
    assert [f.code for f in plan.findings if f.code == "GI115"] == ["GI115"]
    with pytest.raises(RecipeError, match="only partly"):
        kept({"1.parametrizations.weight.original0": 0})


def test_norm_around_zero_is_a_finding() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    plan = gi.plan(net, {nn.BatchNorm2d: gi.Normal(0.02)})
    assert [(f.code, f.where) for f in plan.findings] == [("GI111", "1.weight")]
    assert not any(f.code == "GI111" for f in gi.plan(net, "dcgan").findings)


def test_large_tied_embedding_is_a_finding() -> None:
    net = nn.Sequential(nn.Embedding(50, 64), nn.Linear(64, 50, bias=False))
    net[1].weight = net[0].weight
    plan = gi.plan(net, {nn.Embedding: gi.Normal(1.0)})
    assert [f.code for f in plan.findings] == ["GI112"]
    assert gi.plan(net, "standard")["0.weight"].std == pytest.approx(1 / 8)


def test_a_rule_that_never_wins_is_a_finding() -> None:
    recipe = gi.Recipe([gi.Rule("weight", gi.Ones()), gi.Rule("*", gi.Zeros())])
    assert [f.code for f in gi.plan(nn.Linear(2, 2), recipe).findings] == ["GI114"]


def test_meta_models_plan() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(8192, 8192), nn.BatchNorm1d(8192))
    real = nn.Sequential(nn.Linear(8192, 8), nn.BatchNorm1d(8))
    assert gi.plan(net, "standard")["0.weight"].fan_in == 8192
    assert len(gi.plan(net, "standard")) == len(gi.plan(real, "standard"))


def test_parameters_and_rules_cost_few_lines_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """450 lines of Python for each parameter, and 8 for each rule and parameter, at half the limit.

    `make bench` has the seconds of ten thousand.
    """
    from goodinit.plans import plan as module

    with torch.device("meta"):
        net = nn.Sequential(*(nn.Linear(4, 4) for _ in range(100)))
    anatomy = module.read(net)
    monkeypatch.setattr(module, "read", lambda *_: anatomy)
    few, many = (
        gi.recipe("standard").override(*(gi.Rule(f"{n}.*", gi.Zeros()) for n in range(rules)))
        for rules in (20, 80)
    )
    gi.plan(net, few)  # imports
    least = steps(lambda: gi.plan(net, few))
    assert least < 900 * len(anatomy.rows)
    assert steps(lambda: gi.plan(net, many)) - least < 16 * (80 - 20) * len(anatomy.rows)


@pytest.mark.parametrize("power", [-1.0, 2.0])
def test_scaled_by_layer_counts_layers_from_one(power: float) -> None:
    net = nn.Sequential(*(nn.Linear(4, 4, bias=False) for _ in range(3)))
    planned = gi.plan(net, gi.Normal(0.5).scaled(layer=power), inputs=torch.zeros(2, 4))
    assert [row.layer for row in planned] == [0, 1, 2]
    assert [row.std for row in planned] == [0.5 * number**power for number in (1, 2, 3)]


def test_plans_differences_and_their_rows_are_frozen() -> None:
    plan = gi.plan(nn.Linear(3, 3), "he")
    difference = gi.diff(plan, gi.plan(nn.Linear(3, 3), "xavier"))
    for result in (plan, difference, plan.rows[0], difference.rows[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.rows = ()


def test_the_parts_of_what_has_grown() -> None:
    def parts(net: nn.Module, name: str, *shape: int) -> list[tuple[str, object]]:
        plan = gi.plan(net, "lstm", keep={name: torch.randn(shape)})
        return [(block.name, block.box) for block in plan[name].blocks]

    rows = ((0, 5), (0, 4)), ((5, 6), (0, 4))
    assert parts(nn.Embedding(6, 4), "weight", 5, 4) == [("old", rows[0]), ("new", rows[1])]
    assert parts(nn.Embedding(6, 4), "weight", 5, 3) == [
        ("old", ((0, 5), (0, 3))),
        ("new0", ((5, 6), (0, 4))),
        ("new1", ((0, 5), (3, 4))),
    ]
    gates = parts(nn.LSTM(3, 2), "weight_ih_l0", 8, 2)
    assert [name for name, _ in gates] == [
        f"{gate}.{part}" for gate in ("in", "forget", "cell", "out") for part in ("old", "new")
    ]
