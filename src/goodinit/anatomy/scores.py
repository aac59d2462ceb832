"""Sums with scores that add up to no known number: an adjacency, scores that nothing divides.

After a softmax, divided by their sum, or before a norm, scores are shares, and no doubt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from goodinit._common.sequences import only
from goodinit.anatomy.multiples import Multiples
from goodinit.anatomy.states import readings
from goodinit.anatomy.weighted_sums import SUMS
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node
from goodinit.dataflow.traversal import is_pass, is_share, root, signals_of, walk_back, walk_forward

PRODUCT = "its product is summed with scores that add up to no known number"
INPUT = "its input is a sum with scores that add up to no known number"
OWN = "its input is a signal multiplied by itself, and summed"
SAMPLED = "its input is sampled between positions, which makes it smaller where they differ"
CUMULATED = "a running sum or product multiplies its input: how much of it is left isn't known"
SHARES = "shares made of the data multiply its input: how much of it is left isn't known"

# Calls that make scores of a model's inputs: degrees of a graph, distances.
CALLS_FOLLOWED = 40

_RUNNING = frozenset("cumsum cumprod logcumsumexp".split())
_BENT = frozenset("softmax norm activation choose attention opaque contract".split())


def summed_by_scores(graph: Graph, multiples: Multiples, index: int) -> str:
    """Return what to say of a product with a weight that is summed with scores, or ""."""
    if graph.nodes[index].generates is not None:
        return ""  # it is a weight
    taken = multiples.after(index)[1]
    if _goes_into_a_state(graph, multiples, taken):
        return PRODUCT
    for mixing in taken:
        if len(mixing.signals) != 2 or mixing.weights or mixing.role not in ("contract", "mul"):
            continue
        if len(taken) > 1 and _takes_a_part(graph, mixing, index):
            continue  # of queries, keys and values in one
        scores = [v.node for v in mixing.signals if _is_score(graph, v.node)]
        summed = mixing.role == "contract" or _is_summed(graph, mixing)
        scores = scores or _is_of_keys(graph, multiples, mixing, index)
        if scores and summed and not _is_divided(graph, multiples, mixing):
            return PRODUCT
    if not graph.nodes[index].signals:
        return ""
    before = graph.before(graph.nodes[index]).index
    made_of = list(walk_back(graph, [before], _parts))
    if any(_is_own_product(graph, node) for node in made_of):
        return OWN
    if any(node.function == "grid_sample" for node in made_of):
        return SAMPLED
    said = (_said_of_input(graph, node.index) for node in made_of)
    return next(filter(None, said), "")


def _takes_a_part(graph: Graph, mixing: Node, index: int) -> bool:
    """Whether a call takes some features of a product alone."""
    whole = tuple((0, size) for size in graph.nodes[index].shape)
    origins = (origin for value in mixing.signals for origin in value.origins)
    return any(o.param is None and o.node == index and o.box != whole for o in origins)


def _goes_into_a_state(graph: Graph, multiples: Multiples, taken: Sequence[Node]) -> bool:
    """Whether a loop adds up products with keys, reads the sums with queries, and divides none."""
    corrected = [graph.nodes[c] for node in taken if node.role == "add" for c in node.consumers]
    read = [one for node in (*taken, *corrected) for one in readings(graph, node)]
    return bool(read) and not any(_is_divided(graph, multiples, one) for one in read)


def _is_of_keys(graph: Graph, multiples: Multiples, mixing: Node, index: int) -> bool:
    """Whether values are summed with keys first, and that with queries, and nothing divides it.

    Queries and keys that a softmax made are no doubt.
    """
    if mixing.role != "contract":
        return False
    onward = walk_forward(graph, mixing.index, lambda n: len(n.signals) == 1 and is_pass(n))
    queries = [n for n in onward if n.role == "contract" and len(n.signals) == 2 and not n.weights]
    query = only(queries)
    if query is None or _is_divided(graph, multiples, query):
        return False
    mine = [root(graph, value.node) for value in mixing.signals]
    others = [root(graph, value.node) for value in query.signals]
    others = [other for other in others if other != mixing.index]
    made = [graph.nodes[n] for n in (*(n for n in mine if n != index), *others)]
    return len(made) == 2 and all(_is_unbounded(graph, n) for n in made)


def _is_unbounded(graph: Graph, node: Node) -> bool:
    """Whether a weight or an activation made a signal, and no softmax follows."""
    onward = walk_forward(graph, node.index, is_pass)
    bounded = any(other.role == "softmax" for other in islice(onward, CALLS_FOLLOWED))
    return bool(node.weights or node.role == "activation") and not bounded


def gates_another(graph: Graph, node: Node) -> bool:
    """Whether a call multiplies two signals number by number, and nothing sums the products."""
    two = node.role == "mul" and node.function == "mul" and len(node.signals) == 2
    apart = len({root(graph, value.node) for value in node.signals}) == 2
    return two and apart and not node.uses and not _is_summed(graph, node)


def _parts(node: Node) -> Iterable[int]:
    return signals_of(node) if is_pass(node) or node.role in ("pick", "join") else ()


def _is_own_product(graph: Graph, node: Node) -> bool:
    """Whether a signal is contracted with itself: dot products of features."""
    alone = node.role == "contract" and not node.weights and len(node.signals) == 2
    if not alone:
        return False
    first, second = (root(graph, value.node) for value in node.signals)
    return first == second


def _is_score(graph: Graph, index: int) -> bool:
    """Whether a signal is a product of activations, or made of the model's inputs alone."""
    first = graph.nodes[root(graph, index)]
    while first.role in ("activation", "bend") and len(first.signals) == 1:
        first = graph.nodes[root(graph, first.signals[0].node)]
    return (first.role == "contract" and not first.weights) or _is_given(graph, first.index)


