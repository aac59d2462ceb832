"""How many multiplications recorded calls take, and which rows of a result are enough.

The answers are second moments, to which a part of the rows of a large product comes as near as
all of them. Row i of ``a @ b @ c`` is computed from row i of a and the whole of b and c.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from goodinit.dataflow.tape import Entry

# 45 products of 1024 x 1024 take a second of a core, and a weight's study computes it some twenty
# times. Above, rows are computed that take as many, but no fewer than make 2^17 numbers of a
# weight of 2048 columns.
ENOUGH = 2**30
FEWEST_ROWS = 64

# The gradients of what follows a product keep the results of all calls: rows are enough of a
# share of it.
SHARE_FOLLOWED = 1 / 8

# Each parameter takes ten times; beyond so many the rows are fewer.
FEW_PARAMS = 2

# A number that a call makes takes as long as so many multiplications of a product: 2048 x 2048
# sums of two numbers take 6 ms, of which the memory takes most.
PER_NUMBER = 64

# What no choice of rows makes smaller is not computed: twenty times as many take two seconds.
MOST = 2**32

# Time that functions of n x n numbers take, in that of n^3 multiplications of a product, rounded
# up: measured at n = 512 on a core.
_CUBIC = {
    **dict.fromkeys("slogdet logdet det lu_factor lu solve_triangular triangular_solve".split(), 1),
    **dict.fromkeys("inv inverse solve cholesky householder_product matrix_power".split(), 2),
    **dict.fromkeys("qr orgqr ormqr lu_solve cholesky_inverse".split(), 4),
    **dict.fromkeys("eigh eigvalsh svdvals".split(), 8),
    **dict.fromkeys("matrix_exp svd pinv pinverse lstsq cond matrix_rank".split(), 16),
    **dict.fromkeys("eig eigvals".split(), 50),
}

# Matrix norms that are of singular values; the others are sums.
_OF_SINGULAR_VALUES = (2, -2, "nuc")

# Number by number, with broadcasting.
_EACH = frozenset(
    "add sub rsub __radd__ mul rmul div neg clone detach contiguous to float double alias "
    "positive abs square exp tanh relu sigmoid pow maximum minimum where lerp addcmul addcdiv "
    "gt lt ge le eq ne".split()
)
_TRANSPOSES = frozenset(("t", "T", "mT"))

Shape = Callable[[int], tuple[int, ...]]
# Whether an axis of a call's result is one of its argument's: the call computes each row alone.
ByRow = Callable[[Entry, int, int], bool]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a result that are computed.

    Attributes:
        chosen: their numbers.
        axes: number of a tensor -> the axis along which it holds but these.
        wanted: for each entry, number of an argument -> the axis along which it takes but these.
    """

    chosen: Tensor
    axes: Mapping[int, int]
    wanted: Sequence[Mapping[int, int]]


def multiplications(entry: Entry, shape: Shape) -> float:
    """Return about how many multiplications a call takes, of those that sums of products take."""
    name = entry.name.removeprefix("linalg_")
    shapes = [shape(n) for n in entry.inputs]
    if not shapes or not entry.outputs:
        return 0
    if name == "matrix_norm":
        given = (*entry.args, *entry.kwargs.values())
        asked = any(isinstance(a, (int, float, str)) and a in _OF_SINGULAR_VALUES for a in given)
        return _cubic(shapes[0], 16 if asked else 0)
    if name in _CUBIC:
        return _cubic(shapes[0], _CUBIC[name])
    if entry.role != "contract" and name not in ("multi_dot", "cdist"):
        return 0
    result = math.prod(shape(entry.result))
    if name in ("matmul", "mm", "bmm", "linear") and shapes[0]:
        return result * shapes[0][-1]
    # As if all were of one size: exact for two matrices, and for several that are square.
    logs = sum(math.log(max(math.prod(s), 1)) for s in shapes) + math.log(max(result, 1))
    products = len(shapes) - 1
    return products * math.exp(1.5 * logs / (len(shapes) + 1))


def _cubic(shape: tuple[int, ...], times: int) -> float:
    return times * math.prod(shape) * min(shape[-2:], default=0) if len(shape) > 1 else 0


def rows_of(
    entries: Sequence[Entry],
    target: int,
    shape: Shape,
    by_row: ByRow,
    params: int,
    share: float = 1.0,
) -> Rows | None:
    """Return which rows of a result are enough, along one axis; None if all are cheap or needed.

    Args:
        entries: the calls that compute it.
        target: its number.
        shape: returns the shape of a tensor.
        by_row: tries whether a call of one tensor, which no list describes, takes it row by row.
        params: of how many parameters it is computed.
        share: of what is cheap, above which rows are enough.
    """
    works = [_work(entry, shape) for entry in entries]
    size = shape(target)
    enough = ENOUGH * share * FEW_PARAMS / max(params, FEW_PARAMS)
    axes = [axis for axis, length in enumerate(size) if length > FEWEST_ROWS]
    if sum(works) <= enough or len(size) < 2 or not axes:
        return None

    def whole(found: tuple[dict[int, int], list[dict[int, int]]]) -> float:
        """Return how much work doesn't depend on the number of rows."""
        pairs = zip(entries, works, strict=True)
        return sum(work for entry, work in pairs if entry.result not in found[0])

    ways = {axis: _traced(entries, target, axis, shape, by_row) for axis in axes}
    axis = min(ways, key=lambda axis: whole(ways[axis]))
    fixed = whole(ways[axis])
    share = max(enough - fixed, 0) / max(sum(works) - fixed, 1)
    count = max(int(size[axis] * share), FEWEST_ROWS)
    if count >= size[axis] or fixed == sum(works):
        return None
    return Rows(_spread(size[axis], count), *ways[axis])


