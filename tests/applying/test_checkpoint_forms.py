"""What a checkpoint may look like: kinds of values, prefixes, files, and what is refused."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import goodinit as gi
from goodinit.errors import CheckpointError, RecipeError
from goodinit.plans import checkpoint_files


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        self.head = nn.Linear(4, 3)


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def is_loaded(model: nn.Module, old: nn.Module) -> bool:
    return all(torch.equal(model.state_dict()[k], v) for k, v in old.state_dict().items())


@pytest.mark.parametrize(
    "form",
    [Tensor.numpy, Tensor.tolist, nn.Parameter, Tensor.double, lambda v: v.to_dense()],
    ids=["numpy", "lists", "parameters", "float64", "dense"],
)
def test_values_of_other_forms_are_copied(form) -> None:
    old, new = Net(), Net()
    plan = gi.load_(new, {k: form(v) for k, v in values(old).items()}, "he")
    assert is_loaded(new, old)
    assert all(row.kept for row in plan)
    assert "GI137" not in [f.code for f in plan.findings]


def test_a_locked_array_is_copied() -> None:
    locked = np.ones((3, 4), np.float32)
    locked.flags.writeable = False
    layer = nn.Linear(4, 3, bias=False)
    gi.load_(layer, {"weight": locked}, "he")
    assert layer.weight.eq(1).all()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "is NoneType"),
        ("a text", "is str"),
        ([[1.0], [1.0, 2.0]], "is list"),
        (np.array([object()]), "is ndarray"),
        (torch.eye(4).to_sparse(), r"to_dense\(\)"),
        (torch.ones(4, 4, dtype=torch.complex64), "complex64 in the checkpoint and torch.float32"),
        (torch.ones(4, 4, device="meta"), "on meta"),
    ],
    ids=["None", "text", "ragged", "objects", "sparse", "complex", "meta"],
)
def test_what_cant_be_copied_is_refused_before_anything_is_written(value, says) -> None:
    new = Net()
    before = values(new)
    state = values(Net()) | {"backbone.2.weight": value}
    with pytest.raises(CheckpointError, match=f"^backbone.2.weight .*{says}"):
        gi.load_(new, state, "he")
    assert all(torch.equal(value, before[name]) for name, value in values(new).items())
    gi.load_(new, state, "he", draw="backbone.2.weight")


def test_packed_and_quantized_values_are_refused() -> None:
    new = Net()
    before = values(new)
    refused = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer torch: that quantized tensors are to go
        refused["dequantize"] = torch.quantize_per_tensor(torch.eye(4), 0.1, 0, torch.qint8)
    if hasattr(torch, "float4_e2m1fn_x2"):
        bits = torch.zeros(4, 4, dtype=torch.uint8)
        refused["unpack"] = bits.view(torch.float4_e2m1fn_x2)
    for says, value in refused.items():
        with pytest.raises(CheckpointError, match=f"^backbone.2.weight .*{says}"):
            gi.load_(new, values(Net()) | {"backbone.2.weight": value}, "he")
    assert all(torch.equal(value, before[name]) for name, value in values(new).items())


@pytest.mark.parametrize(
    ("value", "dtype", "severity"),
    [
        (torch.ones(3, 4, dtype=torch.int8), torch.float32, "warning"),
        (torch.ones(3, 4, dtype=torch.bool), torch.float32, "warning"),
        (torch.full((3, 4), 1e300, dtype=torch.float64), torch.float32, "error"),
        (torch.full((3, 4), 1e-9), torch.float16, "warning"),
        (torch.full((3, 4), 0.5), torch.float16, None),
        (torch.ones(3, 4, dtype=torch.float16), torch.bfloat16, None),
    ],
)
def test_what_a_cast_changes_is_a_finding(value, dtype, severity) -> None:
    layer = nn.Linear(4, 3, bias=False).to(dtype)
    plan = gi.load_(layer, {"weight": value}, "he")
    found = [f.severity for f in plan.findings if f.code == "GI137"]
    assert found == ([severity] if severity else [])
    assert torch.equal(layer.weight.detach(), value.to(dtype))


def test_a_counter_that_was_saved_as_a_float_is_no_finding() -> None:
    norm = nn.BatchNorm1d(4)
    state = values(norm) | {"num_batches_tracked": torch.tensor(7.0)}
    assert gi.load_(norm, state, "he").ok
    assert norm.num_batches_tracked == 7
    half = values(norm) | {"num_batches_tracked": torch.tensor(7.5)}
    assert [f.code for f in gi.load_(norm, half, "he").findings] == ["GI137"]


def test_values_that_are_drawn_in_float8_and_mostly_0() -> None:
    for dtype, std, found in (
        (torch.float8_e4m3fn, 0.001, ["GI137"]),
        (torch.float8_e4m3fn, 0.1, []),
        (torch.float8_e5m2, 0.001, []),
        (torch.float32, 0.001, []),
    ):
        layer = nn.Linear(4, 3, bias=False)
        layer.weight = nn.Parameter(layer.weight.detach().to(dtype))
        assert [f.code for f in gi.plan(layer, gi.Normal(std)).findings] == found


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.0.", "_orig_mod.module."])
def test_a_wrong_prefix_before_all_names(prefix: str) -> None:
    old, new = Net(), Net()
    state = {prefix + name: value for name, value in values(old).items()}
    with pytest.raises(RecipeError, match=f"strip '{prefix}'.*strip_prefix='{prefix}'"):
        gi.load_(new, state, "he")
    for given in (prefix, prefix.rstrip(".")):
        gi.load_(new, state, "he", strip_prefix=given)
        assert is_loaded(new, old)
    with pytest.raises(CheckpointError, match=r"no name .* begins with 'x\.'"):
        gi.load_(new, state, "he", strip_prefix="x")


@pytest.mark.parametrize("prefix", ["module.", "model.", "encoder.", "student.backbone."])
def test_a_wrong_prefix_before_some_names_is_no_info(prefix: str) -> None:
    old, new = Net(), Net()
    state = {k if k.startswith("head") else prefix + k: v for k, v in values(old).items()}
    with pytest.warns(UserWarning, match=f"strip '{prefix}'"):
        plan = gi.load_(new, state, "he")
    (finding,) = [f for f in plan.findings if f.code == "GI115"]
    assert finding.severity == "error"
    assert f"strip_prefix={prefix!r}" in finding.remedy
    assert gi.load_(new, state, "he", strip_prefix=prefix).ok
    assert is_loaded(new, old)
    assert gi.load_(new, state, "he", draw=f"{prefix}*").ok  # drawing them is meant
    with pytest.warns(UserWarning, match="removeprefix"):
        assert not gi.init_(new, "he", keep=state).ok


def test_a_prefix_that_is_missing() -> None:
    old, new = Net(), Net()
    state = {k.removeprefix("backbone."): v for k, v in values(old).items()}
    with pytest.warns(UserWarning, match="add 'backbone.'"):
        assert not gi.load_(new, state, "he").ok
    with pytest.raises(RecipeError, match=r"add 'backbone\."):
        gi.load_(new, {k: v for k, v in state.items() if "head" not in k}, "he")


def test_a_part_within_the_names() -> None:
    old, new = Net(), Net()
    inside = {k.replace("backbone.", "backbone.module."): v for k, v in values(old).items()}
    with pytest.warns(UserWarning, match=r"within the names, strip '\.module\.'"):
        plan = gi.load_(new, inside, "he")
    (finding,) = [f for f in plan.findings if f.code == "GI115"]
    assert "k.replace('.module.', '.')" in finding.remedy
    wrapped = Net()
    wrapped.backbone = nn.Sequential(wrapped.backbone)
    with pytest.warns(UserWarning, match=r"within the names, add '\.0\.'"):
        gi.load_(wrapped, values(old), "he")


def test_a_prefix_before_parametrized_weights() -> None:
    def net() -> nn.Module:
        return nn.Sequential(weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2))

    state = {f"model.{k}" if k[0] == "0" else k: v for k, v in values(net()).items()}
    with pytest.warns(UserWarning, match=r"strip 'model\.'"):
        gi.load_(net(), state, "he")
    assert gi.load_(net(), state, "he", strip_prefix="model").ok


def test_a_model_and_numbers_as_keys_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"Write gi.load_\(model, checkpoint.state_dict"):
        gi.load_(Net(), Net(), "he")
    with pytest.raises(RecipeError, match=r"^the checkpoint takes names"):
        gi.load_(Net(), {0: torch.ones(3)}, "he")


def test_what_is_left_over_and_belongs_elsewhere_is_an_info() -> None:
    old = Net()
    for more in (
        {"ema.head.weight": torch.ones(3, 4)},  # the head is in the checkpoint
        {"optimizer.step": torch.ones(1)},
        {"aux.head.weight": torch.ones(5, 4), "aux.head.bias": torch.ones(5)},  # other shapes
    ):
        state = {k: v for k, v in values(old).items() if "head" not in k or "ema" in str(more)}
        plan = gi.load_(Net(), state | more, "he")
        assert [f.severity for f in plan.findings if f.code == "GI115"] == ["info"]
        assert plan.ok


def test_a_checkpoint_inside_a_dict_is_named() -> None:
    own = values(Net())
    wrapped = {"module." + name: value for name, value in own.items()}
    for nested, place in (
        ({"state_dict": own, "epoch": 3}, r"pass checkpoint\['state_dict'\]$"),
        ({"model": {"params": own}}, r"pass checkpoint\['model'\]\['params'\]$"),
        ({"net": wrapped}, r"pass checkpoint\['net'\], with strip_prefix='module\.'$"),
        ({"ema": wrapped, "model": own}, r"pass checkpoint\['model'\], or the one in \['ema'\]$"),
    ):
        with pytest.raises(RecipeError, match=place):
            gi.load_(Net(), nested, "he")


@pytest.mark.parametrize("ending", [".pt", ".pth", ".bin", ".ckpt"])
def test_what_torch_saved(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, path = Net(), Net(), tmp_path / f"model{ending}"
    torch.save(old.state_dict(), path, _use_new_zipfile_serialization=ending != ".ckpt")
    if tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6):
        gi.load_(new, path, "he")
        assert is_loaded(new, old)
        assert all(row.kept for row in gi.plan(new, "he", keep=str(path)))
    monkeypatch.setattr(checkpoint_files, "SAFE_TORCH", (99, 0))
    with pytest.raises(CheckpointError, match="can run code when it is loaded"):
        gi.load_(Net(), path, "he")


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6), reason="refused before torch 2.6"
)
def test_files_that_hold_more_than_values_or_less(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    for content, says in ((Net(), "more than tensors"), (torch.ones(3), "holds a Tensor")):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=says):
            gi.load_(Net(), path, "he")
    torch.save({"model": Net().state_dict()}, path)
    with pytest.raises(RecipeError, match=r"pass torch\.load\(.*model\.pt'\)\['model'\]$"):
        gi.load_(Net(), path, "he")
    torch.save(Net().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="cut short"):
        gi.load_(Net(), path, "he")
    with pytest.raises(CheckpointError, match="files that end in"):
        gi.load_(Net(), tmp_path / "weights.h5", "he")


def test_a_sharded_checkpoint(tmp_path: Path) -> None:
    old, own = Net(), values(Net())
    own = values(old)
    files = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    places = {name: files[name.startswith("head")] for name in own}
    for file in files:
        save_file({k: v for k, v in own.items() if places[k] == file}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    for source in (index, str(index), tmp_path):
        new = Net()
        assert all(row.kept for row in gi.load_(new, source, "he"))
        assert is_loaded(new, old)
    with pytest.raises(CheckpointError, match=r"one of 2 files: pass their index"):
        gi.load_(Net(), tmp_path / files[0], "he")
    for broken, says in (
        ({"weight_map": places | {"head.scale": files[1]}}, "lists 'head.scale', which isn't in"),
        (
            {"weight_map": places | {"head.wieght": files[1], "other": files[1]}},
            r"'head.wieght', which isn't in \S+-00002\S+safetensors. Did you mean 'head.weight'",
        ),
        ({"weight_map": {"head.weight": "../other.safetensors"}}, "isn.t a file beside the index"),
        ({"weight_map": places | {"more": "gone.safetensors"}}, "gone.safetensors can't be read"),
        ({}, "no weight_map"),
    ):
        index.write_text(json.dumps(broken))
        with pytest.raises(CheckpointError, match=says):
            gi.load_(Net(), index, "he")
    index.write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        gi.load_(Net(), index, "he")


def test_a_folder_with_one_file_with_several_or_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no file"):
        gi.load_(Net(), tmp_path, "he")
    old, new = Net(), Net()
    save_file(values(old), tmp_path / "a.safetensors")
    gi.load_(new, tmp_path, "he")
    assert is_loaded(new, old)
    save_file(values(old), tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match="name the file"):
        gi.load_(Net(), tmp_path, "he")


def test_texts_name_the_function_that_was_called() -> None:
    state = {"x": torch.ones(1)}
    with pytest.raises(RecipeError, match=r"^the checkpoint has no parameter"):
        gi.load_(Net(), state, "he")
    with pytest.raises(RecipeError, match=r"^the state dict in keep has no parameter"):
        gi.init_(Net(), "he", keep=state)
