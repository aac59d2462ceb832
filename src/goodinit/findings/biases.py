"""Biases: GI128 and GI132."""

from __future__ import annotations

__all__ = ["BIAS_SHARE", "bias_dominates", "forgets_half"]

BIAS_SHARE = 0.9  # of a layer's second moment: two samples then have a cosine of about .9
FORGET_BIAS = 0.5  # halfway from 0 to the 1 of Jozefowicz et al. (2015)


def bias_dominates(bias: float, whole: float) -> bool:
    """GI132: whether a layer passes on little but its bias.

    Args:
        bias: the bias's second moment.
        whole: that of the layer's output, the bias included.
    """
    return bias > BIAS_SHARE * whole


def forgets_half(bias: float) -> bool:
    """GI128: whether an LSTM forgets about half of its cell at each step, at the start.

    Args:
        bias: mean of the forget gates' biases, both of them added.
    """
    return bias < FORGET_BIAS
