"""The small parts of a data flow, each compared with a slow reference or with a table."""

from __future__ import annotations

import math
import random
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from goodinit.dataflow import squares
from goodinit.dataflow.constants import constant_square, mean_square, number_among, number_of
from goodinit.dataflow.geometry import align, regroup, view_dims
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.labels import labels_of
from goodinit.dataflow.nodes import Origin, Unlisted, Value
from goodinit.dataflow.origins import layout_of, union
from goodinit.dataflow.signs import Signs, is_finite
from goodinit.dataflow.tape import replaced
from goodinit.dataflow.traversal import leads_to
from goodinit.dataflow.unlisted import _Signal, measured_square
from goodinit.trace import Call

# Geometry.


def random_view(base: Tensor, rng: random.Random) -> Tensor:
    """Return a view by a few random slices, moves and new axes, none of them without elements."""
    view = base
    for _ in range(rng.randint(1, 4)):
        axis = rng.randrange(view.ndim) if view.ndim else 0
        match rng.randrange(6):
            case 0 if view.ndim:
                view = view.movedim(axis, rng.randrange(view.ndim))
            case 1 if view.ndim:
                start = rng.randrange(view.shape[axis])
                view = view.narrow(axis, start, rng.randint(1, view.shape[axis] - start))
            case 2 if view.ndim:
                view = view.select(axis, rng.randrange(view.shape[axis]))
            case 3:
                view = view.unsqueeze(axis)
            case 4 if view.is_contiguous() and view.numel():
                view = view.reshape(-1)
            case 5 if view.ndim and view.shape[axis] in (4, 6):
                view = view.unflatten(axis, (2, -1))
    return view


