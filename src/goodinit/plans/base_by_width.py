"""The base model where its width alone is given: the rows of this one, with smaller sizes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import isclose, prod

from goodinit.anatomy import Anatomy
from goodinit.anatomy.rows import Block, Facets, Row
from goodinit.errors import RecipeError
from goodinit.recipes.base import Base
from goodinit.schemes.fans import Layout


def shrunk(anatomy: Anatomy, base: Base) -> Anatomy:
    """Return the anatomy with all hidden sizes as at the base's width.

    All sizes are hidden but those of the model's inputs and outputs, of tables' rows, of kernels
    and of the experts that a router scores.

    Raises:
        RecipeError: no data flow, which shows what is hidden; a size that isn't in proportion.
    """
    assert isinstance(base.of, int)
    if anatomy.how == "module types":
        raise RecipeError(
            f"{base.rule}: base={base.of} is a width, and without a data flow it isn't known which "
            f"sizes grow with it: pass inputs=, or base=lambda: Net(width={base.of})"
        )
    width = _width(anatomy)
    share = Fraction(base.of, width)
    rows = tuple(_shrunk_row(row, share, width, base) for row in anatomy.rows)
    return replace(anatomy, rows=rows)


def _width(anatomy: Anatomy) -> int:
    """Return the width of the residual stream or, without one, the commonest of hidden sizes."""
    sizes: Counter[int] = Counter()
    for row in anatomy.rows:
        facets = row.facets
        if facets.width:
            return facets.width
        if facets.layout is not None and facets.part != "head" and not facets.layout.lookup:
            axes = facets.layout.outputs
            boxes = [block.box for block, _ in row.sites()]  # of a packed matrix, each part's size
            sizes.update({prod(box[axis][1] - box[axis][0] for axis in axes) for box in boxes})
    if not sizes:
        raise RecipeError("no weight has a hidden size: pass base=lambda: Net(width=64)")
    return sizes.most_common(1)[0][0]


def _shrunk_row(row: Row, share: Fraction, width: int, base: Base) -> Row:
    axes = _hidden_axes(row, width)
    for axis in axes:
        if (row.shape[axis] * share).denominator != 1:
            raise RecipeError(
                f"{base.rule}: {row.name} has a size of {row.shape[axis]} where the width is "
                f"{width}: at the width {base.of} it would be no whole number. Pass the base model "
                f"itself, base=lambda: Net(width={base.of})"
            )
    shape = tuple(
        int(size * share) if axis in axes else size for axis, size in enumerate(row.shape)
    )
    facets = row.facets
    layout = facets.layout
    if layout is not None and layout.groups > 1 and prod(row.shape[a] for a in layout.inputs) == 1:
        layout = replace(layout, groups=max(1, int(layout.groups * share)))  # one per channel
    blocks = tuple(_shrunk_block(block, axes, share, layout) for block in facets.blocks)
    depth = facets.depth if base.layers is None or facets.depth is None else base.layers
    beside = facets.beside
    if beside is not None and isclose(beside * width, 1.0):  # of a tied table, 1/width
        beside /= float(share)
    stream = base.of if facets.width else None  # as in the base model, where it is unknown too
    sizes = {"width": stream, "depth": depth, "beside": beside}
    small = replace(facets, layout=layout, blocks=blocks, **sizes)
    return replace(row, shape=shape, facets=small)


def _hidden_axes(row: Row, width: int) -> set[int]:
    """Return the axes whose size grows with the width."""
    facets: Facets = row.facets
    layout = facets.layout
    if layout is not None:
        inputs = () if facets.takes_input or layout.lookup else layout.inputs
        ends = facets.part == "head" or facets.kind == "router"
        outputs = () if ends and not layout.lookup else layout.outputs
        return {axis for axis in (*inputs, *outputs) if row.shape[axis] > 1}
    if facets.goes_with == "head":
        return set()
    wide = [axis for axis, size in enumerate(row.shape) if size > 1]
    return set(wide) if len(wide) == 1 else {axis for axis in wide if row.shape[axis] == width}


def _shrunk_block(block: Block, axes: set[int], share: Fraction, layout: Layout | None) -> Block:
    box = tuple(
        (int(start * share), int(stop * share)) if axis in axes else (start, stop)
        for axis, (start, stop) in enumerate(block.box)
    )
    small = replace(block, box=box)
    if layout is None or block.fan_in is None or block.fan_out is None:
        return small
    after, before = layout.fans(small.shape), layout.fans(block.shape)
    fan_in = block.fan_in * after[0] / before[0]
    return replace(small, fan_in=fan_in, fan_out=block.fan_out * after[1] / before[1])
