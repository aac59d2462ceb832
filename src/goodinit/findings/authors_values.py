"""GI119: parameters that keep the value that their class gave them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def what_is_kept(kind: str, frozen: bool) -> str:
    """Return the word for a parameter that is kept.

    >>> what_is_kept("scale", frozen=False), what_is_kept("linear", frozen=True)
    ('scale', 'frozen parameter')
    """
    if frozen:
        return "frozen parameter"
    return "scale" if kind == "scale" else "parameter"


def keeps_authors_values(kept: Iterable[str]) -> str:
    """Return the cause: how many of each there are, the commonest first.

    >>> keeps_authors_values(["scale"] * 12)
    '12 scales keep the value that their class gave them'
    >>> keeps_authors_values(["frozen parameter", "scale", "frozen parameter"])
    '2 frozen parameters and 1 scale keep the value that their class gave them'
    """
    parts = [f"{n} {what}{'s' * (n > 1)}" for what, n in Counter(kept).most_common()]
    *most, last = parts
    subject = f"{', '.join(most)} and {last}" if most else last
    if parts == [last] and last.startswith("1 "):
        return f"{subject} keeps the value that its class gave it"
    return f"{subject} keep the value that their class gave them"


def authors_values_are_lost(number: int) -> str:
    """Return the cause where such parameters are on meta, where nothing has a value.

    >>> authors_values_are_lost(1)
    '1 parameter on meta has lost the value that its class computes'
    """
    if number == 1:
        return "1 parameter on meta has lost the value that its class computes"
    return f"{number} parameters on meta have lost the values that their classes compute"
