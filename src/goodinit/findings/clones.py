"""Layers, and units of a layer, that start as one function: GI122 to GI124."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from goodinit.findings.chance import STANDARD_ERRORS

CLONED_VALUES = 16  # so many equal float32 numbers aren't a coincidence
DRAWN_VALUES = 3  # different ones, at least: identities, one-hot and constant weights have two
MATRIX = 2  # axes
CLONES_OF_A_COPY = 2  # one equal weight is a clone; several in the same two modules are a copy

# Of a layer's units: one head of 32 in packed queries, keys and values. New words whose rows are
# the mean of the others, in a table of thousands, are fewer.
REPEATED_SHARE = 0.01
LEAST_REPEATED = 2  # units
LEAST_SCATTER = 2.0  # sizes of units whose variance is twice that of chance

CLONES = "clones, or one seed for several layers; they start as one function"
ALIKE_FOR_NOW = "its units start equal, and only later layers can make them different"
STAY_ALIKE = "so is the next weight, and no gradient ever makes its units different"
NO_GRADIENT = "no gradient ever reaches it, for what it takes or leads to stays zero as well"
BLOCKS = "no input passes it before the first step"
STACKED = "they start as one function"
SAME_GRADIENTS = "so are their gradients: no step tells them apart"
ROUNDING = 1e-5  # of a norm: the same gradients, summed in another order
REPEATED = "they start as one function, as heads of one seed"
GROWN = "its values look trained, as those that a checkpoint's layer was grown with"
LEAVE_GROWN = "none if this is intended; gi.AddNoise makes them differ from the start"
COPIES = "a copy of a whole module, such as a target network, which may be meant"


class Clone(NamedTuple):
    """A weight that has bit for bit the values of another.

    Attributes:
        first: name of the other.
        second: its own.
    """

    first: str
    second: str


def could_be_cloned(size: int) -> bool:
    """GI124: whether a weight has so many values that equal ones aren't a coincidence."""
    return size >= CLONED_VALUES


def is_drawn(different: int) -> bool:
    """GI124: whether so many different values are drawn, not an identity or a constant."""
    return different >= DRAWN_VALUES


def gradients_are_the_same(first: float, second: float) -> bool:
    """GI124: whether the gradients of equal weights are equal as well, by their norms.

    A gradient of 0 shows nothing: what follows may start at 0.

    >>> gradients_are_the_same(2.0, 2.000001), gradients_are_the_same(0.0, 0.0)
    (True, False)
    """
    return 0 < first < math.inf and math.isclose(first, second, rel_tol=ROUNDING)


def is_stack(shape: Sequence[int]) -> bool:
    """GI124: whether a weight is a stack of matrices, such as those of experts."""
    return len(shape) > MATRIX and shape[0] > 1


def units_repeat(repeated: int, units: int) -> bool:
    """GI123: whether so many units repeat others that a head, or more, is there twice."""
    return repeated >= max(LEAST_REPEATED, REPEATED_SHARE * units)


def is_grown(scatter: float, count: int) -> bool:
    """GI123, GI124: whether copied values were trained, as those of a checkpoint that grows are.

    Args:
        scatter: variance of the units' sizes, over that of independent values of one law.
        count: how many units.

    >>> is_grown(1.3, 64), is_grown(6.0, 64)
    (False, True)
    """
    chance = 1 + STANDARD_ERRORS * math.sqrt(2 / max(count, 1))
    return scatter > max(LEAST_SCATTER, chance)


def find_copies(clones: Sequence[Clone]) -> list[Clone]:
    """GI124: return those that are part of a copy of a whole module, which may be meant.

    Siblings have numbers: the layers of a stack are clones, ``target`` of ``online`` is a copy.

    >>> pairs = [("online.0.weight", "target.0.weight"), ("online.2.weight", "target.2.weight")]
    >>> len(find_copies([Clone(*pair) for pair in pairs]))
    2
    >>> find_copies([Clone("layers.0.fc.weight", "layers.1.fc.weight")] * 2)
    []
    """
    roots = [_roots(clone) for clone in clones]
    return [
        clone
        for clone, pair in zip(clones, roots, strict=True)
        if pair is not None
        and not (pair[0].isdecimal() or pair[1].isdecimal())
        and roots.count(pair) >= CLONES_OF_A_COPY
    ]


def _roots(clone: Clone) -> tuple[str, str] | None:
    """Return where two names differ, if it is in one step above the module that holds it."""
    first, second = clone.first.split("."), clone.second.split(".")
    if len(first) != len(second):
        return None
    differ = [at for at, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if len(differ) != 1:
        return None
    (step,) = differ
    return (first[step], second[step]) if step < len(first) - 2 else None
