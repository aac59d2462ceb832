"""``init`` and ``verify``: the same bits again, and whatever isn't is named."""

import io
import json
import os
import random
import resource
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model, save_file
from tests.forks import MAY_FORK, in_a_fork

import goodinit as gi
from goodinit import cli
from goodinit.cli import app
from goodinit.cli.output import check_writable
from goodinit.cli.weights import names_by_tensor
from goodinit.demos import models

GPT = ("demo:gpt", "--arg", "layers=2", "--arg", "width=32", "--arg", "vocabulary=50")


def made(call, *argv, name="w.safetensors"):
    done = call("init", *argv, "-o", name)
    assert done.code == 0, done.err
    return Path(name)


def differences(call, *argv):
    """Return the differences by what they are, each of ``--json``."""
    done = call("verify", *argv, "--json")
    data = json.loads(done.out)
    assert done.code == (not data["equal"])
    assert data["equal"] == (not data["differences"])
    found = {}
    for each in data["differences"]:
        found.setdefault(each["what"], []).append((each["where"], each["text"]))
    return found


# Plain laws, matrices, depth in the scale, zeros, what is kept: the others are more of these.
KINDS = "deepnorm mamba2 standard torch_default".split()
RECIPES = [
    pytest.param(name, marks=() if name in KINDS else pytest.mark.battery)
    for name in gi.recipes.names()
    if name != "lora"  # it refuses such a model
]


@pytest.mark.parametrize("recipe", [*RECIPES, "he:mode=fan_out", "orthogonal:gain=2"])
def test_what_init_drew_verify_draws_again(call, recipe):
    made(call, *GPT, "-r", recipe, "--seed", 3)
    assert differences(call, "w.safetensors", *GPT) == {}
    assert differences(call, "w.safetensors", *GPT, "-r", recipe, "--seed", 3) == {}


@pytest.mark.parametrize(
    "target", ["Net", "ready", "recurrent", "parametrized", "half", "needs_values"]
)
def test_models_of_ones_own(call, target):
    made(call, f"toy:{target}")
    assert differences(call, "w.safetensors", f"toy:{target}") == {}


def test_it_is_what_the_library_draws(call):
    made(call, "demo:mlp", "-r", "he", "--seed", 5)
    net = models.mlp()
    gi.init_(net, "he", inputs=net.example_input_array, seed=5)
    drawn = load_file("w.safetensors")
    assert drawn.keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        assert torch.equal(drawn[name], value)


def test_the_same_draw_gives_the_same_bytes(call):
    first, second = made(call, "toy:Net", name="a"), made(call, "toy:Net", name="b")
    assert first.read_bytes() == second.read_bytes()


def test_what_is_kept_comes_from_the_constructor_and_the_seed(call):
    made(call, "toy:Net", "--seed", 1)
    import toy

    torch.manual_seed(1)
    with gi.skeleton():  # as the command builds it: only what it records is computed
        net = toy.Net()
    gi.init_(net, "standard", seed=1, materialize="cpu")
    assert torch.equal(load_file("w.safetensors")["own"], net.own)
    found = differences(call, "w.safetensors", "toy:Net", "--seed", 2)
    assert "own" in [where for where, _ in found["values"]]


def test_load_model_reads_tied_weights(call):
    made(call, "toy:Net", "-r", "gpt2")
    import toy

    net = toy.Net()
    assert load_model(net, "w.safetensors") == (set(), [])
    drawn = load_file("w.safetensors")
    assert "head.weight" in drawn
    assert "table.weight" not in drawn
    assert torch.equal(net.table.weight, drawn["head.weight"])
    assert net.table.weight is net.head.weight


@pytest.mark.parametrize("kept", ["head.weight", "table.weight", "both"])
def test_a_tied_weight_may_be_stored_under_any_of_its_names(call, kept):
    made(call, "toy:Net")
    tensors = load_file("w.safetensors")
    with safe_open("w.safetensors", "pt") as file:
        metadata = file.metadata()
    weight = tensors.pop("head.weight")
    names = ["head.weight", "table.weight"] if kept == "both" else [kept]
    save_file(tensors | {name: weight.clone() for name in names}, "w.safetensors", metadata)
    assert differences(call, "w.safetensors", "toy:Net") == {}


