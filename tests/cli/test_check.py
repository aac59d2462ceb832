"""``goodinit check`` and ``goodinit compare``: exit codes, JSON, the page."""

import json
import sys

import pytest
import torch

pytest.importorskip("plotext")

import goodinit as gi
from goodinit.cli.building import parse_recipes
from goodinit.cli.output import CommandError
from goodinit.demos import models

DEEP = ("demo:mlp", "--arg", "depth=30")
SICK = '''
import torch
from torch import nn


class Nan(nn.Module):
    """Divides by zero."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))
        self.example_input_array = torch.ones(4, 8)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x / (x - x)


class Words(nn.Module):
    """Returns no floating number."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        return self.layer(x).argmax(-1)


class Ends(nn.Linear):
    """Ends the program, as if all were well."""

    def forward(self, x):
        raise SystemExit(0)


class BadBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("the backward pass's own error")


class Back(nn.Linear):
    def forward(self, x):
        return BadBackward.apply(super().forward(x))


def ends():
    return Ends(8, 8)


def back():
    return Back(8, 8)


def named():
    net = nn.Module()
    net.add_module("<script>", nn.Linear(8, 8))
    net.add_module("日本", nn.Linear(8, 8))
    net.forward = lambda x: net._modules["日本"](net._modules["<script>"](x))
    return net


def normed():
    """In evaluation mode, as libraries build theirs; the norms' statistics are yet to be taken."""
    torch.manual_seed(0)
    parts = [p for _ in range(30) for p in (nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())]
    return nn.Sequential(*parts, nn.Dropout(0.9)).eval()
'''


@pytest.fixture(autouse=True)
def models_of_ones_own(folder):
    (folder / "sick.py").write_text(SICK)


def test_a_healthy_model_exits_with_zero(call):
    done = call("check", "demo:gpt", "--recipe", "gpt2")
    assert done.code == 0
    assert "No findings" in done.out
    assert "residual stream" in done.out
    assert done.err == ""


def test_findings_exit_with_one(call):
    done = call("check", *DEEP)
    assert done.code == 1
    assert "[GI108]" in done.out
    assert call("check", *DEEP, "--recipe", "he", "--seed", 1).code == 0


def test_it_measures_what_init_draws(call):
    data = json.loads(call("check", "demo:mlp", "-r", "he", "--seed", 3, "--json").out)
    net = models.mlp()
    gi.init_(net, "he", inputs=net.example_input_array, seed=3)
    signal = gi.measure(net, net.example_input_array)
    assert data["rows"] == json.loads(json.dumps(signal.to_dict()["rows"]))
    assert data["target"] == "demo:mlp"
    assert data["ok"] is True
    call("init", "demo:mlp", "-r", "he", "--seed", 3, "-o", "w.safetensors")
    again = json.loads(call("check", "demo:mlp", "-w", "w.safetensors", "--json").out)
    assert again == data


def test_without_recipe_or_weights_it_is_the_constructor_s(call):
    data = json.loads(call("check", "demo:mlp", "--seed", 4, "--json").out)
    torch.manual_seed(4)
    net = models.mlp()
    signal = gi.measure(net, net.example_input_array)
    assert data["rows"][0]["forward"]["second"] == signal.rows[0].forward.second


def test_norms_that_have_seen_nothing_divide_by_the_batch(call):
    done = call("check", "sick:normed", "--input", "32x8", "--json")
    data = json.loads(done.out)
    norms = [row for row in data["rows"] if row["kind"] == "norm"]
    assert len(norms) == 30
    assert all(0.9 < row["forward"]["second"] <= 1 for row in norms)
    assert data["rows"][-1]["forward"]["second"] == data["rows"][-2]["forward"]["second"]  # dropout


def test_nan_is_null_in_json_and_a_finding(call):
    done = call("check", "sick:Nan", "--json")
    data = json.loads(done.out, parse_constant=lambda _: pytest.fail("not strict JSON"))
    assert done.code == 1
    assert [f["code"] for f in data["findings"]] == ["GI101"]
    assert data["rows"][-1]["forward"]["second"] is None
    plain = call("check", "sick:Nan", "--html", "nan.html")
    assert plain.code == 1
    assert "NaN or infinite" in " ".join(plain.out.split())


def test_the_page(call, folder):
    done = call("check", "demo:mlp", "-r", "he", "--html", "mlp.html")
    assert done.code == 0
    assert done.err == "page: mlp.html\n"
    text = (folder / "mlp.html").read_text()
    assert "<title>mlp: signal</title>" in text
    assert "How each parameter was initialized: he" in text
    done = call("compare", "demo:mlp", "--recipes", "he,xavier", "--seeds", "1", "--html", "c.html")
    assert done.code == 0
    text = (folder / "c.html").read_text()
    assert "initialized: he" in text
    assert "initialized: xavier" in text


def test_names_of_modules_are_text(call, folder):
    done = call("check", "sick:named", "--input", "8x8", "--html", "p.html")
    assert done.code == 0
    assert "<script>" in done.out
    assert "日本" in done.out
    text = (folder / "p.html").read_text()
    assert "<script>:linear" not in text
    assert "&lt;script&gt;" in text


