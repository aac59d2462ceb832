"""One thread, so that a busy machine doesn't slow these tests; a test of its own tries several."""

import re
from collections.abc import Iterator

import pytest
import torch

from .laws import OLDER


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def torch_is_new_enough(request: pytest.FixtureRequest) -> None:
    own = tuple(int(number) for number in torch.__version__.split(".")[:2])
    for version, names, difference in OLDER:
        if own < version and re.search(names, request.node.name):
            pytest.skip(f"torch {torch.__version__}: {difference}")
