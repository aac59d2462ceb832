"""Where a product meets another: sums of two products, squares, means, shares made of the data.

What comes out isn't as large as the product, and whether that is meant for the weight isn't
known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from math import prod

from goodinit.anatomy.joined import BESIDE, is_zero
from goodinit.anatomy.roles import Roles
from goodinit.anatomy.weighted_sums import SUMS
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import (
    are_shares,
    is_noisy,
    root,
    signals_of,
    walk_back,
    walk_forward,
)

NOISY = "random numbers are added to its product"
LENGTH = "the length of its product is taken"
SQUARED = "its product is squared"
AVERAGED = "its product is averaged, which makes it smaller where the terms differ"
SHARED = "its product is added up with shares made of the data"
MULTIPLIED = "its product is multiplied by another, and summed"

# Between a product and the sum that it goes into, or the norm behind that.
CALLS_FOLLOWED = 24

_MEANS = frozenset(("mean", "nanmean"))
_ROOTS = frozenset("sqrt rsqrt div rdiv reciprocal norm".split())
_LENGTHS = frozenset("norm vector_norm linalg_vector_norm linalg_norm logsumexp".split())
_SQUARES = frozenset("pow square float_power".split())


def said_of_what_follows(
    graph: Graph, roles: Roles, use: Use, is_drawn: Callable[[Use], bool]
) -> str:
    """Return what to say of a product by what it meets, or "".

    Args:
        graph: of the run.
        roles: of its weights; ends of residual branches, cells and projections of attention are
            sums of a known kind.
        use: of a weight.
        is_drawn: returns whether a weight is drawn.
    """
    node = graph.nodes[use.node]
    if _has_a_role(graph, roles, node.index) or node.generates is not None:
        return ""
    passed, doubt = {node.index}, ""
    for after in islice(_onward(graph, node.index), CALLS_FOLLOWED):
        met = len({value.node for value in after.signals}) > 1
        if _is_passed(after):
            passed.add(after.index)
            doubt = doubt or (NOISY if after.role == "add" and is_noisy(graph, after) else "")
        elif after.role == "add" and met:
            if _meets_another(graph, roles, use, after, passed, is_drawn):
                return BESIDE
        elif alone := _said_alone(graph, node, after, passed):
            return alone
    return doubt


def _said_alone(graph: Graph, node: Node, after: Node, passed: set[int]) -> str:
    """Return what to say of a call that takes a product and isn't a sum of two, or ""."""
    sole = all(c in passed or c == after.index for i in passed for c in graph.nodes[i].consumers)
    signals = {value.node for value in after.signals}
    squares = after.function in _SQUARES and after.number in (None, 2)
    squares = squares or (after.role == "mul" and len(after.signals) == 2 > len(signals))
    if squares and not _is_a_size(graph, after.index):
        return SQUARED
    if sole and after.function in _MEANS and after.shape:
        return AVERAGED
    if sole and (after.function in _LENGTHS or _is_of_pairs(graph, after)):
        return LENGTH
    own = all(index in passed or root(graph, index) in passed for index in signals)
    if own and len(after.signals) == 2 and after.role in ("mul", "contract"):
        summed = after.role == "contract" or _is_summed(graph, after.index, False)
        return MULTIPLIED if summed and not _is_a_size(graph, after.index) else ""
    if after.role not in ("mul", "contract") or len(signals) != 2 or after.weights:
        return ""
    summed = after.role == "contract" or _is_summed(graph, after.index)
    rest = [index for index in signals if index not in passed]
    if summed and any(are_shares(graph, index) for index in rest):
        return SHARED
    others = [graph.nodes[root(graph, index)] for index in rest]
    mine = {use.param for use in node.weights}
    if after.role == "contract":  # dot products of one network's outputs
        same = any(use.param in mine for other in others for use in other.weights)
        return MULTIPLIED if same else ""
    weights = any(o.weights for o in others)
    apart = node.index not in {other.index for other in others}
    return MULTIPLIED if weights and apart and _is_summed(graph, after.index, False) else ""


def _is_of_pairs(graph: Graph, node: Node) -> bool:
    """Whether the size of complex numbers is taken."""
    pairs = any(graph.nodes[i].function in ("view_as_complex", "complex") for i in node.inputs)
    return node.function == "abs" and pairs


