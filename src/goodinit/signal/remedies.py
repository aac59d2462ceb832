"""Remedies of findings: a line of Python to paste, where there is one.

It uses the names ``gi`` for goodinit, ``model`` and ``inputs``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from goodinit.signal.rows import Signal, SignalRow

__all__ = [
    "AROUND",
    "NORMS",
    "STANDARD",
    "draw_line",
    "freeze_line",
    "redraw_line",
    "setter_before",
    "smaller_head_line",
]

STANDARD = "gi.init_(model, 'standard', inputs=inputs)"
NORMS = "put norms or residual connections between the layers, or use relu, selu or tanh"
AROUND = "put residual connections around the layers; replace sigmoids by tanh or relu"
MOST_IN_A_LINE = 8  # parameters: a longer line is no longer read


def draw_line(schemes: Mapping[str, str]) -> str:
    """Return the line that draws parameters again.

    >>> draw_line({"0.bias": "Zeros()"})
    "gi.init_(model, {'0.bias': gi.Zeros()})"
    """
    items = ", ".join(f"{name!r}: gi.{scheme}" for name, scheme in schemes.items())
    return f"gi.init_(model, {{{items}}})"


def redraw_line(
    rows: Sequence[SignalRow],
    params: Mapping[str, Tensor],
    law: str,
    only: Sequence[str] | None = None,
) -> str:
    """Return the line that draws layers again: weights by a law, weights of norms 1, biases 0."""
    schemes: dict[str, str] = {}
    for row in rows:
        for number, name in enumerate(row.params):
            one_dim = "Ones()" if row.kind == "norm" and not number else "Zeros()"
            if only is None or name in only:
                schemes[name] = law if params[name].dim() > 1 else one_dim
    return draw_line(schemes) if 0 < len(schemes) <= MOST_IN_A_LINE else STANDARD


def setter_before(signal: Signal, row: SignalRow) -> SignalRow | None:
    """Return the nearest layer or norm with parameters before a row."""
    return _nearest(signal, row.takes, ("contract", "norm"))


def _nearest(
    signal: Signal, takes: Sequence[int], kinds: tuple[str, ...], classes: int = 0
) -> SignalRow | None:
    before = [number for number in takes if number >= 0]
    while before:
        number = max(before)
        before.remove(number)
        found = signal.rows[number]
        if found.kind in kinds and found.params and (not classes or classes in found.shape):
            return found
        before += [n for n in found.takes if n >= 0 and n not in before]
    return None


def smaller_head_line(
    signal: Signal, params: Mapping[str, Tensor], number: int, classes: int
) -> str:
    """Return the line that draws an output projection so that its logits, a row, are N(0, 1).

    If it is also the embedding, its input contains the row that was looked up: that word's logit
    is the row's squared length, std^2 width, over the input's std; ln(classes) bounds it.
    """
    head = _nearest(signal, (number,), ("contract",), classes)
    matrices = [n for n in head.params if params[n].dim() > 1] if head is not None else []
    if head is None or len(matrices) != 1:
        return "draw the output projection smaller, so that its logits are near N(0, 1)"
    taken = [signal.rows[n].forward.second for n in head.takes if n >= 0]
    width, second = params[matrices[0]].numel() / classes, max(taken, default=1.0) or 1.0
    std = 1 / math.sqrt(width * second)
    if any(row.kind == "pick" and matrices[0] in row.params for row in signal.rows):
        std = min(std, math.log(classes) / width)
    biases = {name: "Zeros()" for name in head.params if name not in matrices}
    return draw_line({matrices[0]: f"Normal({std:.3g})", **biases})


def freeze_line(names: Sequence[str]) -> str:
    """Return the line that freezes parameters."""
    if len(names) > MOST_IN_A_LINE:
        return "freeze them with requires_grad_(False), or use them"
    listed = "; ".join(f"model.get_parameter({name!r}).requires_grad_(False)" for name in names)
    return f"{listed}  # or use it"
