"""Biases: GI128 and GI132."""

from __future__ import annotations

import math

from goodinit.findings.finding import Severity

BIAS_SHARE = 0.9  # of a layer's second moment: two samples then have a cosine of about .9
GATES = frozenset(("sigmoid", "softplus", "hardsigmoid"))  # biases open and shut them on purpose
FORGET_BIAS = 0.5  # halfway from 0 to the 1 of Jozefowicz et al. (2015)
KEPT_SHARE = 0.01  # of the cell: a gate of less counts as saturated, as sigmoids do anywhere


def bias_dominates(bias: float, whole: float) -> bool:
    """GI132: whether a layer passes on little but its bias, by second moments."""
    return bias > BIAS_SHARE * whole


def bias_severity(*, drawn: bool, activation: str | None, head: bool) -> Severity:
    """GI132: how grave it is, by what is known without running the model.

    The bias of a head is a prior, that of a gate holds it open or shut. One that isn't drawn
    around 0 may be either where the activation isn't known.
    """
    meant = head or activation in GATES or not (drawn or activation)
    return "info" if meant else "warning"


def kept_share(bias: float) -> float:
    """GI128: return the share of its cell that an LSTM keeps at each step, at the start.

    >>> round(kept_share(0.0), 3), round(kept_share(-10.0), 6)
    (0.5, 4.5e-05)
    """
    return (1 + math.tanh(bias / 2)) / 2


def forget_severity(bias: float) -> Severity:
    """GI128: how grave it is: a warning where nothing of the cell is left after one step."""
    return "warning" if kept_share(bias) < KEPT_SHARE else "info"


def forgets_half(bias: float) -> bool:
    """GI128: whether half of a cell is forgotten at each step; torch's two biases are added."""
    return bias < FORGET_BIAS
