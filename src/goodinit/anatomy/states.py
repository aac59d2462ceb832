"""Linear attention step by step: a state of outer products, which each query is multiplied with.

Such a loop says ``state = decay * state + k[:, :, None] * v[:, None]``, and then
``(q[:, :, None] * state).sum(1)``. The keys run along that axis of the state which is summed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from goodinit._common.sequences import only
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Value
from goodinit.dataflow.traversal import reaches, signals_of, walk_forward

# From where a state is read to the outer product of the same step: a decay, a gate, a few sums.
CALLS_TO_A_STEP = 12

# From an outer product to where its state is read first.
CALLS_TO_READ = 24

_KEEPING = frozenset(("add", "mul", "pointwise", "cast"))


class Reading(NamedTuple):
    """What a state is read with, what it was made of, and the outer product."""

    query: Value
    key: Value
    value: Value
    outer: int


def reading_of(graph: Graph, node: Node) -> Reading | None:
    """Return what a call reads of a state of outer products; None if it reads none.

    Args:
        graph: of the run.
        node: a product of two signals, or the sum of one.
    """
    product, summed = _sum_of_product(graph, node)
    if product is None:
        return None
    pair = product.operands[-2:]
    for place, (state, query) in enumerate((pair, pair[::-1])) if len(product.signals) == 2 else ():
        outer = _outer_behind(graph, state.node)
        axis = summed if summed is not None else _summed_axis(product, place)
        if outer is None or axis is None or reaches(graph, outer.index, query.node):
            continue  # copies of a stream, which what is made of it adds up: hyper-connections
        pair = _along(graph, outer, axis)
        if pair is not None:
            return Reading(query, *pair, outer.index)
    return None


def readings(graph: Graph, outer: Node) -> Iterator[Node]:
    """Yield what is read of a state, over the next calls, that an outer product is added to."""
    if not _is_outer(graph, outer):
        return
    onward = walk_forward(graph, outer.index, lambda node: node.shape == outer.shape)
    for node in islice(onward, CALLS_TO_READ):
        if (found := reading_of(graph, node)) is not None and found.outer == outer.index:
            yield node


def _sum_of_product(graph: Graph, node: Node) -> tuple[Node | None, int | None]:
    """Return the product that a call sums, and the axis over which it does, from the right.

    Where the call is a product with a sum, the axis is that of the state's place: it is None.
    """
    if node.role == "contract":
        return (node, None) if node.labels and not node.weights else (None, None)
    before = graph.nodes[node.inputs[0]] if node.inputs else node
    if node.function != "sum" or before.role != "mul" or len(before.signals) != 2:
        return None, None
    for axis in (-1, -2):
        left = list(before.shape)
        if len(left) < 3:
            break
        sizes = [_size(graph, value, axis) for value in before.signals]
        left[axis] = 1
        fits = node.shape in (tuple(left), tuple(left[:axis] + left[len(left) + axis + 1 :]))
        others = [_size(graph, value, -3 - axis) for value in before.signals]
        if fits and sizes[0] == sizes[1] and 1 in others:
            return before, axis
    return None, None


def _summed_axis(product: Node, place: int) -> int | None:
    """Return over which axis of one operand a product sums, from the right."""
    *_, left, right, made = product.labels
    labels = (left, right)[place]
    summed = [n for n, label in enumerate(labels) if label not in made]
    axis = only(summed)
    return None if axis is None else axis - len(labels)


def _size(graph: Graph, value: Value, axis: int) -> int:
    shape = graph.nodes[value.node].shape
    return shape[axis] if len(shape) >= -axis else 1


def _outer_behind(graph: Graph, index: int) -> Node | None:
    """Return the latest outer product that a state is a sum of, number by number.

    A product with a column of one number is one only if it is added to a state.
    """
    shape, waiting, added = (
        graph.nodes[index].shape,
        {index},
        1 not in graph.nodes[index].shape[-2:],
    )
    for _ in range(CALLS_TO_A_STEP):
        if not waiting:
            return None
        node = graph.nodes[max(waiting)]
        waiting.remove(node.index)
        if added and _is_outer(graph, node):
            return node
        added = added or node.role == "add"
        if node.role in _KEEPING or node.function == "cumsum":
            waiting |= {i for i in signals_of(node) if graph.nodes[i].shape == shape}
    return None


def _is_outer(graph: Graph, node: Node) -> bool:
    """Whether each of two signals runs along another one of the last two axes."""
    if len(node.signals) != 2 or len(node.shape) < 3:
        return False
    sizes = [[_size(graph, value, axis) for axis in (-2, -1)] for value in node.operands[-2:]]
    if node.role == "mul":
        rows, columns = node.shape[-2:]
        return sorted(sizes) == sorted([[rows, 1], [1, columns]])
    if node.role != "contract" or node.weights or not node.labels:
        return False
    *_, rows, columns, made = node.labels
    kept = [label for label in (*rows, *columns) if label not in made]
    return not kept or (node.function in ("matmul", "bmm") and sizes[0][1] == sizes[1][0] == 1)


def _along(graph: Graph, outer: Node, axis: int) -> tuple[Value, Value] | None:
    """Return the operand of an outer product that runs along an axis, and the other one."""
    *_, first, second = outer.operands
    if outer.role == "mul":
        sizes = [_size(graph, first, one) for one in (axis, -3 - axis)]
        along = sizes == [outer.shape[axis], 1]
    elif outer.function in ("matmul", "bmm"):
        along = axis == -2
    else:
        *_, left, right, made = outer.labels
        along = made[axis] in left
        if along == (made[axis] in right):
            return None
    return (first, second) if along else (second, first)
