"""Fit the two polynomials of the normal sampler, the coefficients of ``goodinit.streams.spec``.

    python tools/fit_normal.py          # prints them; about a minute
    python tools/fit_normal.py --all    # then checks all 2**31 magnitudes and signs; minutes

The normal quantile is z = x P(t), where x in (-1, 1) is the uniform, w = -log2(1 - x^2) and
t = w - CENTRE. Each polynomial minimizes the greatest error, by Lawson's reweighted least squares:
``LOG2`` the absolute error of w, ``QUANTILE`` the relative error of z. The coefficients are then
rounded to float32 from the highest down, and after each rounding the others are fitted again. The
coefficients in ``spec`` are frozen: they were made with numpy 2.4 and scipy 1.17, and other
versions may differ in the last bit.
"""

# pyright: basic
from __future__ import annotations

import argparse

import numpy as np
import scipy.special as sp
import torch
from numpy.typing import NDArray

from goodinit.streams import spec

Floats = NDArray[np.float64]

CENTRE = 12  # so that t is in [-12, 18]
LOG2_DEGREE = 7  # absolute error 5e-8, less than half a last place of float32 at 1
QUANTILE_DEGREE = 15  # relative error 2.2e-7, a few roundings of float32
ROUNDS = 400  # of reweighting; the best of all rounds is kept
LOG2_SAMPLES, QUANTILE_SAMPLES = 4001, 20001  # hundreds for each coefficient


def fit(powers: Floats, target: Floats) -> list[float]:
    """Return float32 coefficients c that nearly minimize max |powers @ c - target|.

    Args:
        powers: [samples, terms], each row 1, s, s^2, ... times the weight of the error there.
        target: [samples], times the same weight.
    """
    weight = np.ones_like(target)
    best, best_weight = np.inf, weight
    for _ in range(ROUNDS):
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


def fit_log2() -> list[float]:
    """Coefficients, highest first, of L with -log2(1 + f) = f L(f) on [sqrt(1/2), sqrt(2)) - 1."""
    f = np.linspace(0.5**0.5 - 1, 2**0.5 - 1, LOG2_SAMPLES)
    return fit(f[:, None] * np.vander(f, LOG2_DEGREE + 1, increasing=True), -np.log2(1 + f))


def fit_quantile() -> list[float]:
    """Coefficients, highest first, of P with z = x P(t)."""
    tails = np.round(2.0 ** np.linspace(0, 31, QUANTILE_SAMPLES)[1:]).astype(np.int64)
    flat = np.linspace(1, 2**31 - 1, QUANTILE_SAMPLES).astype(np.int64)
    m = np.unique(np.concatenate([tails, flat, 2**31 - tails]) | 1)
    m = m[(m > 0) & (m < 2**31)]
    x, c = (2**31 - m) / 2**31, m / 2**31
    w = np.where(c < 0.5, -np.log2(c) - np.log2(2 - c), -np.log1p(-x * x) / np.log(2))
    scaled = (w - CENTRE) / 16  # a power of two, so that rounding here is rounding there
    weight = x / quantile(m)
    terms = np.arange(QUANTILE_DEGREE + 1)
    coefficients = fit(weight[:, None] * scaled[:, None] ** terms, np.ones_like(x))
    return [k / 16.0 ** (QUANTILE_DEGREE - i) for i, k in enumerate(coefficients)]


def quantile(m: NDArray[np.int64]) -> Floats:
    """The true |z| where 1 - |x| = m / 2**31, accurate at both ends."""
    near_zero = np.sqrt(2.0) * sp.erfinv((2**31 - m) / 2.0**31)
    return np.where(m > 2**30, near_zero, -sp.ndtri(m / 2.0**32))


def check_all() -> None:
    """Evaluate the sampler in ``spec`` on every odd magnitude, and print its errors."""
    step = 1 << 22
    worst, second, fourth, drop, largest, last = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for start in range(0, 2**30, step):
        n = 2 * np.arange(start, start + step, dtype=np.int64) + 1
        z = spec.standard_normal(torch.from_numpy(n + 2**31)).numpy().astype(np.float64)
        worst = max(worst, float(np.abs(z / quantile(2**31 - n) - 1).max()))
        second += float((z**2).sum()) / 2**30
        fourth += float((z**4).sum()) / 2**30
        steps = np.diff(z, prepend=last)
        drop = max(drop, float((-steps / z).max()))
        largest, last = max(largest, float(z.max())), float(z[-1])
    print(f"max relative error {worst:.3g}, variance - 1 = {second - 1:.3g}")
    print(f"fourth moment - 3 = {fourth - 3:.3g}, max |z| = {largest:.6f}")
    print(f"largest relative step down between neighbors {drop:.3g}")


def main() -> None:
    """Print the coefficients, and check them all if asked."""
    parser = argparse.ArgumentParser(description="Fit the normal sampler's polynomials.")
    parser.add_argument("--all", action="store_true", help="check every value of spec's sampler")
    arguments = parser.parse_args()
    for name, coefficients in (("LOG2", fit_log2()), ("QUANTILE", fit_quantile())):
        degree = len(coefficients) - 1
        print(f"{name} = (")
        for i, k in enumerate(coefficients):
            print(f"    {k!r},  # {degree - i}: {k.hex()}")
        print(")")
    if arguments.all:
        check_all()


if __name__ == "__main__":
    main()
