"""What is wrong with a measured signal: GI101 to GI111, GI122 to GI124, GI132 and GI135."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from torch import Tensor

from goodinit._common.memory import without_repeats
from goodinit.findings import Finding
from goodinit.schemes import LeCunNormal
from goodinit.signal.activity import (
    find_dominating_biases,
    find_idle_units,
    find_norm_around_zero,
)
from goodinit.signal.attention_findings import find_saturated_attention
from goodinit.signal.backward import find_explosion_in_time, find_lost_gradient
from goodinit.signal.clone_findings import find_clones, find_repeated_units
from goodinit.signal.emptied_norms import find_emptied_norms
from goodinit.signal.loss_findings import find_large_first_loss, find_squashed_logits
from goodinit.signal.missing_gradients import find_without_gradient
from goodinit.signal.observer import MomentsObserver
from goodinit.signal.output_findings import find_wide_outputs
from goodinit.signal.paths import Path
from goodinit.signal.remedies import redraw
from goodinit.signal.rows import Signal
from goodinit.signal.similarity import find_alike_outputs, find_constant_outputs
from goodinit.signal.size_over_depth import (
    find_enormous_output,
    find_lost_signal,
    find_unstable_variance,
)
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
        lost = _lost_signal(signal, params, paths, observer)
        return [*broken, *(finding for finding in lost if finding.code == "GI103")]
    constant = [
        *find_emptied_norms(signal, params),
        *find_constant_outputs(signal, params, observer),
    ]
    found = [
        *find_norm_around_zero(signal, params),
        *find_clones(signal, params),
        *find_equal_units(signal, params, observer),
        *(() if observer.equal_units else find_repeated_units(signal, params)),
        *find_zero_weights(signal, params, observer),
        *constant,
        *find_squashed_logits(signal, observer.logits),
        *find_without_gradient(signal, observer),
    ]
    if unset:
        return found
    return [
        *_lost_signal(signal, params, paths, observer),
        *find_unstable_variance(signal, paths),
        *(() if constant else find_alike_outputs(signal, params, observer)),
        *find_idle_units(signal, params, observer.input_second),
        *find_saturated_attention(signal, params, observer),
        *find_dominating_biases(signal, params),
        *find_lost_gradient(signal, params, observer.outputs),
        *find_explosion_in_time(signal, params),
        *find_large_first_loss(signal, params),
        *find_wide_outputs(signal, params, observer.outputs, observer.input_second),
        *found,
    ]


def _lost_signal(
    signal: Signal, params: Mapping[str, Tensor], paths: list[Path], observer: MomentsObserver
) -> Iterator[Finding]:
    """Yield what becomes of the signal over depth, or that an output is enormous without it."""
    exploded = False
    for finding in find_lost_signal(signal, params, paths, observer.outputs):
        exploded = exploded or finding.code == "GI103"
        yield finding
    if not exploded:
        yield from find_enormous_output(signal, params, observer.outputs, observer.input_second)


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
