"""Checkpoints loaded into split models: each process gets its part, and the same report."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("torch.distributed.tensor.placement_types", reason="torch before 2.5")
from torch.distributed import checkpoint

import goodinit as gi
from goodinit.errors import (
    CheckpointError,
    GoodinitError,
    MetaModelError,
    PlanError,
    StreamError,
)

from .meshes import coordinates, held
from .test_split_models import (
    MESH,
    Net,
    local,
    refused,
    split,
    split_on_meta,
    stage,
    style,
)

OLD = {f"layers.{n}.{name}" for n in range(3) for name in ("norm.weight", "up.weight", "up.bias")}


@pytest.fixture(scope="module")
def values() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = Net().state_dict()
    kept = {name: torch.randn_like(value) for name, value in state.items() if name in OLD}
    return kept | {"embed.weight": torch.randn(8, 6), "step": torch.ones(())}  # 3 rows are new


def indexed(values: dict[str, torch.Tensor], folder: Path) -> Path:
    """Write two safetensors files with their index."""
    files = {name: f"m-{n % 2 + 1:05}-of-00002.safetensors" for n, name in enumerate(values)}
    for file in set(files.values()):
        save_file({n: values[n] for n in files if files[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


def report(plan: gi.Plan) -> list[object]:
    rows = [(r.name, r.kept, r.why, r.scheme, r.blocks, r.grown_from) for r in plan]
    return [rows, [str(finding) for finding in plan.findings], plan.seed]


@pytest.mark.parametrize("form", ["dict", "index"])
@pytest.mark.parametrize("on_meta", [True, False])
def test_each_rank_gets_its_part(values, form: str, on_meta: bool, tmp_path: Path) -> None:
    given = values if form == "dict" else indexed(values, tmp_path)
    whole = Net()
    one = gi.load_(whole, given, "gpt2", seed=7)
    with torch.device("meta"):
        plan = gi.plan(Net(), "gpt2", keep=given)
    assert torch.equal(whole.embed.weight[:8], values["embed.weight"])
    for coordinate in coordinates(MESH):
        if on_meta:
            net = split_on_meta(coordinate)
            loaded = gi.load_(net, given, "gpt2", seed=7, materialize="cpu")
            assert report(loaded) == report(one)
        else:
            net = split(Net(), coordinate, "cpu")
            loaded = gi.load_(net, given, plan, seed=7)
            assert {r.name for r in loaded if r.kept} == {r.name for r in one if r.kept}
        for (name, mine), truth in zip(net.named_parameters(), whole.parameters(), strict=True):
            expected = held(truth.detach(), MESH, coordinate, style(name)[1])
            assert torch.equal(local(mine), expected), (name, coordinate)


def save(state: dict[str, object], folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that there is one process
        checkpoint.save(state, checkpoint_id=folder)
    return folder


def test_a_folder_of_dcp_is_loaded_into_one_device(values, tmp_path: Path) -> None:
    nested = {"model": values | {"head.weight": values["embed.weight"].clone()}}
    save(nested, tmp_path / "good")
    one, other = Net(), Net()
    expected = gi.load_(one, values, "gpt2", seed=7)
    loaded = gi.load_(other, tmp_path / "good", "gpt2", seed=7, strip_prefix="model.")
    assert report(loaded) == report(expected)
    assert all(map(torch.equal, one.parameters(), other.parameters()))
    with torch.device("meta"):
        third = Net()
    gi.load_(third, tmp_path / "good", "gpt2", seed=7, strip_prefix="model", materialize="cpu")
    assert all(map(torch.equal, one.parameters(), third.parameters()))


def test_tied_values_that_differ_in_a_folder(tmp_path: Path) -> None:
    pair = {"embed.weight": torch.ones(11, 6), "head.weight": torch.zeros(11, 6)}
    save(pair, tmp_path)
    with pytest.raises(CheckpointError, match=r"embed.weight and head.weight differ"):
        gi.load_(Net(), tmp_path, "gpt2", seed=0)


def test_what_is_refused(values, plan_without_keep, tmp_path: Path) -> None:
    net = split(Net(), (0, 0), "cpu")
    plan = plan_without_keep
    refused(
        net,
        PlanError,
        r"draws embed.weight, and the checkpoint has it.*keep=",
        lambda n: gi.load_(n, values, plan, seed=0),
    )
    refused(net, MetaModelError, "gi.plan", lambda n: gi.load_(n, values, "gpt2", seed=0))
    kept = gi.plan(Net(), "gpt2", keep=values)
    other = values | {"embed.weight": torch.zeros(7, 6)}
    refused(
        net,
        CheckpointError,
        r"embed.weight has shape \(8, 6\) in the plan, but \(7, 6\)",
        lambda n: gi.load_(n, other, kept, seed=0),
    )
    refused(net, GoodinitError, "seed=None", lambda n: gi.load_(n, values, kept))
    (tmp_path / ".metadata").write_bytes(b"no pickle")
    refused(
        net,
        CheckpointError,
        "can't be read as the metadata",
        lambda n: gi.load_(n, tmp_path, kept, seed=0),
    )
    for more in ({"inputs": torch.ones(1, 1)}, {"prefix": "net"}):
        with pytest.raises(GoodinitError, match="inputs and prefix are for"):
            gi.load_(net, values, kept, seed=0, **more)
    with pytest.raises(CheckpointError, match=r"nothing that the plan names.*Did you mean"):
        gi.load_(net, {"embed.weigth": torch.ones(11, 6)}, plan, seed=0)
    drawn = gi.load_(net, values, plan, seed=7, draw=["embed.weight", "layers.*", "step"])
    assert not any(row.kept for row in drawn)


@pytest.fixture(scope="module")
def plan_without_keep() -> gi.Plan:
    with torch.device("meta"):
        return gi.plan(Net(), "gpt2")


@pytest.mark.parametrize("form", ["dict", "folder"])
def test_stages_and_hand_split_layers_get_their_part(values, form: str, tmp_path: Path) -> None:
    given = save(values, tmp_path) if form == "folder" else values
    whole = Net()
    with torch.device("meta"):
        plan = gi.plan(Net(), "gpt2", keep=given)
    one = gi.load_(whole, given, plan, seed=7)
    truth = whole.state_dict()
    for span in ((0, 1), (1, 3), (3, 4)):  # head.weight is embed.weight, which the first stage has
        net = stage(*span)
        loaded = gi.load_(net, given, plan, seed=7, part=True)
        assert {r.name for r in loaded if r.kept} <= {r.name for r in one if r.kept}
        assert all(torch.equal(value, truth[name]) for name, value in net.state_dict().items())
    for rank in range(2):
        net = Net()
        for block in net.layers.values():
            block.up = torch.nn.Linear(6, 5)
            block.down = torch.nn.Linear(5, 6)
        parts = {"*.up.*": gi.Part.split(0, rank, 2), "*.down.weight": gi.Part.split(1, rank, 2)}
        gi.load_(net, given, plan, seed=7, parts=parts)
        for n, block in net.layers.items():
            own = whole.layers[n]
            assert torch.equal(block.up.weight, own.up.weight.chunk(2)[rank])
            assert torch.equal(block.down.weight, own.down.weight.chunk(2, 1)[rank])


def test_a_part_needs_the_plan_of_the_whole(values) -> None:
    net, kept = stage(2, 4), gi.plan(Net(), "gpt2", keep=values)
    for error, words, options in (
        (PlanError, r"need the plan of the whole.*keep=checkpoint", {"recipe": "gpt2"}),
        (StreamError, "seed=None", {"recipe": kept, "seed": None}),
        (CheckpointError, r"keeps layers.2.up.bias as loaded, and", {"draw": "layers.2.up.bias"}),
        (PlanError, "pass part=True", {"recipe": kept, "part": False}),
    ):
        given = {"seed": 0, "part": True, "recipe": kept} | options
        refused(net, error, words, lambda n, given=given: gi.load_(n, values, **given))


def test_a_stage_of_which_the_checkpoint_has_nothing_is_drawn(values) -> None:
    given = {name: value for name, value in values.items() if not name.startswith("layers.2")}
    net, kept = torch.nn.Module(), gi.plan(Net(), "gpt2", keep=given)
    net.layers = torch.nn.ModuleDict({"2": Net().layers["2"]})
    loaded = gi.load_(net, given, kept, seed=0, part=True)
    assert not any(row.kept for row in loaded)


def test_a_part_sees_what_the_cast_to_its_dtype_lost() -> None:
    given = {"0.weight": torch.ones(8, 4), "0.bias": torch.zeros(8)}
    given["0.weight"][5, 2] = 1e6
    whole = torch.nn.Sequential(torch.nn.Linear(4, 8)).half()
    plan = gi.plan(whole, "he", keep=given)
    found = []
    for rank in range(2):
        net = torch.nn.Sequential(torch.nn.Linear(4, 4)).half()
        loaded = gi.load_(net, given, plan, seed=0, parts={"*": gi.Part.split(0, rank, 2)})
        found.append([(f.code, f.where) for f in loaded.findings])
    assert found == [[], [("GI137", "0.weight")]]
