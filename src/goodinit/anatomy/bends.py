"""Activations that take sums of products and nothing else: weights tell how large these are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from goodinit.anatomy.read import Anatomy
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Linear, Node
from goodinit.dataflow.traversal import signals_of, walk_forward

KINDS = ("linear", "conv", "recurrent")


@dataclass(frozen=True, slots=True)
class Term:
    """One product of a sum.

    Attributes:
        param: number of the weight.
        factor: what the product is multiplied by besides.
        before: place of the activation whose result it takes; -1 of another signal.
        table: number of the table whose rows it takes; -1 without one.
    """

    param: int
    factor: float
    before: int
    table: int


@dataclass(frozen=True, slots=True)
class Bend:
    """One call of an activation.

    Attributes:
        function: its label.
        terms: the products that it takes the sum of; empty if it takes something else as well.
        biases: numbers of the parameters that are added, each with its factor.
        is_gate: whether its result multiplies another signal.
        is_last: whether no weight takes its result.
    """

    function: str
    terms: tuple[Term, ...]
    biases: tuple[tuple[int, float], ...]
    is_gate: bool
    is_last: bool


def bends(anatomy: Anatomy) -> tuple[Bend, ...]:
    """Return the activations of a run in the order of the calls.

    Without a data flow those of plain stacks, by module types.
    """
    graph = anatomy.graph
    if graph is None:
        return tuple(_by_type(anatomy))
    found: list[Bend] = []
    places: dict[int, int] = {}
    for node in graph.nodes:
        if node.role != "activation" or not node.live or len(node.signals) != 1:
            continue
        reading = _Reading(graph, anatomy, places)
        known = reading.read(graph.before(node).index, 1.0)
        after = list(walk_forward(graph, node.index, lambda n: not n.weights))
        found.append(
            Bend(
                node.label or node.function,
                tuple(reading.terms) if known else (),
                tuple(reading.biases) if known else (),
                any(n.role == "mul" and len({*signals_of(n)}) > 1 for n in after),
                not any(n.weights for n in after),
            )
        )
        places[node.index] = len(found) - 1
    return tuple(found)


def _by_type(anatomy: Anatomy) -> Iterator[Bend]:
    """Yield what follows each weight of each plain stack, whose weights are listed in order."""
    biases = {
        id(slot.owner): number
        for number, (row, slot) in enumerate(zip(anatomy.rows, anatomy.slots, strict=True))
        if row.facets.part == "bias" and row.facets.kind in KINDS
    }
    made, left, before = 0, 0, -1
    for number, (row, slot) in enumerate(zip(anatomy.rows, anatomy.slots, strict=True)):
        f = row.facets
        if not f.plain or f.kind not in KINDS or f.part == "bias" or f.guessed:
            continue
        if not left:  # the first of a stack
            left, before = f.plain - 1, -1  # of the last nobody knows what follows
        left -= 1
        if f.activation:
            bias = biases.get(id(slot.owner))
            added = () if bias is None else ((bias, 1.0),)
            yield Bend(f.activation, (Term(number, 1.0, before, -1),), added, False, False)
            before, made = made, made + 1


def _factors(node: Node) -> Sequence[float]:
    """Return the numbers that a sum multiplies its signals by; none if more is added."""
    exact = isinstance(node.linear, Linear) and not node.linear.added and not node.linear.joins
    return node.linear.factors if exact and isinstance(node.linear, Linear) else ()


class _Reading:
    """Takes a sum apart into its products."""

    def __init__(self, graph: Graph, anatomy: Anatomy, places: dict[int, int]) -> None:
        self._graph, self._anatomy, self._places = graph, anatomy, places
        self.terms: list[Term] = []
        self.biases: list[tuple[int, float]] = []

    def read(self, index: int, factor: float) -> bool:
        """Note what a signal is the sum of; return whether all of it is known."""
        node = self._graph.nodes[index]
        if node.weights:
            return self._product(node, factor)
        if node.role in ("view", "cast") and len(node.signals) == 1:
            return self.read(self._graph.before(node).index, factor)
        if node.role == "mul" and node.number is not None and len(node.signals) == 1:
            return not node.uses and self.read(self._graph.before(node).index, factor * node.number)
        if node.role != "add" or node.number is not None:
            return False
        factors = [1.0] * len(node.signals) if node.linear is None else _factors(node)
        self.biases += [(use.param, factor) for use in node.uses if use.role == "add"]
        added = all(use.role == "add" for use in node.uses) and len(factors) == len(node.signals)
        terms = zip(node.signals, factors, strict=False)
        return added and all(self.read(value.node, factor * by) for value, by in terms)

    def _product(self, node: Node, factor: float) -> bool:
        if len(node.weights) != 1 or len(node.signals) != 1:
            return False
        (use,) = node.weights
        facets = self._anatomy.rows[use.param].facets
        if facets.kind not in KINDS or facets.is_unknown:  # in others a sum isn't certain
            return False
        self.biases += [(one.param, factor) for one in node.uses if one.role == "add"]
        before = self._graph.before(node)
        while before.role in ("view", "cast", "pool") and len(before.signals) == 1:
            before = self._graph.before(before)
        rows = next((one.param for one in before.uses if one.role == "lookup"), -1)
        self.terms.append(Term(use.param, factor, self._places.get(before.index, -1), rows))
        return True
