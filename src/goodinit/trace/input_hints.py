"""What to pass as inputs instead, where a model raised on what was passed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

OF_TYPES = r"dtype|scalar type|Double|Float|Half"  # how torch says that dtypes don't fit

NUMBERS = re.compile(r"cannot be multiplied \(\d+x(\d+) and (\d+)x")
IMAGE_CHANNELS = re.compile(r"to have (\d+) channels, but got")
MOVED = {3: "permute(2, 0, 1)[None]", 4: "permute(0, 3, 1, 2)"}  # by the number of axes
# Of a list that is one argument, or of more arguments than forward takes; nothing is known yet.
AS_ONE = re.compile(r"positional argument|must be Tensor, not|has no attribute|^$")
MISSING = re.compile(r"missing \d+ required positional arguments?: (.+)")
UNEXPECTED = re.compile(r"unexpected keyword argument '(\w+)'")


def hint_for_inputs(inputs: object, error: str = "") -> str:
    """Return what is likely meant, as a sentence with code, or "".

    Example:
        >>> hint_for_inputs([torch.ones(2, 3), torch.tensor([0, 1])])
        ' inputs is a batch of 2: did you pass the labels? Write inputs = batch[0]'
    """
    if isinstance(inputs, (list, tuple)):
        return _hint_for_several(cast("list[object] | tuple[object, ...]", inputs), error)
    if isinstance(inputs, Tensor):
        missing = MISSING.search(error)
        return _hint_for_missing(missing[1]) if missing else _hint_for_tensor(inputs, error)
    if isinstance(inputs, Mapping):
        return _hint_for_keywords(cast("Mapping[str, object]", inputs), error)
    given = cast("Any", inputs)
    if hasattr(given, "__array__"):
        return " inputs is an array. Write inputs = torch.as_tensor(inputs).float()"
    if hasattr(given, "dataset") and hasattr(given, "__iter__"):
        return " inputs is a loader. Write inputs = next(iter(loader))[0]"
    if hasattr(given, "__next__"):
        return " inputs is an iterator. Write inputs = next(inputs)[0]"
    if hasattr(given, "__getitem__") and not isinstance(given, str):
        return " inputs is a data set. Write inputs = inputs[0][0][None]"
    kind = type(given).__name__
    return f" inputs is a {kind}: pass a tensor, a tuple of arguments or a dict of keywords"


def _hint_for_tensor(inputs: Tensor, error: str) -> str:
    """Return what to pass instead of a tensor of another dtype, or of another shape.

    >>> _hint_for_tensor(torch.ones(4, 3), "shapes cannot be multiplied (4x3 and 64x10)")
    ' inputs have 3 numbers each, and the layer takes 64. Write inputs = torch.randn(4, 64)'
    """
    fit = _fitting("inputs", inputs, error)
    return f" {fit[0]}. Write inputs = {fit[1]}" if fit else ""


def _fitting(name: str, given: Tensor, error: str) -> tuple[str, str] | None:
    """Return why a tensor doesn't fit, and the code of one that does; None if that isn't known."""
    have, are = ("have", "are") if name == "inputs" else ("has", "is")
    shape = tuple(given.shape)
    if given.is_floating_point() and "indices" in error and "Long" in error:
        return "The layer looks up whole numbers", f"torch.randint(10, {shape})"
    if given.dtype != torch.get_default_dtype() and re.search(OF_TYPES, error):
        return f"{name} {are} {given.dtype}", f"{name}.float()"
    numbers, channels = NUMBERS.search(error), IMAGE_CHANNELS.search(error)
    if numbers and shape and shape[-1] == int(numbers[1]):
        why = f"{name} {have} {numbers[1]} numbers each, and the layer takes {numbers[2]}"
        return why, f"torch.randn({', '.join(map(str, (*shape[:-1], numbers[2])))})"
    if channels and len(shape) in MOVED and shape[-1] == int(channels[1]):
        return "The channels come first in torch", f"{name}.{MOVED[len(shape)]}"
    return None


def _hint_for_several(several: list[object] | tuple[object, ...], error: str) -> str:
    """Return what to pass instead of a list or a tuple, which is one argument or several."""
    if not several:
        return " inputs are empty: pass a tensor, a tuple of arguments or a dict of keywords"
    if all(isinstance(n, int) for n in several):
        shape = ", ".join(map(str, several))
        return f" inputs is a shape, not a tensor. Write inputs = torch.randn({shape})"
    tensors = [t for t in several if isinstance(t, Tensor)]
    alike = len({(t.shape, t.dtype) for t in tensors}) == 1
    if isinstance(several, list) and len(tensors) == len(several) and alike:
        return " A list is one argument. Write inputs = torch.stack(inputs)"
    if missing := MISSING.search(error):
        return _hint_for_missing(missing[1], several)
    if "positional argument" not in error and (fitted := _hint_for_one_of(several, error)):
        return fitted
    if isinstance(several[0], Tensor) and len(several) > 1 and AS_ONE.search(error):
        passed = f"inputs is a batch of {len(several)}: did you pass the labels?"
        return f" {passed} Write inputs = batch[0]"
    if isinstance(several, list) and not isinstance(several[0], Tensor):
        return " A list is one argument. Write inputs = torch.tensor(inputs)"
    return ""


def _hint_for_missing(missing: str, several: Sequence[object] = ()) -> str:
    """Return what to pass where ``forward`` takes more arguments.

    >>> _hint_for_missing("'mask'")
    " forward takes 'mask' as well. Write inputs = (inputs, mask)"
    """
    if isinstance(several, list):
        return " A list is one argument. Write inputs = tuple(inputs)"
    names = ", ".join(re.findall(r"'(\w+)'", missing))
    given = "*inputs" if several else "inputs"
    return f" forward takes {missing} as well. Write inputs = ({given}, {names})"


def _hint_for_one_of(several: Sequence[object], error: str) -> str:
    """Return what to pass instead of the one of several tensors that doesn't fit, or "".

    >>> pair = [torch.ones(4, 8), torch.ones(4, 3)]
    >>> _hint_for_one_of(pair, "shapes cannot be multiplied (4x3 and 64x10)")
    ' inputs[1] has 3 numbers each, and the layer takes 64. Write inputs = (inputs[0], \
torch.randn(4, 64))'
    """
    names = [f"inputs[{n}]" for n in range(len(several))]
    found = _one_hint(dict(zip(names, several, strict=True)), error)
    if found is None:
        return ""
    name, why, fixed = found
    fitted = ", ".join(fixed if one == name else one for one in names)
    return f"{why} Write inputs = ({fitted}{',' if len(names) == 1 else ''})"


def _one_hint(tensors: Mapping[str, object], error: str) -> tuple[str, str, str] | None:
    """Return which of some tensors doesn't fit, why, and what to pass instead; None if unsure."""
    given = {name: one for name, one in tensors.items() if isinstance(one, Tensor)}
    hints = [(name, fit) for name, one in given.items() if (fit := _fitting(name, one, error))]
    if len(hints) > 1:  # if the dtype is wrong: indices are whole numbers on purpose
        hints = [(name, fit) for name, fit in hints if given[name].is_floating_point()]
    if len(hints) != 1:
        return None
    ((name, (why, fixed)),) = hints
    return name, f" {why}.", fixed


def _hint_for_keywords(inputs: Mapping[str, object], error: str) -> str:
    unknown, missing = UNEXPECTED.search(error), MISSING.search(error)
    if missing:
        names = re.findall(r"'(\w+)'", missing[1])
        added = ", ".join(f"{name!r}: {name}" for name in names)
        return f" forward takes {missing[1]} as well. Write inputs = {{**inputs, {added}}}"
    if unknown is None or unknown[1] not in inputs:
        found = _one_hint({f"inputs[{name!r}]": one for name, one in inputs.items()}, error)
        return "" if found is None else f"{found[1]} Write {found[0]} = {found[2]}"
    others = [name for name in inputs if name != unknown[1]]
    kept = ", ".join(f"{name!r}: inputs[{name!r}]" for name in others)
    line = f"{{{kept}}}" if others else f"inputs[{unknown[1]!r}]"
    return f" forward takes no {unknown[1]!r}. Write inputs = {line}"
