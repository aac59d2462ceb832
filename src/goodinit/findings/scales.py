"""Scales and centers that don't fit: GI111, GI116, GI118, GI130, GI133, GI134 and GI144."""

from __future__ import annotations

ROUNDINGS = 8.0  # of the dtype: what writing through a parametrization and back may cost
SMALLEST = 1e-30  # what isn't a change where all that was written is 0
GROWN_FACTOR = 3.0  # of a std: new tokens that are longer by more drown the old ones
WRITTEN_FACTOR = 1.25  # of a std: more than the chance of a few dozen values
FANS_FACTOR = 1.1  # of a std: more than the chance of a hundred values or more
CENTER_IN_STDS = 0.25  # n inputs of one sign then add up to sqrt(n) / 4 standard deviations
CENTER_IN_ERRORS = 6.0  # standard errors of a mean: one of 500 million by chance
# Of normal values with std = 2 |mean|, 31 % have the other sign. RepVGG means its N(.1, .1^2),
# where it is 16 %; the snippet ``normal_(m.weight, 0, .02)`` on all modules makes it 50 %.
STDS_PER_MEAN = 2.0
LEFT_SHARE = 1e-6  # of the second moment that a norm returns otherwise: rounding, no signal
ARRIVING = 1e-3  # second moment: a hundred times the epsilon of norms, which halves no signal


def norm_lies_around_zero(mean: float, std: float) -> bool:
    """GI111: whether the weight of a norm, a law's or its values, lies around 0 instead of 1.

    One that is exactly 0 starts a residual branch at nothing, which is meant.
    """
    return std > STDS_PER_MEAN * abs(mean)


def norm_leaves_nothing(taken: float, left: float, scale: float, offset: float) -> bool:
    """GI144: whether a norm returns nothing but its bias, though a signal arrives.

    Args:
        taken: second moment of what it takes.
        left: that of what it returns, without its bias's.
        scale: mean square of its weight, which is what it returns otherwise.
        offset: that of its bias.
    """
    return taken > ARRIVING and abs(left) < LEFT_SHARE * (scale + offset)


def around_zero(mean: float, std: float) -> str:
    """GI111: return the cause in words."""
    return (
        f"the weight of a norm lies around 0 instead of 1 (mean {mean:.2g}, std {std:.2g}), "
        "which nearly switches its layer off and flips half of its channels"
    )


def write_was_changed(error: float, largest: float, spacing: float) -> bool:
    """GI116: whether values read back from a parametrization differ from those written.

    ``error`` is the largest difference, ``spacing`` the relative distance of two numbers.
    """
    return error > ROUNDINGS * spacing * max(largest, SMALLEST)


def grew_on_another_scale(old: float, new: float) -> bool:
    """GI118: whether new rows have another std than those that a checkpoint brings.

    What is constant, or 0, has no scale.
    """
    return old > 0 and new > 0 and _differ(new / old, GROWN_FACTOR)


def write_was_lost(written: float, used: float) -> bool:
    """GI130: whether ``weight_norm`` uses another std than the one written."""
    return _differ(written / used, WRITTEN_FACTOR)


def fans_are_torchs_alone(std: float, wanted: float) -> bool:
    """GI133: whether a law by the fans of a shape has another std than by the true ones."""
    return wanted > 0 and _differ(std / wanted, FANS_FACTOR)


def values_are_off_center(mean: float, std: float, count: int) -> bool:
    """GI134: whether so many values lie around a number other than 0, by more than chance."""
    return abs(mean) > max(CENTER_IN_STDS, CENTER_IN_ERRORS / max(count, 1) ** 0.5) * std


def _differ(ratio: float, factor: float) -> bool:
    return not 1 / factor < ratio < factor
