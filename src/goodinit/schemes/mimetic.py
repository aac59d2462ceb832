"""Attention's four matrices drawn together: W_q W_k^T near the identity, W_v W_o near minus it.

Trockman & Kolter 2023 (2305.09828), section 3: of each head, W_q W_k^T = alpha Z + beta I, cut to
its largest singular values, and W_v W_o = alpha Z - beta I, with Z from N(0, 1/d). Each matrix of a
pair gets the singular vectors of its side, times the roots of the singular values.
"""

# Methods that implement those of Scheme are documented there and have its arguments.
# ruff: noqa: D102

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from goodinit._common.threads import one_thread
from goodinit.errors import SchemeError
from goodinit.schemes import fields
from goodinit.schemes.fans import Site
from goodinit.schemes.scheme import Draw, FromValues
from goodinit.streams import Law

ROLES = ("q", "k", "v", "out")


@dataclass(frozen=True, repr=False)
class Mimetic(FromValues):
    """One of attention's four matrices, computed from numbers that it shares with the other three.

    Args:
        role: "q", "k", "v" or "out".
        head_dim: channels of a head.
        alpha: how large the random part is.
        beta: how large the identity is; "v" and "out" have minus it.
        attention: the module whose matrices they are: those of one share their numbers.

    Raises:
        SchemeError: another role, a number that isn't finite; (when planned) a matrix that isn't
            square, or whose size isn't a multiple of ``head_dim``.
    """

    no_factor = "{} is half of a product: no factor fits"

    role: str
    head_dim: int = 64
    alpha: float = 0.7
    beta: float = 0.7
    attention: str = ""

    def __post_init__(self) -> None:
        fields.check_choice(self, "role", ROLES)
        fields.check_count(self, "head_dim")
        for name in ("alpha", "beta"):
            fields.set_float(self, name)

    def check(self, site: Site) -> None:
        self._is_reversed(site)

    @torch.no_grad()
    def fill_(self, out: Tensor, draw: Draw, site: Site) -> None:
        matrix = out.mT if self._is_reversed(site) else out  # [out, in]
        size, head = matrix.shape[0], self.head_dim
        if self.role in ("v", "out"):
            u, s, vh = self._decomposed(size, -self.beta, "value", draw)
            half = (u * s.sqrt()).mT if self.role == "v" else vh.mT * s.sqrt()
            matrix.copy_(half)
            return
        for start in range(0, size, head):
            u, s, vh = self._decomposed(size, self.beta, f"head {start // head}", draw)
            half = u.mT if self.role == "q" else vh
            matrix[start : start + head].copy_(half[:head] * s[:head, None].sqrt())

    def _decomposed(
        self, size: int, beta: float, purpose: str, draw: Draw
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the decomposition of alpha Z + beta I."""
        product = torch.empty(size, size, device="cpu")
        draw(product, Law.normal(0.0, size**-0.5), purpose)
        product = self.alpha * product + beta * torch.eye(size, device="cpu")
        with one_thread():  # the signs of singular vectors are the same for both halves
            return cast("tuple[Tensor, Tensor, Tensor]", torch.linalg.svd(product))

    def _is_reversed(self, site: Site) -> bool:
        layout, shape = site.layout, tuple(site.shape)
        if layout is None or len(shape) != 2 or shape[0] != shape[1] or shape[0] % self.head_dim:
            raise SchemeError(
                f"{self.role} of attention is square and of whole heads of {self.head_dim} here, "
                f"and this has shape {shape}: pass head_dim=, or another recipe"
            )
        return layout.outputs == (1,)
