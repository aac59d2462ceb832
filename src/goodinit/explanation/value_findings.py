"""Findings of values that no law draws: GI120 to GI124, GI129 to GI131."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import nn

from goodinit.anatomy.logical_values import weight_normed
from goodinit.anatomy.names import Slot
from goodinit.applying.lines import Line, quoted, untried
from goodinit.explanation.context import Context, Verdict, verdict
from goodinit.explanation.outliers import outlier_counts, without_outliers
from goodinit.explanation.reading import ParameterValues
from goodinit.explanation.unit_findings import (
    is_stack_of_one,
    rows_are_equal,
    unit_findings,
    values_are_drawn,
)
from goodinit.findings import Finding, Severity
from goodinit.findings.broken import garbage_severity, is_garbage, values_were_clamped
from goodinit.findings.clones import (
    CLONES,
    COPIES,
    GROWN,
    LEAVE_GROWN,
    STACKED,
    Clone,
    could_be_cloned,
    find_copies,
    is_grown,
)
from goodinit.findings.scales import write_was_lost
from goodinit.schemes import Normal
from goodinit.signal.equality import holds_one_number
from goodinit.signal.repeated_units import scatter
from goodinit.trace import Inputs

APART = "build the layers one by one, so that each has values of its own"


def value_findings(context: Context, buffers: list[Slot]) -> Iterator[Verdict]:
    """Yield the findings of values that no law draws."""
    yield from _not_numbers(context)
    yield from _bad_buffers(buffers)
    yield from _garbage(context)
    yield from unit_findings(context)
    yield from _clones(context)
    yield from _padding(context)
    yield from _lost_writes(context)
    yield from _piled_up(context)


def _judged(context: Context) -> list[ParameterValues]:
    return [one for one in context.parameters if one.whole is not None]


def _not_numbers(context: Context) -> Iterator[Verdict]:
    bad = [one for one in _judged(context) if not one.sample.finite]
    if bad:
        cause = "NaN or infinite values: never initialized, or a training run that diverged"
        remedy = context.redraw(bad, "draw it again, or restore it", again=True)
        yield verdict("GI120", "error", bad, cause, remedy)


def _bad_buffers(buffers: list[Slot]) -> Iterator[Verdict]:
    for slot in buffers:
        tensor = slot.tensor
        if tensor.is_meta or tensor.layout is not torch.strided or not tensor.numel():
            continue
        if tensor.is_floating_point() and bool(torch.isnan(tensor.float().sum())):
            if not bool(torch.isnan(tensor).any()):
                continue
            words = "build the model again: its module computes this buffer"
            path = slot.name.rpartition(".")[0]
            lines = [_reset_line(path)] if slot.attr.startswith("running_") else []
            remedy = untried(words, lines)
            cause = "a buffer contains NaN: never computed, or a training run that diverged"
            yield Verdict(Finding("GI120", "error", slot.name, cause, remedy), ())


def _reset_line(path: str) -> Line:
    def act(model: nn.Module, _: Inputs | None, __: int) -> None:
        cast("Any", model.get_submodule(path)).reset_running_stats()

    return Line(f"model.get_submodule({quoted(path)}).reset_running_stats()", act)


def _garbage(context: Context) -> Iterator[Verdict]:
    bad = [one for one in _judged(context) if _is_garbage(context, one)]
    if bad:
        sample = bad[0].sample
        largest = max(abs(sample.low), abs(sample.high))
        cause = (
            f"values that look like uninitialized memory: up to {largest:.3g}, and "
            f"{sample.tiny:.0%} between 0 and 1e-30"
        )
        remedy = context.redraw(bad, "draw it again, or restore it", again=True)
        yield verdict("GI121", garbage_severity(largest), bad, cause, remedy)


def _is_garbage(context: Context, parameter: ParameterValues) -> bool:
    sample = parameter.sample
    if not sample.finite:
        return False
    largest = max(-sample.low, sample.high)
    return is_garbage(largest, sample.tiny, context.identified(parameter).known)


# Layers that are all alike.


def _clones(context: Context) -> Iterator[Verdict]:
    groups: dict[object, list[ParameterValues]] = {}
    for one in _judged(context):
        sample = one.sample
        drawn = one.matrix and not one.constant and could_be_cloned(sample.size)
        drawn = drawn and not one.row.frozen and not one.row.facets.is_unknown
        if drawn and sample.finite:
            key = (one.row.shape, one.row.dtype, sample.low, sample.high, sample.second)
            groups.setdefault(key, []).append(one)
    stacks = [one for one in context.parameters if is_stack_of_one(one)]
    for severity, rows in _by_severity(stacks):
        grown = severity == "info"
        why = f"{STACKED}; {GROWN}" if grown else STACKED
        several = f"its matrices are equal, bit for bit: {why}"
        remedy = LEAVE_GROWN if grown else context.redraw(rows, APART, again=True)
        yield verdict("GI124", severity, rows, several, remedy)
    found = {
        Clone(group[0].row.name, one.row.name): one
        for group in groups.values()
        for one in group[1:]
        if _equal(group[0], one) and values_are_drawn(one)
    }
    copies = find_copies([*found])
    for clones, what in (([c for c in found if c not in copies], CLONES), (copies, COPIES)):
        rows = [found[clone] for clone in clones]
        if rows:
            loaded = all(not context.identified(one).known for one in rows)
            severity = "info" if loaded or clones is copies else "warning"
            first, second = clones[0]
            cause = f"bit for bit another layer's weights ({second} is {first}): {what}"
            yield verdict("GI124", severity, rows, cause, context.redraw(rows, APART, again=True))


def _by_severity(
    stacks: list[ParameterValues],
) -> Iterator[tuple[Severity, list[ParameterValues]]]:
    """Yield stacks that were drawn as copies, and those whose copied values look trained."""
    found: dict[Severity, list[ParameterValues]] = {}
    for one in stacks:
        values = one.whole.values[0] if one.whole is not None else one.slot.tensor
        grown = is_grown(*scatter(values))
        found.setdefault("info" if grown else "warning", []).append(one)
    yield from found.items()


def _equal(first: ParameterValues, second: ParameterValues) -> bool:
    assert first.whole is not None
    assert second.whole is not None
    return torch.equal(first.whole.values, second.whole.values)


# Rows and parametrizations.


def _padding(context: Context) -> Iterator[Verdict]:
    for one in _judged(context):
        table = one.slot.tensor
        bad = [row for row in one.row.facets.zero_rows if bool(table[row].any())]
        if not bad:
            continue
        rows = ", ".join(map(str, bad))
        cause = f"row {rows} is the padding and isn't zero; no gradient changes it"
        data = f"model.get_parameter({quoted(one.row.name)}).data"
        text = f"{data}[{rows}].zero_()" if len(bad) == 1 else f"{data}[[{rows}]] = 0"
        remedy = untried("set it to 0", [Line(text, _zeroed(one.row.name, bad))])
        severity = "warning" if context.identified(one).known else "info"
        yield verdict("GI129", severity, [one], cause, remedy)


def _zeroed(name: str, rows: list[int]) -> Callable[[nn.Module, Inputs | None, int], None]:
    def act(model: nn.Module, _: Inputs | None, __: int) -> None:
        model.get_parameter(name).data[rows] = 0

    return act


def _lost_writes(context: Context) -> Iterator[Verdict]:
    for one in _judged(context):
        scales = _weight_norm_scales(one)
        if scales is None or not context.identified(one).known:
            continue
        effective, stored, attribute, constant_g = scales
        if attribute is not None and write_was_lost(attribute, effective):
            wanted = attribute
            cause = (
                f"its std is {attribute:.3g}, but the next run of weight_norm replaces it by "
                f"values of std {effective:.3g}: what was written to it is lost"
            )
        elif write_was_lost(stored, effective) and not constant_g:
            wanted = stored
            cause = (
                f"it was drawn with std {stored:.3g}, but weight_norm divides by it: the layer "
                f"uses the old std, {effective:.3g}"
            )
        else:
            continue
        remedy = context.redraw(
            [one], "remove weight_norm, draw, and add it again", Normal(_short(wanted))
        )
        yield verdict("GI130", "warning", [one], cause, remedy)


def _short(value: float) -> float:
    return float(f"{value:.2g}")


@torch.no_grad()
def _weight_norm_scales(
    parameter: ParameterValues,
) -> tuple[float, float, float | None, bool] | None:
    """Return the scale of g v/|v|, of v, of a hook's attribute, and whether g is constant."""
    slot = parameter.slot
    if slot.how == "weight_norm":
        g, v = slot.tensors
        attribute: float | None = _scale(getattr(slot.owner, slot.attr))
        made = _scale(weight_normed(slot))
    elif _is_weight_norm(slot):
        g, v = slot.tensors
        attribute, made = None, parameter.sample.second**0.5
    else:
        return None
    return (made, _scale(v), attribute, holds_one_number(g)) if made > 0 else None


