"""Chains of weights with only activations between them, and how they scale a signal.

In such a chain the scale of a signal follows from the weights alone. A norm would reset it, and a
residual stream would bypass it. With inputs the links come from the data flow, without them only
from ``nn.Sequential``.

With q the second moment before an activation f, weights w of fan_in n and biases b,

    q' = n E[w^2] E[f(sqrt(q) z)^2] + E[b^2],  z ~ N(0, 1),

and p, the part of q that still comes from the input, becomes p' = p (n E[w^2] E[f^2]) / q.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from goodinit._common.module_tree import modules_of, parameters_of
from goodinit.anatomy.modules import flattened, passes_signal
from goodinit.anatomy.names import walk
from goodinit.dataflow.activations import activation_name
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.nodes import Node
from goodinit.explanation.reading import ParameterValues
from goodinit.schemes.operating_point import LARGEST, mean_square_after


@dataclass(frozen=True, slots=True)
class Link:
    """A weight, and the activation between it and the previous weight of the chain, or ""."""

    weight: ParameterValues
    activation: str


@dataclass(frozen=True, slots=True)
class Chain:
    """Weights that follow one another.

    Attributes:
        links: in order; the activation of the first is ignored.
        biases: E[b^2] of each link's bias, 0 if it has none.
    """

    links: tuple[Link, ...]
    biases: tuple[float, ...]

    @property
    def weights(self) -> tuple[ParameterValues, ...]:
        """The weights in order."""
        return tuple(link.weight for link in self.links)

    def propagate(self) -> list[tuple[float, float, float]]:
        """Return (factor, q, p) after each weight, for an input with second moment 1.

        ``factor`` is what the weight and the activation before it multiply the second moment by.
        """
        found: list[tuple[float, float, float]] = []
        q, p = 1.0, 1.0
        for number, (link, bias) in enumerate(zip(self.links, self.biases, strict=True)):
            arrives = mean_square_after(link.activation if number else "", q)
            if arrives is None or not q < LARGEST:
                break
            passed = strength(link.weight) * arrives
            factor = passed / q if q > 0 else 0.0
            p = p * factor
            q = passed + bias
            found.append((factor, q, p))
        return found


def strength(weight: ParameterValues) -> float:
    """Return fan_in E[w^2], averaged over blocks."""
    each = [(part.site.fan_in or 0.0) * part.sample.second for part in weight.parts]
    return sum(each) / max(len(each), 1)


# Links from module types.


def chains_by_type(model: nn.Module, parameters: list[ParameterValues]) -> list[Chain]:
    """Return the chains inside every ``nn.Sequential``."""
    by_owner = _by_owner(parameters)
    before: dict[int, tuple[ParameterValues, str]] = {}
    weights: list[ParameterValues] = []
    inner: set[int] = set()
    for _, module in walk(model):
        if isinstance(module, nn.Sequential) and id(module) not in inner:
            inner.update(id(child) for child in modules_of(module) if child is not module)
            for first, label, second in _in_order(module, by_owner):
                before.setdefault(id(second), (first, label))
                weights += [first, second]
    return _chains(weights, before, parameters)


def _in_order(
    module: nn.Sequential, by_owner: Mapping[int, ParameterValues]
) -> Iterator[tuple[ParameterValues, str, ParameterValues]]:
    last: ParameterValues | None = None
    label = ""
    for _, child in flattened(module):
        weight = by_owner.get(id(child))
        name = activation_name(child)
        if weight is not None:
            if last is not None:
                yield last, label, weight
            last, label = weight, ""
        elif name is not None and not label:
            label = name
        elif not passes_signal(child):
            last, label = None, ""


# Links from the data flow.


def chains_by_flow(graph: Graph, parameters: Mapping[int, ParameterValues]) -> list[Chain]:
    """Return the chains of one run, given the parameters by their numbers in its graph."""
    weights = ((node.index, _weight_of(node, parameters)) for node in graph.nodes)
    at = {index: one for index, one in weights if one is not None}
    before: dict[int, tuple[ParameterValues, str]] = {}
    for index, one in at.items():
        link = _before(graph, graph.nodes[index], at)
        if link is not None and id(one) not in before and link[0] is not one:
            before[id(one)] = link
    return _chains(list(at.values()), before, list(parameters.values()))


def _weight_of(node: Node, parameters: Mapping[int, ParameterValues]) -> ParameterValues | None:
    weights = {use.param for use in node.weights}
    if len(weights) != 1 or not node.live or len(node.signals) != 1:
        return None
    one = parameters.get(weights.pop())
    if one is None or not one.matrix or not one.parts:
        return None
    return one if one.row.facets.kind in ("linear", "conv") else None


def _before(
    graph: Graph, node: Node, at: Mapping[int, ParameterValues]
) -> tuple[ParameterValues, str] | None:
    """Return the weight that feeds a node through at most one activation, and that activation."""
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
    weights: list[ParameterValues],
    before: Mapping[int, tuple[ParameterValues, str]],
    parameters: list[ParameterValues],
) -> list[Chain]:
    """Return the longest chain that ends in each weight which feeds no other."""
    feeding = {id(first) for first, _ in before.values()}
    biases = _biases(parameters)
    found: list[Chain] = []
    ends = {id(one): one for one in weights if id(one) in before and id(one) not in feeding}
    for end in ends.values():
        links: list[Link] = []
        at: ParameterValues | None = end
        met: set[int] = set()
        while at is not None and id(at) not in met:
            met.add(id(at))
            first, label = before.get(id(at), (None, ""))
            links.append(Link(at, label))
            at = first
        links.reverse()
        squares = tuple(biases.get(id(link.weight.slot.owner), 0.0) for link in links)
        found.append(Chain(tuple(links), squares))
    return found


def _by_owner(parameters: list[ParameterValues]) -> dict[int, ParameterValues]:
    """Return the weight of each module that is one layer, by the module's id.

    One with layers inside isn't: a table of its own isn't a product that its signal passes.
    """
    kinds = ("linear", "conv")
    return {
        id(module): one
        for one in parameters
        if one.matrix and one.parts and one.row.facets.kind in kinds
        for module, _ in one.slot.places
        if not _holds_layers(module)
    }


def _holds_layers(module: nn.Module) -> bool:
    return any(
        name != "parametrizations" and next(parameters_of(child), None) is not None
        for name, child in module.named_children()
    )


def _biases(parameters: list[ParameterValues]) -> dict[int, float]:
    """Return E[b^2] of each bias, by the id of its module."""
    return {
        id(one.slot.owner): one.whole.sample.second
        for one in parameters
        if one.row.facets.part == "bias" and one.whole is not None and one.whole.sample.finite
    }
