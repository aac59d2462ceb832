"""Samples, and positions of a sample, that become alike: GI104 and GI105."""

from __future__ import annotations

__all__ = ["became_alike", "has_enough_numbers", "were_different"]

ALIKE_COSINE = 0.999  # 1 - cosine under 1/1000: less than a thirtieth of a vector is its own
DIFFERENT_COSINE = 0.9  # inputs that are more alike than this hardly differ anyway
NUMBERS_OF_A_SAMPLE = 8  # two vectors of fewer numbers are alike by chance


def were_different(cosine: float) -> bool:
    """Return whether samples, or positions, were different where they came in."""
    return cosine < DIFFERENT_COSINE


def became_alike(cosine: float) -> bool:
    """GI104, GI105: whether samples, or positions, that were different are alike at the end."""
    return cosine > ALIKE_COSINE


def has_enough_numbers(numbers: float) -> bool:
    """Return whether a sample has enough numbers at a place for a cosine to mean anything."""
    return numbers >= NUMBERS_OF_A_SAMPLE
