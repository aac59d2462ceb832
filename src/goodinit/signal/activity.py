"""Single layers: their units, biases and weights. GI106, GI107, GI111, GI124 and GI132."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from goodinit._common.text import count
from goodinit.applying.lines import Untried, untried
from goodinit.dataflow.functions import CENTERING
from goodinit.findings import Finding
from goodinit.findings.biases import BIAS_SHARE, GATES, bias_dominates
from goodinit.findings.scales import around_zero, norm_lies_around_zero
from goodinit.findings.units import (
    SATURATED_BEYOND,
    SATURATED_SHARE_OF_DEPTH,
    UNSATURATED,
    inputs_are_large,
    is_sure_both_ways,
    units_are_dead,
    values_are_saturated,
)
from goodinit.schemes import HeNormal, LeCunNormal, Ones, Scheme, Zeros
from goodinit.signal.equality import holds_one_number
from goodinit.signal.paths import ROOTS, SIGMOIDS, kinds_that_follow, rows_of_averages
from goodinit.signal.remedies import (
    draw,
    draw_whole,
    redraw,
    rescaled_lines,
    setter_before,
    zero_biases,
)
from goodinit.signal.rows import Signal, SignalRow

SHUT_ON_PURPOSE = GATES | {"gate"}  # a product of two signals is a "gate"
ALIVE = "use smaller biases and weights around 0 before it, or a norm"
SMALLER = "draw the biases smaller, or the weights before them larger"
MINOR_SHARE = 0.5  # of a sum's second moment: the other part says more about the input
MULTIPLIED = 2.0  # two second moments that differ by less are one: rounding, an epsilon


def find_idle_units(
    signal: Signal, params: Mapping[str, Tensor], scale: float
) -> Iterator[Finding]:
    """Yield a finding for dead units and one for saturated values.

    ``scale`` is the second moment of the inputs.
    """
    layers = _saturated_layers(signal.rows)
    too_idle = [
        row
        for number, (row, following) in enumerate(
            zip(signal.rows, kinds_that_follow(signal.rows), strict=True)
        )
        if _too_idle(row, layers[number]) and not _is_gate(row, following)
    ]
    dead = [row for row in too_idle if row.function not in SATURATED_BEYOND]
    saturated = [row for row in too_idle if row.function in SATURATED_BEYOND]
    for code, rows, what, law, words in (
        ("GI106", dead, "units are dead: 0 for all samples", HeNormal(), ALIVE),
        ("GI107", saturated, "values are saturated", LeCunNormal(), UNSATURATED),
    ):
        if not rows:
            continue
        more = f"; in {count(len(rows) - 1, 'later call')} as well" if len(rows) > 1 else ""
        found = (setter_before(signal, row.takes) for row in rows)
        layers = {layer.key: layer for layer in found if layer is not None}
        given = any(-1 in layer.takes for layer in layers.values())
        yield Finding(
            code,
            "warning",
            rows[0].key,
            f"{rows[0].forward.idle:.0%} of the {what}{more}",
            f"scale the inputs, whose second moment is {scale:.3g}, to mean 0 and variance 1"
            if given and inputs_are_large(scale)
            else _smaller(list(layers.values()), params, law, words),
        )


def _smaller(
    layers: Sequence[SignalRow], params: Mapping[str, Tensor], law: Scheme, words: str
) -> Untried:
    """Return the remedy that draws layers again: by a law, or so that they return N(0, 1)."""
    remedy = redraw(layers, params, law, words)
    second = sum(row.forward.second for row in layers) / max(len(layers), 1)
    own, *others = remedy.lines
    return untried(words, [own, *rescaled_lines(layers, params, second), *others])


def _is_gate(row: SignalRow, following: set[str]) -> bool:
    """Return whether a sigmoid is a gate or a probability, which may be saturated at the start."""
    if row.function not in SIGMOIDS or ("contract" in following and "gate" not in following):
        return False
    return "gate" in following or not is_sure_both_ways(row.forward.mean)


def _saturated_layers(rows: Sequence[SignalRow]) -> list[int]:
    """Return how many saturated activations there are on the longest path through each row."""
    found: list[int] = []
    for row in rows:
        here = row.function in SATURATED_BEYOND and row.function not in SIGMOIDS
        here = here and (row.forward.idle or 0.0) > SATURATED_SHARE_OF_DEPTH
        found.append(max((found[n] for n in row.takes if n >= 0), default=0) + here)
    longest = list(found)
    for number in range(len(rows) - 1, -1, -1):
        for taken in rows[number].takes:
            if taken >= 0:
                longest[taken] = max(longest[taken], longest[number])
    return longest


def _too_idle(row: SignalRow, layers: int) -> bool:
    if row.forward.idle is None or row.kind in ("softmax", "attention"):
        return False
    if row.function in SATURATED_BEYOND:
        return values_are_saturated(row.forward.idle, layers)
    return units_are_dead(row.forward.idle, row.width, math.prod(row.shape) // row.width)


def find_dominating_biases(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Yield layers that pass on little but their bias; not gates, nor the last layer."""
    averages, kinds = rows_of_averages(signal.rows), kinds_that_follow(signal.rows)
    found: list[SignalRow] = []
    for number, row in enumerate(signal.rows):
        vectors = [params[name] for name in row.params if params[name].dim() == 1]
        if averages[number] or row.kind != "contract" or len(row.params) != 2 or len(vectors) != 1:
            continue
        following, bias = kinds[number], vectors[0]
        taken = max((signal.rows[n].forward.second for n in row.takes if n >= 0), default=1.0)
        # A branch that starts at 0 has nothing but its bias at first.
        if not taken or "contract" not in following or SHUT_ON_PURPOSE & following:
            continue
        subtracted = CENTERING & following or ("layer_norm" in following and holds_one_number(bias))
        if is_bias(bias, row) and not subtracted and not _is_small_part(signal.rows, number):
            found.append(row)
    if found:
        more = f" (and in {count(len(found) - 1, 'more layer')})" if len(found) > 1 else ""
        yield Finding(
            "GI132",
            "warning",
            found[0].key,
            f"more than {BIAS_SHARE:.0%} of the second moment comes from the bias{more}: the "
            "output is almost the same for all inputs",
            _without_biases(found, signal, params),
        )


