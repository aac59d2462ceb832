"""Biases that the next call subtracts again."""

from __future__ import annotations

from goodinit.anatomy.read import Anatomy
from goodinit.dataflow.functions import CENTERING


def subtracted_biases(anatomy: Anatomy) -> set[str]:
    """Return the names of biases of layers that only norms follow that subtract them.

    Without a data flow, what follows is unknown.
    """
    graph = anatomy.graph
    if graph is None:
        return set()
    return {
        anatomy.rows[use.param].name
        for node in graph.nodes
        if node.weights and node.consumers
        for use in node.uses
        if anatomy.rows[use.param].facets.part == "bias"
        and all(graph.nodes[index].function in CENTERING for index in node.consumers)
    }
