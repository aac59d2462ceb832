"""Weights that feed one another through nothing but an activation, and what becomes of a signal.

Only there can arithmetic on the weights alone say how large a signal arrives: a norm would mend
its scale, and a residual stream go round it. With inputs the data flow shows the links; without,
only an ``nn.Sequential`` does.

With q the second moment before an activation f, weights w of fan_in n and biases b,

    q' = n E[w^2] E[f(sqrt(q) z)^2] + E[b^2],  z ~ N(0, 1),

and of q the part that still comes from the input, p, goes as p' = p (n E[w^2] E[f^2]) / q.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from goodinit.anatomy.modules import flattened
from goodinit.anatomy.names import walk
from goodinit.dataflow.activations import activation_name
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node
from goodinit.errors import GoodinitError
from goodinit.explanation.reading import Seen
from goodinit.schemes import second_moment
from goodinit.schemes.gains import NONLINEARITIES

__all__ = [
    "Chain",
    "Link",
    "chains_by_flow",
    "chains_by_type",
    "squared",
]

LARGEST = 1e30  # a signal beyond has left every dtype, and no quadrature is needed


@dataclass(frozen=True, slots=True)
class Link:
    """A weight, and the activation between the one before it in the chain and it ("" is none)."""

    seen: Seen
    activation: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Weights that follow one another.

    Attributes:
        links: in order; the first one's activation means nothing.
        biases: E[b^2] of each one's bias, 0 where there is none.
    """

    links: tuple[Link, ...]
    biases: tuple[float, ...]

    @property
    def weights(self) -> tuple[Seen, ...]:
        """The weights in order."""
        return tuple(link.seen for link in self.links)

    def passed(self) -> list[tuple[float, float, float]]:
        """Return (factor, q, p) after each weight, for an input of second moment 1.

        ``factor`` is what the weight and the activation before it make of the second moment.
        """
        found: list[tuple[float, float, float]] = []
        q, p = 1.0, 1.0
        for number, (link, bias) in enumerate(zip(self.links, self.biases, strict=True)):
            arrives = squared(link.activation if number else "", q)
            if arrives is None or not q < LARGEST:
                break
            passed = _strength(link.seen) * arrives
            factor = passed / q if q > 0 else 0.0
            p = p * factor
            q = passed + bias
            found.append((factor, q, p))
        return found


def _strength(seen: Seen) -> float:
    """Return fan_in E[w^2], the mean over blocks."""
    each = [(part.site.fan_in or 0.0) * part.sample.second for part in seen.parts]
    return sum(each) / max(len(each), 1)


def squared(activation: str, q: float) -> float | None:
    """Return E[f(sqrt(q) z)^2], or None where it can't be had.

    >>> squared("relu", 4.0), squared("", 3.0), squared("glu", 1.0)
    (2.0, 3.0, None)
    """
    if not activation or q <= 0:
        return q
    name, _, given = activation.rstrip(")").partition("(")
    numbers = tuple(float(number) for number in re.findall(r"[-+.\deE]+", given))
    if name in ("relu", "leaky_relu", "prelu"):  # homogeneous
        of_one = _squared(name, numbers, 0.0)
        return None if of_one is None else of_one * q
    # Alike within a thousandth: layers of one kind are worked out once.
    return _squared(name, numbers, round(math.log(q), 3)) if q < LARGEST else None


@functools.lru_cache(maxsize=4096)
def _squared(name: str, numbers: tuple[float, ...], log_q: float) -> float | None:
    f = NONLINEARITIES.get(name)
    if f is None:
        return None
    root = math.exp(log_q / 2)
    try:
        return second_moment(lambda z: f(z * root, *numbers))
    except (GoodinitError, TypeError):
        return None


# Links as module types tell them.


def chains_by_type(model: nn.Module, seen: list[Seen]) -> list[Chain]:
    """Return the chains inside each ``nn.Sequential``."""
    by_owner = _by_owner(seen)
    before: dict[int, tuple[Seen, str]] = {}
    weights: list[Seen] = []
    inner: set[int] = set()
    for _, module in walk(model):
        if isinstance(module, nn.Sequential) and id(module) not in inner:
            inner.update(id(child) for child in module.modules() if child is not module)
            for first, label, second in _in_order(module, by_owner):
                before.setdefault(id(second), (first, label))
                weights += [first, second]
    return _chains(weights, before, seen)


