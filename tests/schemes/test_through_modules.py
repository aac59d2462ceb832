"""Signals and gradients keep their second moment through the module itself.

The tolerance: with weights of kurtosis k, inputs and outputs counted as n_w, n_x and n_y,
SE(E[y^2] / E[x^2]) = sqrt((k - 1)/n_w + 2/n_x + 2/n_y).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from goodinit.schemes import (
    HeNormal,
    Layout,
    LeCunNormal,
    LeCunUniform,
    Scheme,
    Site,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
)

if TYPE_CHECKING:
    from collections.abc import Callable

CONV = [Layout((0,), (1,), tuple(range(2, 2 + d))) for d in range(4)]
KURTOSIS = {"normal": 3.0, "uniform": 1.8, "truncated": 3.0}


class Projection(nn.Module):
    """y = x W, the layout of GPT-2's Conv1D."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Experts(nn.Module):
    """One matrix an expert, stacked along the first axis."""

    def __init__(self, experts: int, outputs: int, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("eoi,bei->beo", self.weight, x)


@dataclass(frozen=True)
class Case:
    name: str
    module: Callable[[], nn.Module]
    layout: Layout
    x: tuple[int, ...]
    margin: int = 0  # of the result, where fewer taps meet


def transposed(d: int, *, groups: int = 1, stride: int = 1) -> Layout:
    return Layout((1,), (0,), tuple(range(2, 2 + d)), groups=groups, stride=stride, transposed=True)


FORWARD = [
    Case("linear", lambda: nn.Linear(256, 512, bias=False), CONV[0], (512, 256)),
    Case("projection", lambda: Projection(256, 512), Layout((1,), (0,)), (512, 256)),
    Case("experts", lambda: Experts(4, 256, 128), Layout((1,), (2,), batch=(0,)), (512, 4, 128)),
    Case("conv1d", lambda: nn.Conv1d(128, 256, 5, bias=False), CONV[1], (512, 128, 5)),
    Case("conv2d", lambda: nn.Conv2d(64, 256, 3, bias=False), CONV[2], (512, 64, 3, 3)),
    Case("conv3d", lambda: nn.Conv3d(32, 128, 3, bias=False), CONV[3], (1024, 32, 3, 3, 3)),
    Case(
        "strided",
        lambda: nn.Conv2d(64, 256, 3, stride=2, bias=False),
        Layout((0,), (1,), (2, 3), stride=4),
        (512, 64, 3, 3),
    ),
    Case(
        "grouped",
        lambda: nn.Conv2d(256, 512, 3, groups=4, bias=False),
        Layout((0,), (1,), (2, 3), groups=4),
        (256, 256, 3, 3),
    ),
    Case(
        "depthwise",
        lambda: nn.Conv2d(16384, 16384, 3, groups=16384, bias=False),
        Layout((0,), (1,), (2, 3), groups=16384),
        (16, 16384, 3, 3),
    ),
    Case(
        "transposed1d",
        lambda: nn.ConvTranspose1d(256, 128, 4, stride=2, bias=False),
        transposed(1, stride=2),
        (128, 256, 12),
        margin=2,
    ),
    Case(
        "transposed2d",
        lambda: nn.ConvTranspose2d(64, 128, 4, stride=2, bias=False),
        transposed(2, stride=4),
        (64, 64, 8, 8),
        margin=2,
    ),
    Case(
        "transposed grouped",
        lambda: nn.ConvTranspose2d(128, 256, 4, stride=2, groups=4, bias=False),
        transposed(2, groups=4, stride=4),
        (48, 128, 8, 8),
        margin=2,
    ),
    Case(
        "transposed3d",
        lambda: nn.ConvTranspose3d(32, 64, 4, stride=4, bias=False),
        transposed(3, stride=64),
        (512, 32, 2, 2, 2),
    ),
]

BACKWARD = [
    *FORWARD[:3],
    Case("conv1d", lambda: nn.Conv1d(256, 128, 5, bias=False), CONV[1], (64, 256, 32), margin=4),
    Case(
        "grouped",
        lambda: nn.Conv2d(256, 512, 3, groups=4, bias=False),
        Layout((0,), (1,), (2, 3), groups=4),
        (32, 256, 10, 10),
        margin=2,
    ),
    Case(
        "strided",
        lambda: nn.Conv2d(128, 128, 4, stride=2, bias=False),
        Layout((0,), (1,), (2, 3), stride=4),
        (64, 128, 16, 16),
        margin=4,
    ),
    Case(
        "depthwise",
        lambda: nn.Conv2d(16384, 16384, 3, groups=16384, bias=False),
        Layout((0,), (1,), (2, 3), groups=16384),
        (2, 16384, 8, 8),
        margin=2,
    ),
    Case(
        "transposed2d",
        lambda: nn.ConvTranspose2d(128, 64, 4, stride=2, bias=False),
        transposed(2, stride=4),
        (2048, 128, 1, 1),
    ),
]


def cropped(y: Tensor, margin: int) -> Tensor:
    for axis in range(2, y.dim()) if margin else ():
        y = y.narrow(axis, margin, y.shape[axis] - 2 * margin)
    return y


def gaussian(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def z_score(given: Tensor, got: Tensor, weights: int, kurtosis: float) -> tuple[float, float]:
    ratio = got.double().square().mean() / given.double().square().mean()
    # The given one is divided by, so that its term is generous; crops leave some of it.
    error = math.sqrt((kurtosis - 1) / weights + 2 / given.numel() + 2 / got.numel())
    return (ratio.item() - 1) / error, ratio.item()


def forward(case: Case, module: nn.Module, kurtosis: float = 3.0) -> tuple[float, float]:
    x = gaussian(*case.x)
    with torch.no_grad():
        y = cropped(module(x), case.margin)
    return z_score(x, y, module.weight.numel(), kurtosis)


def backward(case: Case, module: nn.Module, kurtosis: float = 3.0) -> tuple[float, float]:
    x = torch.zeros(case.x, requires_grad=True)
    y = module(x)
    g = gaussian(*y.shape)
    (g_x,) = torch.autograd.grad(y, x, g)
    return z_score(g, cropped(g_x, case.margin), module.weight.numel(), kurtosis)


def filled(case: Case, scheme: Scheme, fill: Callable[..., Tensor]) -> nn.Module:
    module = case.module()
    fill(scheme, tuple(module.weight.shape), case.layout, out=module.weight)
    return module


def named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize(
    "distribution",
    ["normal", *(pytest.param(d, marks=pytest.mark.battery) for d in ("uniform", "truncated"))],
)
@pytest.mark.parametrize("case", FORWARD, ids=named)
def test_the_signal_keeps_its_second_moment(case: Case, distribution: str, fill) -> None:
    scheme = VarianceScaling(1.0, "fan_in", distribution)
    z, _ = forward(case, filled(case, scheme, fill), KURTOSIS[distribution])
    assert abs(z) < 5


@pytest.mark.parametrize("case", FORWARD, ids=named)
def test_of_the_test_forward(case: Case, fill) -> None:
    z, _ = forward(case, filled(case, LeCunNormal().times(1.02), fill))
    assert abs(z) > 5


@pytest.mark.parametrize("case", BACKWARD, ids=named)
def test_the_gradient_keeps_its_second_moment(case: Case, fill) -> None:
    scheme = HeNormal("linear", mode="fan_out")
    assert abs(backward(case, filled(case, scheme, fill))[0]) < 5
    assert abs(backward(case, filled(case, scheme.times(1.02), fill))[0]) > 5


def test_bilinear(fill) -> None:
    module, layout = nn.Bilinear(30, 20, 256, bias=False), Layout((0,), (1, 2))
    x, batch = gaussian(16384, 50), 16384

    def ratio() -> float:
        return module(x[:, :30], x[:, 30:]).detach().double().square().mean().item()

    # Per sample, |x1|^2 |x2|^2 / 600 has the variance (1 + 2/30)(1 + 2/20) - 1.
    spread = (1 + 2 / 30) * (1 + 2 / 20)
    error = math.sqrt(0.8 / 153600 + (spread - 1) / batch + 2 * spread / (batch * 256))
    fill(LeCunUniform(), (256, 30, 20), layout, out=module.weight)
    assert abs(ratio() - 1) < 5 * error
    fill(LeCunUniform().times(1.02), (256, 30, 20), layout, out=module.weight)
    assert abs(ratio() - 1) > 5 * error
    torch.manual_seed(0)
    module.reset_parameters()  # torch: U(+-1/sqrt(30)), by the first input alone
    assert ratio() == pytest.approx(600 / 90, rel=0.05)


def test_embedding(fill) -> None:
    table = nn.Embedding(1024, 128)
    layout = Layout(outputs=(1,), inputs=(0,), lookup=True)
    fill(LeCunNormal(), (1024, 128), layout, out=table.weight)
    y = table(torch.arange(1024))  # the fan_in of a row that is looked up is 1
    assert abs(y.square().mean().item() - 1) < 5 * math.sqrt(2 / 131072)


TORCH_FORWARD = [
    (
        Case(
            "1x1",
            lambda: nn.ConvTranspose2d(64, 256, 1, bias=False),
            transposed(2),
            (512, 64, 1, 1),
        ),
        1 / 4,
    ),
    (
        Case(
            "4x4",
            lambda: nn.ConvTranspose2d(64, 256, 4, stride=2, bias=False),
            transposed(2, stride=4),
            (32, 64, 8, 8),
            margin=2,
        ),
        1 / 16,
    ),
]


@pytest.mark.parametrize(("case", "torch_says"), TORCH_FORWARD)
def test_where_torch_s_fan_in_fails(case: Case, torch_says: float, fill) -> None:
    z, _ = forward(case, filled(case, LeCunNormal(), fill))
    assert abs(z) < 5
    torch.manual_seed(0)
    theirs = case.module()
    nn.init.kaiming_normal_(theirs.weight, nonlinearity="linear")
    _, ratio = forward(case, theirs)
    assert ratio == pytest.approx(torch_says, rel=0.05)


@pytest.mark.parametrize(
    ("inputs", "outputs", "groups", "torch_says"), [(64, 64, 64, 1 / 64), (64, 128, 4, 1 / 4)]
)
def test_where_torch_s_fan_out_fails(inputs, outputs, groups, torch_says) -> None:
    torch.manual_seed(0)
    theirs = nn.Conv2d(inputs, outputs, 3, groups=groups, bias=False)
    nn.init.kaiming_normal_(theirs.weight, mode="fan_out", nonlinearity="linear")
    case = Case("", lambda: theirs, Layout((0,), (1,), (2, 3), groups=groups), (64, 64, 10, 10), 2)
    _, ratio = backward(case, theirs)
    error = math.sqrt(2 / theirs.weight.numel() + 2 / (64 * 64 * 36))
    assert ratio / torch_says == pytest.approx(1, abs=5 * error)


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh", "sigmoid", "silu"])
def test_he_is_the_true_gain_through_an_activation(name: str, fill) -> None:
    f = {"gelu": nn.functional.gelu, "silu": nn.functional.silu}.get(name) or getattr(torch, name)
    layer = nn.Linear(512, 512, bias=False)
    fill(HeNormal(name), (512, 512), CONV[0], out=layer.weight)
    hidden = f(gaussian(1024, 512))
    with torch.no_grad():
        second = layer(hidden).double().square().mean().item()
    # E[y^2] = gain^2 E[f(z)^2] = 1. The mean of f adds a share common to a row of y's samples.
    mean = hidden.mean().item() ** 2 / hidden.square().mean().item()
    error = math.sqrt(2 / 512**2 + 2 * mean**2 / 512 + 4 / (1024 * 512) + 2 / (1024 * 512))
    assert abs(second - 1) < 5 * error


@pytest.mark.parametrize(
    ("scheme", "kurtosis"),
    [
        (Uniform(-0.3, 0.1), 1.8),
        (TruncatedNormal(0.02), 3.0),
        (TruncatedNormal(0.02, corrected=True), 3.0),
        (TruncatedNormal(0.5, mean=1.0, cut=(-1.0, 3.0)), 3.3),
        (TruncatedNormal(0.5, mean=1.0, cut=(-1.0, 3.0), corrected=True), 3.3),
        (HeNormal(), 3.0),
    ],
)
def test_moments_are_those_of_the_values(scheme: Scheme, kurtosis: float, fill) -> None:
    shape, layout = (256, 1024), Layout((0,), (1,))
    values = fill(scheme, shape, layout).double()
    mean, std = scheme.moments(Site.of(shape, layout))
    n = values.numel()
    assert abs(values.mean().item() - mean) < 5 * std / math.sqrt(n)
    error = math.sqrt((kurtosis - 1) / n)
    assert abs(values.var().item() / std**2 - 1) < 5 * error
    assert 5 * error < 0.04  # so that 2 % in the std would not pass
