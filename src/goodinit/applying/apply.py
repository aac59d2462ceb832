"""Plans onto models: all that can be checked is checked, then memory, copies and draws."""

# torch has no public way to a module's own tensors and hooks.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from os import PathLike
from typing import cast

import torch
from torch import Tensor, nn

from goodinit.anatomy import read
from goodinit.anatomy.names import Slot, slots
from goodinit.anatomy.rows import Facets, Row
from goodinit.anatomy.writable import check_module, check_writable
from goodinit.applying.materialize import materialize_
from goodinit.applying.validate import check_match, check_memory, device_of, no_memory
from goodinit.applying.write import write_
from goodinit.errors import CheckpointError, PlanError, RecipeError
from goodinit.plans.checkpoint import copies, copy_, opened, without
from goodinit.plans.defaults import torch_default
from goodinit.plans.keep import KeepLike
from goodinit.plans.plan import Plan, plan, uncollected
from goodinit.plans.resolve import Matcher, resolve_row
from goodinit.plans.rows import PlanRow
from goodinit.recipes.recipe import Recipe
from goodinit.schemes import Layout, Scheme
from goodinit.streams import Stream, fresh_seed, stream_of
from goodinit.trace import Inputs

__all__ = ["apply_", "init_", "init_module_", "load_"]


def apply_(
    model: nn.Module,
    plan: Plan,
    *,
    seed: int | None = None,
    materialize: str | torch.device | None = None,
    progress: Callable[[PlanRow], object] | None = None,
) -> Plan:
    """Write what is planned; in place, with gradients, hooks and optimizers left alone.

    Args:
        model: the model that the plan was made for, or one of the same parameters.
        plan: what to write.
        seed: a number from 0; the same one gives the same bits. None takes one from torch's
            default CPU generator, so that ``torch.manual_seed`` rules.
        materialize: a device such as "cpu" on which parameters and buffers on meta get memory.
        progress: called with each row when it has been written.

    Returns:
        The plan with its seed, and with what only writing showed.

    Raises:
        PlanError: the plan is another model's.
        ModelError: a parameter that can't be written, or has no memory.
        WriteError: a write failed half-way; says what had been written.

    Example:
        >>> from goodinit.recipes.rule import Rule, sel
        >>> from goodinit.plans.plan import plan
        >>> from goodinit.schemes import Ones
        >>> with torch.device("meta"):
        ...     net = nn.Linear(2, 3)
        >>> planned = plan(net, Recipe([Rule(sel.all(), Ones())]))
        >>> apply_(net, planned, seed=0, materialize="cpu").seed
        0
        >>> net(torch.ones(2))
        tensor([3., 3., 3.], grad_fn=<ViewBackward0>)
    """
    check_module(model, "apply_")
    if not isinstance(plan, Plan):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PlanError(f"apply_ takes a Plan, got {plan!r}; gi.init_ takes a recipe")
    return _apply(model, plan, seed, materialize, progress=progress)


def init_(
    target: nn.Module | Tensor,
    recipe: Recipe,
    *,
    inputs: Inputs | None = None,
    seed: int | None = None,
    keep: KeepLike = (),
    prefix: str = "",
    materialize: str | torch.device | None = None,
) -> Plan:
    """Plan and apply; see ``plan`` and ``apply_`` for the arguments and errors.

    A plain tensor is taken for a weight [out, in, *window]. Of ``keep``, only the old part of
    what has grown is copied; the rest is in the model already.
    """
    if isinstance(target, Tensor):
        if inputs is not None or materialize is not None or keep != ():
            raise RecipeError("inputs, keep and materialize are for modules, not for one tensor")
        return _init_tensor_(target, recipe, seed, prefix)
    check_module(target, "init_")
    values = opened(keep)
    kept = keep if values is None else values
    planned = plan(target, recipe, inputs=inputs, keep=kept, prefix=prefix)
    return _apply(target, planned, seed, materialize, values or {}, grown_only=True)


