"""What is wrong with a measured signal: findings GI101 to GI110."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from goodinit.findings import Finding, Severity
from goodinit.signal.meter import Meter
from goodinit.signal.rows import Signal, SignalRow
from goodinit.signal.runs import SPREAD, Run, runs, width

__all__ = ["verdicts"]

LOST = math.log(1e4)  # a second moment that changes by more is lost, or explodes
LAYERS = 4  # over fewer of them a change of scale is one layer's business
LOST_BACKWARD = math.log(1e6)
ALIKE, DIFFERENT = 0.999, 0.9  # cosines
NUMBERS = 8  # of a sample: two vectors of fewer are alike by chance
IDLE = 0.5
SEEN = 32  # numbers that a unit must have had the chance to be alive for
SURE = 5.0  # standard errors
UNSTABLE = 10.0  # by which an error in the variance is multiplied
UNSTEADY = 3.0  # so that no gain would keep the signal
STEADIER = "put norms or residual connections between the layers, or take relu, selu or tanh"
GAINS = (
    "gi.init_(model, 'he', inputs=inputs), whose gains fit the activations, or put norms between "
    "the layers"
)
MOSTLY = 0.9  # of a layer's second moment
GATES = frozenset(("sigmoid", "softplus", "hardsigmoid"))
TWINS = 16  # values that are alike by no chance


def verdicts(signal: Signal, meter: Meter, params: Mapping[str, Tensor]) -> list[Finding]:
    """Return what is wrong, the earliest cause first; none of a healthy model."""
    broken = list(_not_finite(signal, meter.bad_inputs))
    if broken:
        return broken
    ways = runs(signal.rows)
    found = [
        *_scale(signal, ways),
        *_unstable(signal, ways),
        *_alike(signal, meter.input_cosine),
        *_idle(signal),
        *_biases(signal, params),
        *_norms(signal, params),
        *_twins(signal, params),
        *_backward(signal),
        *_without_gradient(signal),
    ]
    if meter.entropy is not None:
        found += _first_loss(*meter.entropy)
    return found


def _not_finite(signal: Signal, bad_inputs: int) -> Iterator[Finding]:
    if bad_inputs:
        cause = f"{bad_inputs} values of the inputs are NaN or infinite"
        yield Finding("GI101", "error", "inputs", cause, "mend the data: torch.nan_to_num, say")
        return
    for row in signal.rows:
        if row.forward.bad:
            yield Finding(
                "GI101",
                "error",
                row.key,
                f"{row.forward.bad} of {math.prod(row.shape)} values are NaN or infinite, and no "
                "earlier call's are",
                "look at the weights of this call; goodinit.explain(model) finds bad ones",
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


def _scale(signal: Signal, ways: list[Run]) -> Iterator[Finding]:
    """Vanishing and exploding, at the place where it is worst."""
    worst: dict[str, tuple[float, SignalRow, Run]] = {}
    for row, run in zip(signal.rows, ways, strict=True):
        first = signal.rows[run.start].forward
        now = row.forward
        if row.kind != "contract" or not row.params or run.layers < LAYERS:
            continue
        if not (first.second and now.second):
            continue
        change = math.log(now.second / first.second)
        errors = (first.error or 0.0) ** 2 + (now.error or 0.0) ** 2 + run.variance
        code = "GI102" if change < 0 else "GI103"
        if abs(change) > LOST + SURE * math.sqrt(errors) and (
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
            STEADIER if run.slope > UNSTEADY else GAINS,
        )


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
        STEADIER,
    )


def _alike(signal: Signal, of_inputs: float | None) -> Iterator[Finding]:
    last = next(
        (
            row
            for row in reversed(signal.rows)
            if row.kind == "contract" and math.prod(row.shape) >= NUMBERS * signal.batch
        ),
        None,
    )
    if last is None:
        return
    cosine = last.forward.across_samples
    if cosine is not None and cosine > ALIKE and (of_inputs is None or of_inputs < DIFFERENT):
        began = "" if of_inputs is None else f"; that of the inputs is {of_inputs:.2f}"
        yield Finding(
            "GI104",
            "warning",
            last.key,
            f"outputs hardly depend on the inputs: two samples have the cosine {cosine:.6f}{began}",
            "gi.init_(model, 'he', inputs=inputs): larger weights and biases of 0",
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


def _idle(signal: Signal) -> Iterator[Finding]:
    for row in signal.rows:
        share = row.forward.idle
        if share is None or share <= IDLE:
            continue
        bounded = row.function in ("tanh", "sigmoid", "hardsigmoid")
        units = width(row)
        # Deep down all samples look alike, and half of the units are off for all, by chance more.
        chance = SURE * 0.5 / math.sqrt(units)
        if not bounded and (share <= IDLE + chance or math.prod(row.shape) < SEEN * units):
            continue
        what = "values are saturated" if bounded else "units are dead: 0 for all samples"
        yield Finding(
            "GI107" if bounded else "GI106",
            "warning",
            row.key,
            f"{share:.0%} of the {what}",
            "draw the layer before with "
            + ("a smaller std" if bounded else "a mean of 0, and its bias at 0"),
        )
        return


def _biases(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Layers that pass on their bias and little else, where it isn't the last word or a gate's."""
    followed: dict[int, set[str]] = {}  # row -> functions and kinds of what comes after
    for number in range(len(signal.rows) - 1, -1, -1):
        row = signal.rows[number]
        after = followed.get(number, set[str]()) | {row.kind}
        if row.kind == "activation":
            after |= {row.function}
        for taken in row.takes:
            followed.setdefault(taken, set[str]()).update(
                after if row.kind != "contract" else {"contract"}
            )
    for number, row in enumerate(signal.rows):
        biases = [params[name] for name in row.params if params[name].dim() == 1]
        if row.kind != "contract" or len(row.params) != 2 or len(biases) != 1:
            continue
        after = followed.get(number, set[str]())
        share = biases[0].detach().double().square().mean().item() / (row.forward.second or 1.0)
        if share > MOSTLY and "contract" in after and not GATES & after:
            yield Finding(
                "GI132",
                "warning",
                row.key,
                f"{min(share, 1.0):.0%} of the second moment is the bias's: what the layer passes "
                "on is almost the same for all inputs",
                f"gi.init_(model, {{{row.params[1]!r}: gi.Zeros()}})",
            )
            return


