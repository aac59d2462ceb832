"""Which weight a bias belongs to: a head's, a gate's, or one that ends a residual branch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from goodinit.anatomy.names import Slot
from goodinit.anatomy.next_activation import activation_after
from goodinit.anatomy.roles import Roles
from goodinit.anatomy.rows import Facets
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import is_pass, is_squash, root, walk_forward

_LOGS = frozenset(("log_softmax", "logsigmoid"))  # of shares, as a loss takes them


def goes_with(graph: Graph, roles: Roles, uses: Iterable[Use], returned: frozenset[int]) -> str:
    """Return "head", "end" or "gate", what the weight is to whose output a bias is added, or ""."""
    weights = {_weight_before(graph, graph.nodes[use.node]) for use in uses} - {-1}
    if any(_is_returned(graph, node, returned) for node in weights):
        return "head"
    if not roles.ends.isdisjoint(weights):
        return "end"
    return "gate" if any(_opens(graph, node) for node in weights) else ""


def _opens(graph: Graph, index: int) -> bool:
    """Whether a sigmoid of a weight's output multiplies a signal that isn't made of it."""

    def follow(node: Node) -> bool:
        return is_pass(node) or node.role == "add"

    if activation_after(graph, index) != "sigmoid":
        return False
    squashes = (n for n in walk_forward(graph, index, follow) if n.function == "sigmoid")
    onward = (n for squash in squashes for n in walk_forward(graph, squash.index, is_pass))
    return any(node.role == "mul" and len(set(node.inputs)) > 1 for node in onward)


def _weight_before(graph: Graph, node: Node) -> int:
    """Return the node of the weight whose output a bias is added to there; -1 if there is none."""
    if node.weights:
        return node.index
    before = graph.nodes[root(graph, graph.before(node).index)] if node.signals else node
    return before.index if before.weights else -1


def _is_returned(graph: Graph, index: int, returned: frozenset[int]) -> bool:
    """Whether a weight's output is the model's, also as shares that a sigmoid or softmax makes."""

    def follow(node: Node) -> bool:
        return is_pass(node) or node.function in _LOGS or is_squash(graph, node.index)

    onward = walk_forward(graph, index, follow)
    return index in returned or any(n.index in returned and follow(n) for n in onward)


def goes_with_by_module(found: Sequence[Slot], facets: list[Facets]) -> list[Facets]:
    """Return the facets of biases with what the only weight of their module is, if nobody knew."""
    weights: defaultdict[int, list[Facets]] = defaultdict(list)
    for slot, one in zip(found, facets, strict=True):
        if one.layout is not None and one.part != "bias":
            weights[id(slot.owner)].append(one)
    return [
        replace(one, goes_with=_role_of(weights, slot))
        if one.part == "bias" and not one.goes_with
        else one
        for slot, one in zip(found, facets, strict=True)
    ]


def _role_of(weights: Mapping[int, list[Facets]], slot: Slot) -> str:
    beside = weights.get(id(slot.owner), [])
    if len(beside) != 1:
        return ""
    (one,) = beside
    return "head" if one.part == "head" else "end" if one.ends_residual else ""
