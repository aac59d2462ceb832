"""Constants that multiply a signal: masks, factors, buffers of a module."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from goodinit._common.torch_private import without_function_modes
from goodinit.dataflow.nodes import Value
from goodinit.trace import Call

# A constant of more numbers isn't looked at: a plan reads no table of positions or scores for it.
MOST = 2**20


def mean_square(tensor: Tensor | None, shift: float = 0.0) -> float | None:
    """Return the mean square of a constant plus a number; None if it has no values, or too many."""
    if tensor is None or tensor.is_meta or not 0 < tensor.numel() <= MOST:
        return None
    with without_function_modes():
        numbers = tensor.detach()
        numbers = numbers.abs() if numbers.is_complex() and not shift else numbers
        if numbers.is_complex():
            return None
        found = _number_in(numbers.double().add(shift).square().mean())
    return found if found is not None and found < torch.inf else None  # scores are hidden by -inf


def holds_one_number(tensor: Tensor) -> bool:
    """Whether all elements are equal."""
    return bool((tensor == tensor.flatten()[0]).all())


def _number_in(tensor: Tensor) -> float | None:
    """Return the number that a tensor holds; None inside of vmap, where it has one for each row."""
    try:
        return float(tensor)
    except RuntimeError:
        return None


def constant_square(call: Call, tensors: Sequence[Tensor], values: Sequence[Value]) -> float | None:
    """Return the mean square of what a call multiplies one signal by, if it is known.

    Parameters and buffers among its operands are left to the caller.
    """
    match call.function:
        case "mul" | "div" | "rmul":
            others = [t for t, v in zip(tensors, values, strict=True) if not v.params]
            known = [found for t in others if (found := mean_square(t)) is not None]
            if len(others) - len(known) > 1 or len(known) != 1:
                return None
            (square,) = known
            return 1 / square if call.function == "div" and square else square
        case "where" if len(call.args) == 3:
            mask, chosen, other = call.args
            if _is_zero(other):
                return mean_square(mask)
            share = mean_square(mask) if _is_zero(chosen) else None
            return None if share is None else 1 - share
        case "masked_fill" if len(call.args) == 3 and _is_zero(call.args[2]):
            share = mean_square(call.args[1])
            return None if share is None else 1 - share
        case _:
            return None


def _is_zero(value: object) -> bool:
    return (
        value == 0
        if isinstance(value, (int, float))
        else (isinstance(value, Tensor) and mean_square(value) == 0.0)
    )


def number_of(value: object) -> float | None:
    """Return a number, also where a tensor that isn't a parameter holds it."""
    if isinstance(value, Tensor):
        if value.ndim or value.is_meta or not value.is_floating_point():
            return None
        with without_function_modes():
            return _number_in(value)
    return value if isinstance(value, (int, float)) else None


def number_among(call: Call) -> float | None:
    """Return the number among two operands; what is subtracted or divided by, its inverse."""
    numbers = [value for value in map(number_of, call.args[:2]) if value is not None]
    if len(call.args) < 2 or len(numbers) != 1:
        return None
    (number,) = numbers
    if call.function == "div":
        return 1 / number if number else None
    return -number if call.function == "sub" else number
