"""Llama 405 B on 1024 simulated ranks: what a rank pays, and that all of it is drawn once."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import time

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.applying.mesh_layouts import MeshLayout, Placement, part_of_layout
from goodinit.applying.write import fill_part_
from goodinit.streams import Part, Stream
from goodinit.streams.part import chunk_bounds

WIDTH, HIDDEN, WORDS, HEADS, LAYERS = 16384, 53248, 128256, 1024, 126
MESH = (128, 8)  # FSDP, tensor parallelism
COLUMNS = (Placement("_StridedShard", 0, 8), Placement("Shard", 0))
ROWS = (Placement("Shard", 0), Placement("Shard", 1))
COPIES = (Placement("Shard", 0), Placement("Replicate"))

LAYOUT_SECONDS = 0.1  # for all parameters of a rank
RANK_SECONDS = 2.0  # CPU time of one thread, for all that it draws
SHARE = 1.3  # how far time per value may grow from 1/32 to 1/1024


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = {"q": (WIDTH, WIDTH), "k": (WIDTH, HEADS), "v": (WIDTH, HEADS)}
        sizes |= {"o": (WIDTH, WIDTH), "gate": (WIDTH, HIDDEN), "up": (WIDTH, HIDDEN)}
        for name, (inputs, outputs) in (sizes | {"down": (HIDDEN, WIDTH)}).items():
            self.add_module(name, nn.Linear(inputs, outputs, bias=False))
        self.before, self.after = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)


class Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(WORDS, WIDTH), nn.RMSNorm(WIDTH)
        self.layers = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.head = nn.Linear(WIDTH, WORDS, bias=False)


def layout(row: gi.PlanRow, coordinate: tuple[int, int]) -> MeshLayout:
    """Return how FSDP over tensor parallelism holds a row, with its local shape."""
    name = row.name.split(".")[-2]
    placements = ROWS if name in ("o", "down") else COLUMNS
    if len(row.shape) == 1:
        placements = COPIES
    sizes = list(row.shape)
    for axis in (1, 0):  # tensor parallelism first
        placement = placements[axis]
        if placement.kind != "Replicate":
            start, stop = chunk_bounds(sizes[placement.dim], MESH[axis], coordinate[axis])
            sizes[placement.dim] = stop - start
    return MeshLayout(row.shape, MESH, coordinate, placements, tuple(sizes))


@pytest.mark.battery
def test_llama_405b() -> None:
    with torch.device("meta"):
        plan = gi.plan(Llama().bfloat16(), "gpt2")
    assert len(plan) == 1137
    mine = [layout(row, (77, 3)) for row in plan]
    start = time.process_time()
    parts = [part_of_layout(one) for one in mine]
    assert time.process_time() - start < LAYOUT_SECONDS

    memory = torch.empty(max(math.prod(one.local) for one in mine), dtype=torch.bfloat16)
    start = time.process_time()
    for row, one, part in zip(plan, mine, parts, strict=True):
        assert part is not None
        local = memory[: math.prod(one.local)].view(one.local)
        fill_part_(local, row, Stream(7), part)
    taken = time.process_time() - start
    print(f"a rank of 1024: {sum(math.prod(one.local) for one in mine):,} values, {taken:.2f} s")
    assert taken < RANK_SECONDS

    sizes = {row.name: row for row in plan if "layers.0." in row.name or "layers" not in row.name}
    drawn = 0
    for row in sizes.values():
        times = LAYERS if "layers" in row.name else 1
        copies = MESH[1] if len(row.shape) == 1 else 1  # norms are the same in each TP rank
        for coordinate in itertools.product(range(MESH[0]), range(MESH[1])):
            part = part_of_layout(layout(row, coordinate))
            assert part is not None
            drawn += times * math.prod(part.local_shape) / copies
    assert drawn == sum(row.size for row in plan)


@pytest.mark.battery
def test_time_is_proportional_to_the_share() -> None:
    with torch.device("meta"):
        row = gi.plan(nn.Linear(WIDTH, HIDDEN, bias=False).bfloat16(), "gpt2")["weight"]
    per_value = []
    for ranks in (32, 1024):
        part = Part.split(0, 5, ranks).of(row.shape)
        local = torch.zeros(part.local_shape, dtype=torch.bfloat16)
        times = []
        for _ in range(10):  # the fastest: the machine may be busy
            start = time.process_time()
            fill_part_(local, row, Stream(1), part)
            times.append(time.process_time() - start)
        per_value.append(min(times) / local.numel())
    assert per_value[1] < SHARE * per_value[0]


MEMORY = """
from pathlib import Path
import torch, goodinit as gi
from torch import nn
from goodinit.applying.write import fill_part_
from goodinit.streams import Part, Stream

def drawn(shape, scheme, dtype):
    with torch.device("meta"):
        row = gi.plan(nn.Linear(*reversed(shape), bias=False).to(dtype), {{"*": scheme}})["weight"]
    part = Part.split(0, 5, 64).of(row.shape)
    local = torch.ones(part.local_shape, dtype=dtype)  # its own bytes are there
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    before = memory("VmRSS:")
    fill_part_(local, row, Stream(1), part)
    return (memory("VmHWM:") - before) * 1024

def memory(of):
    return int(Path("/proc/self/status").read_text().split(of)[1].split()[0])

drawn((64, 64), gi.Normal(1.0), torch.float32)  # imports, kernels
drawn((64, 64), gi.Orthogonal(), torch.float32)
print(drawn({shape}, gi.{scheme}, torch.{dtype}))
"""
ROOM = 16 * 2**20  # bytes, beside the part itself


@pytest.mark.battery
@pytest.mark.skipif(sys.platform != "linux", reason="the peak memory is read from /proc")
@pytest.mark.parametrize(
    ("shape", "scheme", "dtype", "matrix"),
    [
        ((HIDDEN, WIDTH), "Normal(0.02)", "bfloat16", 0),
        ((HIDDEN, WIDTH), "TruncatedNormal(0.02)", "float8_e4m3fn", 0),
        ((4096, 4096), "Orthogonal()", "float32", 4096 * 4096 * 4),
    ],
    ids=["normal", "truncated, float8", "orthogonal"],
)
def test_a_part_takes_little_memory_beside_itself(
    shape: tuple[int, int], scheme: str, dtype: str, matrix: int
) -> None:
    code = MEMORY.format(shape=shape, scheme=scheme, dtype=dtype)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print(f"{scheme}, {dtype}: {int(run.stdout) / 2**20:.1f} MiB beside the part")
    assert int(run.stdout) <= matrix + ROOM
