"""Sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def only(items: Sequence[Item]) -> Item | None:
    """Return the one item of a sequence; None if it has none or several.

    >>> only([5]), only([]), only([5, 5])
    (5, None, None)
    """
    if len(items) != 1:
        return None
    (item,) = items
    return item
