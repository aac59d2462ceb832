"""Feed-forward blocks: which weight feeds an activation, and which one gates another."""

from __future__ import annotations

from collections.abc import Iterable

from goodinit._common.sequences import only
from goodinit.anatomy.roles import Range, Roles, features_of
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Value
from goodinit.dataflow.traversal import is_pass, is_squash, root, share_input, signals_of, walk_back

_OF_ATTENTION = frozenset("qkv")


def mark_feed_forward(graph: Graph, roles: Roles) -> None:
    """Mark gates, what they multiply, and what feeds an activation before a residual end."""
    for node in graph.nodes:
        if node.role == "mul" and node.live and node.index not in roles.values:
            _mark_gate(graph, roles, node)
        elif node.function == "glu":
            for origin in (origin for value in node.operands for origin in value.origins):
                if origin.param is None and graph.nodes[origin.node].weights:
                    start, stop = features_of(graph, origin)
                    half = (start + stop) // 2
                    roles.packed[origin.node] = {"in": (start, half), "gate": (half, stop)}
    for index in sorted(roles.ends):
        for value in graph.nodes[index].signals:
            source = _weight_behind_activation(graph, roles, value.node)
            if source is not None and source not in roles.ends:
                roles.parts.setdefault(source, "in")


def _weight_behind_activation(graph: Graph, roles: Roles, index: int) -> int | None:
    """Return the one weight that a signal is an elementwise, nonlinear function of."""
    sums, bent, beside = {stream.node for stream in roles.streams}, False, False

    def follow(node: Node) -> Iterable[int]:
        elementwise = node.role in ("activation", "bend", "add", "mul") or is_pass(node)
        if node.index in sums or node.weights or not elementwise:
            return ()
        return signals_of(node)

    found: list[int] = []
    for node in walk_back(graph, [index], follow):
        bent = bent or node.role == "activation"
        beside = beside or (node.role in ("contract", "reduce") and not node.weights)
        if node.weights:
            found.append(node.index)
        elif node.index in sums:
            return None
    found = [index for index in found if roles.parts.get(index) != "gate"]
    return only(found) if bent and not beside else None


def _mark_gate(graph: Graph, roles: Roles, node: Node) -> None:
    """Mark gate and value where an activation of one projection multiplies another's output."""
    pair = node.signals
    if len(pair) != 2 or any(graph.nodes[index].function == "sum" for index in node.consumers):
        return  # numbers that are summed are not gates
    for gate, value in (pair, pair[::-1]):
        squash = graph.nodes[root(graph, gate.node)]
        if squash.role != "activation" or squash.function == "glu" or not squash.operands:
            continue
        left, right = _weight_of(graph, squash.operands[0]), _weight_of(graph, value)
        if left is None:
            continue
        made_by, _ = left
        if roles.parts.get(made_by) in _OF_ATTENTION:
            continue
        squashed = graph.nodes[root(graph, value.node)].role == "activation"
        if squashed and is_squash(graph, value.node) > is_squash(graph, gate.node):
            continue  # the other one is the gate
        if right is None or left[0] != right[0]:
            if right is not None and not squashed and share_input(graph, left[0], right[0]):
                roles.parts.setdefault(right[0], "in")
            elif squash.function not in ("sigmoid", "hardsigmoid"):
                continue
            roles.parts[left[0]] = "gate"
        elif left[1] != right[1]:
            roles.packed[left[0]] = {"gate": left[1], "in": right[1]}
        return


def _weight_of(graph: Graph, value: Value) -> tuple[int, Range] | None:
    """Return the weight that a value is the output of, and which of its features it holds."""
    for origin in value.origins:
        if origin.param is None and graph.nodes[origin.node].weights:
            return origin.node, features_of(graph, origin)
    index = root(graph, value.node)
    node = graph.nodes[index]
    return (index, (0, node.shape[-1])) if node.weights and node.shape else None
