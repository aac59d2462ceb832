"""Matrices of parameters that are never drawn: which they are, and their products."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from goodinit._common.torch_private import without_function_modes
from goodinit.forecasting.conditional import Conditional
from goodinit.forecasting.parameter import Parameter
from goodinit.plans.rows import PlanBlock, PlanRow, needs_old
from goodinit.schemes.values import Drawn

LEAST_WIDTH = 256
"""Rows and columns that make the sums of a uniform or truncated law normal: their fourth moment is
off by less than 1 in 200."""
LEAST_CUT = 2.0
"""In sigma: a normal law that is cut closer is drawn."""


class Place(NamedTuple):
    """Which part of which matrix a tensor shows.

    Attributes:
        parameter: that it is a part of.
        number: which of its matrices: a stack has several.
        rows, columns: where in the matrix.
        transposed: whether the tensor's first axis are the columns.
    """

    parameter: Parameter
    number: int
    rows: slice
    columns: slice
    transposed: bool


@dataclass(slots=True, eq=False)
class Matrix:
    """One matrix of a parameter.

    Attributes:
        parameter: that it is a part of.
        known: what was asked of its standard normal elements.
        rows, columns: their factors, by row and by column.
        uses: how many products it was in, in the forward pass.
        vectors: of how many vectors.
        pairs: whose outer products add up to its gradient.
    """

    parameter: Parameter
    known: Conditional
    rows: Tensor
    columns: Tensor
    uses: int = 0
    vectors: int = 0
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list[tuple[Tensor, Tensor]])

    def product(self, x: Tensor, place: Place, right: bool, once: bool = False) -> Tensor:
        """Return x times a part of the matrix, or times its transpose (``right``)."""
        of, to = (place.columns, place.rows) if right else (place.rows, place.columns)
        into, out = (self.columns, self.rows) if right else (self.rows, self.columns)
        x = _widened(x, of, len(into)) * into
        result = (self.known.right(x, once=once) if right else self.known.left(x)) * out
        return result if to == slice(0, len(out)) else result[:, to].clone()

    def note(self, place: Place, d: Tensor, x: Tensor) -> None:
        """Keep a part of the gradient, d'x, as its two factors."""
        d = _widened(d, place.rows, len(self.rows))
        self.pairs.append((d, _widened(x, place.columns, len(self.columns))))

    def close(self) -> None:
        """Add the gradient's square to the parameter's, and let go of what is known."""
        if self.pairs:
            d = torch.cat([pair[0] for pair in self.pairs]).double()
            x = torch.cat([pair[1] for pair in self.pairs]).double()
            square = ((d @ d.T) * (x @ x.T)).sum().item()
            self.parameter.size = math.hypot(self.parameter.size or 0.0, math.sqrt(abs(square)))
        self.pairs = []
        self.known.forget()


def times(
    x: Tensor, one: Tensor, matrix: Matrix, place: Place, *, right: bool, once: bool
) -> Tensor:
    """Return x times a part of a matrix, or times its transpose (``right``).

    ``one`` requires a gradient if the matrix does; ``once``: nothing else is ever asked of it.
    """
    flat = x.reshape(-1, x.shape[-1])
    result = cast("Tensor", _Product.apply(flat, one, matrix, place, right, once))
    return result.reshape(*x.shape[:-1], -1)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, _: Tensor, matrix: Matrix, place: Place, right: bool, once: bool
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.rest = matrix, place, right
        return matrix.product(x, place, right, once).to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        matrix, place, right = ctx.rest
        with without_function_modes():
            if matrix.parameter.tensor.requires_grad:
                matrix.note(place, *((gradient, x) if right else (x, gradient)))
            back = None
            if ctx.needs_input_grad[0]:
                back = matrix.product(gradient, place, not right).to(x.dtype)
            if len(matrix.pairs) == matrix.uses == 1:
                matrix.close()
        return back, None, None, None, None, None


