"""Recurrence written by hand: weights whose input comes from their own output.

A cell made of Linears or raw matrices runs step after step, so that the graph is unrolled. One
pass finds the weights that are used again on what became of their own output. Where elementwise
functions alone lie between, a weight multiplies a state: its kind is "recurrent". All that is
read of a cell is read at its first step, so that the number of steps changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from goodinit.anatomy.gates import blocks_of_bias
from goodinit.anatomy.roles import Range, Roles, Stream
from goodinit.anatomy.rows import Facets
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.traversal import (
    between,
    is_pass,
    is_slice,
    passed_before,
    root,
    walk_back,
    walk_forward,
)

ADDED_TO_ITSELF = "its output is added to the state that it reads: nobody knows how many steps"
ADDED_BESIDE = "its output is added to a state at each step: nobody knows how many steps"
BENT = "its output is added to its own input, but bent before it is used again"
SHARED = "it ends a branch of each of several layers that share it: depth counts these as one"

# A step of a recurrence uses a weight once, twice where gates take it apart, four times where a
# Runge-Kutta method solves a driven equation. With more, a skip over a whole step is not found.
USES_IN_A_STEP = 8

_Part = tuple[int, tuple[Range, ...]]
"""A weight, and the part of it that is used: each layer may have its own."""

_WEIGHTS = frozenset(("linear", "conv", "recurrent"))
_ELEMENTWISE = frozenset(("activation", "bend", "pointwise", "add", "mul", "join", "pick"))


@dataclass(slots=True)
class Loop:
    """A weight that is used again on what became of its own output.

    Attributes:
        uses: the nodes that multiply by it, in order.
        first: the earlier node of the first such pair.
        again: the later one.
        path: the elementwise nodes between the two; empty where another weight comes between.
        fed: whether something new comes in at each step.
        adds: whether the state itself is added to what the weight makes of it.
    """

    uses: list[int]
    first: int
    again: int
    path: set[int] = field(default_factory=set[int])
    fed: bool = False
    adds: bool = False


def find_loops(graph: Graph) -> dict[int, Loop]:
    """Return, by its number, each weight that works on what became of its own output."""
    uses = _repeated(graph)
    bit = {param: 1 << place for place, param in enumerate(uses)}
    depends = [0] * len(graph.nodes)  # on the outputs of which of these weights a node does
    loops: dict[int, Loop] = {}
    for node in graph.nodes if uses else ():
        mask = 0
        for index in node.inputs if node.role != "choose" else ():  # a sampled token isn't a state
            mask |= depends[index]
        for use in node.weights:
            if mask & bit.get(use.param, 0) and use.param not in loops:
                first = _earlier(graph, uses[use.param], use)
                if first is not None:
                    loops[use.param] = _loop(graph, uses[use.param], first, node.index)
        for use in node.weights:
            mask |= bit.get(use.param, 0)
        depends[node.index] = mask
    return loops


def _repeated(graph: Graph) -> dict[int, list[int]]:
    """Return the weights that several nodes use, and these nodes."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for node in graph.nodes:
        for param in dict.fromkeys(use.param for use in node.weights):
            found[param].append(node.index)
    return {param: nodes for param, nodes in found.items() if len(nodes) > 1}


def _earlier(graph: Graph, nodes: Iterable[int], use: Use) -> int | None:
    """Return the last use before that sums over the same axes: W'(W x) isn't a recurrence.

    Nor are other parts of a weight: a layer each, other gates, or for the input.
    """
    before = [one for n in nodes if n < use.node for one in graph.nodes[n].weights]
    same = (one.node for one in reversed(before) if _is_of_same_part(one, use))
    return next(same, None)


def _is_of_same_part(one: Use, other: Use) -> bool:
    if (one.param, one.inputs) != (other.param, other.inputs):
        return False
    ranges = zip(one.origin.box, other.origin.box, strict=True)
    return all(a[0] < b[1] and b[0] < a[1] for a, b in ranges)


def _loop(graph: Graph, uses: list[int], first: int, again: int) -> Loop:
    state, _ = between(graph, first, [again])
    path = {n.index for n in walk_back(graph, _signals(graph, again), _elementwise, first - 1)}
    loop = Loop(uses, first, again, (path & state) - {first} if first in path else set())
    loop.fed = any(_brings_news(graph, index, first, state) for index in range(first, again))
    loop.adds = _adds_state(graph, loop, state)
    return loop


def _signals(graph: Graph, index: int) -> list[int]:
    """Return what a weight multiplies, a state of zeros too."""
    return [value.node for value in graph.nodes[index].operands if not value.params]


