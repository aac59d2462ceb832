"""What tests of verdicts make networks of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Calls(nn.Module):
    """A model from its parts and a function of them and of the inputs; tensors are buffers."""

    def __init__(self, run: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, *args: Any) -> Any:
        return self.run(self, *args)


def zeroed(layer: nn.Module) -> nn.Module:
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


def constant(layer: nn.Module, value: float = 0.1) -> nn.Module:
    """Fill weights with one number, and biases with 0."""
    for p in layer.parameters():
        nn.init.constant_(p, value if p.dim() > 1 else 0.0)
    return layer


def shifted(layer: nn.Module, bias: float) -> nn.Module:
    nn.init.constant_(layer.bias, bias)
    return layer


def linears(count: int, inputs: int, outputs: int, std: float) -> nn.ModuleList:
    made = nn.ModuleList(nn.Linear(inputs, outputs) for _ in range(count))
    for layer in made:
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
    return made


def tensors(count: int, std: float, *shape: int) -> list[Tensor]:
    return [std * torch.randn(*shape) for _ in range(count)]
