"""One rank's part of a model in a file, drawn tensor by tensor: the model is never in memory.

Rank r of n holds the r-th of n chunks of each parameter along its first axis, as ``torch.chunk``
and FSDP 2 cut it; scalars and buffers are whole in each file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.anatomy.names import Slot, slots
from goodinit.applying.planned_values import PlannedValues
from goodinit.applying.write import fill_part_
from goodinit.cli.output import CommandError
from goodinit.errors import MetaModelError, UnresolvedError
from goodinit.plans.rows import needs_old
from goodinit.schemes.low_rank import LowRank
from goodinit.streams import Part, stream_of


@dataclass(frozen=True)
class ShardFile:
    """What one file holds.

    Attributes:
        tensors: of the parts' shapes, by the names of the state dict; without values.
        groups: the names of each tensor.
        read: returns the values of a name.
    """

    tensors: dict[str, Tensor]
    groups: list[list[str]]
    read: Callable[[str], Tensor]


def parse_shard(text: str) -> tuple[int, int]:
    """Return (rank, number of ranks).

    >>> parse_shard("3/8")
    (3, 8)
    """
    rank, slash, size = text.partition("/")
    if not (slash and rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
        raise CommandError(
            f"--shard {text}: write the rank and the number of ranks, which count from 0, as in "
            f"0/8 to 7/8"
        )
    return int(rank), int(size)


def streamed_shard(
    model: nn.Module, plan: gi.Plan, seed: int, rank: int, size: int
) -> ShardFile | None:
    """Return a rank's part of a model on meta; None if it takes the model in memory to draw it.

    It does where the plan keeps what only the constructor computes, and where a weight is computed
    from others and has buffers of its own.
    """
    found = slots(model)
    rows = {row.name: row for row in plan}
    places = dict(place for slot in found for place in _places(slot))
    names = [
        n for n, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)
    ]
    if not places.keys() >= set(names) or any(isinstance(r.scheme, LowRank) for r in plan):
        return None
    stream = stream_of(seed)
    try:
        values = PlannedValues(found, rows, stream, torch.device("cpu"))
    except (MetaModelError, UnresolvedError):
        return None

    def read(name: str) -> Tensor:
        slot, number = places[name]
        row, tensor = values.row(slot.name), slot.tensors[number]
        part = None if slot.buffer else _chunk(tensor.shape, rank, size)
        if row is None or part is None or slot.how != "plain" or needs_old(row):
            return shard_of(values.of(slot.name, number), slot.buffer, rank, size)
        out = torch.empty(part.local_shape, dtype=tensor.dtype)
        with torch.no_grad():
            fill_part_(out, row, stream, part)
        return out

    groups: dict[tuple[int, int], list[str]] = {}
    for name in sorted(names):
        slot, number = places[name]
        groups.setdefault((id(slot), number), []).append(name)
    shapes = {
        name: shard_of(places[name][0].tensors[places[name][1]].to("meta"), slot.buffer, rank, size)
        for name in names
        for slot in [places[name][0]]
    }
    return ShardFile(shapes, list(groups.values()), read)


def shard_of(tensor: Tensor, buffer: bool, rank: int, size: int) -> Tensor:
    """Return a rank's rows of a tensor."""
    part = None if buffer else _chunk(tensor.shape, rank, size)
    if part is None:
        return tensor
    ((start, stop),) = part.box[0] or ((0, 0),)
    return tensor[start:stop]


def _chunk(shape: torch.Size, rank: int, size: int) -> Part | None:
    return Part.split(0, rank, size).of(tuple(shape)) if len(shape) else None


def _places(slot: Slot) -> list[tuple[str, tuple[Slot, int]]]:
    """Return the names under which a state dict has a slot's tensors, with their numbers."""
    if slot.stored:
        return [(name, (slot, number)) for number, name in enumerate(slot.stored)]
    return [(name, (slot, 0)) for name in (slot.name, *slot.tied)]
