"""NF4, the 4-bit numbers of QLoRA: blocks of 64, each with its largest absolute value.

Dettmers et al. 2023 (2305.14314), appendix E, has the table; bitsandbytes computes the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 64
NUMBERS = (
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
)
"""Quantiles of the standard normal law, scaled to [-1, 1]."""


def nf4(weight: Tensor) -> Tensor:
    """Return the values that a float32 tensor has after it was stored as NF4.

    >>> nf4(torch.tensor([2.0, 1.0, -0.3, 0.0])).tolist()
    [2.0, 0.8814196586608887, -0.3695468604564667, 0.0]
    """
    flat = torch.nn.functional.pad(weight.flatten(), (0, -weight.numel() % BLOCK)).view(-1, BLOCK)
    largest = flat.abs().amax(1, keepdim=True)
    numbers = torch.tensor(NUMBERS, device=weight.device)
    scaled = flat / largest.where(largest > 0, 1.0)
    nearest = torch.bucketize(scaled, (numbers[1:] + numbers[:-1]) / 2)
    return (numbers[nearest] * largest).flatten()[: weight.numel()].view(weight.shape)
