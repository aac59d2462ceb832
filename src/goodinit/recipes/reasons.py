"""Reasons for which the library leaves a parameter unchanged; plans report them.

Where nothing is known, or no law, as GI117; where the value is the class's own, as GI119.
"""

from __future__ import annotations

NOTHING_KNOWN = "nothing is known about it"
NO_LAW = "torch has no law of its own for it"
BEHIND_FUNCTION = "goes through a function first: where it is neutral isn't known"
THROUGH = "goes through "
WHY_LEFT = (NOTHING_KNOWN, NO_LAW, THROUGH)
"""The beginnings of all of these reasons."""


def after_function(evidence: str) -> str:
    """Return why a parameter that is used through a function is left: "exp(p)".

    >>> after_function("exp(p)")
    'goes through exp first, and the right scale after it is not known'
    >>> after_function("x * p")
    'nothing is known about it'
    """
    function, _, rest = evidence.partition("(")
    if rest != "p)":
        return NOTHING_KNOWN
    return f"{THROUGH}{function} first, and the right scale after it is not known"


KEEPS = "keeps "
"""How each reason begins that says that the value is the class's own."""
OWN_VALUES = "keeps the values that its class gave it"
