"""Which axis holds the samples: found by a second run with fewer of them, on meta."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from goodinit.errors import GoodinitError
from goodinit.trace.calls import Call, NullObserver, tensors_in
from goodinit.trace.run import Inputs, arguments, trace

__all__ = ["Keys", "batch_of", "differentiable", "floating", "shapes_with_fewer", "untouched"]

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
    for tensor in tensors_in(value):
        if not (tensor.is_floating_point() or tensor.is_complex()) or not tensor.numel():
            continue
        if tensor.layout == torch.strided:
            return tensor
    return None


def batch_of(inputs: Inputs) -> int:
    """Return the number of samples: the size of the first axis of the first tensor."""
    for tensor in tensors_in(arguments(inputs)):
        if tensor.dim():
            return tensor.shape[0]
    return 1


def untouched(inputs: Inputs) -> list[Tensor]:
    """Return the inputs that ``differentiable`` doesn't copy, and a model may write to."""
    return [t for t in tensors_in(arguments(inputs)) if not t.is_floating_point()]


def differentiable(value: Any, given: list[Tensor]) -> Any:
    """Return a nest whose floating tensors require a gradient; these are appended to a list."""
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            return value
        given.append(value.detach().requires_grad_())
        return given[-1].clone()  # a model may write to its input, and can't to a leaf
    if isinstance(value, Mapping):
        named = cast("Mapping[str, object]", value)
        return {key: differentiable(item, given) for key, item in named.items()}
    if type(value) in (tuple, list):
        return type(value)(differentiable(item, given) for item in value)
    return value


class _Shapes(NullObserver):
    """Notes the shape of each call's result."""

    def __init__(self) -> None:
        self.keys = Keys()
        self.shapes: dict[str, tuple[int, ...]] = {}

    def call(self, call: Call) -> None:
        tensor = floating(call.result)
        if tensor is not None:
            self.shapes[self.keys.next_key(call)] = tuple(tensor.shape)


def shapes_with_fewer(
    model: nn.Module, inputs: Inputs, batch: int, names: Mapping[int, str]
) -> Mapping[str, tuple[int, ...]]:
    """Return the shape of each call's result with one sample fewer; empty without a meta run."""
    if batch < 2:
        return {}

    def fewer(value: Any) -> Any:
        if isinstance(value, Tensor):
            whole = value.layout != torch.strided or not value.dim() or value.shape[0] != batch
            return value if whole else value[: batch - 1]
        if isinstance(value, Mapping):
            return {key: fewer(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        if type(value) in (tuple, list):
            return type(value)(fewer(item) for item in value)
        return value

    try:
        run, found = trace(model, fewer(inputs), _Shapes, names, meta_only=True)
    except GoodinitError:
        return {}
    return found.shapes if run.how == "meta" else {}
