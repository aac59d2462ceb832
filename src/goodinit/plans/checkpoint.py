"""Checkpoints: state dicts and safetensors files, and the values they have for a model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import torch
from torch import Tensor

from goodinit.anatomy.names import Slot
from goodinit.errors import CheckpointError, nearest
from goodinit.recipes.rule import glob_matches

__all__ = ["copy_values_", "find_values", "open_checkpoint", "remove_values"]

SUFFIX = ".safetensors"


def open_checkpoint(keep: object) -> Mapping[str, object] | None:
    """Return a state dict, or the content of a safetensors file; None for names and globs.

    A file's tensors are mapped into memory, not read.

    Raises:
        CheckpointError: the file can't be read, is cut short, or isn't of that format.

    Example:
        >>> open_checkpoint({"weight": torch.ones(2)}), open_checkpoint("*.bias")
        ({'weight': tensor([1., 1.])}, None)
    """
    if isinstance(keep, Mapping):
        return cast("Mapping[str, object]", keep)
    if isinstance(keep, os.PathLike) or (isinstance(keep, str) and keep.endswith(SUFFIX)):
        return _read(os.fspath(cast("str | os.PathLike[str]", keep)))
    return None


def _read(path: str) -> Mapping[str, object]:
    if not path.endswith(SUFFIX):
        raise CheckpointError(
            f"{path}: only .safetensors files can be read. Load it yourself, "
            f"torch.load(path, weights_only=True), and pass the state dict"
        )
    try:
        from safetensors import SafetensorError
        from safetensors import torch as files
    except ImportError as error:
        message = f"reading {path} needs safetensors: pip install safetensors"
        raise CheckpointError(message) from error
    try:
        load: Callable[[str], Mapping[str, object]] = files.load_file  # pyright: ignore[reportUnknownVariableType]
        return load(path)
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"{path} can't be read: {reason}. Check the path") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is cut short or no safetensors file: {error}") from error


def remove_values(values: Mapping[str, object], globs: list[str]) -> Mapping[str, object]:
    """Return a checkpoint without the values that will be drawn anyway.

    Raises:
        CheckpointError: a name or glob that matches nothing in it.

    Example:
        >>> remove_values({"body.weight": 1, "head.weight": 2}, ["head.*"])
        {'body.weight': 1}
    """
    left = dict(values)
    for glob in globs:
        found = [key for key in values if glob_matches(glob, key)]
        if not found:
            near = nearest(glob, values)
            raise CheckpointError(f"draw={glob!r} matches nothing in the checkpoint.{near}")
        for key in found:
            left.pop(key, None)
    return left


def find_values(
    found: Iterable[Slot], values: Mapping[str, object], prefix: str, *, grown_only: bool
) -> dict[str, list[Tensor | None]]:
    """Return a checkpoint's values by logical name, one for each tensor that stores it.

    Values that aren't tensors count as absent. The checkpoint's names may omit the prefix.
    ``grown_only`` leaves out parameters that have the same shape in the checkpoint.

    Raises:
        CheckpointError: a value of a shape that doesn't fit, or two for one tied parameter.
    """
    copied: dict[str, list[Tensor | None]] = {}
    for slot in found if values else ():
        names = [(name,) for name in slot.stored] or [(slot.name, *slot.tied)]
        sources = [_source(aliases, values, prefix) for aliases in names]
        for number, (tensor, source) in enumerate(zip(slot.tensors, sources, strict=True)):
            if source is None or (grown_only and source.shape == tensor.shape):
                sources[number] = None
            else:
                _check(slot, number, source)
        if any(source is not None for source in sources):
            copied[slot.name] = sources
    return copied


@torch.no_grad()
def copy_values_(slot: Slot, sources: list[Tensor | None]) -> None:
    """Write a checkpoint's values, cast to the model's own dtype and device.

    In a grown tensor they fill the corner; stacked matrices get one copy each.
    """
    for tensor, source in zip(slot.tensors, sources, strict=True):
        if source is not None:
            corner = source.dim() == tensor.dim()
            box = tuple(slice(0, size) for size in source.shape) if corner else ()
            tensor[box].copy_(source)


def _source(aliases: tuple[str, ...], values: Mapping[str, object], prefix: str) -> Tensor | None:
    """Return the value that a checkpoint has for a parameter, under any of its names."""
    sources: dict[str, Tensor] = {}
    for alias in aliases:
        for key in (alias, alias.removeprefix(f"{prefix}.")):
            value = values.get(key)
            if isinstance(value, Tensor):
                sources[key] = value
    if not sources:
        return None
    (first, source), *others = sources.items()
    for key, other in others:
        if other is not source and not torch.equal(other, source):
            raise CheckpointError(
                f"{aliases[0]} is one tensor here, but {first} and {key} differ in the checkpoint: "
                f"untie them in the model, or take one of them out of the state dict"
            )
    return source


def _check(slot: Slot, number: int, source: Tensor) -> None:
    """Raise if a value can't be copied; planning checks how a plain one has grown."""
    name = slot.stored[number] if slot.stored else slot.name
    if source.is_meta:
        raise CheckpointError(f"{name} has no values in the checkpoint, it is on meta: load it")
    old, now = tuple(source.shape), tuple(slot.tensors[number].shape)
    if slot.stored and old != now:
        raise CheckpointError(
            f"{name} has shape {now}, but {old} in the checkpoint, and a parametrized weight "
            f"can't grow: take it out of the state dict"
        )
