"""Ranks of a mesh without processes: what each holds of a tensor, and a stand-in for DTensor."""

import itertools
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

pytest.importorskip("torch.distributed.tensor.placement_types", reason="torch before 2.5")
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.placement_types import _StridedShard

__all__ = ["FakeMesh", "coordinates", "distributed", "held", "layouts"]


class FakeMesh:
    """The public face of a DeviceMesh, seen from one rank."""

    def __init__(self, shape, coordinate):
        self.shape, self._coordinate = tuple(shape), coordinate

    def get_coordinate(self):
        return None if self._coordinate is None else list(self._coordinate)


class DTensor(Tensor):
    """Stands for torch's: the layout knows it by its class name."""

    @staticmethod
    def __new__(cls, local, shape, mesh, placements, order=None, requires_grad=False):
        made = Tensor._make_wrapper_subclass(
            cls, shape, dtype=local.dtype, device=local.device, requires_grad=requires_grad
        )
        made._local_tensor, made.device_mesh, made.placements = local, mesh, tuple(placements)
        made._spec = SimpleNamespace(shard_order=order)
        return made

    def to_local(self):
        return self._local_tensor

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        first = args[0]
        if function is torch.ops.aten.detach.default:
            local = first._local_tensor
        elif function is torch.ops.aten.empty_like.default:
            local = torch.empty_like(first._local_tensor, device=kwargs.get("device"))
        else:
            raise AssertionError(f"{function} of a DTensor may be a collective")
        return cls(local, first.shape, first.device_mesh, first.placements, first._spec.shard_order)


def coordinates(mesh) -> Iterator[tuple[int, ...]]:
    return itertools.product(*map(range, mesh))


def held(whole: Tensor, mesh, coordinate, cuts) -> Tensor:
    """Return what a rank holds if (mesh axis, tensor axis, factor) cut the tensor in this order.

    A factor above 1 is a strided shard, read from left to right as torch's checkpoints do.
    """
    for axis, dim, factor in cuts:
        pieces = [piece(c, mesh[axis], coordinate[axis], dim) for c in whole.chunk(factor, dim)]
        whole = torch.cat(pieces, dim)
    return whole


def piece(tensor: Tensor, size: int, index: int, dim: int) -> Tensor:
    chunks = tensor.chunk(size, dim)
    return chunks[index] if index < len(chunks) else tensor.narrow(dim, 0, 0)


def distributed(whole: Tensor, mesh, coordinate, placements, cuts, **how) -> DTensor:
    local = held(whole, mesh, coordinate, cuts).clone()
    return DTensor(local, whole.shape, FakeMesh(mesh, coordinate), placements, **how)


def layouts(axes: int) -> Iterator[tuple[tuple[int, ...], tuple, tuple]]:
    """Yield (mesh, placements, cuts) for tensors of some axes: what trainers really make."""
    for size in (2, 3, 5):
        yield (size,), (Replicate(),), ()
        for dim in range(axes):  # tensor or expert parallelism, FSDP along an axis
            yield (size,), (Shard(dim),), ((0, dim, 1),)
    for dp, tp in ((2, 2), (3, 2), (2, 3)):
        for dim in range(axes):  # FSDP over tensor parallelism: the latter cuts first
            first = _StridedShard(0, split_factor=tp) if dim == 0 else Shard(0)
            yield (dp, tp), (first, Shard(dim)), ((1, dim, 1), (0, 0, 1))
            yield (dp, tp), (Replicate(), Shard(dim)), ((1, dim, 1),)
        yield (dp, tp), (Shard(0), Shard(0)), ((0, 0, 1), (1, 0, 1))  # as the user distributes
        # A factor that isn't an order: left to right.
        yield (dp, tp), (_StridedShard(0, split_factor=5), Replicate()), ((0, 0, 5),)
    for dim in range(axes):  # replicas, FSDP within them, tensor parallelism first
        first = _StridedShard(0, split_factor=2) if dim == 0 else Shard(0)
        yield (2, 2, 2), (Replicate(), first, Shard(dim)), ((2, dim, 1), (1, 0, 1))
