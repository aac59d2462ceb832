"""Units, biases and weights of single layers: GI106, GI107, GI111, GI124 and GI132."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from goodinit.findings import Finding
from goodinit.signal.paths import SIGMOIDS, after, pooled
from goodinit.signal.remedies import STANDARD, draw, redrawn, setter_before
from goodinit.signal.rows import Signal, SignalRow

__all__ = ["MOSTLY", "biases", "idle", "is_level", "norms", "share", "twins"]

IDLE = 0.5
SEEN = 32  # numbers that a unit must have had the chance to be alive for
CERTAIN = 5.0  # standard errors
BOUNDED = frozenset(("tanh", "sigmoid", "hardsigmoid"))
MOSTLY = 0.9  # of a layer's second moment
CENTRED = frozenset(("batch_norm", "instance_norm"))  # a bias before them is subtracted
LARGE = 100.0  # second moment of inputs
ROOTS = frozenset(("rsqrt", "sqrt", "reciprocal", "pow", "std", "norm", "vector_norm"))
GATES = frozenset(("sigmoid", "softplus", "hardsigmoid", "gate"))
TWINS = 16  # values that are alike by no chance


def idle(signal: Signal, params: Mapping[str, Tensor], scale: float) -> Iterator[Finding]:
    """Yield dead units and saturated values, each once.

    Args:
        signal: what was measured.
        params: by name.
        scale: second moment of the inputs.
    """
    too_idle = [
        row
        for row, seen in zip(signal.rows, after(signal.rows), strict=True)
        if _too_idle(row) and not _is_gate(row, seen)
    ]
    dead = [row for row in too_idle if row.function not in BOUNDED]
    saturated = [row for row in too_idle if row.function in BOUNDED]
    for code, rows, what, law in (
        ("GI106", dead, "units are dead: 0 for all samples", "HeNormal()"),
        ("GI107", saturated, "values are saturated", "LeCunNormal()"),
    ):
        if not rows:
            continue
        more = f"; in {len(rows) - 1} later calls as well" if len(rows) > 1 else ""
        found = (setter_before(signal, row) for row in rows)
        layers = {layer.key: layer for layer in found if layer is not None}
        given = any(-1 in layer.takes for layer in layers.values())
        yield Finding(
            code,
            "warning",
            rows[0].key,
            f"{rows[0].forward.idle:.0%} of the {what}{more}",
            f"scale the inputs, whose second moment is {scale:.3g}, to mean 0 and variance 1"
            if given and scale > LARGE
            else redrawn(list(layers.values()), params, law),
        )


def _is_gate(row: SignalRow, seen: set[str]) -> bool:
    """Whether a sigmoid is a gate or a probability, which may be shut or sure at the start."""
    return row.function in SIGMOIDS and ("gate" in seen or "contract" not in seen)


def _too_idle(row: SignalRow) -> bool:
    idle_share, units = row.forward.idle, row.width
    if idle_share is None or idle_share <= IDLE:
        return False
    if row.function in BOUNDED:
        return True
    # Deep down all samples look alike, and half of the units are off for all, by chance more.
    chance = CERTAIN * 0.5 / math.sqrt(units)
    return idle_share > IDLE + chance and math.prod(row.shape) >= SEEN * units


def biases(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Yield layers that pass on little but their bias, if that isn't the last word or a gate's."""
    averages, following = pooled(signal.rows), after(signal.rows)
    found: list[SignalRow] = []
    for number, row in enumerate(signal.rows):
        vectors = [params[name] for name in row.params if params[name].dim() == 1]
        if averages[number] or row.kind != "contract" or len(row.params) != 2 or len(vectors) != 1:
            continue
        seen, bias = following[number], vectors[0]
        taken = max((signal.rows[n].forward.second for n in row.takes if n >= 0), default=1.0)
        # Of a branch that starts at 0 the bias is all there is, for now.
        if not taken or "contract" not in seen or GATES & seen:
            continue
        subtracted = CENTRED & seen or ("layer_norm" in seen and is_level(bias))
        if share(bias, row) > MOSTLY and not subtracted:
            found.append(row)
    if found:
        more = f" (and in {len(found) - 1} more layers)" if len(found) > 1 else ""
        yield Finding(
            "GI132",
            "warning",
            found[0].key,
            f"more than {MOSTLY:.0%} of the second moment is the bias's{more}: what the layer "
            "passes on is almost the same for all inputs",
            # In several layers it is what is left of a signal that vanishes.
            draw({found[0].params[1]: "Zeros()"}) if len(found) == 1 else STANDARD,
        )


