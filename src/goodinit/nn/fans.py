"""torch's fans, read off a weight's shape; ``goodinit.schemes.fans`` has the true ones."""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor

from goodinit.errors import FanError, SchemeError
from goodinit.nn.refusals import InitTypeError

__all__ = ["calculate_correct_fan", "calculate_fan_in_and_fan_out"]

MODES = ["fan_in", "fan_out"]


def calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """Return torch's fans of a weight: size(1) * window and size(0) * window.

    They hold for ``Linear`` and for plain convolutions of stride 1. They are wrong for transposed,
    grouped and strided convolutions, packed projections and stacks of experts;
    ``goodinit.schemes.Layout.fans`` gives the true ones, and ``goodinit.plan`` shows them.

    Args:
        tensor: of two dimensions or more, [out, in, *window].

    Raises:
        FanError: a ValueError: the tensor has fewer than two dimensions.

    Example:
        >>> import torch
        >>> calculate_fan_in_and_fan_out(torch.empty(64, 16, 3, 3))
        (144, 576)
        >>> calculate_fan_in_and_fan_out(torch.empty(64, 128, 4, 4))  # ConvTranspose2d(64, 128, 4)
        (2048, 1024)
    """
    if tensor.dim() < 2:
        raise FanError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions: it "
            f"has the shape {tuple(tensor.shape)}. Use zeros_, constant_, uniform_ or normal_ for "
            "a bias or a scale"
        )
    window = math.prod(tensor.shape[2:])
    return tensor.size(1) * window, tensor.size(0) * window


def calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    """Return the fan that a mode asks for, torch's number.

    Args:
        tensor: of two dimensions or more.
        mode: ``"fan_in"`` or ``"fan_out"``, in any case.

    Raises:
        SchemeError: a ValueError: another mode.
        FanError: a ValueError: the tensor has fewer than two dimensions.

    Example:
        >>> import torch
        >>> calculate_correct_fan(torch.empty(64, 16, 3, 3), "fan_out")
        576
    """
    given = cast("object", mode)
    if not isinstance(given, str):
        raise InitTypeError(f"mode is {given!r}, not a text: pass 'fan_in' or 'fan_out'")
    mode = given.lower()
    if mode not in MODES:
        also = "; for their mean use the xavier functions" if mode == "fan_avg" else ""
        raise SchemeError(f"Mode {mode} not supported, please use one of {MODES}{also}")
    return calculate_fan_in_and_fan_out(tensor)[MODES.index(mode)]
