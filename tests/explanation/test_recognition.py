"""The names of laws: torch's name for a law of torch's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.explanation.explain import explained


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def looks(net: nn.Module, name: str = "weight") -> str:
    return explained(net)[name].looks


@pytest.mark.parametrize(
    ("draw", "text"),
    [
        (lambda w: None, "kaiming_uniform_(a=sqrt(5)), torch's default"),
        (nn.init.xavier_uniform_, "xavier_uniform_"),
        (nn.init.xavier_normal_, "xavier_normal_"),
        (lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"), "kaiming_normal_"),
        (lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"), "kaiming_uniform_"),
        (
            lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
            "kaiming_normal_(mode=fan_out)",
        ),
        (lambda w: nn.init.xavier_uniform_(w, 2**0.5), "xavier_uniform_(sqrt(2))"),
        (lambda w: nn.init.normal_(w, 0.0, 0.02), "N(0, 0.02^2)"),
        (lambda w: nn.init.normal_(w, 0.0, 0.0213), "N(0, 0.0213^2)"),
        (nn.init.normal_, "N(0, 1)"),
        (lambda w: nn.init.normal_(w, 1.0, 0.02), "N(1, 0.02^2)"),
        (lambda w: nn.init.uniform_(w, -0.3, 0.3), "U(+-0.3)"),
        (nn.init.uniform_, "U(0, 1)"),
        (lambda w: nn.init.trunc_normal_(w, 0.0, 0.02), "N(0, 0.02^2)"),  # cut nowhere
        (
            lambda w: nn.init.trunc_normal_(w, 0.0, 0.02, -0.04, 0.04),
            "N(0, 0.02^2) cut at 2 sigma",
        ),
        (nn.init.orthogonal_, "orthogonal"),
        (lambda w: nn.init.orthogonal_(w, 2**0.5), "orthogonal, times 1.41"),
        (nn.init.eye_, "the identity"),
        (nn.init.zeros_, "0"),
        (lambda w: nn.init.constant_(w, 0.01), "0.01"),
        (
            lambda w: w.data.copy_(torch.randn_like(w) ** 3),
            "no known law: looks trained (or loaded)",
        ),
        (lambda w: w.data.mul_(torch.rand_like(w) < 0.5), "50% zeros, no known law"),  # pruned
    ],
)
def test_a_linear_weight(draw, text: str) -> None:
    net = nn.Linear(300, 200)
    draw(net.weight)
    assert looks(net) == text


def test_flaxs_and_leaky_laws_and_tables() -> None:
    net = nn.Conv2d(20, 30, 5)
    gi.init_(net, {"weight": gi.VarianceScaling(1.0, "fan_in", "truncated")}, seed=0)
    assert looks(net) == "flax's lecun_normal"
    assert looks(nn.Embedding(300, 40)) == "N(0, 1), torch's default"
    assert looks(nn.LSTM(60, 50), "weight_ih_l0") == "U(+-1/sqrt(hidden)), torch's default"
    assert looks(nn.Linear(20, 400), "bias") == "U(+-1/sqrt(fan_in)), torch's default"
    nn.init.dirac_(net.weight)
    assert looks(net) == "dirac_"


def test_fans_that_only_torch_has_are_called_torchs() -> None:
    attention = nn.MultiheadAttention(96, 4)
    text = "xavier_uniform_ as one matrix, torch's default"
    assert looks(attention, "in_proj_weight") == text
    nn.init.xavier_normal_(attention.in_proj_weight)
    assert looks(attention, "in_proj_weight") == "xavier_normal_ as one matrix"
    gi.init_(attention, "xavier", seed=0)
    assert looks(attention, "in_proj_weight") == "xavier_uniform_"  # each of q, k, v
    net = nn.Conv2d(64, 128, 3, groups=4)
    nn.init.kaiming_normal_(net.weight, mode="fan_out", nonlinearity="relu")
    assert looks(net) == "kaiming_normal_(mode=fan_out) by torch's fans"
    gi.init_(net, gi.HeNormal(mode="fan_out"), seed=0)
    assert looks(net) == "HeNormal(mode='fan_out')"


def test_blocks_that_differ_are_named_apart() -> None:
    net = nn.LSTM(40, 64)
    gi.init_(net, "lstm", seed=0)
    found = gi.explain(net)
    assert found["bias_ih_l0"].looks == "in, cell, out: 0; forget: 1"
    assert found["weight_hh_l0"].looks == "orthogonal"
    attention = nn.MultiheadAttention(96, 4)
    gi.init_(attention, "lecun", seed=0)
    with torch.no_grad():
        attention.in_proj_weight[96:192].normal_(0.0, 1.0)
    text = gi.explain(attention)["in_proj_weight"].looks
    assert text == "q, v: xavier_normal_; k: N(0, 1)"  # a square block: LeCun draws the same


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_rounding_hides_no_law(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(400, 300), nn.ReLU(), nn.Linear(300, 200)).to(dtype)
    for name in ("he", "xavier", "orthogonal", "torch_default"):
        gi.init_(net, name, seed=1)
        found = gi.explain(net)
        assert (found.recipe, found.matrices) == (name, (2, 2)), name
    gi.init_(net, gi.Normal(0.02), seed=1)
    found = gi.explain(net)
    assert (found.habit, found.matrices) == ("N(0, 0.02^2) for every weight and table", (2, 2))


def test_few_values_are_merely_consistent() -> None:
    few, many = gi.explain(nn.Linear(4, 3)), gi.explain(nn.Linear(300, 200))
    assert not few["weight"].certain
    assert many["weight"].certain
    assert "merely consistent" in str(few)


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "strided"])
def test_layouts_do_not_matter(layout: str) -> None:
    net = nn.Conv2d(32, 48, 3)
    plain = gi.explain(net)["weight"]
    weight = net.weight.detach()
    match layout:
        case "channels_last":
            other = weight.contiguous(memory_format=torch.channels_last)
        case "transposed":
            other = weight.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
        case _:
            other = torch.empty(48, 32, 3, 6)[..., ::2].copy_(weight)
    net.weight = nn.Parameter(other)
    row = gi.explain(net)["weight"]
    assert row.looks == plain.looks
    assert row.std == pytest.approx(plain.std, rel=1e-12)


def test_trained_weights_are_called_that() -> None:
    inputs = torch.randn(500, 20)
    wanted = (inputs[:, :1] * inputs[:, 1:2]).sign()
    net = nn.Sequential(nn.Linear(20, 100), nn.Tanh(), nn.Linear(100, 100), nn.Tanh())
    net.append(nn.Linear(100, 1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        (net(inputs) - wanted).square().mean().backward()
        optimizer.step()
    found = gi.explain(net)
    assert found["2.weight"].looks == "no known law: looks trained (or loaded)"
    assert found.recipe is None
    assert math.isfinite(found["2.weight"].std or math.nan)
