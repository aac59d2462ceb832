"""Plans written into models: everything is checked first, then memory, copies and draws."""

# torch has no public way to a module's own tensors, children and hooks.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike

import torch
from torch import Tensor, nn

from goodinit._common.caller import callers_level
from goodinit._common.progress import progress_line
from goodinit.anatomy import read
from goodinit.anatomy.held import recorded
from goodinit.anatomy.names import Slot, slots
from goodinit.anatomy.writable import check_module, check_unsharded, check_writable
from goodinit.applying.cast_findings import find_casts
from goodinit.applying.loaded import check_copies, check_planned, copy_checkpoint_
from goodinit.applying.low_rank import check_low_rank, write_low_rank_
from goodinit.applying.low_rank_batch import factors_from_batch
from goodinit.applying.materialize import materialize_
from goodinit.applying.one_tensor import init_tensor_
from goodinit.applying.seed_reuse import note_draws
from goodinit.applying.shards import (
    PartsLike,
    check_seed,
    check_shards,
    find_shards,
    given_parts,
    is_split,
    reshard_,
)
from goodinit.applying.validate import (
    check_match,
    check_memory,
    device_of,
    no_memory_error,
    rows_of_part,
)
from goodinit.applying.write import write_
from goodinit.errors import CheckpointError, PlanError, RecipeError
from goodinit.plans.checkpoint import Checkpoint, copy_values_, find_values, open_checkpoint
from goodinit.plans.checkpoint_names import misnamed
from goodinit.plans.defaults import torch_default
from goodinit.plans.keep import KeepLike
from goodinit.plans.plan import Plan, collector_paused, plan_and_slots
from goodinit.plans.resolve import Matcher, resolve_row
from goodinit.plans.rows import PlanRow
from goodinit.recipes.by_name import RecipeLike
from goodinit.recipes.first_guesses import instead_of_plan
from goodinit.recipes.recipe import Recipe
from goodinit.schemes.fields import one_line
from goodinit.schemes.low_rank import LowRank
from goodinit.streams import Part, Stream, fresh_seed, stream_of
from goodinit.trace import Inputs, run_lazy_modules_


def apply_(
    model: nn.Module,
    plan: Plan,
    *,
    inputs: Inputs | None = None,
    seed: int | None = None,
    materialize: str | torch.device | None = None,
    part: bool = False,
    parts: PartsLike | None = None,
    progress: Callable[[PlanRow], object] | None = None,
) -> Plan:
    """Draw the planned values, in place. Gradients, hooks and optimizers stay as they are.

    If the model is split over processes (DTensors, FSDP 1, ZeRO-3), each process draws its part of
    the whole without asking the others. Plan the model before it is split.

    Args:
        model: the model that the plan was made for, or one with the same parameters, or a part.
        plan: what to draw.
        inputs: a batch, for a plan with values that are computed from one: LoRA's EVA and CorDA.
        seed: a non-negative integer; equal seeds give identical values. If None, a seed is drawn
            from torch's default CPU generator, so ``torch.manual_seed`` applies.
        materialize: a device such as "cpu" on which parameters and buffers on meta get memory.
        part: whether the model is a part of the planned one, such as a pipeline stage, which
            hasn't all of the plan's rows. A tied parameter is found by any of its names.
        parts: what is held here of tensors that layers split by hand: a mapping from names or
            globs to ``gi.Part``, or a function from a name and its tensor to one, or None.
        progress: called with each row after it is written.

    Returns:
        The plan with its seed, and with findings that only writing can show; a part's rows only.

    Raises:
        PlanError: the plan was made for another model, or ``parts`` don't fit.
        ModelError: a parameter that can't be written, or has no memory.
        WriteError: a write failed half-way; names what had been written.

    Example:
        >>> from goodinit.plans.plan import plan
        >>> from goodinit.schemes import Ones
        >>> with torch.device("meta"):
        ...     net = nn.Linear(2, 3)
        >>> planned = plan(net, {"*": Ones()})
        >>> apply_(net, planned, seed=0, materialize="cpu").seed
        0
        >>> net(torch.ones(2)).tolist()
        [3.0, 3.0, 3.0]
    """
    check_module(model, "apply_")
    if not isinstance(plan, Plan):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PlanError(f"apply_ takes a Plan, got {one_line(plan)}; {instead_of_plan(plan)}")
    reshard_(model)
    with collector_paused():
        plan, found, held = _match(model, plan, seed, part, parts)
    applied = _apply(
        model, plan, found, seed, materialize, held=held, inputs=inputs, progress=progress
    )
    _note(model, applied, found, seed, held)
    return applied


