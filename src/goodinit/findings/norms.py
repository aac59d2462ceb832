"""The weight of a norm: GI111."""

from __future__ import annotations

__all__ = ["around_zero", "norm_lies_around_zero"]

# Of normal values with std = 2 |mean|, 31 % have the other sign. RepVGG means its N(.1, .1^2),
# where it is 16 %; the snippet ``normal_(m.weight, 0, .02)`` on all modules makes it 50 %.
STDS_PER_MEAN = 2.0


def norm_lies_around_zero(mean: float, std: float) -> bool:
    """GI111: whether the weight of a norm lies around 0 instead of 1.

    One that is exactly 0 starts a residual branch at nothing, which is meant.

    Args:
        mean: of the law, or of the values.
        std: likewise, over all values (no correction).
    """
    return std > STDS_PER_MEAN * abs(mean)


def around_zero(mean: float, std: float) -> str:
    """GI111: return the cause in words."""
    return (
        f"the weight of a norm lies around 0 instead of 1 (mean {mean:.2g}, std {std:.2g}), "
        "which nearly switches its layer off and flips half of its channels"
    )
