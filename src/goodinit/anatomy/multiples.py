"""Signals as multiples of others, plus a constant: ``x - x / 2``, ``2 * x - 1``, ``[x, 0]``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from math import prod

from goodinit._common.sequences import only
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Linear, Node, Unlisted, Use, Value
from goodinit.dataflow.norms import is_weight_of_norm
from goodinit.dataflow.traversal import are_shares
from goodinit.dataflow.unlisted import COMPLEX, measured_square

# Calls between a signal and the product that takes it, or after the product. A recurrence by hand
# has a few for each step.
CALLS_FOLLOWED = 64

ROUNDED = 1e-9  # of a sum of shares

OVERWRITTEN = "is written over in part"
MANY = "is made by more calls than are followed"

_SUMS = frozenset(("sum", "nansum"))  # not the mean: of features alike it is as large as they are

# Views that leave each number in its place among those of a tensor.
_IN_PLACE = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze ravel expand broadcast_to data "
    "atleast_1d atleast_2d atleast_3d".split()
)
_TURNS = frozenset("transpose permute movedim t T mT H mH swapaxes adjoint".split())
# Views with several results, which have nothing in common.
_CUTS = frozenset(
    "chunk split tensor_split split_with_sizes unbind hsplit vsplit dsplit unsafe_chunk "
    "unsafe_split".split()
)


@dataclass(frozen=True, slots=True)
class Multiple:
    """What constants make of a signal.

    Attributes:
        square: the mean square of the multiple; None if it isn't known.
        number: the multiple where it is one number; None where it varies.
        added: the mean square of the constant.
        numbers: whether all constants are numbers.
        moved: the calls that put numbers in other places.
        summed: whether parts of the signal are added that have nothing in common.
        left: the mean square that masks, and constants beside a signal, leave of numbers of 1;
            None after anything else.
        why: why it isn't known.
    """

    square: float | None = 1.0
    number: float | None = 1.0
    added: float = 0.0
    numbers: bool = True
    moved: tuple[int, ...] = ()
    summed: bool = field(default=False, compare=False)
    left: float | None = field(default=1.0, compare=False)
    why: str = ""

    def times(self, number: float) -> Multiple:
        """Return it multiplied by a number."""
        own = None if self.number is None else self.number * number
        left = self.left if number == 1 else None
        return replace(self.varied(number**2), number=own, numbers=self.numbers, left=left)

    def masked(self, square: float | None) -> Multiple:
        """Return it multiplied by zeros and ones of a mean square."""
        left = None if self.left is None or square is None else self.left * square
        return replace(self.varied(square), left=left)

    def varied(self, square: float | None) -> Multiple:
        """Return it multiplied by what has a mean square."""
        own = None if square is None or self.square is None else self.square * square
        added = self.added * (square or 1.0)
        return replace(self, square=own, number=None, added=added, numbers=False, left=None)

    def plus(self, other: Multiple, apart: bool) -> Multiple:
        """Return its sum with another multiple of a signal, of other numbers of it if ``apart``."""
        numbers, added = self.numbers and other.numbers, self.added + other.added
        same = not apart and self.moved == other.moved
        if same and self.number is not None and other.number is not None:
            number = self.number + other.number
            return Multiple(number**2, number, added, numbers, self.moved, left=None)
        square = None
        if self.square is not None and other.square is not None:
            square = self.square + other.square
        return Multiple(square, None, added, numbers, summed=True, left=None)


class Multiples:
    """Follows multiples of signals.

    Args:
        graph: the data flow.
        is_kept: returns whether a weight isn't drawn.
        square_of: returns the mean square of what a parameter is used as, at its present value;
            None if it isn't known.
    """

    def __init__(
        self,
        graph: Graph,
        is_kept: Callable[[Use], bool],
        square_of: Callable[[Use], float | None],
    ) -> None:
        self._graph = graph
        self._is_kept = is_kept
        self._square_of = square_of
        self._inputs: dict[int, tuple[Multiple, Node]] = {}  # what was returned, by product
        self._results: dict[int, tuple[Multiple, list[Node], dict[int, Multiple]]] = {}
        self._measured: dict[int, float | None] = {}

    def before(self, product: int) -> tuple[Multiple, Node]:
        """Return what the input of a product is, and the node that it is a multiple of.

        As far as products alone take it: what is used in another way is a signal of its own.
        """
        if product not in self._inputs:
            self._inputs[product] = self._before(product)
        return self._inputs[product]

    def _before(self, product: int) -> tuple[Multiple, Node]:
        nodes, graph = self._graph.nodes, self._graph
        start = graph.before(nodes[product]).index
        axes = {start: _features(nodes[product], nodes[start])}
        heap, root, chain = [-start], start, {product}
        while heap and len(chain) < CALLS_FOLLOWED:
            node = nodes[-heappop(heap)]
            if not heap:
                root = node.index
            if node.overwrites and _is_along(node, axes.get(node.index)):
                return Multiple(None, None, why=OVERWRITTEN), node
            signals = {value.node for value in node.signals}
            forms = dict.fromkeys(signals, Multiple())
            if (
                not signals
                or self._made(node, forms, axes) is None
                or not (self._is_slice(node) or self._for_products_alone(node, chain))
            ):
                break
            chain.add(node.index)
            for index in signals:
                if -index not in heap:
                    heappush(heap, -index)
                axes[index] = _features_before(nodes[index], node, axes[node.index])
        if len(chain) >= CALLS_FOLLOWED and heap:
            return Multiple(None, None, why=MANY), nodes[root]
        found = {root: Multiple()}
        for index in sorted(index for index in chain - {product} if index > root):
            made = self._made(nodes[index], found, axes)
            if made is None:
                return Multiple(), graph.nodes[start]
            found[index] = made
        return found.get(start, Multiple()), nodes[root]

    def after(self, product: int) -> tuple[Multiple, list[Node]]:
        """Return the final result computed from a product, and the calls that take it."""
        if product not in self._results:
            self._results[product] = self._after(product)
        return self._results[product][:2]

    def taken_as(self, product: int, node: Node) -> list[Multiple]:
        """Return what the operands are that a call takes, as multiples of a product."""
        self.after(product)
        forms = self._results[product][2]
        return [forms[value.node] for value in node.signals if value.node in forms]

    def passed_after(self, product: int) -> list[Node]:
        """Return a product's call, and those that make multiples of it."""
        self.after(product)
        return [self._graph.nodes[index] for index in self._results[product][2]]

    def _after(self, product: int) -> tuple[Multiple, list[Node], dict[int, Multiple]]:
        nodes = self._graph.nodes
        found, taken = {product: Multiple()}, list[Node]()
        heap, seen = sorted(nodes[product].consumers), set(nodes[product].consumers)
        while heap:
            node = nodes[heappop(heap)]
            if node.role == "source":
                continue  # zeros_like(y)
            made = None if node.function in COMPLEX else self._made(node, found, {})
            if made is None:
                taken.append(node)
                continue
            if len(found) > CALLS_FOLLOWED:
                return Multiple(), taken, {}
            found[node.index] = made
            for index in node.consumers:
                if index not in seen:
                    seen.add(index)
                    heappush(heap, index)
        ends = {index for node in taken for index in node.inputs if index in found}
        ends |= {n for n in found if all(nodes[c].role == "source" for c in nodes[n].consumers)}
        return (found[ends.pop()] if len(ends) == 1 else Multiple()), taken, found

    def _for_products_alone(self, node: Node, chain: Collection[int]) -> bool:
        """Whether only weights take a result, reshaped, or what is on the way to one."""
        stack, visited = list(node.consumers), set[int]()
        while stack:
            number = stack.pop()
            after = self._graph.nodes[number]
            if number in chain or number in visited or self._is_weights(after):
                continue
            if after.role == "source":
                continue
            visited.add(number)
            if after.role not in ("view", "cast") or not after.consumers:
                return False
            stack += after.consumers
        return bool(node.consumers)

    def _is_slice(self, node: Node) -> bool:
        while node.role == "cast" and node.signals:
            node = self._graph.before(node)
        return (
            node.role == "view"
            and bool(node.signals)
            and prod(node.shape) < prod(self._shape(node))
        )

    def _is_weights(self, node: Node) -> bool:
        return any(not self._is_kept(use) for use in node.weights)

    # One call.

    def _made(
        self, node: Node, forms: Mapping[int, Multiple], axes: Mapping[int, int | None]
    ) -> Multiple | None:
        """Return what a call makes of multiples of one signal; None if it isn't one.

        Args:
            node: of the call.
            forms: what its signals are, by their nodes.
            axes: of each result the axis that the next product sums over; empty after a product.
        """
        signals = [value.node for value in node.signals]
        if not signals or any(index not in forms for index in signals):
            return None
        made = [forms[index] for index in signals]
        first, *_ = made
        linear = node.linear
        if isinstance(linear, Unlisted):
            if node.index not in self._measured:
                self._measured[node.index] = measured_square(linear)
            square = self._measured[node.index]
            return None if square is None else first.varied(square)
        if linear is not None and linear.joins:
            return _joined(node, linear, made, axes)
        if linear is not None and node.role == "join":  # rows added to zeros
            factor, *_ = linear.factors
            return first.varied(factor**2)
        if linear is not None:
            return self._summed(node, linear, made)
        return self._scaled(node, first) if len(set(signals)) == 1 else None

    def _scaled(self, node: Node, one: Multiple) -> Multiple | None:
        """Return one signal multiplied, number by number, by constants, or summed over an axis."""
        if node.role == "pick" and node.signals[0] is node.operands[0] and not node.uses:
            return replace(one, moved=(*one.moved, node.index))
        if node.role in ("view", "cast"):
            moves = node.role == "view" and node.function not in _IN_PLACE
            same = node.function == "getitem" and prod(node.shape) == prod(self._shape(node))
            return replace(one, moved=(*one.moved, node.index)) if moves and not same else one
        if node.function == "neg":
            return one.times(-1.0)
        if _is_scaled(node):
            return self._times_constant(node, one)
        if node.role == "pointwise" and node.square is not None:
            return one.masked(node.square)
        if node.function in _SUMS and self._is_weighted(node):
            return None
        if node.function in _SUMS and node.shape:  # of terms that have nothing in common
            return one.varied(prod(self._shape(node)) / max(prod(node.shape), 1))
        if node.role == "contract" and node.weights and not self._is_weights(node):
            use = node.weights[0]
            square = self._square_of(use)
            return one.varied(None if square is None else use.fan_in * square)
        return None

    def _is_weighted(self, sum_: Node) -> bool:
        """Whether shares multiply what is summed."""
        node = self._graph.before(sum_)
        shares = any(are_shares(self._graph, value.node) for value in node.signals)
        return node.role == "mul" and len(node.signals) == 2 and shares

    def _shape(self, node: Node) -> tuple[int, ...]:
        return self._graph.before(node).shape

    def _summed(self, node: Node, linear: Linear, made: list[Multiple]) -> Multiple | None:
        factors = linear.factors
        if len(factors) != len(made):
            return None
        found = made[0].times(factors[0])
        first, *others = map(self._started, node.signals)
        for value, one, factor in zip(others, made[1:], factors[1:], strict=True):
            apart = value.node == first.node and self._is_cut(value.node) and value is not first
            shapes = self._graph.nodes[value.node].shape, self._graph.nodes[first.node].shape
            apart = apart or shapes[0] != shapes[1]  # each with each
            one_place = one.moved == found.moved and not apart and value is not first
            if one_place and any(map(self._is_cut, one.moved)):
                found = found.varied(None)  # of two parts, or of one: nobody knows
            found = found.plus(one.times(factor), apart)
        return replace(found, added=found.added + linear.added)

    def _started(self, value: Value) -> Value:
        """Return a value, or of 0 + x, with which ``sum`` starts, x."""
        node = self._graph.nodes[value.node]
        starts = node.role == "add" and node.number == 0 and len(node.signals) == 1
        return next(iter(node.signals)) if starts else value

    def _is_cut(self, index: int) -> bool:
        return self._graph.nodes[index].function in _CUTS

    def _times_constant(self, node: Node, one: Multiple) -> Multiple | None:
        if node.number is not None:
            return one.times(node.number)
        uses = [use for use in node.uses if use.role == "mul"]
        if any(is_weight_of_norm(self._graph, use) for use in uses):
            return None
        if node.square is not None and not uses:
            return one.varied(node.square)
        use = next(iter(uses), None)
        if use is not None and use.param in self._graph.held and not self._modulates(node):
            square = self._square_of(use)
            if self._is_mask(use):
                return one.masked(square)
            return one.varied(1 / square if square and node.function == "div" else square)
        return None  # without a value on meta: the plan names it

    def _is_mask(self, use: Use) -> bool:
        """Whether a buffer of zeros and ones multiplies a signal."""
        held = self._graph.held[use.param]
        return use.param in self._graph.buffers and bool(((held == 0) | (held == 1)).all())

    def _modulates(self, node: Node) -> bool:
        """Whether a product of a signal and a parameter is used as a weight."""
        taken = (v for c in node.consumers for v in self._graph.nodes[c].operands)
        return any(value.params for value in taken if value.node == node.index)