def test_compare(call):
    done = call("compare", *DEEP, "--recipes", "he,torch_default", "--seeds", "2")
    assert done.code == 1
    assert "torch_default: outputs hardly depend on the inputs (GI104)" in " ".join(
        done.out.split()
    )
    assert "he: no findings in 2 seeds." in done.out
    data = json.loads(call("compare", *DEEP, "--recipes", "he", "--seeds", "2", "--json").out)
    assert data["ok"] is True
    assert [len(signals) for signals in data["recipes"].values()] == [2]


def test_a_recipe_of_one_s_own(call, folder):
    toml = call("recipes", "he", "--toml").out
    (folder / "mine.toml").write_text(toml)
    done = call("compare", "demo:mlp", "--recipes", "mine.toml,he", "--seeds", "1", "--json")
    data = json.loads(done.out)["recipes"]
    assert data["mine.toml"] == data["he"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("he", ["he"]),
        ("he, xavier", ["he", "xavier"]),
        ("he:mode=fan_out,xavier", ["he:mode=fan_out", "xavier"]),
        ("he:mode=fan_out,distribution=uniform", ["he:mode=fan_out,distribution=uniform"]),
        ("xavier,he:mode=fan_out,distribution=uniform,lecun",
         ["xavier", "he:mode=fan_out,distribution=uniform", "lecun"]),
        ("he:mode=fan_in,he:mode=fan_out", ["he:mode=fan_in", "he:mode=fan_out"]),
    ],
)  # fmt: skip
def test_lists_of_recipes(text, names):
    assert list(parse_recipes(text)) == names


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("he,he", CommandError, "'he' is listed twice"),
        ("he,", CommandError, "a name is missing"),
        ("", CommandError, "a name is missing"),
        ("nope", gi.errors.UnknownRecipeError, "no recipe is called 'nope'"),
        ("he:mode", gi.errors.RecipeError, "'mode' isn't an option"),
    ],
)
def test_lists_that_are_none(text, error, message):
    with pytest.raises(error, match=message):
        parse_recipes(text)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["check", "demo:mlp", "-r", "he", "-w", "w"], "--recipe and --weights exclude each other"),
        (["check", "demo:mlp", "-r", "nope"], "nope"),
        (["check", "demo:mlp", "-w", "none.safetensors"], "none.safetensors"),
        (["check", "demo:mlp", "--html", "nowhere/p.html"], "--html nowhere/p.html can't be"),
        (["check", "demo:mlp", "--html", "."], "is a folder"),
        (["check", "toy:ready"], "must be run to be measured: pass --input"),
        (["check", "toy:ready", "--input", "4x7"], "run on the --input given: the model raised"),
        (["check", "toy:broken_example"], "inputs made up for it; pass --input"),
        (["check", "sick:Words", "--input", "4x8"], "no floating tensor"),
        (["check", "sick:Words", "--input", "4x8"], "measure takes loss="),
        (["check", "sick:ends", "--input", "4x8"], "ended the program (SystemExit: 0)"),
        (["plan", "sick:ends", "-r", "he", "--input", "4x8"], "ended the program (SystemExit: 0)"),
        (["check", "sick:back", "--input", "4x8"], "the backward pass raised: ValueError"),
        (["compare", "demo:mlp"], "recipes"),
        (["compare", "demo:mlp", "--recipes", "he,he"], "twice"),
        (["compare", "demo:mlp", "--recipes", "he", "--seeds", "0"], "seeds"),
        (["compare", "toy:broken_example", "--recipes", "he"], "pass --input"),
        (["compare", "toy:ready", "--recipes", "he"], "must be run to be measured"),
        (["compare", "demo:mlp", "--recipes", "he", "--html", "/proc/p.html"], "can't be written"),
    ],
)  # fmt: skip
def test_wrong_calls_exit_with_two(call, argv, message):
    done = call(*argv)
    assert done.code == 2
    assert message in done.err
    assert done.out == ""
    assert "a bug in goodinit" not in done.err


def test_the_model_s_own_error_is_shown_as_its_own(call):
    done = call("check", "toy:broken", "--input", "2x3")
    assert done.code == 2
    assert "the model's own error" in done.err
    assert "toy.py" in done.err
    assert "goodinit/signal" not in done.err


def test_without_plotly_it_is_said_before_the_model_runs(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.io", None)
    done = call("check", "toy:raises", "--html", "p.html")
    assert done.code == 2
    assert 'plotly isn\'t installed: pip install "goodinit[report]"' in done.err


@pytest.mark.parametrize(
    ("target", "rows"),
    [("hf:bert", 59), ("torchvision:resnet18", 69), ("timm:vit_tiny_patch16_224", 226)],
)
def test_models_of_libraries(call, target, rows):
    pytest.importorskip(
        {"hf": "transformers"}.get(target.partition(":")[0], target.partition(":")[0])
    )
    small = ["--arg", "num_hidden_layers=2"] if target.startswith("hf") else []
    done = call("check", target, *small, "--recipe", "standard", "--json")
    data = json.loads(done.out)
    assert done.code == 0
    assert data["ok"] is True
    assert len(data["rows"]) == rows
