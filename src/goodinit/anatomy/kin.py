"""Signals that a product meets again: multiplied by what it is a part of, or added up in a row."""

from __future__ import annotations

from itertools import islice
from math import prod

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Value
from goodinit.dataflow.traversal import walk_forward

# Calls from a factor back to what it is a sum of, and from an activation to a running sum.
CALLS_FOLLOWED = 24

# Running sums of logarithms and steps go into one of these, and cutting points into a comparison.
_TAKEN_BY = frozenset("exp exp2 lt le gt ge searchsorted bucketize".split())


def are_kin(graph: Graph, node: Node) -> bool:
    """Whether a call multiplies, number by number, two signals that are sums with a common term.

    Parts that a signal was cut into have nothing in common.
    """
    if node.role != "mul" or len(node.signals) != 2:
        return False
    first, second = (_parts(graph, value) for value in node.signals)
    return not first.isdisjoint(second) and len(first | second) > 1


def is_multiplied_by_itself(node: Node) -> bool:
    """Whether both factors are one signal, and not two parts that it was cut into."""
    return len(node.signals) == 2 and node.signals[0] is node.signals[1]


def multiplies_what_is_added(graph: Graph, node: Node) -> bool:
    """Whether a product of two signals is added to one of them: ``x * g + x`` is x * (1 + g)."""
    if node.role != "mul" or len(node.signals) != 2:
        return False
    factors = [_parts(graph, value) for value in node.signals]
    passed = {node.index}
    for after in islice(walk_forward(graph, node.index, _is_view), CALLS_FOLLOWED):
        if _is_view(after):
            passed.add(after.index)
        elif after.role == "add" and len(after.signals) == 2:
            added = [_parts(graph, v) for v in after.signals if v.node not in passed]
            return any(not part.isdisjoint(factor) for part in added for factor in factors)
    return False


def is_run_up(graph: Graph, node: Node) -> bool:
    """Whether a running sum of an activation's result is taken, and not for an exponential."""
    if node.role != "activation":
        return False
    onward = walk_forward(graph, node.index, _is_alone)
    sums = [n for n in islice(onward, CALLS_FOLLOWED) if n.function == "cumsum"]
    return bool(sums) and not any(_is_taken(graph, one.index) for one in sums)


def _is_taken(graph: Graph, index: int) -> bool:
    def follow(node: Node) -> bool:
        return node.role in ("view", "cast", "pointwise", "add", "mul")

    onward = islice(walk_forward(graph, index, follow), CALLS_FOLLOWED)
    return any(node.function in _TAKEN_BY or node.role == "softmax" for node in onward)


def _parts(graph: Graph, value: Value) -> set[tuple[int, int]]:
    """Return the terms that a signal is a sum of, each perhaps with a factor."""
    stack, found = [value], set[tuple[int, int]]()
    for _ in range(CALLS_FOLLOWED):
        if not stack:
            break
        one = stack.pop()
        node = graph.nodes[one.node]
        cut = node.role in ("view", "cast") and _is_cut(graph, node)
        sums = node.role == "add" and bool(node.signals)
        if sums or (node.signals and not cut and _is_alone(node)):
            stack += node.signals
        else:
            found.add((node.index, id(one) if cut else 0))
    return found


def _is_cut(graph: Graph, node: Node) -> bool:
    before = graph.before(node) if node.signals else node
    return prod(node.shape) < prod(before.shape)


def _is_view(node: Node) -> bool:
    return node.role in ("view", "cast")


def _is_alone(node: Node) -> bool:
    """Whether one signal is reshaped, shifted or scaled."""
    return _is_view(node) or (node.role in ("add", "mul") and len(node.signals) == 1)
