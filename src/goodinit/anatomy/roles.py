"""`Roles`: what the data flow says about each weight's place in the model."""

from __future__ import annotations

from dataclasses import dataclass, field

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Origin

__all__ = ["Range", "Roles", "features_of"]

Range = tuple[int, int]


@dataclass(slots=True)
class Roles:
    """What was found, by number of the node that uses the weight.

    Attributes:
        ends: nodes whose output is added to a residual stream.
        parts: node -> its part ("q", "gate", "router", ...).
        packed: node -> part -> range of the output's features, where one weight holds several.
        streams: nodes that add a branch to a residual stream.
        adapters: nodes of a low-rank pair beside another weight (LoRA).
        adapted: nodes that add such a pair's output.
    """

    ends: set[int] = field(default_factory=set[int])
    parts: dict[int, str] = field(default_factory=dict[int, str])
    packed: dict[int, dict[str, Range]] = field(default_factory=dict[int, dict[str, Range]])
    streams: list[int] = field(default_factory=list[int])
    adapters: set[int] = field(default_factory=set[int])
    adapted: set[int] = field(default_factory=set[int])


def features_of(graph: Graph, origin: Origin) -> Range:
    """Return which of a projection's output features a tensor holds."""
    name = graph.nodes[origin.node].function  # "conv2d", "conv_transpose2d"
    window = int(name[-2]) if "conv" in name and name[-2].isdigit() else 0
    return origin.box[-1 - window] if len(origin.box) > window else (0, 1)
