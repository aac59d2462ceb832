"""Models that look like a part of a larger one: GI140."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from goodinit._common.processes import is_one_of_many
from goodinit._common.text import several
from goodinit.anatomy.names import Slot, join, walk
from goodinit.findings import Finding
from goodinit.plans.rows import PlanRow
from goodinit.recipes.recipe import Recipe
from goodinit.schemes import Scaled

LATER = 2  # a list that begins at 1 may count from 1; one that begins later lacks its start


def find_parts(
    model: nn.Module, rows: tuple[PlanRow, ...], slots: tuple[Slot, ...], recipe: Recipe
) -> Iterator[Finding]:
    """Yield a finding where fans or depth may be those of one process's part."""
    drawn = {row.name for row in rows if not row.kept}
    marked = [s.name for s in slots if s.name in drawn and s.flat is None and _is_marked(s)]
    if marked and is_one_of_many():
        cause = "marked as split over tensor parallel processes; fans are those of one part"
        fix = (
            "plan the whole model, then gi.apply_(model, plan, seed=0, parts={name: "
            "gi.Part.split(axis, rank, size)}); none if they aren't split"
        )
        yield Finding("GI140", "warning", several(marked, 1), cause, fix)
    layered = any(row.depth is not None and row.name in drawn for row in rows)
    for path, first in _late_starts(model) if layered and _asks_for_depth(recipe) else ():
        cause = f"layers begin at {first}, as in a pipeline stage; depth counts those here alone"
        fix = (
            "plan the whole model on meta, then gi.apply_(stage, plan, seed=0, part=True); none, "
            "if this is the whole model"
        )
        yield Finding("GI140", "warning", join(path, str(first)), cause, fix)
        return


def _is_marked(slot: Slot) -> bool:
    """Whether Megatron's layers, and those that follow them, say that it is split."""
    return vars(slot.tensors[0]).get("tensor_model_parallel") is True


def _asks_for_depth(recipe: Recipe) -> bool:
    schemes = [rule.scheme for rule in recipe.rules]
    scaled = [scheme for scheme in schemes if isinstance(scheme, Scaled)]
    return any({"depth", "layer"} & dict(scheme.powers).keys() for scheme in scaled)


def _late_starts(model: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield (path, first number) of modules whose children are numbered in a row, from 2 on."""
    for path, module in walk(model):
        names = [name for name, child in module._modules.items() if child is not None]
        if names and all(name.isdecimal() for name in names):
            numbers = list(map(int, names))
            in_a_row = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            if in_a_row and numbers[0] >= LATER:
                yield path, numbers[0]
