"""How far a second moment drifts by chance, over layers of finite width.

Over seeds the log of a second moment is nearly normal, with a variance that grows by 5 / width a
layer and the mean -variance / 2 (Hanin & Rolnick, 2018; Hanin & Nica, 2020).
"""

from __future__ import annotations

import math

VARIANCE_TIMES_WIDTH = 5.0  # of a relu layer (Hanin & Rolnick, 2018); smoother ones have less
STANDARD_ERRORS = 4.0  # one of 30,000 healthy networks drifts further


def layer_variance(width: int) -> float:
    """Return what one layer adds to the variance of log(second moment) over seeds.

    >>> layer_variance(100)
    0.05
    """
    return VARIANCE_TIMES_WIDTH / width


def drift_by_chance(variance: float) -> float:
    """Return how far the log of a second moment may drift where the gains are right.

    >>> drift_by_chance(0.25)
    2.125
    """
    return variance / 2 + STANDARD_ERRORS * math.sqrt(variance)
