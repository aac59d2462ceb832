"""`make gpu-check`: check that the GPU kernels draw the CPU's bits, and measure their speed.

Needs a CUDA GPU, and triton, which comes with torch there. Bits: COUNT values of each law in each
dtype, whole, and as a box through a transposed view; then models, initialized on both devices:
only orthogonal weights may differ, by rounding. Times: medians from CUDA events on warm memory,
beside torch's own fill of the same tensor. The exit code is 1 if a check fails.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.streams import Law, Stream, gpu
from goodinit.streams.spec import key_bytes
from goodinit.streams.stream import DTYPES

COUNT = 100_000_007  # not a multiple of a block
ROWS, COLUMNS = 10_007, 9_994  # as many once more
TIMED = (2**20, 2**24, 2**28, 2**30)
ROUNDING = 1e-6
"""Of orthogonal weights, which the GPU's own library computes; measured: 4e-7 in float32."""
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
    found += [same_model(name, make, x) for name, (make, x) in models().items()]
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


class Classifier(nn.Module):
    """A recurrent layer of two directions, and a head on its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(16, 32, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(self.rnn(x)[0][:, -1])


class LanguageModel(nn.Module):
    """A transformer whose head is tied to its table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(100, 32)
        self.block = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
        self.head = nn.Linear(32, 100, bias=False)
        self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(self.block(self.table(x)))


def models() -> dict[str, tuple[Callable[[], nn.Module], Tensor]]:
    """Return what makes each model, and its inputs."""

    def convolutions() -> nn.Module:
        first, second = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3, bias=False)
        layers = (first, nn.BatchNorm2d(16), nn.ReLU(), second, nn.Flatten(), nn.LazyLinear(10))
        model = nn.Sequential(*layers)
        model(torch.zeros(2, 3, 8, 8))
        return model.to(memory_format=torch.channels_last)

    return {
        "convolutions, channels last": (convolutions, torch.randn(4, 3, 8, 8)),
        "LSTM": (Classifier, torch.randn(4, 7, 16)),
        "transformer, tied": (LanguageModel, torch.randint(100, (4, 12))),
    }


def same_model(name: str, make: Callable[[], nn.Module], x: Tensor) -> bool:
    """Initialize a model on both devices and measure it; print and return whether both agree."""
    on_cpu, on_gpu = make(), make().cuda()
    before = torch.cuda.get_rng_state()
    plan = gi.init_(on_gpu, "standard", inputs=x.cuda(), seed=3)
    gi.init_(on_cpu, "standard", inputs=x, seed=3)
    untouched = torch.equal(before, torch.cuda.get_rng_state())
    theirs = dict(on_cpu.named_parameters())
    off = {
        key: (mine.cpu() - theirs[key]).abs().max().item()
        for key, mine in on_gpu.named_parameters()
    }
    exact = all(isinstance(plan[key].scheme, gi.Orthogonal) for key, most in off.items() if most)
    counts = [len(gi.measure(on_cpu, x)), len(gi.measure(on_gpu, x.cuda()))]
    good = untouched and exact and max(off.values()) <= ROUNDING and counts[0] == counts[1]
    rounded = sum(map(bool, off.values()))
    verdict = "the CPU's weights" if good else "OTHER WEIGHTS, NUMBERS OR ROWS"
    print(f"{name:33} {len(off):3} parameters, {rounded} of them rounded otherwise: {verdict}")
    return good


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
