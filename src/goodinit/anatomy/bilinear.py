"""Weights between two activations: ``x @ w @ z.T``, of which both sums are the weight's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import compress, islice
from math import prod

from goodinit.anatomy.roles import Roles
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use, Value
from goodinit.dataflow.traversal import is_pass, is_share, outputs_per_input, root, walk_forward

# Masks, biases, a cast, the maximum subtracted.
CALLS_TO_SHARES = 12

PERHAPS = "its product is multiplied by another activation and summed, which its fans leave out"
TOWERS = "its product is multiplied by that of another weight, and summed: each has a share of it"
DOUBT = "its product is summed once more, with another activation: its fans count both sums"


def with_second_sum(graph: Graph, roles: Roles, use: Use) -> Use:
    """Return a use with the summands of a bilinear form; others as they are.

    Attention's scores don't have this form: there each projection has its own sum.
    """
    node = graph.nodes[use.node]
    known = use.node in roles.parts or use.node in roles.packed or node.generates is not None
    if known or not node.signals:
        return use
    for last, size, twice, other in _second_sums(graph, node):
        if other.weights and not twice:  # E[y^2] is size times the second moments of both
            fan_in = use.fan_in * size**0.5
            return replace(use, fan_in=fan_in, measured=True, doubt=use.doubt or TOWERS)
        if last.function in ("sum", "mean") and not twice:
            return replace(use, doubt=use.doubt or PERHAPS)  # one-hot actions pick one output
        per_input = (1 + twice) * outputs_per_input(graph, [use.node], prod(last.shape))
        fan_in = use.fan_in * size
        return replace(
            use, fan_in=fan_in, fan_out=fan_in * per_input, measured=True, doubt=use.doubt or DOUBT
        )
    return use


def is_summed_with_another(graph: Graph, index: int) -> bool:
    """Whether a scaled signal is multiplied by another one, number by number, and summed."""
    node = graph.nodes[index]
    return any(
        after.role == "mul" and len(after.signals) == 2 and any(_sums_after(graph, node, after))
        for after in walk_forward(graph, index, lambda n: n.role in ("view", "cast"))
    )


def _second_sums(graph: Graph, node: Node) -> Iterator[tuple[Node, float, bool, Node]]:
    """Yield calls that sum a product with an activation over the features.

    With each the number of summands, whether the activation is the product's own input, and where
    it comes from.
    """
    own = {root(graph, value.node) for value in node.signals}
    for after in walk_forward(graph, node.index, lambda n: n.role in ("view", "cast")):
        if len(after.signals) != 2 or after.weights:
            continue
        pair = _pair(node, after)
        if pair is None:
            continue
        mine, other = pair
        before = root(graph, other.node)
        towers = bool(graph.nodes[before].weights) and before not in own
        if after.role == "mul" and towers:
            sums = _sums_after(graph, node, after)
            yield from (
                (one, size, False, graph.nodes[before])
                for one, size in sums
                if not _are_scores(graph, one)
            )
        apart = own.isdisjoint(root(graph, v.node) for v in graph.nodes[before].signals)
        if towers and apart and after.role == "contract" and _is_last(graph, after):
            pass  # of two inputs; of one they are queries and keys
        elif before not in own and graph.nodes[before].role not in ("source", "activation"):
            continue  # queries and keys; the state of a scan
        if after.role == "contract" and after.labels:
            size = _summed(graph, node, after, mine)
            if size > 1:
                yield after, size, before in own, graph.nodes[before]
        elif after.function.endswith("vecdot") and _features(node) == len(node.shape) - 1:
            yield after, graph.nodes[mine.node].shape[-1], before in own, graph.nodes[before]
        elif after.role == "mul":
            for sum_, size in _sums_after(graph, node, after):
                yield sum_, size, before in own, graph.nodes[before]


def _is_last(graph: Graph, node: Node) -> bool:
    """Whether nothing but numbers and biases takes a product of two signals, up to the output."""
    onward = list(islice(walk_forward(graph, node.index, lambda _: True), CALLS_TO_SHARES))
    return len(onward) < CALLS_TO_SHARES and all(
        one.role in ("view", "cast") or (one.role in ("add", "mul") and len(one.signals) == 1)
        for one in onward
    )


def _are_scores(graph: Graph, node: Node) -> bool:
    """Whether shares are made of a sum: attention's scores."""
    onward = walk_forward(graph, node.index, lambda n: is_pass(n) or n.role == "add")
    first = islice(onward, CALLS_TO_SHARES)
    return any(other.function == "exp" or is_share(other.function) for other in first)


def _pair(node: Node, after: Node) -> tuple[Value, Value] | None:
    """Return which signal of a call is a view of a product, and the other one."""
    first, second = after.signals
    for mine, other in ((first, second), (second, first)):
        if any(o.param is None and o.node == node.index for o in mine.origins):
            return mine, other
    return None


def _summed(graph: Graph, node: Node, after: Node, mine: Value) -> int:
    """Return over how many output features of a weight a product of activations sums."""
    pairs = zip(after.operands, after.labels, strict=False)
    labels = next(labels for value, labels in pairs if value.node == mine.node)
    over = next(origin for origin in mine.origins if origin.node == node.index).axes
    *_, result = after.labels
    features = _features(node)
    summed = (label not in result and features in axes
              for label, axes in zip(labels, over, strict=True))  # fmt: skip
    return prod(compress(graph.nodes[mine.node].shape, summed))


def _features(node: Node) -> int:
    """Return the axis of a product that runs over the weight's outputs."""
    for use in node.weights:
        for axis, place in use.places:
            if use.outputs == (axis,):
                return place
    return len(node.shape) - 1


def _sums_after(graph: Graph, node: Node, product: Node) -> Iterator[tuple[Node, float]]:
    """Yield the sum over the features that follows a product, number by number."""
    axis, shape = _features(node), product.shape
    if shape != node.shape or not shape:
        return
    size, before, behind = shape[axis], shape[:axis], shape[axis + 1 :]
    for index in product.consumers:
        after = graph.nodes[index]
        if after.shape in ((*before, *behind), (*before, 1, *behind)):
            if after.function == "sum":
                yield after, size
            elif after.function == "mean":
                yield after, 1 / size
