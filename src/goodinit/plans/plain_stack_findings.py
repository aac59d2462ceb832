"""GI136: plain stacks with more layers than their activations allow, whatever the gain."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from goodinit._common.text import several
from goodinit.anatomy import Anatomy
from goodinit.anatomy.multipliers import multipliers
from goodinit.findings import Finding
from goodinit.findings.depth import gradient_is_lost_or_explodes, steady_layers
from goodinit.findings.likeness import distinct_layers
from goodinit.plans.rows import PlanRow
from goodinit.schemes import Keep
from goodinit.schemes.gains import expected_squares
from goodinit.schemes.operating_point import operating_point

UNSTEADY = (
    "a norm or a residual connection between the layers, or relu, selu or tanh, or "
    "gi.calibrate_(model, inputs) once it is drawn"
)
ALIKE = "BatchNorm or a residual connection between the layers, or relu, gelu or tanh"


def find_deep_stacks(rows: Sequence[PlanRow], anatomy: Anatomy) -> Iterator[Finding]:
    """Return what the activations of plain stacks do to a signal over so many layers.

    Weights in stacks of equal depth are taken for one stack.
    """
    stacks: defaultdict[int, list[PlanRow]] = defaultdict(list)
    for row, known in zip(rows, anatomy.rows, strict=True):
        if known.facets.plain and not isinstance(row.scheme, Keep):
            stacks[known.facets.plain].append(row)
    numbers: Mapping[str, float] = multipliers(anatomy, "contract") if stacks else {}
    for layers, stack in stacks.items():
        multiplied = [row for row in stack if numbers.get(row.name, 1.0) != 1.0]
        if multiplied:
            yield from _judge_multiplied(layers, multiplied, numbers)
        else:
            yield from _judge(layers, stack)


def _judge(layers: int, stack: list[PlanRow]) -> Iterator[Finding]:
    points = [operating_point(row.activation or "") for row in stack]
    known = [point for point in points if point is not None]
    if not known:
        return
    slope, difference = _mean([p.slope for p in known]), _mean([p.difference for p in known])
    name = Counter(row.activation for row in stack).most_common(1)[0][0]
    where = several((row.name for row in stack), 1)
    bends = layers - 1  # activations between the weights
    if bends > steady_layers(slope):
        cause = (
            f"{name}: an error in the second moment grows by {slope:.3f} a layer (the slope of the "
            f"variance map), which is usable to about {steady_layers(slope):.0f} plain layers; "
            f"this stack has {layers}"
        )
        yield Finding("GI136", "warning", where, cause, UNSTEADY)
    elif bends > distinct_layers(difference):
        cause = (
            f"{name}: the difference of two inputs shrinks by {difference:.3f} a layer, so that "
            f"they are alike after about {math.ceil(distinct_layers(difference))} plain layers; "
            f"this stack has {layers}"
        )
        yield Finding("GI136", "warning", where, cause, ALIKE)


def _judge_multiplied(
    layers: int, stack: list[PlanRow], numbers: Mapping[str, float]
) -> Iterator[Finding]:
    """Judge the gradient of layers f(c W x), by their laws: as in sin(30 W x)."""
    factors: list[float] = []
    for row in stack:
        f, number = row.activation or "", numbers[row.name]
        if row.std is None or not row.fan_in or operating_point(f) is None:
            return
        weights = row.fan_in * (row.std * number) ** 2
        arrives, _ = expected_squares(f, 1.0)  # of a signal that the layer before has bounded
        factors.append(weights * expected_squares(f, weights * arrives)[1])
    each, bends = _mean(factors), layers - 1
    if gradient_is_lost_or_explodes(layers, bends * math.log(each), 0.0):
        number = numbers[stack[0].name]
        cause = (
            f"the model multiplies what goes into {stack[0].activation} by {number:g}, and these "
            f"laws leave it so: the squared gradient changes by {each:.3g} a layer, by "
            f"{each**bends:.2g} over {layers} plain layers"
        )
        siren = f"gi.recipe('siren', omega={number:g}), or "
        fix = f"{siren if stack[0].activation == 'sin' else ''}weights divided by {number:g}"
        yield Finding("GI136", "warning", several((row.name for row in stack), 1), cause, fix)


def _mean(factors: list[float]) -> float:
    """Return the geometric mean: the factors multiply from layer to layer."""
    return math.exp(sum(math.log(max(factor, 1e-9)) for factor in factors) / len(factors))
