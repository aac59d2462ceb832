"""Which model a word names, with which inputs; and the error if there is none."""

import json
import sys

import pytest
import torch
from torch import nn

from goodinit.cli import model_libraries
from goodinit.cli.building import build_model
from goodinit.cli.inputs import parse_inputs
from goodinit.cli.output import CommandError
from goodinit.cli.targets import find_target, parse_argument
from goodinit.demos import models
from goodinit.trace import tensors_in

SMALL_BERT = {
    "model_type": "bert", "vocab_size": 96, "hidden_size": 32, "num_attention_heads": 4,
    "num_hidden_layers": 2, "intermediate_size": 64,
}  # fmt: skip


def planned(call, *argv):
    done = call("plan", *argv, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.mark.parametrize("name", models.__all__)
def test_demos_are_read_by_running_them(call, name):
    data = planned(call, f"demo:{name}")
    assert data["how"] == "meta"
    assert not any(row["guessed"] for row in data["rows"])


def test_arguments_reach_the_factory(call):
    data = planned(call, "toy:Net", "--arg", "width=6", "--arg", "act=tanh", "--input", "int:2x3")
    rows = {row["name"]: row for row in data["rows"]}
    assert rows["body.weight"]["shape"] == [6, 6]
    assert rows["body.weight"]["activation"] == "tanh"
    assert rows["table.weight"]["tied"] == ["head.weight"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=3", 3), ("a=-1.5", -1.5), ("a=[1, 2]", [1, 2]), ("a=None", None), ("a=gelu", "gelu"),
        ("a=true", True), ("a=True", True), ("a=false", False), ("a='3'", "3"), ("a=", ""),
        ("a=b=c", "b=c"), ("a=__import__('os')", "__import__('os')"), ("a=(" * 1, "("),
    ],
)  # fmt: skip
def test_values_are_literals_or_texts(text, value):
    assert parse_argument(text) == ("a", value)


@pytest.mark.parametrize("target", ["toy:ready", "toy:nn.Linear"])
def test_modules_and_dotted_paths(folder, target):
    args = ["in_features=3", "out_features=2"] if target.endswith("Linear") else []
    assert isinstance(find_target(target, args).make(), nn.Linear)


def test_an_example_that_the_model_carries_is_used(call):
    assert planned(call, "toy:example")["how"] == "meta"
    assert planned(call, "toy:ready")["how"] == "module types"
    assert planned(call, "toy:ready", "--input", "2x3")["how"] == "meta"


def test_what_a_factory_prints_is_no_result(call):
    done = call("plan", "toy:loud", "--json")
    json.loads(done.out)
    assert "this goes to stderr" in done.err


def test_a_factory_that_needs_values_is_built_for_real(call):
    assert planned(call, "toy:needs_values")["rows"][0]["name"] == "weight"


# Each with the code 2, one line that begins with "error: " and holds these texts.
WRONG = [
    (["demo:mpl"], ["no demo", "Did you mean 'mlp'?"]),
    (["mlp"], ["names no model", "'demo:mlp'", "package.module:factory"]),
    (["demo:"], ["names no model", "demo:gpt"]),
    (["toy.py"], ["names no model", "'toy:factory'"]),
    (["toy.py:Net"], ["toy.py is a file", "'toy:factory'"]),
    (["a b:Net"], ["not the dotted name of a module"]),
    (["toi:Net"], ["no module 'toi'", "Did you mean 'toy'?", "current folder"]),
    (["torch.nm:Linear"], ["no module 'torch.nm'", "'torch.nn'"]),
    (["toy:Nett"], ["toy has no 'Nett'", "Did you mean 'Net'?"]),
    (["toy:number"], ["is a int"]),
    (["toy:nothing"], ["returned a NoneType"]),
    (["toy:Net", "--arg", "widht=3"], ["'widht'", "Did you mean 'width'?", "width, act"]),
    (["toy:Net", "--arg", "width"], ["'width'", "key=value"]),
    (["toy:ready", "--arg", "width=3"], ["takes no --arg"]),
    (["timm:resnet81"], ["timm has no model", "resnet"]),
    (["torchvision:resnet81"], ["torchvision has no model", "resnet"]),
    (["hf:lama"], ["no model type 'lama'", "'llama'"]),
    (["hf:bert", "--arg", "num_layer=2"], ["BertConfig has no field 'num_layer'", "layers"]),
    (["hf:bert", "--arg", "hidden_size='x'"], ["refuses this configuration", "hidden_size"]),
    (["nowhere/config.json"], ["can't be read: No such file"]),
    (["demo:mlp", "--input", "8x"], ["--input '8x'", "SHAPE"]),
    (["demo:mlp", "--input", "8x64:3"], ["only int takes a limit"]),
    (["demo:mlp", "--input", "99999x99999"], ["pass fewer samples"]),
    (["demo:mlp", "--input", "a=8x64", "--input", "8"], ["its own name"]),
    (["demo:mlp", "-r", "xaiver"], ["'xavier'"]),
    (["demo:mlp", "-r", "he:mod=fan_in"], ["Did you mean 'mode'?"]),
    (["demo:mlp", "-r", "he:fan_in"], ["'fan_in' isn't an option", "'he:mode=fan_out'"]),
    (["demo:mlp", "-r", "nowhere.toml"], ["nowhere.toml"]),
]


