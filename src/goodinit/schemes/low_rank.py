"""Low-rank adapters, W x + s B A x, whose values are computed together: A, B and W - s B A.

They are computed from the values that W holds when a plan is applied, as PEFT computes them
(peft tuners/lora/layer.py, eva.py, corda.py, utils/loftq_utils.py):

pissa       A = diag(sqrt(S/s)) V^T and B = U diag(sqrt(S/s)) of the r largest singular values of W
            (Meng et al. 2024, 2404.02948)
olora       B = Q and A = R, the first r columns and rows of W = Q R (Büyükakyüz 2024, 2406.01775)
orthogonal  A and B drawn, with B A = 0: W stays as it is
loftq       W becomes its NF4 values, and B A, as in pissa, of what W lost by that (Li et al. 2023,
            2310.08659). PEFT leaves s out, which fits s = 1 alone
eva         A = the r directions in which W's inputs vary most, on a batch; B = 0 (Paischer et al.
            2024, 2410.07170)
corda       A = diag(sqrt(S/s)) V^T C^-1 and B = U diag(sqrt(S/s)) of the r largest singular values
            of W C, where C is E[x x^T] of W's inputs on a batch; corda_kpm takes the r smallest
            (Yang et al. 2024, 2406.05223)
"""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: ARG002, D102

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from goodinit.errors import SchemeError
from goodinit.schemes import fields
from goodinit.schemes.fans import Site
from goodinit.schemes.nf4 import nf4
from goodinit.schemes.scheme import Draw, FromValues
from goodinit.streams import Law

ROLES = ("base", "in", "out")
WRITES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("pissa", "olora", "loftq", "corda", "corda_kpm"), ROLES),
    "orthogonal": ("in", "out"),
    "eva": ("in",),
}
"""Method -> the roles of the tensors that it writes."""
METHODS = tuple(WRITES)
FROM_BATCH = frozenset(("eva", "corda", "corda_kpm"))
SMALL = 0.1  # PEFT's factor for each of the two orthogonal matrices
DAMPING = 0.01  # of E[x x^T], relative to the mean of its diagonal, as in PEFT's CorDA
FLAT = 1e-12  # a share of the inputs' size that is rounding: 1e-6 squared, in float32


@dataclass(frozen=True, repr=False)
class LowRank(FromValues):
    """One of the three tensors of W x + s B A x, computed together with the other two.

    Args:
        method: one of ``METHODS``.
        role: "in" for A, "out" for B, "base" for W, which becomes W - s B A.
        base: name of W.
        down: name of A.
        up: name of B.
        factor: s.
        steps: of loftq, which quantizes and decomposes in turn.

    Raises:
        SchemeError: a method or role that isn't known, a factor that is 0 or not finite, or fewer
            steps than one.
    """

    no_factor = "an adapter's values follow from its base weight: no factor fits"

    method: str
    role: str
    base: str
    down: str
    up: str
    factor: float = 1.0
    steps: int = 1

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
        fields.check_count(self, "steps")

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
    return _halves(u[:, :rank], s[:rank], vh[:rank], factor)


def loftq(
    weight: Tensor, rank: int, factor: float, steps: int, stored: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return A, B and the quantized W of a weight [out, in].

    Args:
        weight: float32.
        rank: of A and B.
        factor: s.
        steps: how often W - s B A is quantized.
        stored: turns [out, in] into what is stored and back: NF4 has blocks along memory.
    """
    left, a, b, quantized = weight, weight, weight, weight
    for _ in range(steps):
        quantized = stored(nf4(stored(left)))
        a, b = factors("pissa", weight - quantized, rank, factor)
        left = weight - factor * b @ a
    return a, b, quantized


def from_batch(
    method: str, weight: Tensor, inputs: InputMoments, rank: int, factor: float
) -> tuple[Tensor, Tensor]:
    """Return A and B of a weight [out, in] by what its inputs were on a batch, float32."""
    if method == "eva":
        return _eva(weight, inputs, rank)
    second = inputs.second / inputs.count
    size = second.shape[0]
    eye = torch.eye(size, dtype=second.dtype, device=second.device)
    second = second + DAMPING * second.diagonal().mean() * eye
    u, s, vh = cast("_Svd", torch.linalg.svd(weight.double() @ second, full_matrices=False))
    part = slice(len(s) - rank, None) if method == "corda_kpm" else slice(rank)
    a, b = _halves(u[:, part], s[part], vh[part], factor)
    return cast("Tensor", torch.linalg.solve(second, a, left=False)).float(), b.float()


def _eva(weight: Tensor, inputs: InputMoments, rank: int) -> tuple[Tensor, Tensor]:
    mean = inputs.total / inputs.count
    variance, directions = cast(
        "tuple[Tensor, Tensor]",
        torch.linalg.eigh(inputs.second / inputs.count - mean.outer(mean)),
    )
    known = int((variance > FLAT * inputs.second.diagonal().sum() / inputs.count).sum())
    if known < rank:
        raise SchemeError(
            f"on this batch its inputs vary in {known} directions, and the adapter has rank {rank}"
        )
    a = directions[:, -rank:].flip(1).T
    largest = a.gather(1, a.abs().argmax(1, keepdim=True))
    a = a * largest.sign()  # as PEFT: else a direction's sign is chance
    return a.float().contiguous(), weight.new_zeros(weight.shape[0], rank, dtype=torch.float32)


@dataclass(frozen=True, slots=True)
class InputMoments:
    """Sums over the vectors that a weight multiplies, in float64.

    Attributes:
        second: the sum of x x^T.
        total: the sum of x.
        count: how many there were.
    """

    second: Tensor
    total: Tensor
    count: int


def _halves(u: Tensor, s: Tensor, vh: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """Return A and B with s B A = U diag(S) V^T."""
    roots = torch.diag((s / abs(factor)).sqrt())
    return roots @ vh, math.copysign(1.0, factor) * u @ roots


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
