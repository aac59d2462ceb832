# pyright: basic
"""The normal law on every magnitude that a word can give: how it rounds, how accurate it is.

spec.py computes a fused multiply-add as float32(float64(a) b + c), which rounds twice. A C++ file
compares it with the fused instruction; numpy and scipy measure the rest.
"""

from __future__ import annotations

import ctypes
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from goodinit.streams import spec
from goodinit.streams.native import build

Floats = NDArray[np.float32]
LOG2, QUANTILE = np.array(spec.LOG2, np.float32), np.array(spec.QUANTILE, np.float32)
ALL = 67_108_865
CHUNK = 1 << 20


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    try:
        compiler = build.find_compiler()
    except build.BuildError as error:
        pytest.skip(str(error))
    target = tmp_path_factory.mktemp("magnitudes") / "magnitudes.so"
    flags = ["-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-fPIC", "-shared"]
    source = Path(__file__).with_name("magnitudes.cpp")
    subprocess.run([*compiler, *flags, str(source), "-o", str(target)], check=True)
    return ctypes.CDLL(str(target))


def polynomial(
    function: Callable[..., object], log2: Floats, quantile: Floats, c: Floats
) -> Floats:
    """P(t) where ``c`` is 2**31 (1 - abs(x)), by ``fused`` or ``twice`` of the library."""
    z = np.empty_like(c)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (log2, quantile, c, z)]
    function(*pointers[:3], ctypes.c_int64(len(z)), pointers[3])
    return z


def magnitudes() -> Iterator[Floats]:
    """Every float32 to which an odd integer below 2**31 rounds, and those between them."""
    yield from np.array_split(np.arange(1, 2**24, 2, dtype=np.int32).astype(np.float32), 8)
    first, last = (int(np.float32(size).view(np.int32)) for size in (2.0**24, 2.0**31))
    for start in range(first, last + 1, CHUNK):
        yield np.arange(start, min(start + CHUNK, last + 1), dtype=np.int32).view(np.float32)


def differing(library: ctypes.CDLL, log2: Floats, quantile: Floats, c: Floats) -> int:
    """Of how many magnitudes the two values differ."""
    values = (polynomial(f, log2, quantile, c) for f in (library.fused, library.twice))
    return int(np.count_nonzero(np.not_equal(*values)))


def test_two_roundings_equal_one_for_every_magnitude(library: ctypes.CDLL) -> None:
    found = [(len(c), differing(library, LOG2, QUANTILE, c)) for c in magnitudes()]
    assert np.sum(found, axis=0).tolist() == [ALL, 0]


def test_other_coefficients_are_rounded_twice(library: ctypes.CDLL) -> None:
    """The check above can fail: coefficients whose last sum is just below a tie of float32."""
    log2 = np.array([0, 0, 0, 0, 0, 1], np.float32)  # t = m + e
    c = np.arange(2**22 + 1, 2**23, 2).astype(np.float32)  # e = 0
    t = (c * (2.0**-22 - 2.0**-54 * c.astype(np.float64)).astype(np.float32)).astype(np.float64)
    z = (2.0**-24 / t).astype(np.float32)
    short = 1 - z * t * 2.0**24  # exact
    best = np.argmin(np.where(short > 0, short, 1))
    assert short[best] < 2.0**-30  # so that float64 rounds the sum to the tie
    quantile = np.zeros(16, np.float32)
    quantile[-2:] = z[best], 1 + 2.0**-23
    assert differing(library, log2, quantile, c[best : best + 1]) == 1


def true_quantile(v: NDArray[np.int64]) -> NDArray[np.float64]:
    """The normal quantile where 1 - abs(x) = v / 2**31, accurate at both ends."""
    near_zero = math.sqrt(2) * special.erfinv((2**31 - v) / 2.0**31)
    return np.where(v > 2**30, near_zero, -special.ndtri(v / 2.0**32))


def standard_normal(library: ctypes.CDLL, v: NDArray[np.int64]) -> NDArray[np.float64]:
    p = polynomial(library.fused, LOG2, QUANTILE, v.astype(np.float32))
    return (p * ((2**31 - v).astype(np.float32) * np.float32(2.0**-31))).astype(np.float64)


@pytest.mark.accuracy
def test_moments_of_all_magnitudes(library: ctypes.CDLL) -> None:
    """The odd ones are 0: the law is antisymmetric (test_symmetry_and_range)."""
    second = fourth = largest = 0.0
    least = math.inf
    for start in range(1, 2**31, 2 * CHUNK):
        z = standard_normal(library, np.arange(start, start + 2 * CHUNK, 2))
        square = z * z
        second += float(square.sum()) / 2**30
        fourth += float((square * square).sum()) / 2**30
        largest, least = max(largest, float(z.max())), min(least, float(z.min()))
    print(f"variance - 1 {second - 1:.3g}, kurtosis - 3 {fourth / second**2 - 3:.3g}")
    assert abs(second - 1) < 1e-7
    assert abs(fourth / second**2 - 3) < 1e-6
    assert largest == pytest.approx(6.2302594, abs=1e-6)
    assert 0 < least < 1e-9


@pytest.mark.accuracy
def test_errors_of_all_magnitudes(library: ctypes.CDLL) -> None:
    """An odd integer for each float32 of c, and one for each of x."""
    worst = 0.0
    for c in magnitudes():
        v = np.minimum(c.astype(np.int64) | 1, 2**31 - 1)
        for odd in (v, 2**31 - v):
            true = true_quantile(odd)
            worst = max(worst, float(np.abs(standard_normal(library, odd) / true - 1).max()))
    print(f"relative error {worst:.3g}")
    assert worst < 1e-6  # near 0, too
