"""What is wrong with a measured signal: GI101 to GI111, GI124, GI132 and GI135."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from goodinit.findings import Finding, Severity
from goodinit.signal.meter import Meter
from goodinit.signal.remedies import (
    AROUND,
    NORMS,
    STANDARD,
    draw,
    frozen,
    layer_before,
    quieter,
    redrawn,
)
from goodinit.signal.rows import Signal, SignalRow
from goodinit.signal.runs import SPREAD, Run, runs, width

__all__ = ["verdicts"]

LOST = math.log(1e4)  # a second moment that changes by more is lost, or explodes
LAYERS = 4  # over fewer of them a change of scale is one layer's business
LOST_BACKWARD = math.log(1e6)
ALIKE, DIFFERENT = 0.999, 0.9  # cosines
POOLED = 16  # numbers that are made into one
NUMBERS = 8  # of a sample: two vectors of fewer are alike by chance
DROWNED = 1e-3  # a term of a sum whose second moment is that of another times less
IDLE = 0.5
SEEN = 32  # numbers that a unit must have had the chance to be alive for
SURE = 4.0  # standard errors
CERTAIN = 5.0  # standard errors
UNSTABLE = 10.0  # by which an error in the variance is multiplied
UNSTEADY = 3.0  # so that no gain would keep the signal
BOUNDED = frozenset(("tanh", "sigmoid", "hardsigmoid"))
MOSTLY = 0.9  # of a layer's second moment
SIGMOIDS = frozenset(("sigmoid", "hardsigmoid"))
GATES = frozenset(("sigmoid", "softplus", "hardsigmoid", "gate"))
TWINS = 16  # values that are alike by no chance


def verdicts(
    signal: Signal, meter: Meter, params: Mapping[str, Tensor], unset: bool = False
) -> list[Finding]:
    """Return what is wrong, the earliest cause first; none of a healthy model.

    Args:
        signal: what was measured.
        meter: what measured it.
        params: by name.
        unset: whether norms divide by statistics that were never taken: what the signal does then
            says nothing of how training starts.
    """
    broken = list(_not_finite(signal, params, meter.bad_inputs))
    if broken:  # of what came before it an explosion is the cause
        ways, outputs = runs(signal.rows), meter.outputs
        grown = [f for f in _scale(signal, ways, outputs) if f.code == "GI103"]
        return [*broken, *grown]
    found = [*_norms(signal, params), *_twins(signal, params), *_without_gradient(signal)]
    if unset:
        return found
    ways = runs(signal.rows)
    found = [
        *_scale(signal, ways, meter.outputs),
        *_unstable(signal, ways),
        *_alike(signal, 1.0 if meter.empty_inputs else meter.input_cosine),
        *_idle(signal, params),
        *_biases(signal, params),
        *_backward(signal),
        *found,
    ]
    if meter.entropy is not None:
        found += _first_loss(signal, params, *meter.entropy)
    return found


def _not_finite(signal: Signal, params: Mapping[str, Tensor], bad_inputs: int) -> Iterator[Finding]:
    if bad_inputs:
        cause = f"{bad_inputs} values of the inputs are NaN or infinite"
        yield Finding("GI101", "error", "inputs", cause, "look at the data")
        return
    for row in signal.rows:
        if row.forward.bad:
            bad = [name for name in row.params if not params[name].isfinite().all()]
            yield Finding(
                "GI101",
                "error",
                row.key,
                f"{row.forward.bad} of {math.prod(row.shape)} values are NaN or infinite, and no "
                "earlier call's are",
                redrawn(bad, params, "LeCunNormal()")
                if bad
                else "look for an overflow, or log, sqrt or a division of what came before",
            )
            return
    for row in reversed(signal.rows):
        if row.backward is not None and row.backward.bad:
            yield Finding(
                "GI101",
                "error",
                row.key,
                f"{row.backward.bad} of {math.prod(row.shape)} values of the gradient are NaN or "
                "infinite, and no later call's are",
                "look for sqrt, log or a division at 0 in what follows: add an epsilon",
            )
            return


def _scale(signal: Signal, ways: list[Run], outputs: set[int]) -> Iterator[Finding]:
    """Vanishing and exploding, at the place where it is worst."""
    worst: dict[str, tuple[float, SignalRow, Run]] = {}
    carried = _carried(signal.rows, outputs)
    for number, (row, run) in enumerate(zip(signal.rows, ways, strict=True)):
        first = signal.rows[run.start].forward
        now = row.forward
        if row.kind != "contract" or not row.params or run.layers < LAYERS:
            continue
        if not (first.second and now.second):
            continue
        change = math.log(now.second / first.second)
        errors = (first.error or 0.0) ** 2 + (now.error or 0.0) ** 2 + run.variance
        code = "GI102" if change < 0 else "GI103"
        if change < 0 and number not in carried:
            continue
        # A last layer that is drawn small, or large, is no matter of depth.
        deep = min(abs(change), abs(change - _own(row, signal.rows)))
        if deep > max(LOST, _by_chance(errors)) and (
            code not in worst or abs(change) > abs(worst[code][0])
        ):
            worst[code] = change, row, run
    for code, (change, row, run) in sorted(worst.items()):
        start, word = signal.rows[run.start], "vanishes" if change < 0 else "explodes"
        each = math.exp(change / max(1, run.layers - 1))
        severity: Severity = "error" if abs(change) > 3 * LOST else "warning"
        yield Finding(
            code,
            severity,
            f"{start.key} to {row.key}",
            f"the signal {word}: its second moment goes from {start.forward.second:.3g} to "
            f"{row.forward.second:.3g} over {run.layers} layers, by {each:.3g} a layer",
            NORMS if run.slope > UNSTEADY else STANDARD,
        )


def _own(row: SignalRow, rows: Sequence[SignalRow]) -> float:
    """Return the log of what a call alone makes of its signal's second moment."""
    before = max((rows[n].forward.second for n in row.takes if n >= 0), default=0.0)
    return math.log(row.forward.second / before) if before else 0.0


