"""Whether something else carries the signal where a parameter of zeros meets it.

From the parameter forward: what is computed from zeros is zeros, or after a sigmoid, a softmax or
``1 + x`` a constant, until it meets something that doesn't depend on it. Zeros that are added to a
living signal, and constants that multiply one, leave it as it is. Zeros that the next layer takes
are all that it gets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from heapq import heapify, heappop, heappush
from typing import Literal

from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node
from goodinit.dataflow.traversal import signals_of, walk_back

State = Literal["zero", "constant"]
Verdict = State | Literal["carried", "lost"]

# Functions with f(0) = 0.
ZERO_AT_ZERO = frozenset(
    "relu relu6 leaky_relu elu selu celu gelu silu mish tanh softsign hardtanh hardswish prelu "
    "rrelu glu tanhshrink hardshrink softshrink sin erf expm1 log1p sqrt square atan asinh "
    "sinh".split()
)
# Among these, those with f'(0) = 0: nothing before them learns.
_FLAT = frozenset("relu relu6 prelu hardshrink softshrink tanhshrink square".split())
_CUT = frozenset(("detach", "data"))
_SAMPLING = frozenset(("grid_sample", "deform_conv2d"))  # the signal, then where it is read
_SAME = frozenset(("view", "cast", "pointwise", "pool", "reduce", "pick", "choose", "norm"))


def is_carried(graph: Graph, param: int, zero: Collection[int], outputs: Collection[int]) -> bool:
    """Return whether a parameter may be 0: something else carries the signal, or it is the head.

    ``zero`` has all parameters that are 0, or nearly: they carry nothing.
    """
    walk = _Walk(graph, zero)
    for source in graph.sources[param]:
        walk.states[source] = "zero"
    waiting = [index for source in walk.states for index in graph.nodes[source].consumers]
    heapify(waiting)  # in the order of the calls: a call's operands are known before it
    visited: set[int] = set()
    carried, factored = False, False
    while waiting:
        index = heappop(waiting)
        if index in visited:
            continue
        visited.add(index)
        node = graph.nodes[index]
        if node.role == "source" or (carried and node.function in _CUT):
            continue  # zeros_like(p): its shape alone; a head's output, read without a gradient
        verdict = walk.verdict(node)
        if verdict == "lost" and not factored and walk.is_low_rank(node, param):
            verdict, factored = "zero", True
        if verdict == "lost":
            return False
        if verdict == "carried":
            carried = True
            continue
        walk.states[index] = verdict
        carried = carried or (node.live and index in outputs and not factored)
        for consumer in node.consumers:
            heappush(waiting, consumer)
    return carried


class _Walk:
    """What becomes of one parameter's zeros, call by call.

    Attributes:
        states: the nodes whose results are zeros or a constant because of it.
    """

    def __init__(self, graph: Graph, zero: Collection[int]) -> None:
        self.states: dict[int, State] = {}
        self._graph = graph
        self._zero = zero
        self._params = {node: number for number, nodes in graph.sources.items() for node in nodes}

    def verdict(self, node: Node) -> Verdict:
        """Return what a call makes of the zeros or constants among its operands."""
        mine = [index for index in node.inputs if index in self.states]
        others = [index for index in node.inputs if index not in self.states]
        state: State = "constant" if "constant" in map(self.states.get, mine) else "zero"
        if node.function in _SAMPLING and len(node.operands) > 1:
            signal, places, *_ = (value.node for value in node.operands)
            if places in mine and signal not in mine:
                return "carried"
        match node.role:
            case "contract" | "mul":
                return self._multiplied(node, mine, others)
            case "attention":
                return self._attended(node, mine, others)
            case "add":
                return self._added(node, others, state)
            case "join":
                return self._joined(node, mine, others, state)
            case "softmax":
                return "constant"
            case "activation" | "bend":
                return state if node.function in ZERO_AT_ZERO else "constant"
            case _:
                return state if node.role in _SAME else "lost"

    def _multiplied(self, node: Node, mine: list[int], others: list[int]) -> Verdict:
        """A product, element by element or summed."""
        if node.weights and any(self._graph.nodes[index].live for index in mine):
            return "lost"  # the next layer
        zero = any(self.states[index] == "zero" for index in mine)
        if not all(map(self._is_alive, others)):
            return "lost"  # two factors of zero: neither learns
        live = any(self._graph.nodes[index].live for index in others)
        live = live or self._is_modulated(node, others)
        return "zero" if zero else "carried" if live else "constant"

    def is_low_rank(self, node: Node, param: int) -> bool:
        """Whether a call takes what a narrow weight made, and gives more features again.

        What it gives is then to be added to a signal, or to make a constant that multiplies one.
        """
        nodes = self._graph.nodes
        flat = any(nodes[index].function in _FLAT for index in self.states)
        taken = [use for n in self.states for use in nodes[n].weights if use.param == param]
        if flat or len(taken) != 1 or len(node.weights) != 1:
            return False
        (down,), (up,) = taken, node.weights
        narrow = down.fan_out == up.fan_in < min(down.fan_in, up.fan_out)
        return narrow and up.param not in self._zero

    def _is_modulated(self, node: Node, others: list[int]) -> bool:
        """Whether a product is that of a constant and of a matrix: a weight in its own right."""
        given = (value for value in node.operands if value.node in others)
        origins = (origin for value in given for origin in value.params)
        return node.role == "mul" and any(
            origin.breadth() > 1 and origin.param not in self._graph.buffers for origin in origins
        )

    def _attended(self, node: Node, mine: list[int], others: list[int]) -> Verdict:
        """A score of zeros averages the values; values of zeros are zeros."""
        weight = not any(self._graph.nodes[index].live for index in mine)
        if weight and not any(use.role in ("contract", "opaque") for use in node.uses):
            return "carried"  # added to the scores
        if weight or any(value.node in mine for value in node.signals[2:3]):
            return "zero"
        return "carried" if all(map(self._is_alive, others)) else "lost"

    def _joined(self, node: Node, mine: list[int], others: list[int], state: State) -> Verdict:
        """Beside other elements: of one operand zeros are a part; a token's carry nothing."""
        new = not any(self._graph.nodes[index].live for index in mine)
        number = not others and node.function in ("setitem", "index_put")
        if not new or not (number or any(map(self._is_alive, others))):
            return state
        return "carried" if node.live else "constant"

    def _added(self, node: Node, others: list[int], state: State) -> Verdict:
        alive = [index for index in others if self._is_alive(index)]
        if any(self._graph.nodes[index].live for index in alive):
            return "carried"
        return "constant" if alive or node.number else state

    def _is_alive(self, index: int) -> bool:
        """Whether anything but zeros comes from a node: by the last weights before it."""
        walked = list(walk_back(self._graph, [index], self._before))
        uses = {use.param for node in walked for use in node.weights}
        uses |= {self._params[n.index] for n in walked if n.index in self._params}
        entered = any(node.live and not node.inputs for node in walked)
        return entered or not uses or any(param not in self._zero for param in uses)

    def _before(self, node: Node) -> Iterable[int]:
        """Return what a node is computed from: of a layer no more, else its activations."""
        if node.weights or node.role == "source":  # randn_like(p): its shape alone
            return ()
        return signals_of(node) if node.live else node.inputs
