"""What the data flow makes of a weight: its activation, its branch, its part in an attention.

Every function here reads a graph and says something of the nodes in which weights are used.
No name of a module or an attribute is looked at.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Origin, Value
from goodinit.dataflow.traversal import (
    back,
    back_to_contractions,
    forth,
    is_pass,
    reaches,
    root,
)

__all__ = ["Roles", "activation_after", "is_normalised", "roles_of"]

Range = tuple[int, int]

# What x * f(x) is called, for an f that squashes.
_GATED = {"sigmoid": "silu", "hardsigmoid": "hardswish", "tanh": "gelu", "erf": "gelu"}


@dataclass(slots=True)
class Roles:
    """What was found, by number of the node that uses the weight.

    Attributes:
        ends: nodes whose output is added to a residual stream.
        parts: node -> its part ("q", "gate", "router", ...).
        packed: node -> part -> range of the output's features, where one weight holds several.
        streams: nodes that add a branch to a residual stream.
        adapters: nodes of a low-rank pair beside another weight (LoRA).
        adapted: nodes that add such a pair's output.
    """

    ends: set[int] = field(default_factory=set[int])
    parts: dict[int, str] = field(default_factory=dict[int, str])
    packed: dict[int, dict[str, Range]] = field(default_factory=dict[int, dict[str, Range]])
    streams: list[int] = field(default_factory=list[int])
    adapters: set[int] = field(default_factory=set[int])
    adapted: set[int] = field(default_factory=set[int])


def roles_of(graph: Graph, outputs: Iterable[int]) -> Roles:
    """Return the roles of all weights of a graph.

    Args:
        graph: of one run.
        outputs: the nodes whose results the model returned.
    """
    roles = Roles()
    users = [node for node in graph.nodes if node.weights]
    ends = set(outputs)
    _adapters(graph, roles)
    for node in users:
        if _is_patch(graph, node):
            roles.parts[node.index] = "patch"
        elif _is_head(graph, node, ends):
            roles.parts[node.index] = "head"
    _residuals(graph, roles)
    for node in users:
        if node.index in roles.ends:
            roles.parts[node.index] = "out"
    _feed_forward(graph, roles)
    for query, key, value, result in _attentions(graph):
        for part, operand in (("q", query), ("k", key), ("v", value)):
            _projections(graph, roles, operand, part)
        for node in _next_weights(graph, result):
            roles.parts.setdefault(node.index, "out")
    for node in users:
        if _is_router(graph, node):
            roles.parts[node.index] = "router"
    return roles


def activation_after(graph: Graph, start: int, adapted: Container[int] = ()) -> str | None:
    """Return the name of the activation that a node's output goes through next.

    Normalization, pooling, dropout and reshaping may come between. Functions composed by hand
    are recognised: ``x * sigmoid(x)``, ``0.5 * x * (1 + tanh(...))``.
    """
    own = {start}  # computed element by element from this output alone
    found: Node | None = None
    for index in _rising(graph, start):
        node = graph.nodes[index]
        before = {value.node for value in node.signals}
        if not before or not (before <= own or index in adapted):
            continue
        if found is not None and node.role == "mul" and len(before) > 1:
            return _gated(graph, found)
        if node.role == "activation":
            if found is not None and found.function != "softplus":
                continue
            found = node
        elif not (is_pass(node) or node.role in ("bend", "add", "mul")):
            continue
        own.add(index)
    return (found.label or found.function) if found is not None else None


def _rising(graph: Graph, start: int) -> Iterator[int]:
    """Yield the nodes after a node that its output can reach, in order, not very far."""
    heap, seen = list[int](), set[int]()
    for index in graph.nodes[start].consumers:
        heappush(heap, index)
    while heap and len(seen) < 40:
        index = heappop(heap)
        if index in seen:
            continue
        seen.add(index)
        yield index
        node = graph.nodes[index]
        if is_pass(node) or node.role in ("activation", "bend", "add", "mul"):
            for consumer in node.consumers:
                heappush(heap, consumer)


def _gated(graph: Graph, squash: Node) -> str:
    if squash.function == "sigmoid":
        before = graph.nodes[squash.inputs[0]]
        if before.role == "mul" and before.number is not None and 1.5 < before.number < 2:
            return "gelu"  # x * sigmoid(1.702 x), its cheap form
    if squash.function == "tanh":
        before = root(graph, squash.signals[0].node)
        if graph.nodes[before].function == "softplus":
            return "mish"
    return _GATED.get(squash.function, squash.label or squash.function)


# Residual streams.


def _residuals(graph: Graph, roles: Roles) -> None:
    for node in graph.nodes:
        if node.role != "add" or not node.live:
            continue
        pair = list(dict.fromkeys(value.node for value in node.signals))
        if len(pair) != 2:
            continue
        found = _branch(graph, roles, pair[0], pair[1]) or _branch(graph, roles, pair[1], pair[0])
        found = found or _branch(graph, roles, pair[0], pair[1], projected=True)
        found = found or _branch(graph, roles, pair[1], pair[0], projected=True)
        if found:
            roles.streams.append(node.index)
            roles.ends.update(found)


def _branch(
    graph: Graph, roles: Roles, skip: int, branch: int, projected: bool = False
) -> list[int]:
    """Return the last weights of a branch, if the other summand skips it.

    A skip is the branch's own input, or, ``projected``, that input through one weight, where
    the branch has two or more and no residual sum inside.
    """
    if branch < skip and not projected:
        return []
    chain = list(_skipped(graph, skip))
    if projected:
        last = graph.nodes[chain[-1]]
        if not last.weights:
            return []
        before = last.signals
        chain = list(_skipped(graph, before[0].node)) if before else []
    for start in chain:
        if start >= branch or not reaches(graph, start, branch):
            continue
        last = back_to_contractions(graph, branch, floor=start)
        if projected and not _is_deep(graph, roles, start, last):
            return []
        return [node.index for node in last]
    return []


def _skipped(graph: Graph, index: int) -> Iterator[int]:
    """Yield a node and what came before it, while it only passes."""
    node = graph.nodes[index]
    yield index
    while is_pass(node):
        before = node.signals
        if not before:
            return
        node = graph.nodes[before[0].node]
        yield node.index


def _is_deep(graph: Graph, roles: Roles, start: int, last: list[Node]) -> bool:
    """Whether a weight and an activation come before a branch's last weight, and no sum."""

    def go(node: Node) -> Iterable[int]:
        return (value.node for value in node.signals)

    ends = {node.index for node in last}
    inside = list(back(graph, ends, go, floor=start))
    sums = set(roles.streams)
    earlier = any(node.weights and node.index not in ends for node in inside)
    bent = any(node.role == "activation" for node in inside)
    return earlier and bent and not any(node.index in sums for node in inside)


