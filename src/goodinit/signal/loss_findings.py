"""The loss at the start: GI110, and GI143, logits that were squashed before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from goodinit.findings import Finding
from goodinit.findings.logits import (
    least_loss,
    logits_are_cut,
    loss_is_above_a_guess,
    loss_is_far_above_a_guess,
)
from goodinit.signal.first_loss import TAKE_LOGITS, FirstLoss
from goodinit.signal.paths import SIGMOIDS
from goodinit.signal.remedies import draw_head_smaller
from goodinit.signal.rows import Signal, SignalRow

SQUASHED = frozenset(("softmax", *SIGMOIDS))  # what they return is between 0 and 1
UP_TO_ONE = dict.fromkeys(("tanh", "softsign", "erf"), (-1, 1))
BOUNDED = {**dict.fromkeys(sorted(SQUASHED), (0, 1)), **UP_TO_ONE}
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
            _smaller_logits(signal, params, found),
        )


def _smaller_logits(signal: Signal, params: Mapping[str, Tensor], found: FirstLoss) -> str:
    """Return the remedy: a temperature that starts smaller, where one multiplies the logits."""
    row: SignalRow | None = signal.rows[found.row] if found.row >= 0 else None
    while row is not None:
        scales = [name for name in row.params if params[name].numel() == 1]
        if row.kind == "mul" and scales:
            return f"start {scales[0]} smaller: it multiplies the logits, as an inverse temperature"
        of_signals = row.kind == "contract" and not row.params
        if not (of_signals or row.kind in MOVING) or not row.takes or row.takes[0] < 0:
            break
        row = signal.rows[row.takes[0]]
    return draw_head_smaller(signal, params, found.row, found.classes)


def find_squashed_logits(
    signal: Signal, logits: Mapping[int, tuple[float, float]]
) -> Iterator[Finding]:
    """Yield a loss that squashes logits itself, though the model has already bounded or cut them.

    Args:
        signal: as measured.
        logits: by the number of a loss, the share of its logits that is 0, and the lowest.
    """
    for number, row in enumerate(signal.rows):
        made = _made(signal.rows, row) if row.function in (*TAKE_LOGITS, "nll_loss") else None
        if made is None:
            continue
        if row.function == "nll_loss":
            cause, remedy = _no_logarithms(made)
        elif made.function in BOUNDED:
            cause, remedy = _squashed(row, made)
        elif made.kind != "contract" and logits_are_cut(*logits.get(number, (0.0, 0.0))):
            cause, remedy = _cut(row, made, logits[number][0])
        else:
            continue
        if cause:
            yield Finding("GI143", "warning", row.key, cause, remedy)
            return


def _no_logarithms(made: SignalRow) -> tuple[str, str]:
    cause = (
        "the loss gets no logarithms: nll_loss takes those of probabilities, and gets "
        f"probabilities from {made.key}; it can't fall below -1, and is no cross-entropy"
    )
    remedy = "use log_softmax, or cross_entropy without a softmax before it"
    return cause if made.function in SQUASHED else "", remedy


def _squashed(row: SignalRow, made: SignalRow) -> tuple[str, str]:
    (low, high), several = BOUNDED[made.function], row.function == "cross_entropy"
    classes = (*made.shape, 1, 1)[min(1, len(made.shape) - 1)]
    least = least_loss(classes, high - low) if several else least_loss(2, high)
    does = "softmax" if several else "sigmoid"
    cause = (
        f"the logits are squashed twice: {row.function} does the {does} itself, and gets numbers "
        f"from {low} to {high} from {made.key}; it can't fall below {least:.3g}, and learns slowly"
    )
    return cause, f"leave {made.function} out of what the loss takes"


def _cut(row: SignalRow, made: SignalRow, zeros: float) -> tuple[str, str]:
    cause = (
        f"logits are cut off: {zeros:.0%} of what {row.function} gets from {made.key} is 0, where "
        "no gradient passes, and no class can be less likely than that"
    )
    return cause, f"leave {made.function} out of what the loss takes"


def _made(rows: Sequence[SignalRow], row: SignalRow) -> SignalRow | None:
    """Return the call that made the numbers that a loss takes, which may have been moved since."""
    number = row.takes[0] if row.takes else -1
    while number >= 0 and rows[number].kind in MOVING and len(set(rows[number].takes)) == 1:
        number = rows[number].takes[0]
    return rows[number] if number >= 0 else None
