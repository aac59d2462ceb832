"""Numbers that a product is multiplied by: ``linear(x, w) / sqrt(n)``, as in NTK's layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import isclose

from goodinit.anatomy.roles import Roles
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use

__all__ = ["with_factor"]

# c^2 fan_in of layers whose factor c makes up for weights of N(0, 1): 1, and 2 with relu's gain.
NEUTRAL = (1.0, 2.0)

# Parts whose products have a factor by design: scores of attention and of experts.
_SCORES = frozenset(("q", "k", "v", "router"))


def with_factor(graph: Graph, roles: Roles, use: Use) -> Use:
    """Return a use whose product, or whose input, is multiplied by a number.

    Whether the number is meant for the weight isn't known: the row is doubted. The number belongs
    to the weight if it makes a weight of N(0, 1) neutral.

    Args:
        graph: of the run.
        roles: of its weights.
        use: of a weight.
    """
    fan = use.fan_in
    if use.node in roles.ends or roles.parts.get(use.node) in _SCORES:
        return use
    for number in (*_after(graph, use.node), *_before(graph, use.node)):
        if any(isclose(number * number * fan, neutral, rel_tol=0.01) for neutral in NEUTRAL):
            share = number * number
            doubt = f"its product is multiplied by {number:.3g}, which is taken for a part of it"
            fans = {"fan_in": fan * share, "fan_out": use.fan_out * share}
            return replace(use, **fans, measured=True, doubt=use.doubt or doubt)
    for number in _after(graph, use.node, bare=True):
        doubt = f"its product is multiplied by {number:.3g}, which isn't in its fans"
        return replace(use, doubt=use.doubt or doubt)
    return use


def _after(graph: Graph, index: int, bare: bool = False) -> Iterator[float]:
    """Yield the number that a product is multiplied by, if nothing else is done with it.

    Args:
        graph: of the run.
        index: of the product.
        bare: whether no activation or sum of signals follows, in which it has its own meaning.
    """
    node = _only_consumer(graph, graph.nodes[index])
    if node is None or node.role != "mul" or not node.number or node.number == 1:
        return
    after = _only_consumer(graph, node)
    means = after is not None and (after.role in _OWN or len(after.signals) > 1)
    if not (bare and means):
        yield abs(node.number)


_OWN = frozenset("activation bend softmax".split())


def _before(graph: Graph, index: int) -> Iterator[float]:
    """Yield the number that an input is multiplied by, for this product alone."""
    for value in graph.nodes[index].signals[:1]:
        node = graph.nodes[value.node]
        while node.role in ("view", "cast") and node.signals and len(node.consumers) == 1:
            node = graph.nodes[node.signals[0].node]
        if node.role == "mul" and node.number is not None and len(node.consumers) == 1:
            yield abs(node.number)


def _only_consumer(graph: Graph, node: Node) -> Node | None:
    while len(node.consumers) == 1:
        node = graph.nodes[node.consumers[0]]
        if node.role not in ("view", "cast"):
            return node
    return None
