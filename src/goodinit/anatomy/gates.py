"""Gates of cells written by hand: which features of a weight's output open and shut what.

What a sigmoid multiplies, in the first step of the loop, says which gate it is:

    LSTM    c' = forget * c + in * cell,  h' = out * f(c')
    GRU     h' = (1 - update) * new + update * h,  new = f(U x + reset * V h)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from goodinit.anatomy.roles import Range, Roles
from goodinit.anatomy.rows import Block
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Origin, Value
from goodinit.dataflow.traversal import is_pass, passed_before, root, walk_forward

Place = tuple[int, Range]
"""A node, and a range of its result's features."""

# From a product to the bias that is added to it; more are steps of a loop that take it in turn.
CALLS_TO_A_BIAS = 24

_SIGMOIDS = ("sigmoid", "hardsigmoid", "expit")


@dataclass(slots=True)
class _Cell:
    """What is found in one step of a cell.

    Attributes:
        factors: gate -> what it multiplies, and whether as it is or as 1 - gate.
        candidates: gate -> what the activation that it multiplies is taken of.
        names: place -> the name of the gate, or of what a gate lets in.
    """

    factors: defaultdict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))
    candidates: dict[Place, Place] = field(default_factory=dict[Place, Place])
    names: dict[Place, str] = field(default_factory=dict[Place, str])


def mark_gates(graph: Graph, roles: Roles, steps: Sequence[Range]) -> None:
    """Name the gates of cells, and the biases that are added before them."""
    for index in list(roles.packed):  # named as a feed-forward block's, by one product alone
        if any(use.param in roles.cells for use in graph.nodes[index].weights):
            del roles.packed[index]
    for start, stop in steps:
        cell = _Cell()
        for node in graph.nodes[start:stop]:
            if node.function == "lerp" and len(node.operands) > 2:
                _note_update(graph, cell, node)
            elif node.role == "mul" and len(node.operands) == 2:
                for gate, other in (node.operands, node.operands[::-1]):
                    _note_factor(graph, cell, node, gate, other, start)
        _name_gates(cell)
        for place, name in cell.names.items():
            _mark(graph, roles, place, name)


# What gates multiply.


def _gate(graph: Graph, value: Value) -> tuple[Place, bool] | None:
    """Return which features are a gate's, and whether it is 1 minus them."""
    index, turned = value.node, False
    while is_pass(node := graph.nodes[index]) and node.signals:
        first = node.operands[0].node == graph.before(node).index
        turned ^= node.function == "rsub" or (node.function == "sub" and not first)
        index = graph.before(node).index
    place = _place(graph, value)
    if place is None or node.function not in _SIGMOIDS:
        return None
    return place, turned


def _place(graph: Graph, value: Value) -> Place | None:
    for origin in value.origins:
        if origin.param is None:
            return origin.node, _features(graph, origin)
    return None


def _features(graph: Graph, origin: Origin) -> Range:
    """Return which features of a result a tensor holds: those of the axis that is cut."""
    shape = graph.nodes[origin.node].shape
    cut = [box for box, size in zip(origin.box, shape, strict=True) if box != (0, size)]
    return cut[-1] if cut else (0, 0)  # (0, 0): all of them


def _note_update(graph: Graph, cell: _Cell, node: Node) -> None:
    gate = _gate(graph, node.operands[2])
    if gate is not None:
        cell.factors[gate[0]] |= {"share", "1 - share"}
        for value in node.operands[:2]:
            _note_candidate(graph, cell, gate[0], value.node)


def _note_factor(
    graph: Graph, cell: _Cell, node: Node, gated: Value, other: Value, start: int
) -> None:
    gate = _gate(graph, gated)
    if gate is None:
        return
    place, turned = gate
    source = graph.nodes[root(graph, other.node)]
    facts = cell.factors[place]
    facts.add("1 - share" if turned else "share")
    passed = [graph.nodes[index] for index in passed_before(graph, other.node)]
    difference = next((n for n in passed if _is_difference(graph, n)), None)
    if difference is not None:
        facts.add("1 - share")
        for value in difference.operands:
            _note_candidate(graph, cell, place, value.node)
    elif source.index < start and not source.weights:
        facts.add("state to a sum" if _is_added(graph, node) else "state to a weight")
    elif _has_gated_term(graph, source) or _is_bent_state(graph, source):
        facts.add("new state")
    elif _is_bent(graph, source.index):
        facts.add("candidate")
        _note_candidate(graph, cell, place, source.index)
    elif source.weights or source.role == "add":
        facts.add("state to a weight")


def _note_candidate(graph: Graph, cell: _Cell, gate: Place, index: int) -> None:
    source = graph.nodes[root(graph, index)]
    if _is_bent(graph, source.index) and source.operands:
        place = _place(graph, source.operands[0])
        if place is not None:
            cell.candidates[gate] = place


def _is_added(graph: Graph, node: Node) -> bool:
    onward = walk_forward(graph, node.index, is_pass)
    return not any(other.weights for other in onward)


def _is_bent(graph: Graph, index: int) -> bool:
    source = graph.nodes[root(graph, index)]
    return source.role == "activation" and source.function not in _SIGMOIDS


