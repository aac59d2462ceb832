"""Functions of a higher room, for methods that open it: ``signal.to_html()``, ``recipe.each``."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def late(place: str) -> Any:
    """Return a function by its module and name, imported when it is asked for.

    Imports run downward. A method that hands its object to a higher room is the only exception,
    and each one is listed in tests/test_house.py.

    >>> late("goodinit._common.late:late") is late
    True
    """
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
