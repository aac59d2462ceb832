"""`GradientRun`: a run whose backward pass brings gradients to their aims."""

# Methods that an observer has are documented in trace.calls.
# ruff: noqa: D102

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from goodinit._common.by_tensor import ByTensor
from goodinit._common.torch_private import saves_by_hooks
from goodinit.dataflow.functions import ADD_FIRST, role_of
from goodinit.errors import SignalError
from goodinit.signal.aims import SQUASHED
from goodinit.signal.rescaling import (
    LOOKED_UP,
    Given,
    RescaledRun,
    Use,
    second_moment,
    steady,
)
from goodinit.trace.calls import Call, HookError, map_tensors, observing_hook, tensors_in


@dataclass(frozen=True, slots=True)
class _Node:
    """A call that depends on the inputs: what it took, by number, and what it passes back.

    Attributes:
        takes: numbers of the calls whose results carry the signal into this one.
        share: of the gradient: what a weight that ends a residual branch is to pass on.
        function: its name.
    """

    takes: tuple[int, ...]
    share: float
    function: str


class _Tap(torch.autograd.Function):
    """Passes a tensor on; in the backward pass, a function of the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, back: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.back = back
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        try:
            return ctx.back(gradients[0]), None
        except Exception as error:  # ours, not the model's
            raise HookError from error


@dataclass(slots=True)
class GradientRun(RescaledRun):
    """Runs a model so that its backward pass can be brought to its aims in flight.

    The gradient that a weight passes back to its input has the second moment of the gradient at
    the last weight's output, and past the end of a residual branch the branch's share of it. What
    reaches the output only through a softmax or a gate has no such aim.

    Attributes:
        aimed: of each weight, the second moments aimed at, as shares of the last one's.
        leaves: where gradients are to arrive, apart from parameters.
        graph: the first node of each call, from which torch would free the graph by deep recursion.
    """

    aimed: dict[str, list[float]] = field(default_factory=dict[str, list[float]], init=False)
    leaves: list[Tensor] = field(default_factory=list[Tensor], init=False)
    graph: list[object] = field(default_factory=list[object], init=False)
    _nodes: list[_Node] = field(default_factory=list[_Node], init=False)
    _levels: list[float] = field(default_factory=list[float], init=False)
    _numbers: ByTensor[int] = field(default_factory=ByTensor[int], init=False)
    _share: float = field(default=1.0, init=False)
    _last: float = field(default=0.0, init=False)

    def call(self, call: Call) -> None:
        share, self._share = self._share, 1.0
        takes = tuple(dict.fromkeys(self._carriers(call)))
        results = [t for t in tensors_in(call.result) if t.is_floating_point()]
        if not results and call.inplace:
            results = [t for t in call.args[:1] if isinstance(t, Tensor)]
        if not results or not any(self._is_signal(t) for t in results):
            return
        for tensor in results:
            self._numbers[tensor] = len(self._nodes)
            if tensor.grad_fn is not None:
                self.graph.append(tensor.grad_fn)
        self._nodes.append(_Node(takes, share, call.function))

    def returned(self, output: object) -> None:
        """Follow the gradient back from what the model returned, before there is one."""
        self._levels = [0.0] * len(self._nodes)
        for tensor in tensors_in(output):
            if (number := self._numbers.get(tensor)) is not None:
                self._levels[number] = 1.0
        for number in reversed(range(len(self._nodes))):
            node = self._nodes[number]
            for taken in node.takes:
                level = self._levels[number] * node.share
                self._levels[taken] = max(self._levels[taken], level)

    def release(self) -> None:
        """Free the graph, the last call first."""
        self.leaves.clear()
        while self.graph:
            self.graph.pop()

    def _calibrated(
        self,
        func: Callable[..., Any],
        call: Call,
        given: Given,
        name: str,
        result: Tensor,
    ) -> Tensor:
        if call.function in LOOKED_UP or not result.is_floating_point():
            return result
        if saves_by_hooks():
            raise SignalError(
                "inside of a checkpoint the model runs again in the backward pass, unobserved: "
                "gradient checkpointing must be off"
            )
        self._share = share = self.aims.shares[name]
        number = len(self._nodes)
        taps: dict[int, Tensor] = {}
        added = given[0][0] if call.function in ADD_FIRST and given[0] else None
        for tensor in tensors_in(given):
            if tensor is not added and self._is_signal(tensor) and tensor.is_floating_point():
                alias = tensor
                if not tensor.requires_grad:
                    alias = tensor.detach().requires_grad_()
                    self.leaves.append(alias)
                back = partial(self._bring_back, name, number, share)
                taps[id(tensor)] = cast("Tensor", _Tap.apply(alias, back))
        args, kwargs = map_tensors(given, lambda t: taps.get(id(t), t))
        result = cast("Tensor", func(*args, **kwargs))
        if result.requires_grad:
            hook = observing_hook(partial(self._note_arrival, number))
            result.register_hook(hook)  # pyright: ignore[reportUnknownMemberType]
        return result

    def _attention(
        self,
        func: Callable[..., Any],  # noqa: ARG002
        call: Call,  # noqa: ARG002
        given: Given,  # noqa: ARG002
        result: object,
    ) -> object:
        return result  # the gradients inside can't be observed

    def _note_arrival(self, number: int, gradient: Tensor | None) -> None:
        """Take the gradient at the last weight's output for the measure of all others."""
        level = self._levels[number]
        if gradient is not None and not self._last and level:
            self._last = second_moment(gradient) / level

    def _bring_back(self, name: str, number: int, share: float, gradient: Tensor) -> Tensor:
        level = self._levels[number] * share
        if not level or not self._last:
            return gradient
        second = second_moment(gradient) / self._last
        factor = steady(math.sqrt(level / second)) if 0 < second < math.inf else 1.0
        self.uses[name].append(Use(second, factor))
        self.aimed.setdefault(name, []).append(level)
        return gradient * factor if name in self.moved and factor != 1 else gradient

    def _carriers(self, call: Call) -> Iterator[int]:
        """Yield the numbers of the operands whose gradients are as large as the result's.

        Not what goes through a softmax, nor gates, nor attention's queries and keys.
        """
        role = role_of(call.function)
        if role == "softmax":
            return
        taken = call.tensors
        if role == "attention":
            taken = taken[2:3]
        for tensor in taken:
            number = self._numbers.get(tensor)
            if number is None:
                continue
            if role == "mul" and len(taken) > 1 and self._nodes[number].function in SQUASHED:
                continue
            yield number
