"""Units of a weight that repeat others, bit for bit, and whether values are fresh or trained."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from goodinit._common.memory import without_repeats
from goodinit.findings.clones import could_be_cloned, is_drawn, is_grown, units_repeat

COMPARED = 64  # numbers of each unit that are compared first; equal ones are then compared whole
KNOWN = 8  # units, at least, whose sizes show whether one law drew them


@torch.no_grad()
def repeats(weight: Tensor, axis: int = 0) -> tuple[int, bool] | None:
    """Return how many units along an axis repeat earlier ones, and whether these were trained.

    None if no more do than may be meant.

    >>> w = torch.arange(64.0).view(4, 16)
    >>> repeats(torch.cat([w, w]))
    (4, False)
    """
    units = _repeated_units(weight, axis)
    if units is None or not units_repeat(len(units), weight.shape[axis]):
        return None
    rows = weight.detach().movedim(axis, 0)
    first = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    first[units] = False
    return len(units), is_grown(*scatter(rows[first]))


def _repeated_units(weight: Tensor, axis: int) -> Tensor | None:
    """Return the numbers of units that repeat earlier ones, bit for bit; None or empty if none do.

    Identities, one-hot and constant rows are set on purpose, not drawn.
    """
    rows = weight.detach().movedim(axis, 0)
    if rows.shape[0] < 2 or weight.dim() < 2 or not could_be_cloned(rows[0].numel()):
        return None
    if 0 in weight.stride():  # a forecast shows one row, repeated, of a matrix that it never had
        return None
    few = rows.flatten(1)[:, :COMPARED].double()
    angles = torch.arange(1, few.shape[1] + 1, dtype=few.dtype, device=few.device)
    marks = (few * angles.cos()).sum(1)  # a matrix product may round equal rows differently
    sizes, order = marks.sort(stable=True)
    same = (sizes.diff() == 0) & (few[order[1:]] == few[order[:-1]]).all(1)
    if not bool(same.any()):
        return None
    starts = torch.where(
        torch.cat([same.new_zeros(1), same]), 0, torch.arange(len(order), device=order.device)
    )
    originals = order[starts.cummax(0).values][1:][same]
    units = order[1:][same]
    equal = (rows[units] == rows[originals]).flatten(1).all(1)
    steps = rows[units].flatten(1).float().sort(1).values.diff(dim=1)
    different = cast("list[int]", (steps.count_nonzero(1) + 1).tolist())
    equal &= torch.tensor([is_drawn(n) for n in different], device=equal.device)
    return units[equal]


@torch.no_grad()
def scatter(matrix: Tensor) -> tuple[float, int]:
    """Return how much the sizes of rows, or of columns, differ, and how many there are.

    1 is what chance makes of independent values of one law, with a standard error of sqrt(2 / n);
    training gives some units larger weights than others.

    >>> spread, rows = scatter(torch.randn(64, 64, generator=torch.manual_seed(0)))
    >>> spread < 2, rows
    (True, 64)
    """
    matrix = without_repeats(matrix.detach()).double()
    squares = matrix.reshape(matrix.shape[0], -1).square()
    mean = squares.mean()
    if min(squares.shape) < KNOWN or not mean:
        return 0.0, 0
    of_one = (squares / mean).var()  # kurtosis - 1
    found = [
        (float(squares.mean(axis).var() / mean.square() / of_one) * squares.shape[axis],
         squares.shape[1 - axis])
        for axis in (0, 1)
    ]  # fmt: skip
    return max(found, key=lambda pair: (pair[0] - 1) * math.sqrt(pair[1]))
