"""Parts of parameters, drawn by simulated ranks: together they are what one device draws."""

import itertools
import random
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

pytest.importorskip("torch.distributed.tensor.placement_types", reason="torch before 2.5")
from torch.distributed.tensor import Shard
from torch.distributed.tensor.placement_types import _StridedShard

import goodinit as gi
from goodinit.applying import mesh_layouts, write
from goodinit.applying.mesh_layouts import MeshLayout, Placement, part_of_layout
from goodinit.applying.write import fill_part_, fill_row_
from goodinit.schemes import matrices
from goodinit.streams import Part, Stream

from .meshes import coordinates, held, layouts

STREAM = Stream(7)
LAWS = [
    gi.Normal(0.02), gi.TruncatedNormal(0.02), gi.Uniform(-1.0, 2.0), gi.Constant(0.3),
    gi.Zeros(), gi.Ones(), gi.LogUniform(), gi.StepBias(), gi.LogRange(),
    gi.Function(lambda site: torch.arange(site.shape[-1]) / 7),
]  # fmt: skip
BY_FANS = [gi.XavierUniform(), gi.HeNormal(), gi.LeCunUniform()]
MATRICES = [gi.Orthogonal(1.5), gi.Sparse(0.3, std=0.1)]
SUB_PIXELS = gi.ICNR(gi.Normal(0.1), copies=1)  # refuses stacked experts: no axis of outputs
DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn]


class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stacked = nn.Parameter(torch.randn(5, 4, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bi,eoi->ebo", x, self.stacked)


def weights(module: nn.Module, inputs=None) -> list:
    return [row for row in gi.plan(module, gi.Normal(0.1), inputs=inputs) if len(row.shape) > 1]


def under(row, scheme):
    """Return the row as if this scheme had been planned."""
    blocks = tuple(replace(block, scheme=scheme) for block in row.blocks)
    return replace(row, scheme=scheme, blocks=blocks)


@cache
def rows() -> list:
    torch.manual_seed(0)
    linear = [nn.Linear(7, 13), nn.MultiheadAttention(6, 2), nn.LSTM(5, 3)]
    convolutions = [nn.Conv1d(6, 9, 3, groups=3), nn.ConvTranspose2d(6, 4, (3, 2), groups=2)]
    matrices = [row for module in linear for row in weights(module)]
    experts = weights(Experts(), torch.randn(2, 6))
    kernels = [row for module in convolutions for row in weights(module)]
    table, wide = weights(nn.Embedding(11, 6, padding_idx=3)), weights(nn.Conv2d(4, 8, 3))
    common = [*LAWS, *BY_FANS, *MATRICES]
    return (
        [under(row, scheme) for row in matrices + experts for scheme in (*common, gi.Identity(0.7))]
        + [under(row, scheme) for row in kernels for scheme in (*common, gi.Dirac(gain=0.7))]
        + [under(row, SUB_PIXELS) for row in matrices + kernels]
        + [under(row, scheme) for row in table for scheme in (*LAWS, *BY_FANS)]
        + [under(row, gi.DeltaOrthogonal()) for row in wide]
    )


def layout(shape, mesh, coordinate, placements, local) -> MeshLayout:
    named = [
        Placement(type(p).__name__, getattr(p, "dim", 0), getattr(p, "split_factor", 1))
        for p in placements
    ]
    return MeshLayout(tuple(shape), mesh, coordinate, tuple(named), tuple(local))


def drawn_parts(row, dtype, mesh, placements, cuts):
    """Yield (what a rank draws, what it should hold) for each rank."""
    whole = torch.full(row.shape, 9.0, dtype=torch.float32).to(dtype)
    fill_row_(whole, row, STREAM)
    for coordinate in coordinates(mesh):
        expected = held(whole.float(), mesh, coordinate, cuts).to(dtype)
        part = part_of_layout(layout(row.shape, mesh, coordinate, placements, expected.shape))
        assert part is not None
        local = torch.full(expected.shape, 9.0, dtype=torch.float32).to(dtype)
        fill_part_(local, row, STREAM, part)
        yield local, expected


def check(cases) -> int:
    count = 0
    for row, dtype, (mesh, placements, cuts) in cases:
        for local, expected in drawn_parts(row, dtype, mesh, placements, cuts):
            assert torch.equal(local.float(), expected.float()), (row, dtype, placements, mesh)
            count += 1
    return count


def every_case():
    for row in rows():
        for way in layouts(len(row.shape)):
            for dtype in DTYPES:
                yield row, dtype, way


def test_parts_are_those_of_the_whole() -> None:
    some = random.Random(0).sample(list(every_case()), 100)
    assert check(some) > 300


@pytest.mark.battery
def test_20_000_parts_are_those_of_the_whole() -> None:
    assert check(every_case()) >= 20_000


def test_flat_ranges_are_those_of_the_whole() -> None:
    rng = random.Random(1)
    for row in rng.sample(rows(), 60):
        whole = torch.empty(row.shape)
        fill_row_(whole, row, STREAM)
        size = -(-row.size // 4)  # ZeRO-3 cuts into equal parts, the last one padded
        for rank in range(4):
            start, stop = min(rank * size, row.size), min((rank + 1) * size, row.size)
            local = torch.empty(stop - start)
            fill_part_(local, row, STREAM, Part.flat(row.shape, start, stop))
            assert torch.equal(local, whole.flatten()[start:stop]), row


def test_the_order_of_the_cuts_decides() -> None:
    """The control: read from left to right, ranks of the smallest uneven mesh hold other rows."""
    mesh, placements = (3, 2), (_StridedShard(0, split_factor=2), Shard(0))
    truth = torch.arange(7)[:, None]
    right, wrong = [], []
    for coordinate in coordinates(mesh):
        local = held(truth, mesh, coordinate, ((1, 0, 1), (0, 0, 1)))
        known = layout((7, 1), mesh, coordinate, placements, local.shape)
        swapped = mesh_layouts._cut_left_to_right(known)
        right.append(
            [i for start, stop in part_of_layout(known).box[0] for i in range(start, stop)]
        )
        wrong.append([i for start, stop in swapped[0] for i in range(start, stop)])
        assert right[-1] == local.flatten().tolist()
    assert wrong != right
    assert wrong[4] == [6]  # what torch's own function says of rank 4
    assert (right[4], right[5]) == ([], [6])


def test_every_order_of_cuts_gives_each_index_once() -> None:
    for n, dp, tp in itertools.product(range(1, 14), range(1, 5), range(1, 4)):
        mesh, placements = (dp, tp), (_StridedShard(0, split_factor=tp), Shard(0))
        seen = []
        for coordinate in coordinates(mesh):
            local = held(torch.arange(n), mesh, coordinate, ((1, 0, 1), (0, 0, 1)))
            part = part_of_layout(layout((n,), mesh, coordinate, placements, local.shape))
            seen += [i for start, stop in part.box[0] for i in range(start, stop)]
        assert sorted(seen) == list(range(n)), (n, dp, tp)


def test_large_matrices_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "STRIP", 30)
    monkeypatch.setattr(matrices, "CHUNK", 7)
    monkeypatch.setattr(write, "CHUNK", 5)
    kinds = (gi.Orthogonal, gi.Sparse, gi.Identity, gi.Dirac, gi.DeltaOrthogonal)
    some = [case for case in every_case() if isinstance(case[0].scheme, kinds)]
    some += [case for case in every_case() if case[1] is torch.float8_e4m3fn]
    assert check(random.Random(2).sample(some, 25)) > 60
