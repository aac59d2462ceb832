"""Traversal of a data-flow graph: what a signal passes on its way, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod

from goodinit.dataflow.functions import COMPARISONS
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node

_PASS = frozenset(("view", "cast", "pointwise", "norm", "pool"))
_RANDOM = frozenset("rand randn rand_like randn_like bernoulli normal uniform".split())
_CHOOSES = frozenset("bernoulli floor ceil round".split())
CALLS_OF_NOISE = 8  # from random numbers to the call that adds them: a factor, a comparison
_SHARES = frozenset(("sigmoid", "hardsigmoid", "expit", "softmax"))  # numbers between 0 and 1


def is_pass(node: Node) -> bool:
    """Whether one signal goes through: reshaped, normalized, pooled, shifted or scaled."""
    if node.role in _PASS and node.function != "lerp":
        return True
    return (
        node.role in ("add", "mul", "pointwise")
        and len({value.node for value in node.signals}) == 1
    )


def signals_of(node: Node) -> Iterable[int]:
    """Return the nodes of a node's activations."""
    return (value.node for value in node.signals)


def root(graph: Graph, index: int) -> int:
    """Return where a signal came from, back through what it merely passed."""
    *_, first = passed_before(graph, index)
    return first


def passed_before(graph: Graph, index: int) -> Iterator[int]:
    """Yield a node and what came before it, while it only passes."""
    node = graph.nodes[index]
    yield index
    while is_pass(node) and node.signals:
        node = graph.before(node)
        yield node.index


def skip_chain(graph: Graph, index: int) -> Iterator[int]:
    """Yield a node and what came before it, while it passes, is picked from or shut by a gate.

    Tensors that no input goes into count as well: a latent array is a stream from its parameter.
    """
    before: int | None = index
    while before is not None:
        yield before
        before = _skipped(graph, graph.nodes[before])


def _skipped(graph: Graph, node: Node) -> int | None:
    signals = node.signals
    if node.role == "pick" or (is_pass(node) and not signals):
        return node.operands[0].node if node.operands else None
    if is_pass(node):
        return signals[0].node
    if node.role == "mul" and len(signals) == 2:
        kept = [v.node for v in signals if not is_squash(graph, v.node)]
        return kept.pop() if len(kept) == 1 else None
    return None


def is_squash(graph: Graph, index: int) -> bool:
    """Whether a signal is a share between 0 and 1, or 1 minus such a share."""
    return is_share(graph.nodes[root(graph, index)].function)


def is_share(function: str) -> bool:
    """Whether what a function gives are shares between 0 and 1."""
    return function in _SHARES


def is_positive(graph: Graph, index: int) -> bool:
    """Whether a signal is above 0 and has no bound: the size of a step, or of an unnormed share."""
    return graph.nodes[root(graph, index)].function in ("softplus", "exp")


def is_drawn(node: Node) -> bool:
    """Whether a call draws random numbers."""
    return node.function in _RANDOM


def is_noisy(graph: Graph, node: Node, rounded: bool = True) -> bool:
    """Whether random numbers are added to a signal, or multiply it.

    Args:
        graph: of the run.
        node: of the call.
        rounded: whether numbers that choose what to drop count: these keep the second moment.
    """
    if node.role not in ("add", "mul"):
        return False
    # Noise may have a size that is learned.
    taken = (v for v in node.operands if not v.params or graph.nodes[v.node].role != "source")
    stack, steps = [value.node for value in taken], 0
    while stack and steps < CALLS_OF_NOISE:
        made, steps = graph.nodes[stack.pop()], steps + 1
        if made.live:
            continue
        if not rounded and (made.function in _CHOOSES or made.function in COMPARISONS):
            return False
        if is_drawn(made):
            return True
        stack += made.inputs if made.role != "source" else ()
    return False


def are_shares(graph: Graph, index: int) -> bool:
    """Whether a softmax made a signal; a part of it may have been divided by its sum."""

    def follow(node: Node) -> Iterable[int]:
        taken = is_pass(node) or node.role in ("pick", "choose")
        taken = taken or node.function in ("div", "max", "amax")
        return [value.node for value in node.signals[:1]] if taken else ()

    return any(node.role == "softmax" for node in walk_back(graph, [index], follow))


def is_slice(graph: Graph, node: Node) -> bool:
    """Whether a node takes a part of one tensor."""
    if node.role not in ("view", "pick") or not node.inputs:
        return False
    return prod(node.shape) < prod(graph.nodes[node.inputs[0]].shape)


def between(graph: Graph, source: int, targets: Iterable[int]) -> tuple[set[int], int]:
    """Return the nodes on all paths from one node to later ones, and how many were looked at."""
    stack, visited = list(targets), set[int]()
    while stack:
        index = stack.pop()
        if index > source and index not in visited:
            visited.add(index)
            stack += graph.nodes[index].inputs
    on_paths = {source}
    for index in sorted(visited):
        if not on_paths.isdisjoint(graph.nodes[index].inputs):
            on_paths.add(index)
    return on_paths, len(visited)


