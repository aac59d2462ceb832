"""Which axes of a product of two activations are the same, and which are summed over."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters

from torch import Tensor

from goodinit.trace import Call

Labels = tuple[tuple[int, ...], ...]

_PRODUCTS = frozenset(("matmul", "mm", "bmm", "mv", "dot", "rmatmul", "baddbmm", "addmm"))
_LETTERS = frozenset(map(ord, ascii_letters))
_SUMMED, _ROW, _COLUMN, _BATCH = 0, 1, 2, 3  # _BATCH, and what follows, count from the right


def labels_of(call: Call, tensors: Sequence[Tensor]) -> Labels:
    """Return a label for each axis of each operand and, last, of the result; () if unknown.

    Example:
        >>> import torch
        >>> a, b = torch.ones(2, 3, 4), torch.ones(2, 4, 5)
        >>> labels_of(Call("", "bmm", False, (a, b), {}, None), (a, b))
        ((3, 1, 0), (3, 0, 2), (3, 1, 2))
    """
    if call.function == "einsum":
        return _of_equation(call.args[0] if call.args else None, tensors)
    if call.function not in _PRODUCTS or len(tensors) not in (2, 3):
        return ()
    left, right = tensors[-2:][::-1] if call.function == "rmatmul" else tensors[-2:]
    batch = tuple(_BATCH + i for i in reversed(range(max(left.ndim, right.ndim, 2) - 2)))
    rows = (_ROW, _SUMMED)[2 - min(left.ndim, 2) :]
    columns = (_SUMMED, _COLUMN)[: min(right.ndim, 2)]
    first = (*batch[len(batch) - max(left.ndim - 2, 0) :], *rows)
    second = (*batch[len(batch) - max(right.ndim - 2, 0) :], *columns)
    result = (*batch, *(label for label in (*rows, *columns) if label != _SUMMED))
    pair = (second, first) if call.function == "rmatmul" else (first, second)
    return (*pair, result) if len(tensors) == 2 else (result, *pair, result)


def _of_equation(equation: object, tensors: Sequence[Tensor]) -> Labels:
    if not isinstance(equation, str) or "->" not in equation:
        return ()
    left, _, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        return ()
    found = [_letters(term, tensor.ndim) for term, tensor in zip(terms, tensors, strict=True)]
    hidden = max((len(labels) - len(set(labels) & _LETTERS) for labels in found), default=0)
    found.append(_letters(right, len(right.replace("...", "")) + hidden))
    return tuple(found)


def _letters(term: str, rank: int) -> tuple[int, ...]:
    """Return a term's labels; an ellipsis stands for negative ones, counted from the right."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after) if dots else 0
    return (*map(ord, before), *range(-hidden, 0), *map(ord, after))
