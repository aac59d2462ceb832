"""How long a residual branch is: how many weights follow one another in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from goodinit.anatomy.layers import count_branches
from goodinit.anatomy.roles import Stream
from goodinit.dataflow.graph import Graph


def find_branches(graph: Graph, sums: Sequence[Stream]) -> dict[int, tuple[int, int]]:
    """Return parameter -> (weights in a row in its branch, branches of its stream)."""
    counts = count_branches(graph, sums)
    found: dict[int, tuple[int, int]] = {}
    # A branch within a branch comes last, and decides.
    for stream in sorted(sums, key=lambda one: -len(one.inside)):
        length = _longest(graph, stream.inside)
        for index in stream.inside - {min(stream.inside)}:  # not what made the stream
            for use in graph.nodes[index].weights:
                found[use.param] = (length, counts[stream.node])
    return found


def _longest(graph: Graph, inside: Iterable[int]) -> int:
    """Return how many weights the path with most of them has; where it starts doesn't count."""
    start, *rest = sorted(inside)
    passed = {start: 0}
    for index in rest:
        node = graph.nodes[index]
        before = max((passed[i] for i in node.inputs if i in passed), default=0)
        passed[index] = before + bool(node.weights)
    return max(passed.values())
