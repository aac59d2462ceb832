"""Plans onto models: the one place that writes parameters.

All that can be checked is checked first. Then each row is drawn under its logical name, block
by block, into the tensor's own memory; a parametrized one is drawn aside and assigned.
"""

# torch has no public way to a module's own tensors and hooks.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from operator import index
from os import PathLike
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from goodinit.anatomy import read
from goodinit.anatomy.names import Slot, slots
from goodinit.anatomy.rows import Facets, Row
from goodinit.errors import (
    CheckpointError,
    GoodinitError,
    MetaModelError,
    PlanError,
    RecipeError,
    SchemeError,
    UnresolvedError,
    WriteError,
)
from goodinit.findings import Finding
from goodinit.planning.checkpoint import copies, copy_, opened, without
from goodinit.planning.checks import check_module, check_writable, fixes_scale
from goodinit.planning.defaults import torch_default
from goodinit.planning.kept import KeepLike
from goodinit.planning.materialize import materialize_
from goodinit.planning.plan import Plan, plan
from goodinit.planning.recipe import Recipe
from goodinit.planning.resolve import Matcher, resolve_row
from goodinit.planning.rows import PlanBlock, PlanRow
from goodinit.schemes import AddNoise, Draw, Keep, Layout, Scheme
from goodinit.streams import Law, Stream, fresh_seed
from goodinit.streams.stream import DTYPES
from goodinit.trace import Inputs

__all__ = ["apply_", "init_", "init_module_", "load_"]

POWER_ITERATIONS = 15  # as many as spectral_norm itself takes when it is made


def apply_(
    model: nn.Module,
    plan: Plan,
    seed: int | None = None,
    materialize: str | torch.device | None = None,
    *,
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
        >>> from goodinit.planning import Rule, sel
        >>> from goodinit.planning.plan import plan
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
    planned = plan(target, recipe, inputs, keep if values is None else values, prefix)
    return _apply(target, planned, seed, materialize, values or {}, grown_only=True)


def load_(
    model: nn.Module,
    checkpoint: str | PathLike[str] | Mapping[str, object],
    recipe: Recipe,
    *,
    draw: str | Iterable[str] = (),
    inputs: Inputs | None = None,
    seed: int | None = None,
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
    planned = plan(model, recipe, inputs, values, prefix)
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
    stream = _stream(seed)
    slots_by_name = _slots(model, plan)
    _check_match(plan, slots_by_name)
    device = None if materialize is None else _device(materialize)
    copied = copies(slots_by_name.values(), values or {}, plan.prefix, grown_only=grown_only)
    _check_memory(plan, slots_by_name, device, set(copied))
    for row in plan:
        if not row.kept or row.name in copied:
            check_writable(slots_by_name[row.name])
    if device is not None:
        materialize_(model, device)
        slots_by_name = _slots(model, plan)
    for name, pairs in copied.items():
        copy_(slots_by_name[name], pairs)
    written, findings = _write(plan.rows, slots_by_name, stream, progress)
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
            raise _no_memory(row.name)
    _write(tuple(rows), found, Stream(fresh_seed()))


def _stream(seed: int | None) -> Stream:
    """Return the stream of a seed; anything that counts as an int will do (numpy's too)."""
    if seed is None:
        return Stream(fresh_seed())
    return Stream(seed if isinstance(seed, bool) or not hasattr(seed, "__index__") else index(seed))


def _init_tensor_(tensor: Tensor, recipe: Recipe, seed: int | None, prefix: str) -> Plan:
    holder = nn.Module()
    holder._parameters["weight"] = cast("nn.Parameter", tensor)  # a plain one will do
    slot = slots(holder)[0]
    slot.name = prefix or "tensor"
    if tensor.is_meta:
        raise _no_memory(slot.name)
    row = _tensor_row(slot.name, tensor)
    matcher = Matcher(recipe)
    planned = resolve_row(row, slot, matcher, lambda _: None)
    planned = replace(planned, why=planned.why or f"shape read as {row.facets.seen}")
    stream = _stream(seed)
    rows, findings = _write((planned,), {slot.name: slot}, stream)
    return Plan(rows, recipe.name, "one tensor", "", findings, stream.seed)


def _tensor_row(name: str, tensor: Tensor) -> Row:
    axes = tensor.dim()
    if axes < 2:
        facets = Facets("other", "weight", seen="no matrix")
    else:
        layout = Layout(outputs=(0,), inputs=(1,), window=tuple(range(2, axes)))
        kind = "linear" if axes == 2 else "conv"
        facets = Facets(kind, "weight", layout, seen="[out, in, *window]")
    return Row(name, tuple(tensor.shape), tensor.dtype, nn.Module, facets)


def _without_children(module: nn.Module) -> nn.Module:
    """Return a module on the same tensors, but for its children; parametrizations stay."""
    alone = object.__new__(type(module))
    own = {name: m for name, m in module._modules.items() if name == "parametrizations"}
    alone.__dict__.update(module.__dict__ | {"_modules": own})
    return alone


def _unknown(row: Row) -> bool:
    return row.facets.guessed or row.facets.kind == "other"


def _check_match(plan: Plan, found: dict[str, Slot]) -> None:
    """Raise PlanError with the first few differences between plan and model."""
    planned = {row.name: row for row in plan}
    differences = [f"the model has no {name}" for name in planned if name not in found]
    differences += [f"the plan has no {name}" for name in found if name not in planned]
    for name in planned.keys() & found.keys():
        row, slot = planned[name], found[name]
        shape, dtype = _logical(slot)
        pairs = {
            "shape": (row.shape, shape),
            "dtype": (row.dtype, dtype),
            "tied names": (sorted(row.tied), sorted(slot.tied)),
            "stored tensors": (row.stored, slot.stored),
        }
        differences += [
            f"{name}: {what} {_list(ours)} in the plan, {_list(theirs)} in the model"
            for what, (ours, theirs) in pairs.items()
            if ours != theirs
        ]
    if differences:
        more = f"; and {len(differences) - 4} more" if len(differences) > 4 else ""
        raise PlanError(
            f"this plan isn't this model's: {'; '.join(differences[:4])}{more}. Plan this model"
        )


def _list(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value))) or "none"
    return str(value)