def _joined(
    node: Node, linear: Linear, made: list[Multiple], axes: Mapping[int, int | None]
) -> Multiple | None:
    """Return signals that lie side by side, and beside constants."""
    shares = linear.factors
    whole = not node.written and sum(shares) >= 1 - ROUNDED
    if not whole:  # constants lie beside them
        axis = axes.get(node.index)
        along = axis is None or axis in linear.joins
        # Of a product that is cut or shifted, nothing is said.
        last = not node.consumers or bool(node.written)
        if not (along if axes else last):
            return only(made)
    first, *others = made
    moved, left = (*first.moved, node.index), linear.added
    found = Multiple(0.0, None, linear.added, True, moved)
    for one, share in zip(made, shares, strict=True):
        square = None if one.square is None or found.square is None else one.square * share
        found = Multiple(
            None if square is None else (found.square or 0.0) + square,
            None,
            found.added + share * one.added,
            found.numbers and one.numbers,
            found.moved,
        )
        left = None if left is None or one.left is None else left + share * one.left
    found = replace(found, left=left)
    same = whole and all(one == first for one in others)
    return replace(found, number=first.number) if same else found


def _is_scaled(node: Node) -> bool:
    """Whether a signal is multiplied number by number; x * x isn't."""
    if node.role == "mul":
        return node.number is not None or len(node.inputs) > 1
    return node.function == "einsum" and not node.weights and not any(u.doubt for u in node.uses)


