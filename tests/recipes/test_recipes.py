"""Recipes by name, against the laws of their papers and codes."""

import math

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.errors import RecipeError, UnknownRecipeError


def model() -> nn.Module:
    return nn.Sequential(
        nn.Embedding(11, 8, padding_idx=0),
        nn.Conv1d(8, 8, 3),
        nn.BatchNorm1d(8),
        nn.LeakyReLU(0.2),
        nn.LSTM(8, 4),
        nn.Linear(4, 6),
        nn.PReLU(),
        nn.MultiheadAttention(8, 2),
        nn.Bilinear(3, 4, 5),
        nn.ConvTranspose1d(4, 4, 4, stride=2),
    )


# In test_lora.py, and test_mimetic.py, whose heads have as many channels as it says.
@pytest.mark.parametrize("name", sorted({*gi.recipes.names()} - {"lora", "mimetic"}))
def test_every_recipe_covers_and_applies(name: str) -> None:
    net = model()
    plan = gi.init_(net, name, seed=0)
    names = {n for n, _ in net.named_parameters()} | {n for n, _ in net.named_buffers()}
    assert {row.name for row in plan} == names
    assert all(t.isfinite().all() for t in net.state_dict().values())
    assert net[0].weight[0].count_nonzero() == 0
    for row in plan:
        if row.std is not None and row.size >= 64 and row.std > 0:
            values = net.state_dict()[row.name].double()
            if row.zero_rows:
                values = values[1:]
            spread = values.square().mean().item() / (row.std**2 + row.mean**2)
            assert abs(spread - 1) < 5 * math.sqrt(2 / values.numel()), row.name


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: gi.recipe("xaiver"), UnknownRecipeError, "Did you mean 'xavier'"),
        (lambda: gi.recipe(3), UnknownRecipeError, "takes the name of a recipe"),
        (lambda: gi.recipe("he", dist="normal"), RecipeError, "options are distribution"),
        (lambda: gi.recipe("standard", gain=2), RecipeError, "no options"),
        (lambda: gi.recipe("he", distribution="norml"), RecipeError, "Did you mean 'normal'"),
        (lambda: gi.recipe("vit", flavour="jax"), RecipeError, "flavour is one of timm, flax"),
        (lambda: gi.recipe("he", nonlinearity="rleu"), gi.GoodinitError, "relu"),
        (lambda: gi.recipe("he", mode="fan"), gi.GoodinitError, "fan_in"),
    ],
)
def test_misuse(call, error, says: str) -> None:
    with pytest.raises(error, match=says):
        call()


def test_deepnorm_needs_no_decoder_but_not_less_than_none() -> None:
    assert gi.recipe("deepnorm", decoder_layers=0) == gi.recipe("deepnorm")
    with pytest.raises(RecipeError, match=r"decoder_layers=-1.*: 0 or more"):
        gi.recipe("deepnorm", decoder_layers=-1)


def test_aliases() -> None:
    assert gi.recipe("kaiming") == gi.recipe("he")
    assert gi.recipe("glorot") == gi.recipe("xavier")


def test_he_takes_the_gain_of_what_follows() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.LeakyReLU(0.2), nn.Linear(8, 8))
    plan = gi.plan(net, "he")
    assert plan["0.weight"].std == pytest.approx(math.sqrt(2 / 1.04 / 8))
    assert plan["2.weight"].std == pytest.approx(math.sqrt(2 / 8))
    assert gi.plan(net, "standard")["2.weight"].std == pytest.approx(math.sqrt(1 / 8))
    tanh = gi.plan(net, gi.recipe("he", nonlinearity="tanh"))["0.weight"]
    assert tanh.std == pytest.approx(gi.gain("tanh") / math.sqrt(8))
    out = gi.plan(nn.Linear(4, 9), gi.recipe("he", mode="fan_out", distribution="uniform"))
    assert out["weight"].std == pytest.approx(math.sqrt(2 / 9))


def test_torch_default_is_torchs_own() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(300, 400), nn.Conv2d(8, 64, 3, groups=2), nn.LSTM(20, 64))
    fresh = {name: p.detach().clone() for name, p in net.named_parameters()}
    plan = gi.init_(net, "torch_default", seed=0)
    for name, p in net.named_parameters():
        bound = plan[name].std * math.sqrt(3)
        assert p.abs().max() <= bound
        assert fresh[name].abs().max() <= bound
        # SE of a uniform law's second moment is sqrt(.8/n); two samples
        ratio = p.square().mean() / fresh[name].square().mean()
        assert abs(ratio.item() - 1) < 5 * math.sqrt(1.6 / p.numel()), name


