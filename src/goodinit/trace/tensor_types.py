"""``x.type()``: torch's names of dtypes on devices, such as "torch.cuda.HalfTensor"."""

from __future__ import annotations

import torch
from torch import Tensor

_NAMES = {
    torch.float32: "FloatTensor",
    torch.float64: "DoubleTensor",
    torch.float16: "HalfTensor",
    torch.bfloat16: "BFloat16Tensor",
    torch.int64: "LongTensor",
    torch.int32: "IntTensor",
    torch.int16: "ShortTensor",
    torch.int8: "CharTensor",
    torch.uint8: "ByteTensor",
    torch.bool: "BoolTensor",
    torch.complex64: "ComplexFloatTensor",
    torch.complex128: "ComplexDoubleTensor",
}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


def type_text(tensor: Tensor, home: torch.device) -> str:
    """Return what ``x.type()`` says of a tensor on a device.

    >>> type_text(torch.empty(2, device="meta"), torch.device("cuda:0"))
    'torch.cuda.FloatTensor'
    """
    place = "torch" if home.type == "cpu" else f"torch.{home.type}"
    return f"{place}.{_NAMES.get(tensor.dtype, 'Tensor')}"


def dtype_of(kind: object) -> torch.dtype | None:
    """Return the dtype of what ``x.type`` takes: a dtype, a class or its name; None if unknown.

    >>> dtype_of("torch.cuda.HalfTensor"), dtype_of(torch.LongTensor)
    (torch.float16, torch.int64)
    """
    if isinstance(kind, torch.dtype):
        return kind
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    return _DTYPES.get(name.rpartition(".")[2])
