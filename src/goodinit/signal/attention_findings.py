"""Attention that looks at one position alone before anything is learned: GI142."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from goodinit._common.text import count
from goodinit.applying.lines import Untried, untried
from goodinit.findings import Finding
from goodinit.findings.one_hot import CHOSEN_WEIGHT, attention_is_saturated
from goodinit.schemes import LeCunNormal
from goodinit.signal.observer import MomentsObserver
from goodinit.signal.remedies import redraw, rescaled_lines, setter_before
from goodinit.signal.rows import Signal, SignalRow

WORDS = (
    "draw the weights of queries and keys smaller, divide their products by the square root of "
    "the head's width, or put norms on both"
)
ROUTER = "draw the router's weights smaller, and its bias 0"
ROUTING = frozenset(("topk",))
KEEPING = frozenset(("view", "cast", "mul"))


def find_saturated_attention(
    signal: Signal, params: Mapping[str, Tensor], observer: MomentsObserver
) -> Iterator[Finding]:
    """Yield the first softmax whose rows are one-hot, of those that weigh another signal."""
    rows = signal.rows
    found = [
        number
        for number in observer.scores
        if attention_is_saturated(rows[number].forward.idle or 0.0) and _weighs(rows, number)
    ]
    if not found:
        return
    row, std = rows[found[0]], observer.scores[found[0]]
    more = f"; in {count(len(found) - 1, 'later call')} as well" if len(found) > 1 else ""
    yield Finding(
        "GI142",
        "warning",
        row.key,
        f"a softmax is nearly one-hot: {row.forward.idle:.0%} of its rows have more than "
        f"{CHOSEN_WEIGHT:.0%} of their weight on one position{more}, and the scores "
        f"(std {std:.3g}; 1 is healthy) get next to no gradient",
        _remedy(signal, params, found, std),
    )


def _weighs(rows: Sequence[SignalRow], number: int) -> bool:
    """Return whether a softmax weighs a signal, as attention does, or routes it to the largest."""
    same = {number}  # rows that are its result, moved, scaled or with dropout
    for later in range(number, len(rows)):
        row = rows[later]
        if row.kind == "attention" and later == number:
            return True
        if same.isdisjoint(row.takes):
            continue
        alone = same.issuperset(row.takes)
        if row.function in ROUTING or (row.kind == "contract" and not alone):
            return True
        if row.kind in KEEPING and alone and not row.params:
            same.add(later)
    return False


def _remedy(
    signal: Signal, params: Mapping[str, Tensor], found: Sequence[int], std: float
) -> Untried:
    """Return the remedy that draws what the scores are made of again, or smaller."""
    layers: dict[str, SignalRow] = {}
    for number in found:
        layers |= {row.key: row for row in _makers(signal, signal.rows[number])}
    made = list(layers.values())
    first = _product(signal, signal.rows[found[0]])
    words = ROUTER if first is not None and first.kind == "contract" and first.params else WORDS
    own, *others = redraw(made, params, LeCunNormal(), words).lines
    # The scores are a product of two: each takes half of what there is too much, in logs.
    return untried(words, [own, *rescaled_lines(made, params, std), *others])


def _product(signal: Signal, row: SignalRow) -> SignalRow | None:
    """Return the call whose products are the scores: attention itself, or one before a softmax."""
    while row.kind not in ("attention", "contract"):
        before = [n for n in row.takes if n >= 0]
        if not before:
            return None
        row = signal.rows[before[0]]
    return row


def _makers(signal: Signal, row: SignalRow) -> list[SignalRow]:
    """Return the layers or norms whose results are multiplied to make scores."""
    product = _product(signal, row)
    if product is None:
        return []
    if product.params:  # a router, or torch's module, whose projections are in the call
        return [product]
    taken = (setter_before(signal, (n,)) for n in product.takes[:2])
    return [layer for layer in taken if layer is not None]
