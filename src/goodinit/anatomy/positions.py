"""Positions that are added to an embedding's rows: they need the rows' size to be noticed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from goodinit.anatomy.rows import Facets
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import is_pass, number_after, signals_of, walk_back


def beside_tokens(graph: Graph, facets: Sequence[Facets]) -> dict[int, float]:
    """Return at which mean square positions are as large as the rows that they are added to.

    By number, of those positions alone that are added to an embedding's rows.
    """
    found: dict[int, float] = {}
    for node in graph.nodes:
        for use in node.uses:
            positions = facets[use.param]
            if use.role != "add" or positions.kind != "position" or use.param in found:
                continue
            rows = (u for u in _looked_up(graph, node) if facets[u.param].kind == "embedding")
            table = next(rows, None)
            if table is not None:
                factor = next((one.fan_in for one in positions.blocks if one.fan_in), 1.0)
                size = _mean_square(graph, table, facets[table.param])
                found[use.param] = size / factor
    return found


def _looked_up(graph: Graph, node: Node) -> Iterator[Use]:
    """Yield the lookups of the tables whose rows a sum adds up."""

    def onward(before: Node) -> Iterator[int]:
        if before.index == node.index or before.role == "add" or is_pass(before):
            yield from signals_of(before)

    for before in walk_back(graph, [node.index], onward):
        yield from (use for use in before.uses if use.role == "lookup" and not use.counted)


def _mean_square(graph: Graph, lookup: Use, table: Facets) -> float:
    """Return the second moment of an embedding's rows as they are added up."""
    if table.part != "head":
        return 1.0  # drawn like this, whatever they are multiplied by
    return number_after(graph, lookup.node) ** 2 / graph.shapes[lookup.param][-1]
