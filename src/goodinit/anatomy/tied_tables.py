"""Tables that are output projections too: their std is that of the logits, not of the rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from math import isclose

from goodinit.anatomy.weighted_sums import SUMS
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import number_after, walk_forward

# From a lookup to the next weight: positions and types added, dropout, branches of a stream.
CALLS_FOLLOWED = 64

# Rows that are multiplied by sqrt(width), or nearly, are as large as signals.
NEARLY = 0.1

_PASSED = frozenset("view cast add join pool".split())


def said_of_rows(graph: Graph, use: Use, lookups: Iterable[Use]) -> str:
    """Return what to say of a table whose rows meet a weight before a norm does, or "".

    Args:
        graph: of the run.
        use: the table's use as a weight, which its std serves.
        lookups: its uses as a table.
    """
    for one in lookups:
        size = number_after(graph, one.node) / use.fan_in**0.5
        if isclose(size, 1.0, rel_tol=NEARLY) or size == 0:
            continue
        onward = list(islice(walk_forward(graph, one.node, _is_passed), CALLS_FOLLOWED))
        rows = {one.node, *(node.index for node in onward if _is_passed(node))}
        if any(_takes(node, rows) for node in onward):
            return (
                f"its std serves the product with it: the rows that are looked up in it are about "
                f"{size:.2g} as large as other signals, and no norm follows"
            )
    return ""


def _takes(node: Node, rows: Collection[int]) -> bool:
    """Whether rows are a weight's input, and no weight themselves."""
    taken = any(value.node in rows for value in node.signals)
    return taken and (bool(node.weights) or node.role in ("opaque", "activation"))


def _is_passed(node: Node) -> bool:
    if node.weights:
        return False
    scaled = node.role == "mul" and len(node.signals) == 1
    return scaled or node.role in _PASSED or node.function in (*SUMS, "mean")