def _norms(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    for row in signal.rows:
        weight = params[row.params[0]].detach().float() if row.params else None
        if row.kind != "norm" or weight is None or weight.numel() < 8:
            continue
        std, mean = (value.item() for value in torch.std_mean(weight))
        if std > abs(mean):
            yield Finding(
                "GI111",
                "warning",
                row.key,
                f"the weight of a norm lies around 0 (mean {mean:.2g}, std {std:.2g}), which all "
                "but switches its layer off and flips half of its channels",
                f"gi.init_(model, {{{row.params[0]!r}: gi.Ones()}})",
            )
            return


def _twins(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Layers that start as one: clones, or one seed for several."""
    used = {name for row in signal.rows if row.kind == "contract" for name in row.params}
    learnt = {g.name: None for g in signal.gradients if g.ratio is not None and g.name in used}
    groups: dict[tuple[str, str, float], list[str]] = {}
    for name in learnt:
        tensor = params[name].detach()
        if (
            tensor.dim() > 1
            and tensor.numel() >= TWINS
            and bool((tensor != tensor.flatten()[0]).any())
        ):
            size = tensor.float().square().sum().item()
            key = (str(tensor.shape), str(tensor.dtype), size)
            groups.setdefault(key, []).append(name)
    twins = [
        (names[0], name)
        for names in groups.values()
        for name in names[1:]
        if torch.equal(params[names[0]], params[name])
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
            "gi.init_(model, 'standard', inputs=inputs), which draws each layer by its own name",
        )


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
    while True:
        row = signal.rows[at]
        if row.kind == "contract" and row.params:
            variance, layers = variance + SPREAD / width(row), layers + 1
        before = [number for number in row.takes if number in sizes]
        if not before:
            break
        at = max(before, key=sizes.__getitem__)
    if layers < LAYERS or not (sizes[at] and sizes[last]):
        return
    change = math.log(sizes[at] / sizes[last])
    if abs(change) <= LOST_BACKWARD + SURE * math.sqrt(variance):
        return
    word = "vanishes" if change < 0 else "explodes"
    yield Finding(
        "GI108",
        "error" if abs(change) > 2 * LOST_BACKWARD else "warning",
        f"{signal.rows[last].key} to {signal.rows[at].key}",
        f"the gradient {word} on its way back: its squared norm goes from {sizes[last]:.3g} to "
        f"{sizes[at]:.3g} over {layers} layers",
        "gi.init_(model, 'he', inputs=inputs), or residual connections with norms",
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
            "freeze it with requires_grad_(False), or use it",
        )


def _first_loss(classes: int, value: float) -> Iterator[Finding]:
    guess = math.log(max(2, classes))
    if value > 2 * guess + 1:
        yield Finding(
            "GI110",
            "warning",
            "loss",
            f"the first cross-entropy is {value:.3g}; a blind guess among {classes} classes has "
            f"{guess:.3g}: the logits are too large",
            "draw the head smaller (where it is tied, the embedding: gi.Normal(0.02))",
        )