# The library that says what is wrong; without it, the message is that it is missing.
ASKED = {
    "timm": "timm",
    "torchvision": "torchvision",
    "hf": "transformers",
    "nowhere/config.json": "transformers",
}


@pytest.mark.parametrize(("argv", "message"), WRONG, ids=[" ".join(argv) for argv, _ in WRONG])
def test_a_wrong_call_is_one_clear_line(call, argv, message):
    if library := ASKED.get(argv[0].partition(":")[0]):
        pytest.importorskip(library)
    done = call("plan", *argv)
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    for text in message:
        assert text in done.err


def test_a_factory_that_raises_shows_its_own_traceback(call):
    done = call("plan", "toy:raises", "--arg", "width=3")
    assert done.code == 2
    lines = done.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.split(", in ")[1] for line in lines if line.startswith("  File")] == [
        "raises",
        "deeper",
    ]
    assert lines[-2] == "ValueError: no such width"
    assert lines[-1].startswith(
        "error: toy:raises --arg width=3 can't be built: it raised ValueError"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("def f(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; sys.exit(3)", "SystemExit"),
    ],
)
def test_a_module_that_fails_to_import_shows_its_own_traceback(call, folder, text, message):
    (folder / "failing.py").write_text(text)
    done = call("plan", "failing:Net")
    assert done.code == 2
    assert "goodinit" not in done.err
    assert "failing.py" in done.err
    assert done.err.splitlines()[-1].startswith(f"error: importing failing raised {message}")


def test_a_model_that_raises_on_the_users_inputs(call):
    done = call("plan", "toy:broken", "--input", "2x3")
    assert done.code == 2
    assert "in mend" in done.err
    assert "in forward" in done.err
    assert "goodinit" not in done.err
    assert done.err.splitlines()[-1] == (
        "error: toy:broken raised on the --input given: RuntimeError: the model's own error"
    )


def test_a_model_that_raises_on_other_inputs_is_read_by_types(call):
    done = call("plan", "toy:broken_example", "--json")
    assert done.code == 0
    assert json.loads(done.out)["how"] == "module types"
    assert done.err.startswith(
        "note: toy:broken_example raised RuntimeError: the model's own error"
    )
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("specs", "shapes", "dtype"),
    [
        (["8x3x4"], [(8, 3, 4)], torch.float32),
        (["float:2x3", "4"], [(2, 3), (4,)], torch.float32),
        (["int:2x16:50000"], [(2, 16)], torch.int64),
        (["bool:2"], [(2,)], torch.bool),
    ],
)
def test_input_grammar(specs, shapes, dtype):
    given = parse_inputs(specs)
    assert [tuple(x.shape) for x in given] == shapes
    assert {x.dtype for x in given} == {dtype}
    assert all(torch.equal(a, b) for a, b in zip(given, parse_inputs(specs), strict=True))


def test_input_limits_and_names():
    given = parse_inputs(["ids=int:100x100:7", "mask=bool:2"])
    assert set(given["ids"].unique().tolist()) == set(range(7))
    assert given["mask"].all()


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "x",
        "3x",
        "x3",
        "int:",
        "a=",
        "3 x 4",
        "-3",
        "3x-1",
        "٣",
        "8x64:0",
        "int:3:0",
        "1e3",
    ],
)
def test_input_nonsense(text):
    with pytest.raises(CommandError, match="--input"):
        parse_inputs([text])


