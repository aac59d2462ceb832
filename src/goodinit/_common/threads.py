"""Run code single-threaded where its result would depend on the thread count."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

_LOCK = threading.Lock()


@contextmanager
def one_thread() -> Generator[None]:
    """Let torch, and LAPACK, compute with one thread for the calling thread alone.

    Sums and matrix decompositions are split by the number of threads, so the last bits of their
    results depend on it. Workers started inside need ``use_one_thread`` as their initializer.

    Example:
        >>> with one_thread():
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    use_one_thread()
    try:
        yield
    finally:
        if before != 1:
            _set_own_number(before)


def use_one_thread() -> None:
    """Let torch compute with one thread for the calling thread from now on."""
    if torch.get_num_threads() != 1:
        _set_own_number(1)


def _set_own_number(number: int) -> None:
    """Set the calling thread's number of threads and no other's.

    ``torch.set_num_threads`` sets it for the calling thread and for all that use torch for the
    first time later, for good. A second thread takes the latter back.
    """
    with _LOCK, ThreadPoolExecutor(1) as other:
        later = other.submit(torch.get_num_threads).result()
        torch.set_num_threads(number)
        other.submit(torch.set_num_threads, later).result()
