"""Sums with scores that add up to no known number: an adjacency, scores that nothing divides.

After a softmax, divided by their sum, or before a norm, scores are shares, and no doubt.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from goodinit.anatomy.multiples import Multiples
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node
from goodinit.dataflow.traversal import is_share, root, signals_of, walk_back, walk_forward

PRODUCT = "its product is summed with scores that add up to no known number"
INPUT = "its input is a sum with scores that add up to no known number"

# Calls that make scores of a model's inputs: degrees of a graph, distances.
CALLS_FOLLOWED = 40

_SUMS = frozenset("sum nansum index_add scatter_add".split())
_BENT = frozenset("softmax norm activation choose attention opaque contract".split())


def summed_by_scores(graph: Graph, multiples: Multiples, index: int) -> str:
    """Return what to say of a product with a weight that is summed with scores, or ""."""
    if graph.nodes[index].generates is not None:
        return ""  # it is a weight
    taken = multiples.after(index)[1]
    kinds = [(n.role, len(n.signals), len(n.weights)) for n in taken]
    if kinds in ([("contract", 2, 0)], [("mul", 2, 0)]):
        (mixing,) = taken
        scores = [v.node for v in mixing.signals if _is_score(graph, v.node)]
        summed = mixing.role == "contract" or _is_summed(graph, mixing)
        if scores and summed and not _is_divided(multiples, mixing):
            return PRODUCT
    before = graph.nodes[index].signals[:1]
    return INPUT if before and _is_mixed(graph, root(graph, before[0].node)) else ""


def _is_score(graph: Graph, index: int) -> bool:
    """Whether a signal is a product of activations, or made of the model's inputs alone."""
    first = graph.nodes[root(graph, index)]
    return (first.role == "contract" and not first.weights) or _is_given(graph, first.index)


def _is_given(graph: Graph, index: int) -> bool:
    """Whether a signal is made of the model's inputs by no weight, and is no share of one."""

    def follow(node: Node) -> Iterable[int]:
        return () if _is_bent(node) else signals_of(node)

    nodes = list(islice(walk_back(graph, [index], follow), CALLS_FOLLOWED))
    return len(nodes) < CALLS_FOLLOWED and not any(map(_is_bent, nodes))


def _is_bent(node: Node) -> bool:
    return bool(node.weights) or node.role in _BENT or is_share(node.function)


def _is_mixed(graph: Graph, index: int) -> bool:
    """Whether a signal is a sum of products of activations, one of which the model was given."""
    node = graph.nodes[index]
    if node.role != "contract" or node.weights or len(node.signals) != 2:
        return False
    roots = [graph.nodes[root(graph, value.node)] for value in node.signals]
    shares = any(n.role == "softmax" or is_share(n.function) for n in roots)
    return not shares and any(n.role == "source" for n in roots)


def _is_summed(graph: Graph, node: Node) -> bool:
    """Whether a product, number by number, is summed over positions."""
    onward = walk_forward(graph, node.index, lambda n: n.role in ("view", "cast"))
    return any(other.function in _SUMS for other in onward)


def _is_divided(multiples: Multiples, mixing: Node) -> bool:
    after = multiples.after(mixing.index)[1]
    return any(n.role == "norm" or (n.function == "div" and len(n.signals) > 1) for n in after)
