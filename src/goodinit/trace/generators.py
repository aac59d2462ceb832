"""Generators of random numbers that modules keep on themselves."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

__all__ = ["generators_restored"]


@contextmanager
def generators_restored(values: Iterable[object]) -> Generator[None]:
    """Put back the state of each value that is a generator: torch's, Python's or numpy's."""
    restorers = [restore for value in values if (restore := _restorer(value)) is not None]
    try:
        yield
    finally:
        for restore in restorers:
            restore()


def _restorer(value: object) -> Callable[[], object] | None:
    """Return a function that restores the state; None if the value is no generator."""
    numpy: Any = sys.modules.get("numpy")
    kept: Any = value
    if isinstance(value, torch.Generator):
        return partial(value.set_state, value.get_state())
    if isinstance(value, random.SystemRandom):
        return None  # it has no state
    if isinstance(value, random.Random):
        return partial(value.setstate, value.getstate())
    if numpy and isinstance(value, numpy.random.RandomState):
        return partial(kept.set_state, kept.get_state())
    if numpy and isinstance(value, numpy.random.Generator):
        return partial(setattr, kept.bit_generator, "state", kept.bit_generator.state)
    return None