def _is_weight_norm(slot: Slot) -> bool:
    if slot.how != "parametrized" or len(slot.tensors) != 2:
        return False
    lists = slot.owner.parametrizations
    assert isinstance(lists, nn.ModuleDict)
    steps = [type(step).__name__ for step in lists[slot.attr].children()]
    return steps == ["_WeightNorm"]


def _scale(values: torch.Tensor) -> float:
    return values.float().square().mean().sqrt().item()


# Values that were cut.


def _piled_up(context: Context) -> Iterator[Verdict]:
    groups: dict[str, list[ParameterValues]] = {}
    for one in _judged(context):
        what = None if context.identified(one).known or one.row.frozen else _cut(one, context.level)
        if what is not None:
            groups.setdefault(what, []).append(one)
    for what, rows in groups.items():
        remedy = context.redraw(rows, "draw it by a truncated law", _uncut(rows, context.level))
        yield verdict("GI131", "warning", rows, what, remedy)


def _uncut(rows: list[ParameterValues], level: float) -> Normal | None:
    """Return the law of all but the outliers, if it is one for all rows."""
    stds: set[float] = set()
    for one in rows:
        assert one.whole is not None
        core = without_outliers(one.whole, level)
        stds.add(0.0 if core is None else _short(core.std))
    std = stds.pop()
    return Normal(std) if not stds and std > 0 else None


