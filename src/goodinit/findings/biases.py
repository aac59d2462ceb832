"""Biases: GI128 and GI132."""

from __future__ import annotations

from goodinit.findings.finding import Severity

BIAS_SHARE = 0.9  # of a layer's second moment: two samples then have a cosine of about .9
GATES = frozenset(("sigmoid", "softplus", "hardsigmoid"))  # biases open and shut them on purpose
FORGET_BIAS = 0.5  # halfway from 0 to the 1 of Jozefowicz et al. (2015)


def bias_dominates(bias: float, whole: float) -> bool:
    """GI132: whether a layer passes on little but its bias.

    Args:
        bias: the bias's second moment.
        whole: that of the layer's output, the bias included.
    """
    return bias > BIAS_SHARE * whole


def bias_severity(*, drawn: bool, activation: str | None, head: bool) -> Severity:
    """GI132: how grave it is, by what is known without running the model.

    The bias of a head is a prior, that of a gate holds it open or shut, and one number for all
    units before nobody knows what may be either.

    Args:
        drawn: whether it varies around 0.
        activation: the function that follows; None or "" if unknown.
        head: whether it is the last layer's.
    """
    meant = head or activation in GATES or not (drawn or activation)
    return "info" if meant else "warning"


def forgets_half(bias: float) -> bool:
    """GI128: whether an LSTM forgets about half of its cell at each step, at the start.

    Args:
        bias: mean of the forget gates' biases, both of them added.
    """
    return bias < FORGET_BIAS
