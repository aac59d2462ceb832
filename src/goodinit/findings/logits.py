"""First logits that are too large, or too small to say anything: GI110, GI112 and GI143."""

from __future__ import annotations

import math

# Logits N(0, s^2) cost s^2 / 2 above a blind guess: 2 ln K + 1 is s = 3 of 30 classes.
GUESSES, MORE = 2.0, 1.0
ERRORS = 4.0  # standard errors: 1 batch in 30,000 by chance
CUT_SHARE = 0.1  # of the logits: a relu of a signal around 0 cuts half of them off
LOGITS_STD = 4.0  # logits of that standard deviation are most of a one-hot guess
TABLE_STD = 0.5  # smaller ones are a scale that somebody chose, wide as the table may be


def blind_guess(classes: int) -> float:
    """Return the cross-entropy of a blind guess.

    >>> round(blind_guess(1000), 3)
    6.908
    """
    return math.log(max(2, classes))


def least_loss(classes: int, width: float) -> float:
    """GI143: return the least cross-entropy that logits between bounds can reach.

    Args:
        classes: how many there are.
        width: the distance of the bounds; 1 of probabilities.

    >>> round(least_loss(10, 1.0), 3), round(least_loss(10, 2.0), 3)
    (1.461, 0.797)
    """
    return math.log(1 + (max(2, classes) - 1) * math.exp(-width))


def logits_are_cut(zeros: float, lowest: float) -> bool:
    """GI143: whether a relu has cut off the logits: many are 0, and none is negative.

    Where all are 0, a head starts there.
    """
    return lowest == 0 and CUT_SHARE < zeros < 1


def loss_is_far_above_a_guess(loss: float, classes: int) -> bool:
    """GI110: whether a first cross-entropy is far above that of a blind guess."""
    return loss > GUESSES * blind_guess(classes) + MORE


def loss_is_above_a_guess(loss: float, classes: int, error: float) -> bool:
    """GI110, as an info: whether it is above by more than N(0, 1) logits and chance explain."""
    return loss > blind_guess(classes) + MORE + ERRORS * error


def head_is_too_large(std: float, width: float) -> bool:
    """GI112: whether an output projection makes the first logits too wide, of a unit signal.

    ``std`` includes the number that its result is multiplied by.
    """
    return std >= TABLE_STD and std * width**0.5 > LOGITS_STD


def outputs_are_too_wide(second: float, taken: float, std: float) -> bool:
    """GI112: whether a last weight of this std makes the output wide, by second moments."""
    return std >= TABLE_STD and second > LOGITS_STD**2 * max(1.0, taken)


SMALLER_FACTORS = "draw both smaller, so that the scores are near N(0, 1), or normalize them"


def forecast_of_product(std: float) -> str:
    """GI112: return the cause in words, as forecast from weights."""
    return f"the output is a product of both: its std at the start is {std:.3g} (1 is healthy)"