def _in_order(
    module: nn.Sequential, by_owner: Mapping[int, Seen]
) -> Iterator[tuple[Seen, str, Seen]]:
    last: Seen | None = None
    label = ""
    for _, child in flattened(module, ""):
        weight = by_owner.get(id(child))
        name = activation_name(child)
        if weight is not None:
            if last is not None:
                yield last, label, weight
            last, label = weight, ""
        elif name is not None and not label:
            label = name
        elif not _passes(child):
            last, label = None, ""


def _passes(module: nn.Module) -> bool:
    files = {cls.__module__.rpartition(".")[2] for cls in type(module).__mro__}
    known = {"dropout", "pooling", "flatten", "padding", "pixelshuffle", "upsampling"}
    return isinstance(module, nn.Identity) or not files.isdisjoint(known)


# Links as the data flow shows them.


def chains_by_flow(graph: Graph, seen: Mapping[int, Seen]) -> list[Chain]:
    """Return the chains of one run.

    Args:
        graph: of the run.
        seen: the parameters by their numbers in it.
    """
    at: dict[int, Seen] = {}
    for node in graph.nodes:
        one = _weight_of(node, seen)
        if one is not None:
            at[node.index] = one
    before: dict[int, tuple[Seen, str]] = {}
    for index, one in at.items():
        link = _before(graph, graph.nodes[index], at)
        if link is not None and id(one) not in before and link[0] is not one:
            before[id(one)] = link
    return _chains(list(at.values()), before, list(seen.values()))


def _weight_of(node: Node, seen: Mapping[int, Seen]) -> Seen | None:
    weights = {use.param for use in node.weights}
    if len(weights) != 1 or not node.live or len(node.signals) != 1:
        return None
    one = seen.get(weights.pop())
    if one is None or not one.matrix or not one.parts:
        return None
    return one if one.row.facets.kind in ("linear", "conv") else None


def _before(graph: Graph, node: Node, at: Mapping[int, Seen]) -> tuple[Seen, str] | None:
    """Return the weight that feeds a node through one activation at most, and its name."""
    label = ""
    while True:
        came = {value.node for value in node.signals}
        if len(came) != 1:
            return None
        node = graph.nodes[came.pop()]
        if node.index in at:
            return at[node.index], label
        adds = node.role == "add" and (bool(node.uses) or node.number is not None)
        if node.role == "activation" and not label:
            label = node.label or node.function
        elif node.role not in ("view", "cast", "pool") and not adds:
            return None


# Chains of links.


def _chains(
    weights: list[Seen], before: Mapping[int, tuple[Seen, str]], seen: list[Seen]
) -> list[Chain]:
    """Return the longest chain to each weight that feeds no other."""
    feeding = {id(first) for first, _ in before.values()}
    biases = _biases(seen)
    found: list[Chain] = []
    ends = {id(one): one for one in weights if id(one) in before and id(one) not in feeding}
    for end in ends.values():
        links: list[Link] = []
        at: Seen | None = end
        met: set[int] = set()
        while at is not None and id(at) not in met:
            met.add(id(at))
            first, label = before.get(id(at), (None, ""))
            links.append(Link(at, label))
            at = first
        links.reverse()
        squares = tuple(biases.get(id(link.seen.slot.owner), 0.0) for link in links)
        found.append(Chain(tuple(links), squares))
    return found


def _by_owner(seen: list[Seen]) -> dict[int, Seen]:
    kinds = ("linear", "conv")
    return {
        id(module): one
        for one in seen
        if one.matrix and one.parts and one.row.facets.kind in kinds
        for module, _ in one.slot.places
    }


def _biases(seen: list[Seen]) -> dict[int, float]:
    """Return E[b^2] by the module that holds a bias."""
    return {
        id(one.slot.owner): one.whole.sample.second
        for one in seen
        if one.row.facets.part == "bias" and one.whole is not None and one.whole.sample.finite
    }
