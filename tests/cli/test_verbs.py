"""``plan``, ``diff``, ``recipes``, ``explain`` and ``doctor``: what they print, and their codes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import goodinit as gi
from goodinit.demos import models
from goodinit.streams import native

from .test_weights import KINDS

AROUND_ZERO = """
goodinit_recipe = 1
name = "copied"

[[rule]]
where = "*"
scheme = "Normal"
std = 0.02

[[rule]]
where = { part = "buffer" }
scheme = "Keep"
"""


class TestPlan:
    def test_prints_the_plan(self, call):
        net = models.mlp()
        done = call("plan", "demo:mlp", "-r", "he")
        assert done.code == 0
        assert done.out == f"{gi.plan(net, 'he', inputs=net.example_input_array)}\n"
        assert done.err == ""

    def test_json_is_the_saved_plan(self, call):
        done = call("plan", "demo:lstm", "-o", "plan.json", "--json")
        assert done.out == Path("plan.json").read_text()
        plan = gi.Plan.load("plan.json")
        assert plan.digest in call("plan", "demo:lstm").out
        gi.apply_(models.lstm(), plan, seed=0)

    def test_what_the_constructor_leaves_is_kept_not_unresolved(self, call):
        done = call("plan", "toy:Net")
        assert "UNRESOLVED" not in done.out
        assert call("init", "toy:Net", "-o", "w").code == 0

    def test_a_warning_is_a_finding(self, call, folder):
        (folder / "copied.toml").write_text(AROUND_ZERO)
        done = call("plan", "toy:Net", "-r", "copied.toml")
        assert done.code == 1
        assert "[GI111]" in done.out
        drawn = call("init", "toy:Net", "-r", "copied.toml", "-o", "w.safetensors")
        assert drawn.code == 0  # it was done, and says what it thinks of it
        assert drawn.err.startswith("finding: warning: ")
        assert call("verify", "w.safetensors", "toy:Net").code == 0

    def test_information_is_no_finding(self, call):
        done = call("plan", "toy:Net")
        assert "2 notes (GI117, GI119)" in done.out
        assert "[GI117]" not in done.out
        assert "[GI117]" in call("plan", "toy:Net", "--full").out
        assert done.code == 0

    def test_a_recipe_file_error_names_file_rule_and_key(self, call, folder):
        (folder / "bad.toml").write_text(AROUND_ZERO.replace('"Normal"', '"Normla"'))
        done = call("plan", "toy:Net", "-r", "bad.toml")
        assert done.code == 2
        assert done.err.startswith("error: bad.toml: rule 1, scheme: no scheme is called 'Normla'.")

    def test_names_that_would_play_tricks_with_a_terminal(self, call, folder):
        (folder / "tricky.py").write_text(
            "from torch import nn\n"
            "def make():\n"
            "    names = 'a\\x1b[2Jb', 'gr\u00f6\u00dfe'\n"
            "    return nn.ModuleDict({name: nn.Linear(2, 2) for name in names})\n"
        )
        done = call("plan", "tricky:make")
        assert "\x1b" not in done.out
        assert r"a\x1b[2Jb.weight" in done.out
        assert "gr\u00f6\u00dfe.weight" in done.out
        call("init", "tricky:make", "-o", "w.safetensors")
        assert call("verify", "w.safetensors", "tricky:make").code == 0


class TestDiff:
    def test_plans(self, call):
        call("plan", "demo:mlp", "-r", "he", "-o", "a.json")
        call("plan", "demo:mlp", "-r", "he", "-o", "b.json")
        same = call("diff", "a.json", "b.json")
        assert (same.code, same.out) == (0, "no difference: 6 rows\n")
        call("plan", "demo:mlp", "-r", "xavier", "-o", "b.json")
        other = call("diff", "a.json", "b.json")
        assert other.code == 1
        assert other.out.splitlines()[:2] == [
            "~ 0.weight",
            "    HeNormal() std 0.177 -> XavierUniform() std 0.102",
        ]
        assert other.out.splitlines()[-1] == "3 rows changed"

    def test_recipes_on_a_target(self, call):
        done = call("diff", "gpt2", "gpt2:flavour=openai", "-t", "demo:gpt")
        assert done.code == 1
        assert done.out.splitlines()[:2] == [
            "~ position.weight",
            "    Normal(std=0.02) -> Normal(std=0.01)",
        ]
        assert "~ blocks.{0-3}.out.weight x4" in done.out
        assert call("diff", "he", "kaiming", "-t", "demo:gpt").code == 0

    def test_a_plan_file_and_a_recipe(self, call):
        call("plan", "demo:mlp", "-r", "he", "-o", "a.json")
        assert call("diff", "a.json", "he", "-t", "demo:mlp").code == 0
        assert call("diff", "a.json", "he", "-t", "demo:mlp", "--arg", "width=8").code == 1

    def test_blocks_and_rows_of_one_side(self, call):
        blocks = call("diff", "lstm", "xavier", "-t", "demo:lstm")
        assert "forget: Ones() -> Zeros()" in blocks.out
        call("plan", "demo:mlp", "-o", "a.json")
        call("plan", "demo:mlp", "--arg", "depth=4", "-o", "b.json")
        sides = call("diff", "a.json", "b.json").out
        assert "+ 6.weight: LeCunNormal() std 0.0884" in sides
        assert "only in B" in sides
        assert "only in A" in call("diff", "b.json", "a.json").out

    def test_json(self, call):
        done = call("diff", "he", "xavier", "-t", "demo:mlp", "--json")
        data = json.loads(done.out)
        assert data["equal"] is False
        assert data["changed"]["0.weight"]["std"] == [32**-0.5, pytest.approx((2 / 192) ** 0.5)]
        assert json.loads(call("diff", "he", "he", "-t", "demo:mlp", "--json").out)["equal"] is True

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (["he", "xavier"], "pass --target"),
            (["nowhere.json", "nowhere.json"], "nowhere.json can't be read"),
            (["toy.json", "toy.json"], "toy.json: not valid JSON: Expecting property name"),
        ],
    )
    def test_wrong_calls(self, call, folder, argv, message):
        (folder / "toy.json").write_text("{")
        done = call("diff", *argv)
        assert done.code == 2
        assert message in done.err
        assert done.err.count("\n") == 1


class TestRecipes:
    def test_all_are_listed_on_a_line_each(self, call):
        done = call("recipes")
        assert done.code == 0
        for name in gi.recipes.names():
            assert (
                sum(name in line.split("  ")[0].split(", ") for line in done.out.splitlines()) == 1
            )
        names = [
            name for each in json.loads(call("recipes", "--json").out) for name in each["names"]
        ]
        assert sorted(names) == sorted(gi.recipes.names())

    def test_each_is_shown(self, call):
        for name in gi.recipes.names():
            shown = call("recipes", name)
            assert shown.code == 0, name
            assert "``" not in shown.out, name
            assert max(map(len, shown.out.splitlines())) <= 80, name

    @pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=() if name in KINDS else pytest.mark.battery)
            for name in gi.recipes.names()
        ],
    )
    def test_one_with_its_rules_and_as_a_file(self, call, name):
        data = json.loads(call("recipes", name, "--json").out)
        assert len(data["rules"]) == len(gi.recipe(name).rules)
        Path("mine.toml").write_text(call("recipes", name, "--toml").out)
        assert gi.Recipe.load("mine.toml") == gi.recipe(name)
        if name == "lora":  # it refuses a model without adapters
            return
        again = call("diff", "mine.toml", name, "-t", "demo:cnn")
        assert again.out == "no difference: 20 rows\n"
        assert call("recipes", "mine.toml").code == 0

    def test_options_are_shown_and_taken(self, call):
        assert '  mode=fan_in  "fan_in" keeps the signal' in call("recipes", "he").out
        assert "mode='fan_out'" in call("recipes", "he:mode=fan_out").out

    def test_wrong_calls(self, call):
        assert "Did you mean 'xavier'" in call("recipes", "xaiver").err
        assert "name of a recipe" in call("recipes", "--toml").err


class TestExplain:
    def test_a_healthy_model(self, call):
        done = call("explain", "demo:mlp")
        assert done.code == 0
        assert 'looks like  "torch_default"' in done.out
        data = json.loads(call("explain", "demo:mlp", "--json").out)
        assert (data["recipe"], data["ok"]) == ("torch_default", True)
        assert [finding["code"] for finding in data["findings"]] == ["GI127"]

    def test_weights_of_a_file(self, call):
        call("init", "demo:gpt", "-r", "gpt2", "-o", "w.safetensors")
        with_file = call("explain", "demo:gpt", "-w", "w.safetensors")
        assert "gpt2" in with_file.out
        assert with_file.err == ""

    def test_all_zeros_is_a_finding(self, call):
        call("init", "demo:mlp", "-o", "w.safetensors")
        zeros = {name: torch.zeros_like(t) for name, t in load_file("w.safetensors").items()}
        save_file(zeros, "w.safetensors")
        assert call("explain", "demo:mlp", "-w", "w.safetensors").code == 1

    @pytest.mark.parametrize(
        ("target", "message"),
        [
            (["demo:mlp", "--arg", "width=64"], "size mismatch"),
            (["toy:half"], "has no tensor of toy:half"),
        ],
    )
    def test_files_of_other_models(self, call, target, message):
        call("init", "demo:mlp", "-o", "w.safetensors")
        done = call("explain", *target, "-w", "w.safetensors")
        assert done.code == 2
        assert message in done.err
        assert done.err.count("\n") == 1

    def test_half_a_file_is_said(self, call):
        call("init", "demo:mlp", "-o", "w.safetensors")
        half = {n: t for n, t in load_file("w.safetensors").items() if n != "0.bias"}
        save_file(half | {"more": torch.zeros(1)}, "w.safetensors")
        done = call("explain", "demo:mlp", "-w", "w.safetensors")
        assert "1 tensor missing from the file" in done.err
        assert "1 tensor in the file only: more" in done.err

    def test_files_that_cant_be_read(self, call):
        done = call("explain", "demo:mlp", "-w", "nowhere.safetensors")
        assert done.code == 2
        assert done.err.startswith("error: nowhere.safetensors")


class TestDoctor:
    def test_all_is_well_here(self, call):
        done = call("doctor")
        assert done.code == 0
        assert torch.__version__ in done.out
        assert native.load().found in done.out
        data = json.loads(call("doctor", "--json").out)
        assert data["ok"]
        assert sum(line["ok"] is True for line in data["lines"]) == 5

    def test_other_bits_are_seen(self, call, monkeypatch):
        draw = gi.Stream.draw

        def fused(self, name, law, shape, **more):
            drawn = draw(self, name, law, shape, **more)
            drawn[-1] += 1e-3
            return drawn

        monkeypatch.setattr(gi.Stream, "draw", fused)
        done = call("doctor")
        assert done.code == 1
        assert done.out.count("FAILED") == 3
        assert "float32 and bfloat16 differ from streams v1" in done.out

    def test_threads_that_draw_otherwise_are_seen(self, call, monkeypatch):
        draw = gi.Stream.draw

        def by_threads(self, *given, **more):
            return draw(self, *given, **more) + torch.get_num_threads()

        torch.set_num_threads(2)
        monkeypatch.setattr(gi.Stream, "draw", by_threads)
        assert "other bits" in call("doctor").out
        assert torch.get_num_threads() == 2
