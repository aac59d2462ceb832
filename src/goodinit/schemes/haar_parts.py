"""A part of a random orthogonal matrix, with no second matrix in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from goodinit.schemes.fans import Layout, Site
from goodinit.schemes.haar import haar_box_
from goodinit.schemes.scheme import BoxDraw, Draw
from goodinit.streams import Law
from goodinit.streams.part import Box


def gauss_like(out: Tensor, draw: Draw, layout: Layout) -> Tensor:
    """Return N(0, 1) numbers, float32, as a view unfolded like the weight.

    They are drawn in the weight's own shape, so that each number belongs to an element.
    """
    numbers = torch.empty(out.shape, dtype=torch.float32, device=out.device)
    draw(numbers, Law.normal(0.0, 1.0))
    return layout.unfold(numbers)


@torch.no_grad()
def fill_matrix_part_(
    out: Tensor, draw: BoxDraw, site: Site, needed: Box, box: Box, gain: float
) -> bool:
    """Write a box of one orthogonal matrix, times ``gain``; return whether it is one of two axes.

    ``needed`` is the matrix's box in the parameter, and ``box`` what is written of it, to ``out``.
    """
    layout = site.layout
    assert layout is not None  # it has been checked to be a matrix
    axes = (*layout.outputs, *layout.inputs)
    if len(axes) != 2 or any(size > 1 for n, size in enumerate(site.shape) if n not in axes):
        return False
    gauss = torch.empty(site.shape, dtype=torch.float32, device=out.device)
    draw(gauss, Law.normal(0.0, 1.0), box=needed)
    others = [axis for axis in range(len(site.shape)) if axis not in axes]  # of one index
    matrix, held = (
        tensor.permute(*axes, *others)[(slice(None), slice(None), *(0,) * len(others))]
        for tensor in (gauss, out)
    )
    ends = ((box[n], needed[n][0]) for n in axes)
    rows, columns = (slice(start - first, stop - first) for (start, stop), first in ends)
    haar_box_(held, matrix, rows, columns, gain)
    return True
