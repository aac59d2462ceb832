"""Layers, and units, that start as one function, as measured: GI123 and GI124."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from goodinit._common.memory import without_repeats
from goodinit._common.text import count, grouped_names
from goodinit.findings import Finding, Severity
from goodinit.findings.clones import (
    CLONES,
    COPIES,
    GROWN,
    LEAVE_GROWN,
    MATRIX,
    REPEATED,
    SAME_GRADIENTS,
    STACKED,
    Clone,
    could_be_cloned,
    find_copies,
    gradients_are_the_same,
    is_drawn,
    is_grown,
    is_stack,
)
from goodinit.schemes import LeCunNormal
from goodinit.signal.attention_products import ATTENTION
from goodinit.signal.batch_axis import CHANNELS
from goodinit.signal.remedies import draw_whole, redraw
from goodinit.signal.repeated_units import repeats, scatter
from goodinit.signal.rows import Signal, SignalRow

LEARNT_AS_ONE = frozenset(("contract", "pick", "opaque", "attention"))  # whose weights are layers'
UNITS_APART = "draw different values for each unit"
APART = "build the layers one by one, so that each has values of its own"


def find_clones(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Yield layers that start as one function: clones, or one seed for several."""
    used = {name for row in signal.rows if row.kind in LEARNT_AS_ONE for name in row.params}
    sizes = {g.name: g.size for g in signal.gradients if g.ratio is not None and g.name in used}
    # One that these inputs don't reach is a clone of one that they do: an expert, say.
    unused = [g.name for g in signal.gradients if g.ratio is None]
    found = [c for c in _clones(params, [*sizes, *unused]) if sizes.keys() & c]
    copies = find_copies(found)
    for pairs, what in (([c for c in found if c not in copies], CLONES), (copies, COPIES)):
        if not pairs:
            continue
        more = f", and {count(len(pairs) - 1, 'more such pair')}" if len(pairs) > 1 else ""
        same = all(gradients_are_the_same(*(sizes.get(n, 0.0) for n in pair)) for pair in pairs)
        mild: Severity = "info" if pairs is copies else "warning"
        grave: Severity = "warning" if pairs is copies else "error"
        yield Finding(
            "GI124",
            grave if same else mild,
            pairs[0].second,
            f"bit for bit the values of {pairs[0].first}{more}: {what}"
            + (f"; {SAME_GRADIENTS}" if same else ""),
            draw_whole(APART),
        )
    yield from _find_stacks(signal, params, sizes)


def _clones(params: Mapping[str, Tensor], names: Sequence[str]) -> list[Clone]:
    groups: dict[tuple[str, str, float], list[str]] = {}
    for name in names:
        tensor = params[name].detach()
        if tensor.dim() > 1 and could_be_cloned(tensor.numel()):
            values = _real(without_repeats(tensor)).float()
            size = cast("Tensor", torch.linalg.vector_norm(values)).item()
            key = (str(tensor.shape), str(tensor.dtype), size)
            groups.setdefault(key, []).append(name)
    return [
        Clone(alike[0], name)
        for alike in groups.values()
        for name in alike[1:]
        if torch.equal(params[alike[0]], params[name]) and _is_drawn(params[name])
    ]


def _find_stacks(
    signal: Signal, params: Mapping[str, Tensor], sizes: Mapping[str, float]
) -> Iterator[Finding]:
    """Yield a stack of matrices that are all equal, such as those of experts."""
    names = dict.fromkeys(
        name
        for row in signal.rows
        if row.kind == "contract" and not row.function.startswith(CHANNELS)
        for name in row.params
    )
    alike = [name for name in names if name in sizes and _stack_is_alike(params[name])]
    if alike:
        more = f" (and those of {count(len(alike) - 1, 'more stack')})" if len(alike) > 1 else ""
        grown = all(is_grown(*scatter(params[name][0])) for name in alike)
        why = f"{STACKED}; {GROWN}" if grown else STACKED
        cause = f"its {len(params[alike[0]])} matrices{more} are equal, bit for bit: {why}"
        severity, remedy = ("info", LEAVE_GROWN) if grown else ("warning", draw_whole(APART))
        yield Finding("GI124", severity, alike[0], cause, remedy)


def find_repeated_units(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Yield layers some of whose units repeat others, such as heads drawn from one seed."""
    found: dict[str, tuple[SignalRow, int, bool]] = {}
    for row in signal.rows:
        matrices = [n for n in row.params if params[n].dim() > 1]
        if row.function != ATTENTION and (row.kind != "contract" or len(matrices) > 1):
            continue
        for name in matrices:
            axis = None if name in found else _axis_of_units(row, signal.rows, params[name])
            repeated = None if axis is None else repeats(params[name], axis)
            if repeated is not None:
                found[name] = row, *repeated
    for grown in (False, True):
        names = [name for name, (_, _, one) in found.items() if one is grown]
        if not names:
            continue
        rows = {found[name][0].key: found[name][0] for name in names}
        yield Finding(
            "GI123",
            "info" if grown else "warning",
            grouped_names(names),
            f"{found[names[0]][1]} units have the weights of others, bit for bit: {REPEATED}"
            + (f"; {GROWN}" if grown else ""),
            LEAVE_GROWN
            if grown
            else redraw([*rows.values()], params, LeCunNormal(), UNITS_APART, names),
        )


def _axis_of_units(row: SignalRow, rows: Sequence[SignalRow], weight: Tensor) -> int | None:
    """Return the axis of a trained weight that its units are along; None if that isn't known."""
    taken = {rows[n].width for n in row.takes if n >= 0}
    if not weight.requires_grad:
        return None
    if row.function in ("linear", ATTENTION) and weight.dim() == MATRIX:
        return 0
    if row.function.startswith(CHANNELS):  # a group of channels sees inputs of its own
        return 0 if taken == {weight.shape[1]} and weight.shape[0] == row.width else None
    square = weight.dim() != MATRIX or weight.shape[0] == weight.shape[1]
    return 1 if weight.shape[-1] == row.width and not square else None


@torch.no_grad()
def _stack_is_alike(stack: Tensor) -> bool:
    """Return whether all matrices of a stack, of two or more, are equal.

    >>> a = torch.arange(16.0).view(4, 4)
    >>> _stack_is_alike(torch.stack([a, a])), _stack_is_alike(torch.stack([a, -a]))
    (True, False)
    """
    if not is_stack(stack.shape) or not could_be_cloned(stack[0].numel()):
        return False
    if 0 in stack.stride():  # a forecast shows one row, repeated
        return False
    stack = stack.detach()
    if not torch.equal(stack[0], stack[1]):
        return False
    return bool((stack == stack[:1]).all()) and _is_drawn(stack[0])


def _is_drawn(tensor: Tensor) -> bool:
    values = cast("Tensor", torch.unique(_real(tensor.detach()).float()))
    return is_drawn(values.numel())


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
