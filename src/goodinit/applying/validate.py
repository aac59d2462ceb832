"""Whether a plan fits a model, and there is memory for what it writes."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import cast

import torch

from goodinit._common.dtensors import is_dtensor
from goodinit._common.text import several
from goodinit.anatomy.held import recorded
from goodinit.anatomy.modules import describe
from goodinit.anatomy.names import Slot, type_of
from goodinit.errors import MetaModelError, PlanError, UnresolvedError, nearest
from goodinit.plans.plan import Plan
from goodinit.plans.rows import PlanRow, needs_old

MOST_SHOWN = 4  # differences, or names, in one message
COMPARED = ("shape", "dtype", "class", "tied names", "stored tensors")


def rows_of_part(plan: Plan, found: Mapping[str, Slot]) -> tuple[Plan, dict[str, Slot]]:
    """Return the rows of a plan that a part of the model has, and the part's slots by their names.

    Raises:
        PlanError: a name that the plan doesn't have, two tensors that are one in the plan, or all
            of the plan's rows.
    """
    here: dict[str, Slot] = {}
    for name, slot in found.items():
        if name not in plan:
            raise PlanError(
                f"the plan has no {name}, which this part of the model has: plan the whole model, "
                f"and keep its names in the parts.{nearest(name, [row.name for row in plan])}"
            )
        row = plan[name]
        names = {row.name, *row.tied}
        if row.name in here or not names.issuperset(slot.tied):
            other = here[row.name].name if row.name in here else slot.tied[0]
            raise PlanError(
                f"{other} and {name} are one tensor in the plan or in this part, and two in the "
                f"other: tie them in both, or in none"
            )
        here[row.name] = slot
    rows = tuple(
        replace(row, tied=slot.tied, stored=slot.stored if slot.name != row.name else row.stored)
        for row in plan
        if (slot := here.get(row.name)) is not None
    )
    if len(rows) == len(plan.rows):
        raise PlanError(
            f"part=True, and this model has all {len(rows)} rows of the plan: a plan that was made "
            f"of a part has the part's depth and fans. Plan the whole model before it is split, on "
            f"meta, and pass that plan; if this is the whole model, leave part=True out"
        )
    return replace(plan, rows=rows), here


def check_match(
    plan: Plan, found: Mapping[str, Slot], in_part: Container[str] = frozenset()
) -> None:
    """Raise PlanError with the first few differences between plan and model.

    Of the rows in ``in_part`` the model holds only a part, which has a different shape.
    """
    planned = {row.name for row in plan}
    differences = [f"the model has no {row.name}" for row in plan if row.name not in found]
    differences += [f"the plan has no {name}" for name in found if name not in planned]
    for row in plan:
        slot = found.get(row.name)
        if slot is not None:
            differences += _differences(row, slot, row.name in in_part)
    if differences:
        count = len(differences) - MOST_SHOWN
        more = f"; and {count} more" if count > 0 else ""
        shown = "; ".join(differences[:MOST_SHOWN])
        fix = _fix_of_mismatch(plan, found)
        raise PlanError(f"this plan isn't this model's: {shown}{more}. {fix}")


def _fix_of_mismatch(plan: Plan, found: Mapping[str, Slot]) -> str:
    """Return what makes the plan fit: the model may be a part of the planned one, or hold parts."""
    if any(name not in plan for name in found):
        return "Plan this model"
    if any(row.name not in found for row in plan):
        return (
            "Plan this model; if it is a part of the planned one, such as a stage, pass part=True"
        )
    for row in plan:
        here = found[row.name].logical_shape
        less = [n for n, (a, b) in enumerate(zip(here, row.shape, strict=False)) if a < b]
        if len(here) == len(row.shape) and len(less) == 1 and math.prod(here) < row.size:
            return (
                f"Plan this model; if this process holds a part of it, say which: "
                f"parts={{{row.name!r}: gi.Part.split({less[0]}, rank, size)}}"
            )
    return "Plan this model"


def _differences(row: PlanRow, slot: Slot, in_part: bool) -> list[str]:
    shape = row.shape if in_part else slot.logical_shape
    tied = sorted(row.tied) if row.tied else []
    planned = (row.shape, row.dtype, row.owner, tied, row.stored)
    tied = sorted(slot.tied) if slot.tied else []
    here = (shape, slot.tensor.dtype, _owner(row, slot), tied, slot.stored)
    if planned == here:
        return []
    return [
        f"{row.name}: {what} {_show(in_plan)} in the plan, {_show(in_model)} in the model"
        for what, in_plan, in_model in zip(COMPARED, planned, here, strict=True)
        if in_plan != in_model
    ]


def _show(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value))) or "none"
    return str(value)


def _owner(row: PlanRow, slot: Slot) -> str:
    """Return the class that holds a parameter, or the plan's if the values mean the same in both.

    Only where types say that the axes mean something else there: a Conv2d's kernel in a
    ConvTranspose2d, a Linear's matrix in an Embedding.
    """
    owner = type_of(slot.owner)
    if owner.__name__ == row.owner or row.tied or row.name != slot.name:
        return row.owner  # else another of its modules was met first, or is another part
    here = describe(slot.owner).get(slot.attr)
    if here is None or here.layout is None or row.layout is None or here.layout == row.layout:
        return row.owner
    return owner.__name__


def check_memory(
    plan: Plan, found: Mapping[str, Slot], device: torch.device | None, copied: set[str]
) -> None:
    """Raise where there is no memory, or a value is kept that exists nowhere.

    ``device`` is where parameters on meta get memory, None if they don't; ``copied`` names the
    rows that a checkpoint brings.
    """
    on_meta = [row for row in plan if any(t.is_meta for t in found[row.name].tensors)]
    if device is None:
        drawn = [row for row in on_meta if not row.kept or row.name in copied]
        if drawn:
            raise no_memory_error(drawn[0].name)
        return
    lost = [
        row
        for row in on_meta
        if needs_old(row) and row.name not in copied
        if any(t.is_meta and recorded(t) is None for t in found[row.name].tensors)
    ]
    if lost and any(map(is_dtensor, found[lost[0].name].tensors)):
        raise UnresolvedError(
            f"{several((row.name for row in lost), MOST_SHOWN)}: these DTensors are on meta and "
            f"the plan keeps their current values; those of gi.skeleton() are lost when a "
            f"model is split: give them a rule, recipe.override(gi.Rule({lost[0].name!r}, "
            f"gi.Constant(...))) (gi.Function computes values)"
        )
    if lost:
        shown = several((row.name for row in lost), MOST_SHOWN)
        raise unresolved_error(
            shown, lost[0].name, "; or load them from a checkpoint with gi.load_"
        )


def unresolved_error(listed: str, first: str, more: str = "") -> UnresolvedError:
    """Return the error for tensors on meta, ``listed`` by name, whose values a plan keeps."""
    return UnresolvedError(
        f"{listed}: these tensors are on meta and the plan keeps their current values, which do "
        f"not exist: build the model inside `with gi.skeleton():`, which computes what isn't "
        f"random; or give them a rule, recipe.override(gi.Rule({first!r}, gi.Constant(...))) "
        f"(gi.Function computes values){more}"
    )


def device_of(value: str | torch.device) -> torch.device:
    """Return the device that ``materialize`` names, or raise why it isn't available."""
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError) as error:
        message = f"materialize={value!r} isn't a device: pass 'cpu' or 'cuda'"
        raise MetaModelError(message) from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise MetaModelError(f"materialize={value!r} isn't available here: {error}") from error
    if device.type == "meta":
        raise MetaModelError("materialize='meta' gives no memory: pass 'cpu' or 'cuda'")
    return device


def no_memory_error(name: str) -> MetaModelError:
    """Return the error for a parameter on meta."""
    return MetaModelError(
        f"{name} is on meta, where there is no memory to write to: pass materialize='cpu' (or "
        f"another device)"
    )
