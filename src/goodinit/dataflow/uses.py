"""How a call uses the parameters among its arguments: which of their axes are summed over.

Whatever the layout is called, the contracted axes are the fan-in: the last axis in
``linear(x, W)``, the first in ``x @ W``, the letters that vanish in an ``einsum``, the channels
and the window in a convolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from torch import Tensor

from goodinit.dataflow.nodes import Node, Origin, Use, Value
from goodinit.dataflow.recorder import Recorder
from goodinit.trace import Call, tensors_in

SUMS_OF_SIGNALS = "the einsum also sums over an axis that it doesn't have"

# Of these the weight is the third argument; of a batch norm the fourth.
_THIRD = frozenset(("layer_norm", "native_layer_norm", "rms_norm", "group_norm"))


class Known(Protocol):
    """What a graph knows about tensors."""

    nodes: list[Node]
    shapes: dict[int, tuple[int, ...]]
    recorder: Recorder

    def value(self, tensor: Tensor) -> Value:
        """Return what is known about a tensor."""
        ...


def uses_of(
    graph: Known, node: Node, call: Call, tensors: list[Tensor], values: Sequence[Value]
) -> list[Use]:
    """Return the uses of parameters on activations in one call.

    A function of parameters alone (``W.t()``, ``1 + w``, ``g * v / norm(v)``) uses none of
    them: its result stands for them.
    """
    if not any(value.params if node.role != "contract" else value.origins for value in values):
        return []
    reader = _Reader(graph, node, call)
    name = call.function
    if name == "linear":
        reader.contract(reader.at(1, "weight"), (-1,), (0,))
        reader.add(2, "bias")
        reader.feed(0, "input")
    elif name.startswith("conv_transpose"):
        reader.convolution(transposed=True)
    elif name in ("conv1d", "conv2d", "conv3d", "deform_conv2d"):
        reader.convolution(transposed=False)
    elif name == "convolution":  # aten's, of any rank
        reader.convolution(transposed=bool(call.args[6]))
    elif name in ("matmul", "mm", "bmm", "mv", "dot", "rmatmul", "grouped_mm", "_grouped_mm"):
        first, second = (1, 0) if name == "rmatmul" else (0, 1)
        reader.product(reader.at(first, "input"), reader.at(second, "mat2", "other"))
    elif name == "inner":
        reader.inner()
    elif name == "addbmm":  # sums over the batch too
        reader.add(0, "input")
        reader.contract(reader.at(1, "batch1"), (0, 2), (1,))
        reader.contract(reader.at(2, "batch2"), (0, 1), (2,))
    elif name in ("addmm", "baddbmm", "addmv"):
        reader.add(0, "input")
        reader.product(reader.at(1, "mat1", "batch1", "mat"), reader.at(2, "mat2", "batch2", "vec"))
    elif name == "einsum":
        reader.einsum()
    elif name == "tensordot":
        reader.tensordot()
    elif name == "addcmul" and node.live:
        reader.add(0, "input")
        for position, argument in ((1, "tensor1"), (2, "tensor2")):
            reader.factor(position, argument)
    elif name == "bilinear":
        reader.bilinear()
    elif name in ("embedding", "embedding_bag"):
        index, weight = reader.at(0, "input"), reader.at(1, "weight")
        if index is not None and index.is_floating_point():  # aten's order
            index, weight = weight, index
        reader.lookup(weight, index)
    elif node.role == "pick" and not any(o.is_flat_stack() for o in values[0].params):
        reader.lookup(tensors[0], tensors[1])
    elif node.role == "norm" and node.live:
        reader.norm()
    elif name == "multi_head_attention_forward":
        reader.attention()
    elif node.live:
        reader.rest(tensors)
    return reader.uses


class _Reader:
    """Reads one call; collects uses."""

    def __init__(self, graph: Known, node: Node, call: Call) -> None:
        self.uses: list[Use] = []
        self._graph = graph
        self._node = node
        self._call = call

    def at(self, position: int, *names: str) -> Tensor | None:
        """Return a tensor argument by position or name."""
        value = self._argument(position, *names)
        return value if isinstance(value, Tensor) else None

    def _argument(self, position: int, *names: str) -> Any:
        for name in names:
            if name in self._call.kwargs:
                return self._call.kwargs[name]
        return self._call.args[position] if position < len(self._call.args) else None

    def _origins(self, tensor: Tensor | None) -> tuple[Origin, ...]:
        return () if tensor is None else self._graph.value(tensor).params

    # Roles.

    def contract(
        self,
        tensor: Tensor | None,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        batch: tuple[int, ...] = (),
        window: tuple[int, ...] = (),
        groups: int = 1,
        stride: int = 1,
        transposed: bool = False,
    ) -> None:
        self._generate(tensor, inputs, outputs, window, groups * stride, transposed)
        for origin in self._origins(tensor):
            assert tensor is not None
            over = _axes_of(origin, tensor.ndim, inputs)
            out = tuple(a for a in _axes_of(origin, tensor.ndim, outputs) if a not in over)
            kernel = _axes_of(origin, tensor.ndim, window)
            stacked = _axes_of(origin, tensor.ndim, batch)
            covered = {*over, *out, *kernel, *stacked}
            shape = self._graph.shapes[origin.param or 0]
            if not origin.made or (over and out):  # else functions have mixed its axes
                lost = (a for a, n in enumerate(shape) if n > 1 and a not in covered)
                stacked = tuple(sorted({*stacked, *lost}))
            if (
                len(shape) < 3
                and not origin.made
                and any(_length(origin, a) > 1 for a in stacked if a not in covered)
            ):
                self._note(tensor, origin, "feed")  # rows of a table, looked up
                continue
            spread = _size(tensor, window)
            fan_in = _size(tensor, inputs) * spread
            fan_out = _size(tensor, outputs) * spread
            if transposed:
                fan_in = fan_in / groups / stride
            else:
                fan_out = fan_out / groups / stride
            axes, convolution = (over, out, kernel, stacked), (groups, stride, transposed)
            param, node = origin.param or 0, self._node.index
            use = Use(param, node, "contract", origin, *axes, fan_in, fan_out, *convolution)
            layer = self._node.function.startswith(("linear", "conv"))
            if not origin.made and not self._node.live and not layer:
                use.doubt = f"{self._node.function} multiplies it by another parameter only"
            self.uses.append(self._computed(use, tensor))

    def _generate(
        self,
        tensor: Tensor | None,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        window: tuple[int, ...] = (),
        apart: int = 1,
        transposed: bool = False,
    ) -> None:
        """Note on a contraction that its result is a weight, as in a hypernetwork.

        It is in place of a layer's weight, or in a matrix of which both axes were features.
        """
        if tensor is None or tensor.ndim < 2:
            return
        layer = self._node.function.startswith(("linear", "conv"))
        for origin in self._graph.value(tensor).origins:
            if origin.param is None:
                over = {*_axes_of(origin, tensor.ndim, inputs)}
                out = [{*_axes_of(origin, tensor.ndim, (axis,))} for axis in outputs]
                if layer or any(axes and axes <= over for axes in out):  # heads lie beside rows
                    fan_in = _size(tensor, (*inputs, *window))
                    fan_out = _size(tensor, (*outputs, *window))
                    if apart > 1:  # groups and steps
                        fan_in, fan_out = (
                            (fan_in / apart, fan_out) if transposed else (fan_in, fan_out / apart)
                        )
                    made = fan_in, fan_out, origin.made, self._node.index
                    for node in self._chunks(self._graph.nodes[origin.node]):
                        node.generates = made

    def _chunks(self, node: Node) -> Iterator[Node]:
        """Yield the products that lie side by side in what a node made; else the node itself."""
        if node.role != "join" or node.weights:
            yield node
            return
        for value in node.operands:
            for origin in value.origins:
                if origin.param is None and origin.node < node.index:
                    yield from self._chunks(self._graph.nodes[origin.node])

    def convolution(self, transposed: bool) -> None:
        weight = self.at(1, "weight")
        if weight is None:
            return
        groups = self._argument(8 if self._call.function == "convolution" else 6, "groups")
        stride = self._argument(3, "stride")
        rank = weight.ndim - 2
        steps = [stride] * rank if isinstance(stride, int) else list(stride or [1])
        steps = steps * rank if len(steps) == 1 else steps
        self.contract(
            weight,
            inputs=(0,) if transposed else (1,),
            outputs=(1,) if transposed else (0,),
            window=tuple(range(2, weight.ndim)),
            groups=groups if isinstance(groups, int) else 1,
            stride=math.prod(steps),
            transposed=transposed,
        )
        self.add(2, "bias")
        self.feed(0, "input")

    def bilinear(self) -> None:
        weight = self.at(2, "weight")
        if weight is None:
            return
        self.contract(weight, (1, 2), (0,))
        for use in self.uses:  # the mean of both inputs, as of the module
            use.fan_out = weight.shape[0] * sum(weight.shape[1:]) / 2
        self.add(3, "bias")

    def product(self, left: Tensor | None, right: Tensor | None) -> None:
        """Matrix products: a parameter on either side is the weight."""
        if left is None or right is None:
            return
        a, b = self._origins(left), self._origins(right)
        if not a and not b and left.ndim > 1 and right.ndim > 1:
            self._generate(left, (-1,), (-2,))
            self._generate(right, (-2,), (-1,))
        alone = not self._node.live
        if b and (alone or not a or _matrix(b)):
            dims = (-2,) if right.ndim > 1 else (-1,)
            out = (-1,) if right.ndim > 1 else ()
            self.contract(right, dims, out, tuple(range(right.ndim - 2)))
        if a and (alone or not b or not _matrix(b)):
            out = (-2,) if left.ndim > 1 else ()
            self.contract(left, (-1,), out, tuple(range(left.ndim - 2)))
        elif a:
            self._all(left, "feed")

    def inner(self) -> None:
        """The last axes of both are summed over; a matrix of the two is the weight."""
        pair = self.at(0, "input"), self.at(1, "other")
        weights = [id(t) for t in pair if _matrix(self._origins(t))]
        for tensor in pair:
            if tensor is not None and id(tensor) in (weights[-1:] or [id(tensor)]):
                self.contract(tensor, (-1,), tuple(range(tensor.ndim - 1)))
            else:
                self._all(tensor, "feed")

    def einsum(self) -> None:
        equation = self._call.args[0] if self._call.args else None
        if not isinstance(equation, str):
            return
        operands = list(tensors_in(self._call.args[1:]))
        left, _, right = equation.replace(" ", "").partition("->")
        terms = left.split(",")
        if len(terms) != len(operands):
            return
        letters = [
            _letters(term, tensor.ndim) for term, tensor in zip(terms, operands, strict=True)
        ]
        if "->" not in equation:
            alls = [x for x in left if x.isalpha()]
            right = "..." * ("..." in left) + "".join(sorted(x for x in alls if alls.count(x) == 1))
        kept = set(_letters(right, 26)) if "..." in right else set(right)
        inner = list[tuple[Use, list[float]]]()
        for index, (term, tensor) in enumerate(zip(letters, operands, strict=True)):
            others = {x for i, t in enumerate(letters) if i != index for x in t}
            inputs = tuple(d for d, x in enumerate(term) if x not in kept)
            batch = tuple(d for d, x in enumerate(term) if x in kept and x in others)
            outputs = tuple(d for d, x in enumerate(term) if x in kept and x not in others)
            if inputs and (outputs or len(operands) == 2):
                before = len(self.uses)
                self.contract(tensor, inputs, outputs, batch)
                self._place(self.uses[before:], term, right)
                self._share(self.uses[before:], index, letters, operands, kept)
                if self._sums_signals(letters, operands, kept):
                    for use in self.uses[before:]:
                        use.doubt = SUMS_OF_SIGNALS
                alone = [d for d in inputs if self._is_inner(term[d], letters, operands)]
                inner += [(use, [tensor.shape[d] for d in alone]) for use in self.uses[before:]]
                self._stack(letters, operands, {term[d] for d in batch if d == 0})
            else:
                before = len(self.uses)
                self._all(tensor, "mul")
                for use in self.uses[before:] if inputs else ():
                    use.doubt = f"an einsum of {len(operands)} operands sums over its axes"
        if sum(bool(sizes) for _, sizes in inner) == 2:  # both sum over it, their product once
            for use, sizes in inner:
                use.fan_in /= math.prod(sizes) ** 0.5
                use.measured = use.measured or bool(sizes)

    def _sums_signals(
        self, letters: Sequence[Sequence[str]], operands: Sequence[Tensor], kept: set[str]
    ) -> bool:
        """Whether an axis is summed over that signals alone have."""
        pairs = list(zip(letters, operands, strict=True))
        own = {x for term, tensor in pairs if self._origins(tensor) for x in term}
        return any(x not in own | kept for term, _ in pairs for x in term)

    def _is_inner(
        self, letter: str, letters: Sequence[Sequence[str]], operands: Sequence[Tensor]
    ) -> bool:
        """Whether an axis is summed over that only weights have: the rank of a tensor train."""
        has = [t for term, t in zip(letters, operands, strict=True) if letter in term]
        return len(has) > 1 and all(self._origins(tensor) for tensor in has)

    def _share(
        self,
        uses: Iterable[Use],
        index: int,
        letters: Sequence[Sequence[str]],
        operands: Sequence[Tensor],
        kept: set[str],
    ) -> None:
        """Correct the fan_out of a bilinear form: the mean of its inputs, as of ``nn.Bilinear``."""
        mine = dict(zip(letters[index], operands[index].shape, strict=True))
        others = [
            math.prod(size for letter, size in mine.items() if letter not in (*term, *kept))
            for n, (term, tensor) in enumerate(zip(letters, operands, strict=True))
            if n != index and not self._origins(tensor)
        ]
        for use in uses if len(others) > 1 else ():
            use.fan_out *= sum(others) / len(others)

    def _place(self, uses: Iterable[Use], term: Sequence[str], result: str) -> None:
        """Note where in the result the output axes of a weight went."""
        for use in uses:
            use.places = tuple(
                (axis, result.index(letter))
                for letter, over in zip(term, use.origin.axes, strict=True)
                for axis in over
                if axis in use.outputs and letter in result and "..." not in result
            )

    def _stack(
        self, letters: Sequence[Sequence[str]], operands: Sequence[Tensor], batch: set[str]
    ) -> None:
        """Note on the weight before that an axis of its output picks a matrix of this one.

        Experts are stacked along the first axis; heads, which pick as well, are not.
        """
        for term, tensor in zip(letters, operands, strict=True):
            for origin in self._graph.value(tensor).origins:
                if origin.param is None:
                    self._graph.nodes[origin.node].stacked.update(
                        axis
                        for letter, over in zip(term, origin.axes, strict=True)
                        if letter in batch
                        for axis in over
                    )

    def tensordot(self) -> None:
        left, right = self.at(0, "a"), self.at(1, "b")
        dims = self._argument(2, "dims")
        if left is None or right is None:
            return
        if isinstance(dims, int):
            dims = range(left.ndim - dims, left.ndim), range(dims)
        for tensor, summed in ((left, dims[0]), (right, dims[1])):
            inputs = tuple(dim % tensor.ndim for dim in summed)
            outputs = tuple(d for d in range(tensor.ndim) if d not in inputs)
            self.contract(tensor, inputs, outputs)

    def lookup(self, table: Tensor | None, index: Tensor | None) -> None:
        counted = False
        if table is not None and index is not None:
            tally = self._graph.nodes[self._graph.value(index).node].tally
            fits = self._node.function != "embedding" or index.shape[-1:] <= table.shape[:1]
            counted = tally == "count" or (tally == "unknown" and fits)
        before = len(self.uses)
        self._all(table, "lookup", counted)
        if self._node.function == "embedding_bag" and self._argument(6, "mode") != "max":
            for use in self.uses[before:] if index is None or index.shape[1:] != (1,) else ():
                use.doubt = "rows are added up in bags, of which the number of rows isn't known"

    def norm(self) -> None:
        offset = 2 if self._call.function in _THIRD else 3
        offset = 1 if self._origins(self.at(1)) else offset  # aten's order of a batch norm
        self._all(self.at(offset, "weight"), "norm")
        self._all(self.at(offset + 1, "bias"), "norm_bias")
        self.feed(0, "input")

    def attention(self) -> None:
        """``multi_head_attention_forward`` does it all in one call; its module is known."""
        out, bias = self.at(11, "out_proj_weight"), self.at(12, "out_proj_bias")
        self.contract(out, (1,), (0,))
        self._all(bias, "add")
        done = {id(t) for t in (out, bias)}
        for tensor in tensors_in((self._call.args, dict(self._call.kwargs))):
            if id(tensor) not in done:
                self._all(tensor, "opaque")

    def add(self, position: int, name: str) -> None:
        if self._node.live:
            self._all(self.at(position, name), "add")

    def factor(self, position: int, name: str) -> None:
        self._all(self.at(position, name), "mul")

    def feed(self, position: int, name: str) -> None:
        self._all(self.at(position, name), "feed")

    def rest(self, tensors: Iterable[Tensor]) -> None:
        role = self._node.role
        role = {"pointwise": "join", "activation": "mul"}.get(role, role)  # a PReLU's slope
        unknown = role in ("other", "contract") or self._node.function == "grid_sample"
        role = role if role in ("add", "mul", "join", "opaque") else "feed"
        for tensor in tensors:
            self._all(tensor, role)
        for use in self.uses if unknown else ():
            use.doubt = f"goodinit doesn't know what {self._node.function} does with it"

    def _all(self, tensor: Tensor | None, role: str, counted: bool = False) -> None:
        for origin in self._origins(tensor):
            assert tensor is not None
            if role == "add" and self._graph.nodes[self._graph.value(tensor).node].live:
                role = "feed"  # x * p + y: what is added is a product with x
            self._note(tensor, origin, role, counted)

    def _note(self, tensor: Tensor, origin: Origin, role: str, counted: bool = False) -> Use:
        use = Use(origin.param or 0, self._node.index, role, origin, counted=counted)
        self.uses.append(self._computed(use, tensor))
        return use

    def _computed(self, use: Use, tensor: Tensor) -> Use:
        """Note where on the tape a computed weight is."""
        if use.origin.made:
            use.operand = self._graph.recorder.number(tensor, live=False)
            use.at = len(self._graph.recorder.tape.entries)
        return use


def _axes_of(origin: Origin, rank: int, dims: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({axis for dim in dims for axis in origin.axes[dim % rank]}))


def _size(tensor: Tensor, dims: Iterable[int]) -> float:
    return math.prod(tensor.shape[dim] for dim in dims)


def _length(origin: Origin, axis: int) -> int:
    start, stop = origin.box[axis]
    return stop - start


def _matrix(origins: Iterable[Origin]) -> bool:
    return any(origin.breadth(last=2) == 2 for origin in origins)


def _letters(term: str, rank: int) -> list[str]:
    """Return a term's letters, one an axis; an ellipsis stands for numbered ones.

    >>> _letters("...ij", 4)
    ['.1', '.0', 'i', 'j']
    """
    if "..." not in term:
        return list(term)
    before, _, after = term.partition("...")
    hidden = rank - len(before) - len(after)
    return [*before, *(f".{hidden - 1 - i}" for i in range(hidden)), *after]