def norms(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Yield the first norm whose weight lies around 0."""
    for row in signal.rows:
        weight = params[row.params[0]].detach() if row.params else None
        if weight is None or weight.numel() < 8 or not weight.is_floating_point():
            continue
        weight = weight.float()
        if not _scales(row, signal.rows, weight):
            continue
        std, mean = (value.item() for value in torch.std_mean(weight))
        if std > 2 * abs(mean):
            yield Finding(
                "GI111",
                "warning",
                row.key,
                f"the weight of a norm lies around 0 (mean {mean:.2g}, std {std:.2g}), which all "
                "but switches its layer off and flips half of its channels",
                draw({row.params[0]: "Ones()"}),
            )
            return


def _scales(row: SignalRow, rows: Sequence[SignalRow], weight: Tensor) -> bool:
    """Whether a row is a norm's, or multiplies what is divided by a root, as one by hand does."""
    if row.kind == "norm":
        return True
    if row.kind != "mul" or weight.dim() != 1 or len(row.takes) != 1 or row.takes[0] < 0:
        return False
    before = rows[row.takes[0]]
    while before.kind in ("cast", "view") and len(before.takes) == 1 and before.takes[0] >= 0:
        before = rows[before.takes[0]]
    if before.kind != "mul" or not any(n >= 0 and rows[n].function in ROOTS for n in before.takes):
        return False
    # By the weight itself, and not by 1 + weight.
    factor, expected = row.forward.second / (before.forward.second or 1), weight.square().mean()
    return 0.5 < factor / (expected.item() or 1.0) < 2


def twins(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Yield layers that start as one: clones, or one seed for several."""
    used = {name for row in signal.rows if row.kind == "contract" for name in row.params}
    learnt = {g.name: None for g in signal.gradients if g.ratio is not None and g.name in used}
    groups: dict[tuple[str, str, float], list[str]] = {}
    for name in learnt:
        tensor = params[name].detach()
        if tensor.dim() > 1 and tensor.numel() >= TWINS:
            size = cast("Tensor", torch.linalg.vector_norm(_real(tensor).float())).item()
            key = (str(tensor.shape), str(tensor.dtype), size)
            groups.setdefault(key, []).append(name)
    twins = [
        (names[0], name)
        for names in groups.values()
        for name in names[1:]
        if torch.equal(params[names[0]], params[name]) and _is_drawn(params[name])
    ]
    if twins:
        first, second = twins[0]
        more = f", and {len(twins) - 1} more such pairs" if len(twins) > 1 else ""
        yield Finding(
            "GI124",
            "warning",
            second,
            f"bit for bit the values of {first}{more}: clones, or one seed for several layers; "
            "they start as one function",
            STANDARD,
        )


def _is_drawn(tensor: Tensor) -> bool:
    """Whether a weight isn't a constant, an identity or another such that is meant."""
    values = cast("Tensor", torch.unique(_real(tensor.detach()).float()))
    return values.numel() > 2


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def is_level(tensor: Tensor) -> bool:
    """Return whether all numbers are the same."""
    return bool((tensor == tensor.flatten()[0]).all())


def share(bias: Tensor, row: SignalRow) -> float:
    """Return a bias's share of its layer's second moment."""
    return bias.detach().double().square().mean().item() / (row.forward.second or 1.0)
