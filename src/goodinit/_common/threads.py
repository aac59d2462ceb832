"""Threads: what can't be cut into pieces that don't depend on their number gets one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Generator[None]:
    """Let torch compute with one thread, of its own and of LAPACK's.

    Sums and matrix decompositions are cut into as many pieces as there are threads, so that their
    last bits change with the number.

    Example:
        >>> with one_thread():
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
