"""Checkpoints: values by name, from a state dict or a file, and those they have for a model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from goodinit._common.dtensors import is_dtensor
from goodinit.anatomy.names import Slot
from goodinit.errors import CheckpointError, nearest
from goodinit.plans.checkpoint_files import INDEX, SAFE, read_file
from goodinit.plans.dcp_folder import METADATA, load_from_dcp_, read_dcp_folder
from goodinit.recipes.rule import glob_matches
from goodinit.streams.part import slices, whole_box


@dataclass(frozen=True)
class Checkpoint:
    """Values by name, whoever passed them.

    Attributes:
        values: by the names that they have there.
        loads: whether they are copied, by ``load_``; else they are loaded already (``keep=``).
        folder: of torch.distributed.checkpoint, if it is one: then the values are on meta.
        keys: id of a value on meta -> its name there, before a prefix was taken away.
        code: the expression that errors call it by, to be copied.
    """

    values: Mapping[str, object]
    loads: bool = False
    folder: Path | None = None
    keys: Mapping[int, str] = field(default_factory=dict[int, str])
    code: str = "checkpoint"

    @property
    def text(self) -> str:
        """What errors call it."""
        return "the checkpoint" if self.loads else "the state dict in keep"

    def names_of(self, aliases: Iterable[str], prefix: str) -> list[str]:
        """Return the names that it has for a parameter, with or without the prefix."""
        both = (key for alias in aliases for key in (alias, alias.removeprefix(f"{prefix}.")))
        return [key for key in dict.fromkeys(both) if key in self.values]

    def read(self, value: Tensor) -> Tensor:
        """Return one of its values; one of a folder is read whole."""
        if self.folder is None or not value.is_meta:
            return value
        whole = torch.empty(value.shape, dtype=value.dtype, device="cpu")
        load_from_dcp_({self.keys[id(value)]: whole}, self.folder)
        return whole

    def without(self, globs: str | Iterable[str]) -> Checkpoint:
        """Return the checkpoint without the values that will be drawn anyway.

        Raises:
            CheckpointError: a name or glob that matches nothing in it.

        Example:
            >>> Checkpoint({"body.weight": 1, "head.weight": 2}).without(["head.*"]).values
            {'body.weight': 1}
        """
        left = dict(self.values)
        for glob in [globs] if isinstance(globs, str) else globs:
            found = [key for key in self.values if glob_matches(glob, key)]
            if not found:
                near = nearest(glob, self.values)
                below = [key for key in self.values if glob_matches(f"{glob}.*", key)]
                near = f" Did you mean '{glob}.*'?" if below else near
                raise CheckpointError(f"draw={glob!r} matches nothing in the checkpoint.{near}")
            for key in found:
                left.pop(key, None)
        return replace(self, values=left)

    def stripped(self, prefix: str) -> Checkpoint:
        """Return the checkpoint with a leading part of its dotted names taken away.

        Raises:
            CheckpointError: no name begins with it, or two names become one.

        Example:
            >>> Checkpoint({"model.fc.weight": 1, "step": 2}).stripped("model.").values
            {'fc.weight': 1, 'step': 2}
        """
        if not prefix:
            return self
        dotted = prefix.rstrip(".") + "."
        stripped = {key: key.removeprefix(dotted) for key in self.values}
        if all(key == name for key, name in stripped.items()):
            first = next(iter(self.values))
            raise CheckpointError(
                f"strip_prefix={prefix!r}: no name in the checkpoint begins with {dotted!r}; the "
                f"first is {first!r}"
            )
        twice = [name for key, name in stripped.items() if key != name and name in self.values]
        if twice:
            raise CheckpointError(
                f"strip_prefix={prefix!r}: the checkpoint has {twice[0]!r} with and without it"
            )
        return replace(self, values={stripped[key]: v for key, v in self.values.items()})


def open_checkpoint(source: object, *, loads: bool = False) -> Checkpoint | None:
    """Return the checkpoint that a state dict or a path means; None for names and globs.

    A text that isn't loaded is a path if it says so by its ending or if there is such a file.

    Raises:
        CheckpointError: the file can't be read, is cut short, or isn't of a known format.

    Example:
        >>> open_checkpoint({"weight": torch.ones(2)}).values, open_checkpoint("*.bias")
        ({'weight': tensor([1., 1.])}, None)
    """
    if isinstance(source, Checkpoint):
        return source
    if isinstance(source, Mapping):
        return Checkpoint(cast("Mapping[str, object]", source), loads)
    is_path = isinstance(source, os.PathLike)
    if isinstance(source, str):
        is_path = loads or source.endswith((SAFE, INDEX)) or Path(source).is_file()
        is_path = is_path or (Path(source) / METADATA).is_file()
    if not is_path:
        return None
    path = Path(os.fspath(cast("str | os.PathLike[str]", source)))
    if not (path / METADATA).is_file():
        return Checkpoint(read_file(str(path)), loads, code=f"torch.load({str(path)!r})")
    values = read_dcp_folder(path)
    return Checkpoint(values, loads, path, {id(value): key for key, value in values.items()})


def find_values(
    found: Iterable[Slot], checkpoint: Checkpoint | None, prefix: str, *, grown_only: bool
) -> dict[str, list[Tensor | None]]:
    """Return a checkpoint's values by logical name, one for each tensor that stores it.

    The checkpoint's names may omit the prefix. ``grown_only`` leaves out parameters that have the
    same shape in the checkpoint.

    Raises:
        CheckpointError: a value that can't be copied, or two for one tied parameter.
    """
    copied: dict[str, list[Tensor | None]] = {}
    for slot in found if checkpoint is not None and checkpoint.values else ():
        assert checkpoint is not None
        names = [(name,) for name in slot.stored] or [(slot.name, *slot.tied)]
        sources = [_source(aliases, checkpoint, prefix) for aliases in names]
        for number, (tensor, source) in enumerate(zip(slot.tensors, sources, strict=True)):
            if source is None or (grown_only and source.shape == tensor.shape):
                sources[number] = None
            else:
                _check(slot, number, source, checkpoint)
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
            corner_of(tensor, source).copy_(source)


def corner_of(tensor: Tensor, source: Tensor) -> Tensor:
    """Return the part of a tensor that a smaller value fills; all of a stack of matrices."""
    return tensor[slices(whole_box(source.shape))] if source.dim() == tensor.dim() else tensor


def tensor_of(name: str, value: object) -> Tensor:
    """Return a value of a checkpoint as a dense tensor: arrays and numbers are converted.

    Raises:
        CheckpointError: None, a text, or anything else that isn't an array of numbers.

    Example:
        >>> tensor_of("fc.bias", [1.0, 2.0])
        tensor([1., 2.])
        >>> tensor_of("fc.bias", None)
        Traceback (most recent call last):
        goodinit.errors.CheckpointError: fc.bias is NoneType in the checkpoint, ...
    """
    if isinstance(value, Tensor):
        return value
    given = cast("Any", value)
    try:
        if isinstance(value, bool):
            return torch.tensor(value, device="cpu")
        if isinstance(value, (list, tuple, int, float)):
            return torch.tensor(given, dtype=torch.get_default_dtype(), device="cpu")
        if not hasattr(given, "shape"):
            raise TypeError(f"a {type(given).__name__} isn't an array")
        locked = not getattr(getattr(given, "flags", None), "writeable", True)
        backward = any(step < 0 for step in getattr(given, "strides", None) or ())
        return torch.as_tensor(given.copy() if locked or backward else given, device="cpu")
    except Exception as error:
        raise CheckpointError(
            f"{name} is {type(given).__name__} in the checkpoint, not a tensor: convert it, or "
            f"take it out; draw={name!r} draws the parameter instead"
        ) from error


def _source(aliases: tuple[str, ...], checkpoint: Checkpoint, prefix: str) -> Tensor | None:
    """Return the value that a checkpoint has for a parameter, under any of its names."""
    sources: dict[str, Tensor] = {}
    for key in checkpoint.names_of(aliases, prefix):
        value = checkpoint.values[key]
        if checkpoint.loads or hasattr(value, "shape"):
            sources[key] = tensor_of(key, value)
    if not sources:
        return None
    (first, source), *others = sources.items()
    split = next((key for key, value in sources.items() if is_dtensor(value)), None)
    if split is not None:  # comparing two would ask other processes
        raise CheckpointError(f"{split} is {unfit(sources[split], torch.float32)}")
    for key, other in others:
        if other.is_meta and other.shape == source.shape:
            continue  # compared when they are read
        if other is not source and not torch.equal(other, source):
            raise CheckpointError(
                f"{aliases[0]} is one tensor here, but {first} and {key} differ in the checkpoint: "
                f"untie them in the model, or take one of them out of the state dict"
            )
    return source


def _check(slot: Slot, number: int, source: Tensor, checkpoint: Checkpoint) -> None:
    """Raise if a value can't be copied; planning checks how a plain one has grown."""
    name = slot.stored[number] if slot.stored else slot.name
    tensor = slot.tensors[number]
    if source.is_meta and not (checkpoint.folder and checkpoint.loads):
        raise CheckpointError(f"{name} has no values in the checkpoint, it is on meta: load it")
    fix = unfit(source, tensor.dtype)
    if fix:
        raise CheckpointError(f"{name} is {fix}")
    old, now = tuple(source.shape), tuple(tensor.shape)
    if slot.stored and old != now:
        raise CheckpointError(
            f"{name} has shape {now}, but {old} in the checkpoint, and a parametrized weight "
            f"can't grow: take it out of the state dict"
        )


