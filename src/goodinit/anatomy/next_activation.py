"""The activation that a weight's output goes through next, also where it is written out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from heapq import heappop, heappush

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node
from goodinit.dataflow.traversal import is_pass, root

# What x * f(x) is called, for an f that squashes.
_GATED = {
    "sigmoid": "silu",
    "hardsigmoid": "hardswish",
    "relu6": "hardswish",
    "tanh": "gelu",
    "erf": "gelu",
}

# GELU by hand takes ten calls, a norm and dropout before it some more. Without a bound the search
# would follow a residual stream to the end of the model, for each weight. An activation further on
# is not found: the weight counts as followed by none.
NODES_AHEAD = 40

# x * sigmoid(1.702 x) is GELU's cheap form (Hendrycks & Gimpel, 2016); Swish has a factor near 1.
CHEAP_GELU = (1.5, 2.0)


def activation_after(
    graph: Graph, start: int, adapted: Collection[int] = (), beside: Iterable[int] = ()
) -> str | None:
    """Return the name of the activation that a node's output goes through next.

    Normalization, pooling, dropout and reshaping may come between. Functions composed by hand
    are recognized: ``x * sigmoid(x)``, ``0.5 * x * (1 + tanh(...))``.

    Args:
        graph: of one run.
        start: the node.
        adapted: sums that a low-rank pair's output is added in: they count as one output.
        beside: nodes whose outputs may be added: other products of the same weight.
    """
    return _next(graph, start, adapted, beside)[0]


def is_squared_after(graph: Graph, start: int) -> bool:
    """Whether the activation that follows is squared: relu(x)^2 grows as no relu does."""
    squash = _next(graph, start, ())[1]
    after = squash.consumers if squash is not None else ()
    return [is_square(graph.nodes[index]) for index in after] == [True]


def is_square(node: Node) -> bool:
    """Whether a signal is squared, or raised to another power."""
    by_itself = node.role == "mul" and len(node.operands) == 2 and len(node.inputs) == 1
    return by_itself or node.function in ("pow", "square")


def _next(
    graph: Graph, start: int, adapted: Collection[int], beside: Iterable[int] = ()
) -> tuple[str | None, Node | None]:
    """Return the name of the activation that follows, and its node where it is one call."""
    own = {start, *beside}  # computed element by element from this output alone
    reach = max(last_consumer(graph, index) for index in own)
    found: Node | None = None
    for index in nodes_after(graph, start):
        if index > reach and not adapted:
            break
        node = graph.nodes[index]
        before = {value.node for value in node.signals}
        if not before or not (before <= own or index in adapted):
            continue
        if found is not None and node.role == "mul" and len(before) > 1:
            return _composed(graph, found), None
        if node.role == "activation":
            if found is not None and found.function != "softplus":
                continue
            found = node
        elif not (is_pass(node) or node.role in ("bend", "add", "mul")):
            continue
        own.add(index)
        reach = max(reach, last_consumer(graph, index))
    return (found.label or found.function, found) if found is not None else (None, None)


def last_consumer(graph: Graph, index: int) -> int:
    """Return the last call that takes a result: those after it are made of others as well."""
    return max(graph.nodes[index].consumers, default=index)


def nodes_after(graph: Graph, start: int) -> Iterator[int]:
    """Yield the nodes that an output reaches element by element, in the order of the calls."""
    heap, visited = list[int](), set[int]()
    for index in graph.nodes[start].consumers:
        heappush(heap, index)
    while heap and len(visited) < NODES_AHEAD:
        index = heappop(heap)
        if index in visited:
            continue
        visited.add(index)
        yield index
        node = graph.nodes[index]
        if is_pass(node) or node.role in ("activation", "bend", "add", "mul"):
            for consumer in node.consumers:
                heappush(heap, consumer)


def _composed(graph: Graph, squash: Node) -> str:
    """Return what x * f(x) is called."""
    if squash.function == "sigmoid":
        before = graph.before(squash)
        low, high = CHEAP_GELU
        if before.role == "mul" and before.number is not None and low < before.number < high:
            return "gelu"
    if squash.function == "tanh":
        before = root(graph, graph.before(squash).index)
        if graph.nodes[before].function == "softplus":
            return "mish"
    return _GATED.get(squash.function, squash.label or squash.function)