def _elementwise(node: Node) -> Iterable[int]:
    """Return what a node was computed from element by element; nothing beyond a weight."""
    if node.weights or not (is_pass(node) or node.role in _ELEMENTWISE):
        return ()
    return node.inputs


def _brings_news(graph: Graph, index: int, first: int, state: set[int]) -> bool:
    """Whether a node takes a new part of an input: that of this time step."""
    node = graph.nodes[index]
    if index in state or not node.live or not node.inputs:
        return False
    parts = node.function in ("unbind", "chunk", "split") or is_slice(graph, node)
    return parts and not any(before in state for before in node.inputs) and index > first


def _adds_state(graph: Graph, loop: Loop, state: set[int]) -> bool:
    """Whether a sum between two uses has the earlier one's own input as a term."""
    before = {i for index in _signals(graph, loop.first) for i in _read_of(graph, index)}
    for index in loop.path:
        node = graph.nodes[index]
        if node.role == "add" and len(node.inputs) > 1:
            others = [i for i in node.inputs if i not in state]
            added = any(not before.isdisjoint(_unchanged(graph, i)) for i in others)
            if added and _is_of_update(graph, node):
                continue
            if added and not any(_replaces(graph, i, before) for i in node.inputs):
                return True
    return False


def _read_of(graph: Graph, index: int) -> set[int]:
    """Return the nodes of the state that a weight reads, bent perhaps: W f(h).

    What another weight made and an activation bent is a state in its own right.
    """
    found = set(_unchanged(graph, index))
    node = graph.nodes[min(found)]
    if node.role == "activation" and len(node.inputs) == 1:
        before = set(_unchanged(graph, node.inputs[0]))
        found |= before if not graph.nodes[min(before)].weights else set()
    return found


def _replaces(graph: Graph, index: int, before: set[int]) -> bool:
    """Whether a term is a gate times what is new less the state: h + z * (new - h)."""
    node = graph.nodes[index]
    if node.role != "mul" or len(node.inputs) < 2:
        return False
    factors = [graph.nodes[i] for i in node.inputs]
    return any(f.function == "sub" and not before.isdisjoint(f.inputs) for f in factors)


def _is_of_update(graph: Graph, node: Node) -> bool:
    """Whether a node is the state less what is new, of which a gate adds a share to what is new.

    It is the difference in ``new + z * (h - new)``.
    """
    if node.function != "sub":
        return False
    gated = [graph.nodes[i] for i in node.consumers]
    if not all(other.role == "mul" and len(other.inputs) > 1 for other in gated):
        return False
    sums = [graph.nodes[i] for other in gated for i in other.consumers]
    return bool(sums) and all(
        one.role == "add" and not set(node.inputs).isdisjoint(one.inputs) for one in sums
    )


def _unchanged(graph: Graph, index: int) -> Iterator[int]:
    """Yield a node and what it was before it was scaled or reshaped; a state of zeros too."""
    while True:
        yield index
        node = graph.nodes[index]
        taken = [v.node for v in node.operands if not v.params]
        learned = any(o.param not in graph.buffers for v in node.operands for o in v.params)
        scaled = node.role in ("add", "mul") and len(taken) == 1 and not learned
        if not node.inputs or not (scaled or is_pass(node)):
            return
        index, *_ = (v.node for v in node.signals) if node.signals else (taken or node.inputs)


def floors(graph: Graph, loops: Mapping[int, Loop]) -> list[int]:
    """Return for each node in a loop over time the node before which no skip in a step starts.

    It bounds the search for skips, which would look at all earlier steps; -1 outside of loops.
    """
    users: defaultdict[int, list[Loop]] = defaultdict(list)
    for loop in loops.values():
        for index in loop.uses if loop.fed else ():
            users[index].append(loop)
    found: list[int] = []
    count: dict[int, int] = {}
    floor, last = -1, -1
    for index in range(len(graph.nodes)):
        for loop in users.get(index, ()):
            place = count[id(loop)] = count.get(id(loop), -1) + 1
            floor = loop.uses[place - USES_IN_A_STEP] if place >= USES_IN_A_STEP else -1
            last = loop.uses[-1]
        found.append(floor if index <= last else -1)
    return found


def mark_states(graph: Graph, roles: Roles, loops: Mapping[int, Loop]) -> None:
    """Mark the weights of states, those of the inputs added to them, and what ends no branch."""
    states = {param for param, loop in loops.items() if loop.path}
    on_path = {index for param in states for index in loops[param].path}
    states |= {p for p, loop in loops.items() if not loop.path and _gates(graph, loop, on_path)}
    for param in sorted(states):
        roles.cells[param] = "weight" if _takes_more(graph, loops[param]) else "recurrent"
    for param in sorted(states):
        for other in _beside(graph, loops[param]):
            roles.cells.setdefault(other, "in")
            if loops[param].adds:
                roles.unknown.setdefault(other, ADDED_BESIDE)
    _correct_ends(graph, roles, loops)


