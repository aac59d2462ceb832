"""The gains, against the table, closed forms, a slow reference and a simulation."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate
from torch import Tensor, nn
from torch.nn import functional

from goodinit.errors import SchemeError
from goodinit.schemes import derivative_second_moment, gain, quadrature, second_moment, slope
from goodinit.schemes.gains import NONLINEARITIES
from goodinit.schemes.quadrature import legendre

GAINS = {
    "linear": 1.0,
    "relu": math.sqrt(2),
    "tanh": 1.5925,
    "selu": 1.0000,
    "sigmoid": 1.8462,
    "gelu": 1.5335,
    "silu": 1.6765,
    "mish": 1.4868,
    "elu": 1.2452,
    "softplus": 1.0419,
    "hardswish": 1.7367,
}
SLOPES = {"relu": 1.0, "gelu": 1.144, "silu": 1.173, "hardswish": 1.224, "tanh": 0.461}


@pytest.mark.parametrize(("name", "value"), GAINS.items())
def test_gain_table(name: str, value: float) -> None:
    assert gain(name) == pytest.approx(value, abs=6e-5)


@pytest.mark.parametrize(("name", "value"), SLOPES.items())
def test_slope_table(name: str, value: float) -> None:
    assert slope(name) == pytest.approx(value, abs=6e-4)


@pytest.mark.parametrize("a", [0.0, 0.01, 0.2, 1.0, math.sqrt(3), math.sqrt(5)])
def test_leaky_relu_has_a_closed_form(a: float) -> None:
    assert gain("leaky_relu", negative_slope=a) == pytest.approx(math.sqrt(2 / (1 + a * a)), 1e-9)
    assert derivative_second_moment("leaky_relu", negative_slope=a) == pytest.approx(
        (1 + a * a) / 2, 1e-9
    )
    assert slope("leaky_relu", negative_slope=a) == pytest.approx(1.0, 1e-9)


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_an_integral_is_as_exact_whatever_its_size(size: float) -> None:
    edges = torch.tensor([0.0, 1.0], dtype=torch.float64)
    (found,) = quadrature.integrate(lambda x: size * (x > 0.3).double()[None], edges)
    assert found.item() == pytest.approx(0.7 * size, rel=1e-9)


def test_kinks_and_jumps_at_odd_places() -> None:
    density = math.exp(-(0.37**2) / 2) / math.sqrt(2 * math.pi)
    upper = 0.5 * math.erfc(0.37 / math.sqrt(2))
    # E[z^2; |z| > c] = 2 (c phi(c) + Q(c))
    exact = 2 * (0.37 * density + upper)
    assert second_moment("hardshrink", lambd=0.37) == pytest.approx(exact, 1e-9)
    assert second_moment(lambda z: (z > 0.37).double()) == pytest.approx(upper, 1e-9)
    # q -> P(z > c/sqrt(q)) has the slope c phi(c)/2, which no derivative of f knows of
    assert slope(lambda z: (z > 0.37).double()) == pytest.approx(0.37 * density / 2 / upper, 1e-8)
    assert derivative_second_moment("softshrink", lambd=0.37) == pytest.approx(2 * upper, 1e-9)


SMOOTH_AND_NOT = ["tanh", "gelu", "silu", "mish", "elu", "softplus", "hardswish", "hardtanh"]


@pytest.mark.parametrize("name", SMOOTH_AND_NOT)
def test_against_the_slow_reference(name: str) -> None:
    f = NONLINEARITIES[name]

    def value(z: float) -> float:
        return f(torch.tensor([z], dtype=torch.float64)).item()

    def derivative(z: float) -> float:
        leaf = torch.tensor([z], dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(f(leaf).sum(), leaf)[0].item()

    def expect(g: object) -> float:
        total = 0.0
        for low, high in zip((-12, -3, -1, 0, 1, 3), (-3, -1, 0, 1, 3, 12), strict=True):
            total += integrate.quad(
                lambda z: g(z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi), low, high
            )[0]
        return total

    second = expect(lambda z: value(z) ** 2)
    assert second_moment(name) == pytest.approx(second, 1e-7)
    assert derivative_second_moment(name) == pytest.approx(
        expect(lambda z: derivative(z) ** 2), 1e-7
    )
    by_derivative = expect(lambda z: z * value(z) * derivative(z)) / second
    assert slope(name) == pytest.approx(by_derivative, 1e-6)


@pytest.mark.parametrize("name", sorted(set(NONLINEARITIES) - {"threshold"}))
def test_every_name_against_a_simulation(name: str) -> None:
    z = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    square = NONLINEARITIES[name](z).square()
    standard_error = square.std().item() / math.sqrt(len(square))
    assert abs(square.mean().item() - second_moment(name)) < 5 * standard_error + 1e-12
    assert gain(name) == pytest.approx(second_moment(name) ** -0.5)


def test_the_slope_is_that_of_the_variance_map() -> None:
    def mapped(q: float) -> float:
        return gain("gelu") ** 2 * second_moment(lambda z: functional.gelu(q**0.5 * z))

    assert mapped(1.0) == pytest.approx(1.0, 1e-9)
    assert (mapped(1.001) - mapped(0.999)) / 0.002 == pytest.approx(slope("gelu"), 1e-5)


@pytest.mark.parametrize(
    "f", [nn.GELU(), torch.tanh, lambda z: z.relu_(), lambda z: z.float().tanh()]
)
def test_callables(f: object) -> None:
    assert 1 < gain(f) < 2
    assert derivative_second_moment(f) > 0
    for scale in (1e3, 1e-3):  # the noise of float32 is a share of the values
        assert gain(lambda z, scale=scale: f(z) * scale) == pytest.approx(gain(f) / scale, rel=1e-6)


def test_gains_are_the_same_in_any_surroundings() -> None:
    def f(z: Tensor) -> Tensor:
        return z.tanh() * 1.01

    plain = gain(f), slope(f), derivative_second_moment(f)
    with torch.device("meta"), torch.inference_mode():
        assert (gain(f), slope(f), derivative_second_moment(f)) == plain


def test_a_gain_of_a_callable_is_not_cached() -> None:
    class Scale(nn.Module):
        factor = 1.0

        def forward(self, z: Tensor) -> Tensor:
            return z * self.factor

    module = Scale()
    assert gain(module) == 1
    module.factor = 2.0
    assert gain(module) == 0.5


@pytest.mark.parametrize(
    ("f", "says"),
    [
        ("gleu", "Did you mean 'gelu'"),
        ("xyzzy", "no nonlinearity is called"),
        (3, "a name or a callable"),
        (lambda z: z.log(), "nan"),
        (lambda z: z.softmax(0), "element by element"),
        (lambda z: z.sort().values, "element by element"),
        (lambda z: z - z.mean(), "element by element"),
        (lambda z: z.sum(), "element by element"),
        (lambda z: z.tolist(), "element by element"),
        (nn.Dropout(), "element by element"),
        (lambda z: 1 / z, "infinite"),
        (lambda z: (z * z / 3).exp(), "infinite"),
        (lambda z: (z * z.relu() / 3).exp(), "infinite"),  # to the right alone, and to the left
        (lambda z: (z * -(-z).relu() / 3).exp(), "infinite"),
        (lambda z: torch.where(z.abs() > 1, z / (z - z), z), "at z = -"),
        (lambda z: 0 * z, "is 0"),
        (lambda z: z.nonsense(), "AttributeError"),
    ],
)
def test_refused(f: object, says: str) -> None:
    with pytest.raises(SchemeError, match=says):
        gain(f)


@pytest.mark.parametrize("name", ["relu", "tanh"])  # torch's relu has `inplace`, tanh has nothing
def test_a_number_is_refused_by_functions_without_one(name: str) -> None:
    with pytest.raises(SchemeError, match=f"'{name}' takes no param here"):
        gain(name, 0.2)


def test_parameters_are_refused_where_they_make_no_sense() -> None:
    with pytest.raises(SchemeError, match="TypeError"):
        gain("relu", slope=0.1)
    with pytest.raises(SchemeError, match="nan"):
        gain("leaky_relu", negative_slope=math.nan)
    with pytest.raises(SchemeError, match="number or a string"):
        gain("elu", alpha=[1])
    with pytest.raises(SchemeError, match="infinite"):
        derivative_second_moment(lambda z: z.abs().rsqrt())
    assert derivative_second_moment(torch.sign) == 0


def test_the_rule_is_gauss_and_legendre_s() -> None:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(16)
    assert legendre(16)[0] == pytest.approx(nodes[::-1], abs=1e-15)
    assert legendre(16)[1] == pytest.approx(weights[::-1], abs=1e-15)


@pytest.mark.parametrize(
    ("f", "wanted"),
    [
        (torch.sign, 1.0),
        (torch.ones_like, 1.0),
        (lambda z: torch.where(z > 0.3, 2.0, -2.0), 0.5),
        (lambda z: torch.where(z.sin() > 0, 1.0, -1.0), 1.0),
        (lambda z: z * 0 + 3, 1 / 3),
    ],
)
def test_functions_whose_square_is_constant(f, wanted: float) -> None:
    assert gain(f) == pytest.approx(wanted, rel=1e-9)
    assert slope(f) == 0


@pytest.mark.parametrize("half", [0.1, 1e-2, 1e-3, 1e-4])
def test_narrow_bumps_are_seen(half: float) -> None:
    share = math.erf((0.37 + half) / 2**0.5) - math.erf((0.37 - half) / 2**0.5)
    found = gain(lambda z: ((z - 0.37).abs() < half).double())
    assert found == pytest.approx((share / 2) ** -0.5, rel=1e-3)
    with pytest.raises(SchemeError, match="a million points"):
        gain(torch.zeros_like)
