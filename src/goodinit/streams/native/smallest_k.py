"""Zeros where the lowest numbers of each column are, by the library."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from goodinit._common.memory import bump, is_plain
from goodinit.streams.native import library
from goodinit.streams.native.build import NAME

__all__ = ["zero_lowest"]


def zero_lowest(values: Tensor, chance: Tensor, count: int) -> bool:
    """Write 0 where ``chance`` is among the ``count`` lowest of its column, as ``lowest`` does.

    Only if both are plain memory of the CPU, the numbers one after the other: returns whether it
    was done. If not, nothing was written.

    Args:
        values: float32 [rows, columns]; neighbouring columns are neighbours in memory.
        chance: float32 [rows, columns], from 0 to 1.
        count: from 1 to the number of rows.
    """
    if library.load().fill is None or not (values.is_cpu and chance.is_cpu):
        return False
    if values.dim() != 2 or values.stride(1) != 1 or not chance.is_contiguous():
        return False
    if not (
        values.dtype == chance.dtype == torch.float32 and is_plain(values) and is_plain(chance)
    ):
        return False
    bump(values)
    where = (values.data_ptr(), values.stride(0), chance.data_ptr())
    return _function()(*where, *values.shape, count) == 0


@cache
def _function() -> ctypes._NamedFuncPointer:
    found = ctypes.CDLL(str(Path(__file__).with_name(NAME))).goodinit_zero_lowest
    number = ctypes.c_int64
    found.argtypes = [ctypes.c_void_p, number, ctypes.c_void_p, number, number, number]
    return found
