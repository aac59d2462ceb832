"""Plans of many equal layers and experts: small files that are read back the same."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import goodinit as gi
from goodinit.errors import PlanFileError
from goodinit.plans.repeats import DEEPEST, fold, unfold, unfolded_length


class Layer(nn.Module):
    def __init__(self, experts: int, *, stacked: bool) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 8)
        if stacked:
            self.up = nn.Parameter(torch.empty(experts, 8, 16))
        else:
            self.experts = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(experts))


def model(layers: int, experts: int, *, stacked: bool) -> nn.Module:
    with torch.device("meta"):
        net = nn.Module()
        net.embed = nn.Embedding(10, 8)
        net.layers = nn.ModuleList(Layer(experts, stacked=stacked) for _ in range(layers))
        net.head = nn.Linear(8, 10)
    return net


@pytest.mark.parametrize("stacked", [True, False])
def test_a_file_is_as_large_for_many_layers_as_for_a_few(stacked: bool, tmp_path: Path) -> None:
    sizes: list[int] = []
    for layers, experts in ((4, 4), (12, 20)):
        plan = gi.plan(model(layers, experts, stacked=stacked), "gpt2")
        plan.save(tmp_path / "plan.json")
        assert gi.Plan.load(tmp_path / "plan.json") == plan
        sizes.append((tmp_path / "plan.json").stat().st_size)
    assert sizes[1] < 1.1 * sizes[0]  # a few more digits


def test_a_layer_that_differs_is_written_out(tmp_path: Path) -> None:
    net = model(9, 3, stacked=False)
    net.layers[4].mix.bias = None
    net.layers[5].experts[1] = nn.Linear(8, 24, bias=False, device="meta")
    net.layers[6].mix.weight = net.layers[2].mix.weight
    plan = gi.plan(net, {"*": gi.Zeros(), "*.mix.weight": gi.Normal(0.1), "layers.7.*": gi.Ones()})
    plan.save(tmp_path / "plan.json")
    loaded = gi.Plan.load(tmp_path / "plan.json")
    assert loaded == plan
    assert loaded.digest == plan.digest
    assert loaded["layers.5.experts.1.weight"].shape == (24, 8)
    assert loaded["layers.6.mix.weight"].name == "layers.2.mix.weight"


def test_plain_data_has_every_row() -> None:
    plan = gi.plan(model(9, 3, stacked=True), "gpt2")
    data = plan.to_dict()
    assert [row["name"] for row in data["rows"]] == [row.name for row in plan]
    before = json.dumps(data)
    assert gi.Plan.from_dict(data) == plan
    assert json.dumps(data) == before  # reading changes nothing


WORDS = st.sampled_from(["a", "w0", "w01", "9", "1.5", "x2.7e5", "e3", ",1.5,", "², \u2028"])
ITEMS = st.dictionaries(WORDS, WORDS | st.integers(-3, 12) | st.floats(0, 2) | st.booleans())


@settings(max_examples=50)
@given(
    st.lists(
        ITEMS | st.builds(lambda n, w: {"name": f"{w}.{n}", "n": [n]}, st.integers(0, 5), WORDS),
        max_size=30,
    )
)
def test_whatever_is_folded_is_unfolded_the_same(items: list[object]) -> None:
    folded = fold(items * 3)
    assert json.dumps(unfold(folded, "")) == json.dumps(items * 3)


def repeat(times: object = 3, **more: object) -> dict[str, object]:
    return {"repeat": times, "of": [{"n": 1}], "next": [{"n": 2}]} | more


def test_a_longer_pattern_that_does_not_repeat_hides_no_shorter_one() -> None:
    one, other = {"one": 1}, {"other": 1}
    items = [*[one] * 3, *[other] * 4, one, *[other, one, one] * 8]
    assert fold(items)[0] == {"repeat": 3, "of": [one], "next": [None]}
    assert unfold(fold(items), "rows") == items


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (repeat(2), r"^rows\[0\]: a repeat has a number from 3"),
        (repeat(True), "a repeat has"),
        (repeat(3.0), "a repeat has"),
        (repeat(of=[]), "a repeat has"),
        (repeat(next=[]), "a repeat has"),
        (repeat(extra=1), "a repeat has"),
        (repeat(10**9), "repeats more than"),
        (repeat(10**5, of=[repeat(10**5)], next=[None]), "repeats more than"),
        (repeat(of=[repeat()], next=[{"repeat": 9}]), r"rows\[0\].next: it has no step"),
        (repeat(10**6, of=[{"n": "a" * 999}], next=[{"n": "a" * 999}]), "repeats more than"),
        (repeat(of=[{"n": "1" * 5000}], next=[{"n": "2"}]), "no step"),
        (repeat(next=[{"m": 2}]), r"^rows\[0\].next: it has no step"),
        (repeat(next=[{"n": "2"}]), r"no step from 1 to '2'"),
        (repeat(next=[{"n": True}]), "no step"),
        (repeat(of=[{"n": "a1"}], next=[{"n": "b2"}]), "no step from 'a1' to 'b2'"),
        (repeat(of=[{"n": [1]}], next=[{"n": [2, 3]}]), "no step"),
    ],
)
def test_refused(item: object, says: str) -> None:
    with pytest.raises(PlanFileError, match=says):
        unfold([item], "rows")


def test_a_nest_of_repeats_is_refused() -> None:
    item: dict[str, object] = {"n": 1}
    for _ in range(900):
        item = {"repeat": 3, "of": [item], "next": [None]}
    with pytest.raises(PlanFileError, match="nested too deeply"):
        unfold([item], "rows")


def test_many_rows_of_many_blocks_are_refused() -> None:
    data = gi.plan(model(1, 2, stacked=True), "gpt2").to_dict()
    row = next(row for row in data["rows"] if row["blocks"])
    row["blocks"] = [repeat(4000, of=row["blocks"][:1], next=[None])]
    data["rows"] = [repeat(4000, of=[row], next=[{"name": "layers.1.up"}])]
    with pytest.raises(PlanFileError, match="more than 4,194,304 blocks"):
        gi.Plan.from_dict(data)


def test_places_in_errors_count_the_rounds() -> None:
    plan = gi.plan(model(5, 3, stacked=True), "gpt2")
    data = plan.to_dict()
    rows = [row for row in data["rows"] if row["name"].endswith(".up")]
    changed = {"repeat": 5, "of": rows[:1], "next": [{"name": "layers.0.up"}]}
    with pytest.raises(PlanFileError, match="a name is there twice"):
        gi.Plan.from_dict(data | {"rows": [changed]})
    rows[0]["blocks"][1]["box"] = [[0, 1], [0, 8], [0, 99]]
    with pytest.raises(PlanFileError, match=r"^rows\[0\].blocks\[1\].box: .*doesn't lie in"):
        gi.Plan.from_dict(data | {"rows": [changed | {"next": [{"name": "layers.1.up"}]}]})


@pytest.mark.parametrize(("depth", "length"), [(1, 3), (DEEPEST, 3**DEEPEST), (DEEPEST + 1, 0)])
def test_as_many_repeats_within_each_other_are_counted(depth: int, length: int) -> None:
    items: list[object] = ["x"]
    for _ in range(depth):
        items = [{"repeat": 3, "of": items, "next": [None]}]
    assert unfolded_length(items) == length


def test_three_rounds_are_a_repeat_and_two_are_not() -> None:
    items = [{"name": f"h.{n}"} for n in range(3)]
    assert fold(items) == [{"repeat": 3, "of": [items[0]], "next": [items[1]]}]
    assert fold(items[:2]) == items[:2]
    pairs = [item for n in range(3) for item in ({"a": n}, {"b": n})]
    assert [one["repeat"] for one in fold(pairs)] == [3]
    assert fold(pairs[:4]) == pairs[:4]
