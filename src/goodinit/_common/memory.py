"""Which tensors a kernel may write directly, without a call of torch."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.nn import Parameter
from torch.utils._device import DeviceContext

__all__ = ["bump_version", "is_writable", "kernel_may_write", "overlaps", "under_transform"]

_C = cast("Any", torch._C)
_TYPES = (Tensor, Parameter)
_dispatch_modes, _transforms = _C._len_torch_dispatch_stack, _C._functorch.peek_interpreter_stack
_tracer, _function_modes = _C._get_tracing_state, _C._len_torch_function_stack
_dispatch_keys = _C._dispatch_keys


def kernel_may_write(out: Tensor) -> bool:
    """Return whether the tensor has memory of its own, and nothing has to observe the write.

    False for a subclass, for a fake, meta, sparse, quantized or lazily negated tensor, and under a
    mode, transform, tracer or compiler. An inference tensor may be written in inference mode only.

    >>> kernel_may_write(torch.empty(2)), kernel_may_write(torch.empty(2, device="meta"))
    (True, False)
    """
    if type(out) not in _TYPES or _dispatch_modes() or under_transform():
        return False
    if torch.compiler.is_compiling() or (_function_modes() and not _only_devices()):
        return False
    plain, inference = _CPU_KEYS if out.is_cpu else _plain_keys(out.device.type)
    keys = _dispatch_keys(out).raw_repr()
    if keys != plain and not (keys == inference and torch.is_inference_mode_enabled()):
        return False
    return out.data_ptr() != 0


def under_transform() -> bool:
    """Return whether a transform of torch.func or a tracer is active.

    >>> under_transform(), torch.func.vmap(lambda x: x + under_transform())(torch.zeros(2))
    (False, tensor([1., 1.]))
    """
    return _transforms() is not None or bool(_tracer())


def is_writable(out: Tensor) -> bool:
    """Return whether memory may be written: a file mapped for reading may not.

    torch doesn't know, and a write would end the process. Memory that torch allocated is
    resizable. In other memory the first and the last byte are rewritten by a system call, which
    returns an error instead. Without such a call (Windows) the answer is yes.

    >>> is_writable(torch.empty(2)), is_writable(torch.frombuffer(bytearray(8), dtype=torch.int32))
    (True, True)
    """
    if out.layout is not torch.strided or not (out.is_cpu and out.numel()):
        return True
    try:
        storage = out.untyped_storage()
        if storage.resizable() or not storage.data_ptr():
            return True
    except (RuntimeError, NotImplementedError):  # a wrapper's: it has no memory of its own
        return True
    return not hasattr(os, "readv") or _ends_are_writable(out)


def _ends_are_writable(out: Tensor) -> bool:
    span = sum((n - 1) * step for n, step in zip(out.shape, out.stride(), strict=True))
    first, last = out.data_ptr(), out.data_ptr() + (span + 1) * out.element_size() - 1
    read, write = os.pipe()
    try:
        for address in (first, last):
            byte = (ctypes.c_char * 1).from_address(address)
            os.write(write, byte.raw)
            os.readv(read, [byte])
    except OSError:
        return False
    finally:
        os.close(read)
        os.close(write)
    return True


def overlaps(out: Tensor) -> bool:
    """Return whether two elements may share memory; strides out of order count as sharing.

    >>> overlaps(torch.empty(3, 1).expand(3, 2)), overlaps(torch.empty(3, 2).t())
    (True, False)
    """
    if out.is_contiguous():
        return False
    reach = 0  # the last offset that the axes so far lead to
    for stride, size in sorted(zip(out.stride(), out.shape, strict=True)):
        if size > 1 and stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


def bump_version(out: Tensor) -> None:
    """Increment the version counter for autograd; an inference tensor has none.

    >>> weight = torch.empty(2)
    >>> bump_version(weight)
    >>> weight._version
    1
    """
    if not out.is_inference():
        increment_version(out)


def _only_devices() -> bool:
    """Return whether all modes are `torch.device` contexts, which affect new tensors only."""
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
