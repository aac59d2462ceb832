"""Where a residual branch ends: which weights' outputs are added to a stream that skips them.

A sum is a residual one if a term (the skip) came, unchanged or only normalized, scaled or gated,
from where other terms (the branches) start. It may have any number of terms and any spelling:
``x + f(x) + g(x)``, ``sum([...])``, ``stack(...).sum(0)``, ``lerp``, ``addmm``, ``index_add``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from math import prod

from goodinit.anatomy.roles import Roles, Stream
from goodinit.dataflow.functions import ADD_FIRST, CENTERING
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node
from goodinit.dataflow.norms import is_weight_of_norm
from goodinit.dataflow.traversal import (
    back_to_contractions,
    between,
    is_gate,
    is_pass,
    is_positive,
    is_share,
    is_squash,
    reaches,
    root,
    signals_of,
    skip_chain,
    walk_back,
    walk_forward,
)

Term = tuple[int, ...]
"""The nodes whose results a term is: one, or the factors of addcmul's product."""

# How many nodes all searches for skips may look at together, for each node of the graph. A branch
# is searched once or twice; models in which each sum could skip all that came before need more.
SEARCHED = 100

NOT_SEARCHED = "the model has too many sums to look for residual branches after the first ones"

# Between attention's scores and their softmax: masks, biases, a cast, the maximum subtracted.
CALLS_TO_SOFTMAX = 12

# From a sum that a gate is made of to its sigmoid: an activation, a layer, norms, views.
CALLS_TO_A_GATE = 12

# From the matrix that mixes copies of a stream back to its softmax: 20 steps of Sinkhorn, which
# divide by the sums of rows and of columns.
CALLS_TO_SHARES = 200

STREAM_MIXED = (
    "it is added to copies of a stream that are mixed: whether it ends a branch isn't known"
)

_INTO_FIRST = frozenset(("index_add", "scatter_add", "scatter_reduce", "index_put"))
_SUMS = frozenset(("sum", "mean", "nansum", "nanmean"))


@dataclass(slots=True)
class _Search:
    """A graph, what is known of it, how many nodes may still be looked at, and what was found."""

    graph: Graph
    roles: Roles
    floors: list[int]
    left: int
    found: dict[int, Stream] = field(default_factory=dict[int, Stream])


@dataclass(slots=True)
class _Branch:
    """The branches of a sum.

    Attributes:
        inside: the nodes from where they start to where they end.
        copies: those of them on which the stream is itself still, summed and multiplied at most.
        closing: the weights of norms that come last; not of those that subtract a channel's mean.
        last_norms: those of all norms that come last.
    """

    inside: set[int]
    copies: set[int]
    closing: set[int] = field(default_factory=set[int])
    last_norms: set[int] = field(default_factory=set[int])


def mark_residual_ends(graph: Graph, roles: Roles, floors: list[int]) -> None:
    """Find the sums of a signal and branches that start from it.

    ``floors`` are those of ``recurrence.floors``.
    """
    search = _Search(graph, roles, floors, SEARCHED * len(graph.nodes))
    inner: set[int] = set()
    sums: list[tuple[Node, list[Term]]] = []
    for node in reversed(graph.nodes):
        if node.live and node.index not in inner:
            terms = _flattened(graph, node, inner)
            if len(terms) > 1:
                sums.append((node, terms))
    searched = -1
    for node, terms in reversed(sums):
        stream = _residual(search, node, terms)
        if stream is None and search.left < 0:
            roles.unknown |= _not_searched(graph, roles, searched)
            return
        searched = node.index
        if stream is not None:
            roles.streams.append(stream)
            roles.ends.update(stream.ends)
        else:
            ends = [graph.nodes[index] for index in _ends_beside_a_mixture(search, node, terms)]
            roles.unknown |= {use.param: STREAM_MIXED for end in ends for use in end.weights}


