"""First logits that are too large, or too small to say anything: GI110, GI112 and GI143."""

from __future__ import annotations

import math

# Logits N(0, s^2) cost s^2 / 2 above a blind guess: 2 ln K + 1 is s = 3 of 30 classes.
GUESSES, MORE = 2.0, 1.0
ERRORS = 4.0  # standard errors: 1 batch in 30,000 by chance
LOGITS_STD = 4.0  # logits of that standard deviation are most of a one-hot guess
TABLE_STD = 0.5  # smaller ones are a scale that somebody chose, wide as the table may be


def blind_guess(classes: int) -> float:
    """Return the cross-entropy of a blind guess.

    >>> round(blind_guess(1000), 3)
    6.908
    """
    return math.log(max(2, classes))


def least_loss_of_probabilities(classes: int) -> float:
    """GI143: return what a cross-entropy can't fall below whose logits are between 0 and 1.

    >>> round(least_loss_of_probabilities(10), 3)
    1.461
    """
    return math.log(1 + (max(2, classes) - 1) / math.e)


def loss_is_far_above_a_guess(loss: float, classes: int) -> bool:
    """GI110: whether a first cross-entropy is far above that of a blind guess."""
    return loss > GUESSES * blind_guess(classes) + MORE


def loss_is_above_a_guess(loss: float, classes: int, error: float) -> bool:
    """GI110, as an info: whether it is above by more than N(0, 1) logits and chance explain.

    Args:
        loss: mean over the targets.
        classes: how many there are.
        error: its standard error.
    """
    return loss > blind_guess(classes) + MORE + ERRORS * error


def tied_table_is_too_large(std: float, width: int) -> bool:
    """GI112: whether an embedding that multiplies as well makes its first logits too wide.

    Args:
        std: of the table, times the number that the projection's result is multiplied by.
        width: of a row.
    """
    return std >= TABLE_STD and std * width**0.5 > LOGITS_STD
