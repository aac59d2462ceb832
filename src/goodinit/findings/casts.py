"""GI137: values that the parameter's dtype can't hold, or that another kind of number became."""

from __future__ import annotations

from goodinit.findings.finding import Severity

MOST_ZEROS = 0.5  # share of the values that became 0: more are lost than kept


def what_a_cast_lost(infinite: int, zeros: float) -> tuple[Severity, str] | None:
    """Return how grave it is, and what happened to finite values that aren't 0.

    Args:
        infinite: how many became infinite.
        zeros: the share of them that became 0.

    Example:
        >>> what_a_cast_lost(0, 0.75)
        ('warning', '75% of the values that are not 0 became 0')
        >>> what_a_cast_lost(0, 0.1) is None
        True
    """
    if infinite:
        return "error", f"{infinite:,} finite values became infinite"
    if zeros > MOST_ZEROS:
        return "warning", f"{zeros:.0%} of the values that are not 0 became 0"
    return None
