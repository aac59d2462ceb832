"""`dir()` of a public module: its names, without what it imports to define them."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def listing(names: Iterable[str]) -> Callable[[], list[str]]:
    """Return a module's ``__dir__``, which lists these names and no others.

    >>> listing(["plan", "apply_"])()
    ['apply_', 'plan']
    """
    return lambda: sorted(names)