def apply_own_(
    module: nn.Module,
    plan: Plan,
    path: str,
    *,
    seed: int | None = None,
    materialize: str | torch.device | None = None,
) -> None:
    """Draw one module's own parameters by a whole model's plan, but none of its children's.

    For frameworks that go through a model module by module. One seed for all modules gives what
    ``apply_`` gives. A tied parameter is drawn under its one name, in whichever module it is
    reached. With ``materialize``, only what is on meta is drawn: the rest was there before.

    Raises:
        PlanError: the module isn't as planned.
        ModelError: a parameter that can't be written, or has no memory.
        WriteError: a write failed half-way.
    """
    with _children_removed(module):
        own = slots(module, path)
        for slot in own:
            if slot.name not in plan:
                raise PlanError(f"the plan has no row {slot.name!r}: plan the model as it is now")
        found = {plan[slot.name].name: slot for slot in own}
        if materialize is not None:
            found = {name: s for name, s in found.items() if any(t.is_meta for t in s.tensors)}
        # Ties to other modules can't be seen from here.
        rows = (replace(plan[name], tied=s.tied, stored=s.stored) for name, s in found.items())
        part = replace(plan, rows=tuple(rows))
        check_match(part, found)
        _apply(module, part, found, seed, materialize)


def init_(
    target: nn.Module | Tensor,
    recipe: RecipeLike = "standard",
    *,
    inputs: Inputs | None = None,
    seed: int | None = None,
    keep: KeepLike = (),
    only: str | Iterable[str] = (),
    prefix: str = "",
    materialize: str | torch.device | None = None,
) -> Plan:
    """Initialize a model, a layer or a tensor in place. Returns the plan that was applied.

    Args:
        target: a module; or a tensor, whose fans are computed from its shape [out, in, *window].
        recipe: a Recipe, its name, a TOML file, a scheme, or a mapping from module types or globs
            to schemes.
        inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments. If given,
            the model is run once, to see activations, fans and residual ends; lazy modules get
            their shapes. If None, module types decide. Values count for LoRA's EVA and CorDA alone.
        seed: a non-negative integer; equal seeds give identical values. If None, a seed is drawn
            from torch's default CPU generator, so ``torch.manual_seed`` applies.
        keep: names, globs, a state dict or the path of a checkpoint: what is loaded already and
            must not be written. The old part of a parameter that has grown is copied from there.
        only: names or globs: nothing else is written.
        prefix: prepended to each name. Values depend on names:
            ``init_(model.encoder, ..., prefix="encoder")`` draws the same values as
            ``init_(model, ...)``. Without a prefix, equal layers get equal values from one seed.
        materialize: a device such as "cpu"; parameters and buffers on meta are allocated there.

    Raises:
        GoodinitError: as for ``plan`` and ``apply_``, before anything is written.

    Example:
        >>> from goodinit.schemes import Constant, XavierUniform
        >>> layer = nn.Linear(100, 50)
        >>> drawn = init_(layer, {"weight": XavierUniform(), "bias": Constant(0.01)}, seed=0)
        >>> drawn["bias"].mean, drawn["weight"].fan_in
        (0.01, 100)
    """
    if isinstance(target, Tensor):
        if inputs is not None or materialize is not None or keep != () or only != ():
            raise RecipeError("inputs, keep, only and materialize are for modules, not one tensor")
        return init_tensor_(target, recipe, seed, prefix)
    check_module(target, "init_")
    reshard_(target)
    if inputs is not None:
        run_lazy_modules_(target, inputs)
    checkpoint = open_checkpoint(keep)
    kept = keep if checkpoint is None else checkpoint
    planned, found = plan_and_slots(
        target, recipe, inputs=inputs, keep=kept, prefix=prefix, only=only
    )
    copied = find_values(found, checkpoint, prefix, grown_only=True)
    copied = {name: values for name, values in copied.items() if planned[name].grown_from}
    _warn_of_misnamed(planned)
    by_name = _by_name(found)
    applied = _apply(target, planned, by_name, seed, materialize, copied, inputs=inputs)
    _note(target, applied, by_name, seed)
    return applied


