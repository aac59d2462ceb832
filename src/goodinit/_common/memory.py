"""Which tensors a kernel may write directly, without a call of torch."""

from __future__ import annotations

import ctypes
import os
from functools import cache

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.nn import Parameter

from goodinit._common.torch_private import (
    device_contexts_only,
    dispatch_keys,
    dispatch_modes,
    function_modes,
    transforms,
)

_TYPES = (Tensor, Parameter)


def kernel_may_write(out: Tensor) -> bool:
    """Return whether the tensor has memory of its own, and nothing has to observe the write.

    False for a subclass, for a fake, meta, sparse, quantized or lazily negated tensor, and under a
    mode, transform, tracer or compiler. An inference tensor may be written in inference mode only.

    >>> kernel_may_write(torch.empty(2)), kernel_may_write(torch.empty(2, device="meta"))
    (True, False)
    """
    if torch.compiler.is_compiling():  # asked first: a graph may break at what follows
        return False
    if type(out) not in _TYPES or dispatch_modes() or transforms():
        return False
    if function_modes() and not device_contexts_only():
        return False
    plain, inference = _CPU_KEYS if out.is_cpu else _plain_keys(out.device.type)
    keys = dispatch_keys(out)
    if keys is None:
        return False
    if keys != plain and not (keys == inference and torch.is_inference_mode_enabled()):
        return False
    return out.data_ptr() != 0


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


def without_repeats(tensor: Tensor) -> Tensor:
    """Return a view without the repeats of ``expand``: each number that is stored, once.

    >>> without_repeats(torch.ones(3, 1).expand(3, 1000)).shape
    torch.Size([3, 1])
    """
    if tensor.layout is torch.strided and tensor.numel():
        for axis, stride in enumerate(tensor.stride()):
            if not stride:
                tensor = tensor.narrow(axis, 0, 1)
    return tensor


def return_free_memory() -> None:
    """Return to the system what was freed; glibc keeps it, and small objects split it up.

    Does nothing where the C library has no such function.
    """
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@cache
def _c_library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if os.name == "posix" else None


def bump_version(out: Tensor) -> None:
    """Increment the version counter for autograd; an inference tensor has none.

    >>> weight = torch.empty(2)
    >>> bump_version(weight)
    >>> weight._version
    1
    """
    if not out.is_inference():
        increment_version(out)


@cache
def _plain_keys(device: str) -> tuple[object, object]:
    """Return the dispatch keys of a plain tensor, and of one made in inference mode."""
    found: list[object] = []
    for inference in (False, True):
        with torch.inference_mode(inference):
            found.append(dispatch_keys(torch.empty((), device=device)))
    return found[0], found[1]


_CPU_KEYS = _plain_keys("cpu")
