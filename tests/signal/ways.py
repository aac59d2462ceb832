"""What the tests of measuring share: numbers, a loss, and the three ways to run a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import goodinit as gi


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def squared(out: Any) -> Tensor:
    return out.float().square().sum()


WAYS: dict[str, Callable[[nn.Module, Any], object]] = {
    "measure": gi.measure,
    "independence": lambda model, inputs: gi.theory.independence(model, inputs, squared, redraws=2),
    "jacobian": gi.theory.jacobian_spectrum,
}
