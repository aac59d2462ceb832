"""The fixture: the assertion of goodinit.testing, with torch seeded."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.pytest_plugin import assert_healthy

__all__ = ["assert_healthy"]  # a fixture of this file's tests


def deep(recipe: str) -> nn.Module:
    net = nn.Sequential(*[part for _ in range(20) for part in (nn.Linear(32, 32), nn.ReLU())])
    gi.init_(net, recipe)
    return net


def test_it_passes_and_fails_as_the_function(assert_healthy: Callable[..., None]) -> None:
    x = torch.randn(16, 32)
    assert torch.equal(x, torch.randn(16, 32, generator=torch.Generator().manual_seed(0)))
    assert_healthy(deep("he"), x)
    with pytest.raises(AssertionError, match=r"warning: .*: the signal vanishes: .*\[GI102\]"):
        assert_healthy(deep("xavier"), x)
