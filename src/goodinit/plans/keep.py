"""What ``keep`` means: parameters that are loaded already, and the new part of larger ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import cast

import torch
from torch import Tensor, nn

from goodinit._common.module_tree import named_parameters_of
from goodinit._common.text import several
from goodinit.anatomy.names import join, walk
from goodinit.anatomy.rows import Box, Row
from goodinit.errors import RecipeError, nearest
from goodinit.plans.checkpoint import Checkpoint, open_checkpoint, tensor_of, unfit
from goodinit.plans.checkpoint_names import misnamed
from goodinit.plans.rows import PlanBlock
from goodinit.recipes.rule import glob_matches
from goodinit.schemes import AddNoise, Keep
from goodinit.schemes.fields import one_line, short_repr
from goodinit.schemes.grown import DropUnits

KeepLike = str | PathLike[str] | Iterable[str] | Mapping[str, object]
"""Names or globs; or a state dict, or the path of a checkpoint."""

LOADED = "loaded already"  # why a row is kept that keep= names


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


@dataclass(frozen=True)
class KeptRows:
    """Rows of which nothing, or only a part, is written.

    Attributes:
        names: logical names of rows that are kept whole.
        grown: rows that are kept in part, by logical name.
        extra: keys of a state dict that the model doesn't have.
        source: what the state dict is called, "the checkpoint".
        misnamed: what is wrong with its other names, and the fix; empty if nothing is.
        left_out: logical names of rows that ``only=`` doesn't name.
    """

    names: frozenset[str] = frozenset()
    grown: Mapping[str, Growth] = field(default_factory=dict[str, Growth])
    extra: tuple[str, ...] = ()
    source: str = ""
    misnamed: tuple[str, str] = ("", "")
    left_out: frozenset[str] = frozenset()

    def why(self, name: str) -> str:
        """Return why a row is kept, or ""."""
        if name in self.left_out:
            return "not in only="
        return LOADED if name in self.names else ""

    def limited_to(self, only: str | Iterable[str], rows: tuple[Row, ...]) -> KeptRows:
        """Return these rows and all that ``only`` doesn't name; the latter are kept whole.

        Raises:
            RecipeError: a name or glob that matches nothing.
        """
        globs = [only] if isinstance(only, str) else list(only)
        if not globs:
            return self
        left = {row.name for row in rows} - _matching(globs, rows, "only")
        grown = {name: growth for name, growth in self.grown.items() if name not in left}
        return replace(self, grown=grown, left_out=frozenset(left))


def refuse_objects(model: nn.Module, given: object, argument: str, prefix: str) -> None:
    """Raise if ``keep`` or ``only`` gets modules, parameters or classes; say their names."""
    several = cast("list[object]", given) if isinstance(given, (list, tuple, set)) else [given]
    wrong = [value for value in several if isinstance(value, (nn.Module, Tensor, type, bool))]
    if not wrong:
        return
    names = [join(prefix, name) for value in several for name in _names_in(model, value)]
    line = f". Write {argument}={names!r}" if names else ""
    raise RecipeError(f"{argument} takes names or globs, got {short_repr(wrong[0])}{line}")


def _names_in(model: nn.Module, value: object) -> list[str]:
    """Return the names or globs of what is meant by an object in place of its name."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Tensor):
        return [name for name, parameter in named_parameters_of(model) if parameter is value]
    return [
        f"{path}.*" if path else "*"
        for path, module in walk(model)
        if module is value or (isinstance(value, type) and isinstance(module, value))
    ]


