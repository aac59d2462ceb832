"""`Recorder`: chooses which calls of a run go on the tape."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from goodinit._common.by_tensor import ByTensor
from goodinit._common.torch_private import transforms
from goodinit.dataflow.nodes import Node, Value
from goodinit.dataflow.tape import Source, Tape
from goodinit.trace import Call

# What follows a product is kept until one of these: what comes out isn't linear in it.
_ENDS = frozenset("activation bend norm softmax attention choose opaque".split())

# Calls that make signals of signals; norms end what is asked of these.
_OF_SIGNALS = frozenset(
    "view cast pointwise activation bend add mul contract softmax pool reduce join choose other "
    "pick".split()
)


_Made = tuple[Node, Call, Sequence[Tensor]]
"""A call that makes a tensor, or writes to it, with its tensor arguments."""


class Recorder:
    """Keeps the calls that compute weights, and those after products whose sums aren't known.

    Attributes:
        tape: what was kept.
        signals: node of a call that makes a signal of signals -> its entry on the tape.
        taken: node of a product with a weight -> number of its input on the tape.
    """

    def __init__(self) -> None:
        self.tape = Tape()
        self.signals: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self._buffers = set[int]()
        self._leaves = ByTensor[Source]()
        self._blank = ByTensor[list[_Made]]()

    def source(
        self,
        tensor: Tensor,
        param: int | None,
        held: Tensor | None,
        recorded: Tensor | None = None,
    ) -> None:
        """Note where a tensor comes from: a parameter, or a constant that is to be written to.

        Args:
            tensor: as the model's functions see it.
            param: number of the parameter.
            held: the tensor that has its values.
            recorded: these values, if that tensor is on meta and they are known.
        """
        value = held if held is not None and not held.is_meta else recorded
        kept = held is not None and not held.requires_grad
        if not isinstance(held, nn.Parameter) and param is not None:
            self._buffers.add(param)
            param = None  # a buffer is a constant
        self._leaves[tensor] = Source(
            tuple(tensor.shape),
            tensor.dtype,
            param,
            kept=kept,
            value=None if value is None else value.detach(),
        )

    def restart(self, tensor: Tensor, param: int) -> None:
        """Take a tensor for a parameter, whatever it was made of."""
        self.tape.add_source(tensor, Source(tuple(tensor.shape), tensor.dtype, param))

    def call(
        self,
        node: Node,
        call: Call,
        tensors: Sequence[Tensor],
        values: Sequence[Value],
        results: Sequence[Tensor],
        made: Sequence[Value],
        alive: Sequence[bool],
    ) -> None:
        """Keep a call if it computes a weight, or follows a product."""
        if not results:
            return
        weights = any(value.params for value in values)
        products = any(value.product for value in values)
        blank = self._blank.get(results[0])
        if call.inplace and not (weights or products) and blank is not None:
            blank.append((node, call, tensors))  # empty_like(x).uniform_()
            return
        constant = not (weights or products or node.live)
        random = constant and any(self._blank.get(t) is not None for t in tensors)
        if (random or node.role == "source") and results[0].is_meta:
            self._blank[results[0]] = [(node, call, tensors)]
            return
        if not (weights or products):
            if node.live:
                aside = not results[0].is_complex()
                self._keep_signal(node, call, tensors, alive, results, aside)
            return
        if not node.live or any(value.params for value in made):
            self._take(node, tensors, alive)
            self._keep(node, call, tensors, alive, results)
        elif _sums_unseen(node):
            self._take(node, tensors, alive)
            self._keep(node, call, tensors, alive, results, live=True, meets=True)
            self._mark(made)
            for use in node.uses:
                use.met = len(self.tape.entries) - 1
            self._note_signal(node)
        elif (
            not any(v.params and is_number(t) for v, t in zip(values, tensors, strict=True))
            and node.role not in _ENDS
            and _only_products(node.role, values, alive)
        ):
            self._keep(node, call, tensors, alive, results, live=True)
            self._mark(made)
            self._note_signal(node)
        else:
            self._keep_signal(node, call, tensors, alive, results)

    def _keep_signal(
        self,
        node: Node,
        call: Call,
        tensors: Sequence[Tensor],
        alive: Sequence[bool],
        results: Sequence[Tensor],
        aside: bool = True,
    ) -> None:
        """Keep a call that makes a signal of signals; of a product with a weight, its input."""
        if any(use.param not in self._buffers for use in node.weights):
            self._take(node, tensors, alive)
        elif node.role in _OF_SIGNALS or node.function == "normalize":
            self._keep(node, call, tensors, alive, results, live=True, aside=aside)
            self._note_signal(node)

    def _take(self, node: Node, tensors: Sequence[Tensor], alive: Sequence[bool]) -> None:
        signal = next((t for t, lives in zip(tensors, alive, strict=True) if lives), None)
        if signal is not None:
            self.taken[node.index] = self.number(signal, live=True)

    def _note_signal(self, node: Node) -> None:
        self.signals[node.index] = len(self.tape.entries) - 1

    def number(self, tensor: Tensor, live: bool) -> int:
        """Return the number of a tensor on the tape; it gets one if it has none."""
        number = self.tape.number(tensor)
        if number is not None:
            return number
        leaf, blank = self._leaves.get(tensor), self._blank.pop(tensor)
        if leaf is not None:
            return self.tape.add_source(tensor, leaf)
        if blank is not None:
            for node, call, tensors in blank:
                self._keep(node, call, tensors, [True] * len(tensors), [tensor])
            return self.number(tensor, live)
        # A tensor of a vmap can't be read once that has ended.
        value = None if tensor.is_meta or live or transforms() else tensor.detach()
        known = Source(tuple(tensor.shape), tensor.dtype, live=live, value=value)
        return self.tape.add_source(tensor, known)

    def _keep(
        self,
        node: Node,
        call: Call,
        tensors: Sequence[Tensor],
        alive: Sequence[bool],
        results: Sequence[Tensor],
        live: bool = False,
        meets: bool = False,
        aside: bool = False,
    ) -> None:
        for tensor, lives in zip(tensors, alive, strict=True):
            self.number(tensor, lives)
        self.tape.add(call, node.role, tensors, results, live=live, meets=meets, aside=aside)

    @staticmethod
    def _mark(made: Sequence[Value]) -> None:
        for value in made:
            value.product = True


def is_number(tensor: Tensor) -> bool:
    """Whether a tensor holds numbers, not indices or a mask."""
    return tensor.is_floating_point() or tensor.is_complex()


def _only_products(role: str, values: Sequence[Value], alive: Sequence[bool]) -> bool:
    """Whether all activations that go into a call follow a product, or of a sum one does."""
    if role == "add":
        return any(value.product for value in values)
    return all(value.product for value, lives in zip(values, alive, strict=True) if lives)


def _sums_unseen(node: Node) -> bool:
    """Whether a parameter meets the data in a call that isn't a known sum of products."""
    if node.role in _ENDS - {"activation", "bend"}:
        return False
    return any(use.role == "mul" or (use.role == "feed" and not node.weights) for use in node.uses)
