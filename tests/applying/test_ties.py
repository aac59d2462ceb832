"""A plan fits only a model with the same ties, and its file keeps them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.errors import PlanError, PlanFileError


def pair(second: str) -> nn.ModuleDict:
    """Two names for one table; its first is "a.weight"."""
    net = nn.ModuleDict({"a": nn.Embedding(6, 4), second: nn.Linear(4, 6, bias=False)})
    net[second].weight = net["a"].weight
    return net


def untied() -> nn.ModuleDict:
    return nn.ModuleDict({"a": nn.Embedding(6, 4), "b": nn.Linear(4, 6, bias=False)})


@pytest.mark.parametrize(
    ("planned", "model", "says"),
    [
        (pair("b"), untied(), "the plan has no b.weight"),
        (untied(), pair("b"), "the model has no b.weight"),
        (pair("b"), pair("c"), "a.weight: tied names b.weight in the plan, c.weight in the model"),
        (
            pair("b"),
            nn.ModuleDict({"a": nn.Embedding(6, 4)}),
            "a.weight: tied names b.weight in the plan, none in the model",
        ),
        (
            nn.ModuleDict({"a": nn.Embedding(6, 4)}),
            pair("b"),
            "a.weight: tied names none in the plan, b.weight in the model",
        ),
    ],
    ids=["untied", "tied", "another name", "fewer", "more"],
)
def test_other_ties_are_refused(planned: nn.Module, model: nn.Module, says: str) -> None:
    plan = gi.plan(planned, "standard")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(PlanError) as caught:
        gi.apply_(model, plan, seed=0)
    assert says in str(caught.value)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_part_with_a_tie_that_the_plan_does_not_have_is_refused() -> None:
    whole = untied()
    whole["c"] = nn.Linear(4, 4)
    plan = gi.plan(whole, "standard")
    says = r"^b\.weight and a\.weight are one tensor in the plan or in this part"
    with pytest.raises(PlanError, match=says):
        gi.apply_(pair("b"), plan, seed=0, part=True)


def edited(path: Path, edit: Callable[[dict], None]) -> Path:
    gi.plan(pair("b"), "standard").save(path)
    data = json.loads(path.read_text())
    edit(data["rows"][0])
    path.write_text(json.dumps(data))
    return path


def test_a_file_keeps_the_tied_names(tmp_path: Path) -> None:
    net, fresh = pair("b"), pair("b")
    loaded = gi.Plan.load(edited(tmp_path / "plan.json", lambda row: None))
    assert loaded["b.weight"] is loaded["a.weight"]
    assert loaded["a.weight"].tied == ("b.weight",)
    gi.apply_(net, loaded, seed=0)
    gi.init_(fresh, "standard", seed=0)
    assert torch.equal(net["b"].weight, fresh["a"].weight)


@pytest.mark.parametrize("tied", [[], ["c.weight"], ["b.weight", "c.weight"]], ids=str)
def test_a_file_with_other_tied_names_is_refused_by_the_model(
    tmp_path: Path, tied: list[str]
) -> None:
    plan = gi.Plan.load(edited(tmp_path / "plan.json", lambda row: row.update(tied=tied)))
    with pytest.raises(PlanError, match=r"a\.weight: tied names"):
        gi.apply_(pair("b"), plan, seed=0)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda row: row.pop("tied"), r"rows\[0\]\.tied: it is missing"),
        (lambda row: row.update(tied="b.weight"), r"rows\[0\]\.tied: a list is expected"),
        (lambda row: row.update(tied=[3]), r"rows\[0\]\.tied\[0\]: a text is expected"),
        (lambda row: row.update(tied=["a.weight"]), "twice"),
        (lambda row: row.update(tied=["b.weight", "b.weight"]), "twice"),
        (lambda row: row.update(tied=["b" * 1001]), "no name has more than 1000 characters"),
    ],
    ids=["missing", "a text", "a number", "its own name", "one name twice", "too long"],
)
def test_a_file_with_no_tied_names_is_no_plan(
    tmp_path: Path, edit: Callable[[dict], object], says: str
) -> None:
    path = edited(tmp_path / "plan.json", edit)
    with pytest.raises(PlanFileError, match=says):
        gi.Plan.load(path)
