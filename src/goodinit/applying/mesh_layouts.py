"""From the layout of a DTensor to the part of the whole that this process holds.

Plain arithmetic: no process group is asked and no private function of torch is called.
``compute_local_shape_and_global_offset``, which checkpoints use, reads placements from left to
right. ``fully_shard`` over tensor parallelism cuts in another order: tensor parallelism first, each
piece of it then into the shards of FSDP. Both agree where sizes divide. They don't where a nested
split is uneven: Linear(1, 7) on a mesh of 3 x 2 is the smallest. So an order that explains the
placements is tried first, the reading from left to right next, and the shape of the local tensor
decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from torch import Tensor

from goodinit.errors import ModelError
from goodinit.streams.part import Part, Runs, chunk_bounds, cut_runs, join_runs, run_size

WHOLE = ("Replicate",)
SUMMED = ("Partial", "_MaskPartial", "_NormPartial")
SHARDED = ("Shard", "_StridedShard")
REMEDY = "draw it before it is distributed, or name it in keep="


@dataclass(frozen=True, slots=True)
class Placement:
    """What one mesh axis does with a tensor: the placement's class, its tensor axis, its factor."""

    kind: str
    dim: int = 0
    factor: int = 1


@dataclass(frozen=True, slots=True)
class MeshLayout:
    """How a mesh holds a tensor, seen from one process; it is equal for many parameters.

    Attributes:
        shape: the whole tensor's.
        mesh: the mesh's.
        coordinate: this process's place in the mesh; None if it isn't in it.
        placements: one for each axis of the mesh.
        local: shape of what this process holds.
        order: for tensor axes that several mesh axes cut, these in their order, where it is given.
    """

    shape: tuple[int, ...]
    mesh: tuple[int, ...]
    coordinate: tuple[int, ...] | None
    placements: tuple[Placement, ...]
    local: tuple[int, ...]
    order: tuple[tuple[int, tuple[int, ...]], ...] = ()


def layout_of(name: str, tensor: Tensor) -> MeshLayout:
    """Return the layout of a DTensor.

    Raises:
        ModelError: a placement that isn't known, or an axis that the tensor doesn't have.
    """
    of_torch = cast("Any", tensor)
    mesh = of_torch.device_mesh
    shape, axes = tuple(tensor.shape), tensor.dim()
    placements: list[Placement] = []
    for size, placement in zip(mesh.shape, of_torch.placements, strict=True):
        kind = type(placement).__name__
        if kind in SHARDED:
            dim = int(placement.dim)
            if not -axes <= dim < axes:
                raise ModelError(
                    f"{name}: {placement!r} cuts an axis that shape {shape} hasn't: {REMEDY}"
                )
            placements.append(
                Placement(kind, dim % axes, int(getattr(placement, "split_factor", 1)))
            )
        elif kind in WHOLE or (kind in SUMMED and size == 1):
            placements.append(Placement("Replicate"))
        elif kind in SUMMED:
            raise ModelError(
                f"{name} is {placement!r} over {size} processes: its value is their sum, and each "
                f"would add what it draws: redistribute it to Replicate or Shard"
            )
        else:
            raise ModelError(f"{name} has the placement {placement!r}, which isn't known: {REMEDY}")
    coordinate = mesh.get_coordinate()
    return MeshLayout(
        shape,
        tuple(mesh.shape),
        None if coordinate is None else tuple(coordinate),
        tuple(placements),
        tuple(of_torch._local_tensor.shape),
        _given_order(of_torch),
    )


