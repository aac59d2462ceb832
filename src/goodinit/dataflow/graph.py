"""The data flow of one run: a node for each call, and where each tensor's axes came from.

``Graph`` is the observer of a trace that anatomy needs. It keeps numbers and shapes, no tensor.
Two kinds of origin are followed through views, copies and elementwise functions: a parameter
(until it is used on an activation) and the output of a contraction (until it is mixed with
another: then the mixture is an origin of its own). So the graph knows of any operand which axes
of which parameter it is, or which part of which projection's output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from goodinit._common.by_tensor import ByTensor
from goodinit._common.torch_private import storage_key, without_function_modes
from goodinit.dataflow.activations import activation_call
from goodinit.dataflow.constants import constant_square, mean_square, number_among, number_of
from goodinit.dataflow.functions import COMPARISONS, LIKE, role_of
from goodinit.dataflow.labels import labels_of
from goodinit.dataflow.linear import is_followed, linear_in, numbers_among
from goodinit.dataflow.nodes import Node, Origin, Span, Value
from goodinit.dataflow.origins import (
    BY_CHANNEL,
    Base,
    is_made,
    layout_of,
    moved_by,
    output_of,
    still_weight,
    tally_of_source,
    through_view,
    union,
    whole_of,
)
from goodinit.dataflow.recorder import Recorder, is_number
from goodinit.dataflow.uses import uses_of
from goodinit.dataflow.writes import note_write
from goodinit.trace import Call, tensors_in, tensors_of

_CARRYING = ("view", "cast", "pointwise", "activation", "join", "add", "mul")


# A tensor put together from more parameters or projections (a long concatenation) counts as made
# of the first few alone, so that each later call costs the same. Uses of the others are not seen.
ORIGINS_KEPT = 8


class Graph:
    """Observes a trace; see the module's docstring.

    Args:
        params: id of a tensor of the model -> its number.
        inputs: ids of the tensors that go into the model.
        hooked: number of a parameter that a hook recomputes before each run (weight_norm of
            torch.nn.utils) -> the module and attribute that hold its value.
        recorded: id of a tensor on meta -> the value that its constructor gave it, if known.

    Attributes:
        nodes: one for each call, and one for each tensor that comes from outside.
        spans: one for each run of a module.
        shapes: of each parameter, by its number.
        sources: the nodes at which each parameter's trails begin, by its number.
        buffers: numbers of those parameters that are buffers.
        held: what each parameter and buffer holds, by its number, where that is known.
        recorder: keeps the calls that compute weights.
    """

    def __init__(
        self,
        params: Mapping[int, int],
        inputs: frozenset[int],
        hooked: Mapping[int, tuple[nn.Module, str]] | None = None,
        recorded: Mapping[int, Tensor] | None = None,
    ) -> None:
        self.nodes: list[Node] = []
        self.spans: list[Span] = []
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.sources: dict[int, list[int]] = {}
        self.buffers: set[int] = set()
        self.held: dict[int, Tensor] = {}
        self._params = params
        self._inputs = inputs
        self._hooked: dict[int, list[tuple[int, str]]] = {}
        for number, (owner, attribute) in (hooked or {}).items():
            self._hooked.setdefault(id(owner), []).append((number, attribute))
        self._recorded = recorded or {}
        self.recorder = Recorder()
        self._trained: set[int] = set()
        self._open: list[Span] = []
        self._running: list[nn.Module] = []
        self._values = ByTensor[Value]()
        self._bases: dict[int, Base] = {}

    def before(self, node: Node) -> Node:
        """Return the node of the first signal that a call takes."""
        return self.nodes[node.signals[0].node]

    # The observer's four methods.

    def source(self, original: Tensor, stand_in: Tensor) -> None:
        """Begin a trail: of a parameter, an input, a constant."""
        number, live = self._params.get(id(original)), id(original) in self._inputs
        node = self._add_node("source", "", (), stand_in, live)
        node.tally = tally_of_source(stand_in, live)
        plain = number is None and not live and original.layout is torch.strided
        if plain and mean_square(original) == 0.0:
            node.function = "zeros"
        origins: tuple[Origin, ...] = ()
        if number is not None or self._is_known(original):
            self.recorder.source(stand_in, number, original, self._recorded.get(id(original)))
        if isinstance(original, nn.Parameter) and number is not None:
            self._trained.add(number)
        if number is not None:
            held = self._recorded.get(id(original)) if original.is_meta else original
            if held is not None:
                self.held[number] = held.detach()
            shape = tuple(stand_in.shape)
            if prod(shape) >= prod(self.shapes.get(number, (0,))):  # weight_norm stores two
                self.shapes[number] = shape
            origins = (whole_of(number, shape),)
            self.sources.setdefault(number, []).append(node.index)
            if not isinstance(original, nn.Parameter):
                self.buffers.add(number)
        self._bind(stand_in, Value(node.index, origins))

    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Open a span at the first tensor that goes in."""
        span = Span(path, len(self.nodes), next(iter(self._known_nodes(args)), -1))
        self._open.append(span)
        self._running.append(module)
        self.spans.append(span)

    def leave(self, path: str, module: nn.Module, result: object) -> None:  # noqa: ARG002
        """Close the innermost span."""
        span = self._open.pop()
        self._running.pop()
        span.stop = len(self.nodes)
        span.gives = tuple({*self._known_nodes(result)})
        if isinstance(module, ParametrizationList) and isinstance(result, Tensor):
            originals = (*module.parameters(recurse=False), *module.buffers(recurse=False))
            for number in {self._params[id(t)] for t in originals if id(t) in self._params}:
                self._settle(result, number)

    def call(self, call: Call) -> None:
        """Add a node, read its uses of parameters, and follow the origins through it."""
        tensors = tensors_of(call.args, call.kwargs)
        for owner in self._running[-1:]:
            for number, attribute in self._hooked.get(id(owner), ()):
                if any(vars(owner).get(attribute) is tensor for tensor in tensors):
                    self._settle(vars(owner)[attribute], number)
        values = tuple(self.value(tensor) for tensor in tensors)
        results = list(tensors_in(call.result)) or (tensors[:1] if call.inplace else [])
        given = values[:1] if call.function in LIKE else values
        live = any(self.nodes[value.node].live for value in given)
        live = live and role_of(call.function) != "source"  # zeros_like(x) isn't a signal
        node = self._add_node(call.function, call.path, values, next(iter(results), None), live)
        if call.function == "getitem" and len(tensors) > 1:
            node.role = "pick"  # by a tensor of indices, not by numbers and slices
        elif call.function in ("max", "min") and len(tensors) > 1:
            if not any(value.params for value in values):
                node.role = "pointwise"  # of two tensors, not along an axis
        elif call.function in ("add", "sub", "mul", "div", "pow", "rdiv"):
            node.number = number_among(call)
            if call.kwargs.get("alpha", 1) != 1:
                node.label = "alpha"  # times the second operand
        elif node.role == "attention":
            node.number = number_of(call.kwargs.get("scale"))
        elif self._is_relu(node, call):
            node.role, node.label = "activation", "relu"
        elif node.role == "activation":
            node.label = activation_call(call.function, call.args[1:], call.kwargs)
        elif node.role == "contract":
            node.number = number_of(call.kwargs.get("alpha"))
        if node.role in ("pick", "join") and len(node.signals) > 1:
            node.signals = numbers_among(node, tensors)
        if len(node.signals) == 1 and node.number is None:
            node.square = constant_square(call, tensors, values)
        self._note_linear(node, call, tensors, values)
        node.tally = self._tally(node)
        node.uses = uses_of(self, node, call, tensors, values)
        node.weights = [use for use in node.uses if use.role == "contract"]
        if node.role == "contract" and node.live and not node.weights:
            node.labels = labels_of(call, tensors)
        layer = call.function.startswith(("linear", "conv"))
        if layer and any(use.param in self._trained for use in node.weights):
            node.live = True  # a learned token that went through a layer is a signal
        memory = set(map(storage_key, tensors))
        for result in results:
            self._follow(node, call, result, tensors, values, memory)
        made = [self._values[result] for result in results]
        pairs = zip(tensors, values, strict=True)
        alive = [self.nodes[v.node].live and not v.params and is_number(t) for t, v in pairs]
        self.recorder.call(node, call, tensors, values, results, made, alive)

    def _note_linear(
        self, node: Node, call: Call, tensors: list[Tensor], values: tuple[Value, ...]
    ) -> None:
        if node.signals and is_followed(node):
            makers = [self.nodes[v.node] for v in values]
            node.linear = linear_in(node, call, tensors, makers, self._held, self._is_buffer)
        base = self._bases.get(storage_key(tensors[0])) if call.inplace and tensors else None
        if node.live and base is not None:
            note_write(node, call, tensors, self.nodes[base.node], base.layout)

    # Looking things up.

    def _held(self, tensor: Tensor) -> Tensor | None:
        """Return what a parameter or buffer holds, as it is stored."""
        value = self.value(tensor)
        stored = self.nodes[value.node].role == "source" and value.params
        return self.held.get(value.params[0].param or 0) if stored else None

    def _is_buffer(self, tensor: Tensor) -> bool:
        params = self.value(tensor).params
        return bool(params) and all(origin.param in self.buffers for origin in params)

    def value(self, tensor: Tensor) -> Value:
        """Return what is known about a tensor; an unseen one comes from nowhere."""
        value = self._values.get(tensor)
        if value is not None:
            base = self._bases.get(storage_key(tensor))
            if base is not None and base.node > value.node and not value.params:
                return Value(base.node, value.origins)  # written to since
            return value
        node = self._add_node("unseen", "", (), tensor, live=True)
        return self._bind(tensor, Value(node.index))

    def _is_relu(self, node: Node, call: Call) -> bool:
        """Whether a clamp or maximum cuts off values below 0."""
        if node.function in ("clamp", "clip", "clamp_min"):
            bounds = [*call.args[1:], *call.kwargs.values()]
            low = call.kwargs.get("min", call.args[1] if len(call.args) > 1 else None)
            one = sum(bound is not None for bound in bounds) == 1
            return one and not isinstance(low, Tensor) and low == 0
        zeros = ("zeros", "zeros_like", "new_zeros")
        return node.function == "maximum" and any(
            self.nodes[index].function in zeros for index in node.inputs
        )

    def _settle(self, tensor: Tensor, number: int) -> None:
        """Take a tensor for a parameter: it is what a parametrization makes of what is stored."""
        value = self.value(tensor)
        others = tuple(origin for origin in value.origins if origin.param != number)
        self.shapes[number] = tuple(tensor.shape)
        whole = whole_of(number, self.shapes[number])
        self._bind(tensor, Value(value.node, (whole, *others)))
        self.recorder.restart(tensor, number)

    def _tally(self, node: Node) -> str:
        if node.function in ("arange", "cumsum", "linspace"):
            return "count"
        if node.function in COMPARISONS:
            return ""
        kept = node.inputs[:1] if node.role == "pick" else node.inputs  # not by the indices
        tallies = {self.nodes[index].tally for index in kept}
        if "count" in tallies and any(self.nodes[i].tally == "ids" for i in node.inputs[1:]):
            return "ids"  # looked up in a table of integers: hashes, neighbors
        return next((tally for tally in ("ids", "count", "unknown") if tally in tallies), "")

    def _is_known(self, tensor: Tensor) -> bool:
        return self._values.get(tensor) is not None

    def _known_nodes(self, value: object) -> list[int]:
        with without_function_modes():  # the tracer need not see these questions
            return [self.value(t).node for t in tensors_in(value) if self._is_known(t)]

    def _add_node(
        self,
        function: str,
        path: str,
        operands: tuple[Value, ...],
        result: Tensor | None,
        live: bool,
    ) -> Node:
        inputs = tuple(dict.fromkeys(value.node for value in operands))
        shape = tuple(result.shape) if result is not None else ()
        given = operands[:1] if function in LIKE else operands
        signals = tuple(v for v in given if self.nodes[v.node].live and not v.params)
        role = role_of(function)
        node = Node(len(self.nodes), function, role, path, inputs, operands, shape, live, signals)
        self.nodes.append(node)
        for index in inputs:
            self.nodes[index].consumers.append(node.index)
        return node

    def _bind(self, tensor: Tensor, value: Value) -> Value:
        """Note what is known about a tensor that has memory of its own."""
        self._values[tensor] = value
        self._bases[storage_key(tensor)] = Base(value.node, layout_of(tensor), value.origins)
        return value

    # Following origins.

    def _follow(
        self,
        node: Node,
        call: Call,
        result: Tensor,
        tensors: list[Tensor],
        values: tuple[Value, ...],
        memory: set[int],
    ) -> None:
        base = self._bases.get(key) if (key := storage_key(result)) in memory else None
        if base is not None and not call.inplace:
            origins = through_view(base, result)
            if any(tensor.is_complex() != result.is_complex() for tensor in tensors[:1]):
                origins = tuple(replace(o, made=o.made or call.function) for o in origins)
        else:
            origins = self._carried(node, call, result, tensors, values)
        if base is not None and call.inplace:
            base.node = node.index
            if all(len(origin.axes) == len(base.layout[0]) for origin in origins):
                base.origins = origins
            else:  # it wrote into a row: axes of that row are none of the whole's
                base.origins = tuple(replace(o, made=call.function) for o in base.origins)
        self._values[result] = Value(node.index, origins)
        if base is None:
            self._bases[key] = Base(node.index, layout_of(result), origins)

    def _carried(
        self,
        node: Node,
        call: Call,
        result: Tensor,
        tensors: list[Tensor],
        values: tuple[Value, ...],
    ) -> tuple[Origin, ...]:
        """Return the origins of a result that has memory of its own."""
        shape = tuple(result.shape)
        if node.role == "source":
            return ()  # zeros_like(w) holds nothing of w
        if node.role == "contract" and node.live:
            return (output_of(node, shape),)
        found: dict[tuple[int | None, int], tuple[int, Origin]] = {}
        for tensor, value in zip(tensors, values, strict=True):
            for origin in value.origins:
                ends = not self._carries(node, origin) if origin.param is None else node.live
                if ends and not still_weight(node, call, tensor, origin):
                    continue
                moved = moved_by(origin, tuple(tensor.shape), shape, call, node)
                if not origin.made and is_made(node, call, tensors, values, result):
                    moved = replace(moved, made=call.function)
                key = (origin.param, origin.node)
                size, before = found.get(key, (0, None))
                if before is not None:
                    larger = moved if tensor.numel() > size else before
                    moved = replace(larger, box=union(moved.box, before.box))
                found[key] = max(size, tensor.numel()), moved
        made = [origin for _, origin in found.values()]
        params = [origin for origin in made if origin.param is not None]
        outputs = self._unmixed(node, shape, [o for o in made if o.param is None])
        return tuple([*params, *outputs][:ORIGINS_KEPT])

    def _carries(self, node: Node, origin: Origin) -> bool:
        """Whether a function's result is its operand's, axis by axis.

        For a product of activations (scores, a linear attention's state) exp and cumsum count too.
        """
        scores = not self.nodes[origin.node].weights
        along = node.role in ("softmax", "norm") and node.function not in BY_CHANNEL
        kept = node.role == "bend" or node.function == "cumsum"
        return node.role in _CARRYING or along or (scores and kept)

    def _unmixed(self, node: Node, shape: tuple[int, ...], found: list[Origin]) -> list[Origin]:
        """Return the one output that a result was made of, or the mixture as an output itself."""
        weighted = [origin for origin in found if self.nodes[origin.node].weights]
        if len(weighted) == 1:
            return weighted
        sums = node.role == "add" and len({value.node for value in node.signals}) > 1
        if node.live and (len(found) > 1 or sums):
            return [output_of(node, shape)]
        return found