def where_along(base: Tensor, view: Tensor) -> tuple[Any, Any]:
    """Return which base axes vary along each axis of a view, and their ranges: by numbers."""
    ids = torch.arange(base.untyped_storage().size() // base.element_size())
    numbers = ids.as_strided(view.shape, view.stride(), view.storage_offset())
    places = {
        int(ids.as_strided(base.shape, base.stride(), base.storage_offset())[at]): at
        for at in product(*map(range, base.shape))
    }
    found = [places[int(n)] for n in numbers.flatten()]
    ranges = tuple(
        (min(at[a] for at in found), max(at[a] for at in found) + 1) for a in range(base.ndim)
    )
    dims = []
    for axis, size in enumerate(view.shape):
        moves = set[int]()
        for other in range(1, size):
            a, b = (numbers.select(axis, n).flatten().tolist() for n in (0, other))
            moves |= {
                k for x, y in zip(a, b, strict=True) for k in range(base.ndim)
                if places[x][k] != places[y][k]
            }  # fmt: skip
        dims.append(tuple(sorted(moves)))
    return tuple(dims), ranges


def test_where_a_view_lies_in_its_base() -> None:
    rng = random.Random(0)
    for _ in range(250):
        shape = [rng.choice([1, 2, 3, 4, 6]) for _ in range(rng.randint(1, 3))]
        base = torch.empty(shape).permute(rng.sample(range(len(shape)), len(shape)))
        base = base[rng.choice([0, 1]) :] if base.shape[0] > 1 else base
        view = random_view(base, rng)
        found = view_dims(layout_of(base), layout_of(view))
        assert found == where_along(base, view), (base.shape, base.stride(), layout_of(view))


def test_where_a_copy_lies_in_what_it_copies() -> None:
    """Each axis runs over what its group of axes ran over; the groups are cut where both are."""
    rng = random.Random(0)
    for _ in range(200):
        sizes = [rng.choice([1, 2, 3, 4]) for _ in range(4)]
        cuts = [sorted(rng.sample(range(1, 4), rng.randint(0, 3))) for _ in range(2)]
        parts = [[*zip([0, *c], [*c, 4], strict=True)] for c in cuts]
        old, new = ([math.prod(sizes[a:b]) for a, b in part] for part in parts)
        dims = tuple((n,) for n in range(len(old)))
        ends = [[math.prod(old[: n + 1]) for n in range(len(old))],
                [math.prod(new[: n + 1]) for n in range(len(new))]]  # fmt: skip
        common = sorted({1, *ends[0]} & {1, *ends[1]})
        expected = []
        for size, end in zip(new, ends[1], strict=True):
            low = max(c for c in common if c < end) if size > 1 else 0
            high = min(c for c in common if c >= end)
            over = {n for n, (s, e) in enumerate(zip(old, ends[0], strict=True))
                    if s > 1 and low < e <= high}  # fmt: skip
            expected.append(tuple(sorted(over)) if size > 1 else ())
        assert regroup(old, dims, new) == tuple(expected), (old, new)
    assert regroup((2, 3), ((0,), (1,)), (2, 4)) is None
    assert regroup((0, 3), ((0,), (1,)), (3, 0)) is None
    assert regroup((), (), (1, 1)) == ((), ())


def test_dims_are_aligned_on_the_right() -> None:
    dims = ((0,), (1,))
    assert [align(dims, rank) for rank in (1, 2, 3)] == [((1,),), dims, ((), (0,), (1,))]
    assert union(((0, 1),), ((2, 3), (0, 1))) == ((2, 3), (0, 1))
    assert union(((0, 1), (5, 6)), ((2, 3),)) == ((0, 1), (5, 6))


@pytest.mark.parametrize(
    ("axes", "box", "breadths", "flat"),
    [
        (((0,), (1,), (2,)), ((0, 2), (0, 3), (4, 5)), (2, 2, 1), False),
        (((0,), (0,), (1,)), ((0, 6), (0, 2)), (3, 3, 2), True),
        (((0,), (0,), (1,)), ((0, 6), (0, 2), (0, 1)), (3, 3, 2), False),
        (((0, 1), ()), ((0, 1), (0, 2)), (1, 1, 1), False),
        (((0,), (1,)), ((0, 2), (0, 2)), (2, 2, 2), False),
    ],
)
def test_over_how_many_axes_a_tensor_runs(axes: Any, box: Any, breadths: Any, flat: bool) -> None:
    origin = Origin(0, -1, axes, box)
    found = origin.breadth(), origin.breadth(3), origin.breadth(2)
    assert (found, origin.is_flat_stack()) == (breadths, flat)


# Labels: an einsum by them is the product.


SHAPES = [
    ("matmul", (4,), (4,)), ("matmul", (3, 4), (4,)), ("matmul", (4,), (4, 5)),
    ("matmul", (3, 4), (4, 5)), ("matmul", (2, 3, 4), (4, 5)), ("matmul", (3, 4), (2, 4, 5)),
    ("matmul", (2, 3, 4), (2, 4, 5)), ("matmul", (6, 2, 3, 4), (2, 4, 5)),
    ("matmul", (2, 3, 4), (6, 2, 4, 5)), ("matmul", (2, 3, 4), (4,)), ("matmul", (4,), (2, 4, 5)),
    ("mm", (3, 4), (4, 5)), ("bmm", (2, 3, 4), (2, 4, 5)), ("mv", (3, 4), (4,)),
    ("dot", (4,), (4,)),
]  # fmt: skip


def by_labels(labels: tuple[tuple[int, ...], ...], a: Tensor, b: Tensor) -> Tensor:
    known = {label: chr(97 + n) for n, label in enumerate(sorted({*sum(labels, ())}))}
    first, second, result = ("".join(known[label] for label in term) for term in labels)
    return torch.einsum(f"{first},{second}->{result}", a, b)


@pytest.mark.parametrize(("name", "left", "right"), SHAPES)
def test_equal_labels_are_one_axis(name: str, left: Any, right: Any) -> None:
    a, b = torch.randn(left), torch.randn(right)
    expected = getattr(torch, name)(a, b)
    labels = labels_of(Call("", name, False, (a, b), {}, None), (a, b))
    torch.testing.assert_close(by_labels(labels, a, b), expected)
    back = labels_of(Call("", "rmatmul", False, (b, a), {}, None), (b, a))
    torch.testing.assert_close(by_labels((back[1], back[0], back[2]), a, b), expected)
    if len(left) == len(right) == 3:
        c = torch.zeros(2, 3, 5)
        added = labels_of(Call("", "baddbmm", False, (c, a, b), {}, None), (c, a, b))
        assert added == (labels[2], *labels)


@pytest.mark.parametrize(
    ("equation", "left", "right"),
    [
        ("ij,jk->ik", (2, 3), (3, 4)), ("...ij,...jk->...ik", (5, 2, 3), (5, 3, 4)),
        ("...ij,...j->...i", (5, 2, 3), (5, 3)), ("...ij , jk -> ...ik", (6, 5, 2, 3), (3, 4)),
        ("i...j,j->...i", (2, 6, 5, 3), (3,)), ("bhqc,bhkc->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
        ("...i,...i->...", (3, 4), (3, 4)),
    ],
)  # fmt: skip
def test_labels_of_an_equation(equation: str, left: Any, right: Any) -> None:
    a, b = torch.randn(left), torch.randn(right)
    labels = labels_of(Call("", "einsum", False, (equation, a, b), {}, None), (a, b))
    torch.testing.assert_close(by_labels(labels, a, b), torch.einsum(equation, a, b))


@pytest.mark.parametrize("call", [
    ("einsum", ()), ("einsum", ("ij,jk", 1, 2)), ("einsum", ("ij,jk,kl->il", 1, 2)),
    ("einsum", (3,)), ("linear", ()), ("matmul", ()),
])  # fmt: skip
def test_what_has_no_labels(call: Any) -> None:
    a = torch.ones(2, 2)
    tensors = (a,) if call[0] == "matmul" else (a, a)
    assert labels_of(Call("", call[0], False, call[1], {}, None), tensors) == ()


# Signs and squares.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.cfloat, torch.cdouble])
def test_signs_are_of_size_one(dtype: torch.dtype) -> None:
    signs, other = (Signs.drawn((40, 5), dtype, torch.manual_seed(n)) for n in (0, 1))
    values = signs.tensor()
    assert (signs.shape, values.shape, values.dtype) == ((40, 5), (40, 5), dtype)
    assert values.abs().double() == pytest.approx(1)
    real = torch.view_as_real(values) if values.is_complex() else values
    assert len(real.unique()) == 2
    assert abs(float(real.double().mean())) < 5 / 200**0.5
    torch.testing.assert_close(signs.tensor(3.0), 3 * values)
    torch.testing.assert_close(signs.times(0.5).times(3).tensor(2.0), 3 * values)
    both = signs.times(0.7).plus(other.times(0.3))
    torch.testing.assert_close(both, 0.7 * values + 0.3 * other.tensor())
    assert torch.equal(signs.tensor(), values)  # none of these wrote to them


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_of_integers_they_are_ones(dtype: torch.dtype) -> None:
    signs = Signs.drawn((3, 2), dtype, torch.manual_seed(0))
    assert (signs.shape, signs.factor) == ((3, 2), 1)
    assert torch.equal(signs.tensor(), torch.ones(3, 2, dtype=dtype))


@pytest.mark.parametrize(
    ("values", "finite"),
    [([1.0, 2.0], True), ([3e38, 3e38], True), ([1.0, math.inf], False), ([math.nan], False)],
)
def test_what_is_finite(values: list[float], finite: bool) -> None:
    assert is_finite(torch.tensor(values)) is finite


@pytest.mark.parametrize("kind", [torch.float32, torch.cfloat])
def test_sums_of_squares_by_parts(kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squares, "PART", 7)
    a, b, c = (torch.randn(5, 4, dtype=kind, generator=torch.manual_seed(n)) for n in range(3))

    def size(x: Tensor) -> float:
        return float(x.abs().double().square().sum())

    assert squares.square(a) == pytest.approx(size(a))
    assert squares.square(a, (-1, b), (2, c), (3, None)) == pytest.approx(size(a - b + 2 * c))
    assert squares.distance(a, b, 3.0) == pytest.approx(size(a - 3 * b), rel=1e-5)
    if kind.is_complex:  # rows are real
        return
    assert squares.difference_in_size(a, b, None, 0.5) == pytest.approx(
        size(a.abs() - 2 * b.abs()), rel=1e-5
    )
    assert squares.difference_in_size(a, b, c, 0.5) == pytest.approx(
        size((a - c).abs() - 2 * (b - c).abs()), rel=1e-5
    )


def test_the_second_moment_of_outputs() -> None:
    """Of x @ W it is the number of inputs; of a causal sum the mean over its places."""
    x = torch.ones(3, 6)
    values = {0: Signs.drawn((6, 4), torch.float32, torch.manual_seed(0)), 1: x}

    def moments(function: Any, elements: int = 99) -> list[float]:
        class Numbers:
            def __call__(self, given: Any) -> Tensor:
                w = given[0]
                return function(w if isinstance(w, Tensor) else w.tensor(), x).flatten()

        made: Any = Numbers()
        made.elements = elements
        found = squares.second_moment(made, values, [0], torch.manual_seed(0))
        return [round(moment, 9) for moment in found]

    assert moments(lambda w, x: x @ w) == [6.0] * 12  # all of the outputs
    assert moments(lambda w, x: x @ w, 2**25 // 5) == [6.0] * 5
    assert moments(lambda w, x: x @ w, 2**30) == [6.0] * 2
    assert moments(lambda w, x: (x @ w).repeat(4, 1)) == [6.0] * 24
    assert moments(lambda w, x: x) == []
    assert moments(lambda w, x: x[:, :4] + 0 * w.sum()) == [0.0] * 12
    few = moments(lambda w, x: w.cumsum(0))
    assert sorted({*few}) == [1, 2, 3, 4, 5, 6]
    values[0] = Signs.drawn((64, 4), torch.float32, torch.manual_seed(0))
    many = moments(lambda w, x: w.cumsum(0))
    assert len(many) == squares.SIGNS
    assert sum(many) / len(many) == pytest.approx(32.5, rel=0.3)


# Constants.


def call(name: str, *args: object, **kwargs: object) -> Call:
    return Call("", name, False, args, kwargs, None)


ONE, TWO, X = torch.tensor(1.5), torch.tensor(2.5), torch.ones(3)


@pytest.mark.parametrize(
    ("one", "number"),
    [
        (call("mul", X, 3), 3), (call("mul", 3, X), 3), (call("mul", X, ONE), 1.5),
        (call("div", X, 4), 0.25), (call("div", X, 0), None), (call("sub", X, 4), -4),
        (call("sub", 4, X), -4), (call("add", X, 4), 4), (call("add", 3, 4), None),
        (call("add", X, X), None), (call("add", X), None), (call("add", 3), None),
        (call("pow", X, 0.5, 7), 0.5), (call("add", X, X, 2), None),
    ],
)  # fmt: skip
def test_the_number_among_two_operands(one: Call, number: float | None) -> None:
    assert number_among(one) == number


@pytest.mark.parametrize(
    ("value", "number"),
    [(2, 2), (0.5, 0.5), (None, None), ("2", None), (ONE, 1.5), (torch.tensor(2), None),
     (torch.ones(1), None), (torch.tensor(1.5, device="meta"), None)],
)  # fmt: skip
def test_a_number_or_a_tensor_that_holds_one(value: object, number: float | None) -> None:
    assert number_of(value) == number


@pytest.mark.parametrize(
    ("tensor", "shift", "square"),
    [
        (torch.tensor([1.0, 3.0]), 0.0, 5.0), (torch.tensor([1.0, 3.0]), -1.0, 2.0),
        (torch.tensor([True, False]), 0.0, 0.5), (torch.tensor([3 + 4j]), 0.0, 25.0),
        (torch.tensor([3 + 4j]), 1.0, None), (torch.empty(0), 0.0, None), (None, 0.0, None),
        (torch.tensor([0.0, -math.inf]), 0.0, None), (torch.tensor([math.nan]), 0.0, None),
        (torch.ones(2, device="meta"), 0.0, None), (torch.ones(2**20), 0.0, 1.0),
        (torch.ones(2**20 + 1), 0.0, None),
    ],
)  # fmt: skip
def test_the_mean_square_of_a_constant(tensor: Any, shift: float, square: float | None) -> None:
    assert mean_square(tensor, shift) == square


HALF, PARAM = torch.tensor([1.0, 0.0]), Value(0, (Origin(0, -1, ((0,),), ((0, 2),)),))
SIGNAL = torch.ones(2, device="meta")


@pytest.mark.parametrize(
    ("one", "square"),
    [
        (call("mul", SIGNAL, 2 * HALF), 2.0), (call("div", SIGNAL, 2 * HALF), 0.5),
        (call("rmul", 2 * HALF, SIGNAL), 2.0), (call("div", SIGNAL, 0 * HALF), 0.0),
        (call("mul", SIGNAL, SIGNAL), None), (call("mul", HALF, HALF), None),
        (call("where", HALF, SIGNAL, 0.0), 0.5), (call("where", 2 * HALF, 0.0, SIGNAL), -1.0),
        (call("where", HALF, SIGNAL, 1.0), None), (call("where", HALF, SIGNAL, 0 * HALF), 0.5),
        (call("where", HALF), None), (call("where", SIGNAL, 0.0, HALF), None),
        (call("masked_fill", SIGNAL, HALF, 0), 0.5), (call("masked_fill", SIGNAL, HALF, 1), None),
        (call("masked_fill", HALF, SIGNAL, 0), None), (call("masked_fill", SIGNAL, HALF), None),
        (call("add", SIGNAL, HALF), None),
    ],
)  # fmt: skip
def test_the_square_of_what_a_signal_is_multiplied_by(one: Call, square: float | None) -> None:
    tensors = [t for t in one.args if isinstance(t, Tensor)]
    assert constant_square(one, tensors, [Value(n) for n in range(len(tensors))]) == square
    if one.function == "mul":
        assert constant_square(one, [*tensors, X], [Value(0), Value(1), PARAM]) == square


@pytest.mark.parametrize(
    ("function", "square"),
    [
        (lambda x: 3 * x, 9.0), (lambda x: x[:, :2], 1.0), (lambda x: x.cumsum(-1), 2.5),
        (lambda x: x + 0j, 1.0), (lambda x: x.to_sparse(), 1.0), (lambda x: x * 0, 0.0),
        (lambda x: (x, x), None), (lambda x: None, None), (lambda x: x[:0], None),
        (lambda x: x > 0, None), (lambda x: x.abs() ** 0.5, None), (lambda x: x.exp(), None),
        (lambda x: x / 0, None), (lambda x: x + 2e-3, None), (lambda x: x + 5e-4, 1.0),
        (lambda x: x.shape[99], None), (lambda x: x.long(), None),
    ],
)  # fmt: skip
def test_what_an_unlisted_function_makes_of_a_square(function: Any, square: Any) -> None:
    """Of 4,000 numbers: cumsum's 2.5 is a mean with 4 % of error, and most others are exact."""
    one = Unlisted(function, "f", (_Signal((1000, 4), torch.float32),), {})
    found = measured_square(one)
    assert found == (None if square is None else pytest.approx(square, rel=0.2))


@pytest.mark.parametrize(
    ("source", "target", "leads"), [(1, 40, False), (2, 40, True), (9, 9, True)]
)
def test_each_call_is_asked_once_what_it_takes(source: int, target: int, leads: bool) -> None:
    """Of calls that take the two before, more paths lead back than anyone can walk."""
    asked: list[int] = []

    def taken_by(number: int) -> tuple[int, ...]:
        asked.append(number)
        assert len(asked) <= target
        return (number - 1, number - 2) if number >= 4 else ()

    assert leads_to(taken_by, source, target) is leads
    assert len({*asked}) == len(asked)
    assert all(number > source for number in asked)


# Looking tensors up.


def test_a_nest_of_arguments_is_replaced() -> None:
    size, named = torch.Size((2, 3)), torch.return_types.max((X, X))
    given = ([1, (2, {"a": 3})], size, named, {"b": X})
    expected = ([2, (3, {"a": 4})], (3, 4), (X + 1, X + 1), {"b": X + 1})
    found = replaced(given, lambda item: item + 1)
    assert str(found) == str(expected)
    assert [type(one) for one in found] == [list, tuple, tuple, dict]


@pytest.mark.parametrize(
    ("one", "relu"),
    [
        (call("clamp", X, 0), True), (call("clamp", X, min=0), True), (call("clamp", X, 1), False),
        (call("clamp", X, 0, 6), False), (call("clamp", X, None, 0), False),
        (call("clamp", X, max=0), False), (call("clip", X, 0.0, None), True),
        (call("clamp_min", X, 0), True), (call("clamp", X, min=0, max=6), False),
        (call("clamp", X, X), False), (call("relu", X), False), (call("clamp", X), False),
    ],
)  # fmt: skip
def test_a_clamp_from_0_is_a_relu(one: Call, relu: bool) -> None:
    graph: Any = SimpleNamespace(nodes=[])
    node: Any = SimpleNamespace(function=one.function, inputs=())
    assert Graph._is_relu(graph, node, one) is relu
