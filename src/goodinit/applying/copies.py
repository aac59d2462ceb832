"""Copies of models, to try something on."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def copy_of(model: nn.Module) -> nn.Module:
    """Return a deep copy that shares no memory with the model.

    A tensor with a history, as the hooks of ``weight_norm`` keep one, is copied without it.

    Raises:
        Exception: whatever the model raises that can't be copied.
        ValueError: the copy shares memory with the model.
    """
    memo: dict[int, object] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    copied = copy.deepcopy(model, memo)
    if _memory(copied).keys() & _memory(model).keys():
        raise ValueError("its copy shares memory with it")
    return copied


def bytes_of(model: nn.Module) -> int:
    """Return how many bytes a copy takes.

    >>> net = nn.Linear(4, 4, bias=False)
    >>> bytes_of(nn.Sequential(net, net))
    64
    """
    return sum(_memory(model).values())


def _memory(model: nn.Module) -> dict[int, int]:
    """Return the address and the size of the memory of each parameter and buffer."""
    found: dict[int, int] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.layout is torch.strided and not tensor.is_meta and tensor.numel():
            storage = tensor.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return found
