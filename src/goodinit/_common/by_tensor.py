"""`ByTensor`: what is known of tensors, by identity, without keeping them alive."""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


class ByTensor(Generic[T]):
    """A table by tensor. Torch's own, WeakTensorKeyDictionary, takes several times as long.

    >>> known, one = ByTensor[int](), Tensor()
    >>> known[one] = 1
    >>> known.get(one), known.get(Tensor())
    (1, None)
    """

    def __init__(self) -> None:
        # Another tensor may get the id later: the reference shows whether it is the same.
        self._known: dict[int, tuple[weakref.ref[Tensor], T]] = {}

    def __setitem__(self, tensor: Tensor, value: T) -> None:
        self._known[id(tensor)] = weakref.ref(tensor), value

    def __getitem__(self, tensor: Tensor) -> T:
        known, value = self._known[id(tensor)]
        if known() is not tensor:
            raise KeyError(tensor)
        return value

    def get(self, tensor: Tensor) -> T | None:
        """Return what is known of a tensor; None if nothing is."""
        known = self._known.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def pop(self, tensor: Tensor) -> T | None:
        """Return what is known of a tensor, and forget it."""
        found = self.get(tensor)
        self._known.pop(id(tensor), None)
        return found
