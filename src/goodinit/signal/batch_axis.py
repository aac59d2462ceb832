"""Which axis holds the samples: found by a second run with fewer of them, on meta."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from goodinit.errors import GoodinitError
from goodinit.trace.calls import Call, NullObserver, map_tensors, tensors_in
from goodinit.trace.run import Inputs, arguments, trace

CHANNELS = ("conv", "batch_norm", "instance_norm", "group_norm")


class Keys:
    """Names each call by its module, its function and the number of such calls before it."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def next_key(self, call: Call) -> str:
        """Return the call's key, and count the call."""
        self._counts[call.path, call.function] += 1
        number = self._counts[call.path, call.function]
        return f"{call.path}:{call.function}" + (f"#{number}" if number > 1 else "")


def floating(value: object) -> Tensor | None:
    """Return the first floating tensor of a nest that has elements and isn't sparse."""
    floats = (t for t in tensors_in(value) if t.is_floating_point() or t.is_complex())
    return next((t for t in floats if t.numel() and t.layout == torch.strided), None)


def batch_of(inputs: Inputs) -> int:
    """Return the number of samples: the size of the first axis of the first tensor."""
    return next((t.shape[0] for t in tensors_in(arguments(inputs)) if t.dim()), 1)


def untouched(inputs: Inputs) -> list[Tensor]:
    """Return the inputs that ``differentiable`` doesn't copy, and a model may write to."""
    return [t for t in tensors_in(arguments(inputs)) if not t.is_floating_point()]


def differentiable(value: Any, given: list[Tensor]) -> Any:
    """Return a nest whose floating tensors require a gradient; these are appended to a list."""

    def copy(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        given.append(tensor.detach().requires_grad_())
        return given[-1].clone()  # a model may write to its input, and can't to a leaf

    return map_tensors(value, copy)


class _Shapes(NullObserver):
    """Notes the shape of each call's result."""

    def __init__(self) -> None:
        self.keys = Keys()
        self.shapes: dict[str, tuple[int, ...]] = {}

    def call(self, call: Call) -> None:
        tensor = floating(call.result)
        if tensor is not None:
            self.shapes[self.keys.next_key(call)] = tuple(tensor.shape)


def _shapes_with_fewer(
    model: nn.Module, inputs: Inputs, batch: int, names: Mapping[int, str]
) -> Mapping[str, tuple[int, ...]]:
    """Return the shape of each call's result with one sample fewer; empty without a meta run."""
    if batch < 2:
        return {}

    def fewer(tensor: Tensor) -> Tensor:
        whole = tensor.layout != torch.strided or not tensor.dim() or tensor.shape[0] != batch
        return tensor if whole else tensor[: batch - 1]

    try:
        less = map_tensors(inputs, fewer)
        run, found = trace(model, less, _Shapes, names, meta_only=True)
    except GoodinitError:
        return {}
    return found.shapes if run.how == "meta" else {}


class FewerSamples:
    """What ``_shapes_with_fewer`` returns, found once for a model and the copies of it.

    Copies differ in their values alone, which a run on meta doesn't see.
    """

    def __init__(self) -> None:
        self._shapes: Mapping[str, tuple[int, ...]] | None = None

    def shapes(
        self, model: nn.Module, inputs: Inputs, batch: int, names: Mapping[int, str]
    ) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of each call's result with one sample fewer."""
        if self._shapes is None:
            self._shapes = _shapes_with_fewer(model, inputs, batch, names)
        return self._shapes
