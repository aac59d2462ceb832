"""Tensors of torch.distributed that processes share; that package isn't imported."""

from __future__ import annotations

from torch import Tensor, nn

_PLAIN = (Tensor, nn.Parameter)


def is_dtensor(tensor: Tensor) -> bool:
    """Return whether a tensor is a DTensor, by its class's name.

    >>> import torch
    >>> is_dtensor(torch.ones(2))
    False
    """
    kind = type(tensor)
    return kind not in _PLAIN and any(base.__name__ == "DTensor" for base in kind.__mro__)