def _logical(slot: Slot) -> tuple[tuple[int, ...], torch.dtype]:
    if slot.how == "parametrized" and len(slot.tensors) != 1:
        with torch.no_grad():
            value = slot.read()
        return tuple(value.shape), value.dtype
    return tuple(slot.tensor.shape), slot.tensor.dtype


def _check_memory(
    plan: Plan, found: dict[str, Slot], device: torch.device | None, copied: set[str]
) -> None:
    """Raise where there is no memory, or will be none of what is kept and isn't copied."""
    on_meta = [row for row in plan if any(t.is_meta for t in found[row.name].tensors)]
    if device is None:
        drawn = [row for row in on_meta if not row.kept or row.name in copied]
        if drawn:
            raise _no_memory(drawn[0].name)
        return
    lost = [row.name for row in on_meta if _needs_old(row) and row.name not in copied]
    if lost:
        buffers = [row.name for row in on_meta if row.buffer and row.name in lost]
        mend = "build the model inside `with gi.skeleton():`, which computes buffers; " * bool(
            buffers
        )
        raise UnresolvedError(
            f"{', '.join(lost[:4])}{' and more' if len(lost) > 4 else ''}: no memory yet, and the "
            f"plan keeps what isn't there: {mend}give a rule for it (gi.Function computes "
            f"values), or bring it from a checkpoint with gi.load_"
        )


def _device(value: str | torch.device) -> torch.device:
    try:
        device = torch.device(value)
    except (RuntimeError, TypeError) as error:
        message = f"materialize={value!r} is no device: pass 'cpu' or 'cuda'"
        raise MetaModelError(message) from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise MetaModelError(f"materialize={value!r} can't be had here: {error}") from error
    if device.type == "meta":
        raise MetaModelError("materialize='meta' gives no memory: pass 'cpu' or 'cuda'")
    return device


def _needs_old(row: PlanRow) -> bool:
    return any(isinstance(block.scheme, (Keep, AddNoise)) for block in row.parts())


def _no_memory(name: str) -> MetaModelError:
    return MetaModelError(
        f"{name} is on meta, where there is no memory to write to: pass materialize='cpu' (or "
        f"another device)"
    )


def _write(
    rows: tuple[PlanRow, ...],
    found: dict[str, Slot],
    stream: Stream,
    progress: Callable[[PlanRow], object] | None = None,
) -> tuple[tuple[PlanRow, ...], tuple[Finding, ...]]:
    written: list[str] = []
    done: list[PlanRow] = []
    findings: list[Finding] = []
    for row in rows:
        slot = found[row.name]
        finding = None
        if not row.kept:
            try:
                finding = _write_row(row, slot, stream)
            except (RuntimeError, GoodinitError, ArithmeticError, ValueError) as error:
                so_far = f"{len(written)} rows written before" + (
                    f", the last is {written[-1]}" if written else ""
                )
                raise WriteError(f"{row.name}: {error} ({so_far})", tuple(written)) from error
            written.append(row.name)
            if progress is not None:
                progress(row)
        if finding is not None:
            findings.append(finding)
        done.append(row if finding is None else _noted(row, finding))
    return tuple(done), tuple(findings)


