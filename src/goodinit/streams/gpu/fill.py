"""Fill a tensor on a GPU, if the kernel draws the right values."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import cast

import torch
from torch import Tensor

from goodinit._common.memory import bump_version, kernel_may_write
from goodinit.streams.native import library
from goodinit.streams.spec import Law, key_from_bytes, philox, values

__all__ = ["fill_box", "fill_whole"]

LEAST_CAPABILITY = (8, 0)
"""Triton no longer supports older GPUs."""

COUNT = 300
FIRST = 4 * (2**32 - 32)  # so that the counter's second word changes on the way
KEY = struct.pack("=4I", 1, 2, 3, 4)

Launch = Callable[[Tensor, bytes, Law, Sequence[int], Sequence[tuple[int, int]]], None]


def fill_box(
    out: Tensor, key: bytes, law: Law, shape: Sequence[int], box: Sequence[tuple[int, int]]
) -> bool:
    """Write the values of a box, if the tensor is plain memory of an NVIDIA GPU.

    Returns whether it was done; if not, nothing was written. The work is queued on the device's
    current stream. The first fill of a law's kind in a dtype compiles the kernel and compares
    some values with those of the specification.

    ``out`` has the box's shape and one of the dtypes; no two of its elements share memory.
    """
    if not (out.is_cuda and torch.version.hip is None and out.numel() and kernel_may_write(out)):
        return False
    launch = _load_kernel()
    if launch is None:
        return False
    if out.device.index != torch.cuda.current_device():
        with torch.cuda.device(out.device):
            return fill_box(out, key, law, shape, box)
    if not _is_trusted(launch, out.device, law.kind, out.dtype):
        return False
    bump_version(out)
    launch(out, key, law, shape, box)
    return True


def fill_whole(out: Tensor, key: bytes, law: Law) -> bool:
    """Write all values of a tensor, as ``fill_box`` does, if it is contiguous.

    So the checks of a box, which take a quarter as long as the launch, are not needed.
    """
    plain = out.is_cuda and out.dtype in library.TYPES and out.layout is torch.strided
    if not (plain and out.is_contiguous()):
        return False
    return fill_box(out, key, law, out.shape, [(0, size) for size in out.shape])


@cache
def _load_kernel() -> Launch | None:
    """Return ``kernels.launch``; None without triton, or with a warning if importing it fails."""
    if find_spec("triton") is None:
        return None
    try:
        return cast("Launch", import_module("goodinit.streams.gpu.kernels").launch)
    except Exception as error:  # whatever goes wrong in there, the CPU draws the same values
        _warn(f"triton can't be used ({error!r})")
        return None


@cache
def _is_trusted(launch: Launch, device: torch.device, kind: str, dtype: torch.dtype) -> bool:
    """Return whether a few values are right: a compiler that fuses operations changes them."""
    if torch.cuda.get_device_capability(device) < LEAST_CAPABILITY:
        return False
    return _agrees(launch, device, kind, dtype)


def _agrees(launch: Launch, device: torch.device, kind: str, dtype: torch.dtype) -> bool:
    """Return whether ``launch`` writes the values of the specification; warn if it doesn't."""
    for law in (law for law in library.GOLDEN_LAWS if law.kind == kind):
        out = torch.empty(COUNT, dtype=dtype, device=device)
        try:
            launch(out, KEY, law, (FIRST + COUNT,), ((FIRST, FIRST + COUNT),))
            drawn = out.cpu()
        except Exception as error:  # no C compiler, a driver too old, no memory, ...
            _warn(f"the kernel doesn't run on {device} ({error!r})")
            return False
        blocks = torch.arange(FIRST // 4, (FIRST + COUNT) // 4, device="cpu")
        words = philox(key_from_bytes(KEY), blocks).view(-1)
        if not torch.equal(drawn, values(law, words).to(dtype)):
            _warn(f"the kernel draws other bits on {device} in {dtype}")
            return False
    return True


def _warn(why: str) -> None:
    warnings.warn(
        f"goodinit's GPU kernel isn't used, values are drawn on the CPU and copied: {why}",
        RuntimeWarning,
        stacklevel=2,
    )
