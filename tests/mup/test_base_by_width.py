"""A base that is a width alone: which sizes of a row grow with it, on rows made by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import pytest
import torch
from tests.mup.networks import IMAGES, NUMBERS, TOKENS, Cnn, Gpt, Mlp
from torch import Tensor, nn

from goodinit.anatomy import read
from goodinit.anatomy.rows import Block, Facets, Row
from goodinit.errors import RecipeError
from goodinit.plans import base_by_width
from goodinit.plans.base_by_width import _hidden_axes, _shrunk_row, _width
from goodinit.recipes.base import Base
from goodinit.schemes import Layout

LINEAR = Layout(outputs=(0,), inputs=(1,))
CONV = Layout(outputs=(0,), inputs=(1,), window=(2,))
TABLE = Layout(outputs=(1,), inputs=(0,), lookup=True)
BASE = Base("mup", 16)


def row(*shape: int, layout: Layout | None = LINEAR, **facets: object) -> Row:
    return Row("w", shape, torch.float32, nn.Linear, Facets(layout=layout, **facets))


def shrunk(one: Row, base: Base = BASE) -> Row:
    """At a quarter of a width of 64."""
    return _shrunk_row(one, Fraction(1, 4), 64, base)


@pytest.mark.parametrize(
    ("one", "axes"),
    [
        (row(64, 128), {0, 1}),
        (row(64, 1), {0}),
        (row(64, 32, takes_input=True), {0}),
        (row(10, 64, part="head"), {1}),
        (row(8, 64, kind="router"), {1}),
        (row(100, 64, layout=TABLE), {1}),
        (row(100, 64, layout=TABLE, part="head"), {1}),  # tied: its rows are a width
        (row(64, 32, 3, layout=CONV), {0, 1}),
        (row(64, layout=None), {0}),
        (row(10, layout=None, part="bias", goes_with="head"), set()),
        (row(64, layout=None, part="bias", goes_with="end"), {0}),
        (row(1, 1, 96, layout=None), {2}),
        (row(16, 64, layout=None), {1}),  # positions: of two sizes that which is the width
        (row(16, 96, layout=None), set()),
    ],
)
def test_which_axes_grow(one: Row, axes: set[int]) -> None:
    assert _hidden_axes(one, 64) == axes
    small = shrunk(one)
    assert small.shape == tuple(n // 4 if a in axes else n for a, n in enumerate(one.shape))
    assert small.facets.width is None
    assert shrunk(replace(one, facets=replace(one.facets, width=64))).facets.width == 16


def test_what_is_no_whole_number_is_refused() -> None:
    assert shrunk(row(64, 12)).shape == (16, 3)
    with pytest.raises(RecipeError, match="w has a size of 30 where the width is 64"):
        shrunk(row(64, 30))


@pytest.mark.parametrize(
    ("groups", "inputs", "after"), [(64, 1, 16), (4, 16, 4), (2, 1, 1)], ids=str
)
def test_a_depthwise_kernel_has_a_group_for_each_channel(
    groups: int, inputs: int, after: int
) -> None:
    small = shrunk(row(64, inputs, 3, layout=replace(CONV, groups=groups)))
    assert small.facets.layout == replace(CONV, groups=after)


@pytest.mark.parametrize(
    ("depth", "layers", "after"), [(8, None, 8), (8, 2, 2), (None, 2, None)], ids=str
)
def test_the_depth_is_the_bases_where_it_is_said(depth, layers, after) -> None:
    base = Base("completep", 16, layers)
    assert shrunk(row(64, 64, depth=depth), base).facets.depth == after


@pytest.mark.parametrize(("beside", "after"), [(1.0, 1.0), (1 / 64, 1 / 16), (None, None)])
def test_positions_beside_a_tied_table_are_as_its_rows(beside, after) -> None:
    assert shrunk(row(64, 64, beside=beside)).facets.beside == after


def test_blocks_shrink_along_the_axes_that_do() -> None:
    blocks = (
        Block("q", ((0, 64), (0, 64)), 64.0, 64.0),
        Block("v", ((64, 128), (0, 64)), 32.0, 16.0),  # half of it is summed over
        Block("rest", ((128, 192), (0, 64))),
    )
    small = shrunk(row(192, 64, blocks=blocks)).facets.blocks
    assert [b.box for b in small] == [
        ((0, 16), (0, 16)), ((16, 32), (0, 16)), ((32, 48), (0, 16)),
    ]  # fmt: skip
    assert [(b.fan_in, b.fan_out) for b in small] == [(16.0, 16.0), (8.0, 4.0), (None, None)]


def test_a_block_on_the_models_input_keeps_its_fan_in() -> None:
    block = Block("gate", ((0, 64), (0, 8)), 8.0, 64.0)
    (small,) = shrunk(row(128, 8, blocks=(block,), takes_input=True)).facets.blocks
    assert (small.box, small.fan_in, small.fan_out) == (((0, 16), (0, 8)), 8.0, 16.0)


class Gated(nn.Module):
    """Two projections of the input in one matrix, a depthwise kernel, and a scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.both, self.mix = nn.Linear(8, 2 * width), nn.Conv1d(width, width, 3, groups=width)
        self.scale, self.head = nn.Parameter(torch.ones(1, 1, width)), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.both(x).chunk(2, -1)
        y = self.mix((gate.sigmoid() * value).mT).mT
        return self.head(y.relu() * self.scale)


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (Mlp, NUMBERS), (Gpt, TOKENS), (Cnn, IMAGES), (partial(Gpt, tied=True, heads=4), TOKENS),
        (Gated, NUMBERS[None]),
    ],
    ids=["mlp", "gpt", "cnn", "tied", "gated"],
)  # fmt: skip
def test_the_rows_are_those_of_the_smaller_model(make, inputs: Tensor) -> None:
    made = base_by_width.shrunk(read(make(64), inputs), BASE).rows
    for row, own in zip(made, read(make(16), inputs).rows, strict=True):
        assert row.facets == own.facets, row.name
        assert (row.shape, row.sites()) == (own.shape, own.sites()), row.name


@dataclass
class Rows:
    rows: tuple[Row, ...]


def test_the_width_is_the_streams_or_else_the_commonest() -> None:
    hidden = (row(64, 3), row(32, 64), row(32, 32), row(100, 64, layout=TABLE))
    heads = tuple(row(10, 32, part="head") for _ in range(3))
    assert _width(Rows((*hidden, *heads))) == 32
    assert _width(Rows((*hidden, row(8, 8, width=48)))) == 48
    with pytest.raises(RecipeError, match="no weight has a hidden size"):
        _width(Rows(heads))
