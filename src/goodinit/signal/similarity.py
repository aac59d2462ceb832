"""Samples and positions that become alike: GI104 and GI105."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from goodinit.findings import Finding
from goodinit.findings.likeness import became_alike, has_enough_numbers, were_different
from goodinit.signal.activity import is_bias
from goodinit.signal.equality import holds_one_number, is_zero
from goodinit.signal.observer import MomentsObserver
from goodinit.signal.paths import (
    SIGMOIDS,
    Path,
    last_outputs,
    paths_to_rows,
    rows_of_averages,
)
from goodinit.signal.remedies import (
    AROUND,
    draw_whole,
    unit_scales,
    words_of_depth,
    zero_biases,
)
from goodinit.signal.rows import Signal, SignalRow

ROUNDING = 1e-6  # of a cosine, or of a relative difference, in float32
COLLAPSED = "look for attention without a residual connection, or draw its values larger"
# Kinds of calls that may make one value of many, where no weight of zeros does.
FLATTENING = frozenset(("activation", "pointwise", "bend", "softmax", "norm", "cast", "other"))


def find_alike_outputs(
    signal: Signal, params: Mapping[str, Tensor], observer: MomentsObserver
) -> Iterator[Finding]:
    """Yield samples, and positions, that are alike at the last layer of an output."""
    lasts = [
        number
        for number in _lasts(signal, params, observer.outputs)
        if not _is_prior(signal.rows[number], params)
    ]
    yield from _alike_samples(signal, params, observer, lasts)
    yield from _alike_positions(signal, params, lasts)


def find_constant_outputs(
    signal: Signal, params: Mapping[str, Tensor], observer: MomentsObserver
) -> Iterator[Finding]:
    """Yield an output that is the same for all samples, though what it is made of isn't."""
    for number in last_outputs(signal.rows, observer.unchanging):
        lost = _where_samples_meet(signal.rows, number, params)
        if lost is not None and lost.kind != "norm":  # that is GI144's
            yield Finding(
                "GI104",
                "warning",
                lost.key,
                "an output is the same for all samples, bit for bit: what still differs before "
                f"this call is one value behind it ({lost.forward.mean:.3g} on average)",
                _unflattened(lost, signal, params),
            )
            return


def _unflattened(lost: SignalRow, signal: Signal, params: Mapping[str, Tensor]) -> str:
    """Return the remedy for a call that makes one value of all samples."""
    if lost.kind == "softmax":
        return "give softmax more than one value to choose from, or use a sigmoid"
    words = f"draw the layer before it so that its values lie where {lost.function} isn't flat"
    return draw_whole(words, zero_biases(signal.rows, params))


def _where_samples_meet(
    rows: Sequence[SignalRow], number: int, params: Mapping[str, Tensor]
) -> SignalRow | None:
    """Return the call that makes one value of what differs between samples.

    A weight of zeros does so on purpose, and so does what isn't computed by layers, as a mask.
    """
    paths, pending, visited = paths_to_rows(rows), [number], set[int]()
    found: list[SignalRow] = []
    while pending:
        row = rows[pending.pop()]
        before = [n for n in row.takes if n >= 0 and n not in visited]
        visited.update(before)
        differing = [n for n in before if _differs(rows[n])]
        shut = any(is_zero(params[name]) for name in row.params[:1])
        if differing and (shut or not (row.kind in FLATTENING or row.function == "unseen")):
            return None
        found += [row] * any(_is_learned(rows, n, paths) for n in differing)
        pending += [n for n in before if n not in differing]
    return found[0] if found else None


def _is_learned(rows: Sequence[SignalRow], number: int, paths: Sequence[Path]) -> bool:
    return paths[number].layers > 0 or paths[number].start > 0 or bool(rows[number].params)


def _differs(row: SignalRow) -> bool:
    """Return whether samples are known to differ at a row."""
    cosine, error = row.forward.across_samples, row.forward.error
    return (cosine is not None and cosine < 1 - ROUNDING) or (error or 0.0) > ROUNDING


