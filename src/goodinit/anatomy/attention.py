"""Attention, fused or written out: which weights make queries, keys and values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from goodinit.anatomy.roles import Roles, features_of
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Value
from goodinit.dataflow.traversal import (
    back_to_contractions,
    is_pass,
    root,
    signals_of,
    walk_back,
    walk_forward,
)

__all__ = ["Attention", "attentions", "mark_projections", "weights_after"]


class Attention(NamedTuple):
    """The three operands of an attention, and the node of its result."""

    query: Value
    key: Value
    value: Value
    result: int


def attentions(graph: Graph) -> Iterator[Attention]:
    """Yield every attention, but those of ``multi_head_attention_forward``: its module is known."""
    for node in graph.nodes:
        if node.function == "multi_head_attention_forward":
            continue
        if node.role == "attention" and len(node.operands) >= 3:
            yield Attention(*node.operands[:3], node.index)
        elif node.role == "softmax" and node.live:
            yield from _written_out(graph, node)


def _written_out(graph: Graph, softmax: Node) -> Iterator[Attention]:
    """Yield the attention around a softmax: a product of two signals before it and one after."""

    def follow(node: Node) -> Iterable[int]:
        passes = is_pass(node) or node.role == "add" or node is softmax
        return signals_of(node) if passes else ()

    before = walk_back(graph, [softmax.index], follow)
    scores = next((node for node in before if _is_product(node)), None)
    if scores is None:
        return
    query, key = scores.signals[-2:]
    for node in walk_forward(graph, softmax.index, is_pass):
        if _is_product(node):
            rest = [v for v in node.signals if root(graph, v.node) != softmax.index]
            if rest:
                yield Attention(query, key, rest[-1], node.index)
            return


def _is_product(node: Node) -> bool:
    return node.role == "contract" and not node.weights and len(node.signals) >= 2


def mark_projections(graph: Graph, roles: Roles, attention: Attention) -> None:
    """Mark the weights that made an attention's queries, keys and values."""
    for part, operand in (("q", attention.query), ("k", attention.key), ("v", attention.value)):
        ranges = {o.node: features_of(graph, o) for o in operand.origins if o.param is None}
        for node in back_to_contractions(graph, operand.node):
            if node.index in roles.ends or roles.parts.get(node.index) in ("patch", "in"):
                continue
            before = roles.parts.get(node.index)
            if node.index in ranges:
                roles.packed.setdefault(node.index, {})[part] = ranges[node.index]
            if before in (None, "head", part):
                roles.parts[node.index] = part
            elif before in ("q", "k", "v"):
                roles.parts[node.index] = "weight"  # packed


def weights_after(graph: Graph, index: int) -> list[Node]:
    """Return the first weights that a result goes through."""

    def follow(node: Node) -> bool:
        return is_pass(node) or node.role in ("mul", "activation")

    return [node for node in walk_forward(graph, index, follow) if node.weights]
