"""`gi.explain`: recipes found from values, its text, what it leaves unchanged, unusual models."""

from __future__ import annotations

import json
import random
from functools import cache
from types import FunctionType

import pytest
import torch
from tests.models import zoo
from torch import nn

import goodinit as gi
from goodinit.errors import (
    LazyParameterError,
    MetaModelError,
    ModelError,
    TraceError,
    UnknownRowError,
)
from goodinit.explanation.tried import library_recipes

PLAIN = "mlp convnet gpt lstm dcgan_generator".split()


def seeded_normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@cache
def with_a_constant_weight(name: str) -> gi.Explanation:
    model, inputs = zoo.build(name)
    with torch.no_grad():
        next(iter(model.parameters())).fill_(0.1)
    return gi.explain(model, inputs)


def test_it_is_a_function() -> None:
    import goodinit.explanation  # noqa: F401

    assert isinstance(gi.explain, FunctionType)


@pytest.mark.parametrize(  # all models: test_rates
    "name", ["convnet", pytest.param("gpt", marks=pytest.mark.battery)]
)
def test_each_recipe_is_found_from_its_values(name: str) -> None:
    """It, or one that would draw the same here; what is named holds for every row."""
    model, inputs = zoo.build(name)
    for one in library_recipes():
        if not one.general:
            continue  # families: tests/recipes/test_families.py
        plan = gi.init_(model, one.recipe, inputs=inputs, seed=11)
        if any(row.kept for row in plan if not row.buffer):
            continue  # what is kept follows another law
        found = gi.explain(model, inputs)
        assert found.recipe is not None, one.call
        assert all(row.ok is not False for row in found.rows), one.call
        assert one.call in (found.call, *found.also)
        assert "error" not in {finding.severity for finding in found.findings}


def test_the_rows_it_does_not_explain_are_named() -> None:
    net = nn.Sequential(*[nn.Linear(64, 64) for _ in range(4)])
    gi.init_(net, "he", seed=0)
    nn.init.normal_(net[2].weight, 0.0, 0.02)
    found = gi.explain(net)
    assert (found.recipe, found.matrices, found.parameters) == (
        "he",
        (3, 4),
        (7, 8),
    )
    assert [row.name for row in found.rows if row.ok is False] == ["2.weight"]
    assert "2.weight: N(0, 0.02^2) instead of kaiming_normal_" in str(found)
    assert found["2.weight"].expected_std == pytest.approx((2 / 64) ** 0.5)


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


def test_common_practice_that_is_no_recipe_of_the_library() -> None:
    """kaiming_normal_(fan_out) by torch's fans, the classifier too, which torchvision leaves."""
    model, _ = zoo.build("resnet_basic")
    for m in model.modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    found = gi.explain(model)
    assert found.recipe is None
    text = "kaiming_normal_(mode=fan_out) for convolutions and linear layers, by torch's fans"
    assert found.habit == text
    assert found.matrices == (11, 11)
    # N(0, s^2) for all, and what recipes don't draw: torch's biases.
    model, _ = zoo.build("gpt")
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.03 if parameter.dim() > 1 else 0.5)
    assert gi.identify(model).habit == "N(0, 0.03^2) for every weight and table"


