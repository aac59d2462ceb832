"""Writes the parameters of models: each row under its logical name, block by block.

A plain tensor is drawn into its own memory; a parametrized one is drawn separately and assigned.
"""

# torch has no public way to a module's own hooks.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from goodinit._common.memory import bump_version
from goodinit._common.threads import one_thread
from goodinit.anatomy.names import Slot
from goodinit.anatomy.writable import fixes_scale
from goodinit.applying.complex_parts import Filler, parts_of_complex
from goodinit.applying.shards import Shard
from goodinit.errors import GoodinitError, SchemeError, WriteError
from goodinit.findings import Finding
from goodinit.findings.scales import write_was_changed
from goodinit.plans.rows import PlanBlock, PlanRow, needs_old
from goodinit.schemes import Constant, Drawn, Keep, Ones, Zeros
from goodinit.schemes.grown import DropUnits, FromOld
from goodinit.schemes.mimetic import Mimetic
from goodinit.schemes.scheme import BoxDraw, Scheme
from goodinit.streams import Box, Law, Part, Stream
from goodinit.streams.part import box_shape, intersect, regions, slices, within
from goodinit.streams.stream import CHUNK, DTYPES

POWER_ITERATIONS = 15  # as many as spectral_norm itself takes when it is made


@torch.no_grad()
def write_(
    rows: tuple[PlanRow, ...],
    found: Mapping[str, Slot],
    stream: Stream,
    progress: Callable[[PlanRow], object] | None = None,
    shards: Mapping[str, Shard] = MappingProxyType({}),
) -> tuple[tuple[PlanRow, ...], tuple[Finding, ...]]:
    """Draw the rows that aren't kept; return all rows, and the findings that writing showed.

    ``found`` has the model's slots by the rows' names; all have been checked. ``progress`` is
    called with each row after it is written. ``shards`` has what is held of rows that are split.

    Raises:
        WriteError: a write failed half-way; names what had been written.
    """
    written: list[str] = []
    done: list[PlanRow] = []
    findings: list[Finding] = []
    for row in rows:
        slot = found[row.name]
        finding = None
        if not row.kept:
            try:
                if row.name in shards:
                    shard = shards[row.name]
                    fill_part_(shard.local, row, stream, shard.part)
                    bump_version(slot.tensor)
                else:
                    finding = _write_row(row, slot, stream)
            except (RuntimeError, GoodinitError, ArithmeticError, ValueError) as error:
                last = f", the last is {written[-1]}" if written else ""
                so_far = f"{len(written)} rows written before{last}"
                raise WriteError(f"{row.name}: {error} ({so_far})", tuple(written)) from error
            written.append(row.name)
            if progress is not None:
                progress(row)
        done.append(row)
        if finding is not None:
            findings.append(finding)
            done[-1] = replace(row, why="; ".join(filter(None, (row.why, finding.cause))))
    return tuple(done), tuple(findings)


def _write_row(row: PlanRow, slot: Slot, stream: Stream) -> Finding | None:
    if slot.how == "plain":
        fill_row_(slot.tensor, row, stream)
        return None
    value = torch.empty_like(slot.read())
    if row.std is None or needs_old(row):
        value.copy_(slot.read())  # some blocks may be kept
    fill_row_(value, row, stream)
    wanted = value.clone()  # assigning may take the memory over
    assign_(slot, value)
    return _read_back(row, slot, wanted)


@torch.no_grad()
def assign_(slot: Slot, value: Tensor) -> None:
    """Write a value through a parametrization, or the hooks of torch.nn.utils."""
    with one_thread():  # norms are sums, whose last bits change with the threads
        if slot.how == "parametrized":
            setattr(slot.owner, slot.attr, value)
            _settle_(slot)
        else:
            _write_hooked(slot, value)


def fill_row_(out: Tensor, row: PlanRow, stream: Filler) -> None:
    """Draw each block into its part of a tensor of the row's shape."""
    if out.is_complex():
        for half, of, numbers in parts_of_complex(out, row, stream):
            fill_row_(half, of, numbers)
        return
    target = out if out.dtype in DTYPES or not out.is_floating_point() else out.float()
    for block in row.parts():
        if type(block.scheme) is not Keep:  # isinstance is slow for an abstract class
            _fill_block(target, row, block, block if row.blocks else None, stream)
    for number in row.zero_rows:
        target[number].zero_()
    if target is not out:  # float8: one cast from float32
        out.copy_(target)


