"""Functions of one signal that no list describes: a Fourier transform, differences, running sums.

What such a function makes of a signal's second moment is measured by calling it on random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from goodinit.dataflow.nodes import Node, Unlisted
from goodinit.dataflow.replay import replaying
from goodinit.dataflow.tape import replaced
from goodinit.trace import Call
from goodinit.trace.process import RandomNumbers

# A larger signal isn't drawn: a plan should take no longer for it than for a layer.
LARGEST_SIGNAL = 2**22

# Relative error of a second moment in float32.
EQUAL = 1e-3

# Listed by their roles, but not for what they make of a second moment; the last four, of complex
# numbers alone.
COMPLEX = frozenset(("real", "imag", "view_as_real", "view_as_complex"))
MEASURED = COMPLEX | {"cumsum", "tril", "triu", "fold"}


@dataclass(frozen=True, slots=True)
class _Signal:
    """Stands for the signal among the arguments."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def measured_square(call: Unlisted) -> float | None:
    """Return E[y^2] / E[x^2] of a function that is linear in its signal x; None of others."""
    random = torch.Generator().manual_seed(1)
    try:
        with replaying(), torch.no_grad():
            once, size = _on_random_numbers(call, random, 1.0)
            random.manual_seed(1)
            twice, _ = _on_random_numbers(call, random, 2.0)
    except Exception:  # whatever a function raises that a model calls on other numbers
        return None
    if not (isinstance(once, Tensor) and isinstance(twice, Tensor)):
        return None
    once, twice = once.to_dense(), twice.to_dense()
    if not (once.is_floating_point() or once.is_complex()):  # a comparison, a count
        return None
    square = float(once.abs().double().square().mean()) / size
    wrong = float((twice - 2 * once).abs().double().square().mean()) / size
    return square if math.isfinite(square) and wrong <= EQUAL**2 * square else None


def _on_random_numbers(
    call: Unlisted, random: torch.Generator, times: float
) -> tuple[object, float]:
    """Return a function's result on random numbers times a number, and their second moment."""
    squares: list[float] = []

    def drawn(item: Any) -> Any:
        if isinstance(item, Tensor):
            return item.clone()
        if not isinstance(item, _Signal):
            return item
        kind = torch.complex64 if item.dtype.is_complex else torch.float32
        signal = torch.randn(item.shape, generator=random, dtype=kind, device="cpu")
        squares.append(float(signal.abs().double().square().mean()))
        return signal * times

    args, kwargs = replaced((call.args, dict(call.kwargs)), drawn)
    numbers = RandomNumbers(torch.Generator().manual_seed(1))
    (square,) = squares
    return numbers.drawn_apart(call.name, call.function, args, kwargs), square


def is_by_constants(node: Node) -> bool:
    """Whether a call sums products of one signal with constants that no module keeps."""
    alone = node.role == "contract" and len(node.signals) == 1 < len(node.operands)
    return alone and not any(value.params for value in node.operands)


def unlisted(
    node: Node,
    call: Call,
    tensors: Sequence[Tensor],
    makers: Sequence[Node],
    held: Callable[[Tensor], Tensor | None],
) -> Unlisted | None:
    """Return what is to be kept of a call of a function that no list describes.

    The arguments are those of ``linear_in``.
    """
    listed = node.role != "other" and node.function not in MEASURED
    if listed and not is_by_constants(node):
        return None
    if call.inplace or call.func is None or len(node.signals) != 1:
        return None
    live = [t for t, maker in zip(tensors, makers, strict=True) if maker.live]
    others = [t for t, maker in zip(tensors, makers, strict=True) if not maker.live]
    known = {id(t): held(t) if t.is_meta else t.detach() for t in others}
    signal = live[0]
    if len(live) > 1 or signal.numel() > LARGEST_SIGNAL or None in map(known.get, map(id, others)):
        return None
    if not (signal.is_floating_point() or signal.is_complex()):
        return None

    def stand_in(item: Any) -> Any:
        if item is signal:
            return _Signal(tuple(signal.shape), signal.dtype)
        return known[id(item)] if isinstance(item, Tensor) else item

    args, kwargs = replaced((call.args, dict(call.kwargs)), stand_in)
    return Unlisted(call.func, call.function, args, kwargs)