def load_(
    model: nn.Module,
    checkpoint: str | PathLike[str] | Mapping[str, object],
    recipe: RecipeLike | Plan = "standard",
    *,
    inputs: Inputs | None = None,
    seed: int | None = None,
    draw: str | Iterable[str] = (),
    strip_prefix: str = "",
    prefix: str = "",
    materialize: str | torch.device | None = None,
    part: bool = False,
    parts: PartsLike | None = None,
) -> Plan:
    """Load a checkpoint into a model and draw what is missing from it: a new head, a new adapter.

    If a parameter is larger than the checkpoint's, the old values fill its first indices and the
    rest is drawn: new rows of an embedding, new input channels. If one matrix has become several
    stacked ones (experts), each is a copy with noise, ``AddNoise()``. The plan lists both.

    Args:
        model: any module. On meta, with ``materialize``, no value is computed twice.
        checkpoint: a state dict, whose values may be arrays; or the path of a file: safetensors,
            what ``torch.save`` wrote (with torch 2.6 or newer, read as data), the index of a
            sharded checkpoint, or a folder with one of these; or a folder of
            torch.distributed.checkpoint; each process reads its part of it.
        recipe: as for ``plan``; applied to what the checkpoint does not contain. For a model that
            is split over processes, the plan of the whole, made with ``keep=checkpoint``.
        inputs: as for ``plan``.
        seed: as for ``init_``.
        draw: names or globs to draw although the checkpoint contains them: ``"head.*"``.
        strip_prefix: taken away from the checkpoint's names that begin with it: ``"module."``.
        prefix: as for ``plan``.
        materialize: as for ``init_``.
        part: as for ``apply_``.
        parts: as for ``apply_``.

    Raises:
        CheckpointError: a file that can't be read, or values that don't fit.
        GoodinitError: as for ``plan`` and ``apply_``, before anything is written.

    Example:
        >>> old = nn.Embedding(100, 8)
        >>> new = nn.Embedding(104, 8)
        >>> plan = load_(new, old.state_dict(), "gpt2", seed=0)
        >>> torch.equal(new.weight[:100], old.weight), plan["weight"].blocks[1].box
        (True, ((100, 104), (0, 8)))
    """
    check_module(model, "load_")
    reshard_(model)
    values = _without(_opened(checkpoint).stripped(strip_prefix), draw, model)
    if isinstance(recipe, Plan):
        if inputs is not None or prefix:
            raise RecipeError("inputs and prefix are for gi.plan, and load_ was given a plan")
        return _load_planned(model, values, recipe, seed, materialize, part, parts)
    _check_whole(part, parts)
    planned, found = plan_and_slots(model, recipe, inputs=inputs, keep=values, prefix=prefix)
    copied = find_values(found, values, prefix, grown_only=False)
    _warn_of_misnamed(planned)
    return _apply(model, planned, _by_name(found), seed, materialize, copied, checkpoint=values)


def _without(values: Checkpoint, draw: str | Iterable[str], model: nn.Module) -> Checkpoint:
    """Return the checkpoint without what is drawn; raise what its names lack, if none fits."""
    try:
        return values.without(draw)
    except CheckpointError:
        shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}
        if shapes.keys().isdisjoint(values.values):
            misnamed(values, values.values, shapes)
        raise


def _check_whole(part: bool, parts: PartsLike | None) -> None:
    if part or parts is not None:
        raise PlanError(
            "part and parts need the plan of the whole model in the recipe's place: "
            "gi.load_(model, checkpoint, gi.plan(whole, recipe, keep=checkpoint), ...)"
        )


def _load_planned(
    model: nn.Module,
    values: Checkpoint,
    plan: Plan,
    seed: int | None,
    materialize: str | torch.device | None,
    part: bool,
    parts: PartsLike | None,
) -> Plan:
    """Load a checkpoint by the plan of the whole; the model may hold parts of it."""
    mine, found, held = _match(model, plan, seed, part, parts)
    if part:  # the checkpoint may have a tied value under a name that is another part's
        found = {n: replace(s, name=n, tied=plan[n].tied) for n, s in found.items()}
    copied = find_values(found.values(), values, plan.prefix, grown_only=False)
    check_planned(plan, mine, copied, values)
    _warn_of_misnamed(plan)
    return _apply(model, mine, found, seed, materialize, copied, held, checkpoint=values)


def _opened(checkpoint: object) -> Checkpoint:
    values = open_checkpoint(checkpoint, loads=True)
    if values is None or not values.values:
        is_module = isinstance(checkpoint, nn.Module)
        fix = ". Write gi.load_(model, checkpoint.state_dict())" if is_module else ""
        raise CheckpointError(
            f"load_ takes a state dict or the path of a checkpoint with values in it, "
            f"got {one_line(checkpoint)}{fix}"
        )
    return values


def _match(
    model: nn.Module, plan: Plan, seed: int | None, part: bool, parts: PartsLike | None
) -> tuple[Plan, dict[str, Slot], dict[str, Part]]:
    """Return the rows of a plan that a model has, their slots, and what the caller says of parts.

    Raises:
        PlanError: the plan was made for another model, or ``parts`` don't fit.
        StreamError: a part of a model, and no seed.
    """
    found = _by_name(slots(model, plan.prefix))
    if part:
        plan, found = rows_of_part(plan, found)
        check_seed(seed, "the other parts of the model are drawn")
    held = given_parts(plan.rows, found, parts)
    check_match(plan, found, held)
    return plan, found, held


