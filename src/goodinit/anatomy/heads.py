"""Tied tables that multiply as well: which they are, and by which numbers besides."""

from __future__ import annotations

import math

from torch import nn

from goodinit.anatomy.names import Slot
from goodinit.anatomy.read import Anatomy

SHARES = frozenset(("view", "cast", "softmax"))  # what logits pass to become probabilities
TABLES = (nn.Embedding, nn.EmbeddingBag)


def multiplies(slot: Slot) -> bool:
    """Return whether a parameter is tied, and a module that isn't a table holds it too."""
    return bool(slot.tied) and any(not isinstance(owner, TABLES) for owner, _ in slot.places)


def names_of_heads(anatomy: Anatomy) -> frozenset[str]:
    """Return the weights whose products are the model's output, or become it by a softmax."""
    found = {row.name for row in anatomy.rows if row.facets.part == "head"}
    graph = anatomy.graph
    if graph is not None:
        outputs = {n for span in graph.spans if not span.path for n in span.gives}
        for number in outputs:
            node = graph.nodes[number]
            while not node.weights and node.role in SHARES and len(node.signals) == 1:
                node = graph.before(node)
            found |= {anatomy.rows[use.param].name for use in node.weights}
    return frozenset(found)


def head_factors(anatomy: Anatomy) -> dict[str, float]:
    """Return by what number the input or output of a tied projection is multiplied, by name.

    T5 multiplies what comes into its tied head by width^-1/2. Without a data flow nothing is
    known of it.
    """
    found: dict[str, float] = {}
    graph = anatomy.graph
    if graph is None:
        return found
    for node in graph.nodes:
        for use in node.weights:
            row = anatomy.rows[use.param]
            if row.tied and len(node.signals) == 1:
                before = graph.before(node)
                around = [before, *(graph.nodes[index] for index in node.consumers)]
                numbers = [n.number for n in around if n.role == "mul" and n.number is not None]
                found[row.name] = math.prod(numbers)
    return found
