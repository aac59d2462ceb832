"""The size of the signal over depth: GI102, GI103, and GI135, whose cause is the activations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from goodinit.applying.lines import Untried, untried
from goodinit.findings import Finding
from goodinit.findings.depth import (
    has_depth,
    is_drowned,
    is_most_of_the_change,
    no_gain_helps,
    output_is_enormous,
    signal_is_lost_or_explodes,
    signal_severity,
    variance_map_is_unstable,
)
from goodinit.signal.paths import Path, is_layer, last_outputs, place_of, rows_divided
from goodinit.signal.remedies import draw_whole, rescaled_lines, unit_scales, words_of_depth
from goodinit.signal.rows import Signal, SignalRow

WRITING = frozenset(
    ("masked_fill", "where", "masked_scatter", "index_fill", "setitem", "index_put")
)
SMALLER = 1e4  # of a second moment: a hundredth of the std


def find_lost_signal(
    signal: Signal, params: Mapping[str, Tensor], paths: list[Path], outputs: set[int]
) -> Iterator[Finding]:
    """Yield a signal that vanishes, and one that explodes, each where it is worst."""
    worst: dict[str, tuple[float, int, Path]] = {}
    carried, divided = _carried(signal.rows, outputs), rows_divided(signal.rows)
    for number, (row, path) in enumerate(zip(signal.rows, paths, strict=True)):
        first = signal.rows[path.start].forward
        now = row.forward
        judged = is_layer(row) and (row.kind == "contract" or path.is_of_products)
        if not judged or number in divided or not has_depth(int(path.depth)):
            continue
        if not (first.second and now.second):
            continue
        change = math.log(now.second / first.second)
        variance = (first.error or 0.0) ** 2 + (now.error or 0.0) ** 2 + path.variance
        code = "GI102" if change < 0 else "GI103"
        if change < 0 and number not in carried:
            continue
        # If only the last layer has a small or large scale, depth isn't the cause.
        deep = min(abs(change), abs(change - _own_change(row, signal.rows, path)))
        if signal_is_lost_or_explodes(int(path.depth), deep, variance) and (
            code not in worst or abs(change) > abs(worst[code][0])
        ):
            worst[code] = change, number, path
    for code, (change, number, path) in sorted(worst.items()):
        start, row = signal.rows[path.start], signal.rows[number]
        word = "vanishes" if change < 0 else "explodes"
        between = signal.rows[max(path.start, 0) : number + 1]
        each = math.exp(change / max(1, path.layers - 1))
        one = _layer_to_blame(signal.rows, paths, path.start, row, change)
        yield Finding(
            code,
            signal_severity(change),
            f"{place_of(signal.rows, path.start)} to {row.key}",
            f"the signal {word}: its second moment goes from {start.forward.second:.3g} to "
            f"{row.forward.second:.3g} over {path.layers} layers, "
            + (f"most of it at {one.key}" if one is not None else f"by {each:.3g} a layer"),
            _remedy(between, params, path, each),
        )


def find_enormous_output(
    signal: Signal, params: Mapping[str, Tensor], outputs: set[int], taken: float
) -> Iterator[Finding]:
    """Yield an output that a few calls have made enormous, such as exp of a large number.

    ``taken`` is the second moment of the inputs.
    """
    rows = signal.rows
    for number in last_outputs(rows, outputs):
        second = rows[number].forward.second
        if not output_is_enormous(second, taken):
            continue
        worst = max(range(number + 1), key=lambda n: _growth(rows, n))
        if _is_written(rows[worst]):  # a mask of -1e9
            continue
        yield Finding(
            "GI103",
            "error",
            f"inputs to {rows[number].key}",
            f"the signal explodes: the second moment of an output is {second:.3g}, that of the "
            f"inputs {taken:.3g}; most of it is made at {rows[worst].key}",
            draw_whole(
                f"draw the layers before {rows[worst].key} smaller, or bound what it takes",
                rescaled_lines(rows[: worst + 1], params, SMALLER),
            ),
        )
        return


def _is_written(row: SignalRow) -> bool:
    """Return whether a call puts numbers into a signal that aren't computed from it."""
    return row.function in WRITING or (row.kind == "add" and len(set(row.takes)) == 1)


def _growth(rows: Sequence[SignalRow], number: int) -> float:
    """Return what a call multiplies the second moment by."""
    row = rows[number]
    taken = max((rows[n].forward.second for n in row.takes if n >= 0), default=0.0)
    return row.forward.second / taken if taken else 0.0


def _remedy(
    between: Sequence[SignalRow], params: Mapping[str, Tensor], path: Path, each: float
) -> Untried:
    words = words_of_depth(between, path.layers)
    if no_gain_helps(path.slope):
        return untried(words, [])
    return draw_whole(
        words, [*unit_scales(between, params), *rescaled_lines(between, params, each)]
    )


def _own_change(row: SignalRow, rows: Sequence[SignalRow], path: Path) -> float:
    """Return the change of the log of the second moment in one call."""
    before = 0.0 if path.via is None else rows[path.via].forward.second
    return math.log(row.forward.second / before) if before and row.forward.second else 0.0


def _layer_to_blame(
    rows: Sequence[SignalRow], paths: Sequence[Path], start: int, end: SignalRow, change: float
) -> SignalRow | None:
    own = {
        number: _own_change(rows[number], rows, paths[number])
        for number in range(start + 1, rows.index(end) + 1)
        if is_layer(rows[number])
    }
    worst = max(own, key=lambda number: own[number] / change)
    return rows[worst] if is_most_of_the_change(own[worst], change) else None


def _carried(rows: Sequence[SignalRow], outputs: set[int]) -> set[int]:
    """Return the rows whose signal reaches an output; not branches much smaller than their skip.

    Residual branches start small on purpose.
    """
    found = set(outputs)
    for number in range(len(rows) - 1, -1, -1):
        row = rows[number]
        if number not in found:
            continue
        before = [n for n in row.takes if n >= 0]
        largest = max((rows[n].forward.second for n in before), default=0.0)
        found.update(
            n for n in before
            if row.kind != "add" or not is_drowned(rows[n].forward.second, largest)
        )  # fmt: skip
    return found


def find_unstable_variance(signal: Signal, paths: list[Path]) -> Iterator[Finding]:
    """Yield a variance map whose slope is above 1, over many layers (Poole et al., 2016)."""
    layers = [(path, row) for path, row in zip(paths, signal.rows, strict=True)
              if row.kind == "contract" and row.params]  # fmt: skip
    path, row = max(layers, key=lambda pair: pair[0].slope, default=(None, None))
    if path is None or row is None or not variance_map_is_unstable(path.slope):
        return
    number = signal.rows.index(row)
    each = path.slope ** (1 / max(1, path.layers - 1))
    yield Finding(
        "GI135",
        "warning",
        f"{place_of(signal.rows, path.start)} to {row.key}",
        f"the variance map has no stable fixed point: with the right gain an error in the variance "
        f"grows by {each:.3g} a layer, by {path.slope:.3g} over {path.layers} layers",
        words_of_depth(signal.rows[max(path.start, 0) : number + 1], path.layers),
    )
