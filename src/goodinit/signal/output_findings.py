"""Outputs that a last weight of N(0, 1) makes too wide: GI112."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from goodinit._common.memory import without_repeats
from goodinit._common.text import several
from goodinit.applying.lines import untried
from goodinit.findings import Finding
from goodinit.findings.logits import outputs_are_too_wide
from goodinit.findings.units import values_are_saturated
from goodinit.schemes import LeCunNormal
from goodinit.signal.paths import SIGMOIDS, last_outputs
from goodinit.signal.remedies import redraw, rescaled_lines
from goodinit.signal.rows import Signal, SignalRow

# What an output passes after its last product, one signal in and one out.
AFTER_LOGITS = frozenset(("view", "cast", "softmax"))
TABLES = frozenset(("pick", "contract"))  # what makes the two factors of a score
SMALLER = "draw it smaller, so that the outputs are near N(0, 1)"


def find_wide_outputs(
    signal: Signal, params: Mapping[str, Tensor], outputs: set[int], taken: float
) -> Iterator[Finding]:
    """Yield the output that a last product with weights drawn too large makes.

    ``outputs`` are the numbers of the rows that the model returned, and ``taken`` is the second
    moment of the inputs.
    """
    if signal.first_loss is not None:  # GI110 judges the logits by the loss
        return
    rows = signal.rows
    for number in last_outputs(rows, outputs):
        last = _last_product(rows, number, params)
        if last is None:
            continue
        row, makers, before = last
        sizes = [rows[n].forward.second if n >= 0 else taken for n in before]
        of_product = math.prod(sizes) ** (1 / len(makers)) if sizes else 0.0
        names = [n for maker in makers for n in maker.params if params[n].dim() > 1]
        std = min((_size(params[name]) for name in names), default=0.0)
        second = row.forward.second
        if outputs_are_too_wide(second, of_product, std):
            own = redraw(makers, params, LeCunNormal(), SMALLER).lines if len(makers) == 1 else ()
            lines = rescaled_lines(makers, params, second ** (1 / len(makers)))
            cause = (
                f"weights of std {std:.3g} make an output {math.sqrt(second):.3g} wide, from "
                f"numbers of size {math.sqrt(of_product):.3g}"
            )
            remedy = untried(SMALLER, [*own, *lines])
            yield Finding("GI112", "warning", several(dict.fromkeys(names)), cause, remedy)
            return


def _last_product(
    rows: Sequence[SignalRow], number: int, params: Mapping[str, Tensor]
) -> tuple[SignalRow, list[SignalRow], tuple[int, ...]] | None:
    """Return the last product of an output, the layers whose weights made it, and what they took.

    A layer's product with its input, or that of two signals, such as the rows of two tables. One
    number for each row, as a user's bias, may be added.
    """
    row = rows[number]
    while row.kind in AFTER_LOGITS or row.function in SIGMOIDS or row.kind == "add":
        takes = {n for n in row.takes if row.kind != "add" or not _is_number(rows, n, params)}
        saturated = row.function in SIGMOIDS and values_are_saturated(row.forward.idle or 0.0)
        if len(takes) != 1 or min(takes) < 0 or saturated:  # that is GI107
            return None
        row = rows[takes.pop()]
    if row.kind == "contract" and row.params:
        return row, [row], row.takes
    product = row
    if row.function == "sum" and len(row.takes) == 1 and row.takes[0] >= 0:
        product = rows[row.takes[0]]
        over_features = row.shape in (product.shape[:-1], (*product.shape[:-1], 1))
        if product.kind != "mul" or not over_features:
            return None
    if product.kind not in ("contract", "mul") or (product is row and row.kind == "mul"):
        return None
    if product.params or len(product.takes) != 2 or min(product.takes) < 0:
        return None
    makers = [_maker(rows, n) for n in product.takes]
    found = [maker for maker in makers if maker is not None]
    return (row, found, product.takes) if len(found) == 2 else None


def _maker(rows: Sequence[SignalRow], number: int) -> SignalRow | None:
    row = rows[number]
    while row.kind in ("view", "cast") and len(set(row.takes)) == 1 and row.takes[0] >= 0:
        row = rows[row.takes[0]]
    return row if row.kind in TABLES and row.params else None


def _is_number(rows: Sequence[SignalRow], number: int, params: Mapping[str, Tensor]) -> bool:
    """Return whether rows of one number were looked up."""
    row = _maker(rows, number) if number >= 0 else None
    return row is not None and row.kind == "pick" and params[row.params[0]].shape[-1] == 1


def _size(weight: Tensor) -> float:
    """Return the root mean square of a weight's numbers."""
    values = without_repeats(weight.detach())
    return math.sqrt(values.abs().double().square().mean().item()) if values.numel() else 0.0
