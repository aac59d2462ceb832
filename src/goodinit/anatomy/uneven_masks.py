"""Masks that leave more products to some units than to others, layer after layer, as in MADE.

Units with more products are larger. If the next mask leaves more of these, or fewer, the sum is
another one than with units alike: its fan counts each product by the size of its unit.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from goodinit._common.sequences import only
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node, Use
from goodinit.dataflow.replay import Computed, ReplayError, replaying
from goodinit.dataflow.traversal import root

# Masked layers in a row that are followed, and the numbers of a mask that are computed again.
LAYERS_FOLLOWED = 8
LARGEST_MASK = 2**22

_LAYERS = ("linear", "matmul", "mm", "addmm")


def share_of_larger(graph: Graph, use: Use) -> float:
    """Return by what a fan is multiplied for the sizes of the units that a mask leaves."""
    masks = [use]
    while len(masks) < LAYERS_FOLLOWED and (before := _masked_before(graph, masks[-1])) is not None:
        masks.append(before)
    if len(masks) == 1:
        return 1
    try:
        with replaying(), torch.no_grad():
            return _share([_squares(graph, one) for one in reversed(masks)])
    except ReplayError:
        return 1


def _share(squares: list[Tensor]) -> float:
    """Return how large the last sums are, of those that there are with units alike."""
    *others, last = squares
    sizes = torch.ones(squares[0].shape[1], dtype=torch.float64, device="cpu")
    for one in others:
        sizes = one @ sizes
        sizes /= sizes.mean().clamp(min=torch.finfo(torch.float64).tiny)
    found = float((last @ sizes).mean() / last.sum(1).mean())
    return float(f"{found:.6g}") if found > 0 else 1.0


def _masked_before(graph: Graph, use: Use) -> Use | None:
    """Return the masked weight whose product a weight takes, perhaps through an activation."""
    node = graph.nodes[use.node]
    if use.origin.made != "mul" or use.operand is None or not node.signals:
        return None
    made_by = graph.nodes[root(graph, graph.before(node).index)]
    while made_by.role == "activation" and made_by.signals:
        made_by = graph.nodes[root(graph, graph.before(made_by).index)]
    before = only([one for one in made_by.weights if one.param not in graph.buffers])  # no mask
    masked = before is not None and before.operand is not None and before.origin.made == "mul"
    return before if masked and _is_layer(made_by) and _is_layer(node) else None


def _is_layer(node: Node) -> bool:
    return node.function in _LAYERS and len(node.signals) == 1


def _squares(graph: Graph, use: Use) -> Tensor:
    """Return the squares of what is used, of a weight of signs: outputs by inputs."""
    tape = graph.recorder.tape
    operand = use.operand or 0
    if prod(tape.shapes[operand]) > LARGEST_MASK or len(tape.shapes[operand]) != 2:
        raise ReplayError("it isn't a matrix, or a large one")
    computed = Computed(tape, tape.entries_for(operand, use.at, frozenset()), [operand])
    values: dict[int, Tensor] = {}
    for number, source in computed.sources.items():
        if source.param is not None:
            values[number] = torch.ones(source.shape, device="cpu")
        elif source.value is not None:
            values[number] = source.value.cpu()
        else:
            raise ReplayError("it is made with constants that have no values on meta")
    found = computed(values).reshape(tape.shapes[operand]).double().square()
    by_rows = graph.nodes[use.node].function == "linear"
    return found if by_rows else found.mT