# Attention.


def _attentions(graph: Graph) -> Iterator[tuple[Value, Value, Value, int]]:
    """Yield (query, key, value, node of the result) of every attention, fused or not."""
    for node in graph.nodes:
        if node.function == "multi_head_attention_forward":
            continue  # its module's type tells
        if node.role == "attention" and len(node.operands) >= 3:
            query, key, value = node.operands[:3]
            yield query, key, value, node.index
        elif node.role == "softmax" and node.live:
            yield from _unfused(graph, node)


def _unfused(graph: Graph, softmax: Node) -> Iterator[tuple[Value, Value, Value, int]]:
    def go(node: Node) -> Iterable[int]:
        if is_pass(node) or node.role == "add" or node is softmax:
            return (value.node for value in node.signals)
        return ()

    scores = next((n for n in back(graph, [softmax.index], go) if _is_product(n)), None)
    if scores is None:
        return
    query, key = scores.signals[-2:]
    own = {softmax.index}
    for node in forth(graph, softmax.index, is_pass):
        if _is_product(node):
            rest = [v for v in node.signals if root(graph, v.node) not in own]
            if rest:
                yield query, key, rest[-1], node.index
            return


def _is_product(node: Node) -> bool:
    return node.role == "contract" and not node.weights and len(node.signals) >= 2


def _projections(graph: Graph, roles: Roles, operand: Value, part: str) -> None:
    """Name the weights that made one operand of an attention."""
    ranges = {o.node: _features(graph, o) for o in operand.origins if o.param is None}
    for node in back_to_contractions(graph, operand.node):
        if node.index in roles.ends or roles.parts.get(node.index) in ("patch", "in"):
            continue
        before = roles.parts.get(node.index)
        if node.index in ranges:
            roles.packed.setdefault(node.index, {})[part] = ranges[node.index]
        if before in (None, "head", part):
            roles.parts[node.index] = part
        elif before in ("q", "k", "v"):
            roles.parts[node.index] = "weight"  # packed


def _features(graph: Graph, origin: Origin) -> Range:
    """Return which of a projection's output features a tensor holds."""
    name = graph.nodes[origin.node].function  # "conv2d", "conv_transpose2d"
    window = int(name[-2]) if "conv" in name and name[-2].isdigit() else 0
    return origin.box[-1 - window] if len(origin.box) > window else (0, 1)


def _next_weights(graph: Graph, index: int) -> list[Node]:
    def go(node: Node) -> bool:
        return is_pass(node) or node.role in ("mul", "activation")

    return [node for node in forth(graph, index, go) if node.weights]


# Feed-forward blocks.


def _feed_forward(graph: Graph, roles: Roles) -> None:
    for node in graph.nodes:
        if node.role == "mul" and node.live:
            _gating(graph, roles, node)
        elif node.function == "glu" and node.operands:
            for origin in node.operands[0].origins:
                if origin.param is None:
                    start, stop = _features(graph, origin)
                    half = (start + stop) // 2
                    roles.packed[origin.node] = {"in": (start, half), "gate": (half, stop)}
    for index in sorted(roles.ends):
        for value in graph.nodes[index].signals:
            source = _behind_activation(graph, roles, value.node)
            if source is not None and source not in roles.ends:
                roles.parts.setdefault(source, "in")


