"""Which tensors are plain memory, so that a kernel may write them behind torch's back."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.nn import Parameter
from torch.utils._device import DeviceContext

__all__ = ["bump", "is_plain"]

_C = cast("Any", torch._C)
_TYPES = (Tensor, Parameter)
_dispatch_modes, _transforms = _C._len_torch_dispatch_stack, _C._functorch.peek_interpreter_stack
_tracer, _function_modes = _C._get_tracing_state, _C._len_torch_function_stack
_dispatch_keys = _C._dispatch_keys


def is_plain(out: Tensor) -> bool:
    """Return whether the tensor has memory of its own, and nobody has to see what is written.

    That is: no subclass, no fake, meta, sparse, quantised or lazily negated tensor; no mode,
    transform, tracer or compiler at work. An inference tensor is plain in inference mode only.

    >>> is_plain(torch.empty(2)), is_plain(torch.empty(2, device="meta"))
    (True, False)
    """
    if type(out) not in _TYPES or _dispatch_modes() or _transforms() is not None or _tracer():
        return False
    if torch.compiler.is_compiling() or (_function_modes() and not _only_devices()):
        return False
    plain, inference = _CPU_KEYS if out.is_cpu else _plain_keys(out.device.type)
    keys = _dispatch_keys(out).raw_repr()
    if keys != plain and not (keys == inference and torch.is_inference_mode_enabled()):
        return False
    return out.data_ptr() != 0


def bump(out: Tensor) -> None:
    """Tell autograd that the tensor was written; an inference tensor has no version counter.

    >>> weight = torch.empty(2)
    >>> bump(weight)
    >>> weight._version
    1
    """
    if not out.is_inference():
        increment_version(out)


def _only_devices() -> bool:
    """`with torch.device(...)` and torch.set_default_device only say where new tensors go."""
    modes = (_C._get_function_stack_at(i) for i in range(_function_modes()))
    return all(isinstance(mode, DeviceContext) for mode in modes)


@cache
def _plain_keys(device: str) -> tuple[int, int]:
    """Return the dispatch keys of a plain tensor, and of one made in inference mode."""
    found: list[int] = []
    for inference in (False, True):
        with torch.inference_mode(inference):
            found.append(_C._dispatch_keys(torch.empty((), device=device)).raw_repr())
    return found[0], found[1]


_CPU_KEYS = _plain_keys("cpu")
