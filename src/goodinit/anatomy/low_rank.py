"""Low-rank additions to a weight (LoRA): y = W x + B A x."""

from __future__ import annotations

from goodinit.anatomy.roles import Roles
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.traversal import root, share_input

__all__ = ["mark_adapters"]


def mark_adapters(graph: Graph, roles: Roles) -> None:
    """Find two weights through a bottleneck, beside one on the same input."""
    for node in graph.nodes:
        pair = node.signals if node.role == "add" else ()
        if len(pair) != 2:
            continue
        roots = [root(graph, value.node) for value in pair]
        for base, up in (roots, roots[::-1]):
            down = _input_root(graph, up)
            if not all(graph.nodes[i].weights for i in (base, up, down)):
                continue
            narrow = graph.nodes[down].shape[-1] < graph.nodes[up].shape[-1]
            if narrow and down != base and share_input(graph, base, down):
                roles.adapters |= {up, down}
                roles.adapted.add(node.index)
                roles.parts |= {up: "out", down: "in"}


def _input_root(graph: Graph, index: int) -> int:
    before = graph.nodes[index].signals
    return root(graph, before[0].node) if before else index
