"""`gi.explain`: recipes told from values, what it prints, what it leaves alone, odd models."""

from __future__ import annotations

import json
import random
from types import FunctionType

import pytest
import torch
from tests.models import zoo
from torch import nn

import goodinit as gi
from goodinit.errors import LazyParameterError, MetaModelError, ModelError, TraceError
from goodinit.explanation.candidates import _recipes

PLAIN = "mlp convnet gpt lstm dcgan_generator".split()


def test_it_is_a_function() -> None:
    import goodinit.explanation  # noqa: F401

    assert isinstance(gi.explain, FunctionType)


@pytest.mark.parametrize("name", ["convnet", "gpt"])  # all models: test_rates
def test_each_recipe_is_told_from_the_values(name: str) -> None:
    """Or one that explains all of them as well: what is named holds for every row."""
    model, inputs = zoo.build(name)
    for made, call in _recipes():
        plan = gi.init_(model, made, inputs=inputs, seed=11)
        if any(row.kept for row in plan if not row.buffer):
            continue  # then something else is there
        told = gi.explain(model, inputs)
        assert told.recipe is not None, call
        assert all(row.ok is not False for row in told.rows), call
        assert call in (told.call, *told.also) or "nonlinearity" in f"{call}{told.call}", told.call
        assert "error" not in {finding.severity for finding in told.findings}


def test_the_rows_it_does_not_explain_are_named() -> None:
    net = nn.Sequential(*[nn.Linear(64, 64) for _ in range(4)])
    gi.init_(net, "he", seed=0)
    nn.init.normal_(net[2].weight, 0.0, 0.02)
    told = gi.explain(net)
    assert (told.recipe, told.matrices, told.parameters) == ("he", (3, 4), (7, 8))
    assert [row.name for row in told.rows if row.ok is False] == ["2.weight"]
    assert "2.weight: N(0, 0.02^2) instead of kaiming_normal_" in str(told)
    assert told["2.weight"].expected_std == pytest.approx((2 / 64) ** 0.5)


def test_a_row_has_its_numbers() -> None:
    net = nn.Linear(400, 300)
    gi.init_(net, "lecun", seed=0)
    row = gi.explain(net)["weight"]
    assert (row.shape, row.dtype, row.kind, row.fan_in) == ((300, 400), "float32", "linear", 400)
    # standard errors: of the mean std/sqrt(n), of the std std/sqrt(2n); five of each
    assert abs(row.mean) < 5 * 0.05 / 120_000**0.5
    assert row.std == pytest.approx(0.05, rel=5 / 240_000**0.5)
    assert row.gain == pytest.approx(row.std * 20)
    assert (row.ok, row.certain, row.known, row.findings) == (True, True, True, ())


def test_habits_that_are_no_recipe_of_ours() -> None:
    """torchvision's ResNet: kaiming_normal_(fan_out) by torch's fans, which count no stride."""
    model, _ = zoo.build("resnet_basic")
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    told = gi.explain(model)
    assert told.recipe is None
    assert told.habit == "kaiming_normal_(mode=fan_out) for convolutions, by torch's fans"
    assert told.matrices == (10, 10)
    assert told["fc.weight"].looks.endswith("torch's default")
    # N(0, s^2) for all, as in transformers; no recipe has .03.
    model, _ = zoo.build("gpt")
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, 0.0, 0.03)
    assert gi.explain(model).habit == "N(0, 0.03^2) for every weight and table"


def test_nothing_is_written_and_no_number_drawn() -> None:
    model, inputs = zoo.build("seq2seq")
    model.train()
    model.extra = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    versions = [t._version for t in model.state_dict(keep_vars=True).values()]
    state, python = torch.get_rng_state(), random.getstate()
    for given in (None, inputs):
        gi.explain(model, given)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    assert [t._version for t in model.state_dict(keep_vars=True).values()] == versions
    assert all(p.grad is None for p in model.parameters())
    assert model.training


def test_the_same_again() -> None:
    model, inputs = zoo.build("convnet")
    assert gi.explain(model, inputs) == gi.explain(model, inputs)


@pytest.mark.parametrize("name", [*PLAIN, "seq2seq", "moe"])
def test_text_fits_eighty_columns(name: str) -> None:
    model, inputs = zoo.build(name)
    with torch.no_grad():
        next(iter(model.parameters())).fill_(0.1)
    text = str(gi.explain(model, inputs))
    assert max(map(len, text.splitlines())) <= 80, text
    assert "looks like" in text


def test_a_remedy_that_is_wrapped_can_still_be_pasted() -> None:
    net = nn.Sequential(*[nn.Linear(16, 16) for _ in range(3)], nn.LayerNorm(16))
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    text = str(gi.explain(net))
    line = text.partition("\nremedy\n")[2]
    assert line.count("\n")
    exec(line, {"gi": gi, "model": net})
    assert gi.explain(net).ok


