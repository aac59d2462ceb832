"""A power of a product, or the largest of a few: what it makes of normal numbers.

If E[f(z)^2] = m v^k for z ~ N(0, v), it is 1 where v = m^(-1/k): the fan has m^(1/k) more summands.
"""

from __future__ import annotations

from math import gamma, pi, prod
from typing import cast

import torch
from torch import Tensor

from goodinit._common.sequences import only
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node

# Maxout takes the largest of 2 to 5 products; of more, they are mostly positions, whose number is
# the example's.
MOST_PIECES = 8

_POWERS = frozenset("pow square float_power".split())
_LARGEST = frozenset(("max", "amax"))


def times_more_summands(graph: Graph, index: int) -> float | None:
    """Return by what a fan is multiplied for what follows a product; None if that isn't known.

    Args:
        graph: of the run.
        index: of the product's node.
    """
    before = graph.nodes[index]
    while (number := only(before.consumers)) is not None and _is_passed(graph.nodes[number]):
        before = graph.nodes[number]
    if number is None or not _is_last(graph, after := graph.nodes[number]):
        return None
    if after.function in _POWERS:
        power = 2.0 if after.function == "square" else after.number or 0.0
        return square_of_power(power) ** (1 / power) if power >= 1 else None
    pieces = prod(before.shape) / max(prod(after.shape), 1)
    if after.function in _LARGEST and after.role != "pointwise" and 1 < pieces <= MOST_PIECES:
        return square_of_largest(int(pieces))
    return None


def square_of_power(power: float) -> float:
    """Return E[z^2k] of normal numbers.

    >>> round(square_of_power(2), 6), round(square_of_power(3), 6)
    (3.0, 15.0)
    """
    return 2**power * gamma(power + 0.5) / pi**0.5


def square_of_largest(pieces: int) -> float:
    """Return E[max(z_1, ..., z_n)^2] of independent normal numbers.

    >>> round(square_of_largest(2), 6), round(square_of_largest(4), 3)
    (1.0, 1.551)
    """
    z = torch.linspace(-9, 9, 3601, dtype=torch.float64, device="cpu")
    below = cast("Tensor", torch.special.ndtr(z))
    density = pieces * below ** (pieces - 1) * torch.exp(-z * z / 2) / (2 * pi) ** 0.5
    return float(torch.trapezoid(z * z * density, z))


def _is_passed(node: Node) -> bool:
    """Whether a call reshapes a product, or adds its bias."""
    alone = len(node.signals) == 1 and node.number is None
    biased = node.role == "add" and all(use.role == "add" for use in node.uses)
    return node.role in ("view", "cast") or (alone and biased and bool(node.uses))


def _is_last(graph: Graph, node: Node) -> bool:
    """Whether a result is the model's, or what a weight takes."""
    onward = [graph.nodes[number] for number in node.consumers]
    return all(
        one.weights or (one.role in ("view", "cast", "pick") and _is_last(graph, one))
        for one in onward
    )