def _not_searched(graph: Graph, roles: Roles, searched: int) -> dict[int, str]:
    """Return the weights after the last sum that was searched, with the reason."""
    behind = (node for node in graph.nodes[searched + 1 :] if node.index not in roles.ends)
    return {use.param: NOT_SEARCHED for node in behind for use in node.weights}


def _flattened(graph: Graph, node: Node, inner: set[int]) -> list[Term]:
    """Return the terms of a sum, and those of sums that nothing else takes."""
    found: list[Term] = []
    left = _terms(graph, node)
    while left:
        term = left.pop(0)
        nested = _inner_sum(graph, *term) if term != (node.index,) else None
        if nested is None or nested.index in inner:
            found.append(term)
        else:
            inner.add(nested.index)
            left = _terms(graph, nested) + left
    return found


def _inner_sum(graph: Graph, index: int, *factors: int) -> Node | None:
    """Return the sum that a term is, at most scaled or reshaped, if nothing else takes it."""
    if factors:
        return None
    node = graph.nodes[index]
    while len(node.consumers) == 1:
        if len(_terms(graph, node)) > 1:
            return node
        if not is_pass(node) or node.role in ("norm", "pool") or len(node.signals) != 1:
            return None
        node = graph.before(node)
    return None


def _terms(graph: Graph, node: Node) -> list[Term]:
    """Return what a node adds up; one term or none where it isn't a sum."""
    operands = [value.node for value in node.operands]
    if node.function in ("addcmul", "addcdiv") and len(operands) == 3:
        return [(operands[0],), tuple(operands[1:])]
    if node.role == "add":
        return [(index,) for index in dict.fromkeys(operands)]
    if node.function == "lerp":
        return [(index,) for index in operands[:2]]
    if node.function in _INTO_FIRST and len(operands) > 2:
        return [(operands[0],), (operands[-1],)]
    if node.function in ADD_FIRST and len(operands) == 3 and not node.operands[0].params:
        return [(operands[0],), (node.index,)]
    return _stacked_terms(graph, node)


def _stacked_terms(graph: Graph, node: Node) -> list[Term]:
    """Return what was stacked, if a node sums over the new axis: a sum, einsum or product."""
    mixes = node.role == "contract" and not any(use.outputs for use in node.weights)
    if not (mixes or node.function in _SUMS) or not node.operands:
        return []
    for value in node.operands:
        before = graph.nodes[root(graph, value.node)]
        if before.function in ("stack", "cat") and len(before.operands) > 1:
            shapes = {graph.nodes[v.node].shape for v in before.operands}
            if len(shapes) == 1 and prod(*shapes) == prod(node.shape):
                return [(v.node,) for v in before.operands]
    return []


def _residual(search: _Search, node: Node, terms: list[Term]) -> Stream | None:
    """Return what a sum is of a residual stream; a skip that is projected is looked for last."""
    graph = search.graph
    if any(root(graph, index) in search.roles.outer for term in terms for index in term):
        return None  # a state, to which each step adds the product of its key and value
    alone = (index for term in terms if len(term) == 1 for index in term)
    singles = sorted(index for index in alone if index != node.index)
    for projected in (False, True):
        for skip in singles:
            rest = [t for t in terms if t != (skip,) and _is_signal(graph, node, t)]
            if projected and len(rest) > 1:
                continue
            stream = _skipping(search, node, skip, rest, projected)
            if stream is not None:
                return stream
    return None


