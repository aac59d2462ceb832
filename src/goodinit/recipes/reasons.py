"""Why the library leaves a parameter as its constructor made it; plans count these reasons."""

from __future__ import annotations

__all__ = ["BENT", "NOTHING_KNOWN", "NO_LAW", "WHY_LEFT"]

NOTHING_KNOWN = "nothing is known of it"
NO_LAW = "torch has no law of its own for it"
BENT = "goes through a function first: where it is neutral isn't known"
WHY_LEFT = (NOTHING_KNOWN, NO_LAW, BENT)
"""How the reasons begin for which the library leaves a parameter as its constructor made it."""
