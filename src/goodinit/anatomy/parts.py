"""Which part each weight plays: residual ends, q, k and v, gates, adapters, heads, routers.

Only the graph is read, no name of a module or an attribute. The order of the steps matters: an
end of a residual branch is never renamed to q, k or v, and a router is a router whatever else.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from goodinit.anatomy.attention import attentions, mark_projections, weights_after
from goodinit.anatomy.feed_forward import mark_feed_forward
from goodinit.anatomy.gates import mark_gates
from goodinit.anatomy.plain_stacks import mark_plain_stacks
from goodinit.anatomy.recurrence import find_loops, first_steps, floors, mark_states
from goodinit.anatomy.residuals import mark_residual_ends
from goodinit.anatomy.roles import LowRank, Roles
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node
from goodinit.dataflow.traversal import is_pass, passed_before, root, share_input, walk_forward


def find_roles(graph: Graph, outputs: Iterable[int]) -> Roles:
    """Return the roles of all weights of a graph."""
    roles = Roles()
    users = [node for node in graph.nodes if node.weights]
    returned = set(outputs)
    _mark_adapters(graph, roles)
    for node in users:
        if _is_patch(graph, node):
            roles.parts[node.index] = "patch"
        elif _is_head(graph, node, returned):
            roles.parts[node.index] = "head"
    found = list(attentions(graph))
    for attention in found:
        roles.values[attention.result] = attention.value.node
        if attention.inner is not None:
            roles.values[attention.result] = attention.inner
            roles.values[attention.inner] = attention.value.node
            roles.outer.add(attention.inner)
    loops = find_loops(graph)
    mark_residual_ends(graph, roles, floors(graph, loops))
    mark_states(graph, roles, loops)
    for node in users:
        if node.index in roles.ends:
            roles.parts[node.index] = "out"
    mark_plain_stacks(graph, roles)
    mark_feed_forward(graph, roles)
    for attention in found:
        mark_projections(graph, roles, attention)
        for node in weights_after(graph, attention.result):
            roles.parts.setdefault(node.index, "out")
    mark_gates(graph, roles, first_steps(roles, loops))
    for node in users:
        if _is_router(graph, node):
            roles.parts[node.index] = "router"
    return roles


def _mark_adapters(graph: Graph, roles: Roles) -> None:
    """Find two weights through a bottleneck, beside one on the same input: LoRA, W x + B A x."""
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
            beside = down != base and share_input(graph, base, down)
            if narrow and beside and _are_a_pair(graph, base, up, down):
                factor = _factor(graph, node, base, up, down)
                roles.low_rank.append(LowRank(base, down, up, factor))
                roles.adapters |= {up, down}
                roles.adapted.add(node.index)
                roles.parts |= {up: "out", down: "in"}


def _are_a_pair(graph: Graph, base: int, up: int, down: int) -> bool:
    """Whether three products have weights of their own; a graph's neighbors aren't a weight."""
    own, above, below = (
        {use.param for use in graph.nodes[index].weights} for index in (base, up, down)
    )
    constant = below <= graph.buffers and not above <= graph.buffers
    return not constant and not (own & above or own & below or above & below)


def _factor(graph: Graph, sum_: Node, base: int, up: int, down: int) -> float | None:
    """Return s in W x + s B A x; None if it isn't a known number.

    It is what B A x is multiplied by on its way from x and to the sum, over what W x is.
    """
    first, second = (value.node for value in sum_.signals)
    ours, theirs = (second, first) if root(graph, first) == base else (first, second)
    into_down, into_base, into_up = (_before(graph, index) for index in (down, base, up))
    shared = next((n for n in passed_before(graph, into_down) if n in _path(graph, into_base)), -1)
    ways = [(ours, up), (into_up, down), (into_down, shared)]
    factor = _product(graph, ways)
    of_base = _product(graph, [(theirs, base), (into_base, shared)])
    if not factor or not of_base or sum_.function not in ("add", "sub") or sum_.label:
        return None
    if sum_.function == "sub":
        of_base = of_base if theirs == first else -of_base
        factor = -factor if ours == second else factor
    return factor / of_base if of_base > 0 else None


def _before(graph: Graph, index: int) -> int:
    return graph.before(graph.nodes[index]).index


def _path(graph: Graph, index: int) -> set[int]:
    return set(passed_before(graph, index))


def _product(graph: Graph, ways: Iterable[tuple[int, int]]) -> float | None:
    """Return the product of the numbers on ways back from a node to another, without its own."""
    factor = 1.0
    for start, stop in ways:
        for index in passed_before(graph, start):
            node = graph.nodes[index]
            if index == stop:
                break
            if node.role == "mul" and node.number is not None:
                factor *= node.number
            elif node.role not in _UNCHANGED:
                return None
        else:
            return None
    return factor


_SORTS = frozenset(("sort", "msort"))  # all are taken
_UNCHANGED = frozenset(("view", "cast"))


def _input_root(graph: Graph, index: int) -> int:
    before = graph.nodes[index].signals
    return root(graph, before[0].node) if before else index


def _is_router(graph: Graph, node: Node) -> bool:
    """Whether the best of a weight's outputs are chosen, and aren't the signal themselves."""

    def follow(other: Node) -> bool:
        return is_pass(other) or other.role in ("softmax", "activation", "bend")

    onward = walk_forward(graph, node.index, follow)
    chosen = (n for n in onward if n.role == "choose" and n.function not in _SORTS)
    return any(not _is_signal(graph, choice.index) for choice in chosen)


def _is_signal(graph: Graph, choice: int) -> bool:
    """Whether what was chosen or sorted is the next weight's input: features, not experts.

    Scores of experts multiply what the experts return, or pick what goes into them.
    """

    def carries(before: int, node: Node) -> bool:
        taken = [value.node for value in node.operands]
        if node.role in ("pick", "view") and taken[:1] != [before]:
            return False  # an index
        if node.function.startswith(("scatter", "index")) and before not in taken[2:]:
            return False  # an index as well: the values come last
        return node.role in ("join", "pick", "activation") or is_pass(node)

    stack, visited = [choice], set[int]()
    while stack:
        before = stack.pop()
        if before in visited:
            continue
        visited.add(before)
        for index in graph.nodes[before].consumers:
            node = graph.nodes[index]
            if node.weights and any(value.node == before for value in node.signals):
                return True
            if carries(before, node):
                stack.append(index)
    return False


def _is_head(graph: Graph, node: Node, outputs: set[int]) -> bool:
    if node.index in outputs:
        return True
    onward = walk_forward(graph, node.index, is_pass)
    return any(other.index in outputs and is_pass(other) for other in onward)


def _is_patch(graph: Graph, node: Node) -> bool:
    """Whether a weight is the first on the input and cuts it into patches that don't overlap."""
    before = node.signals
    if not before or graph.nodes[root(graph, before[0].node)].role != "source":
        return False
    use = node.weights[0]
    taps = prod(use.origin.sizes[axis] for axis in use.window)
    return taps > 1 and taps == use.stride and not use.transposed
