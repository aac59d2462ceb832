"""Walking a data-flow graph: what a signal passes on its way, forth and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node

__all__ = [
    "back",
    "back_to_contractions",
    "forth",
    "is_pass",
    "leads_to",
    "reaches",
    "root",
]

_PASS = frozenset(("view", "cast", "pointwise", "norm", "pool"))


def is_pass(node: Node) -> bool:
    """Whether one signal goes through: reshaped, normalised, pooled, shifted or scaled."""
    if node.role in _PASS:
        return True
    if node.role in ("add", "mul"):
        return len({value.node for value in node.signals}) == 1
    return False


def root(graph: Graph, index: int) -> int:
    """Return where a signal came from, back through what it merely passed."""
    node = graph.nodes[index]
    while is_pass(node):
        before = node.signals
        if not before:
            break
        node = graph.nodes[before[0].node]
    return node.index


def back(
    graph: Graph, start: Iterable[int], go: Callable[[Node], Iterable[int]], floor: int = -1
) -> Iterator[Node]:
    """Yield nodes backwards from some, each once; ``go`` says where to go on from each."""
    stack, seen = list(start), set[int]()
    while stack:
        index = stack.pop()
        if index in seen or index <= floor:
            continue
        seen.add(index)
        node = graph.nodes[index]
        yield node
        stack.extend(go(node))


def forth(graph: Graph, start: int, go: Callable[[Node], bool]) -> Iterator[Node]:
    """Yield what consumes a node's result, and what consumes that where ``go`` lets through."""
    stack, seen = list(reversed(graph.nodes[start].consumers)), set[int]()
    while stack:
        index = stack.pop()
        if index in seen:
            continue
        seen.add(index)
        node = graph.nodes[index]
        yield node
        if go(node):
            stack.extend(reversed(node.consumers))


def reaches(graph: Graph, source: int, target: int) -> bool:
    """Whether a path of activations leads from one node to a later one."""
    return leads_to(lambda n: (value.node for value in graph.nodes[n].signals), source, target)


def leads_to(taken_by: Callable[[int], Iterable[int]], source: int, target: int) -> bool:
    """Whether a call's result is used for a later one's, by their numbers in execution order.

    Args:
        taken_by: returns the calls whose results a call took.
        source: the earlier call.
        target: the later one.
    """
    stack, visited = [target], set[int]()
    while stack:
        number = stack.pop()
        if number == source:
            return True
        if number > source and number not in visited:
            visited.add(number)
            stack += taken_by(number)
    return False


def back_to_contractions(graph: Graph, index: int, floor: int = -1) -> list[Node]:
    """Return the weighted contractions whose outputs, sums or products a signal is made of.

    A factor that comes out of an activation or a softmax is a gate: it is not followed, unless
    all are.
    """

    def go(node: Node) -> Iterable[int]:
        if node.weights or node.role in ("opaque", "softmax", "choose"):
            return ()
        before = [value.node for value in node.signals]
        if node.role == "attention":
            return before[2:3] or before
        if node.role in ("mul", "contract") and len(before) > 1:
            return [i for i in before if not _is_gate(graph, i)] or before
        if node.role == "pick":
            return before[:1]
        return before

    return [node for node in back(graph, [index], go, floor) if node.weights]


def _is_gate(graph: Graph, index: int) -> bool:
    """Whether a factor is a score: picked, placed and summed, but with no weight behind it."""
    ends = ("activation", "softmax", "choose")

    def go(node: Node) -> Iterable[int]:
        if node.role in ends or node.weights:
            return ()
        if is_pass(node) or node.role in ("join", "pick", "reduce"):
            return (value.node for value in node.signals)
        return ()

    nodes = list(back(graph, [index], go))
    return any(node.role in ends for node in nodes) and not any(node.weights for node in nodes)