def test_metadata(call):
    made(call, "demo:mlp", "--arg", "width=8", "--input", "4x64", "-r", "he", "--seed", 9)
    plan = call("plan", "demo:mlp", "--arg", "width=8", "-r", "he").out
    with safe_open("w.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt"
    assert metadata["goodinit.seed"] == "9"
    assert metadata["goodinit.streams"] == "v1"
    assert metadata["goodinit.version"] == gi.__version__
    assert metadata["goodinit.target"] == "demo:mlp --arg width=8"
    assert metadata["goodinit.inputs"] == '["4x64"]'
    assert metadata["goodinit.digest"] in plan
    assert gi.Recipe.from_toml(metadata["goodinit.recipe"], "").rules == gi.recipe("he").rules


def flipped(path: Path, byte: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def data_starts(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def test_a_flipped_bit_among_the_values_is_named(call):
    path = made(call, "demo:mlp", "-r", "he")
    with safe_open(path, "pt") as file:
        value = file.get_tensor("0.bias")
    assert not value.any()
    offset = json.loads(path.read_bytes()[8 : data_starts(path)])["0.bias"]["data_offsets"][0]
    flipped(path, data_starts(path) + offset + 4 * 5 + 3, 6)  # the exponent of the sixth: 2.0
    found = differences(call, path, "demo:mlp")
    assert found == {
        "values": [("0.bias", "1 of 128 values differ, first [5]: 2 in the file, 0 drawn")]
    }
    text = call("verify", path, "demo:mlp")
    assert text.code == 1
    assert "0.bias: 1 of 128 values" in text.out


@pytest.mark.parametrize("flips", [25, pytest.param(75, marks=pytest.mark.battery)])
def test_no_flipped_bit_anywhere_goes_unseen(call, flips):
    # Values, names, metadata: named, and 1. Where the header can't be read any more: 2.
    path = made(call, "toy:Net", "-r", "he")
    whole = path.read_bytes()
    start = data_starts(path)
    generator = random.Random(0)
    places = [generator.randrange(start) for _ in range(flips * 4 // 5)]
    places += [generator.randrange(start, len(whole)) for _ in range(flips // 5)]
    codes = {}
    for place in places:
        path.write_bytes(whole)
        flipped(path, place, generator.randrange(8))
        done = call("verify", path, "toy:Net")
        codes.setdefault(done.code, []).append(place)
        if done.code == 1:
            assert done.out.startswith("different")
            assert len(done.out.splitlines()) > 1
        else:
            assert done.code == 2, (place, done)
            assert done.err.startswith("error: ")
    assert all(place < start for place in codes[2])
    assert len(codes[1]) > 0.4 * flips


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        (["--seed", "1"], {"seed", "values"}),
        (["--recipe", "xavier"], {"recipe", "plan", "values"}),
        (["--arg", "width=64"], {"plan", "shape"}),
        (["--arg", "depth=4"], {"plan", "shape", "missing"}),
        (["--arg", "depth=2"], {"plan", "shape", "extra"}),
    ],
)
def test_another_seed_recipe_or_model_is_named(call, argv, what):
    path = made(call, "demo:mlp", "-r", "he")
    assert differences(call, path, "demo:mlp", *argv).keys() == what
    assert call("verify", path, "demo:mlp", *argv).code == 1


def test_another_dtype_is_named(call):
    path = made(call, "demo:mlp", "-r", "he")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file({n: t.half() for n, t in load_file(path).items()}, path, metadata)
    found = differences(call, path, "demo:mlp")
    assert found.keys() == {"dtype"}
    assert len(found["dtype"]) == 6


def test_nan_equals_itself_and_the_sign_of_zero_counts(call):
    path = made(call, "demo:mlp", "-r", "he")
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["0.bias"][0] = -0.0
    save_file(tensors, path, metadata)
    found = differences(call, path, "demo:mlp")
    assert found["values"][0][1] == "1 of 128 values differ, first [0]: -0 in the file, 0 drawn"


def test_changed_metadata_is_named(call):
    path = made(call, "demo:mlp", "-r", "he")
    whole = path.read_bytes()
    changed = "changed after the file was written"
    for old, new, reason, more in [
        (b'"goodinit.seed":"0"', b'"goodinit.seed":"4"', None, {"values"}),
        (b'"goodinit.seed":"0"', b'"goodinit.seed":"x"', "its seed is 'x'", set()),
        (b'"goodinit.streams":"v1"', b'"goodinit.streams":"v0"', None, {"streams"}),
        (b'"goodinit.target":"demo', b'"goodinit.target":"dema', None, set()),
        (b"goodinit_recipe = 1", b"goodinit_recipe = 7", "version 1, not 7", set()),
        (b'scheme = \\"HeNormal', b'scheme = \\"HeNorman', "'HeNorman'", set()),
    ]:
        assert old in whole
        path.write_bytes(whole.replace(old, new))
        found = differences(call, path, "demo:mlp")
        first, *others = [text for _, text in found["metadata"]]
        assert first == changed
        assert len(others) == (reason is not None)
        assert all(reason in text for text in others)
        assert found.keys() == {"metadata"} | more


def test_a_file_of_others_takes_recipe_and_seed(call):
    net = models.mlp()
    gi.init_(net, "he", seed=5)
    save_file(net.state_dict(), "w.safetensors")
    assert differences(call, "w.safetensors", "demo:mlp", "-r", "he", "--seed", 5) == {}
    done = call("verify", "w.safetensors", "demo:mlp", "--seed", 5)
    assert done.code == 2
    assert "--recipe and --seed" in done.err


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")


@MAY_FORK
def test_a_full_disk_leaves_what_was_there(folder):
    """No file may grow beyond 2 kB, as on a full disk (the error differs in its words).

    The limit holds for all files of a process, pytest's own output too.
    """
    (folder / "w.safetensors").write_text("old")
    before = left(folder)

    def on_a_small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
        sys.stderr = io.StringIO()
        assert app.run(["init", "demo:mlp", "-o", "w.safetensors"]) == 2
        assert app.run(["plan", "demo:mlp", "--arg", "depth=10", "-o", "plan.json"]) == 2
        assert sys.stderr.getvalue() == (
            "error: w.safetensors: File too large; nothing was written\n"
            "error: plan.json: File too large; nothing was written\n"
        )

    in_a_fork(on_a_small_disk)
    assert left(folder) == before
    assert (folder / "w.safetensors").read_text() == "old"


def test_too_little_room_is_said_before_it_is_drawn(folder):
    with pytest.raises(gi.GoodinitError, match=r"takes 1e\+06 TB, and .* are free"):
        check_writable(folder / "w.safetensors", 10**18)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("nowhere/w.safetensors", "No such file or directory"),
        (".", "is a folder"),
        ("toy.py/w.safetensors", "Not a directory"),
        ("/dev/null", "is not a regular file"),
        ("/proc/w.safetensors", "can't be written"),
    ],
)
@pytest.mark.parametrize("verb", ["init", "plan"])
def test_a_place_that_cant_be_written_is_said_first(call, folder, verb, out, message):
    before = left(folder)
    done = call(verb, "toy:raises", "-o", out)  # never built
    assert done.code == 2
    assert done.err.startswith(f"error: -o {out}")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert left(folder) == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "is not a safetensors file"),
        (b"not a safetensors file, but a longer text", "is not a safetensors file"),
        (b'\x10\x00\x00\x00\x00\x00\x00\x00{"a":', "is not a safetensors file"),
        ("truncated", "is not a safetensors file, or is damaged"),
    ],
)
def test_files_that_hold_no_weights(call, folder, content, message):
    path = folder / "w.safetensors"
    if content == "truncated":
        made(call, "demo:mlp", "-r", "he")
        content = path.read_bytes()[:-1]
    if content is not None:
        path.write_bytes(content)
    done = call("verify", "w.safetensors", "demo:mlp")
    assert done.code == 2
    assert done.err.startswith("error: w.safetensors")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_an_interrupted_write_leaves_nothing(call, folder, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("goodinit.cli.weights._write_bytes", stop)
    before = left(folder)
    assert call("init", "demo:mlp", "-o", "w.safetensors").code == 130
    assert left(folder) == before


def test_a_stop_from_outside_leaves_nothing(folder, monkeypatch):
    before = left(folder)
    monkeypatch.setattr(
        "goodinit.cli.weights._write_bytes", lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    )
    monkeypatch.setattr(sys, "argv", ["goodinit", "init", "demo:mlp", "-o", "w.safetensors"])
    handler = signal.getsignal(signal.SIGTERM)
    try:
        assert cli.main() == 143
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert left(folder) == before


def test_names_by_tensor():
    base = torch.zeros(4)
    names = names_by_tensor({"b": base, "a": base, "half": base[:2], "e": base[:0], "f": base[:0]})
    assert names == [["a", "b"], ["e"], ["f"], ["half"]]


@pytest.mark.parametrize("target", [("toy:Net",), ("toy:parametrized",)])
def test_shards_together_are_the_whole(call, target):
    made(call, *target, "-r", "orthogonal", "--seed", 3)
    whole = load_file("w.safetensors")
    parts = [
        load_file(made(call, *target, "-r", "orthogonal", "--seed", 3, "--shard", f"{rank}/2"))
        for rank in range(2)
    ]
    for name, value in whole.items():
        held = [part[name] for part in parts]
        together = held[0] if held[0].shape == value.shape else torch.cat(held)
        assert torch.equal(together, value), name
        if value.dim() and "running" not in name:
            assert held[0].shape[:1] != value.shape[:1], name
    with safe_open("w.safetensors", "pt") as file:
        assert file.metadata()["goodinit.shard"] == "1/2"
        assert set(file.keys()) == set(whole)


def test_what_is_refused_of_shards(call):
    for text in ("8/8", "3/8/9"):
        done = call("init", *GPT, "--shard", text, "-o", "w.safetensors")
        assert done.code == 2
        assert "0/8 to 7/8" in done.err
    made(call, *GPT, "--shard", "0/2")
    done = call("verify", "w.safetensors", *GPT)
    assert done.code == 2
    assert "is shard 0/2 of a model" in done.err
