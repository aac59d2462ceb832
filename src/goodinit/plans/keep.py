"""What ``keep`` means: parameters that are already loaded, and those that have grown since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import cast

from torch import Tensor

from goodinit.anatomy.names import join
from goodinit.anatomy.rows import Row
from goodinit.errors import RecipeError, nearest
from goodinit.plans.checkpoint import open_checkpoint
from goodinit.plans.resize import Growth, find_growth
from goodinit.recipes.rule import glob_matches

__all__ = ["KeepLike", "KeptRows", "find_kept_rows"]

KeepLike = str | PathLike[str] | Iterable[str] | Mapping[str, object]
"""Names or globs; or a state dict, or the path of a safetensors file."""


@dataclass(frozen=True)
class KeptRows:
    """Rows of which nothing, or only a part, is written.

    Attributes:
        names: logical names of rows that are kept whole.
        grown: rows that are kept in part, by logical name.
        extra: keys of a state dict that the model doesn't have.
    """

    names: frozenset[str] = frozenset()
    grown: Mapping[str, Growth] = field(default_factory=dict[str, Growth])
    extra: tuple[str, ...] = ()


def find_kept_rows(keep: KeepLike, rows: tuple[Row, ...], prefix: str) -> KeptRows:
    """Return which rows ``keep`` means.

    A name or glob that matches nothing is an error. A state dict may hold more than the model (a
    checkpoint of a larger one), but at least one of its parameters.
    """
    if not isinstance(keep, (Iterable, PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RecipeError(f"keep takes names, globs or a state dict, got {keep!r}")
    values = open_checkpoint(keep)
    asked = [keep] if isinstance(keep, str) else list(cast("Iterable[str]", values or keep))
    for name in asked:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RecipeError(f"keep takes names, globs or a state dict, got {name!r}")
    if not asked:
        return KeptRows()
    if values is not None:
        return _find_in_state_dict(values, rows, prefix)
    names: set[str] = set()
    known = [(name, row) for row in rows for name in _names_of(row)]
    for glob in asked:
        found = {row.name for name, row in known if glob_matches(glob, name)}
        if not found:
            near = nearest(glob, [name for name, _ in known])
            raise RecipeError(f"keep={glob!r} names nothing that the model has.{near}")
        names |= found
    return KeptRows(frozenset(names))


def _find_in_state_dict(
    values: Mapping[str, object], rows: tuple[Row, ...], prefix: str
) -> KeptRows:
    """Return which rows a state dict has; its keys may have the prefix or not."""
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
                f"{row.name} is only partly in the state dict: {missing[0]} is missing. Include "
                f"both, or leave both out"
            )
        growth = _growth(row, [values[given[name]] for name in here])
        if growth is None:
            names.add(row.name)
        else:
            grown[row.name] = growth
        used.update(given[name] for name in here)
    if not used:
        known = [name for row in rows for name in _names_of(row)]
        first = next(iter(values))
        raise RecipeError(
            f"the state dict in keep has no parameter of this model; its first key is "
            f"{first!r}.{nearest(first, known)} Check the prefix of its keys"
        )
    return KeptRows(frozenset(names), grown, tuple(key for key in values if key not in used))


def _growth(row: Row, values: list[object]) -> Growth | None:
    """Return how a row has grown from what a state dict holds under its names, or None."""
    for value in values if not row.stored else []:  # stored tensors have other shapes
        shape = getattr(value, "shape", None)
        grown = None if shape is None else find_growth(row, tuple(shape))
        if grown is not None:
            return replace(grown, std=_std_of(value))
    return None


def _std_of(value: object) -> float | None:
    if not isinstance(value, Tensor) or value.is_meta or not value.is_floating_point():
        return None
    return value.float().std(correction=0).item() if value.numel() else None


def _names_of(row: Row) -> tuple[str, ...]:
    return (row.name, *row.tied, *row.stored)