def _is_given(graph: Graph, index: int) -> bool:
    """Whether a signal comes from the model's inputs without a weight, and isn't a share."""

    def follow(node: Node) -> Iterable[int]:
        return () if _is_bent(node) else signals_of(node)

    nodes = list(islice(walk_back(graph, [index], follow), CALLS_FOLLOWED))
    return len(nodes) < CALLS_FOLLOWED and not any(map(_is_bent, nodes))


def _is_bent(node: Node) -> bool:
    return bool(node.weights) or node.role in _BENT or is_share(node.function)


def _said_of_input(graph: Graph, index: int) -> str:
    """Return what to say of a product of two signals, where one is shares or was given, or ""."""
    node = graph.nodes[index]
    summed = node.function in SUMS and bool(node.signals)
    node = graph.nodes[root(graph, graph.before(node).index)] if summed else node
    if node.role not in ("contract", "mul") or node.weights or len(node.signals) != 2:
        return ""
    roots = [graph.nodes[root(graph, value.node)] for value in node.signals]
    if node.role == "mul" and any(_is_running(graph, value.node) for value in node.signals):
        return CUMULATED
    shares = (n.role == "softmax" for n in roots)
    given = any(_is_unweighted(graph, value.node) for value in node.signals)
    if any(shares):
        return SHARES if given or (node.role == "mul" and not summed) else ""
    mixed = node.role == "contract" and not any(is_share(n.function) for n in roots)
    return INPUT if mixed and given else ""


def _is_running(graph: Graph, index: int) -> bool:
    """Whether a factor is a running sum or product, of shares or of their logarithms."""

    def follow(node: Node) -> Iterable[int]:
        made = is_pass(node) or node.role in ("activation", "bend", "mul")
        return signals_of(node) if made and not node.weights else ()

    made_of = islice(walk_back(graph, [index], follow), CALLS_FOLLOWED)
    return any(node.function in _RUNNING for node in made_of)


def _is_unweighted(graph: Graph, index: int) -> bool:
    """Whether a signal is made of the model's inputs by no weight."""
    nodes = list(islice(walk_back(graph, [index], signals_of), CALLS_FOLLOWED))
    return len(nodes) < CALLS_FOLLOWED and not any(n.weights or n.role == "opaque" for n in nodes)


def _is_summed(graph: Graph, node: Node) -> bool:
    """Whether a product, number by number, is summed over positions."""
    onward = walk_forward(graph, node.index, lambda n: n.role in ("view", "cast"))
    return any(other.function in SUMS for other in onward)


def _is_divided(graph: Graph, multiples: Multiples, mixing: Node) -> bool:
    after = multiples.after(mixing.index)[1]
    divides = (n for n in after if len(n.signals) > 1)
    inverse = any(
        n.function == "div" or any(_is_inverse(graph, v.node) for v in n.signals) for n in divides
    )
    return inverse or any(n.role == "norm" for n in after)


def _is_inverse(graph: Graph, index: int) -> bool:
    return graph.nodes[root(graph, index)].function in ("reciprocal", "rdiv")
