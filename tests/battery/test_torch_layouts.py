"""What fully_shard and parallelize_module really leave on each rank, against the layouts read here.

The fake process group makes one process any rank of a mesh; torch remembers meshes, so each rank
is a fork. Each parameter holds its own indices, so a shard shows which elements it has.
"""

from __future__ import annotations

import json
import logging
import math
import os
import traceback

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

from goodinit.applying.mesh_layouts import layout_of, part_of_layout

SIZES = [(1, 7), (5, 9), (3, 13), (8, 8), (2, 1), (6, 11)]  # uneven, and smaller than the mesh
MESHES = [((size,), ("dp",)) for size in (2, 3, 4, 5)]
MESHES += [((dp, tp), ("dp", "tp")) for dp in (1, 2, 3, 4) for tp in (2, 3, 4)]
MESHES += [((2, dp, tp), ("rep", "dp", "tp")) for dp in (2, 3) for tp in (2, 3)]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.columns = nn.ModuleList([nn.Linear(a, b) for a, b in SIZES])
        self.rows = nn.ModuleList([nn.Linear(b, a) for a, b in SIZES])
        self.norm, self.conv = nn.LayerNorm(7), nn.Conv1d(3, 7, 2)
        self.experts = nn.Parameter(torch.zeros(5, 7, 3))
        for parameter in self.parameters():
            count = parameter.numel()
            parameter.data = torch.arange(count, dtype=torch.float32).view(parameter.shape)


def split(rank: int, sizes: tuple[int, ...], names: tuple[str, ...]) -> nn.Module:
    mesh, net = init_device_mesh("cpu", sizes, mesh_dim_names=names), Net()
    if "tp" in names:
        tp = mesh["tp"]
        for layers, style in ((net.columns, ColwiseParallel), (net.rows, RowwiseParallel)):
            for layer in layers:
                parallelize_module(layer, tp, style(), src_data_rank=None)
        experts = distribute_tensor(net.experts.data, tp, [Shard(rank % 3)], src_data_rank=None)
        net.experts = nn.Parameter(experts)
    rest = tuple(name for name in names if name != "tp")
    for module in (*net.columns, *net.rows, net):
        fully_shard(module, mesh=mesh[rest] if len(names) > 1 else mesh)
    return net


def count_shards(rank: int, sizes: tuple[int, ...], names: tuple[str, ...]) -> int:
    world = math.prod(sizes)
    store = distributed.HashStore()
    distributed.init_process_group("fake", rank=rank, world_size=world, store=store)
    count = 0
    for name, parameter in split(rank, sizes, names).named_parameters():
        part, local = part_of_layout(layout_of(name, parameter)), parameter._local_tensor
        assert part is not None, (name, sizes, rank)
        whole = torch.arange(parameter.numel(), dtype=torch.float32).view(parameter.shape)
        held = torch.full(local.shape, -1.0)
        for box, where in part.pieces():
            held[where] = whole[tuple(slice(*run) for run in box)]
        assert torch.equal(held, local), (name, sizes, rank)
        count += 1
    return count


def in_a_fork(*case) -> int:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        logging.disable(logging.CRITICAL)
        try:
            count = count_shards(*case)
        except BaseException:
            traceback.print_exc()
            count = -1
        os.write(write, json.dumps(count).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        count = json.load(pipe)
    os.waitpid(child, 0)
    return count


@pytest.mark.battery
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a rank is a fork, which this system hasn't")
def test_layouts_are_those_that_torch_makes() -> None:
    import torch._dynamo  # each fork would pay for it
    import torch.testing._internal.distributed.fake_pg  # noqa: F401 (registers the backend)

    counts = [
        in_a_fork(rank, sizes, names) for sizes, names in MESHES for rank in range(math.prod(sizes))
    ]
    assert min(counts) > 0
    assert sum(counts) > 4000
