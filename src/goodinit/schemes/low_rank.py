"""Low-rank adapters, W x + s B A x, whose values are computed together: A, B and W - s B A.

They are computed from the values that W holds when a plan is applied, as PEFT computes them
(peft tuners/lora/layer.py), in float32:

pissa       A = diag(sqrt(S/s)) V^T and B = U diag(sqrt(S/s)) of the r largest singular values of W
            (Meng et al. 2024, 2404.02948)
olora       B = Q and A = R, the first r columns and rows of W = Q R (Büyükakyüz 2024, 2406.01775)
orthogonal  A and B drawn, with B A = 0: W stays as it is
"""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from goodinit.errors import SchemeError
from goodinit.schemes import fields
from goodinit.schemes.fans import Site
from goodinit.schemes.scheme import Draw, FromValues
from goodinit.streams import Law

METHODS = ("pissa", "olora", "orthogonal")
ROLES = ("base", "in", "out")
SMALL = 0.1  # PEFT's factor for each of the two orthogonal matrices


@dataclass(frozen=True, repr=False)
class LowRank(FromValues):
    """One of the three tensors of W x + s B A x, computed together with the other two.

    Args:
        method: "pissa", "olora" or "orthogonal".
        role: "in" for A, "out" for B, "base" for W, which becomes W - s B A.
        base: name of W.
        down: name of A.
        up: name of B.
        factor: s.

    Raises:
        SchemeError: a method or role that isn't known, or a factor that is 0 or not finite.
    """

    no_factor = "an adapter's values follow from its base weight: no factor fits"

    method: str
    role: str
    base: str
    down: str
    up: str
    factor: float = 1.0

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("role", ROLES)):
            if getattr(self, name) not in known:
                fix = f"{name} is one of {', '.join(known)}"
                fields.refuse(self, name, getattr(self, name), fix)
        for name in ("base", "down", "up"):
            if not isinstance(getattr(self, name), str):
                fields.refuse(self, name, getattr(self, name), f"{name} must be a parameter's name")
        fields.set_float(self, "factor")
        if self.factor == 0:
            fields.refuse(self, "factor", self.factor, "an adapter that is multiplied by 0 is none")

    def __repr__(self) -> str:
        return f"LowRank({self.method!r}, {self.role!r}, ...)"  # the row's why has the names

    @property
    def triple(self) -> tuple[str, str, str]:
        """The names of W, A and B."""
        return self.base, self.down, self.up

    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        raise SchemeError(f"{self!r} is computed from {self.base}: gi.init_(model, ...) has it")

    def check(self, site: Site) -> None:
        if len(site.shape) != 2:
            raise SchemeError(
                f"{self.method} is for matrices, and this has shape {tuple(site.shape)}"
            )


def factors(method: str, weight: Tensor, rank: int, factor: float) -> tuple[Tensor, Tensor]:
    """Return A and B of a weight [out, in], float32, as PEFT computes them.

    >>> weight = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    >>> a, b = factors("pissa", weight, 1, factor=2.0)
    >>> torch.allclose(2.0 * b @ a, torch.diag(torch.tensor([3.0, 0.0, 0.0])))
    True
    """
    if method == "olora":
        q, r = _qr(weight)
        return r[:rank].contiguous(), q[:, :rank].contiguous()
    u, s, vh = cast("_Svd", torch.linalg.svd(weight, full_matrices=False))
    roots = torch.diag((s[:rank] / abs(factor)).sqrt())
    return roots @ vh[:rank], math.copysign(1.0, factor) * u[:, :rank] @ roots


_Svd = tuple[Tensor, Tensor, Tensor]


def _qr(matrix: Tensor) -> tuple[Tensor, Tensor]:
    return cast("tuple[Tensor, Tensor]", torch.linalg.qr(matrix))


def draw_orthogonal(shape: tuple[int, int], rank: int, draw: Draw) -> tuple[Tensor, Tensor]:
    """Return A and B with B A = 0: their rows of length r lie in orthogonal halves of the space."""
    half = rank // 2

    def normal(rows: int, columns: int, purpose: str) -> Tensor:
        out = torch.empty(rows, columns, device="cpu")
        draw(out, Law.normal(0.0, 1.0), purpose)
        return out

    mixed, _ = _qr(normal(rank, rank, "mix"))
    down = (normal(shape[1], half, "in") @ mixed[0::2]).T * SMALL
    up = normal(half, shape[0], "out").T @ mixed[1::2] * SMALL
    return down.contiguous(), up.contiguous()
