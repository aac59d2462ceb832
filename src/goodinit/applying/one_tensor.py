"""One tensor drawn by itself, outside of any module."""

# torch has no public way to a module's own tensors.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from torch import Tensor, nn

from goodinit.anatomy.names import slots
from goodinit.anatomy.rows import Facets, Row
from goodinit.applying.seed_reuse import note_draws
from goodinit.applying.shards import check_not_local, check_shards, find_shards
from goodinit.applying.validate import no_memory_error
from goodinit.applying.write import write_
from goodinit.errors import RecipeError
from goodinit.plans.plan import Plan
from goodinit.plans.resolve import Matcher, resolve_row
from goodinit.recipes.by_name import RecipeLike, as_recipe
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, sel
from goodinit.schemes import Layout, Scheme
from goodinit.streams import stream_of


def init_tensor_(tensor: Tensor, recipe: RecipeLike, seed: int | None, prefix: str) -> Plan:
    """Draw one tensor, whose fans are computed from its shape [out, in, *window]."""
    wanted = _tensor_recipe(recipe)
    holder = nn.Module()
    holder._parameters["weight"] = cast("nn.Parameter", tensor)  # a plain one will do
    slot = slots(holder)[0]
    slot.name = prefix or "tensor"
    if tensor.is_meta:
        raise no_memory_error(slot.name)
    check_not_local(slot.name, tensor)
    row = _tensor_row(slot.name, tensor)
    planned = resolve_row(row, slot, Matcher(wanted), lambda _: None)
    planned = replace(planned, why=planned.why or f"shape read as {row.facets.evidence}")
    found = {slot.name: slot}
    shards = find_shards((planned,), found, {})
    check_shards((planned,), shards, seed)
    stream = stream_of(seed)
    rows, findings = write_((planned,), found, stream, shards=shards)
    if seed is not None and not shards:
        note_draws(tensor, rows, found, stream.seed)
    return Plan(rows, wanted.name, "one tensor", "", findings, stream.seed)


def _tensor_recipe(recipe: RecipeLike) -> Recipe:
    if isinstance(recipe, Mapping):
        raise RecipeError(
            "recipe: a mapping is for modules. Pass one scheme for one tensor: "
            "gi.init_(tensor, gi.HeNormal())"
        )
    if isinstance(recipe, Scheme):  # on a model it is for weights; one tensor may be a bias
        return Recipe([Rule(sel.all(), recipe)], repr(recipe))
    return as_recipe(recipe)


def _tensor_row(name: str, tensor: Tensor) -> Row:
    axes = tensor.dim()
    if axes < 2:
        facets = Facets("other", "weight", evidence="no matrix")
    else:
        layout = Layout(outputs=(0,), inputs=(1,), window=tuple(range(2, axes)))
        kind = "linear" if axes == 2 else "conv"
        facets = Facets(kind, "weight", layout, evidence="[out, in, *window]")
    return Row(name, tuple(tensor.shape), tensor.dtype, nn.Module, facets)
