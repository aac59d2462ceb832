"""Published results, by what ``gi.forecast`` says of weights never drawn (`make accuracy`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from tests.signal.ways import normal
from torch import Tensor, nn

import goodinit as gi
from goodinit.forecasting import implicit_weights as implicit

pytestmark = pytest.mark.accuracy

GAMMAS: list[tuple[Callable[[], nn.Module], float]] = [
    (nn.CELU, 1.270926833),
    (nn.ELU, 1.271600485),
    (nn.GELU, 1.701504350),
    (nn.LeakyReLU, 1.705903411),
    (nn.LogSigmoid, 1.919348478),
    (nn.ReLU, 1.713958859),
    (nn.ReLU6, 1.713148475),
    (nn.SELU, 1.000851512),
    (nn.Sigmoid, 4.803835392),
    (nn.SiLU, 1.788129330),
    (nn.Softplus, 1.920332313),
    (nn.Softsign, 2.338853121),
    (nn.Tanh, 1.593911767),
]
"""Brock et al. 2021, as timm has them: 1 over the standard deviation of f(z)."""


def tower(width: int, layers: int) -> nn.Module:
    parts = [part for _ in range(layers) for part in (nn.Linear(width, width), nn.ReLU())]
    with gi.skeleton():
        return nn.Sequential(*parts)


@pytest.mark.parametrize(("activation", "gamma"), GAMMAS)
def test_brock_2021(activation: Callable[[], nn.Module], gamma: float) -> None:
    """2,097,152 outputs: a standard deviation is off by sqrt((kurtosis - 1) / N) / 2, relative."""
    with gi.skeleton():
        net = nn.Sequential(nn.Linear(1024, 32768, bias=False), activation())
    x = normal(64, 1024)
    x = x / x.square().mean(1, keepdim=True).sqrt()
    signal = gi.forecast(net, x, gi.plan(net, gi.LeCunNormal()), backward=False)
    assert "Implicit" in str(signal.notes)
    last = signal.rows[-1].forward
    found = 1 / math.sqrt(last.second - last.mean**2)
    kurtosis = 12.0  # the largest of them is leaky relu's and relu's, near 6
    error = math.sqrt((kurtosis - 1) / (64 * 32768)) / 2
    print(f"Brock 2021, {activation.__name__}: {found:.5f}, expected {gamma:.5f}")
    assert found == pytest.approx(gamma, rel=3 * error)


def test_hanin_rolnick_2018(monkeypatch: pytest.MonkeyPatch) -> None:
    """E q^2 / (E q)^2 = (1 + 5/n)^L: 2.653 of n = 100, L = 20; see tests/signal/test_published."""
    monkeypatch.setattr(implicit, "LEAST_ELEMENTS", 100 * 100)
    net, factors = tower(100, 21), list[float]()
    plan = gi.plan(net, "he")
    for seed in range(300):
        signal = gi.forecast(net, normal(1, 100, seed=seed), plan, seed=seed, backward=False)
        seconds = [row.forward.second for row in signal.rows if row.function == "relu"]
        factors += [b / a for a, b in pairwise(seconds)]
    assert "Implicit" in str(signal.notes)
    found = torch.tensor(factors, dtype=torch.float64)
    each = (found.square().mean() / found.mean().square()).item()
    print(f"Hanin & Rolnick 2018: {each**20:.3f}, expected 2.653")
    error = 20 * 0.05 * math.sqrt(2.5 / len(factors)) * 2.653
    assert each**20 == pytest.approx(2.653, abs=4 * error)


class Jacobian(nn.Module):
    """J J' u of a deep network, with the layers' weights and their transposes."""

    def __init__(self, width: int, layers: int, relu: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(layers)])
        self.relu = relu

    def forward(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        slopes = []
        for layer in self.layers:
            x = layer(x)
            slopes.append((x > 0).to(x.dtype) if self.relu else torch.ones_like(x))
            x = x * slopes[-1]
        for layer, slope in zip(reversed(self.layers), reversed(slopes), strict=True):
            u = (u * slope) @ layer.weight
        back = u
        for layer, slope in zip(self.layers, slopes, strict=True):
            u = layer(u) * slope
        return back, u


@pytest.mark.parametrize(
    ("relu", "law", "variance"),
    [(False, "gaussian", 16.0), (False, "orthogonal", 0.0),
     (True, "gaussian", 32.0), (True, "orthogonal", 16.0)],
)  # fmt: skip
def test_pennington_2017(relu: bool, law: str, variance: float) -> None:
    """Squared singular values of 16 layers, by |J J' u|^2 and |J' u|^2 of random u."""
    width, layers, probes, draws = 1024, 16, 24, 12
    gain = 2**0.5 if relu else 1.0
    scheme = gi.Orthogonal(gain) if law == "orthogonal" else gi.Normal(gain / width**0.5)
    with gi.skeleton():
        net = Jacobian(width, layers, relu)
    plan = gi.plan(net, {"*": scheme})
    ratios = []
    for seed in range(draws):
        given = {"x": normal(1, width, seed=seed), "u": normal(probes, width, seed=seed + 99)}
        signal = gi.forecast(net, given, plan, seed=seed, backward=False)
        assert ("Implicit" in str(signal.notes)) is (law == "gaussian")
        back = [row for row in signal if row.function == "matmul"][-1].forward.second
        there = signal.rows[-1].forward.second
        ratios.append(there / back**2)
    found = sum(ratios) / draws - 1
    print(f"Pennington 2017, relu {relu}, {law}: {found:.2f}, expected {variance}")
    assert found == pytest.approx(variance, rel=0.08, abs=0.01 if not variance else None)


def test_lu_2019_born_dead() -> None:
    """relu, 3 wide, 10 layers of which 9 have a relu, one input: about 60 % are dead all over."""
    x, dead, draws = torch.linspace(-(3**0.5), 3**0.5, 64)[:, None], 0, 600
    hidden = [part for _ in range(8) for part in (nn.Linear(3, 3), nn.ReLU())]
    with gi.skeleton():
        net = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), *hidden, nn.Linear(3, 1))
    plan = gi.plan(net, "he")
    for seed in range(draws):
        signal = gi.forecast(net, x, plan, seed=seed, backward=False)
        dead += signal.rows[-2].forward.idle == 1.0
    print(f"Lu 2019: {dead / draws:.1%}, expected about 60 %")
    assert dead / draws == pytest.approx(0.6, abs=0.05)