def load_(
    model: nn.Module,
    checkpoint: str | PathLike[str] | Mapping[str, object],
    recipe: Recipe,
    *,
    inputs: Inputs | None = None,
    seed: int | None = None,
    draw: str | Iterable[str] = (),
    prefix: str = "",
    materialize: str | torch.device | None = None,
) -> Plan:
    """Copy what a checkpoint has into a model, and draw what it lacks.

    See ``plan`` and ``apply_`` for the other arguments and errors.

    Raises:
        CheckpointError: it can't be read, or a value doesn't fit; before anything is written.
    """
    check_module(model, "load_")
    values = opened(checkpoint)
    if not values:
        raise CheckpointError(
            f"load_ takes a state dict or the path of a .safetensors file that hold something, "
            f"got {checkpoint!r:.200}"
        )
    values = without(values, [draw] if isinstance(draw, str) else list(draw))
    planned = plan(model, recipe, inputs=inputs, keep=values, prefix=prefix)
    return _apply(model, planned, seed, materialize, values)


def _apply(
    model: nn.Module,
    plan: Plan,
    seed: int | None,
    materialize: str | torch.device | None,
    values: Mapping[str, object] | None = None,
    *,
    grown_only: bool = False,
    progress: Callable[[PlanRow], object] | None = None,
) -> Plan:
    """Check all that can be checked; then give memory, copy what is loaded, and draw."""
    stream = stream_of(seed)
    with uncollected():
        slots_by_name = _slots(model, plan)
        check_match(plan, slots_by_name)
    device = None if materialize is None else device_of(materialize)
    copied = copies(slots_by_name.values(), values or {}, plan.prefix, grown_only=grown_only)
    check_memory(plan, slots_by_name, device, set(copied))
    for row in plan:
        if not row.kept or row.name in copied:
            check_writable(slots_by_name[row.name])
    if device is not None:
        materialize_(model, device)
        slots_by_name = _slots(model, plan)
    for name, pairs in copied.items():
        copy_(slots_by_name[name], pairs)
    written, findings = write_(plan.rows, slots_by_name, stream, progress)
    return replace(plan, rows=written, findings=plan.findings + findings, seed=stream.seed)


def _slots(model: nn.Module, plan: Plan) -> dict[str, Slot]:
    return {slot.name: slot for slot in slots(model, plan.prefix)}


def init_module_(module: nn.Module, recipe: Recipe) -> None:
    """Initialise a module's own parameters by its type; the function behind ``Recipe.each``."""
    alone = _without_children(module)
    found = {slot.name: slot for slot in slots(alone) if not slot.buffer}
    if not found:
        return
    known = [row for row in read(alone).rows if row.name in found and not _unknown(row)]
    matcher = Matcher(recipe)

    def default(slot: Slot) -> Scheme | None:
        return torch_default(slot.owner, slot.attr)

    rows = [resolve_row(row, found[row.name], matcher, default) for row in known]
    for row in rows:
        if not row.kept and found[row.name].tensor.is_meta:
            raise no_memory(row.name)
    write_(tuple(rows), found, Stream(fresh_seed()))


def _init_tensor_(tensor: Tensor, recipe: Recipe, seed: int | None, prefix: str) -> Plan:
    holder = nn.Module()
    holder._parameters["weight"] = cast("nn.Parameter", tensor)  # a plain one will do
    slot = slots(holder)[0]
    slot.name = prefix or "tensor"
    if tensor.is_meta:
        raise no_memory(slot.name)
    row = _tensor_row(slot.name, tensor)
    matcher = Matcher(recipe)
    planned = resolve_row(row, slot, matcher, lambda _: None)
    planned = replace(planned, why=planned.why or f"shape read as {row.facets.evidence}")
    stream = stream_of(seed)
    rows, findings = write_((planned,), {slot.name: slot}, stream)
    return Plan(rows, recipe.name, "one tensor", "", findings, stream.seed)


def _tensor_row(name: str, tensor: Tensor) -> Row:
    axes = tensor.dim()
    if axes < 2:
        facets = Facets("other", "weight", evidence="no matrix")
    else:
        layout = Layout(outputs=(0,), inputs=(1,), window=tuple(range(2, axes)))
        kind = "linear" if axes == 2 else "conv"
        facets = Facets(kind, "weight", layout, evidence="[out, in, *window]")
    return Row(name, tuple(tensor.shape), tensor.dtype, nn.Module, facets)


def _without_children(module: nn.Module) -> nn.Module:
    """Return a module on the same tensors, but for its children; parametrizations stay."""
    alone = object.__new__(type(module))
    own = {name: m for name, m in module._modules.items() if name == "parametrizations"}
    alone.__dict__.update(module.__dict__ | {"_modules": own})
    return alone


def _unknown(row: Row) -> bool:
    return row.facets.guessed or row.facets.kind == "other"