def test_nothing_is_written_and_no_number_drawn() -> None:
    model, inputs = zoo.build("convnet")
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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.battery] * (name in ("lstm", "seq2seq")))
        for name in (*PLAIN, "seq2seq", "moe")
    ],
)
def test_text_fits_the_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = with_a_constant_weight(name)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for width in (60, 80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        text = str(found)
        assert "looks like" in text
        # A remedy is code: a name or glob inside it isn't broken.
        prose = text.partition("\nremedy\n")[0]
        long = [line for line in prose.splitlines() if len(line) > width]
        assert not long, long


def test_in_a_pipe_each_line_of_the_table_stays_one() -> None:
    found = with_a_constant_weight("gpt")
    head, _, *lines = str(found).split("\n\n")[1].splitlines()
    last = head.index("looks like")
    assert all(line[last - 2 : last] == "  " and line[last:].strip() for line in lines)


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
    found = gi.explain(model, inputs)
    data = found.to_dict()
    assert data.keys() == {
        *("recipe", "habit", "call", "also", "ok", "weights", "parameters", "how", "remedy"),
        *("findings", "rows"),
    }
    assert data["weights"] == {"explained": 10, "covered": 10}
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["rows"][0]["name"] == "embed.weight"
    assert data["findings"][0]["code"] == "GI120"
    page = found._repr_html_()
    assert page.startswith('<p style="color:#c1272d"><b>looks like')
    assert "GI120" in page
    assert repr(found) == "<Explanation 'torch_default': 19 rows, 2 findings>"


def test_html_is_escaped() -> None:
    holder = nn.Module()
    holder.add_module("<b>", nn.Linear(3, 3))
    page = gi.explain(holder)._repr_html_().replace("<wbr>", "")  # where a line may break
    assert "<b>.weight" not in page
    assert "&lt;b&gt;.weight" in page


# Unusual models.


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
    with pytest.raises(UnknownRowError, match=r"no row 'wieght'.*'weight'") as error:
        gi.explain(nn.Linear(3, 4))["wieght"]
    assert isinstance(error.value, KeyError)


@pytest.mark.parametrize("net", [nn.Module(), nn.Sequential(), nn.ReLU()])
def test_nothing_to_explain(net: nn.Module) -> None:
    found = gi.explain(net)
    assert (found.recipe, found.rows, found.ok, found.remedy) == (
        None,
        (),
        True,
        "",
    )
    assert "no parameters" in str(found)


def test_norms_alone() -> None:
    found = gi.explain(nn.LayerNorm(5))
    assert found.ok
    assert found.parameters == (2, 2)
    assert "weights" not in str(found)


@pytest.mark.filterwarnings("ignore:.*prototype.*:UserWarning", "ignore:.*sparse.*:UserWarning")
@pytest.mark.parametrize(
    ("weight", "says"),
    [
        (torch.randint(0, 5, (10, 10), dtype=torch.int8), "int8: not judged"),
        (torch.randn(10, 10) > 0, "bool: not judged"),
        (torch.eye(10).to_sparse(), "sparse (sparse_coo): not judged"),
        (torch.randn(10, 10, dtype=torch.complex64), "complex64: not judged"),
        (torch.empty(0, 10), "holds no values"),
        (torch.full((1,), 0.5).expand(10, 10), "0.5"),
        (seeded_normal(20, 20)[:10, ::2], "N(0, 0.9^2)"),
    ],
    ids="int8 bool sparse complex empty expanded strided".split(),
)
def test_what_can_not_be_judged_is_named(weight: torch.Tensor, says: str) -> None:
    net = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10))
    net[0]._parameters["weight"] = nn.Parameter(weight, requires_grad=False)
    found = gi.explain(net)
    assert found["0.weight"].looks == says
    assert found["1.weight"].known
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert str(found)


@pytest.mark.filterwarnings("ignore:.*quantized tensor.*:UserWarning")
def test_quantised_parameters() -> None:
    net = nn.Linear(10, 10)
    packed = torch.quantize_per_tensor(torch.randn(10, 10), 0.1, 0, torch.qint8)
    net._parameters["weight"] = nn.Parameter(packed, requires_grad=False)
    assert gi.explain(net)["weight"].looks == "qint8: not judged"


def test_dynamically_quantised_modules() -> None:
    class Quantised(nn.Module):
        """Packed values are buffers, not parameters."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("packed", torch.zeros(10, 10, dtype=torch.int8))
            self.register_buffer("scale", torch.ones(10, 1))
            self.head = nn.Linear(10, 3)

    assert [row.name for row in gi.explain(Quantised()).rows] == ["head.weight", "head.bias"]


def test_masks_of_minus_infinity_are_fine() -> None:
    net = nn.Linear(5, 5)
    net.register_buffer("mask", torch.full((5, 5), -torch.inf).triu(1))
    assert gi.explain(net).ok


def test_tied_weights_have_one_row() -> None:
    model, _ = zoo.build("gpt")
    found = gi.explain(model)
    assert [row.name for row in found.rows if row.tied] == ["wte.weight"]
    assert "lm_head.weight" in found
    assert "lm_head.bias" not in found
    assert found["lm_head.weight"] is found["wte.weight"]


def test_in_inference_mode_and_frozen() -> None:
    with torch.inference_mode():
        net = nn.Linear(50, 50)
        assert gi.explain(net)["weight"].known
    assert gi.explain(net)["weight"].known
    assert gi.explain(nn.Linear(50, 50).requires_grad_(False)).recipe == "torch_default"
