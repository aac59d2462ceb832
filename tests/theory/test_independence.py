"""He's assumption, measured on an unmodified model: where it holds and where it breaks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.errors import MetaModelError, SignalError

F = nn.functional
WIDTH = 256


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _tower(layers: int, width: int = WIDTH) -> nn.Sequential:
    return nn.Sequential(
        *[m for _ in range(layers) for m in (nn.Linear(width, width, bias=False), nn.ReLU())]
    )


def _mean_readout(output: Tensor) -> Tensor:
    return output.mean(1).sum()


def _formula(logits: Tensor, target: Tensor, width: int, scale: Tensor) -> float:
    """1 - 1/n + (zhat . delta)^2 / (n |delta|^2), over the batch, weighted by |delta|^2."""
    delta = logits.softmax(1) - F.one_hot(target, logits.shape[1])
    square = delta.square().sum(1)
    excess = ((logits / scale) * delta).sum(1).square() / width
    return 1 - 1 / width + (excess.sum() / square.sum()).item()


@pytest.mark.parametrize(("width", "classes", "factor"), [(512, 10, 1.0), (64, 1000, 8.0)])
def test_softmax_cross_entropy_is_as_the_formula_says(
    width: int, classes: int, factor: float
) -> None:
    x, target = _normal(256, width), torch.arange(256) % classes
    got, expected = [], []
    for seed in range(4):
        head = nn.Linear(width, classes, bias=False)
        gi.init_(head, gi.Normal(factor / math.sqrt(width)), seed=seed)
        found = gi.theory.independence(head, x, lambda z: F.cross_entropy(z, target))
        got.append(found.rows[0].r or 0.0)
        scale = factor / math.sqrt(width) * x.norm(dim=1, keepdim=True)
        expected.append(_formula(head(x).detach(), target, width, scale))
    # |W|^2 and the 256 samples' |W^T delta|^2 each have a relative error of sqrt(2/(n*...)):
    # with n = 64 and shared W about sqrt(2/64)/sqrt(256 * 4) + the same of |W|^2.
    error = math.sqrt(2 / width) / math.sqrt(256 * 4) * 3
    assert sum(got) / 4 == pytest.approx(sum(expected) / 4, abs=5 * error)
    if factor > 1:
        assert sum(got) / 4 > 1.06  # it is there, and O(K/n)


def test_it_holds_with_a_gaussian_readout_and_not_with_a_mean() -> None:
    x, target = _normal(128, WIDTH), torch.arange(128) % 10
    net = nn.Sequential(_tower(6), nn.Linear(WIDTH, 10, bias=False))
    plan = gi.init_(net, gi.HeNormal(), seed=2)
    found = gi.theory.independence(net, x, lambda z: F.cross_entropy(z, target), plan)
    assert found.holds
    assert found.interval[0] < found.ratio < found.interval[1]
    assert "holds here within" in " ".join(str(found).split())
    assert found.law == "the plan's laws"
    readout = gi.theory.independence(_set(_tower(6), 0), x, _mean_readout)
    assert not readout.holds
    assert "doesn't hold" in " ".join(str(readout).split())
    assert "own mean and std" in readout.law


def _set(net: nn.Module, seed: int) -> nn.Module:
    gi.init_(net, {"*": gi.HeNormal()}, seed=seed)
    return net


@pytest.mark.accuracy
def test_mean_readout_over_forty_networks() -> None:
    """Top-layer r is 1 + 1/pi; the true gradient over six layers is 4.4 times the decoupled."""
    x = _normal(128, 512)
    found = [
        gi.theory.independence(_set(_tower(6, 512), seed), x, _mean_readout, redraws=8)
        for seed in range(40)
    ]
    top = [row.rows[-1].r or 0.0 for row in found]
    assert sum(top) / 40 == pytest.approx(1 + 1 / math.pi, abs=0.03)
    assert sum(row.ratio for row in found) / 40 == pytest.approx(4.4, abs=0.3)


@pytest.mark.accuracy
def test_cross_entropy_over_forty_networks() -> None:
    x, target = _normal(128, WIDTH), torch.arange(128) % 10
    found = []
    for seed in range(40):
        net = nn.Sequential(_tower(6), nn.Linear(WIDTH, 10, bias=False))
        plan = gi.init_(net, gi.HeNormal(), seed=seed)
        found.append(gi.theory.independence(net, x, lambda z: F.cross_entropy(z, target), plan))
    # 95 % intervals: of 40, 38 hold 1; fewer than 33 has the probability .02 %.
    assert sum(row.holds for row in found) >= 33
    logs = torch.tensor([math.log(row.ratio) for row in found])
    assert logs.mean().abs() < 3 * logs.std() / math.sqrt(40) + 6 * 5 / WIDTH / 2


def test_a_trained_network_breaks_it() -> None:
    x = _normal(1024, WIDTH)
    target = (x @ _normal(WIDTH, 10, seed=1)).argmax(1)
    net = nn.Sequential(_tower(4), nn.Linear(WIDTH, 10))
    gi.init_(net, "he", seed=0)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for step in range(150):
        part = slice(128 * (step % 8), 128 * (step % 8) + 128)
        optimizer.zero_grad()
        F.cross_entropy(net(x[part]), target[part]).backward()
        optimizer.step()
    found = gi.theory.independence(net, x[:128], lambda z: F.cross_entropy(z, target[:128]))
    assert found.ratio > 1.2
    assert not found.holds


class _Tied(nn.Module):
    """A relu autoencoder whose decoder is its encoder's transpose."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(WIDTH, WIDTH))
        nn.init.normal_(self.weight, std=math.sqrt(2 / WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x @ self.weight) @ self.weight


def test_each_use_of_a_shared_weight_has_a_row_and_a_draw() -> None:
    torch.manual_seed(0)
    found = gi.theory.independence(_Tied(), _normal(64, WIDTH), lambda y: y.square().mean())
    assert [row.name for row in found.rows] == [":matmul", ":matmul#2"]
    layer = nn.Linear(WIDTH, WIDTH, bias=False)
    gi.init_(layer, gi.HeNormal(), seed=0)
    deep = nn.Sequential(*[layer, nn.ReLU()] * 8)
    tied = gi.theory.independence(deep, _normal(64, WIDTH), lambda y: y.square().sum())
    assert len(tied.rows) == 8
    assert tied.interval[0] > 2
    assert "used 8 times" in " ".join(str(tied).split())


def test_nothing_of_the_model_is_changed() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.random.get_rng_state()
    gi.theory.independence(net, _normal(32, 8), lambda y: y.square().sum(), redraws=2)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("shape", [(4, 8, 12), (4, 8, 6, 6)])
def test_convolutions(shape: tuple[int, ...]) -> None:
    layer = nn.Conv1d if len(shape) == 3 else nn.Conv2d
    net = nn.Sequential(
        layer(8, 64, 3, padding=1, padding_mode="circular"), nn.ReLU(), layer(64, 64, 1)
    )
    plan = gi.init_(net, "he", seed=0)
    found = gi.theory.independence(
        net, _normal(*shape), lambda y: y.square().sum(), plan, redraws=4
    )
    assert len(found.rows) == 2
    # The last: dL/dy = 2 W a, so W^T W a: E = (1 + n/m) for a square W, which is 2.
    assert found.rows[1].r == pytest.approx(2, abs=0.4)


def test_what_can_not_be_answered_is_said() -> None:
    net, x = nn.Linear(4, 2), torch.ones(3, 4)
    with pytest.raises(SignalError, match="at least 2"):
        gi.theory.independence(net, x, Tensor.sum, redraws=1)
    with pytest.raises(SignalError, match="scalar"):
        gi.theory.independence(net, x, lambda y: y)
    with pytest.raises(SignalError, match="raised"):
        gi.theory.independence(net, torch.ones(3, 5), Tensor.sum)
    with pytest.raises(SignalError, match="no layer"):
        gi.theory.independence(nn.ReLU(), x, Tensor.sum)
    with pytest.raises(SignalError, match="0 or not finite"):
        gi.theory.independence(
            nn.Sequential(nn.Linear(4, 2), nn.ReLU()), x * 0 - 1, lambda y: y.sum() * 0
        )
    with pytest.raises(MetaModelError):
        gi.theory.independence(net.to("meta"), x, Tensor.sum)
