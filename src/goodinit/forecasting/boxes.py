"""Large parameters drawn a box of rows at a time, so that a whole one is never in memory.

A lookup takes few rows of a table, and draws these alone. A product with a large matrix is computed
box by box; that is done only where the last bits may differ from those of one large product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from goodinit._common.torch_private import transforms, without_function_modes
from goodinit.forecasting.call_arguments import RARE, arguments_by_name, place_of_padding
from goodinit.forecasting.parameter import Parameter
from goodinit.signal.parameters import norm_of
from goodinit.trace.calls import Call

LARGE = 2**24
"""Elements: a smaller parameter is drawn as a whole, at 64 MiB of float32."""
BOX = 2**22
"""Elements of a box of rows."""
FEW = 8
"""Rows are drawn one by one if the table has this many times as many."""


class Overview:
    """What the findings ask of a parameter, gathered box by box.

    Attributes:
        norm: of all that was added.
        row: the one that holds the largest number.
    """

    def __init__(self) -> None:
        self.norm = 0.0
        self.row: Tensor | None = None
        self._largest = -math.inf

    def add(self, box: Tensor) -> None:
        """Look at rows that no other box has."""
        self.norm = math.hypot(self.norm, norm_of(box))
        sizes = box.abs().amax(1)
        largest, place = float(sizes.max()), int(sizes.argmax())
        if self.row is None or (not math.isnan(self._largest) and not largest <= self._largest):
            self.row, self._largest = box[place].clone(), largest


class DrawnInBoxes(Protocol):
    """What boxes ask of `StreamedWeights`, which imports this file."""

    device: torch.device

    def large_with_rows(self, tensor: object) -> Parameter | None: ...  # noqa: D102
    def draw_rows(self, parameter: Parameter, start: int, stop: int) -> Tensor: ...  # noqa: D102
    def note_overview(self, parameter: Parameter, overview: Overview) -> None: ...  # noqa: D102
    def take(self, parameter: Parameter) -> Tensor: ...  # noqa: D102
    def value(self, tensor: Tensor) -> Tensor: ...  # noqa: D102


def looked_up(weights: DrawnInBoxes, call: Call) -> Tensor | None:
    """Return the rows of a large table that an embedding asks for; None if this isn't one.

    The rows have the bits that they have in the whole.
    """
    args = arguments_by_name(call)
    parameter, places = weights.large_with_rows(args.get("weight")), args.get("input")
    if parameter is None or not isinstance(places, Tensor) or transforms():
        return None
    if any(args.get(name) for name in RARE):
        return None
    rows = parameter.tensor.shape[0]
    with without_function_modes():
        ids, inverse = cast("tuple[Tensor, Tensor]", places.unique(return_inverse=True))
        inside = bool(((ids >= 0) & (ids < rows)).all())
        if not len(ids) or len(ids) * FEW > rows or not inside:  # torch says what is wrong
            return None
        one = weights.take(parameter)
        if parameter.weight is None:
            overview = Overview()
            for _, box in _boxes(weights, parameter):
                overview.add(box)
            weights.note_overview(parameter, overview)
        found = cast("Tensor", _Rows.apply(one, weights, parameter, ids))
        index = place_of_padding(args.get("padding_idx"), ids, rows)
        return torch.nn.functional.embedding(inverse, found, padding_idx=index)


def product_by_boxes(weights: DrawnInBoxes, call: Call) -> Tensor | None:
    """Return a product with a large matrix, computed box by box; None if this isn't one."""
    args = arguments_by_name(call)
    parameter, x = weights.large_with_rows(args.get("weight")), args.get("input")
    if parameter is None or not isinstance(x, Tensor) or transforms():
        return None
    autocast = torch.is_autocast_enabled(weights.device.type)
    if autocast or x.dtype != parameter.tensor.dtype or x.shape[-1:] != parameter.tensor.shape[1:]:
        return None
    with without_function_modes():
        x = weights.value(x)
        one = weights.take(parameter)
        flat = x.reshape(-1, x.shape[-1])
        product = cast("Tensor", _Product.apply(flat, one, weights, parameter))
        product = product.reshape(*x.shape[:-1], -1)
        bias = args.get("bias")
        return product if bias is None else product + weights.value(bias)


def _boxes(weights: DrawnInBoxes, parameter: Parameter) -> Iterator[tuple[slice, Tensor]]:
    """Yield the rows of a parameter, box by box, with their places."""
    rows, columns = parameter.tensor.shape
    step = max(1, BOX // columns)
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        yield slice(start, stop), weights.draw_rows(parameter, start, stop)


class _Rows(torch.autograd.Function):
    """Gives rows of a parameter their values; what comes back is their gradient."""

    @staticmethod
    def forward(
        ctx: Any, _: Tensor, weights: DrawnInBoxes, parameter: Parameter, ids: Tensor
    ) -> Tensor:
        ctx.rest = parameter, ids
        rows = [
            weights.draw_rows(parameter, start, stop)
            for start, stop in _runs(cast("list[int]", ids.tolist()))
        ]
        return torch.cat(rows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        parameter, ids = ctx.rest
        with without_function_modes():
            if parameter.uses > 1:
                whole = gradient.new_zeros(parameter.tensor.shape)
                parameter.add(whole.index_copy_(0, ids, gradient))
            else:
                parameter.add_norm(norm_of(gradient))
        return None, None, None, None


class _Product(torch.autograd.Function):
    """x W', with W drawn box by box, and again in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, _: Tensor, weights: DrawnInBoxes, parameter: Parameter
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.rest = weights, parameter
        out = x.new_empty(len(x), parameter.tensor.shape[0])
        overview = Overview()
        for rows, box in _boxes(weights, parameter):
            torch.mm(x, box.T, out=out[:, rows])
            overview.add(box)
        weights.note_overview(parameter, overview)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        weights, parameter = ctx.rest
        back: Tensor | None = None
        with without_function_modes():
            if ctx.needs_input_grad[0]:
                back = torch.zeros_like(x)
                for rows, box in _boxes(weights, parameter):
                    back.addmm_(gradient[:, rows], box)
            if parameter.tensor.requires_grad:
                _add_outer(parameter, gradient, x)
        return back, None, None, None


def _add_outer(parameter: Parameter, gradient: Tensor, x: Tensor) -> None:
    """Add d'x to a parameter's gradient, or its norm if the parameter is used once."""
    if parameter.uses > 1:
        parameter.add(gradient.T @ x)
        return
    step = max(1, BOX // x.shape[1])
    norms = [norm_of(gradient[:, at : at + step].T @ x) for at in range(0, gradient.shape[1], step)]
    parameter.add_norm(math.hypot(*norms))


def _runs(ids: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the bounds of runs of consecutive numbers in a sorted list.

    >>> list(_runs([2, 3, 4, 9]))
    [(2, 5), (9, 10)]
    """
    start = last = ids[0]
    for number in ids[1:]:
        if number != last + 1:
            yield start, last + 1
            start = number
        last = number
    yield start, last + 1
