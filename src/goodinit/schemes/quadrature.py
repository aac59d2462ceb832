"""Integrals in float64: Gauss-Legendre panels, halved until they converge."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

POINTS = 16  # in a panel: exact for polynomials up to degree 31
CONVERGED = 1e-13  # a panel's difference from its halves, a share of the whole: near float64's eps
USABLE = 1e-7  # the same summed over the panels that never converge: float32's eps, as of a cast
ROUNDS = 60  # of halving: a panel is then as narrow as float64 resolves
PANELS = 2000  # at once: more than any smooth function needs, so that noise ends the halving


@functools.cache
def legendre(points: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the nodes and weights of the Gauss-Legendre rule on [-1, 1].

    Newton's method on the Legendre polynomial: plain float arithmetic, no LAPACK.
    """
    nodes: list[float] = []
    weights: list[float] = []
    for i in range(points):
        x = math.cos(math.pi * (i + 0.75) / (points + 0.5))
        slope = 1.0
        for _ in range(10):  # quadratic convergence from a good start: 5 steps are enough
            previous, value = 1.0, x
            for n in range(2, points + 1):
                previous, value = value, ((2 * n - 1) * x * value - (n - 1) * previous) / n
            slope = points * (x * value - previous) / (x * x - 1)
            x -= value / slope
        nodes.append(x)
        weights.append(2 / ((1 - x * x) * slope * slope))
    return tuple(nodes), tuple(weights)


def integrate(f: Callable[[Tensor], Tensor], edges: Tensor) -> Tensor:
    """Return the integrals of ``f`` from the first edge to the last.

    A panel that differs from its two halves is halved again, so that kinks and jumps cost panels,
    not accuracy. Put edges where kinks are expected.

    Args:
        f: maps points of shape [n] to k integrands, shape [k, n], both float64.
        edges: ascending, shape [panels + 1], float64.

    Returns:
        Shape [k].

    Raises:
        ArithmeticError: the panels do not converge, for example if the integral is infinite.

    Example:
        >>> edges = torch.tensor([0.0, 1.0], dtype=torch.float64)
        >>> integrate(lambda x: torch.stack([x**2, (x > 0.3).double()]), edges)
        tensor([0.3333, 0.7000], dtype=torch.float64)
    """
    left, right = edges[:-1], edges[1:]
    whole = _panels(f, left, right)
    scale = whole.abs().sum(dim=1, keepdim=True)
    total = torch.zeros_like(scale[:, 0])
    rounds = 0
    while left.numel():
        middle = (left + right) / 2
        first, second = _panels(f, left, middle), _panels(f, middle, right)
        error = (first + second - whole).abs()
        rough = (error > CONVERGED * scale).any(dim=0)
        rounds += 1
        if rounds == ROUNDS or rough.sum() > PANELS:
            if (error.sum(dim=1, keepdim=True) > USABLE * scale).any():
                raise ArithmeticError("the integral does not converge; is it infinite?")
            rough = torch.zeros_like(rough)  # float32 noise: no halving improves it
        total += (first + second)[:, ~rough].sum(dim=1)
        left = torch.cat([left[rough], middle[rough]])
        right = torch.cat([middle[rough], right[rough]])
        whole = torch.cat([first[:, rough], second[:, rough]], dim=1)
    return total


def ten_digits(value: float) -> float:
    """Return the value rounded to ten digits, the same on machines whose last bits differ."""
    return float(f"{value:.10g}")


def _panels(f: Callable[[Tensor], Tensor], left: Tensor, right: Tensor) -> Tensor:
    """Return the integral over each panel, shape [k, panels]."""
    nodes, weights = torch.tensor(legendre(POINTS), dtype=torch.float64, device="cpu")
    half = (right - left) / 2
    points = (left + right)[:, None] / 2 + half[:, None] * nodes
    values = f(points.flatten()).reshape(-1, *points.shape)
    return values @ weights * half


@functools.lru_cache(maxsize=1024)
def truncated_moments(low: float, high: float) -> tuple[float, float]:
    """Return (mean, standard deviation) of z ~ N(0, 1) given that low < z < high.

    By quadrature of exp(-(z^2 - nearest^2)/2), where ``nearest`` is the point of the interval
    nearest to 0. Unlike the formula with the error function, it loses no digits in narrow intervals
    or far tails. Rounded to ten digits, which are the same on every machine.

    >>> truncated_moments(-2.0, 2.0)
    (0.0, 0.879625661)
    >>> truncated_moments(30.0, 31.0)
    (30.03325967, 0.03322305693)
    """
    if high <= 0:
        mean, std = truncated_moments(-high, -low)
        return (0.0 if low == -high else -mean), std
    nearest = max(low, 0.0)
    reach = min(13.0, 80 / nearest) if nearest else 13.0  # beyond it: exp(-80) of the density
    start, end = max(low - nearest, -reach), min(high - nearest, reach)
    nodes, weights = legendre(16)
    half = (end - start) / 128
    steps = [start + half * (2 * panel + 1 + node) for panel in range(64) for node in nodes]
    mass = [w * math.exp(-t * (nearest + t / 2)) for t, w in zip(steps, weights * 64, strict=True)]
    total = math.fsum(mass)
    shift = math.fsum(m * t for m, t in zip(mass, steps, strict=True)) / total
    spread = math.fsum(m * (t - shift) ** 2 for m, t in zip(mass, steps, strict=True)) / total
    mean = 0.0 if low == -high else ten_digits(nearest + shift)
    return mean, ten_digits(math.sqrt(spread))
