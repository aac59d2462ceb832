"""The operating points of activations, against sums over a grid that share no code."""

import math

import pytest
import torch
from torch import Tensor, nn

from goodinit.schemes.operating_point import operating_point

F = nn.functional

Z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
WEIGHTS = torch.exp(-Z * Z / 2) / torch.exp(-Z * Z / 2).sum()

UNBOUNDED = {
    "relu": F.relu, "leaky_relu(0.2)": lambda z: F.leaky_relu(z, 0.2), "gelu": F.gelu,
    "silu": F.silu, "mish": F.mish, "elu": F.elu, "selu": F.selu, "hardswish": F.hardswish,
    "softplus": F.softplus, "tanhshrink": F.tanhshrink,
}  # fmt: skip
BOUNDED = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "sin": torch.sin, "softsign": F.softsign}


def mean(values: Tensor) -> float:
    return (values * WEIGHTS).sum().item()


def moment(f, q: float) -> float:
    return mean(f(math.sqrt(q) * Z).square())


@pytest.mark.parametrize("name", UNBOUNDED)
def test_the_output_has_second_moment_1(name: str) -> None:
    point = operating_point(name)
    assert point is not None
    # Rounded to four digits behind the point: E f^2 is off by less than 5e-5 * slope.
    assert moment(UNBOUNDED[name], point.gain_squared) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("name", BOUNDED)
def test_a_bounded_function_keeps_1_before_it(name: str) -> None:
    point = operating_point(name)
    assert point is not None
    assert point.gain_squared * moment(BOUNDED[name], 1.0) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("name", [*UNBOUNDED, *BOUNDED])
def test_slopes(name: str) -> None:
    """The slope as a difference quotient; the derivative's second moment on the grid."""
    point, f = operating_point(name), {**UNBOUNDED, **BOUNDED}[name]
    assert point is not None
    q = point.gain_squared if name in UNBOUNDED else 1.0
    step = 1e-4
    logs = [math.log(moment(f, q * math.exp(sign * step))) for sign in (1, -1)]
    assert point.slope == pytest.approx((logs[0] - logs[1]) / (2 * step), abs=1e-4)
    z = (math.sqrt(q) * Z).requires_grad_()
    (grad,) = torch.autograd.grad(f(z).sum(), z)
    assert point.difference == pytest.approx(point.gain_squared * mean(grad.square()), abs=1e-4)


@pytest.mark.parametrize("name", ["", "glu", "softmax", "sinus", "leaky_relu(1, 2, 3, 4, 5)"])
def test_unknown_functions_have_none(name: str) -> None:
    assert operating_point(name) is None


def test_a_layer_multiplies_errors_and_differences_by_what_it_says() -> None:
    """Measured through modules, 4,096 wide: standard errors of a few per cent."""
    torch.manual_seed(0)
    n, point = 4096, operating_point("gelu")
    assert point is not None
    layer = nn.Linear(n, n, bias=False)
    nn.init.normal_(layer.weight, std=math.sqrt(point.gain_squared / n))
    x = torch.randn(8, n)
    near = x + 0.01 * torch.randn(8, n)
    with torch.no_grad():
        y, bigger, close = (F.gelu(layer(z)) for z in (x, 1.05 * x, near))
    assert y.square().mean().item() == pytest.approx(x.square().mean().item(), rel=0.05)
    slope = math.log(bigger.square().mean() / y.square().mean()) / math.log(1.05**2)
    assert slope == pytest.approx(point.slope, abs=0.02)
    grown = (close - y).square().mean() / (near - x).square().mean()
    assert grown.item() == pytest.approx(point.difference, rel=0.05)
