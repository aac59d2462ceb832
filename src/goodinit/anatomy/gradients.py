"""Weights that act by a gradient alone: ``grad(energy(x), x)`` inside of a model."""

from __future__ import annotations

from collections.abc import Collection

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.traversal import between
from goodinit.trace.meta import DIFFERENTIATED

DOUBT = "the model takes a gradient through it, in which its transpose multiplies its own product"


def behind_gradients(graph: Graph, returned: Collection[int]) -> set[int]:
    """Return the parameters of what is differentiated and used in no other way."""
    found: set[int] = set()
    for node in graph.nodes:
        if node.function != DIFFERENTIATED or not node.inputs:
            continue
        made, *given = node.inputs
        taken = [graph.nodes[index].function for index in graph.nodes[made].consumers]
        if made in returned or any(function != DIFFERENTIATED for function in taken):
            continue
        for start in given:
            inside, _ = between(graph, start, [made])
            found |= {use.param for index in inside for use in graph.nodes[index].weights}
    return found