def _spread(size: int, count: int) -> Tensor:
    """Return numbers of rows, one at random of each part: evenly spaced ones may hit a pattern."""
    random = torch.Generator().manual_seed(count)
    within = torch.rand(count, generator=random, dtype=torch.float64, device="cpu")
    return ((torch.arange(count, device="cpu") + within) * (size / count)).long()


def _work(entry: Entry, shape: Shape) -> float:
    """Return what a call takes, in multiplications of a product."""
    made = 0 if entry.role == "view" else sum(math.prod(shape(n)) for n in entry.outputs)
    return multiplications(entry, shape) + PER_NUMBER * made


def _traced(
    entries: Sequence[Entry], target: int, axis: int, shape: Shape, by_row: ByRow
) -> tuple[dict[int, int], list[dict[int, int]]]:
    """Return which tensors hold but some rows, and what each call takes of its arguments."""
    needed: dict[int, int | None] = {target: axis}  # None: whole
    wanted: list[dict[int, int]] = []
    for entry in reversed(entries):
        own = needed.get(entry.result) if len(entry.outputs) == 1 else None
        asked = {} if own is None else _asked(entry, own, shape, by_row)
        if asked is None:  # the whole is computed, and rows of it taken
            needed[entry.result], asked = None, {}
        for number in entry.inputs:
            one = asked.get(number)
            needed[number] = one if needed.get(number, one) == one else None
        wanted.append(asked)
    found = {number: axis for number, axis in needed.items() if axis is not None}
    return found, wanted[::-1]


def _asked(entry: Entry, axis: int, shape: Shape, by_row: ByRow) -> dict[int, int] | None:
    """Return which axes of a call's arguments an axis of its result is; None if nobody knows.

    An argument that isn't named is taken whole.
    """
    inputs = entry.inputs
    shapes = [shape(number) for number in inputs]
    if len(set(inputs)) < len(inputs) and entry.name not in _EACH:
        return None
    if entry.name in _EACH:
        return _broadcast(entry, axis, shape)
    two = all(len(one) == 2 for one in shapes)
    if two and (entry.name in _TRANSPOSES or _swaps(entry)):
        return {inputs[0]: 1 - axis}
    if two and entry.name in ("matmul", "mm", "linalg_multi_dot", "multi_dot") and inputs[1:]:
        return {inputs[0]: 0} if axis == 0 else {inputs[-1]: 1}
    equation = next(iter(entry.args), None)
    if two and entry.name == "einsum" and isinstance(equation, str):
        return _letters(equation, inputs, axis)
    return _tried(entry, axis, shape, by_row)


def _tried(entry: Entry, axis: int, shape: Shape, by_row: ByRow) -> dict[int, int] | None:
    """Return what `_asked` does of a call on one tensor, by trying it."""
    if len(entry.inputs) != 1 or multiplications(entry, shape):
        return None
    (number,) = entry.inputs
    length = shape(entry.result)[axis]
    alike = [a for a, size in enumerate(shape(number)) if size == length > FEWEST_ROWS]
    found = next((a for a in alike if by_row(entry, a, axis)), None)
    return None if found is None else {number: found}


def _broadcast(entry: Entry, axis: int, shape: Shape) -> dict[int, int]:
    result = shape(entry.result)
    found: dict[int, int] = {}
    for number in entry.inputs:
        place = axis - len(result) + len(shape(number))
        if place >= 0 and shape(number)[place] == result[axis] != 1:
            found[number] = place
    return found


def _swaps(entry: Entry) -> bool:
    axes = [one for one in entry.args if isinstance(one, int)]
    if entry.name == "permute":
        return axes == [1, 0]
    return entry.name in ("transpose", "swapaxes") and sorted(a % 2 for a in axes) == [0, 1]


def _letters(equation: str, inputs: Sequence[int], axis: int) -> dict[int, int] | None:
    terms, arrow, result = equation.replace(" ", "").partition("->")
    operands = terms.split(",")
    if not arrow or "." in equation or len(operands) != len(inputs):
        return None
    letter = result[axis]
    if any(operand.count(letter) > 1 for operand in operands):
        return None
    pairs = zip(inputs, operands, strict=True)
    return {number: one.index(letter) for number, one in pairs if letter in one}
