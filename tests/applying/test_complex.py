"""Complex weights: Rayleigh modulus, uniform phase, and the variance that the law says."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

import goodinit as gi
from goodinit.applying.write import fill_part_
from goodinit.errors import DtypeError
from goodinit.schemes.complex_numbers import complex_parts
from goodinit.streams import Part, Stream

LEVEL = 1e-4  # of a false alarm, a test


def layer(into: int = 200, out: int = 300) -> nn.Linear:
    return nn.Linear(into, out, bias=False, dtype=torch.cfloat)


@pytest.mark.parametrize(
    ("scheme", "variance"),
    [
        (gi.HeNormal(), 2 / 200),
        (gi.XavierNormal(), 2 / 500),
        (gi.LeCunNormal(), 1 / 200),
        (gi.Normal(0.1), 0.01),
    ],
)
def test_normal_laws_are_those_of_trabelsi(scheme: gi.Scheme, variance: float) -> None:
    net = layer()
    plan = gi.init_(net, scheme, seed=0)
    w = net.weight.detach().flatten().numpy()
    # |w|^2 / E|w|^2 is exponential: the modulus is Rayleigh with sigma = sqrt(variance / 2).
    assert stats.kstest(abs(w), stats.rayleigh(scale=math.sqrt(variance / 2)).cdf).pvalue > LEVEL
    phases = torch.from_numpy(w).angle().numpy()
    assert stats.kstest(phases, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > LEVEL
    assert plan["weight"].std == pytest.approx(math.sqrt(variance))


def test_uniform_laws_have_the_variance_of_their_name() -> None:
    net = layer()
    assert gi.init_(net, gi.XavierUniform(), seed=0)["weight"].std == pytest.approx(
        math.sqrt(1 / 250)
    )
    half = math.sqrt(6 / 500 / 2)  # of the bound, for each of two parts
    parts = torch.view_as_real(net.weight.detach())
    assert parts.abs().max() <= half
    assert parts.abs().max() > 0.99 * half
    bounds = gi.init_(net, gi.Uniform(-0.5, 0.5), seed=0)["weight"]  # of each part, as in torch
    assert bounds.std == pytest.approx(math.sqrt(2 / 12))
    # E|w|^2 of 60,000 numbers: kurtosis 1.8, two parts.
    error = 5 * math.sqrt(0.8 / 120_000)
    assert net.weight.detach().abs().square().mean().item() * 6 == pytest.approx(1, abs=error)


def test_the_signal_keeps_its_second_moment() -> None:
    net, x = layer(400, 400), torch.randn(200, 400, dtype=torch.cfloat)
    gi.init_(net, "lecun", seed=0)
    # 160,000 weights and as many inputs, exponential squares: 5 standard errors below 2 %.
    ratio = net(x).abs().square().mean() / x.abs().square().mean()
    assert ratio.item() == pytest.approx(1, abs=0.02)


def test_constants_are_real() -> None:
    net = nn.Linear(3, 2, dtype=torch.cfloat)
    gi.init_(net, {"weight": gi.Normal(1.0), "bias": gi.Constant(0.5)}, seed=0)
    assert torch.equal(net.bias, torch.full((2,), 0.5 + 0j))
    gi.init_(net, "he", seed=0)
    assert not net.bias.count_nonzero()


def test_a_part_has_the_numbers_of_the_whole() -> None:
    net = layer(12, 10)
    row = gi.init_(net, "he", seed=7)["weight"]
    out = torch.empty(4, 12, dtype=torch.cfloat)
    fill_part_(out, row, Stream(7), Part((10, 12), (((2, 6),), ((0, 12),))))
    assert torch.equal(out, net.weight[2:6])


def test_on_meta_and_in_double_precision() -> None:
    with torch.device("meta"):
        net = layer(12, 10)
    gi.init_(net, "he", seed=7, materialize="cpu")
    same = layer(12, 10)
    gi.init_(same, "he", seed=7)
    assert torch.equal(net.weight, same.weight)
    double = nn.Linear(12, 10, bias=False, dtype=torch.complex128)
    gi.init_(double, "he", seed=7)
    assert torch.equal(double.weight.to(torch.cfloat), same.weight)


@pytest.mark.parametrize("recipe", ["orthogonal", gi.Orthogonal(), {"*": gi.StepBias()}])
def test_what_has_no_law_is_refused(recipe) -> None:
    net = layer(12, 10)
    before = net.weight.clone()
    with pytest.raises(DtypeError, match=r"weight is torch\.complex64: .* no law for complex"):
        gi.init_(net, recipe)
    assert torch.equal(net.weight, before)
    assert gi.init_(net, recipe, keep=["weight"])["weight"].kept
    with pytest.raises(DtypeError, match="no law"):
        complex_parts(gi.Orthogonal())


def test_a_deep_stack_of_complex_layers_is_drawn() -> None:
    class Deep(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.to(torch.cfloat)).abs()

    plan = gi.plan(Deep(*(layer(8, 8) for _ in range(12))), "standard", inputs=torch.ones(2, 8))
    assert not [row for row in plan if row.kept]