def _noted(row: PlanRow, finding: Finding) -> PlanRow:
    return replace(row, why="; ".join(filter(None, (row.why, finding.cause))))


@torch.no_grad()
def _write_row(row: PlanRow, slot: Slot, stream: Stream) -> Finding | None:
    if slot.how == "plain":
        _fill(slot.tensor, row, stream)
        return None
    value = torch.empty_like(slot.read())
    if row.std is None or _needs_old(row):
        value.copy_(slot.read())  # some blocks may be kept
    _fill(value, row, stream)
    wanted = value.clone()  # assigning may take the memory over
    if slot.how == "parametrized":
        setattr(slot.owner, slot.attr, value)
        _settle_(slot)
    else:
        _write_hooked(slot, value)
    return _read_back(row, slot, wanted)


def _fill(out: Tensor, row: PlanRow, stream: Stream) -> None:
    """Draw each block into its part of a tensor of the row's shape."""
    target = out if out.dtype in DTYPES or not out.is_floating_point() else out.float()
    for block in row.parts():
        if not isinstance(block.scheme, Keep):
            part = target[tuple(slice(start, stop) for start, stop in block.box)]
            block.scheme.fill_(part, _draw(row, block, stream), row.site(block))
    for number in row.zero_rows:
        target[number].zero_()
    if target is not out:  # float8: one cast from float32
        out.copy_(target)


def _draw(row: PlanRow, block: PlanBlock, stream: Stream) -> Draw:
    """Return the stream, bound to one block of one parameter."""

    def draw(out: Tensor, law: Law, purpose: str = "") -> None:
        stream.fill_(out, row.name, law, shape=row.shape, box=block.box, purpose=purpose)

    return draw


def _write_hooked(slot: Slot, value: Tensor) -> None:
    """Write through the hooks of torch.nn.utils, and refresh the attribute they compute."""
    hooks = cast("dict[int, object]", slot.owner._forward_pre_hooks).values()
    kinds = (WeightNorm, SpectralNorm, BasePruningMethod)
    hook = next(h for h in hooks if isinstance(h, kinds) and _hooked_name(h) == slot.attr)
    if isinstance(hook, WeightNorm):
        g, v = slot.tensors
        v.copy_(value)
        g.copy_(torch.norm_except_dim(value, 2, hook.dim))
        fresh = hook.compute_weight(slot.owner)
    elif isinstance(hook, SpectralNorm):
        slot.tensor.copy_(value)
        for _ in range(POWER_ITERATIONS):
            hook.compute_weight(slot.owner, do_power_iteration=True)
        fresh = hook.compute_weight(slot.owner, do_power_iteration=False)
    else:
        slot.tensor.copy_(value)
        fresh = hook.apply_mask(slot.owner)
    setattr(slot.owner, slot.attr, fresh)


def _hooked_name(hook: WeightNorm | SpectralNorm | BasePruningMethod) -> str:
    return hook._tensor_name if isinstance(hook, BasePruningMethod) else hook.name


def _settle_(slot: Slot) -> None:
    """Let spectral_norm's estimate of the largest singular value catch up with a new weight."""
    lists = slot.owner.parametrizations
    assert isinstance(lists, nn.ModuleDict)
    entry = lists[slot.attr]
    for step in entry.children():
        if type(step).__name__ == "_SpectralNorm" and slot.tensor.dim() > 1:
            norm: Any = step
            norm._power_method(norm._reshape_weight_to_matrix(slot.tensor), POWER_ITERATIONS)


def _read_back(row: PlanRow, slot: Slot, wanted: Tensor) -> Finding | None:
    """Compare what the module sees with what was written."""
    seen = slot.read().to(wanted.dtype)
    if not seen.isfinite().all():
        raise SchemeError("the parametrization made NaN or infinity of the values")
    rounding = 8 * torch.finfo(wanted.dtype).eps
    error = (seen - wanted).double().abs().max().item()
    if error <= rounding * max(wanted.double().abs().max().item(), 1e-30) or fixes_scale(slot):
        return None
    return Finding(
        "GI116",
        "warning",
        row.name,
        f"its parametrization changed the values that were written: std "
        f"{seen.double().std(correction=0).item():.3g} instead of "
        f"{wanted.double().std(correction=0).item():.3g}",
        "initialise before parametrizing, or mend its right_inverse",
    )
