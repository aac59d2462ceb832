"""Which weights a calibration rescales and at what it aims, and why it leaves the others alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from goodinit._common.torch_private import storage_key
from goodinit.anatomy import Anatomy
from goodinit.anatomy.names import Slot
from goodinit.anatomy.rows import Row
from goodinit.anatomy.writable import fixes_scale
from goodinit.findings.depth import UNSTABLE_SLOPE
from goodinit.schemes.operating_point import steady_second_moment

SCALED = frozenset(("linear", "conv", "recurrent", "embedding"))
SQUASHED = frozenset(("sigmoid", "hardsigmoid", "expit", "logsigmoid"))

GROWTH = 2.0
"""The error in the second moment over a plain stack too deep for a target of 1 (GI136). One
number a weight holds a batch's mean, not its samples: their sizes differ by a factor of 2 from the
start, and with a factor of 10 on top 2 of 6 nets of 50 layers of gelu don't train."""

LEFT_ALONE: Mapping[str, str] = {
    "norm": "a norm's",
    "position": "positions: their size is relative to what they are added to",
    "token": "a token: its size is relative to the rows beside it",
    "scale": "a scale that its author chose",
    "router": "it makes the logits of a router",
    "adapter": "an adapter: what it adds is relative to the weight beside it",
    "ssm": "a state space model's own: its size has a meaning",
    "other": "its role isn't known",
}


@dataclass(frozen=True, slots=True)
class Aims:
    """What a calibration aims at.

    Attributes:
        targets: of each weight that is rescaled, by name: the second moment of its output.
        shares: of each of them: the share of a stream's gradient that it passes back.
        biases: of weights that are rescaled: they may be scaled along.
        reasons: why every other parameter is left alone, by name.
    """

    targets: dict[str, float]
    shares: dict[str, float]
    biases: frozenset[str]
    reasons: dict[str, str]


def find_aims(anatomy: Anatomy, kept: Mapping[str, str]) -> Aims:
    """Return the aims: 1, and of a residual branch's end its share of the stream.

    In a plain stack so deep that 1 is unstable for its activation, the least that is steady.
    ``kept`` has the parameters that may not be written, and why.
    """
    targets: dict[str, float] = {}
    shares: dict[str, float] = {}
    reasons: dict[str, str] = {}
    biases: set[str] = set()
    overlapping = _overlapping(anatomy)
    steps = {
        id(slot.owner)
        for row, slot in zip(anatomy.rows, anatomy.slots, strict=True)
        if (row.facets.kind, row.facets.part) == ("ssm", "bias")
    }
    beside = any(row.facets.beside is not None for row in anatomy.rows)
    ends = sum(bool(row.facets.ends_residual) and len(row.shape) > 1 for row in anatomy.rows)
    for row, slot in zip(anatomy.rows, anatomy.slots, strict=True):
        if row.buffer:
            continue
        if row.name in kept:
            reasons[row.name] = kept[row.name]
        elif row.name in overlapping:
            reasons[row.name] = "it shares memory with another parameter"
        elif row.facets.part == "bias" and row.facets.kind in SCALED and not row.frozen:
            biases.add(row.name)
        elif id(slot.owner) in steps:
            reasons[row.name] = LEFT_ALONE["ssm"]
        elif reason := _reason(row, slot, beside):
            reasons[row.name] = reason
        else:
            count = anatomy.branches.get(row.name, ends or 1) if row.facets.ends_residual else 1
            shares[row.name] = 1 / count
            targets[row.name] = _steady(row) / count
    return Aims(targets, shares, frozenset(biases), reasons)


def _steady(row: Row) -> float:
    """Return the second moment that a weight's output should have for what comes after it."""
    facets = row.facets
    if not facets.plain or facets.squared:
        return 1.0
    return (
        steady_second_moment(facets.activation or "", facets.plain, GROWTH, UNSTABLE_SLOPE) or 1.0
    )


def _reason(row: Row, slot: Slot, beside: bool) -> str:
    """Return why a weight is left alone; "" if it is free."""
    facets = row.facets
    if row.frozen:
        return "frozen"
    if row.meant or row.held.what == "zeros":
        held = "zeros" if row.held.what == "zeros" else "values that are meant"
        return f"it holds {held}" + (f": {row.meant}" if row.meant else "")
    if facets.kind not in SCALED:
        return LEFT_ALONE.get(facets.kind, LEFT_ALONE["other"])
    if row.held.is_special:
        return f"it holds a {row.held.what} that its author chose"
    if facets.layout is None:
        return LEFT_ALONE["other"]
    if facets.part == "head":
        return "it makes the model's output, whose scale is up to the loss"
    if facets.part == "router":
        return LEFT_ALONE["router"]
    if facets.part == "gate" and facets.activation in SQUASHED:
        return "a gate: how far it is open is its author's choice"
    if facets.kind == "recurrent" and facets.blocks:
        return "it makes the gates of a cell"
    if facets.kind == "embedding" and beside:
        return "positions are added to what it looks up: their ratio would change"
    return fixes_scale(slot) if slot.how != "pruned" else ""


def _overlapping(anatomy: Anatomy) -> frozenset[str]:
    """Return the parameters that lie in memory which another one uses, too."""
    owners = [(storage_key(t), slot.name) for slot in anatomy.slots for t in slot.tensors]
    counted = Counter(key for key, _ in set(owners))
    return frozenset(name for key, name in owners if counted[key] > 1)
