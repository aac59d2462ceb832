"""What is wrong with a measured signal: GI101 to GI111, GI122 to GI124, GI132 and GI135."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from goodinit._common.memory import without_repeats
from goodinit._common.text import several
from goodinit.findings import Finding
from goodinit.findings.logits import loss_is_above_a_guess, loss_is_far_above_a_guess
from goodinit.schemes import LeCunNormal
from goodinit.signal.activity import (
    find_clones,
    find_dominating_biases,
    find_idle_units,
    find_norm_around_zero,
)
from goodinit.signal.attention_findings import find_saturated_attention
from goodinit.signal.backward import find_explosion_in_time, find_lost_gradient
from goodinit.signal.first_loss import FirstLoss
from goodinit.signal.observer import MomentsObserver
from goodinit.signal.paths import Path
from goodinit.signal.remedies import draw_head_smaller, freeze, redraw
from goodinit.signal.rows import Signal
from goodinit.signal.similarity import find_alike_outputs, find_constant_outputs
from goodinit.signal.size_over_depth import find_lost_signal, find_unstable_variance
from goodinit.signal.symmetry import find_equal_units, find_zero_weights

NOTHING = Finding(
    "GI139",
    "warning",
    "model",
    "no call's result depends on the inputs, so nothing was measured",
    "pass tensors that the model computes with, and let torch functions do it",
)
EPSILON = "look for sqrt, log or a division at 0 in what follows: add an epsilon"


def find_in_signal(
    signal: Signal,
    observer: MomentsObserver,
    paths: list[Path],
    params: Mapping[str, Tensor],
    unset: bool = False,
) -> list[Finding]:
    """Return what is wrong, the earliest cause first.

    ``unset``: norms divide by statistics that were never computed, so that the signal has no
    meaning for training.
    """
    if not signal.rows:
        return [NOTHING]
    broken = list(_not_finite(signal, params, observer))
    if broken:  # an explosion before it may be the cause
        grown = [
            f
            for f in find_lost_signal(signal, params, paths, observer.outputs)
            if f.code == "GI103"
        ]
        return [*broken, *grown]
    found = [
        *find_norm_around_zero(signal, params),
        *find_clones(signal, params),
        *find_equal_units(signal, params, observer),
        *find_zero_weights(signal, params, observer),
        *find_constant_outputs(signal, params, observer),
        *_without_gradient(signal, observer),
    ]
    if unset:
        return found
    return [
        *find_lost_signal(signal, params, paths, observer.outputs),
        *find_unstable_variance(signal, paths),
        *find_alike_outputs(signal, params, observer),
        *find_idle_units(signal, params, observer.input_second),
        *find_saturated_attention(signal, params, observer),
        *find_dominating_biases(signal, params),
        *find_lost_gradient(signal, params, observer.outputs),
        *find_explosion_in_time(signal, params),
        *_first_loss(signal, params),
        *found,
    ]


def _not_finite(
    signal: Signal, params: Mapping[str, Tensor], observer: MomentsObserver
) -> Iterator[Finding]:
    if observer.bad_inputs:
        cause = f"{observer.bad_inputs} values of the inputs are NaN or infinite"
        yield Finding("GI101", "error", "inputs", cause, "look at the data")
        return
    for row in signal.rows if _reaches_something(signal, observer.outputs) else ():
        if row.forward.bad:
            bad = [
                name for name in row.params if not without_repeats(params[name]).isfinite().all()
            ]
            yield Finding(
                "GI101",
                "error",
                row.key,
                f"{row.forward.bad} of {math.prod(row.shape)} values are NaN or infinite, and no "
                "earlier call's are",
                redraw([row], params, LeCunNormal(), "draw it again, or restore it", bad)
                if bad
                else "look for an overflow, or for a log, sqrt or division of the call's inputs",
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
                EPSILON,
            )
            return
    bad = [gradient.name for gradient in signal.gradients if math.isnan(gradient.ratio or 0.0)]
    if bad:
        more = f" (and of {len(bad) - 1} more)" if len(bad) > 1 else ""
        cause = f"values of its gradient{more} are NaN or infinite, and no call's are"
        yield Finding("GI101", "error", bad[0], cause, EPSILON)


def _reaches_something(signal: Signal, outputs: set[int]) -> bool:
    """Return whether what isn't finite gets to an output, the loss or a gradient.

    An infinity that is masked in the next call, or bounded, does no harm.
    """
    last = {*outputs, len(signal.rows) - 1} if signal.loss is not None else outputs
    return (
        any(signal.rows[n].forward.bad for n in last if n >= 0)
        or not math.isfinite(signal.loss or 0.0)
        or any(row.backward is not None and row.backward.bad for row in signal.rows)
        or any(math.isnan(gradient.ratio or 0.0) for gradient in signal.gradients)
    )


def _without_gradient(signal: Signal, observer: MomentsObserver) -> Iterator[Finding]:
    names = [gradient.name for gradient in signal.gradients if gradient.ratio is None]
    derived = any(row.function == "_unpack_dual" for row in signal.rows)  # by forward mode
    if observer.unseen or derived:  # what scripted code or a derivative does isn't known
        reached = {g.name.rpartition(".")[0] for g in signal.gradients if g.ratio is not None}
        names = [name for name in names if name.rpartition(".")[0] not in reached]
    if names and len(names) < len(signal.gradients):
        yield Finding(
            "GI109",
            "info",
            several(names),
            "no gradient arrives: no output (or not the loss) depends on it",
            freeze(names),
        )


def worst_first_loss(entropies: Sequence[FirstLoss]) -> FirstLoss | None:
    """Return the cross-entropy that is furthest above a blind guess."""
    return max(entropies, key=lambda one: one.value / one.blind, default=None)


def _first_loss(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    found = signal.first_loss
    if found is None:
        return
    far = loss_is_far_above_a_guess(found.value, found.classes)
    sure = found.error is not None
    if far or (sure and loss_is_above_a_guess(found.value, found.classes, found.error or 0.0)):
        yield Finding(
            "GI110",
            "warning" if far else "info",
            "loss",
            f"the first cross-entropy is {found.value:.3g}; a blind guess among {found.classes} "
            f"classes has {found.blind:.3g}: the logits are {'too ' if far else ''}large",
            draw_head_smaller(signal, params, found.row, found.classes),
        )
