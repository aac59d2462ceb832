"""How a file of weights differs from those that a recipe and a seed draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from goodinit._common.text import count, shape_text
from goodinit.cli import weights


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between the file and what was drawn.

    Attributes:
        what: "seed", "recipe", "plan", "streams", "metadata", "missing", "extra", "shape",
            "dtype" or "values".
        where: a tensor's name, or "".
        text: what the file contains, and what was expected.
    """

    what: str
    where: str
    text: str


def compare_origins(
    file: weights.Origin, asked: weights.Origin, recipe: str
) -> Iterator[Difference]:
    """Compare what a file says of its origin with what is drawn here."""
    if file.streams != asked.streams:
        text = f"{file.streams} drew the file, and this goodinit has {asked.streams}"
        yield Difference("streams", "", text)
    if file.seed != asked.seed:
        yield Difference("seed", "", f"{file.seed} in the file, {asked.seed} asked for")
    if file.recipe != asked.recipe:
        yield Difference("recipe", "", f"the file was drawn by another recipe than {recipe}")
    if file.digest != asked.digest:
        of = f" for {file.target}" if file.target != asked.target else ""
        text = f"{file.digest} in the file{of}, {asked.digest} for {asked.target}"
        yield Difference("plan", "", text)


def compare_tensors(
    stored: Any, tensors: dict[str, Tensor], step: Callable[[], None]
) -> Iterator[Difference]:
    """Compare a file with the weights that were drawn. One tensor of the file is read at a time."""
    unread = set(cast("list[str]", stored.keys()))
    for names in weights.names_by_tensor(tensors):
        here = [name for name in names if name in unread]
        unread.difference_update(here)
        if not here:
            text = f"not in the file, shape {shape_text(tensors[names[0]].shape)} in the model"
            yield Difference("missing", names[0], text)
        for name in here:
            yield from _compare_values(name, stored, tensors[name])
            step()
    for name in sorted(unread):
        text = f"only in the file, shape {shape_text(stored.get_slice(name).get_shape())}"
        yield Difference("extra", name, text)


def _compare_values(name: str, stored: Any, drawn: Tensor) -> Iterator[Difference]:
    shape: list[int] = stored.get_slice(name).get_shape()
    if shape != list(drawn.shape):
        text = f"shape {shape_text(shape)} in the file, {shape_text(drawn.shape)} drawn"
        yield Difference("shape", name, text)
        return
    value: Tensor = stored.get_tensor(name)
    if value.dtype != drawn.dtype:
        yield Difference("dtype", name, f"{value.dtype} in the file, {drawn.dtype} drawn")
        return
    # Bits, not numbers: NaN equals NaN, and -0. does not equal 0.
    bits = [x.contiguous().reshape(-1).view(torch.uint8) for x in (value, drawn)]
    if torch.equal(*bits):
        return
    wrong = (bits[0] != bits[1]).view(-1, drawn.itemsize).any(1).nonzero().flatten()
    first = int(wrong[0])
    place = [int(i) for i in torch.unravel_index(wrong[0], drawn.shape)]
    of = f"{len(wrong):,} of {count(drawn.numel(), 'value')} differ"
    pair = [_exact_number(x.reshape(-1)[first]) for x in (value, drawn)]
    text = f"{of}, first {place}: {pair[0]} in the file, {pair[1]} drawn"
    yield Difference("values", name, text)


def _exact_number(value: Tensor) -> str:
    """Return a number with enough digits to distinguish it from its neighbors."""
    number = value.item()
    if not isinstance(number, float):
        return str(number)
    digits = {torch.float64: 17, torch.float32: 9}.get(value.dtype, 5)
    return f"{number:.{digits}g}"