def _apply(
    module: nn.Module,
    plan: Plan,
    found: Mapping[str, Slot],
    seed: int | None,
    materialize: str | torch.device | None,
    copied: Mapping[str, list[Tensor | None]] | None = None,
    held: Mapping[str, Part] | None = None,
    inputs: Inputs | None = None,
    progress: Callable[[PlanRow], object] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Plan:
    """Write a plan that fits the module: check what is left to check; memory, copies, draws.

    ``copied`` is what a checkpoint brings, if planning has just looked at these slots: then the
    rows that are drawn have been checked. It is None if the plan is older. ``held`` has the parts
    that the caller named.
    """
    device = None if materialize is None else device_of(materialize)
    check_memory(plan, found, device, set(copied or ()))
    shards = find_shards(plan.rows, found, held or {}, copied or ())
    check_low_rank(plan.rows, found, shards)
    check_shards(plan.rows, shards, seed)
    check_copies(copied or {}, found, shards)
    for row in plan:
        unchecked = copied is None or row.grown_from
        writes = (unchecked and not row.kept) or (copied and row.name in copied)
        if writes and row.name not in shards:
            check_writable(found[row.name])
    computed = factors_from_batch(module, plan.rows, found, inputs)
    stream = stream_of(seed)
    if device is not None:
        values = {n: [recorded(t) for t in slot.tensors] for n, slot in found.items()}
        materialize_(module, device)  # the tensors stay the same objects
        for name, of_skeleton in values.items():
            if any(value is not None for value in of_skeleton):
                copy_values_(found[name], of_skeleton)
        shards = find_shards(plan.rows, found, held or {}, copied or ())  # in their memory
    copy_checkpoint_(copied or {}, found, shards, checkpoint, plan.prefix)
    cast = tuple(find_casts(copied or {}, found, shards))
    with progress_line("drawing", sum(not row.kept for row in plan)) as step:
        alone = tuple(row for row in plan if type(row.scheme) is not LowRank)
        written, findings = write_(alone, found, stream, _both(step, progress), shards)
        write_low_rank_(plan.rows, found, stream, _both(step, progress), computed)
    by_name = {row.name: row for row in written}
    rows = (by_name.get(row.name, row) for row in plan)
    rows = tuple(replace(r, unresolved=False) if r.name in (copied or ()) else r for r in rows)
    findings = (*plan.findings, *cast, *findings)
    return replace(plan, rows=rows, findings=findings, seed=stream.seed)


def _note(
    target: nn.Module,
    applied: Plan,
    found: Mapping[str, Slot],
    seed: int | None,
    held: Container[str] = (),
) -> None:
    """Note what was drawn from a caller's seed; parts of one parameter repeat nothing."""
    if seed is not None and applied.seed is not None:
        whole = (r for r in applied.rows if r.name not in held and not is_split(found[r.name]))
        note_draws(target, tuple(whole), found, applied.seed)


def _both(
    step: Callable[[PlanRow], None], progress: Callable[[PlanRow], object] | None
) -> Callable[[PlanRow], None]:
    def note(row: PlanRow) -> None:
        step(row)
        if progress is not None:
            progress(row)

    return note


def _warn_of_misnamed(plan: Plan) -> None:
    """Warn of a checkpoint that fits only in part: trained values are about to be redrawn."""
    for finding in plan.findings:
        if finding.code == "GI115" and finding.severity == "error":
            warnings.warn(str(finding), stacklevel=callers_level())


def _by_name(found: Iterable[Slot]) -> dict[str, Slot]:
    return {slot.name: slot for slot in found}


@contextmanager
def _children_removed(module: nn.Module) -> Generator[None]:
    """Take a module's children away for a moment; parametrizations stay."""
    children = module._modules
    vars(module)["_modules"] = _parametrizations(module)
    try:
        yield
    finally:
        vars(module)["_modules"] = children


def _parametrizations(module: nn.Module) -> dict[str, nn.Module | None]:
    return {name: child for name, child in module._modules.items() if name == "parametrizations"}


def init_module_(module: nn.Module, recipe: Recipe) -> None:
    """Initialize a module's own parameters by its type; the function behind ``Recipe.each``."""
    alone = _without_children(module)
    found = _by_name(slot for slot in slots(alone) if not slot.buffer)
    if not found:
        return
    for slot in found.values():
        check_unsharded(slot)
    matcher = Matcher(recipe)
    rows = [
        resolve_row(
            row, found[row.name], matcher, lambda slot: torch_default(slot.owner, slot.attr)
        )
        for row in read(alone).rows
        if row.name in found and not row.facets.guessed and row.facets.kind != "other"
    ]
    for row in rows:
        if not row.kept and found[row.name].tensor.is_meta:
            raise no_memory_error(row.name)
    write_(tuple(rows), found, Stream(fresh_seed()))


def _without_children(module: nn.Module) -> nn.Module:
    """Return a module that shares the tensors and has no children; parametrizations stay."""
    alone = object.__new__(type(module))
    alone.__dict__.update(module.__dict__ | {"_modules": _parametrizations(module)})
    return alone
