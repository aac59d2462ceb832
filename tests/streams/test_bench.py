"""`make bench`: the streams beside torch, on the same tensor, in one run.

Medians of interleaved repetitions, with warm memory and with fresh. A table is printed and
bench.json written; only cycles are asserted, for a busy machine has other figures.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.nn import init
from goodinit.streams import Law, Stream, native
from goodinit.streams.native import build
from goodinit.streams.native.library import REQUEST, open_library, pack_law

pytestmark = pytest.mark.bench

N = 20_000_000
STREAM = Stream(0)
LAWS: dict[str, tuple[Law, Callable[[Tensor], object]]] = {
    "normal": (Law.normal(0.0, 0.02), lambda w: w.normal_(0.0, 0.02)),
    "uniform": (Law.uniform(-1.0, 1.0), lambda w: w.uniform_(-1.0, 1.0)),
    "truncated at 2 sigma": (
        Law.truncated(0.0, 1.0, -2.0, 2.0),
        lambda w: nn.init.trunc_normal_(w, 0.0, 1.0, -2.0, 2.0),
    ),
}
# torch's ratio to ours that is aimed at, on one thread and on two.
AIMS = {
    ("normal", torch.float32): (2.5, 4.0),
    ("normal", torch.bfloat16): (3.5, 6.0),
    ("uniform", torch.float32): (6.0, 9.0),
    ("truncated at 2 sigma", torch.float32): (40.0, 40.0),
}
FOUND: list[dict[str, object]] = []


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(
    what: str, ours: Callable[[], object], torchs: Callable[[], object], aim: float, times: int = 7
) -> None:
    """Add a line: medians of both, one after the other so that a busy moment meets both."""
    pairs = [(seconds(ours), seconds(torchs)) for _ in range(times)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    found = {"what": what, "seconds": mine, "torch": theirs, "ratio": theirs / mine, "aim": aim}
    FOUND.append(found)


@pytest.fixture(scope="module", autouse=True)
def table() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    Path("bench.json").write_text(json.dumps(FOUND, indent=1))
    print(f"\n\nkernels: {native.load().found}\n")
    print(f"{'what':44} {'goodinit':>11} {'torch':>11} {'ratio':>7} {'aim':>6}")
    for row in FOUND:
        mine, theirs = (f"{row[key] * 1e3:.4g} ms" for key in ("seconds", "torch"))
        print(f"{row['what']:44} {mine:>11} {theirs:>11} {row['ratio']:7.2f} {row['aim']:6g}")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("law", "dtype"), AIMS)
def test_fills(law: str, dtype: torch.dtype, threads: int) -> None:
    aims = AIMS[law, dtype]
    torch.set_num_threads(threads)
    drawn, theirs = LAWS[law]
    w = torch.empty(N, dtype=dtype)
    name = f"{law}, {str(dtype).removeprefix('torch.')}, {threads} thread{'s' * (threads > 1)}"
    compare(
        f"{name}, warm", lambda: STREAM.fill_(w, "w", drawn), lambda: theirs(w), aims[threads - 1]
    )

    def fresh(fill: Callable[[Tensor], object]) -> Callable[[], object]:
        return lambda: fill(torch.empty(N, dtype=dtype))

    ours = fresh(lambda v: STREAM.fill_(v, "w", drawn))
    compare(f"{name}, fresh", ours, fresh(theirs), aims[threads - 1])


CLOCK = """
unsigned long spin(unsigned long x, long n) {
    for (; n; n--) {
        __asm__ volatile("" : "+r"(x));
        x *= 0x9E3779B97F4A7C15;
    }
    return x;
}
"""
MULTIPLY = 3  # cycles of latency, on every x86 of the last ten years
# Vector instructions a value, by the number that the machine starts in a cycle: two of AVX-512,
# three of AVX2.
BOUNDS = {("AVX-512", "normal"): 1.9, ("AVX-512", "uniform"): 1.0,
          ("AVX2", "normal"): 3.7, ("AVX2", "uniform"): 2.2}  # fmt: skip
LOOSE = 2.0  # 1.1 to 1.7 were measured; where a compiler puts chains one after the other, 2.5


@pytest.mark.parametrize(("instructions", "law"), BOUNDS)
def test_cycles(instructions: str, law: str, tmp_path: Path) -> None:
    """A compiler that undoes the kernels' order of instructions shows here."""
    number = {"AVX2": 2, "AVX-512": 3}[instructions]
    opened = open_library(build.SOURCES / build.NAME, number)
    if opened.fill is None:
        pytest.skip(opened.found)
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    command = ["cc", "-O2", "-fPIC", "-shared", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    spin, steps = ctypes.CDLL(str(library)).spin, 1_000_000
    out, fill = torch.empty(2**16), opened.fill
    where = (out.data_ptr(), 0, bytes(16), pack_law(LAWS[law][0]), 0, number, 1, 1)
    request = REQUEST.pack(*where, out.numel(), 1, 1)
    hertz = (
        MULTIPLY * steps / min(seconds(lambda: spin(1, ctypes.c_long(steps))) for _ in range(99))
    )
    cycles = hertz * min(seconds(lambda: fill(request)) for _ in range(999)) / out.numel()
    bound = BOUNDS[instructions, law]
    print(f"\n{instructions} {law}: {cycles:.2f} cycles a value, {cycles / bound:.2f} of the bound")
    assert cycles < LOOSE * bound


@pytest.mark.parametrize("threads", [1, 2])
def test_the_limit(threads: int) -> None:
    """What writing a number costs, in fresh memory its first touch: no fill can be quicker."""
    torch.set_num_threads(threads)
    w = torch.empty(N)
    name = f"fill_, float32, {threads} thread{'s' * (threads > 1)}"
    compare(f"{name}, warm", lambda: w.fill_(0.5), lambda: w.fill_(0.5), 1)
    compare(f"{name}, fresh", *2 * (lambda: torch.empty(N).fill_(0.5),), 1)


def test_small_calls() -> None:
    w, law = torch.empty(16), Law.normal(0.0, 0.02)

    def many(call: Callable[[], object]) -> Callable[[], object]:
        return lambda: [call() for _ in range(2000)]

    def torchs() -> Tensor:
        return nn.init.normal_(w, 0.0, 0.02)

    compare("2,000 fills of 16 values", many(lambda: STREAM.fill_(w, "w", law)), many(torchs), 0.67)
    compare(
        "2,000 nn.init.normal_ of 16", many(lambda: init.normal_(w, 0.0, 0.02)), many(torchs), 0
    )


def test_a_plan_of_tiny_parameters() -> None:
    net = nn.Sequential(*[nn.Linear(4, 4) for _ in range(5000)])
    plan = gi.plan(net, {"*": gi.Normal(0.02)})

    def torchs() -> None:
        for layer in net:
            nn.init.normal_(layer.weight, 0.0, 0.02)
            nn.init.normal_(layer.bias, 0.0, 0.02)

    compare("a ready plan of 10,000 parameters", lambda: gi.apply_(net, plan, seed=0), torchs, 0.33)


@pytest.mark.parametrize("threads", [1, 2])
def test_orthogonal(threads: int) -> None:
    torch.set_num_threads(threads)
    w = torch.empty(4096, 4096)
    compare(
        f"orthogonal 4096 x 4096, {threads} threads",
        *(lambda: gi.init_(w, gi.Orthogonal(), seed=0), lambda: nn.init.orthogonal_(w)),
        *(1.5, 3),
    )


@pytest.mark.parametrize("sparsity", [0.1, 0.9])
def test_sparse(sparsity: float) -> None:
    torch.set_num_threads(2)
    w = torch.zeros(16384, 16384).add_(1)  # its pages touched
    compare(
        f"sparse 16384 x 16384, {sparsity:.0%} zeros",
        *(lambda: gi.init_(w, gi.Sparse(sparsity), seed=0),),
        *(lambda: nn.init.sparse_(w, sparsity),),
        *(1.0, 3),
    )


def alone(way: str, layers: int) -> dict[str, float]:
    """Make a model of 2 or 22 layers in a process of its own, where all memory is fresh."""
    script = Path(__file__).with_name("llama.py")
    command = [sys.executable, str(script), way, str(layers)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def test_a_model_of_a_billion_parameters() -> None:
    ways = ("normal", "default", "fill")
    runs = [{way: alone(way, 22) for way in ways} for _ in range(5)]
    mine, theirs, fill = (statistics.median(run[way]["seconds"] for run in runs) for way in ways)
    what = "1.1 B Llama, from nothing to drawn"
    ratio = theirs / mine
    FOUND.append({"what": what, "seconds": mine, "torch": theirs, "ratio": ratio, "aim": 8})
    above = max(run["normal"]["above"] for run in runs)
    print(f"\n1.1 B Llama: peak memory {above:.1f} MiB above the model's (aim 64)")
    print(f"fill_ alone takes {fill:.2f} s")


def test_memory_of_orthogonal_matrices() -> None:
    found = alone("orthogonal", 2)
    share = found["above"] / found["largest"]
    print(f"\northogonal: peak memory {share:.2f} times the largest above the model's (aim 3)")
