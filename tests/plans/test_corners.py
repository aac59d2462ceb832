"""Corners that a stranger found: each was wrong once."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

import goodinit as gi
from goodinit.errors import (
    EmptyParameterError,
    MetaModelError,
    ModelError,
    PlanFileError,
    RecipeError,
)


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.parametrize("norm", [parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_spectral_norm_knows_the_new_weight(norm):
    """Its estimate is of the weight that was written, as good as the one torch starts with."""
    torch.manual_seed(0)
    layer = norm(nn.Linear(96, 50)).eval()
    gi.init_(layer, "lecun", seed=0)
    layer(torch.randn(1, 96))
    largest = torch.linalg.matrix_norm(layer.weight, 2).item()
    assert 1 - 1e-4 < largest < 1.2  # the estimate comes from below


def test_pruned_entries_stay_zero():
    layer = nn.Linear(8, 8)
    prune.l1_unstructured(layer, "weight", amount=0.5)
    row = gi.init_(layer, "he", seed=0)["weight"]
    assert row.stored == ("weight_orig",)
    assert (layer.weight == 0).float().mean() == 0.5
    assert torch.equal(layer.weight, layer.weight_orig * layer.weight_mask)


def test_a_shard_elsewhere_is_refused_and_a_layer_of_nothing_is_not():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    before = net[0].weight.clone()
    net[1].weight.data = torch.empty(0)
    with pytest.raises(EmptyParameterError, match=r"1\.weight .*parts="):
        gi.init_(net, "he")
    assert torch.equal(net[0].weight, before)

    class NoTokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Parameter(torch.empty(1, 0, 8))
            self.linear = nn.Linear(8, 8)

    assert gi.init_(NoTokens(), "he")["tokens"].kept
    no_outputs = nn.Linear(4, 1)
    no_outputs.weight = nn.Parameter(torch.empty(0, 4))
    no_outputs.bias = nn.Parameter(torch.empty(0))
    assert gi.init_(no_outputs, "he")["bias"].kept


def test_a_state_dict_of_another_shape_was_not_loaded():
    net = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(RecipeError, match=r"0\.weight has shape \(3, 3\)"):
        gi.plan(net, "he", keep={"0.weight": torch.ones(9, 9)})


@pytest.mark.parametrize("prefix", ["head.", ".head", 3])
def test_a_prefix_is_a_dotted_name(prefix):
    with pytest.raises(RecipeError, match="prefix"):
        gi.plan(nn.Linear(2, 2), "he", prefix=prefix)


@pytest.mark.parametrize("keep", [3, None])
def test_keep_is_names(keep):
    with pytest.raises(RecipeError, match="keep"):
        gi.plan(nn.Linear(2, 2), "he", keep=keep)


def test_a_predicate_sees_facets_and_its_errors_are_told():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    first = gi.Rule(gi.sel.when(lambda row: row.layer == 0 and row.kind == "linear"), gi.Ones())
    planned = gi.plan(net, gi.recipe("he").override(first), inputs=torch.randn(2, 4))
    assert planned["0.weight"].scheme == gi.Ones()
    assert planned["2.weight"].scheme != gi.Ones()
    with pytest.raises(RecipeError, match=r"AttributeError on 0\.weight"):
        gi.plan(net, gi.Recipe([gi.Rule(gi.sel.when(lambda row: row.nonsense), gi.Ones())]))


def test_bilinear_with_inputs():
    inputs = torch.randn(64, 30), torch.randn(64, 20)
    row = gi.plan(nn.Bilinear(30, 20, 40), "lecun", inputs=inputs)["weight"]
    assert (row.fan_in, row.fan_out, row.blocks) == (600, 1000, ())


def test_inference_tensors_are_refused_before_a_write():
    with torch.inference_mode():
        net = nn.Linear(3, 3)
    with pytest.raises(ModelError, match="inference_mode"):
        gi.init_(net, "he")


def test_a_device_that_is_not_here(tmp_path):
    if not torch.cuda.is_available():
        with torch.device("meta"):
            net = nn.Linear(3, 3)
        with pytest.raises(MetaModelError, match="cuda"):
            gi.init_(net, "he", materialize="cuda")
    with pytest.raises(PlanFileError, match=r"missing\.json"):
        gi.Plan.load(tmp_path / "missing.json")


def test_what_is_left_for_want_of_knowledge_is_a_finding():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.mystery = nn.Parameter(torch.tensor([1 / 3, -1 / 7, 2 / 3]))

    assert [f.code for f in gi.plan(Scaled(), "standard").findings] == ["GI117"]
    assert not gi.plan(nn.Linear(2, 2), {"bias": gi.Ones()}).findings


def test_a_llama_of_eighty_billion_is_planned_without_memory():
    """On meta: what is allocated while planning stays far below one of its weights."""
    transformers = pytest.importorskip("transformers")
    import resource

    config = transformers.LlamaConfig(
        hidden_size=32768, intermediate_size=114688, num_hidden_layers=5,
        num_attention_heads=256, num_key_value_heads=32, vocab_size=128256,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config).eval()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = gi.plan(model, "gpt2", inputs={"input_ids": torch.randint(0, 9, (1, 8))})
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024  # MiB
    assert sum(row.size for row in plan if not row.buffer) > 75e9
    assert {row.depth for row in plan} == {5}
    assert grown < 256, f"{grown:.0f} MiB; its smallest matrix has {32768 * 4096 * 4 / 2**20:.0f}"


@pytest.mark.parametrize(
    ("scheme", "dtype", "message"),
    [
        (gi.Normal(1e5), torch.float16, "float16 ends at 65504"),
        (gi.Uniform(-1e5, 1e5), torch.float16, "up to 1e"),
        (gi.TruncatedNormal(1e5), torch.float16, "ends at"),
        (gi.TruncatedNormal(2e4, cut=(-2.0, 9.0)), torch.float16, "up to 1.25e"),
        (gi.TruncatedNormal(2e4, cut=(-2.0, 2.0)), torch.float16, ""),
        (gi.Orthogonal(1e6), torch.float16, "ends at"),
        (gi.Constant(500.0), torch.float8_e4m3fn, "ends at 448"),
        (gi.Normal(1e-9), torch.float16, "all 0 in torch.float16: pass a larger"),
        (gi.Normal(1e5), torch.bfloat16, ""),
        (gi.Uniform(-6e4, 6e4), torch.float16, ""),
        (gi.Uniform(446.0, 448.0), torch.float8_e4m3fn, ""),  # ends at 448
        (gi.Normal(1e-7), torch.float16, ""),
        (gi.Uniform(-4e-8, 4e-8), torch.float16, ""),  # half of its least number is 3e-8
        (gi.Uniform(-2.9e-8, 2.9e-8), torch.float16, "all 0 in torch.float16: pass a larger"),
        (gi.Zeros(), torch.float16, ""),
    ],
)
def test_what_a_small_dtype_cant_hold_is_refused(
    scheme: gi.Scheme, dtype: torch.dtype, message: str
) -> None:
    net = nn.Linear(50, 50, bias=False).to(dtype)
    before = net.weight.float()
    if message:
        with pytest.raises(gi.GoodinitError, match=f"^weight: .*{message}"):
            gi.init_(net, {"weight": scheme}, seed=0)
        assert torch.equal(net.weight.float(), before)
    else:
        gi.init_(net, {"weight": scheme}, seed=0)
        drawn = net.weight.float()
        assert drawn.isfinite().all()
        assert bool(drawn.any()) == (scheme != gi.Zeros())