class TestLibraries:
    """Models of transformers, timm and torchvision, small ones."""

    def test_transformers_by_type(self, call):
        pytest.importorskip("transformers")
        data = planned(call, "hf:gpt2", "--arg", "n_layer=2", "--arg", "n_embd=24")
        assert data["how"] == "meta"
        assert len(data["rows"]) == 28
        assert data["rows"][0]["tied"] == ["lm_head.weight"]  # it has its head

    def test_transformers_by_configuration(self, call, folder):
        pytest.importorskip("transformers")
        (folder / "config.json").write_text(json.dumps(SMALL_BERT))
        masked = planned(call, "config.json", "--arg", "num_hidden_layers=1")
        assert masked["how"] == "meta"
        assert "cls.predictions.transform.dense.weight" in [row["name"] for row in masked["rows"]]
        bare = planned(call, ".", "--arg", "architectures=['BertModel']")
        assert "embeddings.word_embeddings.weight" in [row["name"] for row in bare["rows"]]

    def test_nested_fields(self, folder):
        pytest.importorskip("transformers")
        args = ["text_config.num_hidden_layers=1", "vision_config.num_hidden_layers=1"]
        model = build_model(find_target("hf:clip", args), 0, skeleton=True)
        assert type(model).__name__ == "CLIPModel"  # both towers
        layers = {
            name.split("layers.")[1][0] for name, _ in model.named_parameters() if "layers." in name
        }
        assert layers == {"0"}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "is not valid JSON"),
            ("[" * 100_000, "is not valid JSON"),
            ("[]", "no model_type"),
            ('{"model_type": 3}', "no model_type"),
            ('{"model_type": "nope"}', "no model type 'nope'"),
            ('{"model_type": "bert", "hidden_size": "x"}', "refuses this configuration"),
            ('{"model_type": "bert", "architectures": ["pipeline"]}', "no model 'pipeline'"),
            ('{"model_type": "bert", "architectures": ["Nope"]}', "no model 'Nope'"),
        ],
    )
    def test_bad_configurations(self, call, folder, content, message):
        pytest.importorskip("transformers")
        (folder / "config.json").write_text(content)
        done = call("plan", "config.json")
        assert done.code == 2
        assert message in done.err
        assert done.err.count("\n") == 1

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("hf:t5", "T5ForConditionalGeneration"),
            ("hf:vit", "ViTForImageClassification"),
            ("hf:llama", "LlamaForCausalLM"),
        ],
    )
    def test_a_head_is_chosen(self, folder, name, kind):
        pytest.importorskip("transformers")
        layers = "num_layers" if name == "hf:t5" else "num_hidden_layers"
        found = find_target(name, [f"{layers}=1"])
        model = build_model(found, 0, skeleton=True)
        assert type(model).__name__ == kind
        assert not model.training
        assert all(p.is_meta for p in model.parameters())
        assert tensors_in(found.example(model))

    def test_a_name_without_its_library(self):
        pytest.importorskip("timm")
        with pytest.raises(CommandError, match="Did you mean 'timm:resnet50'"):
            find_target("resnet50")

    def test_a_name_of_the_hub(self):
        pytest.importorskip("transformers")
        with pytest.raises(CommandError, match=r"hf download org/name config\.json"):
            find_target("hf:org/name")

    def test_timm(self, call):
        pytest.importorskip("timm")
        data = planned(call, "timm:vit_tiny_patch16_224", "--arg", "num_classes=7")
        assert data["how"] == "meta"
        assert data["rows"][-1]["shape"] == [7]

    def test_torchvision(self, call):
        pytest.importorskip("torchvision")
        data = planned(call, "torchvision:resnet18", "--arg", "num_classes=7")
        assert data["how"] == "meta"
        assert data["rows"][-1]["shape"] == [7]

    @pytest.mark.parametrize(
        ("name", "shape"),
        [("inception_v3", (2, 3, 299, 299)), ("r3d_18", (1, 3, 16, 112, 112))],
    )
    def test_inputs_of_torchvision(self, folder, name, shape):
        pytest.importorskip("torchvision")
        found = find_target(f"torchvision:{name}")
        assert found.example(build_model(found, 0, skeleton=True)).shape == shape

    def test_what_isnt_installed(self, call, monkeypatch):
        monkeypatch.setitem(sys.modules, "timm", None)
        done = call("plan", "timm:resnet18")
        assert done.code == 2
        assert done.err == "error: timm:resnet18 needs timm: pip install timm\n"

    def test_operators_of_torchvision_are_declared_once_and_only_where_missing(self, monkeypatch):
        monkeypatch.setattr(model_libraries, "_DECLARED", [])
        calls = []

        def other():
            calls.append("other")
            raise RuntimeError("something else")

        with pytest.raises(RuntimeError, match="something else"):
            model_libraries.with_torchvision_operators(other)
        assert calls == ["other"]

        def wants():
            calls.append("wants")
            raise ImportError from RuntimeError("operator torchvision::nms does not exist")

        defined = []
        fake = type(
            "Library", (), {"__init__": lambda *_: None, "define": lambda _, t: defined.append(t)}
        )
        monkeypatch.setattr(torch.library, "Library", fake)
        with pytest.raises(ImportError):  # still: this one is never content
            model_libraries.with_torchvision_operators(wants)
        assert calls == ["other", "wants", "wants"]
        assert len(defined) == 2
        with pytest.raises(ImportError):
            model_libraries.with_torchvision_operators(wants)
        assert calls == ["other", "wants", "wants", "wants"]


def test_a_library_by_another_name() -> None:
    with pytest.raises(CommandError, match=r"no module 'demos';.* Did you mean 'demo:mlp'\?"):
        find_target("demos:mlp", [])
