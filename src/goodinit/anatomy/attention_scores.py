"""What makes the scores of an attention: which weights, and by what they are multiplied."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from torch import nn

from goodinit._common.sequences import only
from goodinit.anatomy.attention import Attention, attentions
from goodinit.anatomy.multipliers import nodes_of_scores, scale_of
from goodinit.anatomy.read import Anatomy
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Value
from goodinit.dataflow.traversal import is_pass

FUSED = "multi_head_attention_forward"


class Scores(NamedTuple):
    """Scores that are products of queries and keys, without a norm on either.

    Attributes:
        query: name of the weight that makes the queries.
        key: name of the one that makes the keys, maybe the same.
        dimension: of a head: how many products are summed.
        scale: what the sums are multiplied by.
        positions: how many scores a row of the softmax has, at most.
    """

    query: str
    key: str
    dimension: int
    scale: float
    positions: int

    def std(self, query: float, key: float) -> float:
        """Return the standard deviation of the scores, by the second moments of both."""
        return abs(self.scale) * math.sqrt(self.dimension * query * key)


def attention_scores(anatomy: Anatomy) -> tuple[Scores, ...]:
    """Return what makes the scores of each attention whose queries and keys are projections.

    Without a data flow these are none.
    """
    graph = anatomy.graph
    if graph is None:
        return ()
    found = [one for a in attentions(graph) if (one := _scores_of(graph, a, anatomy)) is not None]
    found += [one for node in graph.nodes if (one := _of_module(graph, node, anatomy)) is not None]
    return tuple(dict.fromkeys(found))


def _scores_of(graph: Graph, attention: Attention, anatomy: Anatomy) -> Scores | None:
    head = scale_of(graph, attention)
    made = [_projection(graph, value) for value in (attention.query, attention.key)]
    between = list(nodes_of_scores(graph, attention))
    shares = any(node.role in ("softmax", "attention") for node in between)
    if head is None or not shares or None in made:
        return None
    query, key = (anatomy.rows[param].name for param in made if param is not None)
    positions = _positions(graph, attention, between)
    return Scores(query, key, head.dimension, head.scale, positions)


def _projection(graph: Graph, value: Value) -> int | None:
    """Return the one weight that makes queries or keys; None if a norm or more comes between."""
    node = graph.nodes[value.node]
    while not node.weights:
        before = {one.node for one in node.signals}
        plain = node.role in ("view", "cast") or (node.role == "mul" and node.number is not None)
        if len(before) != 1 or not (plain and is_pass(node)):
            return None
        node = graph.nodes[before.pop()]
    use = only(node.weights)
    return None if use is None else use.param


def _positions(graph: Graph, attention: Attention, between: Iterable[Node]) -> int:
    """Return how many scores shares are made of: of a softmax the last axis, however keys lie."""
    shapes = [node.shape for node in between if node.role == "softmax" and node.shape]
    if shapes:
        return max(shape[-1] for shape in shapes)
    *_, positions, _ = (1, *graph.nodes[attention.key.node].shape)
    return positions


def _of_module(graph: Graph, node: Node, anatomy: Anatomy) -> Scores | None:
    """Return those of torch's own module, whose projections are in one call."""
    if node.function != FUSED:
        return None
    used = {anatomy.slots[use.param].attr: use.param for use in node.uses}
    owners = [anatomy.slots[param].owner for param in used.values()]
    module = next((owner for owner in owners if isinstance(owner, nn.MultiheadAttention)), None)
    made = [
        used.get(name, used.get("in_proj_weight")) for name in ("q_proj_weight", "k_proj_weight")
    ]
    if module is None or None in made:
        return None
    query, key = (anatomy.rows[param].name for param in made if param is not None)
    _, keys, *_ = node.operands
    positions, *_ = graph.nodes[keys.node].shape  # the batch comes second, if there is one
    return Scores(query, key, module.head_dim, module.head_dim**-0.5, positions)
