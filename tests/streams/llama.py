"""A language model of 1.1 B parameters from nothing to initialised, in a process of its own.

    python tests/streams/llama.py default|fill|normal|orthogonal LAYERS

``default`` is what the constructors draw, ``fill`` only writes a number.

Prints JSON: seconds, and the peak memory above the model's and the imports' own, in MiB.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn

import goodinit as gi


class Block(nn.Module):
    """The parameters of a Llama block; none of this is run."""

    def __init__(self, width: int, inner: int, narrow: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q, self.out = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(width, narrow, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)


class Llama(nn.Module):
    """TinyLlama's sizes."""

    def __init__(self, layers: int, width: int = 2048, inner: int = 5632) -> None:
        super().__init__()
        self.embed = nn.Embedding(32000, width)
        self.blocks = nn.ModuleList(Block(width, inner, width // 8) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, 32000, bias=False)


def peak() -> float:
    """Return this program's peak memory in MiB; getrusage counts what ran before it as well."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def make(way: str, layers: int) -> nn.Module:
    if way == "default":
        return Llama(layers)
    with torch.device("meta"):
        model = Llama(layers)
    if way == "fill":
        for p in model.to_empty(device="cpu").parameters():
            p.detach().fill_(0.5)
        return model
    gi.init_(model, "gpt2" if way == "normal" else "orthogonal", seed=0, materialize="cpu")
    return model


def main(way: str, layers: int) -> None:
    with torch.device("meta"):  # what torch imports when it is first asked for
        warm = Llama(1, 64, 64)
    gi.init_(warm, "gpt2", seed=0, materialize="cpu")
    before, start = peak(), time.perf_counter()
    model = make(way, layers)
    seconds = time.perf_counter() - start
    sizes = [4 * p.numel() / 2**20 for p in model.parameters()]
    above = peak() - before - sum(sizes)
    print(json.dumps({"seconds": seconds, "above": above, "largest": max(sizes)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
