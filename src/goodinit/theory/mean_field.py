r"""Networks in the limit of infinite width: critical points and depth scales of any activation.

A layer is h = W f(h') + b, the weights iid with variance ``weight_variance`` / fan_in, the biases
with ``bias_variance``. In the limit of infinite width (Poole et al., 2016; Schoenholz et al., 2017)

- the variance q of h follows the map q -> V(q) = weight_variance E[f(u)^2] + bias_variance, with
  u ~ N(0, q);
- the correlation c of two inputs follows c -> (weight_variance E[f(u) f(v)] + bias_variance) / q,
  with u and v ~ N(0, q) of correlation c;
- a layer multiplies the gradient's second moment by chi = weight_variance E[f'(u)^2], which is also
  the slope of the map of correlations at c = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from goodinit.errors import SchemeError
from goodinit.schemes import fields
from goodinit.schemes.gains import (
    NONLINEARITIES,
    Nonlinearity,
    derivative,
    evaluate,
    expected_squares,
    label_of,
)
from goodinit.schemes.quadrature import integrate, legendre, ten_digits

LEAST, MOST = 1e-12, 1e6
"""Variances between which fixed points are looked for: at the least, smooth functions are linear in
ten digits; at the most, a signal has left what networks are trained with."""
STEP = 1.5  # from one variance to the next, in this search
ROUNDS = 60  # of refinement steps: halving alone would give float64's digits
SAME = 1e-9  # relative: ten digits are computed
JUMP = 1e-5  # relative: quadrature of a kink is far better, and a jump has the size of the function
END, PANELS, POINTS = 8, 64, 8
"""Of the integral in two dimensions: Gauss-Legendre panels in [-END, END], all but 1e-15 of the
density. With a kink in a panel it is right to 1e-6."""


def critical(nonlinearity: Nonlinearity, *, bias_variance: float = 0.0) -> float:
    """Return the weight variance at which chi = 1: gradients neither vanish nor explode.

    It is on the line between the ordered and the chaotic phase, the edge of chaos. For ReLU it is
    He's 2. Weights have std ``sqrt(critical(f) / fan_in)``, biases ``sqrt(bias_variance)``.

    Where chi = 1 the variance has a fixed point; it isn't stable for every activation. GELU's and
    SiLU's is not, as long as the bias variance is below .173 and .555 (the variance then leaves it,
    layer by layer), and ``fixed_point`` says where the variance goes instead.

    Args:
        nonlinearity: a name such as "relu", or any elementwise callable on float64 tensors.
        bias_variance: variance of the biases.

    Raises:
        SchemeError: an invalid argument; a function that jumps, so that chi is infinite; there is
            no such weight variance, as for ReLU with biases, whose variance would grow for ever.

    Example:
        >>> round(critical(torch.tanh, bias_variance=0.05), 3), critical("relu")
        (1.761, 2.0)
    """
    _check_function(nonlinearity)
    _refuse_jumps(nonlinearity, 1.0)
    bias = _variance("bias_variance", bias_variance, zero=True)

    def excess(variance: float) -> float:
        """Return V(q) - q with the weight variance that makes chi 1 at q; 0 within rounding."""
        square, slope = expected_squares(nonlinearity, variance)
        found = bias + square / slope - variance if slope else math.inf
        return 0.0 if abs(found) <= SAME * variance else found

    below = max(bias, LEAST)
    first = excess(below)
    if first > 0:
        below = _crossing(excess, below, STEP)
    if below > MOST:
        raise SchemeError(
            f"no weight variance is critical for {label_of(nonlinearity)} with bias_variance="
            f"{bias_variance!r}: where chi is 1 the variance grows from layer to layer for ever. "
            "With a smaller bias_variance there may be one"
        )
    _refuse_jumps(nonlinearity, below)
    return ten_digits(1 / expected_squares(nonlinearity, below)[1])


def fixed_point(
    nonlinearity: Nonlinearity, weight_variance: float, *, bias_variance: float = 0.0
) -> float:
    """Return the variance that the signal tends to over depth, from a variance of 1.

    Args:
        nonlinearity: as for ``critical``.
        weight_variance: variance of the weights times fan_in.
        bias_variance: variance of the biases.

    Raises:
        SchemeError: an invalid argument; the variance grows without end.

    Example:
        >>> round(fixed_point(torch.tanh, 1.3, bias_variance=0.05), 4)
        0.3153
        >>> fixed_point("relu", 2.0), fixed_point("tanh", 0.9)
        (1.0, 0.0)
    """
    _check_function(nonlinearity)
    weight = _variance("weight_variance", weight_variance)
    bias = _variance("bias_variance", bias_variance, zero=True)

    def excess(variance: float) -> float:
        found = weight * expected_squares(nonlinearity, variance)[0] + bias - variance
        return 0.0 if abs(found) <= SAME * variance else found

    first = excess(1.0)
    if not first:
        return 1.0
    # Where V crosses the diagonal it attracts: q V'(q) >= -V(q) / 2, as f^2 is nowhere below 0.
    found = _crossing(excess, 1.0, STEP if first > 0 else 1 / STEP)
    if found > MOST:
        raise SchemeError(
            f"the variance grows without end with weight_variance={weight_variance!r} and "
            f"bias_variance={bias_variance!r}: {label_of(nonlinearity)} needs smaller ones"
        )
    if found < LEAST:
        return 0.0
    return ten_digits(found)


def chi(nonlinearity: Nonlinearity, weight_variance: float, *, bias_variance: float = 0.0) -> float:
    """Return the factor by which a layer multiplies the gradient's second moment, at depth.

    It is weight_variance E[f'(u)^2] at the fixed point of the variance. Below 1, in the ordered
    phase, gradients vanish and all inputs become alike; above 1, in the chaotic phase, gradients
    explode and similar inputs become different.

    Arguments and errors as for ``fixed_point``; a function that jumps, so that chi is infinite.

    Example:
        >>> round(chi(torch.tanh, 1.3, bias_variance=0.05), 3), chi("relu", 2.0)
        (0.88, 1.0)
    """
    return _variance_and_chi(nonlinearity, weight_variance, bias_variance)[1]


def fixed_correlation(
    nonlinearity: Nonlinearity, weight_variance: float, *, bias_variance: float = 0.0
) -> float:
    """Return the correlation that two different inputs tend to over depth.

    1 in the ordered phase: the network can't tell its inputs apart any more. Below 1 in the chaotic
    one. Arguments and errors as for ``chi``.

    Example:
        >>> fixed_correlation("tanh", 1.3, bias_variance=0.05)
        1.0
        >>> round(fixed_correlation("tanh", 3.0, bias_variance=0.05), 3)
        0.299
    """
    return _correlation_and_slope(nonlinearity, weight_variance, bias_variance)[0]


def correlation_length(
    nonlinearity: Nonlinearity, weight_variance: float, *, bias_variance: float = 0.0
) -> float:
    """Return the number of layers over which the correlation of two inputs comes e times nearer.

    Nearer to ``fixed_correlation``, as exp(-layers / length); Schoenholz et al. write xi_c. Beyond
    some six lengths networks could not be trained (their figure 5). Infinite at the critical point.
    Arguments and errors as for ``chi``.

    Example:
        >>> round(correlation_length("tanh", 1.3, bias_variance=0.05), 2)
        7.83
        >>> correlation_length("relu", 2.0)
        inf
    """
    return _length(_correlation_and_slope(nonlinearity, weight_variance, bias_variance)[1])


def depth_scale(
    nonlinearity: Nonlinearity, weight_variance: float, *, bias_variance: float = 0.0
) -> float:
    """Return the number of layers over which the gradient's second moment changes e-fold.

    It is 1 / abs(log(chi)): in the ordered phase the gradient vanishes so, in the chaotic one it
    explodes so. Infinite at the critical point. Arguments and errors as for ``chi``.

    Example:
        >>> round(depth_scale("tanh", 1.3, bias_variance=0.05), 2)
        7.83
        >>> round(depth_scale("tanh", 3.0, bias_variance=0.05), 2)
        5.27
    """
    return _length(chi(nonlinearity, weight_variance, bias_variance=bias_variance))


def _variance_and_chi(
    nonlinearity: Nonlinearity, weight_variance: float, bias_variance: float
) -> tuple[float, float]:
    """Return the fixed point of the variance, at least LEAST, and chi there."""
    variance = fixed_point(nonlinearity, weight_variance, bias_variance=bias_variance)
    variance = max(variance, LEAST)
    _refuse_jumps(nonlinearity, variance)
    slope = expected_squares(nonlinearity, variance)[1]
    return variance, ten_digits(weight_variance * slope)


def _correlation_and_slope(
    nonlinearity: Nonlinearity, weight_variance: float, bias_variance: float
) -> tuple[float, float]:
    """Return the fixed point of the correlation, and the slope of its map there."""
    variance, at_one = _variance_and_chi(nonlinearity, weight_variance, bias_variance)
    if at_one <= 1 + SAME:
        return 1.0, at_one
    f = _resolved(nonlinearity)

    def excess(c: float) -> float:
        mean = _mean_product(lambda z: evaluate(f, z, nonlinearity), variance, c)
        return (weight_variance * mean + bias_variance) / variance - c

    # The map is convex: above the diagonal before its fixed point, below between it and 1.
    start = excess(0.0)
    c = 0.0 if start <= SAME else _root(excess, (0.0, start), (1.0, -SAME))
    mean = _mean_product(lambda z: derivative(f, z, nonlinearity), variance, c)
    return ten_digits(c), weight_variance * mean


def _length(factor: float) -> float:
    if abs(factor - 1) <= SAME:
        return math.inf
    return ten_digits(1 / abs(math.log(factor))) if factor > 0 else 0.0


def _crossing(excess: Callable[[float], float], start: float, step: float) -> float:
    """Return where the excess first changes its sign, from ``start`` on by factors ``step``.

    Beyond ``MOST`` or below ``LEAST`` if it doesn't.
    """
    here, found = start, excess(start)
    while LEAST <= here <= MOST:
        there = here * step
        after = excess(there)
        if after == 0:
            return there
        if (after < 0) != (found < 0):
            return _root(excess, *sorted(((here, found), (there, after))))
        here, found = there, after
    return here


def _root(
    excess: Callable[[float], float], low: tuple[float, float], high: tuple[float, float]
) -> float:
    """Return where the excess is 0, between two points with their excess, of different signs.

    By secants; an end that stays twice counts half (the Illinois method).
    """
    (left, above), (right, below) = low, high
    there = left
    for _ in range(ROUNDS):
        finite = math.isfinite(above) and math.isfinite(below)
        there = (left * below - right * above) / (below - above) if finite else (left + right) / 2
        found = excess(there)
        if not found or right - left <= SAME * right / 100:
            return there
        if (found > 0) == (above > 0):
            left, above, below = there, found, below / 2
        else:
            right, below, above = there, found, above / 2
    return there


def _mean_product(f: Callable[[Tensor], Tensor], variance: float, c: float) -> float:
    """Return E[f(u) f(v)], u and v ~ N(0, variance) of correlation c >= 0.

    Both are sqrt(c) x + sqrt(1 - c) y with x in common: E[f(u) f(v)] = E[E[f(u) | x]^2].
    """
    nodes, weights = torch.tensor(legendre(POINTS), dtype=torch.float64, device="cpu")
    half = END / PANELS
    middles = half * torch.arange(1 - PANELS, PANELS, 2, dtype=torch.float64, device="cpu")
    z = (middles[:, None] + half * nodes).flatten()
    share = (weights * half).repeat(PANELS) * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    u = math.sqrt(variance) * (math.sqrt(c) * z[:, None] + math.sqrt(1 - c) * z)
    inner = f(u.flatten()).detach().reshape(u.shape) @ share
    return (inner.square() @ share).item()


def _refuse_jumps(nonlinearity: Nonlinearity, variance: float) -> None:
    """Raise if f' isn't the slope of f: f jumps, or has a gradient of its own.

    By Stein's lemma E[z f(z)] = E[f'(z)] and E[(z^2 - 1) f(z)] = E[z f'(z)], if jumps are counted.
    """
    f, root = _resolved(nonlinearity), math.sqrt(variance)

    def integrands(z: Tensor) -> Tensor:
        density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        value = evaluate(f, root * z, nonlinearity).detach() * density
        slope = root * derivative(f, root * z, nonlinearity) * density
        sizes = value.abs() * z.abs(), slope.abs()
        return torch.stack([z * value - slope, (z * z - 1) * value - z * slope, *sizes])

    edges = torch.arange(-4 * END, 4 * END + 1, dtype=torch.float64, device="cpu") / 4
    found = integrate(integrands, edges).abs()
    if bool(found[:2].amax() > JUMP * found[2:].amax()):
        raise SchemeError(
            f"the derivative of {label_of(nonlinearity)} isn't that of its values: it jumps, so "
            "that chi is infinite (similar inputs become different at once), or it has a gradient "
            "of its own. Pass a function without jumps"
        )


def _check_function(nonlinearity: Nonlinearity) -> None:
    expected_squares(nonlinearity, 1.0)  # its errors are those of gain


def _resolved(nonlinearity: Nonlinearity) -> Callable[[Tensor], Tensor]:
    return NONLINEARITIES[nonlinearity] if isinstance(nonlinearity, str) else nonlinearity


def _variance(name: str, value: float, *, zero: bool = False) -> float:
    given = cast("object", value)
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        if 0 < value < math.inf:
            return float(value)
        if zero and value == 0:
            return 0.0
    wanted = "a finite number, at least 0" if zero else "a finite number above 0"
    raise SchemeError(f"{name} is {wanted}, not {fields.short_repr(value)}")
