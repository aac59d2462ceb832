"""The lowest numbers of each column of large matrices."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

__all__ = ["lowest"]

MANY_ROWS = 256  # from which on sorting a column is dearer than looking for its quantile


def lowest(chance: Tensor, count: int) -> Tensor:
    """Return a mask of the ``count`` lowest numbers of each column, the first of equal ones.

    Of many rows only the numbers near the quantile are sorted: three standard deviations on either
    side, so that few columns have theirs elsewhere and are sorted whole.

    Args:
        chance: float32 [matrices, rows, ...], uniform on [0, 1].
        count: from 0 to the number of rows.

    >>> lowest(torch.tensor([[[0.5], [0.1], [0.5], [0.9]]]), 2).flatten().tolist()
    [True, True, False, False]
    """
    rows = chance.shape[1]
    if rows < MANY_ROWS or not 0 < count < rows:
        return _sorted_lowest(chance, count)
    share = count / rows
    spread = 3 * math.sqrt(share * (1 - share) / rows) + 1 / rows
    mask = chance < share - spread
    near = (chance <= share + spread).logical_and_(mask.logical_not())
    wanted, found = count - mask.sum(1), near.sum(1)
    elsewhere = ((wanted < 0) | (wanted > found)).nonzero()  # one column in hundreds
    for matrix, *rest in cast("list[list[int]]", elsewhere.tolist()):
        at = (matrix, slice(None), *rest)
        mask[at] = _sorted_lowest(chance[at][None], count)[0]
        near[at] = False
        wanted[(matrix, *rest)] = found[(matrix, *rest)] = 0
    places = near.nonzero().unbind(1)
    column = places[0]
    for place, size in zip(places[2:], chance.shape[2:], strict=True):
        column = column * size + place
    # By column, then by number, whose bits are in the same order, then by row.
    order = ((column << 32) + chance[near].view(torch.int32)).argsort(stable=True)
    column, found = column[order], found.flatten()
    rank = torch.arange(len(column), device=column.device) - (found.cumsum(0) - found)[column]
    chosen = order[rank < wanted.flatten()[column]]
    mask[tuple(place[chosen] for place in places)] = True
    return mask


def _sorted_lowest(chance: Tensor, count: int) -> Tensor:
    first = chance.argsort(dim=1, stable=True)[:, :count]
    return torch.zeros_like(chance, dtype=torch.bool).scatter_(1, first, True)