def _given_order(of_torch: Any) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Return the order in which mesh axes cut a tensor axis, if the tensor has one of its own."""
    entries: Sequence[Any] = getattr(of_torch._spec, "shard_order", None) or ()
    return tuple(
        (int(entry.tensor_dim), tuple(entry.mesh_dims))
        for entry in entries
        if list(entry.mesh_dims) != sorted(entry.mesh_dims)
    )


@lru_cache(maxsize=65536)
def part_of_layout(layout: MeshLayout) -> Part | None:
    """Return the part of the whole that the local tensor holds; None if no order explains it.

    A process outside of the mesh holds nothing.

    Example:
        >>> placements = (Placement("_StridedShard", 0, factor=2), Placement("Shard", 0))
        >>> part_of_layout(MeshLayout((7, 1), (3, 2), (1, 0), placements, (2, 1))).box
        (((2, 4),), ((0, 1),))
    """
    nothing = Part(layout.shape, tuple(() for _ in layout.shape))
    if layout.coordinate is None:
        return nothing
    for runs in _readings(layout):
        sizes = tuple(map(run_size, runs))
        # An empty shard of fully_shard has sizes of its own along the other axes.
        if sizes == layout.local or 0 == math.prod(sizes) == math.prod(layout.local):
            return Part(layout.shape, tuple(runs)) if math.prod(sizes) else nothing
    return None


def _readings(layout: MeshLayout) -> Iterator[list[Runs]]:
    """Yield the runs along each axis, by the order of the cuts and then from left to right."""
    order = _order_of_cuts(layout)
    if order is not None:
        yield _cut_in_order(layout, order)
    if not layout.order:
        yield _cut_left_to_right(layout)


def _order_of_cuts(layout: MeshLayout) -> dict[int, list[int]] | None:
    """Return for each tensor axis the mesh axes in the order of their cuts; None if there is none.

    A strided shard was cut after those shards of its axis to its right whose sizes multiply to its
    factor. (_StridedShard(0, factor of TP), Shard(0)) is tensor parallelism, then FSDP.
    """
    given = dict(layout.order)
    order: dict[int, list[int]] = {}
    for axis in range(len(layout.shape)):
        cutting = [
            n for n, p in enumerate(layout.placements) if p.kind in SHARDED and p.dim == axis
        ]
        if axis in given:
            order[axis] = list(given[axis])
            continue
        sequence: list[int] = []
        for number in reversed(cutting):
            place, product = 0, 1
            while product < layout.placements[number].factor and place < len(sequence):
                product *= layout.mesh[sequence[place]]
                place += 1
            if product != layout.placements[number].factor:
                return None
            sequence.insert(place, number)
        order[axis] = sequence
    return order


def _cut_in_order(layout: MeshLayout, order: dict[int, list[int]]) -> list[Runs]:
    runs = _all_of(layout.shape)
    for axis, sequence in order.items():
        for number in sequence:
            runs[axis] = _shard(layout, runs[axis], number)
    return runs


def _cut_left_to_right(layout: MeshLayout) -> list[Runs]:
    runs = _all_of(layout.shape)
    for number, placement in enumerate(layout.placements):
        if placement.kind == "Shard":
            runs[placement.dim] = _shard(layout, runs[placement.dim], number)
        elif placement.kind == "_StridedShard":
            runs[placement.dim] = _strided_shard(layout, runs[placement.dim], number)
    return runs


def _all_of(shape: tuple[int, ...]) -> list[Runs]:
    return [((0, size),) if size else () for size in shape]


def _shard(layout: MeshLayout, runs: Runs, number: int) -> Runs:
    assert layout.coordinate is not None
    start, stop = chunk_bounds(run_size(runs), layout.mesh[number], layout.coordinate[number])
    return cut_runs(runs, start, stop)


def _strided_shard(layout: MeshLayout, runs: Runs, number: int) -> Runs:
    """Cut each of ``factor`` chunks, and put this process's pieces of them together."""
    assert layout.coordinate is not None
    size, factor = run_size(runs), layout.placements[number].factor
    found: list[tuple[int, int]] = []
    for index in range(factor):
        first, last = chunk_bounds(size, factor, index)
        start, stop = chunk_bounds(last - first, layout.mesh[number], layout.coordinate[number])
        found += cut_runs(runs, first + start, first + stop)
    return join_runs(found)
