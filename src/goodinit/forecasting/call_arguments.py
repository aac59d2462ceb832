"""The arguments of calls that multiply by weights or look rows up, by their names."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from goodinit.trace.calls import Call, tensors_in
from goodinit.trace.run import Inputs, arguments

RARE = ("max_norm", "scale_grad_by_freq", "sparse")
"""Arguments with which an embedding does more than look rows up."""

_NAMES = {
    "linear": ("input", "weight", "bias"),
    "addmm": ("input", "mat1", "mat2"),
    "matmul": ("input", "other"),
    "mm": ("input", "mat2"),
    "bmm": ("input", "mat2"),
    "baddbmm": ("input", "batch1", "batch2"),
    "embedding": (
        *("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq"),
        "sparse",
    ),
}


def arguments_by_name(call: Call) -> dict[str, Any]:
    """Return a call's arguments by name; positional ones of other functions are left out."""
    return dict(zip(_NAMES.get(call.function, ()), call.args, strict=False)) | dict(call.kwargs)


def place_of_padding(padding: int | None, ids: Tensor, rows: int) -> int | None:
    """Return where the row of the padding is among the rows that are looked up."""
    if padding is None:
        return None
    at = (ids == padding % rows).nonzero()
    return int(at[0, 0]) if len(at) else None


def device_of_inputs(inputs: Inputs) -> torch.device:
    """Return the device of the first tensor; the CPU without any."""
    return next((t.device for t in tensors_in(arguments(inputs))), torch.device("cpu"))
