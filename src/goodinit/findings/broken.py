"""Values that no law draws: GI121 and GI131."""

from __future__ import annotations

from goodinit.findings.finding import Severity

HUGE = 1e8  # no law of a weight draws it; pointers and random bits read as floats do
TINY_SHARE = 0.01  # of values between 0 and 1e-30, which memory holds and no law draws
FAR_IN_STDS = 8.0  # of 1e12 normal numbers none lies beyond
FEW_OUTLIERS = 0.01  # a larger share is part of the law
GAP_TO_OUTLIERS = 3.0  # times as far out as all others; heavy tails have no such gap
VALUES_TO_JUDGE = 100  # of fewer an end isn't a heap, and no quartile is known
CLAMPED_SHARE = 0.001  # at each end of the range: a normal law has one value there
HEAP = 10.0  # times as many as hold one number in between: a kernel's numbers may all be repeated
CLAMPED_VALUES = 10  # and so many, at least
ZERO_SHARE = 0.01  # with more zeros it is sparse, or was pruned
COARSE = 1e-3  # relative spacing of half precision, which makes heaps by itself


def is_huge(largest: float) -> bool:
    """GI121: whether a value is larger than any law's."""
    return largest > HUGE


def is_garbage(largest: float, tiny: float, known: bool) -> bool:
    """GI121: whether values look like uninitialized memory.

    ``tiny`` is the share of values between 0 and 1e-30, ``known`` whether they follow a law.
    """
    return is_huge(largest) or (not known and tiny > TINY_SHARE)


def garbage_severity(largest: float) -> Severity:
    """GI121: tiny values do no harm at once."""
    return "error" if is_huge(largest) else "warning"


def has_enough_values(count: int) -> bool:
    """GI131: whether there are enough values to judge their ends."""
    return count >= VALUES_TO_JUDGE


def are_outliers(share: float, nearest: float, farthest: float) -> bool:
    """GI131: whether a share of the values, far out, doesn't belong to the others' law.

    ``nearest`` is how far from the middle they begin, ``farthest`` how far the others reach.
    """
    return share <= FEW_OUTLIERS and nearest >= GAP_TO_OUTLIERS * farthest


def values_were_clamped(
    at_low: int, at_high: int, read: int, different: int, size: int, zeros: float, spacing: float
) -> bool:
    """GI131: whether values lie in heaps at both ends of their range.

    Args:
        at_low: how many of those that were read lie exactly at the least.
        at_high: likewise at the greatest.
        read: how many were.
        different: how many different numbers they hold.
        size: how many there are.
        zeros: the share of exact zeros.
        spacing: relative distance of two numbers of the dtype.
    """
    if not has_enough_values(size) or spacing > COARSE:
        return False
    between = (read - at_low - at_high) / max(different - 2, 1)
    heap = max(CLAMPED_SHARE * read, CLAMPED_VALUES, HEAP * between)
    return min(at_low, at_high) > heap and zeros < ZERO_SHARE
