"""`Conditional`: products with a random matrix that is never drawn.

W [m, n] has independent standard normal elements. All that is known of it is what was asked:
Q, orthonormal rows that span the vectors x of the products W x, with Z = Q W'; and P, which spans
the vectors d of the products d W, with V = P W (I - Q'Q). Given these, W has the law of

    W Q'Q + P'P W (I - Q'Q) + (I - P'P) W~ (I - Q'Q)

with W~ fresh and of W's own law, since projections of normal numbers on orthogonal directions are
independent. A product asks for what its vectors add to Q or P, so a weight that is used several
times, or in both directions as in a backward pass, gives what one drawn matrix gives, in law.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

LEAST_PART = 1e-3
"""The share of a vector's length from which what is new in it counts as a direction of its own. A
smaller part may be rounding, and a second moment misses 1e-6 of it."""


class Conditional:
    """A matrix of independent standard normal elements, known by its products only.

    Args:
        rows: m.
        columns: n.
        normal: returns fresh standard normal numbers of a shape.
        device: where the numbers are.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> w = Conditional(500, 300, lambda *shape: torch.randn(shape, generator=generator))
        >>> x = torch.ones(1, 300)
        >>> y = w.right(x)
        >>> torch.allclose(w.right(2 * x), 2 * y), round(y.square().mean().item() / 300, 1)
        (True, 1.0)
        >>> d = torch.ones(1, 500)
        >>> torch.allclose(w.left(d) @ x.t(), d @ y.t(), rtol=1e-4)
        True
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        normal: Callable[[int, int], Tensor],
        device: torch.device | str = "cpu",
    ) -> None:
        self._normal = normal
        self._rows, self._columns = rows, columns
        self._device = device
        self.forget()

    def forget(self) -> None:
        """Let go of what is known."""
        self._q = self._v = torch.zeros(0, self._columns, device=self._device)
        self._z = self._p = torch.zeros(0, self._rows, device=self._device)

    def right(self, x: Tensor, *, once: bool = False) -> Tensor:
        """Return x W' for x [t, n]; ``once``: nothing else is ever asked of W."""
        if not x.isfinite().all():
            return x.new_full((len(x), self._rows), math.nan)
        sizes = _lengths(x)
        product = x.new_zeros(len(x), self._rows)
        for _ in range(2 if len(self._q) else 0):  # twice is enough for orthogonality
            known = x @ self._q.T
            product, x = product + known @ self._z, x - known @ self._q
        found = _basis(x, sizes, directions=not once)
        if found is None:
            return product
        factors, new = found
        fresh = self._normal(factors.shape[1], self._rows)
        if new is None:
            return product + factors @ fresh
        if len(self._p):
            fresh = fresh - (fresh @ self._p.T) @ self._p + (new @ self._v.T) @ self._p
            self._v = self._v - (self._v @ new.T) @ new
        self._q, self._z = torch.cat([self._q, new]), torch.cat([self._z, fresh])
        return product + factors @ fresh

    def left(self, d: Tensor) -> Tensor:
        """Return d W for d [t, m]."""
        if not d.isfinite().all():
            return d.new_full((len(d), self._columns), math.nan)
        sizes = _lengths(d)
        product = (d @ self._z.T) @ self._q
        for _ in range(2 if len(self._p) else 0):
            known = d @ self._p.T
            product, d = product + known @ self._v, d - known @ self._p
        found = _basis(d, sizes)
        if found is None:
            return product
        factors, new = found
        assert new is not None
        fresh = self._normal(len(new), self._columns)
        fresh = fresh - (fresh @ self._q.T) @ self._q
        self._p, self._v = torch.cat([self._p, new]), torch.cat([self._v, fresh])
        return product + factors @ fresh


def _lengths(x: Tensor) -> Tensor:
    return cast("Tensor", torch.linalg.vector_norm(x.double(), dim=1, keepdim=True))


def _basis(
    x: Tensor, sizes: Tensor, directions: bool = True
) -> tuple[Tensor, Tensor | None] | None:
    """Return (L, Q) with x = L Q and orthonormal rows of Q; None if nothing in x is new.

    x is what is left of vectors after a projection; ``sizes`` are their lengths before, which say
    what counts as left.
    """
    unit = torch.where(sizes > 0, x.double() / sizes, 0.0)
    squares, axes = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(unit @ unit.T))
    kept = squares > LEAST_PART**2
    if not kept.any():
        return None
    lengths, axes = squares[kept].sqrt(), axes[:, kept]
    new = ((axes / lengths).T @ unit).to(x.dtype) if directions else None
    return (sizes * axes * lengths).to(x.dtype), new
