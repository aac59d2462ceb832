"""`make bench-peers`: the streams beside MKL's generator of the same kind, and torch's.

MKL (Philox4x32-10, the normal law by its inverse distribution function) comes from the registry
into an environment of its own, and is called through its C interface. The figures are the best of
interleaved rounds of several calls each, in warm memory, by one thread's CPU time, which other
processes hardly change. The aims hold for Intel, which MKL is made for.
"""

from __future__ import annotations

import ctypes
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from goodinit.streams import Law, Stream, native

PHILOX, ICDF = 16 << 20, 2  # VSL_BRNG_PHILOX4X32X10, VSL_RNG_METHOD_GAUSSIAN_ICDF
SIZES = (2**20, 20_000_000)
ROUNDS = 6
VALUES = 60_000_000  # of a round; after other code the first call finds the caches cold


def main(folder: str) -> None:
    """Print the table; ``folder`` is the environment that has MKL."""
    torch.set_num_threads(1)
    mkl, philox = open_mkl(Path(folder))
    print(f"kernels: {native.load().found}; torch {torch.__version__}\n")
    print("| M values a second, 1 thread | values | goodinit | MKL | torch | of MKL | of torch |")
    print("|---|---|---|---|---|---|---|")
    for size in SIZES:
        compare(torch.empty(size), mkl, philox)


def open_mkl(folder: Path) -> tuple[ctypes.CDLL, ctypes.c_void_p]:
    """Return the library, and a stream of its Philox generator."""
    path = next(folder.glob("lib/libmkl_rt.so*"), None)
    if path is None:
        sys.exit(f"{folder}/lib has no libmkl_rt.so: MKL comes for x86-64 Linux alone")
    mkl, philox = ctypes.CDLL(str(path)), ctypes.c_void_p()
    real, pointer = ctypes.c_float, ctypes.c_void_p
    for call in (mkl.vsRngGaussian, mkl.vsRngUniform):
        call.argtypes = [ctypes.c_int, pointer, ctypes.c_int, pointer, real, real]
    if mkl.vslNewStream(ctypes.byref(philox), PHILOX, 0):
        sys.exit("MKL refused to make a stream")
    return mkl, philox


def compare(out: torch.Tensor, mkl: ctypes.CDLL, philox: ctypes.c_void_p) -> None:
    """Print a row for each law; MKL has no truncated normals."""
    stream, n, where = Stream(0), out.numel(), out.data_ptr()
    normal, flat = Law.normal(0.0, 0.02), Law.uniform(-0.1, 0.1)
    cut = Law.truncated(0.0, 1.0, -2.0, 2.0)

    def gaussian() -> int:
        return mkl.vsRngGaussian(ICDF, philox, n, where, 0.0, 0.02)

    def uniform() -> int:
        return mkl.vsRngUniform(0, philox, n, where, -0.1, 0.1)

    rows: dict[str, tuple[Callable[[], object], Callable[[], int] | None, Callable[[], object]]] = {
        "normal": (
            *(lambda: stream.fill_(out, "w", normal), gaussian),
            lambda: out.normal_(0.0, 0.02),
        ),
        "uniform": (
            *(lambda: stream.fill_(out, "w", flat), uniform),
            lambda: out.uniform_(-0.1, 0.1),
        ),
        "truncated at 2 sigma": (
            *(lambda: stream.fill_(out, "w", cut), None),
            lambda: nn.init.trunc_normal_(out, 0.0, 1.0, -2.0, 2.0),
        ),
    }
    for law, (ours, of_mkl, of_torch) in rows.items():
        calls = [call for call in (ours, of_mkl, of_torch) if call is not None]
        rounds = [[seconds(call, VALUES // n) for call in calls] for _ in range(ROUNDS)]
        rates = [n / min(column) / 1e6 for column in zip(*rounds, strict=True)]
        ratios = [f"{rates[0] / rate:.2f}" for rate in rates[1:]]
        cells = [f"{rate:,.0f}" for rate in rates] + ratios
        if of_mkl is None:
            cells[1:1], cells[3:3] = [""], [""]
        print(f"| {law} | {n:,} |", " | ".join(cells), "|")


def seconds(call: Callable[[], object], times: int) -> float:
    """Return how long this thread computes in the quickest of several calls."""
    best = math.inf
    for _ in range(times):
        start = time.thread_time()
        call()
        best = min(best, time.thread_time() - start)
    return best


if __name__ == "__main__":
    main(sys.argv[1])