def find_kept_rows(keep: KeepLike | Checkpoint, rows: tuple[Row, ...], prefix: str) -> KeptRows:
    """Return which rows ``keep`` means.

    A name or glob that matches nothing is an error. A state dict may hold more than the model (a
    checkpoint of a larger one), but at least one of its parameters.
    """
    if not isinstance(keep, (Iterable, PathLike, Checkpoint)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RecipeError(f"keep takes names, globs or a state dict, got {keep!r}")
    checkpoint = open_checkpoint(keep)
    given = keep if checkpoint is None else checkpoint.values
    asked = [given] if isinstance(given, str) else list(cast("Iterable[str]", given))
    for name in asked if checkpoint is not None else ():
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RecipeError(
                f"{checkpoint.text if checkpoint else 'keep'} takes names, globs or a state dict, "
                f"got {one_line(name)}"
            )
    if not asked:
        return KeptRows()
    if checkpoint is not None:
        return _find_in_checkpoint(checkpoint, rows, prefix)
    return KeptRows(frozenset(_matching(asked, rows, "keep")))


def _matching(globs: list[str], rows: tuple[Row, ...], argument: str) -> set[str]:
    """Return the rows that names or globs match; one that matches nothing is an error."""
    names: set[str] = set()
    known = [(name, row) for row in rows for name in _names_of(row)]
    for glob in globs:
        if not isinstance(glob, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            takes = "names, globs or a state dict" if argument == "keep" else "names or globs"
            raise RecipeError(f"{argument} takes {takes}, got {one_line(glob)}")
        found = {row.name for name, row in known if glob_matches(glob, name)}
        if not found:
            near = nearest(glob, [name for name, _ in known])
            if any(glob_matches(f"{glob}.*", name) for name, _ in known):
                near = f" Did you mean '{glob}.*'?"
            raise RecipeError(f"{argument}={glob!r} names nothing that the model has.{near}")
        names |= found
    return names


def _find_in_checkpoint(checkpoint: Checkpoint, rows: tuple[Row, ...], prefix: str) -> KeptRows:
    """Return which rows a checkpoint has; its keys may have the prefix or not."""
    values = checkpoint.values
    given = {join(prefix, key): key for key in values} | {key: key for key in values}
    names: set[str] = set()
    grown: dict[str, Growth] = {}
    used: set[str] = set()
    for row in rows:
        here = [name for name in _names_of(row) if name in given]
        if not here:
            continue
        missing = sorted(set(row.stored) - given.keys())
        if 0 < len(missing) < len(row.stored):
            raise RecipeError(
                f"{row.name} is only partly in {checkpoint.text}: {missing[0]} is missing. Include "
                f"both, or leave both out"
            )
        growth = _growth(row, [given[name] for name in here], checkpoint)
        if growth is None:
            names.add(row.name)
        else:
            grown[row.name] = growth
        used.update(given[name] for name in here)
    left = {key: value for key, value in values.items() if key not in used}
    missing = {
        name.removeprefix(f"{prefix}."): None if name in row.stored else row.shape
        for row in rows
        if not row.buffer and not any(name in given for name in _names_of(row))
        for name in _names_of(row)
    }
    wrong = misnamed(checkpoint, left, missing)
    return KeptRows(frozenset(names), grown, tuple(left), checkpoint.text, wrong)


def _growth(row: Row, keys: list[str], checkpoint: Checkpoint) -> Growth | None:
    """Return how a row has grown from what a checkpoint holds under its names, or None."""
    for key in keys if not row.stored else []:  # stored tensors have other shapes
        value = checkpoint.values[key]
        if checkpoint.loads:
            value = tensor_of(key, value)
        shape = getattr(value, "shape", None)
        grown = None if shape is None else _find_growth(row, tuple(shape), checkpoint)
        if grown is not None:
            if checkpoint.loads and isinstance(value, Tensor):
                value = checkpoint.read(value)
            return replace(grown, std=_std_of(value))
    return None


def _std_of(value: object) -> float | None:
    if not isinstance(value, Tensor) or value.is_meta or not value.is_floating_point():
        return None
    if unfit(value, torch.float32):  # refused when it is to be copied
        return None
    return value.float().std(correction=0).item() if value.numel() else None


def _names_of(row: Row) -> tuple[str, ...]:
    return (row.name, *row.tied, *row.stored)


def _find_growth(row: Row, old: tuple[int, ...], checkpoint: Checkpoint) -> Growth | None:
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
            f"{row.name} has shape {row.shape}, but {old} in {checkpoint.text}: it can't "
            f"{'be' if checkpoint.loads else 'have been'} loaded, and it can't have grown from "
            f"that shape. To draw it, leave it out: gi.load_(..., draw={row.name!r})"
        )
    _check_packed(row, old)
    return Growth(old, copies=False)


def grow_blocks(blocks: list[PlanBlock], grown: Growth) -> list[PlanBlock]:
    """Return the blocks, split where the checkpoint's values end.

    Copies get noise, so that they differ: that of an ``AddNoise`` rule, or the default;
    with ``DropUnits`` some of their units are redrawn instead.
    """
    if grown.copies:
        apart = (AddNoise, DropUnits)
        noisy = [b.scheme if isinstance(b.scheme, apart) else AddNoise() for b in blocks]
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
