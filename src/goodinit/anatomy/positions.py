"""Positions that are added to an embedding's rows: they need the rows' size to be noticed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from goodinit.anatomy.rows import Block, Facets
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import is_pass, number_after, signals_of, walk_back
from goodinit.schemes.fans import Layout

__all__ = ["beside_tokens"]


def beside_tokens(graph: Graph, facets: Sequence[Facets]) -> dict[int, Facets]:
    """Return the facets of the positions that are added to looked-up rows, by number.

    Their part is "embedding". Their fan_in is what makes N(0, 1/fan_in) as large as the rows
    are: 1, the width where the rows' table is the output projection as well, over c^2 where the
    rows are multiplied by c first.
    """
    found: dict[int, Facets] = {}
    for node in graph.nodes:
        for use in node.uses:
            one = facets[use.param]
            if use.role != "add" or one.kind != "position" or not graph.shapes.get(use.param):
                continue
            tables = [u for u in _looked_up(graph, node) if facets[u.param].kind == "embedding"]
            if tables and use.param not in found:
                size = _size_of_rows(graph, tables[0], facets[tables[0].param])
                found[use.param] = _as_large(one, graph.shapes[use.param], size)
    return found


def _looked_up(graph: Graph, node: Node) -> Iterator[Use]:
    """Yield the lookups of the tables whose rows a sum adds up."""

    def onward(before: Node) -> Iterator[int]:
        if before.index == node.index or before.role == "add" or is_pass(before):
            yield from signals_of(before)

    for before in walk_back(graph, [node.index], onward):
        yield from (use for use in before.uses if use.role == "lookup" and not use.counted)


def _size_of_rows(graph: Graph, lookup: Use, table: Facets) -> float:
    """Return the second moment of the rows as they are added."""
    if table.part != "head":
        return 1.0  # drawn so, whatever they are multiplied by
    return number_after(graph, lookup.node) ** 2 / graph.shapes[lookup.param][-1]


def _as_large(facets: Facets, shape: tuple[int, ...], size: float) -> Facets:
    *rows, width = range(len(shape))
    layout = facets.layout or Layout(outputs=(width,), inputs=tuple(rows), lookup=True)
    factor = facets.blocks[0].fan_in if facets.blocks else None
    box = tuple((0, n) for n in shape)
    block = Block("", box, (factor or 1.0) / size, float(shape[-1]))
    return replace(facets, part="embedding", layout=layout, blocks=(block,))
