"""What a grown parameter gets, from numbers made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from goodinit.errors import SchemeError
from goodinit.schemes import Layout, LikeRows, PieceMeans, Scheme, Site
from goodinit.schemes.grown import DropUnits
from goodinit.streams import Law, Stream

EXPERTS = Layout(outputs=(1,), inputs=(2,), batch=(0,))


def normal(out: Tensor, law: Law, purpose: str = "") -> None:
    Stream(1).fill_(out, "w", law, purpose=purpose)


def units(out: Tensor, law: Law, purpose: str = "") -> None:
    assert law == Law.uniform(0.0, 1.0)
    Stream(2).fill_(out, "layer", law, purpose=purpose)


def redrawn(old: Tensor, scheme: DropUnits, first: int = 0) -> Tensor:
    out = old.clone()
    scheme.redraw_(out, Site.of(tuple(old.shape), EXPERTS), first, normal, units)
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("axis", "at"), [("outputs", 1), ("inputs", 2)])
def test_a_share_of_the_units_is_drawn_with_the_mean_and_std_of_what_it_replaces(
    dtype: torch.dtype, axis: str, at: int
) -> None:
    old = torch.arange(3 * 7 * 7).view(3, 7, 7).to(dtype) / 8
    new, numbers = redrawn(old, DropUnits(0.3, axis)), torch.empty(3, 7, 7)
    normal(numbers, Law.normal(0.0, 1.0))
    for expert in range(3):
        was, now, z = (t[expert].movedim(at - 1, 0) for t in (old, new, numbers))
        chosen = [unit for unit in range(7) if not torch.equal(was[unit], now[unit])]
        chance = torch.empty(7)
        units(chance, Law.uniform(0.0, 1.0), f"units of expert {expert} of 7")
        assert set(chosen) == set(chance.argsort()[:2].tolist())  # 30 % of 7, rounded down
        there = was[chosen].double()
        expected = there.mean() + there.std(correction=0) * z[chosen].double()
        assert torch.equal(now[chosen], expected.to(dtype))


def test_the_units_are_the_same_in_and_out_and_in_a_part_of_the_experts() -> None:
    old = torch.randn(4, 6, 6, generator=torch.Generator().manual_seed(0))
    up, down = redrawn(old, DropUnits(0.5)), redrawn(old, DropUnits(0.5, "inputs"))
    assert torch.equal((up != old).any(2), (down != old).any(1))
    part = redrawn(old[2:], DropUnits(0.5), first=2)
    assert torch.equal((part != old[2:]).any(2), (up[2:] != old[2:]).any(2))
    for share in (0.0, 0.1):  # of 6: less than one unit
        assert torch.equal(redrawn(old, DropUnits(share)), old)
    assert (redrawn(old, DropUnits(1.0)) != old).all()


@pytest.mark.parametrize(
    ("shape", "layout", "fits"),
    [
        ((3, 4, 5), EXPERTS, True),
        ((3, 4, 5), Layout(outputs=(2,), inputs=(1,), batch=(0,)), True),
        ((3, 4), Layout(outputs=(0,), inputs=(1,)), True),
        ((3, 4), Layout(outputs=(1,), inputs=(0,)), True),
        ((3,), Layout(outputs=(0,)), False),
        ((3, 4, 5), Layout(outputs=(0,), inputs=(1, 2)), False),
        ((3, 4, 5), Layout(outputs=(1, 2), inputs=(0,)), False),
        ((3, 4, 5), None, False),
    ],
)
def test_a_matrix_or_a_stack_of_them_is_needed(
    shape: tuple[int, ...], layout: Layout | None, fits: bool
) -> None:
    site = Site.of(shape, layout)
    if fits:
        DropUnits().check(site)
    else:
        with pytest.raises(
            SchemeError, match=r"a matrix, or a stack of matrices, \[experts, out, in\]"
        ):
            DropUnits().check(site)


@pytest.mark.parametrize("shape", [(50,), (50, 3), (50, 2, 2)])
def test_new_rows_have_the_mean_and_a_share_of_the_covariance(shape: tuple[int, ...]) -> None:
    old = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 2.0
    rows = old.reshape(50, -1).double()
    width = rows.shape[1]
    mean, covariance = rows.mean(0), torch.cov(rows.T, correction=0).reshape(width, width)

    def one_by_one(out: Tensor, law: Law, purpose: str = "") -> None:
        assert law == Law.normal(0.0, 1.0)
        out.copy_(torch.eye(width).reshape(out.shape))

    out = torch.empty(width, *shape[1:])
    LikeRows(share=0.25).fill_from_(out, old, one_by_one)
    root = (out.reshape(width, width).double() - mean) / 0.5  # share C = 1/4 R^T R
    torch.testing.assert_close(root.T @ root, covariance, atol=1e-6, rtol=1e-6)
    LikeRows(share=0).fill_from_(out, old, None)  # type: ignore[arg-type]
    torch.testing.assert_close(out.reshape(width, width), mean.float().expand(width, -1))


def test_rows_of_pieces_are_means_in_float64() -> None:
    old = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]])
    out = torch.empty(2, 2)
    PieceMeans([[0, 2], (1,)]).fill_from_(out, old, None)  # type: ignore[arg-type]
    assert out.tolist() == [[3.0, 5.5], [3.0, 4.0]]
    PieceMeans([[0, 2], [1]]).check_grown((3, 2), (5, 2))


@pytest.mark.parametrize(
    ("scheme", "old", "new", "says"),
    [
        (PieceMeans([[0, 2], [1]]), (2, 2), (4, 2), "row 2, and the checkpoint's are 0 to 1"),
        (PieceMeans([[0], [1]]), (3, 2), (4, 2), "has 2 rows, and 1 are new"),
        (PieceMeans([[0]]), (3, 2), (5, 2), "has 1 rows, and 2 are new"),
        (LikeRows(), (3, 2), (3, 4), "has become"),
        (LikeRows(), (3,), (5, 2), "has become"),
        (LikeRows(), (3, 2), (5,), "has become"),
        (LikeRows(), (), (3,), "has become"),
    ],
)
def test_what_has_not_grown_by_rows_is_refused(
    scheme: LikeRows | PieceMeans, old: tuple[int, ...], new: tuple[int, ...], says: str
) -> None:
    with pytest.raises(SchemeError, match=says):
        scheme.check_grown(old, new)


@pytest.mark.parametrize(
    "pieces", [3, [], [[]], [3], [[1.0]], [[True]], [[-1]], [[0], []], ["ab"], {"a": 1}]
)
def test_what_is_no_list_of_rows_is_refused(pieces: object) -> None:
    with pytest.raises(SchemeError, match="has a list of old rows for each new one"):
        PieceMeans(pieces)  # type: ignore[arg-type]


def test_pieces_are_kept_as_tuples_and_saved_as_lists() -> None:
    scheme: Scheme = PieceMeans([[3, 17], [5]])
    assert scheme == PieceMeans(((3, 17), (5,)))
    assert scheme.to_dict() == {"scheme": "PieceMeans", "pieces": [[3, 17], [5]]}
    with pytest.raises(SchemeError, match="share is from 0 to 1"):
        DropUnits(math.nextafter(1.0, 2.0))
    assert DropUnits(1.0).share == 1.0