def _skipping(
    search: _Search, node: Node, skip: int, rest: list[Term], projected: bool
) -> Stream | None:
    """Return the stream if one term skips what another was made by.

    A skip is where the branch starts, or, ``projected``, what one weight makes of that (the 1x1
    convolution of a ResNet where the resolution changes), where the branch has two weights or
    more and an activation, and adds up no others.
    """
    graph, floor = search.graph, search.floors[node.index]
    chain = list(skip_chain(graph, skip))
    if _is_score(graph, node, chain[-1]) or _is_bias(graph, node, skip):
        return None
    made_by = graph.nodes[chain[-1]]
    if projected:
        if not _is_projection(graph, node, skip, made_by):
            return None
        chain = list(skip_chain(graph, graph.before(made_by).index))
    for start in chain:
        if start < floor or search.left < 0:
            return None
        if len(graph.nodes[start].consumers) < 2:
            continue
        inside, cost = between(graph, start, _tips(node, rest))
        search.left -= cost
        if _leaves_a_branch(search, start, inside):
            return None
        terms = [term for term in rest if not inside.isdisjoint(_tips(node, [term]))]
        branch = _Branch(inside, _copies(graph, inside) if terms else set())
        last = [_last(search, branch, node, term) for term in terms]
        ends = list(dict.fromkeys(index for one in last for index in one))
        if not ends or (projected and not _is_block(search, inside, ends, made_by)):
            continue
        before = next((search.found[index] for index in chain if index in search.found), None)
        search.roles.closing |= branch.closing
        search.roles.last_norms |= branch.last_norms
        origin = before.origin if before is not None else chain[-1]
        new = sum(not one or not search.roles.ends.issuperset(one) for one in last)
        search.found[node.index] = Stream(node.index, ends, new, origin, frozenset(inside))
        return search.found[node.index]
    return None


def _ends_beside_a_mixture(search: _Search, node: Node, terms: list[Term]) -> list[int]:
    """Return the last weights of a branch beside copies of a stream that shares mix.

    The shares are made of the copies themselves, as in manifold-constrained hyper-connections.
    """
    graph, singles = search.graph, [term for term in terms if len(term) == 1]
    for (index,) in singles if len(terms) > 1 else ():
        start = _mixed_by_shares(graph, graph.nodes[root(graph, index)])
        rest = [term for term in terms if term != (index,) and _is_signal(graph, node, term)]
        if start is None or start < search.floors[node.index] or not rest:
            continue
        inside, cost = between(graph, start, _tips(node, rest))
        search.left -= cost
        branch = _Branch(inside, _copies(graph, inside))
        found = [i for term in rest for i in _last(search, branch, node, term)]
        if found:
            return found
    return []


def _mixed_by_shares(graph: Graph, node: Node) -> int | None:
    """Return the signal of which a call mixes rows, by a square matrix of shares made of it."""
    if node.role != "contract" or node.weights or len(node.signals) != 2:
        return None
    for matrix, stream in (node.signals, node.signals[::-1]):
        shape, sizes = graph.nodes[stream.node].shape, graph.nodes[matrix.node].shape[-2:]
        same = shape == node.shape and len(shape) > 3 and set(sizes) == {shape[-2]}
        mixes = islice(walk_back(graph, [matrix.node], _shares_before), CALLS_TO_SHARES)
        softmax = next((one for one in mixes if one.role == "softmax"), None)
        if same and softmax is not None and not _is_of_products(graph, softmax):
            for start in skip_chain(graph, stream.node):
                if reaches(graph, start, softmax.index):
                    return start
    return None


def _shares_before(node: Node) -> Iterable[int]:
    return signals_of(node) if is_pass(node) or node.function == "div" else ()


def _is_of_products(graph: Graph, softmax: Node) -> bool:
    """Whether shares are made of products of two signals, as attention's are."""
    before = walk_back(graph, signals_of(softmax), lambda n: () if n.weights else signals_of(n), -1)
    return any(n.role == "contract" and not n.weights for n in islice(before, CALLS_TO_SOFTMAX))


def _leaves_a_branch(search: _Search, start: int, inside: set[int]) -> bool:
    """Whether a skip starts within a branch and ends after its sum: values of an earlier layer.

    A skip that starts at its own sum belongs to another stream, which this one reads and changes.
    """
    if any(index in search.found for index in skip_chain(search.graph, start)):
        return False
    for index in inside & search.found.keys():
        branch = search.found[index].inside
        if start in branch and start not in _copies(search.graph, set(branch)):
            return True
    return False


def _is_signal(graph: Graph, node: Node, term: Term) -> bool:
    """Whether a term depends on the inputs; a bias is added to a branch but isn't one."""
    return term == (node.index,) or any(graph.nodes[index].live for index in term)


