"""Numbers that a model multiplies by beside its weights, and the scales of its attentions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import prod
from typing import NamedTuple

from torch import nn

from goodinit.anatomy.attention import Attention, attentions
from goodinit.anatomy.names import walk
from goodinit.anatomy.read import Anatomy
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import number_after


class HeadScale(NamedTuple):
    """How many products a score of an attention sums, and what it is multiplied by."""

    dimension: int
    scale: float


def multipliers(anatomy: Anatomy, role: str) -> Mapping[str, float]:
    """Return by what number the result of each parameter is multiplied, by name, if it is one.

    The role is "contract" (weights, and the biases of the same call) or "lookup".
    """
    graph = anatomy.graph
    found: defaultdict[int, set[float]] = defaultdict(set)
    for node in graph.nodes if graph is not None else ():
        used = [use for use in node.uses if _has_role(node, use, role)]
        if graph is not None and used:
            for use in used:
                head = anatomy.rows[use.param].facets.part == "head"
                found[use.param].add(number_after(graph, node.index) * _before(graph, node, head))
    return {
        anatomy.rows[n].name: numbers.pop() for n, numbers in found.items() if len(numbers) == 1
    }


def _has_role(node: Node, use: Use, role: str) -> bool:
    return use.role == role or (role == "contract" and use.role == "add" and bool(node.weights))


def _before(graph: Graph, node: Node, head: bool) -> float:
    """Return the number that a head's input is multiplied by: T5's width^-1/2."""
    if not head or len(node.signals) != 1:
        return 1.0
    before = graph.before(node)
    return before.number if before.role == "mul" and before.number is not None else 1.0


def attention_scales(anatomy: Anatomy, model: nn.Module) -> tuple[HeadScale, ...]:
    """Return the scale of each attention, in execution order; torch's own modules come last."""
    found: list[HeadScale] = []
    if anatomy.graph is not None:
        graph = anatomy.graph
        found += [one for a in attentions(graph) if (one := scale_of(graph, a)) is not None]
    for _, module in walk(model):
        if isinstance(module, nn.MultiheadAttention):
            found.append(HeadScale(module.head_dim, module.head_dim**-0.5))
    return tuple(dict.fromkeys(found))


def scale_of(graph: Graph, attention: Attention) -> HeadScale | None:
    """Return the head dimension and the scale of one attention; None of a linear one."""
    shape = graph.nodes[attention.query.node].shape
    if attention.inner is not None or not shape:
        return None  # linear attention sums over positions
    result = graph.nodes[attention.result]
    scale, dimension = 1.0, shape[-1]
    if result.role == "attention":
        scale = shape[-1] ** -0.5 if result.number is None else result.number
    operands = {attention.query.node, attention.key.node}
    for node in nodes_of_scores(graph, attention):
        if node.role == "mul" and node.number is not None:
            scale *= abs(node.number)
        if node.labels and operands <= {value.node for value in node.signals}:
            *_, labels, _, made = node.labels
            *_, first, _ = node.operands
            sizes = zip(labels, graph.nodes[first.node].shape, strict=True)
            dimension = prod(size for label, size in sizes if label not in made)
    return HeadScale(dimension * prod(_added_up(graph, index) for index in operands), scale)


def _added_up(graph: Graph, index: int) -> int:
    """Return how many numbers of a projection are added up in one of a query or key: heads."""
    count, node = 1, graph.nodes[index]
    while not node.weights and node.role in ("view", "cast", "reduce") and node.signals:
        before = graph.before(node)
        if node.function == "sum":
            count *= prod(before.shape) // prod(node.shape)
        node = before
    return count


def nodes_of_scores(graph: Graph, attention: Attention) -> Iterable[Node]:
    """Yield the nodes between the projections and an attention's result."""
    stack, visited = [attention.result], set[int]()
    values = {attention.value.node}  # what the values are multiplied by isn't a scale of scores
    while stack:
        index = stack.pop()
        node = graph.nodes[index]
        if index in visited or node.weights or index in values or not node.live:
            continue
        visited.add(index)
        yield node
        stack += [value.node for value in node.signals]
