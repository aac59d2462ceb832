"""Parameters that are larger than in the checkpoint: which part is kept, and which is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from goodinit._common.text import several
from goodinit.anatomy.rows import Box, Row
from goodinit.errors import RecipeError
from goodinit.plans.rows import PlanBlock
from goodinit.schemes import AddNoise, Keep

__all__ = ["Growth", "find_growth", "grow_blocks"]


@dataclass(frozen=True, slots=True)
class Growth:
    """What a checkpoint holds of a parameter that is larger.

    Attributes:
        shape: the shape there: the corner of the parameter that is kept; or, for ``copies``,
            the shape of each of the stacked matrices.
        copies: whether each of the stacked matrices is a copy of the checkpoint's only one.
        std: standard deviation of the values there; None if there are no values.
    """

    shape: tuple[int, ...]
    copies: bool
    std: float | None = None


def find_growth(row: Row, old: tuple[int, ...]) -> Growth | None:
    """Return how a row has grown from an older shape; None if it has that shape.

    Raises:
        RecipeError: it can't have grown from that shape.
    """
    if old == row.shape:
        return None
    if old and old == row.shape[1:] and _stacks_matrices(row):
        return Growth(old, copies=True)
    same = 0 < len(old) == len(row.shape)
    if not same or any(not 0 < n <= m for n, m in zip(old, row.shape, strict=True)):
        raise RecipeError(
            f"{row.name} has shape {row.shape}, but {old} in the state dict of keep: it can't "
            f"have been loaded, and it can't have grown from that shape. To draw it, leave it "
            f"out of the state dict: gi.load_(..., draw={row.name!r})"
        )
    _check_packed(row, old)
    return Growth(old, copies=False)


def grow_blocks(blocks: list[PlanBlock], grown: Growth) -> list[PlanBlock]:
    """Return the blocks, split where the checkpoint's values end.

    Copies get noise, so that they differ: that of an ``AddNoise`` rule, or the default.
    """
    if grown.copies:
        noisy = [b.scheme if isinstance(b.scheme, AddNoise) else AddNoise() for b in blocks]
        return [replace(b, scheme=s) for b, s in zip(blocks, noisy, strict=True)]
    return [part for block in blocks for part in _split(block, grown.shape)]


def _split(block: PlanBlock, old: tuple[int, ...]) -> Iterator[PlanBlock]:
    """Yield the part of a block that lies in the old corner, and boxes for what is left."""
    left: Box = block.box
    new: list[Box] = []
    for axis, ((start, stop), end) in enumerate(zip(block.box, old, strict=True)):
        if stop > end:
            cut = max(start, end)
            new.append((*left[:axis], (cut, stop), *left[axis + 1 :]))
            left = (*left[:axis], (start, cut), *left[axis + 1 :])
    if all(start < stop for start, stop in left):
        yield replace(block, name=_join_names(block.name, "old"), box=left, scheme=Keep())
    filled = [box for box in new if all(start < stop for start, stop in box)]
    for number, box in enumerate(filled):
        name = "new" if len(filled) == 1 else f"new{number}"
        yield replace(block, name=_join_names(block.name, name), box=box)


def _stacks_matrices(row: Row) -> bool:
    """Return whether the first axis stacks equal matrices or biases: experts."""
    layout, axes = row.facets.layout, len(row.shape)
    matrices = axes > 2 and not (layout and layout.window)
    biases = axes == 2 and layout is None and row.facets.part == "bias"
    return row.shape[0] > 1 and (matrices or biases)


def _check_packed(row: Row, old: tuple[int, ...]) -> None:
    """Refuse growth along the axis that q, k and v share: the old layout isn't known."""
    batch = row.facets.layout.batch if row.facets.layout else ()
    for axis, (before, now) in enumerate(zip(old, row.shape, strict=True)):
        sides = {block.box[axis] for block in row.facets.blocks}
        if before < now and len(sides) > 1 and axis not in batch:
            names = several(block.name for block in row.facets.blocks)
            raise RecipeError(
                f"{row.name} packs {names} along axis {axis}, which has grown from {before} to "
                f"{now}: goodinit can't know which of the old values belong to which. Copy them "
                f"yourself, and name the parameter in keep"
            )


def _join_names(name: str, end: str) -> str:
    return f"{name}.{end}" if name else end
