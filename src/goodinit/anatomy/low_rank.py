"""Low-rank pairs beside a weight, W x + s B A x: which parameters they are, by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from goodinit.anatomy.names import Slot
from goodinit.anatomy.roles import LowRank
from goodinit.anatomy.rows import Adapter, Facets
from goodinit.dataflow.graph import Graph


def with_adapters(
    found: Sequence[Slot], graph: Graph, pairs: Iterable[LowRank], facets: list[Facets]
) -> list[Facets]:
    """Return the facets with the pair that each parameter belongs to."""
    facets = list(facets)
    known: dict[tuple[int, int, int], float | None] = {}
    for pair in pairs:
        base, down, up = (_only_weight(graph, n) for n in (pair.base, pair.down, pair.up))
        if base is None or down is None or up is None:
            continue
        known.setdefault((base, down, up), pair.factor)  # again where layers are shared
    counts = [number for triple in known for number in triple]
    for triple, factor in known.items():
        shared = any(counts.count(number) > 1 for number in triple)
        names = [found[number].name for number in triple]
        for number, role in zip(triple, ("base", "in", "out"), strict=True):
            link = Adapter(role, *names, factor=None if shared else factor)
            facets[number] = replace(facets[number], adapter=link)
    return facets


def _only_weight(graph: Graph, node: int) -> int | None:
    weights = {use.param for use in graph.nodes[node].weights}
    return weights.pop() if len(weights) == 1 else None
