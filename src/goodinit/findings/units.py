"""Units that are dead or saturated: GI106 and GI107."""

from __future__ import annotations

import math

from goodinit.findings.depth import has_depth

IDLE_SHARE = 0.5  # relu has half of its values at 0, but not of a unit for all samples
NUMBERS_OF_A_UNIT = 32  # that it must have had the chance to be alive for: 2^-32 by chance
ERRORS_OF_A_COIN = 5.0  # deep down samples are alike, and half of the units are off for all of them
# Where an activation counts as saturated: its slope is a twenty-fifth of its maximum and less.
SATURATED_BEYOND = {"tanh": (-0.99, 0.99), "sigmoid": (0.01, 0.99), "hardsigmoid": (0.0, 1.0)}
# The same before the function, on both sides of 0.
BOUND_BEFORE = {"tanh": math.atanh(0.99), "sigmoid": math.log(99.0), "hardsigmoid": 3.0}
# Of each of four layers or more. At its fixed point tanh has 1 % with a gain of 5/3, 7 % with 2 and
# 18 % with 2.5; from there on the squared gradient grows by half and more a layer (Poole et al.,
# 2016), and inputs that differ by little have nothing in common at the end.
SATURATED_SHARE_OF_DEPTH = 0.2
ONE_SIDED = 0.1  # of saturated probabilities: a prior of rare things has all on one side
LARGE_INPUTS = 100.0  # second moment: ten times the standard deviation that layers are made for


def units_are_dead(share: float, units: int, numbers: int) -> bool:
    """GI106: whether a larger share of units is 0 for the whole batch than a coin switches off.

    ``numbers`` is how many each of them has, over samples and positions.
    """
    chance = ERRORS_OF_A_COIN * 0.5 / math.sqrt(units)
    return share > IDLE_SHARE + chance and numbers >= NUMBERS_OF_A_UNIT


def is_sure_both_ways(mean: float) -> bool:
    """GI107: whether saturated probabilities of this mean lie on both sides: no prior does so."""
    return ONE_SIDED < mean < 1 - ONE_SIDED


def values_are_saturated(share: float, layers: int = 1) -> bool:
    """GI107: whether too large a share of values lies where the slope is next to nothing.

    ``layers`` in a row have ``SATURATED_SHARE_OF_DEPTH`` of them there, or more.
    """
    return share > (SATURATED_SHARE_OF_DEPTH if has_depth(layers) else IDLE_SHARE)


def share_saturated(function: str, variance: float, mean: float = 0.0) -> float:
    """GI107: return the share of normal values that lie where a function is saturated.

    >>> round(share_saturated("tanh", 9.0), 2), share_saturated("relu", 9.0)
    (0.38, 0.0)
    """
    bound, root = BOUND_BEFORE.get(function, math.inf), math.sqrt(2 * variance)
    if not root:
        return float(abs(mean) > bound)
    return (math.erfc((bound - mean) / root) + math.erfc((bound + mean) / root)) / 2


def share_above(variance: float, mean: float) -> float:
    """GI107: return the share of normal values above 0, where a sigmoid is above a half."""
    return math.erfc(-mean / math.sqrt(2 * variance)) / 2 if variance else float(mean > 0)


UNSATURATED = "use smaller weights before it, or a norm"


def forecast_of_saturation(function: str, share: float, layers: int) -> str:
    """GI107: return the cause in words, as forecast from weights."""
    more = f", in each of {layers} layers" if has_depth(layers) else ""
    return (
        f"of inputs with second moment 1 these weights drive {share:.0%} of the values of "
        f"{function} beyond 99 % of its bounds{more}, where its slope is next to nothing"
    )


def inputs_are_large(second: float) -> bool:
    """GI106, GI107: whether the remedy is to scale the inputs, by their second moment."""
    return second > LARGE_INPUTS