def is_averaged_by_shares(graph: Graph, index: int) -> bool:
    """Whether rows that are looked up are multiplied by shares, and summed."""
    onward = (node for node in islice(_onward(graph, index), CALLS_FOLLOWED) if node.role == "mul")
    return any(
        len(node.signals) == 2
        and _is_summed(graph, node.index)
        and any(are_shares(graph, value.node) for value in node.signals)
        for node in onward
    )


def _is_a_size(graph: Graph, index: int) -> bool:
    """Whether the root of a square is taken, or a signal divided by it: a norm by hand."""

    def follow(node: Node) -> bool:
        return node.role in ("view", "cast", "reduce", "pointwise") or (
            node.role in ("add", "mul") and len(node.signals) == 1
        )

    onward = islice(walk_forward(graph, index, follow), CALLS_FOLLOWED)
    return any(n.function in _ROOTS or (n.function == "pow" and n.number != 2) for n in onward)


def _onward(graph: Graph, index: int) -> Iterable[Node]:
    return walk_forward(graph, index, _is_passed)


def _is_passed(node: Node) -> bool:
    """Whether a call reshapes, picks from, joins or shifts a product, or multiplies it alone."""
    if node.role in ("view", "cast", "pick", "join") or node.function in (*SUMS, "complex"):
        return True
    return node.role in ("add", "mul") and len(node.signals) == 1


def _has_a_role(graph: Graph, roles: Roles, index: int) -> bool:
    """Whether the sum that a product goes into is of a known kind."""
    node = graph.nodes[index]
    cell = any(use.param in roles.cells for use in node.weights)
    packed = len({*roles.packed.get(index, {}).values()}) > 1
    known = index in roles.ends or index in roles.adapters or packed
    part = roles.parts.get(index) in ("q", "k", "v", "out", "router", "gate")
    return cell or known or part or any(use.param in roles.unknown for use in node.weights)


def _meets_another(
    graph: Graph,
    roles: Roles,
    use: Use,
    sum_: Node,
    passed: set[int],
    is_drawn: Callable[[Use], bool],
) -> bool:
    """Whether a sum has the product of another drawn weight as a term, and no norm follows."""
    if sum_.index in roles.adapted or _is_computed(use) or is_zero(graph, use):
        return False
    others = [value.node for value in sum_.signals if value.node not in passed]
    for node in islice(walk_back(graph, others, _terms), CALLS_FOLLOWED):
        summed = prod(node.shape) > prod(sum_.shape)
        met = [one for one in node.uses if one.met is not None and (summed or one.role != "mul")]
        weights = node.weights or met
        if not weights or node.index in passed or _has_a_role(graph, roles, node.index):
            continue
        if any(one.param == use.param or _is_computed(one) for one in weights):
            continue
        if all(is_drawn(one) and not is_zero(graph, one) for one in weights):
            return not _is_caught(graph, sum_)
    return False


def _is_computed(use: Use) -> bool:
    return bool(use.origin.made) and use.met is None


def _terms(node: Node) -> Iterable[int]:
    """Return what a term of a sum is made of, behind no weight and no function."""
    added = node.role in ("add", "mul", "pool") or node.function in SUMS
    if node.weights or not (added or _is_passed(node)):
        return ()
    return tuple(signals_of(node)) or node.inputs  # a sum of products with a weight


def _is_summed(graph: Graph, index: int, by_signs: bool = True) -> bool:
    """Whether a function sums a product over an axis, or, if asked, ``+`` with another."""
    onward = walk_forward(graph, index, lambda n: n.role in ("view", "cast"))
    return any(
        node.function in SUMS or (by_signs and node.role == "add" and len(node.signals) > 1)
        for node in islice(onward, CALLS_FOLLOWED)
    )


def _is_caught(graph: Graph, sum_: Node) -> bool:
    """Whether a norm takes a sum, after further terms if there are any."""

    def follow(node: Node) -> bool:
        return _is_passed(node) or node.role == "add"

    ends = [n for n in islice(walk_forward(graph, sum_.index, follow), CALLS_FOLLOWED)
            if not follow(n)]  # fmt: skip
    return bool(ends) and all(node.role == "norm" for node in ends)