def _is_small_part(rows: Sequence[SignalRow], number: int) -> bool:
    """Return whether a layer's result is only added to a larger signal, as a shift is."""
    same = {number}
    for later in range(number + 1, len(rows)):
        row = rows[later]
        if same.isdisjoint(row.takes):
            continue
        if row.kind == "add" and not same.issuperset(row.takes):
            return rows[number].forward.second < MINOR_SHARE * row.forward.second
        if row.kind not in ("view", "cast"):
            return False
        same.add(later)
    return False


def _without_biases(
    found: Sequence[SignalRow], signal: Signal, params: Mapping[str, Tensor]
) -> Untried:
    """Return the remedy that sets biases to 0; after a dead layer, those of all layers."""
    every = zero_biases(signal.rows, params)
    if len(found) == 1:
        remedy = draw({found[0].params[1]: Zeros()}, SMALLER)
        return untried(SMALLER, [*remedy.lines, *every])
    # In several layers the biases remain where a signal vanishes: weights are drawn first.
    return draw_whole(SMALLER, [*zero_biases(found, params), *every])


def find_norm_around_zero(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Yield the first norm whose weight lies around 0."""
    for row in signal.rows:
        weight = params[row.params[0]].detach() if row.params else None
        if weight is None or not weight.is_floating_point():
            continue
        weight = weight.float()
        if not _is_norm_weight(row, signal.rows, weight):
            continue
        std, mean = (value.item() for value in torch.std_mean(weight, correction=0))
        if norm_lies_around_zero(mean, std):
            yield Finding(
                "GI111",
                "warning",
                row.key,
                around_zero(mean, std),
                draw({row.params[0]: Ones()}, "start it at 1"),
            )
            return


def _is_norm_weight(row: SignalRow, rows: Sequence[SignalRow], weight: Tensor) -> bool:
    """Return whether a row is a norm, or multiplies what was divided by a root, as one by hand."""
    if row.kind == "norm":
        return True
    if row.kind != "mul" or weight.dim() != 1 or len(row.takes) != 1 or row.takes[0] < 0:
        return False
    before = rows[row.takes[0]]
    while before.kind in ("cast", "view") and len(before.takes) == 1 and before.takes[0] >= 0:
        before = rows[before.takes[0]]
    if before.kind != "mul" or not any(n >= 0 and rows[n].function in ROOTS for n in before.takes):
        return False
    # It multiplies by the weight itself, not by 1 + weight.
    factor, expected = row.forward.second / (before.forward.second or 1), weight.square().mean()
    return 1 / MULTIPLIED < factor / (expected.item() or 1.0) < MULTIPLIED


def is_bias(bias: Tensor, row: SignalRow) -> bool:
    """Return whether a layer is little but its bias."""
    return bias_dominates(bias.detach().double().square().mean().item(), row.forward.second or 1.0)
