"""Outputs that are dot products of two tables' rows, or of two projections."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from goodinit._common.sequences import only
from goodinit.anatomy.heads import SHARES, multiplies
from goodinit.anatomy.read import Anatomy
from goodinit.anatomy.sizes import SizeOf
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use, Value
from goodinit.dataflow.traversal import is_share
from goodinit.findings.logits import outputs_are_too_wide


class Wide(NamedTuple):
    """Scores that are too wide.

    Attributes:
        std: of the scores.
        std_of_one: of the weights that would make it 1.
    """

    std: float
    std_of_one: float


@dataclass(frozen=True, slots=True)
class TableProduct:
    """A score that two weights make.

    Attributes:
        names: of both; of one table with itself, it is there twice.
        summed: whether each is a projection, which sums products, rather than a table.
        dimension: how many products the score sums.
        scale: what it is multiplied by.
    """

    names: tuple[str, str]
    summed: tuple[bool, bool]
    dimension: int
    scale: float

    def too_wide(self, size_of: SizeOf) -> Wide | None:
        """Return the std of the scores of projected unit signals if it is too large."""
        sizes = [size_of(name) for name in self.names]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return None
        pairs = list(zip(known, self.summed, strict=True))
        factors = [size.strength if summed else size.second for size, summed in pairs]
        product = math.prod(factors)
        second = self.scale**2 * self.dimension * product
        smallest = math.sqrt(min(size.second for size in known))
        if not outputs_are_too_wide(second, math.sqrt(product), smallest):
            return None
        # Each factor is made smaller by the fourth root, so that the scores have the variance 1.
        return Wide(math.sqrt(second), smallest / second**0.25)


def table_products(anatomy: Anatomy) -> tuple[TableProduct, ...]:
    """Return the model's outputs that are dot products; none without a data flow."""
    graph = anatomy.graph
    if graph is None:
        return ()
    outputs = dict.fromkeys(n for span in graph.spans if not span.path for n in span.gives)
    found = [_product_behind(graph, anatomy, index) for index in outputs]
    return tuple(dict.fromkeys(one for one in found if one is not None))


def _product_behind(graph: Graph, anatomy: Anatomy, index: int) -> TableProduct | None:
    node, scale = graph.nodes[index], 1.0
    while (taken := only(_without_biases(graph, node))) is not None and not node.weights:
        if node.role == "mul" and node.number is not None and not node.uses:
            scale *= node.number
        elif not is_share(node.function) and (
            node.function == "sum" or node.role not in (*SHARES, "add")
        ):
            break
        node = graph.nodes[taken.node]
    made = _of_a_table(graph, anatomy, node) or _of_signals(graph, node)
    if made is None:
        return None
    first, second, dimension = made
    rows = [anatomy.rows[use.param] for use in (first, second)]
    if any(row.facets.is_unknown or row.buffer for row in rows):  # a doubt is of sums
        return None
    return TableProduct(
        (rows[0].name, rows[1].name),
        (
            first.node != node.index and first.role == "contract",
            second.node != node.index and second.role == "contract",
        ),
        dimension,
        scale,
    )


def _without_biases(graph: Graph, node: Node) -> tuple[Value, ...]:
    """Return the signals of a call, of a sum without single numbers that are looked up."""
    if node.role != "add":
        return node.signals
    return tuple(value for value in node.signals if not _is_looked_up_number(graph, value.node))


def _is_looked_up_number(graph: Graph, index: int) -> bool:
    use = _maker(graph, index)
    return use is not None and use.role == "lookup" and use.origin.box[-1] == (0, 1)


def _of_a_table(graph: Graph, anatomy: Anatomy, node: Node) -> tuple[Use, Use, int] | None:
    """Return the two of rows of a table that are multiplied by all rows of one."""
    if len(node.weights) != 1 or len(node.signals) != 1:
        return None
    (use,) = node.weights
    rows, own = _maker(graph, graph.before(node).index), anatomy.slots[use.param]
    is_table = anatomy.rows[use.param].facets.kind == "embedding" and not multiplies(own)
    return (rows, use, round(use.fan_in)) if rows is not None and is_table else None


def _of_signals(graph: Graph, node: Node) -> tuple[Use, Use, int] | None:
    product, dimension = _dot_product(graph, node)
    makers = [_maker(graph, value.node) for value in product.signals] if product else []
    first, second = makers if len(makers) == 2 else (None, None)
    return None if first is None or second is None else (first, second, dimension)


def _dot_product(graph: Graph, node: Node) -> tuple[Node | None, int]:
    """Return the product of two signals that a score sums, and how many numbers it sums."""
    if node.function == "sum" and len(node.signals) == 1:
        product = graph.before(node)
        over_last = product.shape[:-1] == node.shape or (*product.shape[:-1], 1) == node.shape
        apart = len({value.node for value in product.signals}) == len(product.signals) == 2
        if product.role == "mul" and not product.uses and apart and over_last:
            return product, product.shape[-1]
    elif node.role == "contract" and not node.weights and len(node.signals) == 2 and node.labels:
        *_, left, right, out = node.labels
        summed = [place for place, one in enumerate(left) if one in right and one not in out]
        shape = graph.before(node).shape
        if len(shape) == len(left):
            return node, math.prod(shape[place] for place in summed)
    return None, 0


def _maker(graph: Graph, index: int) -> Use | None:
    """Return the use of the weight that makes a factor; None if more than views come between."""
    node = graph.nodes[index]
    while node.role in ("view", "cast") and len(node.signals) == 1:
        node = graph.before(node)
    uses = node.weights or [use for use in node.uses if use.role == "lookup"]
    return only(uses) if node.role in ("contract", "pick") else None