def _by_chance(variance: float) -> float:
    """Return how far the log of a second moment may drift where the gains are right.

    Over seeds it is normal, nearly, with the mean -variance / 2 (Hanin & Nica, 2020).
    """
    return variance / 2 + SURE * math.sqrt(variance)


def _carried(rows: Sequence[SignalRow], outputs: set[int]) -> set[int]:
    """Return the rows whose signal gets to an output: not a branch that a larger skip drowns.

    Residual branches that start at almost nothing are meant so.
    """
    found = set(outputs)
    for number in range(len(rows) - 1, -1, -1):
        row = rows[number]
        if number not in found:
            continue
        before = [n for n in row.takes if n >= 0]
        largest = max((rows[n].forward.second for n in before), default=0.0)
        found.update(
            n for n in before
            if row.kind != "add" or rows[n].forward.second >= DROWNED * largest
        )  # fmt: skip
    return found


def _unstable(signal: Signal, ways: list[Run]) -> Iterator[Finding]:
    """A variance map whose slope is above 1, over many layers (Poole et al., 2016)."""
    layers = [(way, row) for way, row in zip(ways, signal.rows, strict=True)
              if row.kind == "contract" and row.params]  # fmt: skip
    way, row = max(layers, key=lambda pair: pair[0].slope, default=(None, None))
    if way is None or row is None or way.slope <= UNSTABLE:
        return
    start = signal.rows[way.start]
    each = way.slope ** (1 / max(1, way.layers - 1))
    yield Finding(
        "GI135",
        "warning",
        f"{start.key} to {row.key}",
        f"the variance map has no stable fixed point: with the right gain an error in the variance "
        f"grows by {each:.3g} a layer, by {way.slope:.3g} over {way.layers} layers",
        NORMS,
    )


