"""Singular values of Jacobians: those of known matrices, and Pennington's spectra."""

from __future__ import annotations

import pytest
import torch
from tests.signal.ways import normal
from torch import Tensor, nn

import goodinit as gi
from goodinit.errors import SignalError


def test_a_linear_layer_s_are_its_weight_s() -> None:
    layer = nn.Linear(5, 3)
    found = gi.theory.jacobian_spectrum(layer, normal(4, 5))
    expected = torch.linalg.svdvals(layer.weight.double())
    assert torch.allclose(found, expected.expand(4, 3))


class Mixes(nn.Module):
    """Two inputs, two outputs; samples depend on each other."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        x *= 2  # in place
        h = (self.layer(self.norm(x)) + y.sum(1, keepdim=True)).tanh()
        return {"a": torch.cat([h, -h], 1), "b": y}  # what they add up to depends on y alone


@pytest.mark.parametrize("training", [True, False])
def test_samples_that_depend_on_each_other(training: bool) -> None:
    net, x, y = Mixes().train(training), normal(3, 4), normal(3, 2, seed=1)
    found = gi.theory.jacobian_spectrum(net, {"x": x, "y": y})
    mean, count = net.norm.running_mean.clone(), net.norm.num_batches_tracked.clone()

    def of(sample: int, numbers: Tensor) -> Tensor:
        a, b = x.clone(), y.clone()
        a[sample], b[sample] = numbers[:4], numbers[4:]
        out = net(a, b)
        return torch.cat([out["a"][sample], out["b"][sample]])

    for sample in range(3):
        at = torch.cat([x[sample], y[sample]])
        slow = torch.autograd.functional.jacobian(lambda v, s=sample: of(s, v), at)
        assert torch.allclose(found[sample], torch.linalg.svdvals(slow.double()), atol=1e-6)
    assert torch.equal(mean, torch.zeros(4))  # as before it, though the model ran
    assert count == 0


class _Cumsum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(0).tanh()


class _DeadFirst(nn.Module):
    """A BatchNorm whose first sample comes out below 0 and is cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x).relu()


class _TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


@pytest.mark.parametrize("kind", [_Cumsum, _DeadFirst, _TimeFirst])
def test_samples_that_see_others_where_the_first_sees_none(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net, x = kind(), normal(4, 3)
    x[0] = -9
    found = gi.theory.jacobian_spectrum(net, x)
    whole = torch.autograd.functional.jacobian(net, x)
    for sample in range(4):
        expected = torch.linalg.svdvals(whole[sample, :, sample].double())
        assert torch.allclose(found[sample], expected, atol=1e-5)


def test_what_has_no_jacobian() -> None:
    with pytest.raises(SignalError, match="view_as_real"):
        gi.theory.jacobian_spectrum(_Complex(), normal(2, 3))
    with pytest.raises(SignalError, match="no input is floating"):
        gi.theory.jacobian_spectrum(nn.Embedding(4, 2), torch.tensor([1, 2]))
    with pytest.raises(SignalError, match="raised"):
        gi.theory.jacobian_spectrum(nn.Linear(3, 2), normal(2, 4))
    with pytest.raises(SignalError, match="2 samples"):
        gi.theory.jacobian_spectrum(nn.Sequential(nn.Flatten(0), nn.Linear(6, 3)), normal(2, 3))
    with pytest.raises(SignalError, match="more than 2\\^27"):
        gi.theory.jacobian_spectrum(nn.Identity(), normal(2, 3, 100, 100))
    with pytest.raises(SignalError, match="no output depends"):
        gi.theory.jacobian_spectrum(_Blind(), normal(2, 3))


class _Complex(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.complex(x, x)


class _Blind(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros(len(x), 2)


def spread(activation: type[nn.Module] | None, scheme: gi.Scheme) -> float:
    """Variance of the squared singular values over their mean squared, over seeds."""
    found = []
    for seed in range(4):
        parts = [
            part
            for _ in range(16)
            for part in (nn.Linear(512, 512, bias=False), *([activation()] if activation else []))
        ]
        net = nn.Sequential(*parts)
        gi.init_(net, {nn.Linear: scheme}, seed=seed)
        squares = gi.theory.jacobian_spectrum(net, normal(1, 512, seed=seed)).square()
        found.append(squares.var(1, correction=0) / squares.mean(1).square())
    return torch.cat(found).mean().item()


@pytest.mark.accuracy
@pytest.mark.parametrize(
    ("activation", "scheme", "expected"),
    [
        (None, gi.LeCunNormal(), 16.0),
        (None, gi.Orthogonal(), 0.0),
        (nn.ReLU, gi.HeNormal(), 32.0),
        (nn.ReLU, gi.Orthogonal(2**0.5), 16.0),
    ],
    ids=["linear-gaussian", "linear-orthogonal", "relu-gaussian", "relu-orthogonal"],
)
def test_the_spectrum_of_sixteen_layers(
    activation: type[nn.Module] | None, scheme: gi.Scheme, expected: float
) -> None:
    """Pennington et al. (2017): L for Gaussian, 0 for orthogonal, L more of relu's."""
    got = spread(activation, scheme)
    print(f"{got:.2f}, expected {expected:g}")
    assert got == pytest.approx(expected, rel=0.08, abs=1e-6)
