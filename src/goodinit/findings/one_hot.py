"""Attention that looks at one position alone: GI142."""

from __future__ import annotations

# A softmax of two is a sigmoid, which counts as saturated from there on: no slope of such a row is
# above 1 / 100. Deep transformers stop learning once attention is one-hot (Zhai et al., 2023).
CHOSEN_WEIGHT = 0.99
CHOSEN_SHARE = 0.5  # of the rows: with 64 positions the scores' std must be 17 for it
LEAST_TO_CHOOSE_FROM = 2  # the first row of causal attention sees itself alone


def attention_is_saturated(share: float) -> bool:
    """GI142: whether too many rows of a softmax have nearly all their weight on one position.

    Args:
        share: of the rows that have a choice.
    """
    return share > CHOSEN_SHARE
