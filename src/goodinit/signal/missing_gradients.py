"""Parameters that no gradient arrives at: GI109."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from goodinit._common.text import several
from goodinit.findings import Finding
from goodinit.signal.observer import MomentsObserver
from goodinit.signal.remedies import freeze
from goodinit.signal.rows import Signal, SignalRow

SURROGATE = (
    "give it a surrogate gradient, by torch.autograd.Function or a straight-through estimate: "
    "soft + (hard - soft).detach()"
)


def find_without_gradient(signal: Signal, observer: MomentsObserver) -> Iterator[Finding]:
    """Yield the parameters that get none: a comparison cut it, or nothing depends on them."""
    names = [gradient.name for gradient in signal.gradients if gradient.ratio is None]
    derived = any(row.function == "_unpack_dual" for row in signal.rows)  # by forward mode
    if observer.unseen or derived:  # what scripted code or a derivative does isn't known
        reached = {g.name.rpartition(".")[0] for g in signal.gradients if g.ratio is not None}
        names = [name for name in names if name.rpartition(".")[0] not in reached]
    if not names or len(names) == len(signal.gradients):
        return
    cut = {name: at for name in names if (at := _cut_at(signal.rows, name, observer.compared))}
    if cut:
        cause = (
            f"no gradient arrives, though the result depends on it: a comparison of what "
            f"{next(iter(cut.values()))} returned lets none through"
        )
        yield Finding("GI109", "warning", several(cut), cause, SURROGATE)
    rest = [name for name in names if name not in cut]
    if rest:
        cause = "no gradient arrives: no output (or not the loss) depends on it"
        yield Finding("GI109", "info", several(rest), cause, freeze(rest))


def _cut_at(rows: Sequence[SignalRow], name: str, compared: AbstractSet[int]) -> str:
    """Return the call after which only comparisons lead to where gradients pass, or ""."""
    if not compared:
        return ""
    reached, cut = set[int](), list[int]()
    for number, row in enumerate(rows):
        before = reached.intersection(row.takes)
        if row.backward is None:
            if before or name in row.params:
                reached.add(number)
            continue
        for index in before:  # where what has no gradient goes into what has one
            at = compared & {index, *rows[index].takes}
            if not at:
                return ""
            cut += sorted(at)
    return rows[cut[0]].key if cut else ""
