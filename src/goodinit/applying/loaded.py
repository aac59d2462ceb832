"""A checkpoint's values written into a model; each process takes those of its own part.

Values that are here (a state dict, files mapped into memory) are sliced. A folder of
torch.distributed.checkpoint is read by torch.distributed.checkpoint.load, in each process for
itself. No process is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from goodinit._common.dtensors import is_dtensor
from goodinit._common.memory import bump_version
from goodinit._common.text import several
from goodinit.anatomy.names import Slot
from goodinit.applying.shards import Shard, is_split, local_of
from goodinit.errors import CheckpointError, PlanError, WriteError, nearest
from goodinit.plans.checkpoint import Checkpoint, copy_values_
from goodinit.plans.dcp_folder import load_from_dcp_
from goodinit.plans.keep import LOADED
from goodinit.plans.plan import Plan
from goodinit.streams.part import box_shape, intersect, slices, whole_box, within

Copied = Mapping[str, list[Tensor | None]]
"""Values by logical name, one for each tensor that stores it; of a folder they are on meta."""


def check_planned(plan: Plan, here: Plan, copied: Copied, checkpoint: Checkpoint) -> None:
    """Raise unless a plan of the whole model keeps what the checkpoint has.

    Args:
        plan: of the whole.
        here: its rows that this process has.
        copied: the values for these.
        checkpoint: where they are.

    Raises:
        PlanError: it draws it: it wasn't made with ``keep=``.
        CheckpointError: a value of another shape, or none that the plan names or keeps as loaded.
    """
    where = str(checkpoint.folder) if checkpoint.folder else "..."
    names = ((row.name, *row.tied, *row.stored) for row in plan)
    known = copied or any(checkpoint.names_of(each, plan.prefix) for each in names)
    if checkpoint.values and not known:
        first = next(iter(checkpoint.values))
        near = nearest(first, [row.name for row in plan])
        raise CheckpointError(
            f"the checkpoint has nothing that the plan names; the first of its names is "
            f"{first!r}.{near} strip_prefix= takes a prefix away"
        )
    missing = [row.name for row in here if row.why == LOADED and row.name not in copied]
    if missing:
        raise CheckpointError(
            f"the plan keeps {several(missing)} as loaded, and the checkpoint doesn't have it: "
            f"plan the whole model with keep={where!r}; if the model has the values already, let "
            f"the plan keep them by a rule, recipe.override(gi.Rule({missing[0]!r}, gi.Keep()))"
        )
    for name, sources in copied.items():
        row = plan[name]
        if not row.kept and not row.grown_from:
            raise PlanError(
                f"the plan draws {name}, and the checkpoint has it: plan the whole model with "
                f"gi.plan(model, recipe, keep={where!r}), or draw it, gi.load_(..., draw={name!r})"
            )
        shape = None if sources[0] is None or row.stored else tuple(sources[0].shape)
        if shape not in (None, row.grown_from or row.shape):
            raise CheckpointError(
                f"{name} has shape {row.grown_from or row.shape} in the plan, but {shape} in the "
                f"checkpoint: plan the whole model with keep={where!r}"
            )


def check_copies(copied: Copied, found: Mapping[str, Slot], shards: Mapping[str, Shard]) -> None:
    """Raise where a value can't be copied into a part of a model."""
    for name, sources in copied.items():
        slot = found[name]
        here = any(source is not None and not source.is_meta for source in sources)
        if is_split(slot) and name not in shards and here:
            raise CheckpointError(
                f"{name} is computed from other tensors, and split over processes: load it before "
                f"the model is split, or with torch.distributed.checkpoint"
            )