def _tips(node: Node, terms: Iterable[Term]) -> list[int]:
    """Return the last nodes of terms; addmm's product is a term that the sum itself makes."""
    found: list[int] = []
    for term in terms:
        own = term == (node.index,)
        found += [value.node for value in node.operands[1:]] if own else term
    return found


def _last(search: _Search, branch: _Branch, node: Node, term: Term) -> list[int]:
    """Return the last weights of a branch: where its products, sums and picks come from.

    Not those of gates on constants, as on the zeros that a state starts from, unless all are.
    """
    if term == (node.index,) and node.weights:
        return [node.index]
    return _behind(search, branch, node, term, False) or _behind(search, branch, node, term, True)


def _behind(
    search: _Search, branch: _Branch, node: Node, term: Term, of_constants: bool
) -> list[int]:
    graph, inside, values = search.graph, branch.inside, search.roles.values

    def follow(other: Node) -> Iterable[int]:
        if other.weights or other.role in ("opaque", "softmax", "choose"):
            return ()
        if other.index in values:
            return (values[other.index],)
        before = list(signals_of(other))
        if other.role == "pick" or other.function == "div":
            return before[:1]
        multiplies = other.role in ("mul", "contract")
        if multiplies and not of_constants and _gates_a_constant(graph, other):
            return ()
        return _factors(graph, branch, other, before) if multiplies else before

    tips = _factors(graph, branch, node, _tips(node, [term])) if len(term) > 1 else term
    found: list[int] = []
    for other in walk_back(
        graph, tips, lambda n: (i for i in follow(n) if i in inside), min(inside)
    ):
        if other.weights and other.index in inside:
            found.append(other.index)
        elif other.index not in branch.copies:
            norms = list(_norm_weights(graph, other))
            branch.last_norms.update(norms)
            if other.function not in CENTERING:
                branch.closing.update(norms)
    return found


def _norm_weights(graph: Graph, node: Node) -> Iterator[int]:
    """Yield the weight that a node multiplies a normalized signal by."""
    for use in node.uses:
        if use.role == "norm" or (use.role == "mul" and is_weight_of_norm(graph, use)):
            yield use.param


def _factors(graph: Graph, branch: _Branch, node: Node, factors: Iterable[int]) -> list[int]:
    """Return the factors of a product that carry a branch.

    Not those that don't start from the stream (a modulation), nor gates, nor sizes of a step, nor
    what is broadcast over positions or features, unless all are. Where
    the stream itself is summed with weights made of it, or is spread over a new axis (the state
    of a state space, written by B and read by C), it carries.
    """
    carried = [index for index in factors if index in branch.inside]
    if node.role == "contract" or any(graph.nodes[i].shape != node.shape for i in carried):
        carried = [index for index in carried if index in branch.copies] or carried
    for is_other in (is_positive, _is_gate_or_router, is_squash):
        carried = [index for index in carried if not is_other(graph, index)] or carried
    others = [v.node for v in node.signals if v.node not in branch.inside]
    if others and node.role == "mul" and all(is_squash(graph, index) for index in carried):
        return []  # how much of another signal is added: g(x, y) * x + (1 - g(x, y)) * y
    whole = [index for index in carried if prod(graph.nodes[index].shape) >= prod(node.shape)]
    return whole if whole and node.role != "contract" else carried


def _gates_a_constant(graph: Graph, node: Node) -> bool:
    """Whether shares multiply a tensor that is neither an activation nor a parameter."""
    others = [v.node for v in node.operands if not v.params and not graph.nodes[v.node].live]
    made = [value.node for value in node.signals]
    return bool(others) and bool(made) and all(is_squash(graph, index) for index in made)


def _is_gate_or_router(graph: Graph, index: int) -> bool:
    """Whether a factor is a score, or shares that were picked and divided by their sum."""
    if is_gate(graph, index):
        return True
    node = graph.nodes[root(graph, index)]
    while (node.role == "pick" or node.function == "div") and node.signals:
        node = graph.nodes[root(graph, graph.before(node).index)]
    return is_share(node.function)


