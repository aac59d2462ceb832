"""Random signs that a weight is tried with, a byte each: four such weights fit in one's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Signs:
    """Random signs times a number; ones where numbers are integers.

    Attributes:
        signs: -1 or 1; of complex numbers, real and imaginary parts on a last axis.
        dtype: of the tensor that they stand for.
        factor: what they are multiplied by.
    """

    signs: Tensor
    dtype: torch.dtype
    factor: float = 1.0

    @property
    def shape(self) -> torch.Size:
        """The shape of that tensor."""
        return self.signs.shape[:-1] if self.dtype.is_complex else self.signs.shape

    @classmethod
    def drawn(cls, shape: Sequence[int], dtype: torch.dtype, random: torch.Generator) -> Self:
        """Draw signs; of complex numbers, 1 is the size of a whole."""
        if not (dtype.is_floating_point or dtype.is_complex):
            return cls(torch.ones(shape, dtype=torch.int8, device="cpu"), dtype)
        shape = (*shape, 2) if dtype.is_complex else shape
        signs = torch.randint(0, 2, shape, generator=random, dtype=torch.int8, device="cpu")
        return cls(signs.mul_(2).sub_(1), dtype, 0.5**0.5 if dtype.is_complex else 1.0)

    def times(self, factor: float) -> Self:
        """Return the signs times a number."""
        return replace(self, factor=self.factor * factor)

    def tensor(self, factor: float = 1.0) -> Tensor:
        """Return their numbers, times another one, in memory of their own."""
        factor = self.factor * factor
        if not self.dtype.is_complex:
            numbers = self.signs.to(self.dtype, copy=True)
            return numbers if factor == 1 else numbers.mul_(factor)
        real = torch.float64 if self.dtype == torch.complex128 else torch.float32
        return torch.view_as_complex(self.signs.to(real).mul_(factor)).to(self.dtype)

    def plus(self, other: Signs) -> Tensor:
        """Return the sum with others of their shape."""
        if self.dtype.is_complex:
            return self.tensor().add_(other.tensor())
        return self.tensor().add_(other.signs, alpha=other.factor)


def is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite, mostly without a tensor of as many answers."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())
