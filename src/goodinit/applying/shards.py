"""What this process holds of each planned parameter, and the memory that holds it.

A DTensor, FSDP 1 and ZeRO-3 say so themselves; of plain tensors that hand-written layers split, the
caller says so with ``parts=``. No process is asked anything: each finds its own part alone.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from goodinit._common.dtensors import is_dtensor
from goodinit._common.memory import is_writable, overlaps
from goodinit._common.module_tree import modules_of
from goodinit.anatomy.names import Slot
from goodinit.applying.mesh_layouts import layout_of, part_of_layout
from goodinit.errors import (
    ModelError,
    ParametrizationError,
    PlanError,
    StreamError,
    nearest,
)
from goodinit.plans.rows import PlanRow
from goodinit.recipes.rule import glob_matches
from goodinit.schemes import AddNoise
from goodinit.schemes.fields import one_line
from goodinit.schemes.grown import DropUnits, FromOld
from goodinit.streams.part import Part, Split

PartsLike = Mapping[str, Part | Split] | Callable[[str, Tensor], Part | Split | None]
"""Names or globs with what this process holds, or a function from a name and its tensor."""


@dataclass(frozen=True, slots=True)
class Shard:
    """What this process holds of one row.

    Attributes:
        part: which elements.
        local: the memory that holds them, a plain tensor.
        shared: whether other processes hold parts of it, or copies.
    """

    part: Part
    local: Tensor
    shared: bool


def is_split(slot: Slot) -> bool:
    """Return whether a parameter itself says that processes share it."""
    return slot.flat is not None or any(map(is_dtensor, slot.tensors))


def reshard_(model: nn.Module) -> None:
    """Have modules of FSDP 2 hold their shards: after a forward they may hold whole copies.

    What is written to these is lost. No process is asked.
    """
    if "torch.distributed.fsdp" not in sys.modules:
        return
    for module in modules_of(model):
        if any(base.__name__ == "FSDPModule" for base in type(module).__mro__):
            cast("Any", module).reshard()


def local_of(tensor: Tensor) -> Tensor:
    """Return the plain tensor that a DTensor holds here, or the tensor itself."""
    return cast("Any", tensor)._local_tensor if is_dtensor(tensor) else tensor


def find_shards(
    rows: tuple[PlanRow, ...],
    found: Mapping[str, Slot],
    given: Mapping[str, Part],
    copied: Container[str] = (),
) -> dict[str, Shard]:
    """Return what is held of each row that is drawn or copied; those whole here are left out.

    Raises:
        PlanError: a given part that doesn't fit its tensor.
        ModelError: a layout that isn't known or can't be written, a parametrized weight.
    """
    shards: dict[str, Shard] = {}
    for row in rows:
        slot = found[row.name]
        if (row.name in given or is_split(slot)) and slot.how != "plain" and not row.kept:
            raise ParametrizationError(
                f"{row.name} is computed from other tensors, and this process holds a part of "
                f"them: initialize the model before it is split, or name it in keep="
            )
        writes = not row.kept or (row.name in copied and slot.how == "plain")
        if is_split(slot) and writes:
            shards[row.name] = _found_shard(row, slot)
            if row.name in given:  # split by hand, and what is left by FSDP or ZeRO-3
                shards[row.name] = _part_of_part(row, shards[row.name], given[row.name])
        elif row.name in given:
            shards[row.name] = _given_shard(row, slot, given[row.name])
    return shards


def given_parts(
    planned: tuple[PlanRow, ...], found: Mapping[str, Slot], parts: PartsLike | None
) -> dict[str, Part]:
    """Return the parts that a caller names, by row.

    Raises:
        PlanError: parts that name nothing, name a row twice, or don't fit the plan.
    """
    if parts is None:
        return {}
    rows = [row for row in planned if row.name in found]
    if callable(parts):
        asked = [(row, parts(row.name, found[row.name].tensor)) for row in rows]
        return {row.name: _part_of(row, part) for row, part in asked if part is not None}
    if not isinstance(parts, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PlanError(
            "parts is a mapping from names or globs to gi.Part, or a function, got "
            f"{one_line(parts)}"
        )
    given: dict[str, Part] = {}
    by: dict[str, str] = {}
    for glob, part in parts.items():
        matched = [r for r in rows if any(glob_matches(glob, n) for n in (r.name, *r.tied))]
        if not matched:
            near = nearest(glob, [row.name for row in rows])
            raise PlanError(f"parts: {glob!r} matches nothing that is planned here.{near}")
        for row in matched:
            if row.name in given:
                raise PlanError(
                    f"parts: {by[row.name]!r} and {glob!r} both match {row.name}: one may"
                )
            given[row.name], by[row.name] = _part_of(row, part), glob
    return given


def _part_of(row: PlanRow, part: object) -> Part:
    try:
        if isinstance(part, Split):
            return part.of(row.shape)
    except StreamError as error:
        raise PlanError(f"parts: {row.name}: {error}") from error
    if not isinstance(part, Part):
        raise PlanError(f"parts: {row.name} needs a gi.Part, got {one_line(part)}")
    if part.shape != row.shape:
        raise PlanError(
            f"parts: {row.name} has the shape {row.shape} in the plan, and {part.shape} in its part"
        )
    return part


def _given_shard(row: PlanRow, slot: Slot, part: Part) -> Shard:
    if slot.tensor.shape != part.local_shape:
        raise PlanError(
            f"parts: {row.name} is held here with the shape {tuple(slot.tensor.shape)}, and its "
            f"part of {row.shape} has {part.local_shape}: correct parts=; if the tensor is padded, "
            f"plan the padded model"
        )
    return Shard(part, slot.tensor, shared=True)


def _part_of_part(row: PlanRow, shard: Shard, outer: Part) -> Shard:
    if shard.part.shape != outer.local_shape:
        raise PlanError(
            f"parts: {row.name} is split here as a tensor of shape {shard.part.shape}, and its "
            f"part of {row.shape} has {outer.local_shape}: leave it out if it says itself "
            f"what is held of the whole"
        )
    try:
        return replace(shard, part=shard.part.within(outer))
    except StreamError as error:
        raise PlanError(
            f"parts: {row.name} is {error}: initialize it before it is split"
        ) from error


def _found_shard(row: PlanRow, slot: Slot) -> Shard:
    flat = slot.flat
    if flat is not None:
        if flat.problem:
            raise ModelError(f"{row.name} is split by {flat.by}, and {flat.problem}")
        part = Part.flat(flat.shape, flat.start, flat.stop)
        return Shard(part, flat.local, shared=True)
    layout = layout_of(row.name, slot.tensor)
    part, local = part_of_layout(layout), local_of(slot.tensor)
    if part is None:
        raise ModelError(
            f"{row.name} of shape {layout.shape} is held here with the shape {layout.local}, which "
            f"isn't what {list(cast('Any', slot.tensor).placements)} makes of it on a mesh of "
            f"{layout.mesh} at {layout.coordinate}: distribute it with distribute_tensor, or pass "
            f"DTensor.from_local the shape and stride of the whole"
        )
    return Shard(part, local, shared=math.prod(layout.mesh) > 1)


def check_not_local(name: str, tensor: Tensor) -> None:
    """Raise for what ``DTensor.to_local`` returned: its shape and its indices are a part's.

    Under ``torch.no_grad()`` it returns a plain tensor, which looks like any other.
    """
    if type(tensor.grad_fn).__name__ == "_ToTorchTensorBackward":
        raise ModelError(
            f"{name} is the local part of a DTensor: its fans would be those of the part, and all "
            f"parts would be equal. Pass the DTensor itself, gi.init_(parameter, scheme, "
            f"prefix={name!r}, seed=0)"
        )


def check_seed(seed: int | None, why: str) -> None:
    """Raise if there is no seed, and other processes have to draw from the same one."""
    if seed is None:
        raise StreamError(
            f"seed=None takes a number from this process's generator, and {why} by other "
            f"processes, whose generators may differ: pass one seed in all of them; "
            f"seed=gi.same_everywhere(plan) agrees on one"
        )


def check_shards(
    rows: tuple[PlanRow, ...],
    shards: Mapping[str, Shard],
    seed: int | None,
) -> None:
    """Raise where a part can't be drawn alone, or processes would draw different models.

    What is refused depends on the plan and on who splits what, so that all processes refuse alike.

    Raises:
        StreamError: no seed, where processes share a model.
        ModelError: noise, or memory that can't be written.
    """
    for row in rows:
        shard = shards.get(row.name)
        if shard is None:
            continue
        _check_local(row.name, shard.local)
        if row.kept:
            continue
        if shard.shared:
            check_seed(seed, f"{row.name} is drawn")
        if shard.shared and any(
            isinstance(b.scheme, (AddNoise, DropUnits, FromOld)) for b in row.parts()
        ):
            raise ModelError(
                f"{row.name} gets what is computed from its values, and this process "
                f"holds a part of them: initialize the model before it is split"
            )


def _check_local(name: str, local: Tensor) -> None:
    if local.layout is not torch.strided:
        raise ModelError(f"{name} is sparse ({local.layout}): split the dense tensor")
    if local.is_meta:
        return  # gets its memory later, or has been refused
    if not is_writable(local) or overlaps(local):
        raise ModelError(
            f"{name} is held in memory that is read-only or shared among its elements: give the "
            f"module a copy of its own"
        )
    if local.is_inference() and not torch.is_inference_mode_enabled():
        raise ModelError(
            f"{name} was made in torch.inference_mode and can't be written outside of it: "
            f"split the model outside"
        )
