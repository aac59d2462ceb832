"""Results on meta that are known: equal layers call the same functions on the same shapes.

torch works out the shape of a product on meta in Python, which takes longer than anything else of
a trace. What a function of numbers alone returns there depends on shapes, strides and dtypes, and
is asked for once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from goodinit._common.torch_private import storage_key, transforms

# Functions of their arguments that return new memory; no state, no random numbers.
_PURE = frozenset(
    "mul add sub rsub div pow neg abs square exp log sqrt rsqrt reciprocal maximum minimum clamp "
    "relu silu gelu sigmoid tanh softplus softmax log_softmax mean sum matmul bmm mm rms_norm "
    "layer_norm cos sin".split()
)
_NUMBERS = frozenset((int, float, bool, str, type(None), torch.dtype))
MOST = 4096  # results that are kept; more differ only in a model that never repeats itself

_Shape = tuple[torch.Size, tuple[int, ...], torch.dtype]


class KnownResults:
    """The shapes, strides and dtypes of results, by function and arguments."""

    def __init__(self) -> None:
        self._known: dict[object, _Shape] = {}

    def result(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[object, Tensor | None]:
        """Return the key of a call and its result; None for either that isn't known."""
        if name not in _PURE or not _is_torchs(func) or torch.is_grad_enabled():
            return None, None
        key = _key(func, args, kwargs)
        known = self._known.get(key) if key is not None else None
        if known is None:
            return key, None
        shape, strides, dtype = known
        return key, torch.empty_strided(shape, strides, dtype=dtype, device="meta")

    def note(self, key: object, result: object, given: list[Tensor]) -> None:
        """Remember the result of a call, unless it is or shares what went in."""
        if key is None or type(result) is not Tensor or not _is_plain(result):
            return
        memory = storage_key(result)
        if len(self._known) < MOST and all(storage_key(tensor) != memory for tensor in given):
            self._known[key] = result.shape, result.stride(), result.dtype


def _is_torchs(func: Callable[..., Any]) -> bool:
    module = getattr(func, "__module__", None) or "torch"  # methods of Tensor have none
    return module.partition(".")[0] == "torch"


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.is_meta
        and tensor.layout is torch.strided
        and not tensor.is_conj()
        and not tensor.is_neg()
    )


def _key(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> object:
    """Return what a result depends on; None if something else may matter."""
    if transforms() or torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
        return None
    facts: list[object] = [func, torch.get_default_dtype(), len(args), *kwargs]
    some = False
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            if not _is_plain(value):
                return None
            some = True
            facts += (value.shape, value.stride(), value.dtype)
        elif type(value) in _NUMBERS:
            facts += (type(value), value)
        elif isinstance(value, tuple) and all(type(n) is int for n in cast("Any", value)):
            facts.append(cast("tuple[int, ...]", value))
        else:
            return None
    return tuple(facts) if some else None
