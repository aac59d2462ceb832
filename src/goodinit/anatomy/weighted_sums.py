"""Attention by products that are summed: ``(q * k).sum(-1)``, ``(w[..., None] * v).sum(1)``."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Value
from goodinit.dataflow.traversal import is_pass, signals_of, walk_back

SUMS = frozenset("sum nansum index_add scatter_add".split())

# From a weighted sum back to its scores: an exponential, its sum, a mask, the edges of a graph.
CALLS_FOLLOWED = 24

_PASSED = frozenset("add mul bend softmax pick choose".split())


class Attention(NamedTuple):
    """The three operands of an attention, and the nodes of its result.

    ``inner`` is the product of keys and values where that comes first: linear attention.
    """

    query: Value
    key: Value
    value: Value
    result: int
    inner: int | None = None


def is_product_of_signals(node: Node) -> bool:
    """Whether a call sums products of two signals."""
    return node.role == "contract" and not node.weights and len(node.signals) >= 2


def scored(graph: Graph, node: Node) -> tuple[Value, Value] | None:
    """Return the two signals that scores are made of; None if a call makes no scores."""
    if _sums_nothing(node):
        return None  # an outer product
    if is_product_of_signals(node) or node.function in ("cdist", "vecdot", "linalg_vecdot"):
        match node.signals[-2:]:
            case (first, second):
                return first, second
            case _:
                return None
    return _multiplied(graph, node) if node.function == "sum" else None


def _sums_nothing(node: Node) -> bool:
    """Whether a call multiplies signals, and each axis of theirs is one of the result."""
    *taken, result = node.labels or ((), ())
    return any(taken) and all(label in result for labels in taken for label in labels)


def weighted_sum(graph: Graph, node: Node) -> Attention | None:
    """Return the attention that a sum completes, of a signal times scores of two others."""
    pair = _multiplied(graph, node)
    for shares, value in (pair, pair[::-1]) if pair else ():
        for before in islice(walk_back(graph, [shares.node], _scores_before), CALLS_FOLLOWED):
            made = None if before.index == value.node else scored(graph, before)
            if made is not None:
                return Attention(*made, value, node.index)
    return None


def _scores_before(node: Node) -> Iterable[int]:
    return signals_of(node) if is_pass(node) or node.role in _PASSED else ()


def _multiplied(graph: Graph, sum_: Node) -> tuple[Value, Value] | None:
    """Return the two signals whose product, number by number, a call sums."""
    signals = [value for value in sum_.signals if graph.nodes[value.node].role != "source"]
    node = graph.nodes[signals[-1].node] if signals else sum_
    while node.role in ("view", "cast") and node.signals:
        node = graph.before(node)
    if node.role != "mul" or len(node.signals) != 2:
        return None
    first, second = node.signals
    return None if first.node == second.node else (first, second)
