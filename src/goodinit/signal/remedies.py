"""What to do about a finding: a line of Python that can be pasted, where there is one.

Its names are ``gi`` for goodinit, ``model`` and ``inputs``, as in the call that measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from goodinit.signal.rows import Signal, SignalRow

__all__ = ["AROUND", "NORMS", "STANDARD", "draw", "frozen", "quieter", "redrawn", "setter_before"]

STANDARD = "gi.init_(model, 'standard', inputs=inputs)"
NORMS = "put norms or residual connections between the layers, or take relu, selu or tanh"
AROUND = "put residual connections around the layers; where there are sigmoids, take tanh or relu"
MOST = 8  # parameters in a line


def draw(schemes: Mapping[str, str]) -> str:
    """Return the line that draws parameters anew.

    >>> draw({"0.bias": "Zeros()"})
    "gi.init_(model, {'0.bias': gi.Zeros()})"
    """
    items = ", ".join(f"{name!r}: gi.{scheme}" for name, scheme in schemes.items())
    return f"gi.init_(model, {{{items}}})"


def redrawn(
    rows: Sequence[SignalRow],
    params: Mapping[str, Tensor],
    law: str,
    only: Sequence[str] | None = None,
) -> str:
    """Return the line that draws layers anew: weights by a law, norms' 1, biases 0."""
    schemes: dict[str, str] = {}
    for row in rows:
        for number, name in enumerate(row.params):
            one_dim = "Ones()" if row.kind == "norm" and not number else "Zeros()"
            if only is None or name in only:
                schemes[name] = law if params[name].dim() > 1 else one_dim
    return draw(schemes) if 0 < len(schemes) <= MOST else STANDARD


def setter_before(signal: Signal, row: SignalRow) -> SignalRow | None:
    """Return the nearest layer or norm with parameters, of those a row's numbers came from."""
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


def quieter(signal: Signal, params: Mapping[str, Tensor], number: int, classes: int) -> str:
    """Return the line that draws an output projection so that its logits, a row, are N(0, 1).

    One that is the embedding as well meets in its input the very row that was looked up: its
    length squared, std^2 width, over the input's std is that word's logit, which ln(classes)
    bounds.
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
    return draw({matrices[0]: f"Normal({std:.3g})", **biases})


def frozen(names: Sequence[str]) -> str:
    """Return the line that freezes parameters."""
    if len(names) > MOST:
        return "freeze them with requires_grad_(False), or use them"
    listed = "; ".join(f"model.get_parameter({name!r}).requires_grad_(False)" for name in names)
    return f"{listed}  # or use it"
