"""Reasons for which the library leaves a parameter unchanged; plans report them.

Where nothing is known, or no law, as GI117; where the value is the class's own, as GI119.
"""

from __future__ import annotations

NOTHING_KNOWN = "nothing is known of it"
NO_LAW = "torch has no law of its own for it"
BEHIND_FUNCTION = "goes through a function first: where it is neutral isn't known"
WHY_LEFT = (NOTHING_KNOWN, NO_LAW, BEHIND_FUNCTION)
"""The beginnings of all of these reasons."""

KEEPS = "keeps "
"""How each reason begins that says that the value is the class's own."""
OWN_VALUES = "keeps the values that its class gave it"
