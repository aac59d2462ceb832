"""Products of several weights that are added: each makes an equal share of the sum.

``f(x) + g(t)`` is one product with the inputs side by side: with two terms of second moment 1
the sum has one of 2, with each of 1/2 it has one of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from math import isclose

from goodinit.anatomy.joined import is_zero
from goodinit.anatomy.meetings import has_a_role, is_caught_after
from goodinit.anatomy.roles import Roles
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import number_after, root, signals_of, walk_back, walk_forward

# Calls between a product and the last of the sums that it goes into, and back to its other terms.
CALLS_FOLLOWED = 32


def with_terms(graph: Graph, roles: Roles, use: Use, is_drawn: Callable[[Use], bool]) -> Use | None:
    """Return a use with the fan of all products in its sum; None if these aren't known.

    Args:
        graph: of the run.
        roles: of its weights; ends of residual branches, cells and projections of attention are
            sums of a known kind.
        use: of a weight.
        is_drawn: returns whether a weight is drawn.
    """
    sum_ = _last_sum(graph, use.node if use.met is None else _sum_of(graph, use.node))
    if sum_ is None or has_a_role(graph, roles, use.node):
        return None
    terms = _terms(graph, sum_)
    if terms is None or use.node not in [one.node for one in terms]:
        return None
    partners = {one.param for one in graph.nodes[use.node].uses} - {use.param}
    if {one.param for one in terms} <= partners:
        return use  # slices of it meet a partner: their sum was measured
    uses = [one for one in terms if one.node != use.node]
    if not all(is_drawn(one) and not has_a_role(graph, roles, one.node) for one in uses):
        return None
    if any(one.param == use.param and not _is_applied_again(graph, use, one) for one in uses):
        return None
    if sum_.index in roles.adapted or any(is_zero(graph, one) for one in (use, *uses)):
        return None
    if not uses or is_caught_after(graph, sum_):
        return use
    number = number_after(graph, sum_.index)
    if isclose(number**2 * len(terms), 1.0):  # (f(x) + g(x)) / 2**.5
        return use
    doubt = (
        "" if number == 1 else f"the sum of its product and others is multiplied by {number:.3g}"
    )
    return replace(use, fan_in=use.fan_in * len(terms), measured=True, doubt=doubt)


def _last_sum(graph: Graph, index: int) -> Node | None:
    """Return the last of the sums of several signals that a product goes into, and nothing else."""
    found, node = None, graph.nodes[index]
    for _ in range(CALLS_FOLLOWED):
        consumers = [n for c in node.consumers if (n := graph.nodes[c]).role != "source"]
        onward = [n for n in consumers if n.role != "reduce"]  # its mean, to be subtracted
        if len(onward) != 1:
            break
        (node,) = onward
        if not _adds_or_passes(node):
            break
        if len({value.node for value in node.signals}) > 1:
            found = node
    return found


def _adds_or_passes(node: Node) -> bool:
    if node.role == "add":
        return node.function in ("add", "sub", "rsub") and node.label != "alpha"
    signed = node.role == "mul" and node.number in (1, -1)
    return node.role in ("view", "cast") or signed or node.function == "neg"


def _sum_of(graph: Graph, index: int) -> int:
    """Return the sum over an axis that follows a product, number by number."""
    onward = walk_forward(graph, index, lambda n: n.role in ("view", "cast"))
    return next((node.index for node in onward if node.function == "sum"), index)


def _terms(graph: Graph, sum_: Node) -> Collection[Use] | None:
    """Return the weights whose products a sum adds, each product once; None if it adds others."""
    stack, found, means = [v.node for v in sum_.signals], list[Use](), list[int]()
    for _ in range(CALLS_FOLLOWED):
        if not stack:
            break
        node = graph.nodes[stack.pop()]
        by_hand = _multiplied(graph, node) if node.function == "sum" else ()
        if len(node.weights) == 1 or len(by_hand) == 1:
            found += node.weights or by_hand
        elif node.weights:
            return None
        elif node.function in ("mean", "sum") and node.signals:
            means.append(root(graph, graph.before(node).index))
        elif _adds_or_passes(node) and node.signals and not node.overwrites:
            stack += (value.node for value in node.signals)
        else:
            return None
    nodes = [one.node for one in found]
    own = not stack and len(set(nodes)) == len(nodes) and set(means) <= set(nodes)
    return found if own else None


def _multiplied(graph: Graph, sum_: Node) -> list[Use]:
    """Return the parameters that multiply, number by number, what a call sums."""
    node = graph.before(sum_) if sum_.signals else sum_
    while node.role in ("view", "cast") and node.signals:
        node = graph.before(node)
    return [use for use in node.uses if use.role == "mul" and use.met is not None]


def _is_applied_again(graph: Graph, use: Use, other: Use) -> bool:
    """Whether all of a weight is applied to another signal, which has nothing in common."""

    def made_of(one: Use) -> set[int]:
        return {node.index for node in walk_back(graph, [one.node], signals_of)}

    return use.origin == other.origin and made_of(use).isdisjoint(made_of(other))