def _is_along(node: Node, axis: int | None) -> bool:
    """Whether what a call writes to is a part of an axis; not positions of their own."""
    joins = node.linear.joins if isinstance(node.linear, Linear) else ()
    return axis is None or not joins or axis in joins


def _features(product: Node, signal: Node) -> int | None:
    """Return the axis of its input that a product sums over; None if it isn't known."""
    if product.function.startswith("conv"):
        return 1 if len(signal.shape) > 2 else 0
    return len(signal.shape) - 1 if product.function == "linear" and signal.shape else None


def _features_before(before: Node, node: Node, axis: int | None) -> int | None:
    """Return the axis of a call's operand that becomes an axis of its result."""
    if axis is not None and _is_reshaped(before, node):  # windows of positions
        places = enumerate(before.shape)
        wanted = node.shape[axis], prod(node.shape[axis + 1 :])
        return next(
            (n for n, size in places if (size, prod(before.shape[n + 1 :])) == wanted), None
        )
    if axis is None or len(before.shape) != len(node.shape):
        return None
    if node.function not in _TURNS:
        return axis
    size = node.shape[axis]
    return before.shape.index(size) if before.shape.count(size) == 1 else None


def _is_reshaped(before: Node, node: Node) -> bool:
    """Whether a call leaves all numbers in their order, along other axes."""
    in_order = node.function in _IN_PLACE or node.function == "getitem"
    return in_order and before.shape != node.shape and prod(before.shape) == prod(node.shape)
