"""Where a residual branch ends: which weights' outputs are added to a stream that skips them."""

from __future__ import annotations

from goodinit.anatomy.roles import Roles
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node
from goodinit.dataflow.traversal import (
    back_to_contractions,
    passed_before,
    reaches,
    signals_of,
    walk_back,
)

__all__ = ["mark_residual_ends"]


def mark_residual_ends(graph: Graph, roles: Roles) -> None:
    """Find the sums of a signal and a branch that starts from it.

    A skip is first looked for on either side as the branch's own input, then as that input
    through one weight (the 1x1 convolution of a ResNet where the resolution changes).
    """
    for node in graph.nodes:
        if node.role != "add" or not node.live:
            continue
        pair = list(dict.fromkeys(value.node for value in node.signals))
        if len(pair) != 2:
            continue
        a, b = pair
        found = _last_weights(graph, roles, a, b) or _last_weights(graph, roles, b, a)
        found = found or _last_weights(graph, roles, a, b, projected=True)
        found = found or _last_weights(graph, roles, b, a, projected=True)
        if found:
            roles.streams.append(node.index)
            roles.ends.update(found)


def _last_weights(
    graph: Graph, roles: Roles, skip: int, branch: int, projected: bool = False
) -> list[int]:
    """Return the last weights of a branch, if the other summand skips it.

    A skip is the branch's own input, or, ``projected``, that input through one weight, where
    the branch has two or more and no residual sum inside.
    """
    if branch < skip and not projected:
        return []
    chain = list(passed_before(graph, skip))
    if projected:
        last = graph.nodes[chain[-1]]
        if not last.weights:
            return []
        chain = list(passed_before(graph, last.signals[0].node)) if last.signals else []
    for start in chain:
        if start >= branch or not reaches(graph, start, branch):
            continue
        last = back_to_contractions(graph, branch, floor=start)
        if projected and not _has_hidden_layer(graph, roles, start, last):
            return []
        return [node.index for node in last]
    return []


def _has_hidden_layer(graph: Graph, roles: Roles, start: int, last: list[Node]) -> bool:
    """Whether a weight and an activation come before a branch's last weight, and no sum."""
    ends = {node.index for node in last}
    inside = list(walk_back(graph, ends, signals_of, floor=start))
    sums = set(roles.streams)
    earlier = any(node.weights and node.index not in ends for node in inside)
    bent = any(node.role == "activation" for node in inside)
    return earlier and bent and not any(node.index in sums for node in inside)
