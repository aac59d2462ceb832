"""Plain stacks: weights that follow one another with only activations between them.

Nothing in a plain stack resets the scale of a signal, so each weight's gain counts to its end. A
norm would reset it, and a residual stream carries it past the weights.
"""

from __future__ import annotations

from collections.abc import Iterator

from goodinit.anatomy.next_activation import last_consumer, nodes_after
from goodinit.anatomy.roles import Roles
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node
from goodinit.dataflow.norms import is_normalized
from goodinit.dataflow.traversal import is_pass


def mark_plain_stacks(graph: Graph, roles: Roles) -> None:
    """Find the weights whose output reaches another one through an activation and nothing else.

    That one's output must not be taken up at once, by a norm or a sum: between two of these lies
    a single activation (the feed-forward layer of a transformer), and no error adds up. Only the
    first use of each weight counts, so that steps of a recurrence aren't layers.
    """
    after: dict[int, list[int]] = {}
    used: set[int] = set()
    for node in graph.nodes:
        params = {use.param for use in node.weights}
        if params and node.live and params.isdisjoint(used):
            after[node.index] = list(_next_weights(graph, node.index))
        used |= params
    plain = {
        index: [n for n in onward if n in after and not _is_taken_up(graph, roles, n)]
        for index, onward in after.items()
    }
    above, below = dict.fromkeys(plain, 1), dict[int, int]()
    for index, onward in plain.items():  # in the order of the calls
        for n in onward:
            above[n] = max(above[n], above[index] + 1)
    for index in reversed(plain):
        below[index] = max((below[n] + 1 for n in plain[index]), default=0)
    roles.plain |= {index: above[index] + below[index] for index, n in plain.items() if n}


def _next_weights(graph: Graph, start: int) -> Iterator[int]:
    """Yield the nodes of the weights that an output reaches, at least one activation later."""
    own, bent = {start}, set[int]()
    for node, before in _computed_from(graph, start, own):
        if node.weights:
            if before & bent:
                yield node.index
        elif node.role != "norm" and not is_normalized(graph, node.index):
            own.add(node.index)
            if node.role == "activation" or before & bent:
                bent.add(node.index)


def _is_taken_up(graph: Graph, roles: Roles, start: int) -> bool:
    """Whether an output meets a norm, or another signal, before any activation."""
    if start in roles.ends:
        return True
    own, bent = {start}, set[int]()
    reach = last_consumer(graph, start)
    for index in nodes_after(graph, start):
        if index > reach:
            break
        node = graph.nodes[index]
        before = {value.node for value in node.signals}
        if before.isdisjoint(own):
            if not before or not before <= bent:
                continue
            bent.add(index)  # 1 + erf(x), for x * (1 + erf(x))
        elif (
            node.role == "norm"
            or is_normalized(graph, index)
            or (node.role in ("add", "mul") and not before <= own | bent)
        ):
            return True
        elif node.role in ("activation", "bend") or before & bent:
            bent.add(index)
        elif is_pass(node):
            own.add(index)
        reach = max(reach, last_consumer(graph, index))
    return False


def _computed_from(graph: Graph, start: int, own: set[int]) -> Iterator[tuple[Node, set[int]]]:
    """Yield what is computed from ``own`` alone, element by element, and what it is made of."""
    reach = last_consumer(graph, start)
    for index in nodes_after(graph, start):
        if index > reach:
            break
        node = graph.nodes[index]
        before = {value.node for value in node.signals}
        if not before or not before <= own:
            continue
        elementwise = is_pass(node) or node.role in ("activation", "bend", "add", "mul")
        if elementwise or node.weights:
            yield node, before  # which is in ``own`` now, where nothing resets its scale
            reach = max(reach, last_consumer(graph, index))
