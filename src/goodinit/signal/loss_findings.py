"""The loss at the start: GI110, and GI143, logits that were squashed before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from goodinit.findings import Finding
from goodinit.findings.logits import (
    least_loss_of_probabilities,
    loss_is_above_a_guess,
    loss_is_far_above_a_guess,
)
from goodinit.signal.first_loss import FirstLoss
from goodinit.signal.paths import SIGMOIDS
from goodinit.signal.remedies import draw_head_smaller
from goodinit.signal.rows import Signal, SignalRow

TAKE_LOGITS = frozenset(("cross_entropy", "binary_cross_entropy_with_logits"))
SQUASHED = frozenset(("softmax", *SIGMOIDS))  # what they return is between 0 and 1
MOVING = frozenset(("view", "cast"))


def worst_first_loss(entropies: Sequence[FirstLoss]) -> FirstLoss | None:
    """Return the cross-entropy that is furthest above a blind guess."""
    return max(entropies, key=lambda one: one.value / one.blind, default=None)


def find_large_first_loss(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Yield a first cross-entropy that is above that of a blind guess."""
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


def find_squashed_logits(signal: Signal) -> Iterator[Finding]:
    """Yield a loss that squashes its logits itself, and gets them squashed already."""
    for row in signal.rows:
        name = row.function
        if name not in TAKE_LOGITS and name != "nll_loss":
            continue
        made = _made(signal.rows, row)
        if made is None or made.function not in SQUASHED:
            continue
        classes = (*made.shape, 1, 1)[min(1, len(made.shape) - 1)]
        least = least_loss_of_probabilities(classes if name == "cross_entropy" else 2)
        does = "softmax" if name == "cross_entropy" else "sigmoid"
        cause = (
            f"the logits are squashed twice: {name} does the {does} itself, and gets numbers from "
            f"0 to 1 from {made.key}; it can't fall below {least:.3g}, and learns slowly"
        )
        remedy = f"leave {made.function} out of what the loss takes"
        if name == "nll_loss":
            cause = (
                "the loss gets no logarithms: nll_loss takes those of probabilities, and gets "
                f"probabilities from {made.key}; it can't fall below -1, and is no cross-entropy"
            )
            remedy = "use log_softmax, or cross_entropy without a softmax before it"
        yield Finding("GI143", "warning", row.key, cause, remedy)
        return


def _made(rows: Sequence[SignalRow], row: SignalRow) -> SignalRow | None:
    """Return the call that made the numbers that a loss takes, which may have been moved since."""
    number = row.takes[0] if row.takes else -1
    while number >= 0 and rows[number].kind in MOVING and len(set(rows[number].takes)) == 1:
        number = rows[number].takes[0]
    return rows[number] if number >= 0 else None
