"""The gradient on its way back: GI108."""

from __future__ import annotations

import math

from goodinit.findings.chance import drift_by_chance
from goodinit.findings.depth import has_depth
from goodinit.findings.finding import Severity

__all__ = [
    "gradient_explodes_in_time",
    "gradient_is_lost_or_explodes",
    "gradient_severity",
]

# Through norms and residual connections it grows with a power of the depth: 2e6 in a ResNet-152.
GRADIENT_FACTOR = 1e6  # of the squared norm
GRADIENT_FACTOR_OF_ERROR = 1e12  # norms differ by a million


def gradient_is_lost_or_explodes(layers: int, change: float, variance: float) -> bool:
    """GI108: whether a gradient changed by more than its bound and chance together.

    Args:
        layers: that it passed.
        change: of the log of its squared norm.
        variance: of that log, by the layers' finite width.
    """
    bound = math.log(GRADIENT_FACTOR) + drift_by_chance(variance)
    return has_depth(layers) and abs(change) > bound


def gradient_severity(change: float) -> Severity:
    """GI108: how grave a change of the log of the squared norm is."""
    return "error" if abs(change) > math.log(GRADIENT_FACTOR_OF_ERROR) else "warning"


def gradient_explodes_in_time(arrived: float, at_bias: float, steps: float) -> bool:
    """GI108: whether a gradient explodes inside of a recurrent layer, which is one call.

    A bias gets the sum of the gradients of all steps and samples, whose squared norm is at most
    their number times the sum of their squared norms.

    Args:
        arrived: squared norm of the gradient at the layer's outputs.
        at_bias: that of the bias's gradient.
        steps: how many steps and samples there are.
    """
    return at_bias > GRADIENT_FACTOR * steps * arrived
