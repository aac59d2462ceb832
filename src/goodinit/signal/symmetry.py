"""What symmetry keeps from learning, as measured: GI122 (weights of zeros), GI123 (equal units)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from goodinit._common.text import count, several
from goodinit.dataflow.learning import Step, blocking_weights, stuck_weights
from goodinit.findings import Finding, Severity
from goodinit.findings.clones import ALIKE_FOR_NOW, BLOCKS, NO_GRADIENT, STAY_ALIKE
from goodinit.schemes import LeCunNormal
from goodinit.signal.equality import holds_one_number, is_zero
from goodinit.signal.observer import MomentsObserver
from goodinit.signal.remedies import redraw
from goodinit.signal.rows import Signal, SignalRow

APART = "draw different values for each unit"
KEEPS_EQUAL = frozenset(("view", "cast", "pool", "activation"))  # units that are equal stay so


def find_equal_units(
    signal: Signal, params: Mapping[str, Tensor], observer: MomentsObserver
) -> Iterator[Finding]:
    """Yield the first layer whose units all do the same, from the inputs on."""
    found = [
        n
        for n in sorted(observer.equal_units)
        if any(params[name].requires_grad for name in signal.rows[n].params)
    ]
    if not found:
        return
    stay = [n for n in found if n in observer.equal_gradients]
    row = signal.rows[(stay or found)[0]]
    more = f" (and of {count(len(found) - 1, 'more layer')})" if len(found) > 1 else ""
    yield Finding(
        "GI123",
        "error" if stay else "warning",
        row.key,
        f"all {row.width} units{more} do the same for every input: "
        + (STAY_ALIKE if stay else ALIKE_FOR_NOW),
        redraw([row], params, LeCunNormal(), APART),
    )


def find_zero_weights(
    signal: Signal, params: Mapping[str, Tensor], observer: MomentsObserver
) -> Iterator[Finding]:
    """Yield weights of zeros that never get a gradient, or that let no input through."""
    outputs = observer.outputs
    used = {name for row in signal.rows for name in row.params}
    zero = {name for name in used if params[name].numel() and is_zero(params[name])}
    gains = {row.params[0] for row in signal.rows if row.kind == "norm" and row.params}
    weights = {name for name in zero if params[name].dim() > 1 or name in gains}
    learning = {name for name in weights if params[name].requires_grad}
    if not weights:
        return
    moved = {g.name for g in signal.gradients if g.size or g.ratio != g.ratio}
    backward = any(row.backward is not None for row in signal.rows)
    steps = [_step(row, params) for row in signal.rows]
    stuck = learning & stuck_weights(steps, outputs, zero, moved) if backward else set[str]()
    blocking = weights & blocking_weights(steps, outputs, zero)
    same = {
        name
        for name in learning - stuck - gains
        if all(
            number in observer.zero_layers
            and (
                number in observer.equal_gradients or _meets_one_number(signal.rows, number, params)
            )
            for number, row in enumerate(signal.rows)
            if name in row.params
        )
    }
    verdicts: tuple[tuple[Severity, set[str], str], ...] = (
        ("error", stuck, NO_GRADIENT),
        ("error", same, STAY_ALIKE),
        ("warning", blocking - stuck - same, BLOCKS),
    )
    for severity, names, why in verdicts:
        if names:
            first = [row for row in signal.rows if names.intersection(row.params)]
            listed = list(dict.fromkeys(n for row in first for n in row.params if n in names))
            yield Finding(
                "GI122",
                severity,
                several(listed),
                f"all zero: {why}",
                redraw(first, params, LeCunNormal(), APART, listed),
            )


def _meets_one_number(rows: Sequence[SignalRow], number: int, params: Mapping[str, Tensor]) -> bool:
    """Return whether weights that hold one number follow, and treat all units alike."""
    after = [(n, row) for n, row in enumerate(rows) if number in row.takes]
    for n, row in after:
        weights = [params[name] for name in row.params if params[name].dim() > 1]
        if len(set(row.takes)) > 1:
            return False
        if row.kind == "contract" and weights:
            if not all(map(holds_one_number, weights)):
                return False
        elif row.kind not in KEEPS_EQUAL or not _meets_one_number(rows, n, params):
            return False
    return bool(after)


def _step(row: SignalRow, params: Mapping[str, Tensor]) -> Step:
    """Return a row as a step; what was measured to be other than 0 is."""
    many = row.kind in ("mul", "norm")
    factors = tuple(row.params[:1]) if row.kind == "norm" else tuple(
        name for name in row.params if many or params[name].dim() > 1
    )  # fmt: skip
    offsets = tuple(name for name in row.params if name not in factors)
    learns = row.backward is not None and row.backward.second != 0
    return Step(
        row.takes,
        row.kind,
        row.function,
        factors,
        offsets,
        moves=row.forward.second != 0,
        learns=learns,
    )
