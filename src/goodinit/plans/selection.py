"""Weight selection: a small model's weights are a large one's, at evenly spaced indices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from os import PathLike
from typing import Literal

import torch
from torch import Tensor, nn

from goodinit.anatomy import read
from goodinit.anatomy.rows import Row
from goodinit.anatomy.writable import check_module
from goodinit.errors import CallError, CheckpointError
from goodinit.plans.checkpoint import open_checkpoint, tensor_of
from goodinit.schemes.fields import one_line


@torch.no_grad()
def select_weights(
    model: nn.Module,
    checkpoint: str | PathLike[str] | Mapping[str, object],
    *,
    layers: Literal["first", "even"] = "first",
) -> dict[str, Tensor]:
    """Return a larger model's weights at evenly spaced indices, as a checkpoint for ``load_``.

    Xu et al. 2024 (2311.18823), "Initializing Models with Larger Ones"; as in their code,
    OscarXZQ/weight-selection, layers are those of the same name, the first ones. Parts of packed
    weights (q, k and v) are selected one by one. What the larger model doesn't have is left out,
    for a recipe to draw. Nothing is written.

    Args:
        model: the smaller model; it may be on meta.
        checkpoint: the larger model's, as for ``load_``.
        layers: "first", those of the same names; or "even": of a stack that has more layers in
            the checkpoint (numbers in the names), the first, the last and those evenly between.

    Raises:
        CallError: another word for ``layers``.
        CheckpointError: no name in common, a tensor that is smaller than the model's or has other
            axes, or a packed one whose parts don't have the same shares in both.

    Example:
        >>> from goodinit.applying.apply import load_
        >>> large, small = nn.Linear(64, 30), nn.Linear(16, 10)
        >>> plan = load_(small, select_weights(small, large.state_dict()))
        >>> torch.equal(small.weight, large.weight[::3, ::4])
        True
    """
    check_module(model, "select_weights")
    values = open_checkpoint(checkpoint, loads=True)
    if values is None or not values.values:
        raise CheckpointError(
            f"select_weights takes a state dict or the path of a checkpoint with values in it, "
            f"got {one_line(checkpoint)}"
        )
    if layers not in ("first", "even"):
        raise CallError(f"select_weights(layers={layers!r}): layers is 'first' or 'even'")
    selected: dict[str, Tensor] = {}
    rows = read(model).rows
    names = [name for row in rows for name in (row.name, *row.tied) if not row.stored]
    source = _evenly_spaced(names, values.values) if layers == "even" else {}
    for row in rows:
        for name in (row.name, *row.tied) if not row.stored else ():
            there = source.get(name, name)
            if there in values.values:
                selected[name] = _selected(row, tensor_of(there, values.values[there]))
    if not selected:
        raise CheckpointError("no key of the checkpoint is a name in the model: rename its keys")
    return selected


def _evenly_spaced(names: Iterable[str], there: Iterable[str]) -> dict[str, str]:
    """Return name -> the checkpoint's name for it, where that has more layers.

    >>> _evenly_spaced([f"h.{n}.w" for n in range(3)], [f"h.{n}.w" for n in range(9)])
    {'h.0.w': 'h.0.w', 'h.1.w': 'h.4.w', 'h.2.w': 'h.8.w'}
    """
    own, larger = _stacks(names), _stacks(there)
    found: dict[str, str] = {}
    for name in names:
        parts = name.split(".")
        for at, part in enumerate(name.split(".")):
            stem = ".".join(name.split(".")[:at])
            few, many = own.get(stem, 0), larger.get(stem, 0)
            if part.isdigit() and 1 < few < many:
                parts[at] = str(round(int(part) * (many - 1) / (few - 1)))
        found[name] = ".".join(parts)
    return found


def _stacks(names: Iterable[str]) -> dict[str, int]:
    """Return path -> how many numbered children it has, where they are 0, 1, 2, ..."""
    children: dict[str, set[int]] = {}
    for name in names:
        parts = name.split(".")
        for at, part in enumerate(parts):
            if part.isdigit():
                children.setdefault(".".join(parts[:at]), set()).add(int(part))
    return {stem: len(own) for stem, own in children.items() if own == set(range(len(own)))}


def _selected(row: Row, value: Tensor) -> Tensor:
    if value.dim() != len(row.shape) or any(
        old < new for old, new in zip(value.shape, row.shape, strict=True)
    ):
        raise CheckpointError(
            f"{row.name} has shape {tuple(row.shape)}, and {tuple(value.shape)} in the checkpoint: "
            f"a weight is selected from one that is larger along each axis; take it out"
        )
    for axis, (old, new) in enumerate(zip(value.shape, row.shape, strict=True)):
        if old != new:
            value = value.index_select(axis, _indices(row, axis, old).to(value.device))
    return value


def _indices(row: Row, axis: int, old: int) -> Tensor:
    """Return evenly spaced indices of the larger axis, part by part."""
    new = row.shape[axis]
    edges = sorted({0, new, *(end for block in row.facets.blocks for end in block.box[axis])})
    parts: list[Tensor] = []
    for start, stop in pairwise(edges):
        first, last = start * old / new, stop * old / new
        if first != int(first) or last != int(last):
            raise CheckpointError(
                f"{row.name} has a part from {start} to {stop} of {new} along axis {axis}, and no "
                f"such part of {old} in the checkpoint: select it yourself"
            )
        parts.append(int(first) + _evenly(int(last - first), stop - start))
    return torch.cat(parts)


def _evenly(old: int, new: int) -> Tensor:
    if old % new == 0:
        return torch.arange(new, device="cpu") * (old // new)
    return torch.linspace(0, old - 1, new, dtype=torch.float64, device="cpu").round().long()