def test_names_longer_than_a_line_get_their_own() -> None:
    net: nn.Module = nn.Linear(8, 8)
    for _ in range(5):
        outer = nn.Module()
        outer.add_module("a_rather_long_name_of_a_part", net)
        net = outer
    text = str(gi.explain(net))
    assert "a_rather_long_name_of_a_part.a_rather_long_name_of_a_part" in text


def test_plain_data_and_html() -> None:
    model, inputs = zoo.build("lstm")
    with torch.no_grad():
        model.classify.bias[0] = torch.nan
    told = gi.explain(model, inputs)
    data = told.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["rows"][0]["name"] == "embed.weight"
    assert data["findings"][0]["code"] == "GI120"
    page = told._repr_html_()
    assert page.startswith("<table>")
    assert "GI120" in page
    assert "<Explanation" in repr(told)


def test_html_is_escaped() -> None:
    holder = nn.Module()
    holder.add_module("<b>", nn.Linear(3, 3))
    page = gi.explain(holder)._repr_html_()
    assert "<b>.weight" not in page
    assert "&lt;b&gt;.weight" in page


# Odd models.


def test_meta_has_no_values() -> None:
    with torch.device("meta"):
        net = nn.Linear(3, 4)
    with pytest.raises(MetaModelError, match=r"weight is on meta and has no values.*gi\.plan"):
        gi.explain(net)


def test_misuse() -> None:
    with pytest.raises(ModelError, match=r"explain takes a torch\.nn\.Module"):
        gi.explain(nn.Linear)  # pyright: ignore[reportArgumentType]
    with pytest.raises(LazyParameterError):
        gi.explain(nn.LazyLinear(3))
    with pytest.raises(TraceError):
        gi.explain(nn.Linear(3, 4), torch.randn(2, 5))
    with pytest.raises(KeyError):
        gi.explain(nn.Linear(3, 4))["wieght"]


@pytest.mark.parametrize("net", [nn.Module(), nn.Sequential(), nn.ReLU()])
def test_nothing_to_explain(net: nn.Module) -> None:
    told = gi.explain(net)
    assert (told.recipe, told.rows, told.ok, told.remedy) == (None, (), True, "")
    assert "no parameters" in str(told)


def test_norms_alone() -> None:
    told = gi.explain(nn.LayerNorm(5))
    assert told.ok
    assert told.parameters == (2, 2)
    assert "weights" not in str(told)


@pytest.mark.filterwarnings("ignore:.*prototype.*:UserWarning", "ignore:.*sparse.*:UserWarning")
@pytest.mark.parametrize(
    ("weight", "says"),
    [
        (torch.randint(0, 5, (10, 10), dtype=torch.int8), "int8: not judged"),
        (torch.randn(10, 10) > 0, "bool: not judged"),
        (torch.eye(10).to_sparse(), "sparse (sparse_coo): not judged"),
        (torch.randn(10, 10, dtype=torch.complex64), "complex64: not judged"),
        (torch.empty(0, 10), "holds no values"),
        (torch.randn(1).expand(10, 10), ""),
        (torch.randn(400).view(20, 20)[:10, ::2], ""),
    ],
    ids="int8 bool sparse complex empty expanded strided".split(),
)
def test_what_has_no_law_is_named(weight: torch.Tensor, says: str) -> None:
    net = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10))
    net[0]._parameters["weight"] = nn.Parameter(weight, requires_grad=False)
    told = gi.explain(net)
    assert says in told["0.weight"].looks
    assert told["1.weight"].known
    assert json.dumps(told.to_dict(), allow_nan=False)
    assert str(told)


@pytest.mark.filterwarnings("ignore:.*quantized tensor.*:UserWarning")
def test_quantised_parameters() -> None:
    net = nn.Linear(10, 10)
    packed = torch.quantize_per_tensor(torch.randn(10, 10), 0.1, 0, torch.qint8)
    net._parameters["weight"] = nn.Parameter(packed, requires_grad=False)
    assert gi.explain(net)["weight"].looks == "qint8: not judged"


def test_dynamically_quantised_modules() -> None:
    class Quantised(nn.Module):
        """Packed parameters are no parameters."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("packed", torch.zeros(10, 10, dtype=torch.int8))
            self.register_buffer("scale", torch.ones(10, 1))
            self.head = nn.Linear(10, 3)

    assert [row.name for row in gi.explain(Quantised()).rows] == ["head.weight", "head.bias"]


def test_masks_of_minus_infinity_are_no_fault() -> None:
    net = nn.Linear(5, 5)
    net.register_buffer("mask", torch.full((5, 5), -torch.inf).triu(1))
    assert gi.explain(net).ok


def test_tied_weights_have_one_row() -> None:
    model, _ = zoo.build("gpt")
    told = gi.explain(model)
    assert [row.name for row in told.rows if row.tied] == ["wte.weight"]
    assert told["lm_head.weight"] is told["wte.weight"]


def test_in_inference_mode_and_frozen() -> None:
    with torch.inference_mode():
        net = nn.Linear(50, 50)
        assert gi.explain(net)["weight"].known
    assert gi.explain(net)["weight"].known
    assert gi.explain(nn.Linear(50, 50).requires_grad_(False)).recipe == "torch_default"
