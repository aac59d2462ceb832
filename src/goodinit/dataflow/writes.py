"""Writes into a part of a tensor: ``zeros[:, :48].copy_(x)``, ``x[:, 24:] = 0``.

What is read afterwards is the whole tensor, of which the call that wrote shows a part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from goodinit._common.torch_private import storage_key, without_function_modes
from goodinit.dataflow.functions import ZEROS
from goodinit.dataflow.nodes import Linear, Node
from goodinit.dataflow.origins import Layout
from goodinit.trace import Call, tensors_in

_CHANGES = frozenset("zero fill copy add sub mul div setitem index_fill masked_fill".split())
_INDEXED = frozenset(("index_fill", "masked_fill"))
_SETS = frozenset(("fill", "mul", "setitem"))


def note_write(
    node: Node, call: Call, tensors: Sequence[Tensor], before: Node, memory: Layout
) -> None:
    """Note on a call that writes in place what it leaves of the tensor that it writes to.

    The first of its tensors is written to. ``before`` is the node that made, or last wrote to,
    that tensor's memory, and ``memory`` the layout of the tensor that it was made as.
    """
    if node.function not in _CHANGES:
        return
    destination = {before.index, node.operands[0].node} if before.live else set[int]()
    signals = tuple(v for v in node.signals if v.node not in destination)
    if node.function == "setitem" and _is_of(tensors[0], tensors[1:]):
        node.signals, node.linear = node.signals[:1], Linear((1.0,))  # part += x, put back
        node.shape, node.written = memory[0], before.written
        return
    part = _part(node, call, tensors[0], memory)
    if part is None:
        node.overwrites = before.live and not signals and node.function == "setitem"
        return
    share, axes = part
    if node.function in _INDEXED or share == 1:
        return
    if before.live and not before.written:
        if not signals:  # constants alone
            zeros = node.function == "zero" or (node.function in _SETS and _is_zero(call.args[-1]))
            node.linear = Linear((1 - share,), 0.0, axes)
            node.overwrites, node.shape = not zeros, memory[0]
        return
    if len(signals) == 1 and (before.written or before.function in ZEROS):
        filled = isinstance(before.linear, Linear) and before.written
        again = filled and node.function in ("add", "sub")  # perhaps to the same numbers
        before_axes = before.linear.joins if isinstance(before.linear, Linear) else ()
        node.shape, node.overwrites = memory[0], bool(again)
        node.written = min(before.written + share, 1.0)
        shares = (1.0, share) if len(node.signals) > 1 else (share,)  # what was there, and more
        node.linear = Linear(shares, 0.0, tuple(sorted({*axes, *before_axes})))


def _part(
    node: Node, call: Call, written: Tensor, memory: Layout
) -> tuple[float, tuple[int, ...]] | None:
    """Return the share of a tensor that is written to, and the axes along which it is a part.

    All axes where every other number is, so that what lies between isn't positions of its own.
    """
    shape, strides, _ = memory
    part = written
    if node.function == "setitem":
        if any(True for _ in tensors_in(call.args[1])):
            return None
        with without_function_modes():
            whole = torch.empty(0, device="meta").as_strided(written.shape, written.stride())
            part = whole[call.args[1]]
    if any(n > 1 and s == 0 for n, s in zip(part.shape, part.stride(), strict=True)):
        return None
    share = part.numel() / max(math.prod(shape), 1)
    kept = set(zip(part.shape, part.stride(), strict=True))
    steps = {stride for n, stride in kept if n > 1}
    if not steps <= set(strides):
        return share, tuple(range(len(shape)))
    pairs = enumerate(zip(shape, strides, strict=True))
    return share, tuple(axis for axis, one in pairs if one[0] > 1 and one not in kept)


def _is_zero(value: object) -> bool:
    return not isinstance(value, Tensor) and value == 0


def _is_of(written: Tensor, others: Sequence[Tensor]) -> bool:
    """Whether another tensor is a part of the one that is written to."""
    return any(storage_key(other) == storage_key(written) for other in others)