def _fill_block(
    target: Tensor, row: PlanRow, block: PlanBlock, of: PlanBlock | None, stream: Filler
) -> None:
    part = target if of is None else target[slices(of.box)]
    scheme = block.scheme
    draw = _draw(row, of, scheme, stream)
    if isinstance(scheme, FromOld):
        scheme.fill_from_(part, target[: row.grown_from[0]], draw)
    elif type(scheme) is DropUnits:

        def units(out: Tensor, law: Law, purpose: str = "") -> None:
            stream.fill_(out, "drop-upcycling", law, purpose=purpose)

        scheme.redraw_(part, row.site(block), block.box[0][0], draw, units)
    else:
        scheme.fill_(part, draw, row.site(block))


def fill_part_(out: Tensor, row: PlanRow, stream: Filler, part: Part) -> None:
    """Draw a part of a row into the tensor that holds it, with the numbers of the whole."""
    if out.is_complex():
        for half, of, numbers in parts_of_complex(out, row, stream):
            fill_part_(half, of, numbers, part)
        return
    for box, where in part.pieces():
        held = out[where].view(box_shape(box))
        if out.dtype in DTYPES or not out.is_floating_point():
            _fill_box(held, row, stream, box)
            continue
        for region in regions(box, CHUNK) if is_elementwise(row) else (box,):
            some = held[slices(within(region, box))]
            single = some.float()  # float8: one cast from float32
            _fill_box(single, row, stream, region)
            some.copy_(single)


def is_elementwise(row: PlanRow) -> bool:
    """Whether a part of a box costs a part of its work, so that it may be drawn in pieces."""
    return all(isinstance(b.scheme, (Constant, Drawn, Keep, Ones, Zeros)) for b in row.parts())


def _fill_box(out: Tensor, row: PlanRow, stream: Filler, box: Box) -> None:
    for block in row.parts():
        shared = None if isinstance(block.scheme, Keep) else intersect(box, block.box)
        if shared is not None:
            draw = _draw(row, block, block.scheme, stream)
            held, of_block = out[slices(within(shared, box))], within(shared, block.box)
            block.scheme.fill_part_(held, draw, row.site(block), of_block)
    for number in row.zero_rows:
        if box[0][0] <= number % row.shape[0] < box[0][1]:
            out[number % row.shape[0] - box[0][0]].zero_()


def _draw(row: PlanRow, block: PlanBlock | None, scheme: Scheme, stream: Filler) -> BoxDraw:
    """Return the stream, bound to one parameter or to one block of it; to a module, if shared."""
    if isinstance(scheme, Mimetic):
        return partial(_fill_shared, stream, scheme.attention)
    bounds, shape = (None, None) if block is None else (block.box, row.shape)

    def draw(out: Tensor, law: Law, purpose: str = "", box: Box | None = None) -> None:
        if box is not None and bounds is not None:
            inner = zip(box, bounds, strict=True)
            box = tuple((first + start, first + stop) for (start, stop), (first, _) in inner)
        stream.fill_(out, row.name, law, shape=shape, box=box or bounds, purpose=purpose)

    return draw


def _fill_shared(
    stream: Filler, name: str, out: Tensor, law: Law, purpose: str = "", box: Box | None = None
) -> None:
    """Draw numbers that several parameters are computed from; ``box`` is of one of these."""
    del box
    stream.fill_(out, name, law, purpose=purpose)


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
    """Update spectral_norm's estimate of the largest singular value for a new weight."""
    lists = slot.owner.parametrizations
    assert isinstance(lists, nn.ModuleDict)
    entry = lists[slot.attr]
    for step in entry.children():
        if type(step).__name__ == "_SpectralNorm" and slot.tensor.dim() > 1:
            norm: Any = step
            norm._power_method(norm._reshape_weight_to_matrix(slot.tensor), POWER_ITERATIONS)


def _read_back(row: PlanRow, slot: Slot, expected: Tensor) -> Finding | None:
    """Compare what the module sees with what was written."""
    actual = slot.read().to(expected.dtype)
    if not actual.isfinite().all():
        raise SchemeError("the parametrization made NaN or infinity of the values")
    error = (actual - expected).double().abs().max().item()
    largest, spacing = expected.double().abs().max().item(), torch.finfo(expected.dtype).eps
    if fixes_scale(slot) or not write_was_changed(error, largest, spacing):
        return None
    stds = [f"{x.double().std(correction=0).item():.3g}" for x in (actual, expected)]
    changed = "its parametrization changed the values that were written"
    cause = f"{changed}: std {stds[0]} instead of {stds[1]}"
    fix = "initialize before parametrizing, or fix its right_inverse"
    return Finding("GI116", "warning", row.name, cause, fix)
