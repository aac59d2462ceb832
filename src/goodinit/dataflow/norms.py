"""Norms written by hand: products in which one factor is divided by its own size.

``w * x * rsqrt(mean(x^2))``, ``(x - mean) / std * w``, ``(w * rsqrt(var)) * x`` are one product
with its factors in another order. So the factors are collected first, forward and backward, and
then one of them is looked for that is (one over) a root of a mean square of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use

# x.pow(2).mean(-1).add(eps).rsqrt() is four calls, and casts between them four more. A factor that
# took more is not recognized as one over a norm, so its parameter is a scale instead of a norm's.
CALLS_IN_A_NORM = 8

# Factors of one product: signal, size, weight, unit offset, sqrt(width), and casts between them.
# A product with more is none of a norm's.
FACTORS = 24

# How many products a weight may be away from the one that completes its norm: w * rsqrt, then x.
PRODUCTS_AHEAD = 3

# A number that is added to keep a size from 0, as 1e-3 in batch norms; 1 bends small signals.
LARGEST_EPSILON = 0.1

_SAME = ("view", "cast", "pointwise")
_MEANS = frozenset("mean sum nanmean nansum".split())
_LENGTHS = frozenset("norm vector_norm linalg_vector_norm linalg_norm std std_mean".split())
_UNIT_LENGTH = frozenset("normalize norm vector_norm linalg_vector_norm linalg_norm".split())
_VARIANCES = frozenset("var var_mean".split())
_FOLDED = frozenset("rsqrt sqrt pow".split())  # of a running variance


@dataclass(frozen=True, slots=True)
class _Norm:
    """A norm that is a factor of a product.

    Attributes:
        signal: the node whose result is divided by its size.
        factors: the nodes of the two factors: of the signal, and of (one over) its size.
    """

    signal: int
    factors: frozenset[int]


def is_weight_of_norm(graph: Graph, use: Use) -> bool:
    """Whether a parameter is a norm's weight, by its use as a factor.

    The first of several factors after the signal is its weight; the others are scales.
    """
    own = _factors(graph, use.node).keys()
    for index in _products_from(graph, use.node):
        norm = _norm_in(graph, index, use.node)
        if norm is not None and not own.isdisjoint(norm.factors):
            return all(other.node >= use.node for other in _scales(graph, index, norm.signal))
    return False


def makes_unit_length(graph: Graph, use: Use) -> bool:
    """Whether a norm's weight gets a signal of length 1, and not of mean square 1.

    Which value of the weight changes nothing then depends on the width, and on what follows.
    """
    return _are_of_unit_length(graph, _products_from(graph, use.node))


def _are_of_unit_length(graph: Graph, products: Iterable[int]) -> bool:
    factors = {at for index in products for at in _factors(graph, index)}
    nodes = [graph.nodes[index] for index in factors]
    scaled = any(_is_product(node) and node.number is not None for node in nodes)
    sizes = (_size(graph, node.index) for node in nodes if node.role == "bend" and node.live)
    lengths = any(size is not None and size.length for size in sizes)
    return not scaled and (lengths or any(node.function in _UNIT_LENGTH for node in nodes))


def is_normalized(graph: Graph, index: int) -> bool:
    """Whether a signal was divided by its own norm, by a call or by hand, and not scaled since."""
    norm = _norm_in(graph, index, index + 1)
    return norm is not None and not _scales(graph, index, norm.signal)


def has_mean_square_of_one(graph: Graph, node: Node) -> bool:
    """Whether a product completes a norm by hand, and not one to a length of 1."""
    if not _is_product(node) or _are_of_unit_length(graph, [node.index]):
        return False
    norm = _norm_in(graph, node.index, node.index + 1)
    if norm is not None and _others(graph, node.index, norm):
        return False
    of_weight = any(is_weight_of_norm(graph, use) for use in node.uses if use.role == "mul")
    return of_weight or is_normalized(graph, node.index)


def _others(graph: Graph, index: int, norm: _Norm) -> set[int]:
    """Return the factors of a product that depend on the inputs, and aren't a norm's."""
    own = {*_factors(graph, norm.signal), *norm.factors}
    nodes = [graph.nodes[i] for i in _factors(graph, index) if i not in own]
    return {n.index for n in nodes if n.live and not _is_product(n) and n.role not in _SAME}


def _scales(graph: Graph, index: int, signal: int) -> list[Use]:
    """Return the uses of parameters as factors of a product, later than a signal."""
    later = [graph.nodes[i] for i in _factors(graph, index) if i > signal]
    uses = [use for node in later for use in node.uses if use.role == "mul"]
    return [use for use in uses if use.param not in graph.buffers]


def _products_from(graph: Graph, index: int) -> Iterator[int]:
    """Yield a product and those that it is a factor of."""
    front = [index]
    for _ in range(PRODUCTS_AHEAD):
        yield from front
        ahead = [c for i in front for c in _consumers(graph, i) if _is_product(graph.nodes[c])]
        front = list(dict.fromkeys(ahead))[:PRODUCTS_AHEAD]


def _consumers(graph: Graph, index: int) -> Iterator[int]:
    """Yield what takes a result, also reshaped or cast."""
    for consumer in graph.nodes[index].consumers:
        node = graph.nodes[consumer]
        while node.role in _SAME and len(node.consumers) == 1:
            (following,) = node.consumers
            node = graph.nodes[following]
        yield node.index


def _is_product(node: Node) -> bool:
    return node.role == "mul" or node.function == "addcmul"


def _factors(graph: Graph, index: int) -> dict[int, int]:
    """Return the factors of a product, and the products in it, each with its power: 1 or -1."""
    found, stack = dict[int, int](), [(index, 1)]
    while stack and len(found) < FACTORS:
        at, power = stack.pop()
        node = graph.nodes[at]
        if at in found:
            continue
        found[at] = power
        if _is_product(node) or node.role in _SAME:
            operands = node.operands[1:] if node.function == "addcmul" else node.operands
            for place, value in enumerate(operands):
                divides = place == 1 and node.function == "div"
                stack.append((value.node, -power if divides else power))
    return found


def _norm_in(graph: Graph, index: int, before: int) -> _Norm | None:
    """Return a norm among the factors of a product, of a signal that is older than a node."""
    factors = _factors(graph, index)
    for factor, power in factors.items():
        node = graph.nodes[factor]
        if node.role == "norm" and not any(use.role == "norm" for use in node.uses):
            return _Norm(factor, frozenset((factor,)))
        if _is_product(node) or node.role in _SAME:
            continue
        size = _size(graph, factor)
        if size is not None and size.degree == -power:
            same = _same_signal(graph, factors, size, before)
            if same is not None:
                return _Norm(same[0], frozenset((same[1], factor)))
        if _is_running(graph, factor):
            live = [i for i in factors if graph.nodes[i].live and not _is_product(graph.nodes[i])]
            return _Norm(min(live), frozenset((min(live), factor))) if live else None
    return None


@dataclass(slots=True)
class _Size:
    """(One over) the size of a signal.

    Attributes:
        measured: the nodes of which it is one: the signal, squared, without its mean.
        degree: 1, or -1 for one over the size.
        length: whether it is a sum's root, and not a mean's.
    """

    measured: set[int]
    degree: float
    length: bool = False


def _size(graph: Graph, index: int) -> _Size | None:
    """Return what a number is (one over) the size of, or None.

    Backward from the number: its power, the sum or mean, and the squares. Of degree 1 or -1 in
    the signal it is a size.
    """
    degree, node, scaled = 1.0, graph.nodes[index], False
    for _ in range(CALLS_IN_A_NORM):
        if node.role == "reduce":
            size = _reduced(graph, node, degree)
            if size is not None:
                size.length = not scaled and node.function in (*_UNIT_LENGTH, "sum", "nansum")
            return size
        scaled = scaled or (node.role == "mul" and node.number is not None)
        scaled = scaled or (node.function == "rdiv" and node.number not in (None, 1))
        if _is_own_product(node):
            measured, power = _measured(graph, graph.before(node))
            degree *= 2 * power
            return _Size(measured, degree, not scaled) if abs(degree) == 1 else None
        if node.role not in (*_SAME, "bend", "add", "mul") or not node.signals:
            return None
        if len({value.node for value in node.signals}) > 1 and node.role == "mul":
            return None
        if node.role == "add" and abs(node.number or 0.0) > LARGEST_EPSILON:
            return None  # 1 + |x|
        degree *= _power(node)
        node = graph.before(node)
    return None


def _is_own_product(node: Node) -> bool:
    """Whether a signal is multiplied by itself and summed: einsum("bd,bd->b", x, x)."""
    both = {value.node for value in node.signals}
    summed = node.role == "contract" or node.function.endswith("vecdot")
    return summed and not node.weights and len(node.signals) == 2 and len(both) == 1


def _power(node: Node) -> float:
    """Return to which power a node raises what it takes; 0 where that isn't known."""
    match node.function:
        case "rsqrt":
            return -0.5
        case "sqrt":
            return 0.5
        case "rdiv" | "reciprocal":
            return -1.0
        case "square":
            return 2.0
        case "pow" | "float_power":
            return node.number or 0.0
        case _:
            if node.role == "bend":
                return 0.0
            squared = node.role == "mul" and len(node.operands) > 1
            return 2.0 if squared and len(node.inputs) == 1 else 1.0