def _alike(signal: Signal, of_inputs: float | None) -> Iterator[Finding]:
    pooled = _pooled(signal.rows)
    layers = [
        row
        for row, over in zip(signal.rows, pooled, strict=True)
        if row.kind == "contract" and not over and math.prod(row.shape) >= NUMBERS * signal.batch
    ]
    if not layers:
        return
    last = layers[-1]
    cosine = last.forward.across_samples
    if cosine is not None and cosine > ALIKE and (of_inputs is None or of_inputs < DIFFERENT):
        began = "" if of_inputs is None else f"; that of the inputs is {of_inputs:.2f}"
        yield Finding(
            "GI104",
            "warning",
            last.key,
            f"outputs hardly depend on the inputs: two samples have the cosine {cosine:.6f}{began}",
            # A sigmoid's mean of 1/2 makes samples alike however its layers are drawn.
            AROUND if any(row.function in SIGMOIDS for row in signal.rows) else STANDARD,
        )
    first = next((r for r in signal.rows if r.forward.across_positions is not None), None)
    cosine = last.forward.across_positions
    if first is None or cosine is None or first.forward.across_positions is None:
        return
    if cosine > ALIKE and first.forward.across_positions < DIFFERENT:
        yield Finding(
            "GI105",
            "warning",
            last.key,
            f"positions become alike: two of a sample have the cosine {cosine:.6f}; at {first.key} "
            f"it is {first.forward.across_positions:.2f}",
            "look for attention without a residual connection, or draw its values larger",
        )


def _pooled(rows: Sequence[SignalRow]) -> list[bool]:
    """Return which rows know averages over many numbers alone: of noise these are alike."""
    found: list[bool] = []
    for row in rows:
        before = [n for n in row.takes if n >= 0]
        size = max((math.prod(rows[n].shape) for n in before), default=0)
        here = row.kind in ("pool", "reduce") and size >= POOLED * math.prod(row.shape)
        found.append(here or (bool(before) and all(found[n] for n in before)))
    return found


