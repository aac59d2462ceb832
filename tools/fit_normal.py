"""Fit the two polynomials of the normal sampler, the coefficients of ``goodinit.streams.spec``.

    python tools/fit_normal.py              # prints them and their error; a minute
    python tools/fit_normal.py --rounds 0   # without the search

The normal quantile is z = x P(t), where x in (-1, 1) is the uniform and 2^8 (1 - x^2) = 2^e m
with m in [1, 2). t = m L(m) + e is the logarithm but for a constant, for which L has no term: it
only moves the center of P. Each polynomial minimizes the greatest error, by Lawson's reweighted
least squares: ``LOG2`` the absolute error of t, ``QUANTILE`` the relative error of z. The
coefficients are rounded to float32 from the highest down, and after each rounding the others are
fitted again. Then a random search moves them by a few last places, and keeps what lowers the
greatest error of the float32 arithmetic plus that of the variance. The coefficients in ``spec``
are frozen: they were made by this file with numpy 2.4 and scipy 1.17, and other versions may find
others. The test tests/streams/test_magnitudes.py tries them on all magnitudes.
"""

# pyright: basic
from __future__ import annotations

import argparse

import numpy as np
import scipy.special as sp
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SCALE = 8  # so that t is in [-19, 11], around P's center
LOG2_DEGREE = 6  # absolute error 2e-6, which moves z by less than 4e-7
QUANTILE_DEGREE = 15  # relative error 4e-7, a few roundings of float32
REWEIGHTED = 400  # times; the best of all is kept
SAMPLES = 20001  # hundreds for each coefficient
MOVES = 3  # last places, of up to three coefficients at a time


def fit(powers: Floats, target: Floats) -> list[float]:
    """Return float32 coefficients c that nearly minimize max |powers @ c - target|.

    Args:
        powers: [samples, terms], each row 1, s, s^2, ... times the weight of the error there.
        target: [samples], times the same weight.
    """
    weight = np.ones_like(target)
    best, best_weight = np.inf, weight
    for _ in range(REWEIGHTED):
        root = np.sqrt(weight)
        c = np.linalg.lstsq(powers * root[:, None], target * root, rcond=None)[0]
        error = np.abs(powers @ c - target)
        if error.max() < best:
            best, best_weight = error.max(), weight
        weight = weight * error + 1e-300
        weight /= weight.mean()
    root = np.sqrt(best_weight)
    rest = target.copy()
    coefficients: list[float] = []
    for terms in range(powers.shape[1], 0, -1):
        c = np.linalg.lstsq(powers[:, :terms] * root[:, None], rest * root, rcond=None)[0]
        top = float(np.float32(c[-1]))
        rest -= top * powers[:, terms - 1]
        coefficients.append(top)
    return coefficients


def fit_log2() -> tuple[list[float], float]:
    """Coefficients, highest first, of L with log2(m) = m L(m) + constant; and the constant."""
    m = np.linspace(1, 2, SAMPLES)
    *coefficients, constant = fit(np.vander(m, LOG2_DEGREE + 1, increasing=True), np.log2(m))
    return coefficients, constant


def fit_quantile(constant: float) -> list[float]:
    """Coefficients, highest first, of P with z = x P(t)."""
    m = some_magnitudes(SAMPLES)
    x, c = (2**31 - m) / 2**31, m / 2**31
    w = np.where(c < 0.5, np.log2(c) + np.log2(2 - c), np.log1p(-x * x) / np.log(2))
    scaled = (w + SCALE - constant) / 16  # a power of two, so that rounding here is rounding there
    weight = x / quantile(m)
    terms = np.arange(QUANTILE_DEGREE + 1)
    coefficients = fit(weight[:, None] * scaled[:, None] ** terms, np.ones_like(x))
    return [k / 16.0 ** (QUANTILE_DEGREE - i) for i, k in enumerate(coefficients)]


def some_magnitudes(count: int) -> NDArray[np.int64]:
    """Odd integers 2^31 (1 - |x|), dense in the tail, in the middle and near x = 0."""
    tails = np.round(2.0 ** np.linspace(0, 31, count)[1:]).astype(np.int64)
    m = np.unique(np.concatenate([tails, even_magnitudes(count), 2**31 - tails]) | 1)
    return m[(m > 0) & (m < 2**31)]


def even_magnitudes(count: int) -> NDArray[np.int64]:
    """Odd integers 2^31 (1 - |x|), each for an equal share of the probability."""
    return ((np.arange(count) + 0.5) / count * 2**31).astype(np.int64) | 1


def quantile(m: NDArray[np.int64]) -> Floats:
    """The true |z| where 1 - |x| = m / 2**31, accurate at both ends."""
    near_zero = np.sqrt(2.0) * sp.erfinv((2**31 - m) / 2.0**31)
    return np.where(m > 2**30, near_zero, -sp.ndtri(m / 2.0**32))


def evaluate(log2: Floats, quantile: Floats, m: NDArray[np.int64]) -> Floats:
    """The sampler of ``spec`` with other coefficients, |z| of each magnitude."""

    def fused(a: Floats, b: Floats | float, c: Floats | float) -> Floats:
        return (a * b + c).astype(np.float32).astype(np.float64)

    def horner(coefficients: Floats, x: Floats) -> Floats:
        y = np.full_like(x, coefficients[0])
        for c in coefficients[1:]:
            y = fused(y, x, c)
        return y

    c = m.astype(np.float32)
    y = c * fused(c.astype(np.float64), -(2.0**-54), 2.0**-22).astype(np.float32)
    e = (y.view(np.int32) >> 23) - 127
    mantissa = y * 2.0**-e
    t = fused(horner(log2, mantissa), mantissa, e)
    x = (2**31 - m).astype(np.float32) * np.float32(2.0**-31)
    return (horner(quantile, t).astype(np.float32) * x).astype(np.float64)


def search(coefficients: NDArray[np.float32], rounds: int) -> tuple[NDArray[np.float32], float]:
    """Move coefficients by last places while the relative error and the variance's fall."""
    draw = np.random.default_rng(0)
    m, even = some_magnitudes(SAMPLES), even_magnitudes(SAMPLES)
    true, square = quantile(m), quantile(even) ** 2

    def error(c: NDArray[np.float32]) -> float:
        wide = c.astype(np.float64)
        worst, z = (evaluate(wide[:LOG2_DEGREE], wide[LOG2_DEGREE:], v) for v in (m, even))
        return float(np.abs(worst / true - 1).max() + abs(np.mean(z**2 - square)))

    best = error(coefficients)
    for _ in range(rounds):
        moved = coefficients.copy()
        for _ in range(draw.integers(1, 4)):
            moved.view(np.int32)[draw.integers(len(moved))] += draw.integers(-MOVES, MOVES + 1)
        found = error(moved)
        if found <= best:
            coefficients, best = moved, found
    return coefficients, best


def main() -> None:
    """Print the coefficients and their error."""
    parser = argparse.ArgumentParser(description="Fit the normal sampler's polynomials.")
    parser.add_argument("--rounds", type=int, default=4000, help="of the search (4000)")
    log2, constant = fit_log2()
    start = np.array([*log2, *fit_quantile(constant)], np.float32)
    found, error = search(start, parser.parse_args().rounds)
    print(f"greatest relative error, and the variance's: {error:.3g} together")
    for name, part in (("LOG2", found[:LOG2_DEGREE]), ("QUANTILE", found[LOG2_DEGREE:])):
        print(f"{name} = (")
        for k in part:
            print(f"    {float(k)!r},")
        print(")")


if __name__ == "__main__":
    main()