@torch.no_grad()
def copy_checkpoint_(
    copied: Copied,
    found: Mapping[str, Slot],
    shards: Mapping[str, Shard],
    checkpoint: Checkpoint | None,
    prefix: str,
) -> None:
    """Write a checkpoint's values, cast to the model's own dtypes and devices.

    Raises:
        WriteError: a value that torch can't copy, although it looked as if it could.
        CheckpointError: a folder that can't be read.
    """
    if checkpoint is not None and checkpoint.folder is not None and checkpoint.loads:
        copied = _read_in_place(copied, found, shards, checkpoint, prefix)
    for number, (name, values) in enumerate(copied.items()):
        slot = found[name]
        try:
            whole = [_whole(value, checkpoint) for value in values]
            if name in shards and whole[0] is not None:
                for held, source in pieces_of(shards[name], whole[0]):
                    held.copy_(source)
                bump_version(slot.tensor)
            else:
                copy_values_(slot, whole)
        except (RuntimeError, TypeError) as error:
            written = tuple(copied)[:number]
            message = f"{name}: {error} ({len(written)} values copied before)"
            raise WriteError(message, written) from error


def pieces_of(shard: Shard, source: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what a part holds of a whole value, and that of the value, box by box.

    A smaller value fills a corner, or is each matrix of a stack.
    """
    whole = shard.part.shape
    stacked = whole[: len(whole) - source.dim()]  # each of the matrices gets a copy
    filled = whole_box((*stacked, *source.shape))
    for box, where in shard.part.pieces():
        shared = intersect(box, filled)
        if shared is None:
            continue
        held = shard.local[where].view(box_shape(box))
        yield held[slices(within(shared, box))], source[slices(shared[len(stacked) :])]


def _read_in_place(
    copied: Copied,
    found: Mapping[str, Slot],
    shards: Mapping[str, Shard],
    checkpoint: Checkpoint,
    prefix: str,
) -> dict[str, list[Tensor | None]]:
    """Read what fits into the model's own memory; return the rest, still on meta."""
    state: dict[str, Tensor] = {}
    twins: list[tuple[str, Tensor, str]] = []
    left: dict[str, list[Tensor | None]] = {}
    for name, sources in copied.items():
        slot = found[name]
        rest: list[Tensor | None] = []
        for number, (tensor, source) in enumerate(zip(slot.tensors, sources, strict=True)):
            direct = source is not None and _fits(tensor, source, shards.get(name))
            rest.append(None if direct else source)
            if source is None or not direct:
                continue
            aliases = slot.stored[number : number + 1] or (slot.name, *slot.tied)
            first, *others = (
                checkpoint.keys[id(checkpoint.values[key])]
                for key in checkpoint.names_of(aliases, prefix)
            )
            state[first] = tensor.detach()
            twins += [(first, tensor, other) for other in others]
        if any(source is not None for source in rest):
            left[name] = rest
    folder = cast("Path", checkpoint.folder)
    load_from_dcp_(state, folder)
    for first, tensor, other in twins:
        twin = torch.empty_like(tensor.detach())
        load_from_dcp_({other: twin}, folder)
        if not torch.equal(local_of(twin), local_of(tensor.detach())):
            raise CheckpointError(
                f"{first} is one tensor here, but {first} and {other} differ in the checkpoint: "
                f"untie them in the model, or save one of them"
            )
    return left


def _whole(value: Tensor | None, checkpoint: Checkpoint | None) -> Tensor | None:
    """Return a value; one of a folder is read whole, which takes memory for one tensor."""
    if value is None or not value.is_meta or checkpoint is None:
        return value
    return checkpoint.read(value)


def _fits(tensor: Tensor, source: Tensor, shard: Shard | None) -> bool:
    """Whether torch.distributed.checkpoint reads a value into a tensor itself, and rightly."""
    if tensor.shape != source.shape:
        return False
    if not is_dtensor(tensor):
        return shard is None
    split: Any = tensor
    cuts: dict[int, int] = {}
    nested: set[int] = set()
    for size, placement in zip(split.device_mesh.shape, split.placements, strict=True):
        axis = getattr(placement, "dim", None)
        if axis is not None and size > 1:
            nested |= {axis} & cuts.keys()
            cuts[axis] = cuts.get(axis, 1) * size
    # Where axes are cut twice into unequal pieces, torch takes other offsets than fully_shard does.
    return all(tensor.shape[axis] % cuts[axis] == 0 for axis in nested)