def share_input(graph: Graph, a: int, b: int) -> bool:
    """Whether two nodes work on the same signal."""
    roots = [{root(graph, v.node) for v in graph.nodes[i].signals} for i in (a, b)]
    return not roots[0].isdisjoint(roots[1])


def walk_back(
    graph: Graph, start: Iterable[int], follow: Callable[[Node], Iterable[int]], floor: int = -1
) -> Iterator[Node]:
    """Yield nodes backward, each once, down to ``floor``; ``follow`` returns the next of each."""
    stack, visited = list(start), set[int]()
    while stack:
        index = stack.pop()
        if index in visited or index <= floor:
            continue
        visited.add(index)
        node = graph.nodes[index]
        yield node
        stack.extend(follow(node))


def walk_forward(graph: Graph, start: int, follow: Callable[[Node], bool]) -> Iterator[Node]:
    """Yield what consumes a node's result, and what consumes that where ``follow`` is true."""

    def onward(node: Node) -> Iterable[int]:
        return reversed(node.consumers) if follow(node) else ()

    return walk_back(graph, reversed(graph.nodes[start].consumers), onward)


def reaches(graph: Graph, source: int, target: int) -> bool:
    """Whether a path of activations leads from one node to a later one."""
    return leads_to(lambda number: signals_of(graph.nodes[number]), source, target)


def leads_to(taken_by: Callable[[int], Iterable[int]], source: int, target: int) -> bool:
    """Whether a call's result is used for a later one's, by their numbers in execution order."""
    stack, visited = [target], set[int]()
    while stack:
        number = stack.pop()
        if number == source:
            return True
        if number > source and number not in visited:
            visited.add(number)
            stack += taken_by(number)
    return False


def number_after(graph: Graph, index: int) -> float:
    """Return the number that a result is multiplied by before it is used: sqrt(width), mostly."""
    node = next(only_consumers(graph, index), None)
    return node.number if node and node.role == "mul" and node.number is not None else 1.0


def only_consumers(graph: Graph, index: int) -> Iterator[Node]:
    """Yield what takes a result, and what alone takes that, and so on; without views."""
    node = graph.nodes[index]
    while len(node.consumers) == 1:
        (following,) = node.consumers
        node = graph.nodes[following]
        if node.role not in ("view", "cast"):
            yield node


def back_to_contractions(graph: Graph, index: int, floor: int = -1) -> list[Node]:
    """Return the weighted contractions whose outputs, sums or products a signal is made of.

    A factor that comes out of an activation or a softmax is a gate: it is not followed, unless
    all are.
    """

    def follow(node: Node) -> Iterable[int]:
        if node.weights or node.role in ("opaque", "softmax", "choose"):
            return ()
        before = list(signals_of(node))
        if node.role == "attention":
            return before[2:3] or before
        if node.role in ("mul", "contract") and len(before) > 1:
            return [i for i in before if not is_gate(graph, i)] or before
        if node.role == "pick":
            return before[:1]
        return before

    return [node for node in walk_back(graph, [index], follow, floor) if node.weights]


def is_gate(graph: Graph, index: int) -> bool:
    """Whether a factor is a score: picked, placed and summed, but without a weight."""
    ends = ("activation", "softmax", "choose")

    def follow(node: Node) -> Iterable[int]:
        if node.role in ends or node.weights:
            return ()
        if is_pass(node) or node.role in ("join", "pick", "reduce"):
            return signals_of(node)
        return ()

    nodes = list(walk_back(graph, [index], follow))
    return any(node.role in ends for node in nodes) and not any(node.weights for node in nodes)


def outputs_per_input(graph: Graph, nodes: Sequence[int], outputs: float) -> float:
    """Return how many outputs there are for each number of the signal that some calls take.

    Slices of a signal count as parts of it, and a signal that is expanded or repeated counts once.
    For several signals (a bilinear form) it is the mean, as for ``nn.Bilinear``.
    """
    taken: dict[int, list[int]] = {}
    for index in nodes:
        for value in graph.nodes[index].signals:
            first, size = _stored(graph, value.node)
            taken.setdefault(first, []).append(size)
    shares = [
        outputs * len(sizes) / len(nodes) / max(min(prod(graph.nodes[first].shape), sum(sizes)), 1)
        for first, sizes in taken.items()
    ]
    return sum(shares) / len(shares) if shares else 1.0


def _stored(graph: Graph, index: int) -> tuple[int, int]:
    """Return the call whose numbers a signal is a view or copy of, and how many of them it has."""
    node = graph.nodes[index]
    size = prod(node.shape)
    while node.role in ("view", "cast", "pick") and node.operands:
        before = graph.nodes[node.operands[0].node]
        if not before.live or node.operands[0].params:
            break
        node = before
        size = min(size, prod(node.shape))
    return node.index, size