def unfit(source: Tensor, dtype: torch.dtype) -> str:
    """Return why a value can't be copied to a plain tensor of a dtype, and what to do, or "".

    >>> unfit(torch.eye(2).to_sparse(), torch.float32)
    'sparse or nested in the checkpoint: pass value.to_dense(), or pad it'
    """
    if is_dtensor(source):
        return "a DTensor in the checkpoint: pass value.full_tensor(), in all processes"
    if type(source).__name__ == "FakeTensor":
        return "a FakeTensor in the checkpoint: pass the full tensor"
    if source.is_quantized:
        return "quantized in the checkpoint: pass value.dequantize()"
    if source.is_nested or source.layout is not torch.strided:
        return "sparse or nested in the checkpoint: pass value.to_dense(), or pad it"
    if source.is_complex() and not dtype.is_complex:
        return f"{source.dtype} in the checkpoint and {dtype} here: pass value.real, if it is real"
    if not _can_cast(source.dtype, dtype):
        return f"{source.dtype} in the checkpoint, which torch can't cast to {dtype}: unpack it"
    return ""


@cache
def _can_cast(source: torch.dtype, to: torch.dtype) -> bool:
    try:
        torch.empty(1, dtype=to, device="cpu").copy_(torch.empty(1, dtype=source, device="cpu"))
    except (RuntimeError, NotImplementedError, TypeError):  # torch has no cast between these
        return False
    return True
