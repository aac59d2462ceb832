"""Samples and positions that become alike: GI104 and GI105."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from torch import Tensor

from goodinit.findings import Finding
from goodinit.findings.likeness import became_alike, has_enough_numbers, were_different
from goodinit.signal.activity import is_bias, is_level
from goodinit.signal.observer import MomentsObserver
from goodinit.signal.paths import SIGMOIDS, last_outputs, rows_of_averages
from goodinit.signal.remedies import AROUND, STANDARD
from goodinit.signal.rows import Signal, SignalRow

__all__ = ["find_alike_outputs"]


def find_alike_outputs(
    signal: Signal, params: Mapping[str, Tensor], observer: MomentsObserver
) -> Iterator[Finding]:
    """Yield samples, and positions, that are alike at the last layer of an output."""
    of_inputs = 1.0 if observer.empty_inputs else observer.input_cosine
    lasts = [row for row in _lasts(signal, observer.outputs) if not _is_prior(row, params)]
    for last in lasts:
        cosine = last.forward.across_samples
        different = of_inputs is None or were_different(of_inputs)
        if cosine is not None and became_alike(cosine) and different:
            began = "" if of_inputs is None else f"; that of the inputs is {of_inputs:.2f}"
            yield Finding(
                "GI104",
                "warning",
                last.key,
                "outputs hardly depend on the inputs: two samples have the cosine "
                f"{cosine:.6f}{began}",
                # A sigmoid's mean of 1/2 makes samples alike under any law of its layers.
                AROUND if any(row.function in SIGMOIDS for row in signal.rows) else STANDARD,
            )
            break
    first = next((r for r in signal.rows if r.forward.across_positions is not None), None)
    began = None if first is None else first.forward.across_positions
    if first is None or began is None or not were_different(began):
        return
    for last in lasts:
        cosine = last.forward.across_positions
        if cosine is not None and became_alike(cosine):
            yield Finding(
                "GI105",
                "warning",
                last.key,
                f"positions become alike: two of a sample have the cosine {cosine:.6f}; at "
                f"{first.key} it is {began:.2f}",
                "look for attention without a residual connection, or draw its values larger",
            )
            return


def _lasts(signal: Signal, outputs: set[int]) -> list[SignalRow]:
    """Return the last layer of each output that isn't made of averages alone, the latest first."""
    rows, averages = signal.rows, rows_of_averages(signal.rows)
    found: list[int | None] = []  # of each row, the last such layer that it came from
    for number, row in enumerate(rows):
        many = has_enough_numbers(math.prod(row.shape) / signal.batch)
        if row.kind == "contract" and not averages[number] and many:
            found.append(number)
        else:
            before = [at for n in row.takes if n >= 0 and (at := found[n]) is not None]
            found.append(max(before, default=None))
    numbers = {at for n in last_outputs(rows, outputs) if (at := found[n]) is not None}
    return [rows[number] for number in sorted(numbers, reverse=True)]


def _is_prior(row: SignalRow, params: Mapping[str, Tensor]) -> bool:
    """Return whether a layer is a prior: its bias, with one value, as focal loss starts from."""
    biases = [params[name] for name in row.params if params[name].dim() == 1]
    return any(is_level(bias) and is_bias(bias, row) for bias in biases)
