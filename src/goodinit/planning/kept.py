"""What ``keep`` names: parameters that are loaded already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from goodinit.anatomy.names import join
from goodinit.anatomy.rows import Row
from goodinit.errors import RecipeError, nearest
from goodinit.planning.rule import glob_matches

__all__ = ["Kept"]


@dataclass(frozen=True)
class Kept:
    """Names of rows that are never written.

    Attributes:
        names: logical names.
        extra: keys of a state dict that the model doesn't have.
    """

    names: frozenset[str] = frozenset()
    extra: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, keep: str | Iterable[str] | Mapping[str, object], rows: tuple[Row, ...], prefix: str
    ) -> Kept:
        """Return which rows are meant.

        A name or glob that matches nothing is an error. A state dict may hold more than the
        model (a checkpoint of a larger one), but not nothing of it.
        """
        if not isinstance(keep, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RecipeError(f"keep takes names, globs or a state dict, got {keep!r}")
        asked = [keep] if isinstance(keep, str) else list(keep)
        for name in asked:
            if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise RecipeError(f"keep takes names, globs or a state dict, got {name!r}")
        if not asked:
            return cls()
        if isinstance(keep, Mapping):
            _check_shapes(cast("Mapping[str, object]", keep), rows, prefix)
            return _loaded(asked, rows, prefix)
        names: set[str] = set()
        for glob in asked:
            found = {row.name for row in rows if any(glob_matches(glob, n) for n in _called(row))}
            if not found:
                known = [name for row in rows for name in _called(row)]
                near = nearest(glob, known)
                raise RecipeError(f"keep={glob!r} names nothing that the model has.{near}")
            names |= found
        return cls(frozenset(names))


def _loaded(keys: list[str], rows: tuple[Row, ...], prefix: str) -> Kept:
    given = {*keys, *(join(prefix, key) for key in keys)}
    names: set[str] = set()
    used: set[str] = set()
    for row in rows:
        here = given.intersection(_called(row))
        if row.stored and 0 < len(given.intersection(row.stored)) < len(row.stored):
            missing = sorted(set(row.stored) - given)
            raise RecipeError(
                f"{row.name} is half in the state dict: {missing[0]} is missing. Load both, or "
                f"leave both out"
            )
        if here:
            names.add(row.name)
            used |= here
    if not names:
        known = [name for row in rows for name in _called(row)]
        raise RecipeError(
            f"the state dict in keep has nothing of this model; its first key is "
            f"{keys[0]!r}.{nearest(keys[0], known)} Check the prefix of its keys"
        )
    extra = tuple(key for key in keys if key not in used and join(prefix, key) not in used)
    return Kept(frozenset(names), extra)


def _check_shapes(loaded: Mapping[str, object], rows: tuple[Row, ...], prefix: str) -> None:
    for row in rows:
        for name in () if row.stored else (row.name, *row.tied):
            value = loaded.get(name, loaded.get(name.removeprefix(f"{prefix}.")))
            shape = getattr(value, "shape", row.shape)
            if tuple(shape) != row.shape:
                raise RecipeError(
                    f"{row.name} has shape {row.shape}, but {tuple(shape)} in the state dict of "
                    f"keep: it can't have been loaded. Leave it out of keep to draw it"
                )


def _called(row: Row) -> tuple[str, ...]:
    return (row.name, *row.tied, *row.stored)
