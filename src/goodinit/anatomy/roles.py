"""`Roles`: what the data flow says about each weight's place in the model."""

from __future__ import annotations

from dataclasses import dataclass, field

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Origin

Range = tuple[int, int]

_PRODUCTS = frozenset(("matmul", "mm", "bmm"))


@dataclass(slots=True)
class Stream:
    """A sum of a residual stream and branches.

    Attributes:
        node: the sum.
        ends: the nodes whose weights end its branches.
        branches: how many branches it adds that no sum before has added.
        origin: the node where the stream begins.
        inside: the nodes from where the branches start to where they end.
        again: whether the same weights ended branches before: layers share them.
    """

    node: int
    ends: list[int]
    branches: int
    origin: int
    inside: frozenset[int]
    again: bool = False


@dataclass(frozen=True, slots=True)
class LowRank:
    """A low-rank pair beside another weight: W x + s B A x.

    Attributes:
        base: the node that uses W.
        down: the node that uses A.
        up: the node that uses B.
        factor: s; None if it isn't a known number.
    """

    base: int
    down: int
    up: int
    factor: float | None


@dataclass(slots=True)
class Roles:
    """What was found, by number of the node that uses the weight.

    Attributes:
        ends: nodes whose output is added to a residual stream.
        parts: node -> its part ("q", "gate", "router", ...).
        packed: node -> part -> range of the output's features, where one weight holds several.
        streams: sums that add branches to a residual stream.
        unknown: weights of which it is unknown whether they end a residual branch -> why.
        doubts: weights whose row isn't certain -> why.
        cells: weights of a recurrence written by hand -> "recurrent", "in", or "weight", which
            takes both the state and the input.
        closing: weights of norms with which a branch ends; not of batch norm, as ResNets' are.
        last_norms: the same, of batch norm too.
        biases: biases of such a cell -> gate -> its range; (0, 0) is all of it.
        values: node of an attention -> the nodes of what it sums, weighted by scores.
        outer: nodes that add key times value to a state, as linear attention and the delta rule do.
        adapters: nodes of a low-rank pair beside another weight (LoRA).
        adapted: nodes that add such a pair's output.
        low_rank: the pairs and their weights.
        plain: node -> how many weights its stack has, with only activations between them.
    """

    ends: set[int] = field(default_factory=set[int])
    parts: dict[int, str] = field(default_factory=dict[int, str])
    packed: dict[int, dict[str, Range]] = field(default_factory=dict[int, dict[str, Range]])
    streams: list[Stream] = field(default_factory=list[Stream])
    unknown: dict[int, str] = field(default_factory=dict[int, str])
    doubts: dict[int, str] = field(default_factory=dict[int, str])
    cells: dict[int, str] = field(default_factory=dict[int, str])
    closing: set[int] = field(default_factory=set[int])
    last_norms: set[int] = field(default_factory=set[int])
    biases: dict[int, dict[str, Range]] = field(default_factory=dict[int, dict[str, Range]])
    values: dict[int, int] = field(default_factory=dict[int, int])
    outer: set[int] = field(default_factory=set[int])
    adapters: set[int] = field(default_factory=set[int])
    adapted: set[int] = field(default_factory=set[int])
    low_rank: list[LowRank] = field(default_factory=list[LowRank])
    plain: dict[int, int] = field(default_factory=dict[int, int])


def features_of(graph: Graph, origin: Origin) -> Range:
    """Return which of a projection's output features a tensor holds."""
    axis = feature_axis(graph.nodes[origin.node], len(origin.box))
    return origin.box[axis] if 0 <= axis < len(origin.box) else (0, 1)


def feature_axis(node: Node, rank: int) -> int:
    """Return the axis of a projection's result that runs over its output features."""
    name = node.function  # "conv2d", "conv_transpose2d"
    if name == "convolution":  # aten's, of any rank
        return 1
    if "conv" in name and name[-2].isdigit():
        return rank - 1 - int(name[-2])
    for use in node.weights:
        if len(use.outputs) == 1 and dict(use.places).keys() == set(use.outputs):
            (axis,) = use.outputs
            return dict(use.places)[axis]  # of an einsum
    left = [origin.param for value in node.operands[:1] for origin in value.params]
    reversed_ = name in _PRODUCTS and all(use.param in left for use in node.weights)
    return max(rank - 2, 0) if reversed_ and node.weights else rank - 1  # W @ x, x @ W


def forget_weights_of_heads(graph: Graph, roles: Roles) -> None:
    """Take queries, keys and values for no weights, where heads are compared with each other.

    Both axes of such a matrix were features, as those of a weight that a hypernetwork makes.
    """
    attending = {index for index, part in roles.parts.items() if part in ("q", "k", "v")}
    for index in attending | roles.packed.keys():
        graph.nodes[index].generates = None