def _alike_samples(
    signal: Signal, params: Mapping[str, Tensor], observer: MomentsObserver, lasts: Sequence[int]
) -> Iterator[Finding]:
    of_inputs = 1.0 if observer.empty_inputs else observer.input_cosine
    for number in lasts if of_inputs is None or were_different(of_inputs) else ():
        last = signal.rows[number]
        cosine = last.forward.across_samples
        alike = cosine is not None and became_alike(cosine)
        if alike and not _differs_later(signal, number, "across_samples"):
            began = "" if of_inputs is None else f"; that of the inputs is {of_inputs:.2f}"
            yield Finding(
                "GI104",
                "warning",
                last.key,
                "outputs hardly depend on the inputs: two samples have the cosine "
                f"{cosine:.6f}{began}",
                # A sigmoid's mean of 1/2 makes samples alike under any law of its layers.
                draw_whole(
                    AROUND
                    if any(row.function in SIGMOIDS for row in signal.rows)
                    else words_of_depth(signal.rows, len(signal.layers)),
                    [*zero_biases(signal.rows, params), *unit_scales(signal.rows, params)],
                ),
            )
            return


def _alike_positions(
    signal: Signal, params: Mapping[str, Tensor], lasts: Sequence[int]
) -> Iterator[Finding]:
    first = next((r for r in signal.rows if r.forward.across_positions is not None), None)
    began = None if first is None else first.forward.across_positions
    if first is None or began is None or not were_different(began):
        return
    for number in lasts:
        last = signal.rows[number]
        cosine = last.forward.across_positions
        alike = cosine is not None and became_alike(cosine)
        if alike and not _differs_later(signal, number, "across_positions"):
            yield Finding(
                "GI105",
                "warning",
                last.key,
                f"positions become alike: two of a sample have the cosine {cosine:.6f}; at "
                f"{first.key} it is {began:.2f}",
                draw_whole(COLLAPSED, unit_scales(signal.rows, params)),
            )
            return


def _lasts(signal: Signal, params: Mapping[str, Tensor], outputs: set[int]) -> list[int]:
    """Return the last layer of each output that isn't made of averages alone, the latest first.

    One of zeros starts with nothing but its bias on purpose.
    """
    rows, averages = signal.rows, rows_of_averages(signal.rows)
    found: list[int | None] = []  # of each row, the last such layer that it came from
    for number, row in enumerate(rows):
        many = has_enough_numbers(math.prod(row.shape) / signal.batch)
        if row.kind == "contract" and not averages[number] and many and not _is_shut(row, params):
            found.append(number)
        else:
            before = [at for n in row.takes if n >= 0 and (at := found[n]) is not None]
            found.append(max(before, default=None))
    numbers = {at for n in last_outputs(rows, outputs) if (at := found[n]) is not None}
    return sorted(numbers, reverse=True)


def _differs_later(signal: Signal, number: int, across: str) -> bool:
    """Return whether what a layer's result becomes part of isn't alike: it is only one of several.

    Dropout makes anything differ, and few numbers are alike by chance.
    """
    reached = {number}
    for later in range(number + 1, len(signal.rows)):
        row = signal.rows[later]
        if reached.isdisjoint(row.takes) or "dropout" in row.function:
            continue
        reached.add(later)
        cosine: float | None = getattr(row.forward, across)
        many = has_enough_numbers(math.prod(row.shape) / signal.batch)
        if many and cosine is not None and not became_alike(cosine):
            return True
    return False


def _is_shut(row: SignalRow, params: Mapping[str, Tensor]) -> bool:
    weights = [params[name] for name in row.params if params[name].dim() > 1]
    return bool(weights) and all(map(is_zero, weights))


def _is_prior(row: SignalRow, params: Mapping[str, Tensor]) -> bool:
    """Return whether a layer is a prior: its bias, with one value, as focal loss starts from."""
    biases = [params[name] for name in row.params if params[name].dim() == 1]
    return any(holds_one_number(bias) and is_bias(bias, row) for bias in biases)