def _cut(parameter: ParameterValues, level: float) -> str | None:
    """Return how values were cut, if they lie in heaps at the end of their range."""
    assert parameter.whole is not None
    sample = parameter.whole.sample
    if rows_are_equal(parameter):  # its ends are as frequent as its units are many
        return None
    core = without_outliers(parameter.whole, level)
    if core is not None:
        ends = ", ".join(f"{end:g}" for end in outlier_counts(parameter.whole, core))
        sigma = max(abs(sample.low), abs(sample.high)) / core.std
        return (
            f"a few values lie about {round(sigma, -1):.0f} sigma out (up to {ends}), which no "
            f"normal law of std {core.std:.2g} draws; +-2 is where some trunc_normal_ cut, in "
            f"absolute units"
        )
    if not sample.finite or sample.constant:
        return None
    values = sample.values
    low, high = (int((values == end).sum()) for end in (sample.low, sample.high))
    read = len(values)
    different = int(values.diff().count_nonzero()) + 1  # they are sorted
    if values_were_clamped(low, high, read, different, sample.size, sample.zeros, sample.eps):
        return (
            f"{(low + high) / read:.1%} of the values lie at exactly {sample.low:g} and "
            f"{sample.high:g}: they were clamped, which is not a truncated law"
        )
    return None
