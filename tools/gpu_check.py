"""`make gpu-check`: check that the GPU kernels draw the CPU's bits, and measure their speed.

Needs a CUDA GPU, and triton, which comes with torch there. Bits: COUNT values of each law in each
dtype, whole, and as a box through a transposed view. Times: medians from CUDA events on warm
memory, beside torch's own fill of the same tensor. The exit code is 1 if a bit differs.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from goodinit.streams import Law, Stream, gpu
from goodinit.streams.spec import key_bytes
from goodinit.streams.stream import DTYPES

COUNT = 100_000_007  # not a multiple of a block
ROWS, COLUMNS = 10_007, 9_994  # as many once more
TIMED = (2**20, 2**24, 2**28, 2**30)
QUEUED = 10  # so that a large fill's launch is hidden; a small one's is what takes the time
LAWS: dict[str, tuple[Law, Callable[[Tensor], object]]] = {
    "normal": (Law.normal(0.0, 0.02), lambda w: w.normal_(0.0, 0.02)),
    "uniform": (Law.uniform(-0.1, 0.1), lambda w: w.uniform_(-0.1, 0.1)),
    "truncated at 2 sigma": (
        Law.truncated(0.0, 1.0, -2.0, 2.0),
        lambda w: nn.init.trunc_normal_(w, 0.0, 1.0, -2.0, 2.0),
    ),
}


def main() -> int:
    """Print the results; return the exit code."""
    if not torch.cuda.is_available():
        print("make gpu-check needs a CUDA GPU, and torch sees none.")
        return 1
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    found = [same_bits(name, law, dtype) for name, (law, _) in LAWS.items() for dtype in DTYPES]
    print()
    print("| G values a second | dtype | values | goodinit | torch | fill_ | of torch | of fill_ |")
    print("|---|---|---|---|---|---|---|---|")
    for name, (law, torch_fill) in LAWS.items():
        for dtype in (torch.float32, torch.bfloat16):
            for count in TIMED:
                compare(name, law, torch_fill, torch.empty(count, dtype=dtype, device="cuda"))
    return 0 if all(found) else 1


def same_bits(name: str, law: Law, dtype: torch.dtype) -> bool:
    """Draw on both, with the kernel on the GPU; print and return whether the values are equal."""
    stream, key = Stream(1), key_bytes(1, "w", "")
    whole = torch.empty(COUNT, dtype=dtype, device="cuda")
    table = torch.empty(COLUMNS, ROWS, dtype=dtype, device="cuda").t()
    edges = ((11, 11 + ROWS), (7, 7 + COLUMNS))
    wide = (ROWS + 50, COLUMNS + 9)
    kernel = all(
        gpu.fill_box(out, key, law, shape, box)
        for out, shape, box in ((whole, (COUNT,), ((0, COUNT),)), (table, wide, edges))
    )
    equal = torch.equal(whole.cpu(), stream.draw("w", law, (COUNT,), dtype=dtype))
    boxed = stream.draw("w", law, wide, box=edges, dtype=dtype)
    equal = equal and torch.equal(table.cpu(), boxed)
    verdict = "the CPU's bits" if kernel and equal else "OTHER BITS" if kernel else "NO KERNEL"
    print(f"{name:22} {str(dtype).removeprefix('torch.'):10} {COUNT:,} values: {verdict}")
    return kernel and equal


def compare(name: str, law: Law, torch_fill: Callable[[Tensor], object], out: Tensor) -> None:
    """Print the billions of values per second of goodinit, torch and fill_, a row of a table."""
    stream = Stream(0)
    calls = (lambda: stream.fill_(out, "w", law), lambda: torch_fill(out), lambda: out.fill_(1.0))
    columns = zip(*rounds(calls), strict=True)
    rates = [out.numel() / statistics.median(column) / 1e6 for column in columns]
    ours, theirs, fill = rates
    row = [f"{rate:.0f}" for rate in rates] + [f"{ours / theirs:.2f}", f"{ours / fill:.2f}"]
    size, dtype = f"2^{out.numel().bit_length() - 1}", str(out.dtype).removeprefix("torch.")
    print("|", " | ".join([name, dtype, size, *row]), "|")


def rounds(calls: tuple[Callable[[], object], ...], times: int = 11) -> list[list[float]]:
    """Return milliseconds of each call, alternating; the first round compiles and is dropped."""
    return [[milliseconds(call) for call in calls] for _ in range(times + 1)][1:]


def milliseconds(call: Callable[[], object]) -> float:
    """Return the time of a call, of QUEUED that the device does one after the other."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(QUEUED):
        call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / QUEUED


if __name__ == "__main__":
    sys.exit(main())
