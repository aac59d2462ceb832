"""The size of signal and gradient over depth: GI102, GI103, GI108, GI125 to GI127 and GI135."""

from __future__ import annotations

import math

from goodinit.findings.chance import drift_by_chance
from goodinit.findings.finding import Severity

LAYERS_OF_DEPTH = 4  # over fewer layers a change of scale is one layer's matter
MEASURED_FACTOR = 1e4  # of the second moment: values change by 100, Xavier's over 13 relu layers
MEASURED_FACTOR_OF_ERROR = 1e12  # values change by 1e6; float16 ends at 65,504
DROWNED_SHARE = 1e-3  # a branch this much smaller than its skip adds at most 3 % to its values
MOST_OF_A_CHANGE = 0.5  # one layer has more of it than all others together
UNSTABLE_SLOPE = 10.0  # 10 % too much at the start has doubled the signal (Poole et al., 2016)
UNSTEADY_SLOPE = 3.0  # from here on the remedy is a norm: a gain that is 10 % off is 30 % off later
FORECAST_SHARE = 1e-3  # of the second moment, by arithmetic on the weights: worth knowing
FORECAST_SHARE_OF_WARNING = 1e-6  # wider than a measured 1e4: arithmetic takes signals to be normal
GAIN_FACTOR = 5.0  # of a layer's second moment: at a relu Xavier is off by 2, torch's default by 6
GAIN_FACTOR_OF_SELU = 1.25  # it normalizes itself by the exact gain alone (Klambauer et al., 2017)
# Through norms and residual connections it grows with a power of the depth: 2e6 in a ResNet-152.
GRADIENT_FACTOR = 1e6  # of the squared norm
GRADIENT_FACTOR_OF_ERROR = 1e12  # norms differ by a million


def has_depth(layers: int) -> bool:
    """Return whether so many layers in a row are judged by their depth."""
    return layers >= LAYERS_OF_DEPTH


def signal_is_lost_or_explodes(layers: int, change: float, variance: float) -> bool:
    """GI102, GI103: whether a measured signal changed by more than it should, and than by chance.

    Args:
        layers: since its scale was set, at an input or a norm.
        change: of the log of its second moment.
        variance: of that log, by the batch and by the layers' finite width.
    """
    bound = max(math.log(MEASURED_FACTOR), drift_by_chance(variance))
    return has_depth(layers) and abs(change) > bound


def output_is_enormous(second: float, taken: float) -> bool:
    """GI103: whether an output explodes over few layers: ``taken`` is the inputs' second moment."""
    return second > MEASURED_FACTOR_OF_ERROR * max(1.0, taken)


def signal_severity(change: float) -> Severity:
    """GI102, GI103: how grave a change of the log of the second moment is."""
    return "error" if abs(change) > math.log(MEASURED_FACTOR_OF_ERROR) else "warning"


def is_drowned(second: float, largest: float) -> bool:
    """GI102: whether a term of a sum is too small to count, as branches that start at 0 are."""
    return second < DROWNED_SHARE * largest


def is_most_of_the_change(change: float, whole: float) -> bool:
    """GI102, GI103: whether one layer's change, in logs, is most of the whole one."""
    return change / whole > MOST_OF_A_CHANGE


def variance_map_is_unstable(slope: float) -> bool:
    """GI135: whether an error in the variance is multiplied by too much over the layers."""
    return slope > UNSTABLE_SLOPE


def steady_layers(slope: float) -> float:
    """GI136: return after how many layers an error in the variance has grown too much.

    ``slope`` is that of the variance map of one layer, in logs.

    >>> round(steady_layers(1.084)), steady_layers(1.0)
    (29, inf)
    """
    return math.log(UNSTABLE_SLOPE) / math.log(slope) if slope > 1 else math.inf


def no_gain_helps(slope: float) -> bool:
    """GI102, GI103: whether the remedy is a norm, for the variance map is too steep."""
    return slope > UNSTEADY_SLOPE


def chain_severity(share: float) -> Severity | None:
    """GI125, GI126: how grave it is that a chain of weights leaves this share of a second moment.

    Of a signal that explodes it is one over the factor.
    """
    if share < FORECAST_SHARE_OF_WARNING:
        return "warning"
    return "info" if share < FORECAST_SHARE else None


def gain_is_off(factor: float, activation: str) -> bool:
    """GI127: whether a weight and the activation before it change the second moment too much."""
    allowed = GAIN_FACTOR_OF_SELU if activation == "selu" else GAIN_FACTOR
    return not 1 / allowed < factor < allowed


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

    A bias gets the sum of the gradients of all steps and samples. Its squared norm is at most
    their number, ``steps``, times the sum of their squared norms, which ``arrived``.
    """
    return at_bias > GRADIENT_FACTOR * steps * arrived
