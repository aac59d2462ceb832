"""Slices of one weight whose products are added up: together they sum over all of their inputs.

``x[:, :16] @ w[:16] + x[:, 16:] @ w[16:]`` is ``x @ w``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from goodinit.dataflow.functions import ADD_FIRST
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import reaches

OTHER_FANS = "it is used again, and sums over other axes there: its fans are those of one use"

ADDED_TWICE = "the same product is added up more than once, which its fans leave out"

IN_PARTS = (
    "products with it are added to parts of a tensor: which of them to one number isn't known"
)

BESIDE = "the product of another weight is added to its own"

# How many calls are followed from a product to a sum, for each of the slices.
CALLS_A_SLICE = 8


def joined(graph: Graph, use: Use, uses: Sequence[Use]) -> Use:
    """Return a use with the fan of all slices whose products are added to its own."""
    again = [one for one in uses if one.node != use.node and graph.nodes[one.node].live]
    others = [other for other in again if _are_apart(use, other)]
    if not others and _is_added_twice(graph, use, again):
        return replace(use, doubt=use.doubt or ADDED_TWICE)
    if not others:
        both = any((one.fan_in, one.inputs) != (use.fan_in, use.inputs) for one in again)
        return replace(use, doubt=use.doubt or OTHER_FANS) if both else use
    limit = CALLS_A_SLICE * (len(others) + 1)
    sums = _sums_after(graph, use.node, limit)
    added = [other for other in others if _meet(graph, use, other, sums, limit)]
    if not added:
        apart = any(other.fan_in != use.fan_in for other in others)
        doubt = "slices of it have other fans" if apart else ""
        return replace(use, doubt=use.doubt or doubt)
    made = use.origin.made  # alike computed, of which `use` alone was measured
    fan_in = sum((use if made and not one.measured else one).fan_in for one in (use, *added))
    if (weights := _sliced(graph, use)) > 1:
        fan_in = float(f"{use.fan_in * (fan_in / use.fan_in) ** (1 / weights):.6g}")
    doubts = [one.doubt for one in (use, *added) if one.doubt]
    if any(graph.nodes[index].overwrites for index in sums):
        doubts.append(IN_PARTS)
    if use.origin.made:
        doubts.append(
            f"several {use.origin.made}(W) are added up, as if they had nothing in common"
        )
    return replace(use, fan_in=fan_in, measured=True, doubt=next(iter(doubts), ""))


def _sliced(graph: Graph, use: Use) -> int:
    """Return how many weights of a product are slices: they share the number of products."""
    uses = graph.nodes[use.node].weights
    return sum(one.origin.box != tuple((0, n) for n in graph.shapes[one.param]) for one in uses)


def beside(graph: Graph, use: Use) -> str:
    """Return what to say of two weights of one input whose products are added, or "".

    One that is computed, or zero at first, is an addition to the other.
    """
    for mine, other in _pairs(graph, use):
        both = (use, *graph.nodes[other].weights)
        weights = {one.param for one in both}
        if len(weights) == len(both) > 1 and input_of(graph, mine) == input_of(graph, other):
            return "" if any(one.origin.made or is_zero(graph, one) for one in both) else BESIDE
    return ""


def is_zero(graph: Graph, use: Use) -> bool:
    """Whether a weight holds zeros, which stay where something else carries the signal."""
    held = graph.held.get(use.param)
    return held is not None and not held.is_meta and not held.any()


def _is_added_twice(graph: Graph, use: Use, again: Sequence[Use]) -> bool:
    """Whether a weight is used again on the same input, and both products are added."""
    same = [one for one in again if input_of(graph, one.node) == input_of(graph, use.node)]
    if not same:
        return False
    limit = CALLS_A_SLICE * (len(same) + 1)
    sums = _sums_after(graph, use.node, limit)
    return any(_meet(graph, use, one, sums, limit) for one in same)


def _pairs(graph: Graph, use: Use) -> list[tuple[int, int]]:
    """Return the product of a use with each product that is directly added to it."""
    found: list[tuple[int, int]] = []
    for number in graph.nodes[use.node].consumers:
        node = graph.nodes[number]
        if node.role == "add" and len(node.signals) == 2:
            (other,) = [v.node for v in node.signals if v.node != use.node] or [use.node]
            if other != use.node and graph.nodes[other].weights:
                found.append((use.node, other))
    return found


def input_of(graph: Graph, index: int) -> int:
    """Return where the input of a product came from, views left out."""
    node = graph.nodes[index]
    node = graph.before(node) if node.signals else node
    while node.role in ("view", "cast") and node.signals:
        node = graph.before(node)
    return node.index


def _are_apart(use: Use, other: Use) -> bool:
    """Whether two slices have no element in common, for other inputs of the same outputs."""
    if use.origin.made and other.origin.made == use.origin.made:
        return True  # picked by indices: which ones isn't looked at
    for axis, (a, b) in enumerate(zip(use.origin.box, other.origin.box, strict=True)):
        if axis not in use.outputs and (a[1] <= b[0] or b[1] <= a[0]):
            return True
        strided = a[0] != b[0] and use.origin.sizes[axis] > use.fan_in  # w[::2] and w[1::2]
        if axis in use.inputs and strided:
            return True
    return False


def _meet(graph: Graph, use: Use, other: Use, sums: set[int], limit: int) -> bool:
    if other.node in sums:  # y = addmm(y, x, w)
        return True
    if sums.isdisjoint(_sums_after(graph, other.node, limit)):
        return False
    first, last = sorted((use.node, other.node))
    return not reaches(graph, first, last)


def _sums_after(graph: Graph, start: int, limit: int) -> set[int]:
    """Return the sums that a product goes into, with nothing but reshapes in between."""
    found, stack, visited = set[int](), [start], set[int]()
    while stack and len(visited) < limit:
        index = stack.pop()
        for number in graph.nodes[index].consumers:
            node = graph.nodes[number]
            if number not in visited and _adds_or_passes(node, index):
                visited.add(number)
                stack.append(number)
                if node.role not in ("view", "cast", "join"):
                    found.add(number)
    return found


def _adds_or_passes(node: Node, before: int) -> bool:
    if node.role in ("view", "cast", "join") or node.function == "sum":
        return True
    if node.role == "add":
        return True
    return node.function in ADD_FIRST and bool(node.operands) and node.operands[0].node == before
