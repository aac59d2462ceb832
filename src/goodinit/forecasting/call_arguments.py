"""The arguments of calls that multiply by weights or look rows up, by their names."""

from __future__ import annotations

from typing import Any

from goodinit.trace.calls import Call

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