def _copies(graph: Graph, inside: set[int]) -> set[int]:
    """Return the nodes on which the stream is itself still, summed and multiplied at most."""
    found = {min(inside)}
    for index in sorted(inside):
        node = graph.nodes[index]
        same = is_pass(node) or node.role in ("add", "mul", "contract", "join", "reduce")
        taken = node.inputs[:1] if node.role in ("view", "cast") else node.inputs  # view_as(x)
        if same and not node.weights and not found.isdisjoint(taken):
            found.add(index)
    return found


def _is_bias(graph: Graph, node: Node, skip: int) -> bool:
    """Whether a term is one vector of parameters that is added to each row, not a stream."""
    first = graph.nodes[skip]
    return not first.live and max(first.shape, default=1) == prod(first.shape) < prod(node.shape)


def _is_score(graph: Graph, node: Node, source: int) -> bool:
    """Whether a sum is of attention's scores (masks, biases, talking heads): it feeds no stream."""
    if graph.nodes[source].role == "softmax":
        return True
    onward = walk_forward(graph, node.index, lambda n: is_pass(n) or n.role in ("add", "join"))
    return any(other.role == "softmax" for other in islice(onward, CALLS_TO_SOFTMAX))


def _is_projection(graph: Graph, node: Node, skip: int, made_by: Node) -> bool:
    """Whether a weight made a term that may be a skip. One that is broadcast is a modulation's."""
    if not made_by.weights or not made_by.signals or _is_gates_input(graph, node):
        return False
    return prod(graph.nodes[skip].shape) >= prod(node.shape)


def _is_gates_input(graph: Graph, node: Node) -> bool:
    """Whether only shares are made of a sum, by sigmoids or by layers before a gate."""
    if node.consumers and all(is_squash(graph, index) for index in node.consumers):
        return True
    onward = list(islice(walk_forward(graph, node.index, _is_before_a_gate), CALLS_TO_A_GATE + 1))
    if len(onward) > CALLS_TO_A_GATE:
        return False  # what a stream of blocks leads to isn't a gate alone
    last = [other for other in onward if not _is_before_a_gate(other)]
    return bool(last) and all(is_share(n.function) and _is_factor(graph, n) for n in last)


def _is_before_a_gate(node: Node) -> bool:
    layer = bool(node.weights) or node.role == "activation"
    return is_pass(node) or (layer and not is_share(node.function))


def _is_factor(graph: Graph, node: Node) -> bool:
    """Whether a signal multiplies another."""
    onward = islice(walk_forward(graph, node.index, is_pass), CALLS_TO_A_GATE)
    return any(len(other.signals) > 1 and other.role in ("mul", "contract") for other in onward)


def _is_block(search: _Search, inside: set[int], ends: list[int], made_by: Node) -> bool:
    """Whether a weight and an activation come before a branch's last weight, and no sum.

    The projection isn't within: a layer that makes a shift and a scale modulates.
    """
    graph, earlier, bent = search.graph, False, False
    if made_by.index in inside:
        return False
    start = min(inside)
    before = {node.index for node in walk_back(graph, ends, signals_of, start)}  # no gate beside
    for index in sorted(inside - {start}):
        node = graph.nodes[index]
        earlier = earlier or (bool(node.weights) and index in before and index not in ends)
        bent = bent or (node.role == "activation" and index in before)
        if index in search.found or _adds_layers(graph, inside, node):
            return False
    return earlier and bent


def _adds_layers(graph: Graph, inside: set[int], node: Node) -> bool:
    """Whether a node adds the outputs of two weights that both start from the stream."""
    if node.role != "add":
        return False
    start = min(inside)
    before = {v.node for v in node.signals if v.node in inside}
    made = [{n.index for n in back_to_contractions(graph, i, start)} for i in before]
    return bool(made) and all(made) and not set.intersection(*made)
