"""Published results, by what ``gi.measure`` measures (`make accuracy`)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.signal.ways import normal
from torch import Tensor, nn

import goodinit as gi

pytestmark = pytest.mark.accuracy


def tower(width: int, layers: int, activation: type[nn.Module]) -> nn.Module:
    return nn.Sequential(
        *(part for _ in range(layers) for part in (nn.Linear(width, width), activation()))
    )


def test_he_2015_thirty_layers_of_several_widths() -> None:
    """He keeps the second moment, Xavier has 2^-30; log q has the variance 5 layers / width."""
    for width in (128, 512):
        for recipe, expected in (("he", 0.0), ("xavier", -30 * math.log(2))):
            logs = []
            for seed in range(8):
                net = tower(width, 30, nn.ReLU)
                gi.init_(net, recipe, seed=seed)
                signal = gi.measure(net, normal(32, width, seed=seed), backward=False)
                logs.append(math.log(signal.rows[-1].forward.second))
            mean = sum(logs) / 8
            variance = 5 * 30 / width
            # E q is exact, so that E log q lies half of the variance below.
            print(f"He 2015, {width} wide, {recipe}: log q {mean:.2f}, expected {expected:.2f}")
            assert abs(mean - expected + variance / 2) < 5 * math.sqrt(variance / 8)


def test_hanin_rolnick_2018() -> None:
    """E q^2 / (E q)^2 = (1 + 5/n)^L: 2.653 of n = 100, L = 20.

    A layer multiplies q by an independent factor of mean 1 and variance 5/n. With He's weights
    it is the mean of n terms 2 z+^2, so that its own kurtosis is near 3: the variance of N
    factors has the relative error sqrt(2/N) and a little, and the product 20 times 5/n of it.
    """
    factors: list[float] = []
    for seed in range(300):
        net = tower(100, 21, nn.ReLU)
        gi.init_(net, "he", seed=seed)
        signal = gi.measure(net, normal(1, 100, seed=seed), backward=False)
        seconds = [row.forward.second for row in signal.rows if row.function == "relu"]
        factors += [b / a for a, b in pairwise(seconds)]
        last = signal.rows[-1]
    found = torch.tensor(factors, dtype=torch.float64)
    each = (found.square().mean() / found.mean().square()).item()
    print(f"Hanin & Rolnick 2018: {each**20:.3f}, expected 2.653")
    error = 20 * 0.05 * math.sqrt(2.5 / len(factors)) * 2.653
    assert each**20 == pytest.approx(2.653, abs=4 * error)
    assert 4 * error < 0.3
    # The spread that rows state: log q has the sum of log(1 + 5/n), nearly, as its variance.
    assert last.spread**2 == pytest.approx(21 * 5 / 100)


@pytest.mark.parametrize(("variance", "expected"), [(1.3, 0.880), (1.761, 1.0)])
def test_schoenholz_2017(variance: float, expected: float) -> None:
    """tanh, bias variance .05: the gradient's square falls by chi a layer, 1 where critical."""
    found = []
    for seed in range(3):
        net = tower(1024, 40, nn.Tanh)
        laws = {"*.weight": gi.VarianceScaling(variance, "fan_in", "normal"),
                "*.bias": gi.Normal(0.05**0.5)}  # fmt: skip
        gi.init_(net, laws, seed=seed)
        layers = gi.measure(net, normal(8, 1024, seed=seed)).layers
        low, high = layers[10].backward, layers[30].backward
        assert low is not None
        assert high is not None
        found.append((low.second / high.second) ** (1 / 20))
    chi = sum(found) / 3
    print(f"Schoenholz 2017, weight variance {variance}: chi {chi:.4f}, expected {expected}")
    assert chi == pytest.approx(expected, rel=0.03)


def test_klambauer_2017() -> None:
    """SELU: (0, 1) after 100 layers."""
    last = []
    for seed in range(3):
        net = tower(256, 100, nn.SELU)
        gi.init_(net, "lecun", seed=seed)
        last.append(gi.measure(net, normal(64, 256, seed=seed), backward=False).rows[-1].forward)
    mean, second = sum(m.mean for m in last) / 3, sum(m.second for m in last) / 3
    print(f"Klambauer 2017: mean {mean:.3f}, second moment {second:.3f}; expected 0 and 1")
    assert abs(mean) < 0.1
    assert second == pytest.approx(1, abs=0.1)


def test_yang_2020_gradient_independence_fails() -> None:
    """Tensor Programs II, section 6.3: y = |W x|^2 has the gradient 2 W^T W x, in the direction of
    x, where independence would have it 0; its square is twice as large. Cross-entropy: 1.
    """
    ratios, along = [], []
    for seed in range(5):
        layer = nn.Linear(1024, 1024, bias=False)
        gi.init_(layer, gi.LeCunNormal(), seed=seed)
        x = normal(16, 1024, seed=seed)
        found = gi.theory.independence(layer, x, lambda y: y.square().sum())
        ratios.append(found.ratio)
        along.append(found.rows[0].own or 0.0)
    print(f"Yang 2020: {sum(ratios) / 5:.3f}, expected 2; along y {sum(along) / 5:.3f}, expected 1")
    assert sum(ratios) / 5 == pytest.approx(2, rel=0.05)
    assert sum(along) / 5 == pytest.approx(1, rel=0.05)
    head = nn.Linear(512, 10, bias=False)
    gi.init_(head, gi.LeCunNormal(), seed=0)
    x, target = normal(256, 512), torch.arange(256) % 10
    control = gi.theory.independence(head, x, lambda z: nn.functional.cross_entropy(z, target))
    assert control.ratio == pytest.approx(1, rel=0.05)


def test_lu_2019_born_dead() -> None:
    """relu, 3 wide, 10 layers of which 9 have a relu, one input: about 60 % are dead all over."""
    x, dead = torch.linspace(-(3**0.5), 3**0.5, 64)[:, None], 0
    for seed in range(1000):
        net = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), *tower(3, 8, nn.ReLU), nn.Linear(3, 1))
        gi.init_(net, "he", seed=seed)
        dead += gi.measure(net, x, backward=False).rows[-2].forward.idle == 1.0
    print(f"Lu 2019: {dead / 1000:.1%}, expected about 60 %")
    assert dead / 1000 == pytest.approx(0.6, abs=0.05)


def test_gpt2_with_a_loud_tied_table() -> None:
    """N(0, .02^2) starts near ln 50257 = 10.8, a tied N(0, 1) far above; GI110's remedy cures."""
    from transformers import GPT2Config, GPT2LMHeadModel

    ids = torch.randint(50257, (2, 64), generator=torch.Generator().manual_seed(0))
    model, inputs = GPT2LMHeadModel(GPT2Config(use_cache=False)), {"input_ids": ids}

    def loss(out: Any) -> Tensor:
        return nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

    gi.init_(model, "gpt2", inputs=inputs, seed=0)
    healthy = gi.measure(model, inputs, loss)
    assert healthy.loss == pytest.approx(math.log(50257), abs=0.5)
    assert healthy.ok
    gi.init_(model, {"transformer.wte.weight": gi.Normal(1.0)}, seed=0)
    loud = gi.measure(model, inputs, loss)
    print(f"GPT-2: first loss {healthy.loss:.1f}, with a tied N(0, 1) {loud.loss:.0f}")
    assert loud.loss is not None
    assert loud.loss > 60
    (finding,) = [f for f in loud.findings if f.code == "GI110"]
    exec(finding.remedy, {"gi": gi, "model": model})
    assert "GI110" not in [f.code for f in gi.measure(model, inputs, loss).findings]
