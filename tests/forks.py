"""Code in a process of its own that has torch already: what it changes ends with it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

import pytest

# Python 3.12 and newer say so where pytest-xdist has threads; a child that ends itself is fine.
MAY_FORK = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def in_a_fork(function: Callable[[], object]) -> None:
    """Call a function in a forked process; what it raises there fails the test here."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as sent:
        text = sent.read()
    status = os.waitpid(child, 0)[1]
    if status:
        pytest.fail(text or f"the process ended with status {status}", pytrace=False)
