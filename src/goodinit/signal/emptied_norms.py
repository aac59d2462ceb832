"""Norms that leave nothing of what they take: GI144."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from goodinit.findings import Finding
from goodinit.findings.scales import norm_leaves_nothing
from goodinit.signal.rows import Signal, SignalRow

# They subtract a mean over one sample's values alone; a batch may have one sample.
OVER_A_SAMPLE = frozenset(("layer_norm", "group_norm", "native_layer_norm", "native_group_norm"))


def find_emptied_norms(signal: Signal, params: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Yield the first norm that returns only its bias, though a signal arrives."""
    for row in signal.rows:
        if row.function not in OVER_A_SAMPLE or not row.takes or row.takes[0] < 0:
            continue
        taken = signal.rows[row.takes[0]].forward.second
        scale, offset = _squares(row, params)
        if scale and norm_leaves_nothing(taken, row.forward.second - offset, scale, offset):
            yield Finding(
                "GI144",
                "warning",
                row.key,
                f"the norm leaves nothing: a signal of second moment {taken:.3g} arrives, and only "
                "its bias comes out: it normalizes over one value, or over values that are equal",
                "normalize over more values: another axis, or fewer groups",
            )
            return


def _squares(row: SignalRow, params: Mapping[str, Tensor]) -> tuple[float, float]:
    """Return the mean squares of a norm's weight and of its bias."""
    squares = [params[name].detach().double().square().mean().item() for name in row.params]
    return (squares[0] if squares else 1.0), (squares[1] if len(squares) > 1 else 0.0)