def _is_bent_state(graph: Graph, node: Node) -> bool:
    if not _is_bent(graph, node.index) or not node.signals:
        return False
    return _has_gated_term(graph, graph.nodes[root(graph, graph.before(node).index)])


def _has_gated_term(graph: Graph, node: Node) -> bool:
    """Whether a sum adds what gates let through."""
    if node.role != "add":
        return False
    return any(_lets_through(graph, graph.nodes[index]) for index in node.inputs)


def _lets_through(graph: Graph, node: Node) -> bool:
    """Whether a node is a gate times a state or candidate, and not times a weight's output."""
    if node.role != "mul" or len(node.operands) != 2:
        return False
    return any(
        _gate(graph, gate) is not None and not graph.nodes[root(graph, other.node)].weights
        for gate, other in (node.operands, node.operands[::-1])
    )


def _is_difference(graph: Graph, node: Node) -> bool:
    """Whether a node is a candidate less the state, or the other way: z * (new - h)."""
    bent = [_is_bent(graph, value.node) for value in node.operands]
    return node.function == "sub" and len(bent) == 2 and any(bent)


# What they are called.


def _name_gates(cell: _Cell) -> None:
    update = "forget" if any("new state" in f for f in cell.factors.values()) else "update"
    for place, facts in cell.factors.items():
        if "new state" in facts:
            cell.names[place] = "out"
        elif {"share", "1 - share"} <= facts:
            cell.names[place] = update
        elif "state to a sum" in facts:
            cell.names[place] = "forget"
        elif "state to a weight" in facts:
            cell.names[place] = "reset"
        elif "candidate" in facts:
            cell.names[place] = "in"
    made = {"in": "cell", "forget": "cell", "update": "new"}
    for gate, candidate in cell.candidates.items():
        if cell.names.get(gate) in made:
            cell.names.setdefault(candidate, made[cell.names[gate]])


# Which weights and biases they are made by.


def _mark(graph: Graph, roles: Roles, place: Place, name: str) -> None:
    """Note a gate's name on its weights, and on one of its biases: torch's own cells have two."""
    weights, biases = list[Place](), list[Place]()
    for is_bias, number, features in _makers(graph, place):
        (biases if is_bias else weights).append((number, features))
    params = [(use.param, f) for index, f in weights for use in graph.nodes[index].weights]
    if not any(param in roles.cells for param, _ in params):
        return
    for index, features in weights:
        if features != (0, 0):
            roles.packed.setdefault(index, {})[name] = features
    first = next((bias for bias in biases if bias[0] in roles.biases), None) or biases[0:1]
    for number, features in [first] if isinstance(first, tuple) else first:
        roles.biases.setdefault(number, {})[name] = features


def _makers(graph: Graph, place: Place) -> Iterator[tuple[bool, int, Range]]:
    """Yield what made some features: (False, node, range) of weights, (True, bias, range)."""
    left = [place]
    while left:
        index, (start, stop) = left.pop(0)
        node = graph.nodes[index]
        for use in node.uses:
            if use.role == "add":
                low, high = use.origin.box[-1] if use.origin.box else (0, 0)
                yield True, use.param, (low + start, low + stop) if stop else (low, high)
        yield from _added_after(graph, index, (start, stop))
        if node.weights:
            yield False, index, (start, stop)
        elif node.role in ("add", "mul"):
            for value in node.operands:
                inner = None if _gate(graph, value) is not None else _place(graph, value)
                if inner is not None:
                    low, high = inner[1]
                    cut = (low + start, low + stop) if stop else (low, high)
                    left.append((inner[0], cut))


def _added_after(graph: Graph, index: int, features: Range) -> Iterator[tuple[bool, int, Range]]:
    """Yield the biases that are added to some features of a result."""

    def follow(node: Node) -> bool:
        return node.role in ("view", "cast") or (node.role == "add" and len(node.signals) == 1)

    start, stop = features
    for node in islice(walk_forward(graph, index, follow), CALLS_TO_A_BIAS):
        biases = [u for u in node.uses if u.role == "add" and u.origin.box and not u.origin.made]
        place = _place(graph, node.signals[0]) if biases and len(node.signals) == 1 else None
        if place is None or place[0] != index or place[1] not in ((0, 0), features):
            continue
        for use in biases:
            low, high = use.origin.box[-1]
            part = place[1] == (0, 0) and stop
            yield True, use.param, (low + start, low + stop) if part else (low, high)


def blocks_of_bias(ranges: Mapping[str, Range], size: int) -> tuple[Block, ...]:
    """Return the blocks of a bias from the ranges of gates; none if they overlap."""
    found: list[Block] = []
    at = 0
    for name, (start, end) in sorted(ranges.items(), key=lambda item: item[1]):
        stop = end or size  # (0, 0) is the whole
        if start < at:
            return ()
        if start > at:
            found.append(Block(f"rest{len(found)}", ((at, start),)))
        found.append(Block(name, ((start, stop),)))
        at = stop
    return (*found, Block(f"rest{len(found)}", ((at, size),))) if at < size else tuple(found)