def test_dcgan() -> None:
    net = nn.Sequential(nn.ConvTranspose2d(8, 64, 4, bias=False), nn.BatchNorm2d(4096))
    plan = gi.init_(net, "dcgan", seed=0)
    assert (plan["1.weight"].mean, plan["1.weight"].std, plan["1.bias"].mean) == (1.0, 0.02, 0.0)
    assert plan["0.weight"].std == 0.02
    assert abs(net[1].weight.mean().item() - 1) < 5 * 0.02 / 64
    assert not plan.findings


def test_standard_on_a_relu_net_keeps_the_second_moment() -> None:
    """Thirty layers of width 512: log q within +-3 sqrt(5 L/n) of 0 (Hanin & Rolnick 2018)."""
    layers = [m for _ in range(30) for m in (nn.Linear(512, 512), nn.ReLU())]
    net = nn.Sequential(*layers[:-1])
    x = torch.randn(64, 512, generator=torch.Generator().manual_seed(0))
    for recipe, log_q in (("standard", -math.log(2)), ("xavier", -29 * math.log(2))):
        gi.init_(net, recipe, seed=0)
        with torch.no_grad():
            q = net(x).square().mean().item()
        assert abs(math.log(q) - log_q) < 3 * math.sqrt(5 * 30 / 512)


def test_a_lone_scheme_leaves_the_rest_to_standard() -> None:
    plan = gi.plan(model(), gi.XavierUniform())
    standard = gi.plan(model(), "standard")
    for row in plan:
        if row.layout is None or row.kind == "embedding":
            if row.part != "bias":
                assert row.scheme == standard[row.name].scheme
        else:
            assert row.scheme == gi.XavierUniform(), row.name


def test_neutral_is_zero_where_one_is_added() -> None:
    from dataclasses import replace

    from goodinit.anatomy import Facets, Row
    from goodinit.recipes.deferred import Neutral

    row = Row("w", (3,), torch.float32, nn.Module, Facets("norm", neutral=0.0))
    scheme, why = Neutral().on(row)
    assert scheme == gi.Zeros()
    assert "1 + w" in why
    assert Neutral().on(replace(row, facets=Facets("norm", neutral=1.0)))[0] == gi.Ones()


def test_gpt2_flavours() -> None:
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 4, enable_nested_tensor=False)
    hf = gi.plan(net, "gpt2")
    openai = gi.plan(net, gi.recipe("gpt2", flavour="openai"))
    end, start = "layers.1.linear2.weight", "layers.1.linear1.weight"
    assert hf[end].depth == 4
    assert hf[end].std == pytest.approx(0.02 / math.sqrt(8))
    assert openai[end].std == hf[start].std == 0.02


def test_an_unknown_depth_is_taken_as_one_layer() -> None:
    plan = gi.plan(nn.TransformerEncoderLayer(8, 2), "gpt2")
    for end in ("linear2.weight", "self_attn.out_proj.weight"):
        assert plan[end].depth is None
        assert plan[end].std == pytest.approx(0.02 / math.sqrt(2))
        assert "depth unknown" in plan[end].why
    assert [finding.code for finding in plan.findings] == ["GI113"]


def test_a_new_adapter_changes_nothing_at_first() -> None:
    """Its constructor may have left anything there, and a general recipe spoils the zeros."""

    class LoRA(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(60, 80)
            self.down = nn.Parameter(torch.full((4, 60), math.nan))
            self.up = nn.Parameter(torch.full((80, 4), math.nan))

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + x @ self.down.T @ self.up.T

    net, x = LoRA(), torch.randn(3, 60)
    plan = gi.init_(net, "standard", inputs=x, seed=0)
    assert torch.equal(net(x), net.base(x))
    assert abs(net.down.abs().max().item() * 60**0.5 - 1) < 0.05  # .95^240 = 4e-6
    assert plan["down"].kind == plan["up"].kind == "adapter"


def test_time_scales_of_a_state_space_are_kept_their_bias_too() -> None:
    class Scan(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a_log = nn.Parameter(torch.arange(1.0, 9.0).log())
            self.dt_bias = nn.Parameter(torch.linspace(-4, -1, 8))
            self.linear = nn.Linear(8, 8, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            step = nn.functional.softplus(self.linear(x) + self.dt_bias)
            return x * torch.exp(-step * self.a_log.exp())

    plan = gi.plan(Scan(), "standard", inputs=torch.randn(3, 8))
    assert {row.name for row in plan if row.kept} == {"a_log", "dt_bias"}
