"""Parameters that are larger than a checkpoint's: what is kept of them, and what is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from goodinit.anatomy.rows import Box, Row
from goodinit.errors import RecipeError
from goodinit.plans.rows import PlanBlock
from goodinit.schemes import AddNoise, Keep

__all__ = ["Grown", "grow", "grown_from"]


@dataclass(frozen=True, slots=True)
class Grown:
    """What a checkpoint holds of a parameter that is larger.

    Attributes:
        shape: the shape there: the corner of the parameter that is kept; or, for ``copies``,
            the shape of each of the stacked matrices.
        copies: whether each of the stacked matrices is a copy of the checkpoint's one.
        std: standard deviation of the values there; None where they aren't at hand.
    """

    shape: tuple[int, ...]
    copies: bool
    std: float | None = None


def grown_from(row: Row, old: tuple[int, ...]) -> Grown | None:
    """Return how a row has grown from an older shape; None where it has that shape.

    Raises:
        RecipeError: it can't have grown from that.
    """
    if old == row.shape:
        return None
    if old and old == row.shape[1:] and _stacked(row):
        return Grown(old, copies=True)
    same = 0 < len(old) == len(row.shape)
    if not same or any(not 0 < n <= m for n, m in zip(old, row.shape, strict=True)):
        raise RecipeError(
            f"{row.name} has shape {row.shape}, but {old} in the state dict of keep: it can't "
            f"have been loaded, nor has it grown from that. Leave it out of the state dict to "
            f"draw it, gi.load_(..., draw={row.name!r})"
        )
    _check_packed(row, old)
    return Grown(old, copies=False)


def grow(blocks: list[PlanBlock], grown: Grown) -> list[PlanBlock]:
    """Return the blocks, split where the checkpoint's values end.

    A copy gets noise, so that the copies differ: that of an ``AddNoise`` rule, or the default.
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
        yield replace(block, name=_dotted(block.name, "old"), box=left, scheme=Keep())
    filled = [box for box in new if all(start < stop for start, stop in box)]
    for number, box in enumerate(filled):
        name = "new" if len(filled) == 1 else f"new{number}"
        yield replace(block, name=_dotted(block.name, name), box=box)


def _stacked(row: Row) -> bool:
    """Whether the first axis counts matrices, or biases, of one sort: experts."""
    layout, axes = row.facets.layout, len(row.shape)
    matrices = axes > 2 and not (layout and layout.window)
    biases = axes == 2 and layout is None and row.facets.part == "bias"
    return row.shape[0] > 1 and (matrices or biases)


def _check_packed(row: Row, old: tuple[int, ...]) -> None:
    """Refuse a growth along the axis in which q, k and v lie: what was where isn't known."""
    batch = row.facets.layout.batch if row.facets.layout else ()
    for axis, (before, now) in enumerate(zip(old, row.shape, strict=True)):
        sides = {block.box[axis] for block in row.facets.blocks}
        if before < now and len(sides) > 1 and axis not in batch:
            names = ", ".join(block.name for block in row.facets.blocks[:4])
            raise RecipeError(
                f"{row.name} packs {names} along axis {axis}, which has grown from {before} to "
                f"{now}: which of the old values is whose can't be known. Put them where they "
                f"belong yourself, and name it in keep"
            )


def _dotted(name: str, end: str) -> str:
    return f"{name}.{end}" if name else end
