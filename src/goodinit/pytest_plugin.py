"""A fixture for pytest: ``pytest_plugins = ["goodinit.pytest_plugin"]`` in a ``conftest.py``.

It isn't an entry point: that would import torch in every test session on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from goodinit import testing


@pytest.fixture
def assert_healthy() -> Iterator[Callable[..., None]]:
    """Return ``goodinit.testing.assert_healthy``, with torch seeded while the test runs.

    The test draws the same weights and inputs each time, whatever ran before it; torch's random
    state is restored afterwards.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield testing.assert_healthy