def _reduced(graph: Graph, node: Node, degree: float) -> _Size | None:
    """Return the size whose sum or mean this is, to the power ``degree``."""
    if not node.signals:
        return None
    measured, power = _measured(graph, graph.before(node))
    if node.function in _VARIANCES:
        degree *= 2
    elif node.function in _MEANS and power == 2:
        degree *= power
    elif node.function not in _LENGTHS:
        return None
    return _Size(measured, degree) if abs(degree) == 1 else None


def _measured(graph: Graph, node: Node) -> tuple[set[int], float]:
    """Return the nodes that are squared and reduced, and the power that they are raised to."""
    found, power = {node.index}, 1.0
    for _ in range(CALLS_IN_A_NORM):
        if node.role not in (*_SAME, "bend", "mul", "add", "norm") or not node.signals:
            return found, power
        before = {value.node for value in node.signals}
        if node.uses or (len(before) > 1 and not _is_centered(graph, node)):
            return found, power
        power *= _power(node)
        node = graph.before(node)
        found.add(node.index)
    return found, power


def _is_centered(graph: Graph, node: Node) -> bool:
    """Whether a node subtracts a mean."""
    if node.function != "sub" or len(node.operands) != 2:
        return False
    mean = graph.nodes[node.operands[1].node]
    while mean.role in _SAME and mean.inputs:
        mean = graph.nodes[mean.inputs[0]]
    return mean.role == "reduce"


def _same_signal(
    graph: Graph, factors: Iterable[int], size: _Size, before: int
) -> tuple[int, int] | None:
    """Return the newest node, older than ``before``, that a size and a factor are of, and which."""
    found: list[tuple[int, int]] = []
    for factor in factors:
        node = graph.nodes[factor]
        for _ in range(CALLS_IN_A_NORM):
            if node.index in size.measured and node.index < before:
                found.append((node.index, factor))
                break
            if not (node.role in _SAME or _is_centered(graph, node)) or not node.signals:
                break
            node = graph.before(node)
    return max(found, default=None)


def _is_running(graph: Graph, index: int) -> bool:
    """Whether a factor is a root of a tensor that no input goes into: of a running variance."""
    node, rooted = graph.nodes[index], False
    for _ in range(CALLS_IN_A_NORM):
        if node.live or prod(node.shape) <= 1:
            return False
        if node.function == "source":  # no arange
            return rooted
        if node.role not in (*_SAME, "bend", "add") or not node.inputs:
            return False
        rooted = rooted or node.function in _FOLDED
        node = graph.nodes[node.inputs[0]]
    return False
