"""Calls whose results are multiples of their signals plus a constant: sums, joins, padding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from goodinit._common.torch_private import without_function_modes
from goodinit.dataflow.constants import mean_square, number_of
from goodinit.dataflow.functions import ZEROS
from goodinit.dataflow.nodes import Linear, Node, Value
from goodinit.dataflow.recorder import is_number
from goodinit.dataflow.unlisted import MEASURED, Unlisted, is_by_constants, unlisted
from goodinit.trace import Call

# A larger constant that is added isn't looked at: each layer may do so with a mask of scores.
MOST_ADDED = 2**14

# Sines of positions have 1/2, and tables of statistics 0 at first: they are added by design.
LEAST_ADDED = 1.0

# The last write a signal into a tensor at a place of its own.
_SUMS = frozenset("add sub rsub __radd__ lerp addcmul".split())
_JOINS = frozenset("cat concat stack hstack vstack dstack column_stack".split())
_PADS = frozenset(("pad", "constant_pad_nd"))
_WRITES = frozenset(
    "setitem scatter index_copy index_put slice_scatter select_scatter diagonal_scatter".split()
)
# They add rows of a signal to those of another tensor.
_ADDS = frozenset(("index_add", "scatter_add"))

_FOLLOWED = _SUMS | _JOINS | _PADS | _WRITES | _ADDS | MEASURED


def is_followed(node: Node) -> bool:
    """Whether `linear_in` describes a call, which it tries for those by the role "other" too."""
    if node.role == "contract":
        return is_by_constants(node)
    return node.role == "other" or node.function in _FOLLOWED


def numbers_among(node: Node, tensors: Sequence[Tensor]) -> tuple[Value, ...]:
    """Return the signals of a call that are numbers; indices only if there is nothing else."""
    signals = {id(value) for value in node.signals}
    pairs = zip(node.operands, tensors, strict=True)
    return tuple(v for v, t in pairs if id(v) in signals and is_number(t)) or node.signals


def linear_in(
    node: Node,
    call: Call,
    tensors: Sequence[Tensor],
    makers: Sequence[Node],
    held: Callable[[Tensor], Tensor | None],
    is_buffer: Callable[[Tensor], bool],
) -> Linear | Unlisted | None:
    """Return a call's result as multiples of its signals plus a constant; None if it isn't.

    ``held`` returns what a parameter or buffer holds, and None for other tensors.
    """
    name = node.function
    if name in _SUMS:
        return _sum(name, call, tensors, makers, held, is_buffer)
    if name in _PADS:
        if _given(call, 2, "mode", "constant") != "constant":
            return Linear((1.0,))
        added = _square(_given(call, 3, "value", 0.0)) or 0.0
        share = tensors[0].numel() / max(math.prod(node.shape), 1)
        axes = _axes(node, tensors[:1]) or tuple(range(len(node.shape)))  # a shift
        return Linear((share,), added * (1 - share), axes)
    if name in _JOINS or (name in _WRITES and len(node.signals) == 1 and not makers[0].live):
        return _join(name, node, tensors, makers)
    if name in _ADDS:
        zeros = len(node.signals) == 1 and makers[0].function in ZEROS
        live = _signals(tensors, makers)
        return Linear(((live[0].numel() / math.prod(node.shape)) ** 0.5,)) if zeros else None
    return unlisted(node, call, tensors, makers, held)


def _signals(tensors: Sequence[Tensor], makers: Sequence[Node]) -> list[Tensor]:
    """Return the signals among tensors; indices only if there is nothing else."""
    live = [t for t, maker in zip(tensors, makers, strict=True) if maker.live]
    return list(filter(is_number, live)) or live


def _given(call: Call, position: int, name: str, default: object) -> object:
    given = call.kwargs.get(name, call.args[position] if len(call.args) > position else default)
    return default if given is None else given


def _sum(
    name: str,
    call: Call,
    tensors: Sequence[Tensor],
    makers: Sequence[Node],
    held: Callable[[Tensor], Tensor | None],
    is_buffer: Callable[[Tensor], bool],
) -> Linear | None:
    """A sum of two operands, each a signal, a tensor of constants or a number."""
    operands = [call.kwargs.get(k) for k in ("input", "other", "end") if k in call.kwargs]
    first, second, *_ = [*call.args, *operands, None, None]
    alpha = call.kwargs.get("alpha", 1)
    a, b = (1.0, alpha) if name != "sub" else (1.0, -alpha)
    if name == "rsub":
        first, second, b = second, first, -1.0
    if name == "lerp":
        shares = _shares(_given(call, 2, "weight", None), held)
        if shares is None:
            return None
        a, b = shares
    if name == "addcmul":
        return None if any(maker.live for maker in makers[:1]) else _addcmul(call, makers)
    if not isinstance(b, (int, float)):
        return None
    live = {id(t): maker.live for t, maker in zip(tensors, makers, strict=True)}
    factors, added = list[float](), 0.0
    for operand, factor in ((first, a), (second, b)):
        if live.get(id(operand)):
            factors.append(factor)
        elif isinstance(operand, Tensor) and (value := held(operand)) is not None:
            added += factor**2 * (_square_of_one(value) or _large(value, is_buffer(operand)))
        elif (square := _square(operand)) is not None:
            added += factor**2 * square
    return Linear(tuple(factors), added)


def _shares(weight: object, held: Callable[[Tensor], Tensor | None]) -> tuple[float, float] | None:
    """Return 1 - w and w for a weight w between two tensors; for several, root mean squares."""
    number = number_of(weight)
    if number is not None:
        return 1 - number, number
    if not isinstance(weight, Tensor):
        return None
    value = held(weight) if weight.is_meta else weight
    squares = mean_square(value, -1.0), mean_square(value)
    if squares[0] is None or squares[1] is None:
        return None
    return squares[0] ** 0.5, squares[1] ** 0.5


def _addcmul(call: Call, makers: Sequence[Node]) -> Linear | None:
    """A constant plus a signal times a constant."""
    start, *pair = call.args[:3]
    value = call.kwargs.get("value", 1)
    known = [_square(t) for t, maker in zip(pair, makers[1:], strict=False) if not maker.live]
    if len(known) != 1 or None in known or not isinstance(value, (int, float)):
        return None
    (square,) = known
    return Linear((value * (square or 0.0) ** 0.5,), _square(start) or 0.0)


def _join(
    name: str, node: Node, tensors: Sequence[Tensor], makers: Sequence[Node]
) -> Linear | None:
    """Signals beside constants, or written over some of them."""
    live = _signals(tensors, makers)
    size = max(math.prod(node.shape), 1)
    shares = tuple(t.numel() / size for t in live)
    left = max(1 - sum(shares), 0.0)
    added = 0.0
    if name not in _JOINS:  # what is left of the constants
        if shares[0] > 1:
            return None
        added = 0.0 if makers[0].function in ZEROS else left * (_square(tensors[0]) or 0.0)
    else:
        for tensor, maker in zip(tensors, makers, strict=True):
            if not maker.live and maker.function not in ZEROS:
                added += (_square(tensor) or 0.0) * tensor.numel() / size
    return Linear(shares, added, _axes(node, live))


def _axes(node: Node, signals: Sequence[Tensor]) -> tuple[int, ...]:
    """Return the axes along which signals are shorter than a result."""
    rank = len(node.shape)
    if any(signal.dim() != rank for signal in signals):
        return tuple(range(rank))
    axes = range(rank)
    return tuple(a for a in axes if any(s.shape[a] != node.shape[a] for s in signals))


def _square_of_one(held: Tensor) -> float:
    """Return the square of a tensor's only number; 0 if it has several, which may be drawn."""
    if not held.numel() or held.is_complex() or held.layout is not torch.strided:
        return 0.0
    first = held.detach().flatten()[:1]
    with without_function_modes():
        return float(first.double() ** 2) if bool((held == first).all()) else 0.0


def _large(held: Tensor, is_buffer: bool) -> float:
    """Return the mean square of a buffer's numbers where they are larger than a signal, else 0."""
    square = _square(held) or 0.0 if is_buffer else 0.0
    return square if square > LEAST_ADDED else 0.0


def _square(value: object) -> float | None:
    if isinstance(value, Tensor):
        return mean_square(value) if value.numel() <= MOST_ADDED else None
    return value**2 if isinstance(value, (int, float)) else None
