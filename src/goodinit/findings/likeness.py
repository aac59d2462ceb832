"""Samples, and positions of a sample, that become alike: GI104, GI105 and GI136."""

from __future__ import annotations

import math

ALIKE_COSINE = 0.999  # 1 - cosine under 1/1000: less than a thirtieth of a vector is its own
DIFFERENT_COSINE = 0.9  # inputs more similar than this hardly differ to begin with
NUMBERS_OF_A_SAMPLE = 8  # two vectors of fewer numbers are alike by chance


def were_different(cosine: float) -> bool:
    """Return whether samples, or positions, were different where they came in."""
    return cosine < DIFFERENT_COSINE


def became_alike(cosine: float) -> bool:
    """GI104, GI105: whether samples, or positions, that were different are alike at the end."""
    return cosine > ALIKE_COSINE


def distinct_layers(difference: float) -> float:
    """GI136: return after how many layers signals that were different are alike.

    ``difference`` is what one layer multiplies 1 - cosine of two of them by.

    >>> round(distinct_layers(0.35)), distinct_layers(1.0)
    (7, inf)
    """
    return math.log(1 - ALIKE_COSINE) / math.log(difference) if difference < 1 else math.inf


def has_enough_numbers(numbers: float) -> bool:
    """Return whether a sample has enough numbers at a place for a cosine to mean anything."""
    return numbers >= NUMBERS_OF_A_SAMPLE