def _idle(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    dead = [row for row in signal.rows if row.function not in BOUNDED and _too_idle(row)]
    saturated = [row for row in signal.rows if row.function in BOUNDED and _too_idle(row)]
    for code, rows, what, law in (
        ("GI106", dead, "units are dead: 0 for all samples", "HeNormal()"),
        ("GI107", saturated, "values are saturated", "LeCunNormal()"),
    ):
        if not rows:
            continue
        more = f"; in {len(rows) - 1} later calls as well" if len(rows) > 1 else ""
        layers = [layer for row in rows if (layer := layer_before(signal, row)) is not None]
        names = list(dict.fromkeys(name for layer in layers for name in layer.params))
        yield Finding(
            code,
            "warning",
            rows[0].key,
            f"{rows[0].forward.idle:.0%} of the {what}{more}",
            redrawn(names, params, law),
        )


def _too_idle(row: SignalRow) -> bool:
    share, units = row.forward.idle, width(row)
    if share is None or share <= IDLE:
        return False
    if row.function in BOUNDED:
        return True
    # Deep down all samples look alike, and half of the units are off for all, by chance more.
    chance = CERTAIN * 0.5 / math.sqrt(units)
    return share > IDLE + chance and math.prod(row.shape) >= SEEN * units


def _biases(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Layers that pass on their bias and little else, where it isn't the last word or a gate's."""
    followed: dict[int, set[str]] = {}  # row -> functions and kinds of what comes after
    for number in range(len(signal.rows) - 1, -1, -1):
        row = signal.rows[number]
        after = followed.get(number, set[str]()) | {row.kind}
        if row.kind == "activation":
            after |= {row.function}
        if row.kind == "mul" and len(set(row.takes)) > 1:
            after |= {"gate"}
        for taken in row.takes:
            followed.setdefault(taken, set[str]()).update(
                after if row.kind != "contract" else {"contract"}
            )
    pooled = _pooled(signal.rows)
    found: list[SignalRow] = []
    for number, row in enumerate(signal.rows):
        if pooled[number]:
            continue
        biases = [params[name] for name in row.params if params[name].dim() == 1]
        if row.kind != "contract" or len(row.params) != 2 or len(biases) != 1:
            continue
        after = followed.get(number, set[str]())
        share = biases[0].detach().double().square().mean().item() / (row.forward.second or 1.0)
        if share > MOSTLY and "contract" in after and not GATES & after:
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


def _norms(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    for row in signal.rows:
        weight = params[row.params[0]].detach().float() if row.params else None
        if row.kind != "norm" or weight is None or weight.numel() < 8:
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


def _twins(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Layers that start as one: clones, or one seed for several."""
    used = {name for row in signal.rows if row.kind == "contract" for name in row.params}
    learnt = {g.name: None for g in signal.gradients if g.ratio is not None and g.name in used}
    groups: dict[tuple[str, str, float], list[str]] = {}
    for name in learnt:
        tensor = params[name].detach()
        if tensor.dim() > 1 and tensor.numel() >= TWINS:
            size = cast("Tensor", torch.linalg.vector_norm(tensor.float())).item()
            key = (str(tensor.shape), str(tensor.dtype), size)
            groups.setdefault(key, []).append(name)
    twins = [
        (names[0], name)
        for names in groups.values()
        for name in names[1:]
        if torch.equal(params[names[0]], params[name]) and not _is_constant(params[name])
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


def _is_constant(tensor: Tensor) -> bool:
    return bool((tensor == tensor.flatten()[0]).all())


def _backward(signal: Signal) -> Iterator[Finding]:
    """The gradient on its way back, along the path on which most of it goes."""
    sizes = {
        number: row.backward.second * math.prod(row.shape)
        for number, row in enumerate(signal.rows)
        if row.backward is not None
    }
    ends = [n for n in sizes if signal.rows[n].kind == "contract" and signal.rows[n].params]
    if not ends:
        return
    at = last = ends[-1]
    variance, layers = 0.0, 0
    passed: set[str] = set()  # kinds and functions
    while True:
        row = signal.rows[at]
        passed |= {row.kind, row.function}
        if row.kind == "contract" and row.params:
            variance, layers = variance + SPREAD / width(row), layers + 1
        before = [number for number in row.takes if number in sizes]
        if not before:
            break
        at = max(before, key=sizes.__getitem__)
    if layers < LAYERS or not (sizes[at] and sizes[last]):
        return
    change = math.log(sizes[at] / sizes[last])
    # Through norms and residual connections it grows with a power of the depth, besides chance.
    if abs(change) <= LOST_BACKWARD + _by_chance(variance):
        return
    word = "vanishes" if change < 0 else "explodes"
    yield Finding(
        "GI108",
        "error" if abs(change) > 2 * LOST_BACKWARD else "warning",
        f"{signal.rows[last].key} to {signal.rows[at].key}",
        f"the gradient {word} on its way back: its squared norm goes from {sizes[last]:.3g} to "
        f"{sizes[at]:.3g} over {layers} layers",
        # Through residual connections it explodes for what their branches add.
        AROUND if passed & {"norm", *SIGMOIDS} and "add" not in passed else STANDARD,
    )


def _without_gradient(signal: Signal) -> Iterator[Finding]:
    names = [gradient.name for gradient in signal.gradients if gradient.ratio is None]
    if names and len(names) < len(signal.gradients):
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield Finding(
            "GI109",
            "info",
            ", ".join(names[:3]) + more,
            "no gradient arrives: nothing that is returned (or the loss) depends on it",
            frozen(names),
        )


def _first_loss(
    signal: Signal, params: Mapping[str, Tensor], classes: int, value: float
) -> Iterator[Finding]:
    guess = math.log(max(2, classes))
    if value > 2 * guess + 1:
        yield Finding(
            "GI110",
            "warning",
            "loss",
            f"the first cross-entropy is {value:.3g}; a blind guess among {classes} classes has "
            f"{guess:.3g}: the logits are too large",
            quieter(signal, params, classes),
        )
