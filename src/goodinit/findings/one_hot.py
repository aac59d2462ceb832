"""Attention that looks at one position alone: GI142."""

from __future__ import annotations

import math

# A softmax of two is a sigmoid, which counts as saturated from there on: no slope of such a row is
# above 1 / 100. Deep transformers stop learning once attention is one-hot (Zhai et al., 2023).
CHOSEN_WEIGHT = 0.99
CHOSEN_SHARE = 0.5  # of the rows: with 64 positions the scores' std must be 17 for it
LEAST_TO_CHOOSE_FROM = 2  # the first row of causal attention sees itself alone


def attention_is_saturated(share: float) -> bool:
    """GI142: whether too large a share of a softmax's rows has its weight on one position."""
    return share > CHOSEN_SHARE


SMALLER_SCORES = "draw the weights of queries and keys smaller, or put norms on both"


def scores_are_one_hot(std: float, positions: int) -> bool:
    """GI142: whether half of the rows will be one-hot, by the std of the scores.

    The largest of n normal scores is above the next by an exponential of mean std / sqrt(2 ln n),
    if n is large; a row is one-hot where it is by ln 99. For few positions less is enough.

    >>> scores_are_one_hot(8.0, 64), scores_are_one_hot(64.0, 64)
    (False, True)
    """
    gap = std / math.sqrt(2 * math.log(max(positions, LEAST_TO_CHOOSE_FROM)))
    needed = math.log(CHOSEN_WEIGHT / (1 - CHOSEN_WEIGHT))
    return math.exp(-needed / gap) > CHOSEN_SHARE if gap else False


def forecast_of_scores(std: float, positions: int) -> str:
    """GI142: return the cause in words, as forecast from weights."""
    return (
        f"for a signal of second moment 1 the scores of attention have std {std:.3g} (1 is "
        f"healthy): over {positions} positions most rows of the softmax are nearly one-hot, and "
        "get next to no gradient"
    )
