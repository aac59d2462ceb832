"""Reasons for which the library leaves a parameter unchanged; plans report them as GI117."""

from __future__ import annotations

__all__ = ["BEHIND_FUNCTION", "NOTHING_KNOWN", "NO_LAW", "WHY_LEFT"]

NOTHING_KNOWN = "nothing is known of it"
NO_LAW = "torch has no law of its own for it"
BEHIND_FUNCTION = "goes through a function first: where it is neutral isn't known"
WHY_LEFT = (NOTHING_KNOWN, NO_LAW, BEHIND_FUNCTION)
"""The beginnings of all of these reasons."""
