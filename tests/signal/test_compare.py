"""`gi.compare`: recipes laid beside each other, on copies."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.errors import MetaModelError, ModelError, SignalError

X = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))


def net(device: str = "cpu") -> nn.Sequential:
    parts = [part for _ in range(30) for part in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(*parts).to(device)


def test_each_recipe_with_each_seed() -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = gi.compare(model, X, ["he", "xavier"], seeds=3)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert {name: len(signals) for name, signals in found.signals.items()} == {"he": 3, "xavier": 3}
    assert not found.ok
    gi.init_(model, "xavier", inputs=X, seed=1)
    assert found.signals["xavier"][1].to_dict() == gi.measure(model, X).to_dict()
    verdict, table, _ = str(found).split("\n\n")
    assert "xavier: the signal vanishes (GI102)" in " ".join(verdict.split())
    lines = table.splitlines()
    assert [line.split()[0] for line in lines] == ["recipe", "------", "he", "xavier"]
    assert "GI102 3/3" in lines[3]
    assert {*found.to_dict()} == {"he", "xavier"}


def test_a_model_without_weights_and_recipes_with_names() -> None:
    recipes = {"large": gi.Normal(1.0), "as it is": gi.HeNormal()}
    target = torch.arange(32)
    loss = lambda out: nn.functional.cross_entropy(out, target)  # noqa: E731
    found = gi.compare(net("meta"), X, recipes, seeds=1, loss=loss)
    assert [*found.signals] == ["large", "as it is"]
    assert found.signals["as it is"][0].loss is not None
    assert "GI103" in {f.code for f in found.signals["large"][0].findings}


def test_what_one_recipe_keeps_is_the_model_s_own() -> None:
    model = net()
    keeps = {"0.weight": gi.HeNormal()}
    found = gi.compare(model, X, {"he": "he", "keeps": keeps}, seeds=1)
    gi.init_(model, keeps, inputs=X, seed=0)
    assert found.signals["keeps"][0].to_dict() == gi.measure(model, X).to_dict()


def test_what_can_not_be_compared() -> None:
    with pytest.raises(SignalError, match="at least 1"):
        gi.compare(net(), X, ["he"], seeds=0)

    class Single(nn.Linear):
        def __deepcopy__(self, memo: object) -> nn.Module:
            raise TypeError("there is only one")

    with pytest.raises(ModelError, match="only one"):
        gi.compare(Single(64, 64), X, ["he"], seeds=1)


def test_recipes_of_one_name_are_all_compared() -> None:
    net, x = nn.Linear(8, 8), torch.randn(4, 8)
    fan_out = gi.recipe("he", mode="fan_out")
    labels = {
        "he": "he",
        "he:mode=fan_out": fan_out,
        "he #2": gi.recipe("he"),
        "mapping": {"weight": gi.Normal(0.1)},
        "mapping #2": {"weight": gi.Normal(0.2)},
        "he:mode=fan_out #2": fan_out.override(gi.Rule("bias", gi.Ones())),
    }
    found = gi.compare(net, x, list(labels.values()), seeds=1)
    assert list(found.signals) == list(labels)
    assert found.plans["mapping #2"]["weight"].std == 0.2
    assert len(gi.compare(net, x, [gi.Normal(0.1), gi.Normal(0.2)], seeds=1)) == 2


def test_one_recipe_alone_or_named() -> None:
    net, x = nn.Linear(8, 8), torch.randn(4, 8)
    for alone in ("he", gi.recipe("he"), gi.HeNormal(), {nn.Linear: gi.HeNormal()}):
        assert len(gi.compare(net, x, alone, seeds=1)) == 1
    named = gi.compare(net, x, {"a": gi.HeNormal(), "b": "he", "c": None}, seeds=1)
    assert list(named.signals) == ["a", "b", "c"]


def test_none_compares_the_weights_as_they_are() -> None:
    net, x = nn.Linear(8, 8), torch.randn(4, 8)
    gi.init_(net, {"weight": gi.Constant(0.5), "bias": gi.Zeros()})
    found = gi.compare(net, x, [None, "he"], seeds=2)
    assert list(found.signals) == ["as it is", "he"]
    assert found["as it is"].seeds == 1
    assert found["as it is"].second == gi.measure(net, x).layers[-1].forward.second
    assert "as it is" not in found.plans
    with torch.device("meta"):
        empty = nn.Linear(8, 8)
    with pytest.raises(MetaModelError):
        gi.compare(empty, x, [None], seeds=1)
