"""The gradient on its way back through a network: GI108."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from goodinit.applying.lines import Untried
from goodinit.findings import Finding
from goodinit.findings.chance import layer_variance
from goodinit.findings.depth import (
    gradient_explodes_in_time,
    gradient_is_lost_or_explodes,
    gradient_severity,
)
from goodinit.signal.paths import SIGMOIDS, last_outputs
from goodinit.signal.remedies import AROUND, draw_whole, rescaled_lines, unit_scales, words_of_depth
from goodinit.signal.rows import Signal, SignalRow

TIED = 0.999  # the terms of a sum get the same gradient: equal but for rounding


@dataclass(slots=True)
class _BackwardPath:
    """The path from a layer back to the first call that has a gradient.

    Attributes:
        start, end: numbers of the rows.
        layers: number of layers on it.
        change: change of the log of the squared norm.
        variance: of that log over seeds, due to the layers' finite width.
        passed: kinds and functions on it.
    """

    start: int
    end: int
    layers: int
    change: float
    variance: float
    passed: set[str]


def find_lost_gradient(
    signal: Signal, params: Mapping[str, Tensor], outputs: Iterable[int]
) -> Iterator[Finding]:
    """Yield the path on which a gradient vanishes or explodes most, if it does.

    It is followed back from the last layer of each output, along the path that carries most of it.
    """
    rows = signal.rows
    sizes = {
        number: row.backward.second * math.prod(row.shape)
        for number, row in enumerate(rows)
        if row.backward is not None
    }
    depths = _depths(rows)
    ends = [n for n in sizes if _is_layer(rows[n])][-1:]  # such as a layer of the loss
    ends += [
        end
        for n in last_outputs(rows, outputs)
        if (end := _last_layer(n, rows, sizes, depths)) is not None
    ]
    paths = [_path_back(start, rows, sizes, depths) for start in dict.fromkeys(ends)]
    lost = [p for p in paths if gradient_is_lost_or_explodes(p.layers, p.change, p.variance)]
    if not lost:
        return
    path = max(lost, key=lambda p: abs(p.change))
    word = "vanishes" if path.change < 0 else "explodes"
    norms = path.passed & {"norm", *SIGMOIDS} and "add" not in path.passed
    yield Finding(
        "GI108",
        gradient_severity(path.change),
        f"{rows[path.start].key} to {rows[path.end].key}",
        f"the gradient {word} on its way back: its squared norm goes from {sizes[path.start]:.3g} "
        f"to {sizes[path.end]:.3g} over {path.layers} layers",
        # With residual connections it explodes because of what their branches add.
        AROUND if norms else _remedy(path, rows, params),
    )


def _remedy(
    path: _BackwardPath, rows: Sequence[SignalRow], params: Mapping[str, Tensor]
) -> Untried:
    between = rows[path.end : path.start + 1]
    each = math.exp(path.change / max(1, path.layers - 1))
    words = words_of_depth(between, path.layers)
    return draw_whole(
        words, [*unit_scales(between, params), *rescaled_lines(between, params, each)]
    )


def find_explosion_in_time(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Yield where a gradient explodes inside of one call: torch's recurrent layers are one."""
    sizes = {gradient.name: gradient.size for gradient in signal.gradients}
    uses = Counter(name for row in signal.rows for name in row.params)
    for row in signal.rows:
        if row.kind != "opaque" or row.backward is None or not row.backward.second:
            continue
        arrived = row.backward.second * math.prod(row.shape)
        steps = math.prod(row.shape) / row.width
        for name in row.params:
            square = sizes.get(name, 0.0) ** 2
            alone = params[name].dim() == 1 and uses[name] == 1
            if alone and gradient_explodes_in_time(arrived, square, steps):
                yield Finding(
                    "GI108",
                    "warning",
                    row.key,
                    f"the gradient explodes from step to step: its squared norm is {arrived:.3g} "
                    f"where it arrives, and {square:.3g} at {name}",
                    draw_whole("use gates (LSTM, GRU), or fewer steps"),
                )
                return


def _is_layer(row: SignalRow) -> bool:
    return row.kind in ("contract", "opaque") and bool(row.params)


def _depths(rows: Sequence[SignalRow]) -> list[int]:
    """Return how many layers there are before each row, itself included."""
    found: list[int] = []
    for row in rows:
        before = max((found[n] for n in row.takes if n >= 0), default=0)
        found.append(before + _is_layer(row))
    return found


def _before(row: SignalRow, sizes: Mapping[int, float], depths: Sequence[int]) -> int | None:
    """Return the row that most of a gradient goes to; of equal parts, the deeper one."""
    before = [number for number in row.takes if number in sizes]
    largest = max((sizes[number] for number in before), default=0.0)
    most = [number for number in before if sizes[number] >= TIED * largest]
    return max(most, key=depths.__getitem__, default=None)


def _last_layer(
    number: int | None, rows: Sequence[SignalRow], sizes: Mapping[int, float], depths: Sequence[int]
) -> int | None:
    while number is not None and number in sizes and not _is_layer(rows[number]):
        number = _before(rows[number], sizes, depths)
    return number if number in sizes else None


def _path_back(
    start: int, rows: Sequence[SignalRow], sizes: Mapping[int, float], depths: Sequence[int]
) -> _BackwardPath:
    number, end, variance, layers = start, start, 0.0, 0
    passed: set[str] = set()
    # Where it is 0, it vanished earlier or meets a weight of 0, which is intended.
    while number is not None and sizes[number]:
        row, end = rows[number], number
        passed |= {row.kind, row.function}
        if _is_layer(row):
            variance, layers = variance + layer_variance(row.width), layers + 1
        number = _before(row, sizes, depths)
    change = math.log(sizes[end] / sizes[start]) if sizes[start] else 0.0
    return _BackwardPath(start, end, layers, change, variance, passed)
