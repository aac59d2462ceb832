"""``goodinit forecast``, and ``goodinit check`` of a file that fills the memory."""

import json

import pytest

pytest.importorskip("plotext")

from goodinit._common import machine
from goodinit.cli import weights


def test_an_exact_forecast_is_what_check_measures(call):
    checked = json.loads(call("check", "demo:gpt", "-r", "gpt2", "--json").out)
    done = call("forecast", "demo:gpt", "-r", "gpt2", "--exact", "--json")
    (signal,) = json.loads(done.out)["signals"]
    assert done.code == 0
    assert signal["rows"] == checked["rows"]


def test_several_seeds_have_a_mean_and_a_spread(call, tmp_path):
    argv = ("forecast", "demo:mlp", "-r", "he", "--seeds", "3")
    found = json.loads(call(*argv, "--json").out)
    assert len(found["signals"]) == 3
    row = found["rows"][0]
    drawn = [signal["rows"][0]["forward"]["second"] for signal in found["signals"]]
    assert row["second"] == pytest.approx(sum(drawn) / 3)
    assert row["second_spread"] > 0
    done = call(*argv, "--html", str(tmp_path / "page.html"))
    assert "0:linear" in done.out.partition("spread")[2]
    assert (tmp_path / "page.html").is_file()


def test_kept_values_are_named(call):
    done = call("forecast", "toy:Net", "-r", "standard", "--exact", "--input", "int:4x3:10")
    assert done.code == 0
    assert "Own values: scalar." in done.out


def test_a_file_that_fills_the_memory_is_checked_tensor_by_tensor(call, monkeypatch):
    call("init", "demo:gpt", "-r", "gpt2", "-o", "w.safetensors")
    whole = json.loads(call("check", "demo:gpt", "-w", "w.safetensors", "--json").out)
    monkeypatch.setattr(weights, "LARGEST_SHARE", 0.0)
    read = json.loads(call("check", "demo:gpt", "-w", "w.safetensors", "--json").out)
    assert read["rows"] == whole["rows"]
    assert any("Own values" in note for note in read["notes"])


def test_memory_is_what_the_process_may_use(monkeypatch, tmp_path):
    machine_alone = machine.usable_memory()
    for path, name in (("memory/a/b", "memory.limit_in_bytes"), ("c", "memory.max")):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / name).write_text("max\n" if name == "memory.max" else "9000\n")
    (tmp_path / "memory" / "a" / "memory.limit_in_bytes").write_text("7000\n")
    (tmp_path / "own").write_text("4:memory:/a/b\n3:cpuset:/\n0::/c\n")
    monkeypatch.setattr(machine, "GROUPS", tmp_path)
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "own")
    assert machine.usable_memory() == 7000
    (tmp_path / "c" / "memory.max").write_text("5000\n")
    assert machine.usable_memory() == 5000
    monkeypatch.setattr(machine, "OWN_GROUPS", tmp_path / "none")
    assert machine.usable_memory() >= machine_alone
