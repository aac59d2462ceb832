"""What is wrong with a measured signal: findings GI101 to GI110."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from goodinit.findings import Finding, Severity
from goodinit.signal.rows import Signal, SignalRow

if TYPE_CHECKING:
    from goodinit.signal.measure import Meter

__all__ = ["verdicts"]

LOST = math.log(1e4)  # a second moment that changes by more is lost, or explodes
LAYERS = 4  # over fewer of them a change of scale is one layer's business
LOST_BACKWARD = math.log(1e6)
ALIKE, DIFFERENT = 0.999, 0.9  # cosines
IDLE = 0.5
SEEN = 32  # numbers that a unit must have had the chance to be alive for
SPREAD = 5.0  # var of log q grows by this / width a layer (Hanin & Rolnick, 2018)
SURE = 5.0  # standard errors

RESETS = frozenset(("norm", "softmax", "attention", "pick", "opaque", "source"))


def verdicts(signal: Signal, meter: Meter) -> list[Finding]:
    """Return what is wrong, the earliest cause first; none of a healthy model."""
    broken = list(_not_finite(signal))
    if broken:
        return broken
    found = [
        *_scale(signal),
        *_alike(signal, meter.input_cosine),
        *_idle(signal),
        *_backward(signal),
        *_without_gradient(signal),
    ]
    if meter.entropy is not None:
        found += _first_loss(*meter.entropy)
    return found


def _not_finite(signal: Signal) -> Iterator[Finding]:
    for row in signal.rows:
        if row.forward.bad:
            yield Finding(
                "GI101",
                "error",
                row.key,
                f"{row.forward.bad} of {math.prod(row.shape)} values are NaN or infinite, and no "
                "earlier call's are",
                "look at the inputs and at the weights of this call; goodinit.explain(model) finds "
                "bad weights",
            )
            return


@dataclass(slots=True)
class _Run:
    """The way from where the scale was last set (an input, a norm) to a row."""

    start: int
    layers: int
    variance: float  # that log(second) gathered for finite width


def _runs(rows: list[SignalRow]) -> list[_Run]:
    found: list[_Run] = []
    for number, row in enumerate(rows):
        before = [found[n] for n in row.takes if n >= 0]
        if row.kind in RESETS or not before:
            run = _Run(number, 0, 0.0)
        else:
            longest = max(before, key=lambda run: run.layers)
            run = _Run(longest.start, longest.layers, longest.variance)
        if row.kind == "contract" and row.params:
            run.layers += 1
            run.variance += SPREAD / _width(row)
        found.append(run)
    return found


def _width(row: SignalRow) -> int:
    """Return the number of channels."""
    if not row.shape:
        return 1
    return max(1, row.shape[1] if len(row.shape) in (4, 5) else row.shape[-1])


def _scale(signal: Signal) -> Iterator[Finding]:
    """Vanishing and exploding, at the place where it is worst."""
    worst: dict[str, tuple[float, SignalRow, _Run]] = {}
    for row, run in zip(signal.rows, _runs(signal.rows), strict=True):
        first = signal.rows[run.start].forward
        now = row.forward
        if row.kind != "contract" or run.layers < LAYERS or not (first.second and now.second):
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
            "gi.init_(model, 'he', inputs=inputs), whose gains fit the activations, or put norms "
            "between the layers",
        )


def _alike(signal: Signal, of_inputs: float | None) -> Iterator[Finding]:
    last = next((row for row in reversed(signal.rows) if row.kind == "contract"), None)
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
        units = _width(row)
        if not bounded and (units < 8 or math.prod(row.shape) < SEEN * units):
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


def _backward(signal: Signal) -> Iterator[Finding]:
    rows = [row for row in signal.rows if row.kind == "contract" and row.params and row.backward]
    if len(rows) < LAYERS:
        return
    first, last = rows[0], rows[-1]
    assert first.backward is not None
    assert last.backward is not None
    sizes = [row.backward.second * math.prod(row.shape) for row in rows if row.backward]
    if not (sizes[0] and sizes[-1]) or not all(map(math.isfinite, (sizes[0], sizes[-1]))):
        return
    change = math.log(sizes[0] / sizes[-1])
    variance = sum(SPREAD / _width(row) for row in rows)
    if abs(change) <= LOST_BACKWARD + SURE * math.sqrt(variance):
        return
    word = "vanishes" if change < 0 else "explodes"
    yield Finding(
        "GI108",
        "error" if abs(change) > 2 * LOST_BACKWARD else "warning",
        f"{last.key} to {first.key}",
        f"the gradient {word} on its way back: its squared norm goes from {sizes[-1]:.3g} to "
        f"{sizes[0]:.3g} over {len(rows)} layers",
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