def _widened(x: Tensor, place: slice, size: int) -> Tensor:
    """Return vectors in float32, with zeros where the part of a matrix has no elements."""
    x = x.detach().float()
    if x.shape[1] == size:
        return x
    whole = x.new_zeros(len(x), size)
    whole[:, place] = x
    return whole


def why_drawn(row: PlanRow, tensor: Tensor) -> str:
    """Return why a parameter has to be drawn; "" if its products can be sampled.

    >>> from goodinit.schemes import Normal, Orthogonal
    >>> what = ("w", (300, 300), torch.float32, "Linear", "linear", "weight")
    >>> weight = torch.empty(300, 300, device="meta")
    >>> why_drawn(PlanRow(*what, Normal(0.1)), weight)
    ''
    >>> why_drawn(PlanRow(*what, Orthogonal()), weight)
    'its elements are not independent: Orthogonal()'
    """
    if needs_old(row):
        return "a part of it is kept"
    if not tensor.is_contiguous():
        return "its axes are not in order"
    for block in row.parts():
        why = _why_not_normal(row, block)
        if why:
            return why
        if not (_is_whole(block, row, -1) or _is_whole(block, row, -2)):
            return "its blocks are neither rows nor columns"
    if len({_is_whole(block, row, -1) for block in row.parts()}) > 1:
        return "some of its blocks are rows and some are columns"
    return ""


def _why_not_normal(row: PlanRow, block: PlanBlock) -> str:
    """Return why sums over a block's elements aren't those of normal numbers around 0; or ""."""
    site = row.site(block)
    if not isinstance(block.scheme, Drawn):
        return f"its elements are not independent: {block.scheme!r}"
    mean, std = block.scheme.moments(site)
    if mean:
        return f"its mean is {mean:.3g}"
    if not std:
        return ""
    law = block.scheme.law(site)
    if law.kind == "normal":
        return ""
    if min(block.shape[-2:]) < LEAST_WIDTH:
        return f"it is narrow and not normal: {block.scheme!r}"
    cut = law.kind == "truncated" and min(-law.low, law.high) < LEAST_CUT
    return f"it is cut close to its mean: {block.scheme!r}" if cut else ""


def _is_whole(block: PlanBlock, row: PlanRow, axis: int) -> bool:
    return block.box[axis] == (0, row.shape[axis])


def factors(row: PlanRow, number: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the standard deviations of one of a row's matrices, as factors by row and column."""
    *stack, height, width = row.shape
    index = [int(i) for i in torch.unravel_index(torch.tensor(number, device="cpu"), stack or (1,))]
    rows, columns = torch.ones(height, device=device), torch.ones(width, device=device)
    for block in row.parts():
        if all(a <= i < b for i, (a, b) in zip(index, block.box[:-2], strict=False)):
            _, std = block.scheme.moments(row.site(block))
            by_rows = _is_whole(block, row, -1)
            (rows if by_rows else columns)[slice(*block.box[-2 if by_rows else -1])] = std
    if not stack:
        for zero in row.zero_rows:
            rows[zero] = 0.0
    return rows, columns


def place_of(parameter: Parameter, tensor: Tensor) -> Place | None:
    """Return which part of a parameter's matrix a tensor on its memory shows; None for others."""
    base = parameter.base(tensor)
    height, width = base.shape[-2:]
    if tensor.dim() != 2 or min(tensor.shape) < 2 or tensor.dtype != base.dtype:
        return None
    transposed = tensor.stride() == (1, width)
    if not transposed and tensor.stride() != (width, 1):
        return None
    number, offset = divmod(int(tensor.storage_offset() - base.storage_offset()), height * width)
    rows, columns = reversed(tensor.shape) if transposed else tensor.shape
    top, left = divmod(offset, width)
    if top + rows > height or left + columns > width:
        return None
    return Place(parameter, number, slice(top, top + rows), slice(left, left + columns), transposed)
