"""Constants that a product or its input is multiplied by: ``linear(x, w) / sqrt(n)``, a mask."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from math import isclose, prod

import torch
from torch import Tensor
from torch.nn import functional

from goodinit._common.torch_private import without_function_modes
from goodinit.anatomy.roles import Roles
from goodinit.dataflow.constants import MOST, mean_square
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Origin, Use
from goodinit.dataflow.norms import is_weight_of_norm
from goodinit.dataflow.traversal import only_consumers
from goodinit.schemes import second_moment
from goodinit.schemes.gains import NONLINEARITIES

# c^2 fan_in of layers whose factor c makes up for weights of N(0, 1): 1, and 2 with relu's gain.
NEUTRAL = (1.0, 2.0)

# Constants whose mean square is as near to 1 leave the signal as it is.
NEARLY_ONE = 0.02

# What a constant behind an activation makes of its second moment is meant if it is as near to 1.
MEANT = (0.5, 2.0)

# Parts whose products have a factor by design: scores of attention and of experts.
_SCORES = frozenset(("q", "k", "router"))

# A number before one of these says where on the curve the signal is, as in sin(30 x).
_SQUASH = frozenset("sigmoid hardsigmoid expit tanh sin erf softplus softsign hardtanh".split())
_OWN = frozenset("bend softmax".split())

_PLUS = frozenset(("", "add", "sub", "__radd__"))
_SUMS = frozenset(("sum", "nansum"))  # not the mean: of features alike it is as large as they are
_PADS = frozenset(("pad", "constant_pad_nd"))
_REARRANGING = frozenset(("tril", "triu", "fold"))  # views that drop or add numbers


@dataclass(slots=True)
class _Factor:
    """What constants make of a signal.

    Attributes:
        square: the mean square of their product; None if one isn't known.
        numbers: whether all of them are numbers.
    """

    square: float | None = 1.0
    numbers: bool = True

    def times(self, square: float | None, number: bool = False) -> None:
        self.square = None if square is None or self.square is None else self.square * square
        self.numbers = self.numbers and number

    def is_one(self) -> bool:
        return self.square is not None and isclose(self.square, 1.0, rel_tol=NEARLY_ONE)

    def makes_up_for(self, fan: float) -> bool:
        """Whether weights of N(0, 1) are neutral with it."""
        if self.square is None or self.is_one():
            return False
        return any(isclose(self.square * fan, neutral, rel_tol=0.01) for neutral in NEUTRAL)


def with_factor(graph: Graph, roles: Roles, use: Use) -> Use:
    """Return a use whose product, or whose input, is multiplied by a constant.

    Whether it is meant for the weight isn't known: the row is doubted. It is counted with the
    weight if it makes a weight of N(0, 1) neutral.
    """
    if use.node in roles.ends or roles.parts.get(use.node) in _SCORES:
        return use
    after, before = _after(graph, use.node), _before(graph, use.node)
    for one in (after, before):
        if one.square is not None and one.makes_up_for(use.fan_in):
            doubt = f"{_text(one, one is after)}, which is taken for a part of it"
            fans = {"fan_in": use.fan_in * one.square, "fan_out": use.fan_out * one.square}
            return replace(use, **fans, measured=True, doubt=use.doubt or doubt)
    both = replace(after)
    both.times(before.square)
    if is_caught(graph, use.node) or both.is_one():
        return use
    one = before if after.is_one() else after
    return replace(use, doubt=use.doubt or f"{_text(one, one is after)}, which isn't in its fans")


def _text(one: _Factor, after: bool) -> str:
    what = "its product" if after else "its input"
    if one.square is None:
        return f"{what} is multiplied by a constant without a known value"
    return f"{what} is multiplied by {'' if one.numbers else 'about '}{one.square**0.5:.3g}"


def _after(graph: Graph, index: int) -> _Factor:
    """Return the constants that a product is multiplied by, if nothing else is done with it."""
    found = _Factor()
    node = graph.nodes[index]
    if node.number is not None:
        found.times(node.number**2, number=True)  # alpha of addmm
    for node in only_consumers(graph, index):
        if not _times(graph, node, found):
            means = node.role in _OWN or node.function in _SQUASH or len(node.signals) > 1
            return _Factor() if means else found
    return found


def is_caught(graph: Graph, index: int) -> bool:
    """Whether a norm follows a product and constants."""
    for node in only_consumers(graph, index):
        if node.role == "norm":
            return True
        if not _times(graph, node, _Factor()):
            break
    return False


def _before(graph: Graph, index: int) -> _Factor:
    """Return the constants that an input is multiplied by, for products alone."""
    found, chain = _Factor(), {index}
    if not graph.nodes[index].signals:
        return found
    window = graph.nodes[index].function.startswith("conv")
    node = graph.nodes[graph.nodes[index].signals[0].node]
    # Consumers are looked at last: a layer's experts all take one result.
    while _times(graph, node, tried := replace(found), window) and _for_products_alone(
        graph, node, chain
    ):
        found = tried
        chain.add(node.index)
        node = graph.nodes[node.signals[0].node]
    if any(use.role == "lookup" for use in node.uses):
        return _Factor()  # a table's fans have it
    activation = (node.label or node.function) if node.role == "activation" else ""
    return _Factor() if found.square and is_meant(found.square, activation) else found


def is_meant(square: float, activation: str) -> bool:
    """Whether a constant makes up for what an activation takes from the second moment."""
    name, (low, high) = activation.partition("(")[0], MEANT
    return name in NONLINEARITIES and low <= square * second_moment(name) <= high


def _for_products_alone(graph: Graph, node: Node, chain: Collection[int]) -> bool:
    """Whether only weights take a result, reshaped, or what is known to be on the way to one."""
    stack, visited = list(node.consumers), set[int]()
    while stack:
        number = stack.pop()
        after = graph.nodes[number]
        if number in chain or number in visited or _is_weights(graph, after):
            continue
        visited.add(number)
        if after.role not in ("view", "cast") or not after.consumers:
            return False
        stack += after.consumers
    return bool(node.consumers)


def _is_weights(graph: Graph, node: Node) -> bool:
    return any(use.param not in graph.buffers for use in node.weights)


def _times(graph: Graph, node: Node, found: _Factor, window: bool = False) -> bool:
    """Multiply by what a call multiplies its only signal by; False if it does something else.

    Args:
        graph: of the run.
        node: of the call.
        found: to be multiplied.
        window: whether a convolution follows: zeros around its input count as the input.
    """
    if len({value.node for value in node.signals}) != 1:
        return False
    before = graph.nodes[node.signals[0].node]
    sizes = prod(before.shape) / max(prod(node.shape), 1)
    if node.role in ("view", "cast") and node.function not in _REARRANGING:
        found.times(1.0 if window or node.function not in _PADS else sizes, number=True)
    elif node.function == "neg":
        found.times(1.0, number=True)
    elif _is_scaled(node):
        return _times_constant(graph, node, found)
    elif node.function == "add" and len(node.inputs) == 1 and len(node.operands) == 2:
        found.times(4.0, number=True)  # x + x
    elif node.role == "pointwise" and node.square is not None:
        found.times(node.square)
    elif node.function in _SUMS and node.shape:
        found.times(sizes)  # of terms that have nothing in common
    elif node.role == "contract" and node.weights and not _is_weights(graph, node):
        use = node.weights[0]
        square = mean_square(graph.held.get(use.param))
        found.times(None if square is None else use.fan_in * square)
    else:
        return False
    return True


def _is_scaled(node: Node) -> bool:
    """Whether a signal is multiplied number by number; x * x isn't."""
    if node.role == "mul":
        return node.number is not None or len(node.inputs) > 1
    return node.function == "einsum" and not node.weights and not any(u.doubt for u in node.uses)


def _times_constant(graph: Graph, node: Node, found: _Factor) -> bool:
    if node.number is not None:
        found.times(node.number**2, number=True)
        return True
    uses = [use for use in node.uses if use.role == "mul"]
    if any(is_weight_of_norm(graph, use) for use in uses):
        return False
    if node.square is not None and not uses:
        found.times(node.square)
    elif len(uses) == 1 and uses[0].param in graph.held:
        square = _square_of(graph.held[uses[0].param], uses[0].origin)
        found.times(1 / square if square and node.function == "div" else square)
    else:
        return False  # without a value on meta: the plan names it
    return True


def _square_of(held: Tensor, origin: Origin) -> float | None:
    """Return the mean square of a parameter, plus a number, or of one function of it."""
    if origin.bent == (origin.made,) and not origin.shift:
        function = getattr(torch, origin.made, None) or getattr(functional, origin.made, None)
        few = held.numel() <= MOST and held.is_floating_point()
        if function is None or not few:
            return None
        with torch.no_grad(), without_function_modes():
            return mean_square(function(held))
    if origin.bent or origin.made not in _PLUS:
        return None
    return mean_square(held, origin.shift)