def _behind_activation(graph: Graph, roles: Roles, index: int) -> int | None:
    """Return the one weight that a signal is an elementwise, nonlinear function of."""
    sums, bent = set(roles.streams), False

    def go(node: Node) -> Iterable[int]:
        bends = node.role in ("activation", "bend", "add", "mul") or is_pass(node)
        if node.index in sums or node.weights or not bends:
            return ()
        return (value.node for value in node.signals)

    found: list[int] = []
    for node in back(graph, [index], go):
        bent = bent or node.role == "activation"
        if node.weights:
            found.append(node.index)
        elif node.index in sums:
            return None
    found = [index for index in found if roles.parts.get(index) != "gate"]
    return found[0] if bent and len(found) == 1 else None


def _gating(graph: Graph, roles: Roles, node: Node) -> None:
    """Name gate and value where an activation of one projection multiplies another's output."""
    pair = node.signals
    if len(pair) != 2:
        return
    for gate, value in (pair, pair[::-1]):
        squash = graph.nodes[root(graph, gate.node)]
        if squash.role != "activation" or squash.function == "glu" or not squash.operands:
            continue
        behind = squash.operands[0]
        left, right = _source(graph, behind), _source(graph, value)
        if left is None:
            continue
        if right is None or left[0] != right[0]:
            if right is not None and _share_input(graph, left[0], right[0]):
                roles.parts.setdefault(right[0], "in")
            elif squash.function not in ("sigmoid", "hardsigmoid"):
                continue
            roles.parts[left[0]] = "gate"
        elif left[1] != right[1]:
            roles.packed[left[0]] = {"gate": left[1], "in": right[1]}
        return


def _source(graph: Graph, value: Value) -> tuple[int, Range] | None:
    """Return the weight that a value is the output of, and which of its features it holds."""
    for origin in value.origins:
        if origin.param is None:
            return origin.node, _features(graph, origin)
    index = root(graph, value.node)
    node = graph.nodes[index]
    return (index, (0, node.shape[-1])) if node.weights and node.shape else None


def _share_input(graph: Graph, a: int, b: int) -> bool:
    roots = [{root(graph, v.node) for v in graph.nodes[i].signals} for i in (a, b)]
    return not roots[0].isdisjoint(roots[1])


# Adapters.


def _adapters(graph: Graph, roles: Roles) -> None:
    """Find y = W x + B A x: two weights through a bottleneck, beside one on the same input."""
    for node in graph.nodes:
        pair = node.signals if node.role == "add" else ()
        if len(pair) != 2:
            continue
        roots = [root(graph, value.node) for value in pair]
        for base, up in (roots, roots[::-1]):
            down = _input_root(graph, up)
            if not all(graph.nodes[i].weights for i in (base, up, down)):
                continue
            narrow = graph.nodes[down].shape[-1] < graph.nodes[up].shape[-1]
            if narrow and down != base and _share_input(graph, base, down):
                roles.adapters |= {up, down}
                roles.adapted.add(node.index)
                roles.parts |= {up: "out", down: "in"}


def _input_root(graph: Graph, index: int) -> int:
    before = graph.nodes[index].signals
    return root(graph, before[0].node) if before else index


# Ends of the model.


def _is_router(graph: Graph, node: Node) -> bool:
    def go(other: Node) -> bool:
        return is_pass(other) or other.role in ("softmax", "activation")

    return any(other.role == "choose" for other in forth(graph, node.index, go))


def _is_head(graph: Graph, node: Node, outputs: set[int]) -> bool:
    if node.index in outputs:
        return True
    onward = forth(graph, node.index, is_pass)
    return any(other.index in outputs and is_pass(other) for other in onward)


def _is_patch(graph: Graph, node: Node) -> bool:
    """Whether a weight is the first on the input and cuts it into patches that don't overlap."""
    before = node.signals
    if not before or graph.nodes[root(graph, before[0].node)].role != "source":
        return False
    use = node.weights[0]
    kernel = [stop - start for a, (start, stop) in enumerate(use.origin.box) if a in use.window]
    taps = 1
    for size in kernel:
        taps *= size
    return taps > 1 and taps == use.stride and not use.transposed


def is_normalised(graph: Graph, index: int) -> bool:
    """Whether a signal was divided by its own norm, by a call or by hand (RMSNorm)."""
    node = graph.nodes[index]
    while node.role in ("view", "cast") and node.signals:
        node = graph.nodes[node.signals[0].node]
    if node.role == "norm":
        return not any(use.role == "norm" for use in node.uses)  # else it has its weight
    if node.role != "mul":
        return False
    return any(_is_norm(graph, value.node) for value in node.signals)


def _is_norm(graph: Graph, index: int) -> bool:
    """Whether a number is (one over) a root of a mean or sum."""
    bends = False
    node = graph.nodes[index]
    for _ in range(8):
        if node.role == "reduce":
            return bends or node.function in ("std", "norm", "vector_norm", "linalg_vector_norm")
        if node.role not in ("view", "cast", "pointwise", "bend", "add", "mul"):
            return False
        bends = bends or node.function in ("rsqrt", "sqrt", "pow")
        before = node.signals
        if len({v.node for v in before}) != 1:
            return False
        node = graph.nodes[before[0].node]
    return False