def first_steps(roles: Roles, loops: Mapping[int, Loop]) -> list[Range]:
    """Return the nodes of the first step of each cell, as ranges."""
    found: list[Range] = []
    for loop in sorted((loops[p] for p in roles.cells if p in loops), key=lambda one: one.first):
        if found and loop.first < found[-1][1]:
            found[-1] = found[-1][0], min(found[-1][1], loop.again)
        else:
            found.append((loop.first, loop.again))
    return found


def _gates(graph: Graph, loop: Loop, on_path: set[int]) -> bool:
    """Whether a weight takes a state, and multiplies one element by element: a reset gate's."""
    taken = {i for index in _signals(graph, loop.again) for i in passed_before(graph, index)}
    if taken.isdisjoint(on_path):
        return False

    def follow(node: Node) -> bool:
        return node.index < loop.again and bool(_elementwise(node))

    return any(
        node.role == "mul" and len(node.inputs) > 1 and not node.weights
        for node in walk_forward(graph, loop.first, follow)
        if node.index < loop.again
    )


def _takes_more(graph: Graph, loop: Loop) -> bool:
    """Whether a weight's input joins the state with something else: the step's input."""
    nodes = [graph.nodes[root(graph, index)] for index in _signals(graph, loop.again)]
    return any(node.role == "join" and len(node.inputs) > 1 for node in nodes)


def _beside(graph: Graph, loop: Loop) -> list[int]:
    """Return the weights whose outputs are added to a state's weight's, before any bend."""

    def follow(node: Node) -> bool:
        return node.index < loop.again and (is_pass(node) or node.role == "add")

    found: list[int] = []
    for node in walk_forward(graph, loop.first, follow):
        if node.role == "add" and node.index < loop.again:
            for index in node.inputs:
                found += [use.param for use in graph.nodes[root(graph, index)].weights]
    return list(dict.fromkeys(found))


def _correct_ends(graph: Graph, roles: Roles, loops: Mapping[int, Loop]) -> None:
    """Take back the ends that loops made: a state isn't a stream, a shared layer counts once."""
    counted: dict[_Part, Stream] = {}
    for stream in roles.streams:
        uses = [use for index in stream.ends for use in graph.nodes[index].weights]
        parts = [(use.param, use.origin.box) for use in uses]
        stream.again = all(part in counted for part in parts)
        for part in parts:
            _correct_end(roles, loops, part, stream, counted)
        counted |= dict.fromkeys((p for p in parts if p not in counted), stream)
    for param, loop in loops.items():
        if param in roles.cells or param in roles.unknown:
            roles.ends -= set(loop.uses)
    roles.streams = [stream for stream in roles.streams if not roles.ends.isdisjoint(stream.ends)]


def _correct_end(
    roles: Roles,
    loops: Mapping[int, Loop],
    part: _Part,
    stream: Stream,
    counted: dict[_Part, Stream],
) -> None:
    """Decide about one end: of a cell, of a state that is added to, or of a shared layer."""
    param, _ = part
    loop = loops.get(param)
    if loop is None or (param in roles.cells and not loop.adds):
        return
    if param in roles.cells or loop.fed:
        roles.unknown[param] = ADDED_TO_ITSELF
    elif part in counted:
        roles.doubts[param] = SHARED
        if stream.origin != counted[part].origin:
            roles.unknown[param] = BENT


def in_loops(roles: Roles, number: int, facets: Facets, size: int) -> Facets:
    """Return facets with what is known of the loops that a weight or bias is used in."""
    part = roles.cells.get(number)
    if part is not None and facets.layout is not None and facets.kind in _WEIGHTS:
        kind = "recurrent" if facets.kind == "linear" else facets.kind
        facets = replace(facets, kind=kind, part=part, ends_residual=False)
    if number in roles.biases and facets.part == "bias":
        blocks = blocks_of_bias(roles.biases[number], size)
        return replace(facets, kind="recurrent", blocks=blocks)
    doubt = roles.doubts.get(number, "")
    if number in roles.unknown:
        facets, doubt = replace(facets, ends_residual=None), roles.unknown[number]
    doubt = "; ".join(filter(None, (facets.doubt, doubt)))
    return replace(facets, doubt=doubt, guessed=True) if doubt else facets
