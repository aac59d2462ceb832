"""What each function does with each of its arguments: one row of the table for each signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as fn

from goodinit.anatomy import read

from .test_computed import Net

MATRIX, BATCH = torch.randn(5, 8), torch.randn(2, 5, 8)
MAPS, IDS = torch.randn(2, 8, 9), torch.tensor([1, 2])

WEIGHT, BIAS = ("linear", "head"), ("linear", "bias")
CONV, CONV_BIAS = ("conv", "head"), ("conv", "bias")
NORM = {"w": ("norm", "weight", None), "b": ("norm", "bias", None)}
TABLE = {"w": ("embedding", "table", (1, 8))}


def convolution(x: Any, m: Any, transposed: bool) -> torch.Tensor:
    return torch.convolution(x, m.w, m.b, [2], [0], [1], transposed, [0], 2)


# name: (function, input, shapes of w and b, and of each its kind, part and fans)
CALLS: dict[str, tuple[Callable[..., Any], Any, dict[str, Any], dict[str, Any]]] = {
    "linear": (
        lambda m, x: fn.linear(x, m.w, m.b), BATCH, {"w": (12, 8), "b": (12,)},
        {"w": (*WEIGHT, (8, 12)), "b": (*BIAS, None)},
    ),
    "linear by names": (
        lambda m, x: fn.linear(x, bias=m.b, weight=m.w), BATCH, {"w": (12, 8), "b": (12,)},
        {"w": (*WEIGHT, (8, 12)), "b": (*BIAS, None)},
    ),
    "conv1d": (
        lambda m, x: fn.conv1d(x, m.w, m.b), MAPS, {"w": (12, 8, 3), "b": (12,)},
        {"w": (*CONV, (24, 36)), "b": (*CONV_BIAS, None)},
    ),
    "conv_transpose1d": (
        lambda m, x: fn.conv_transpose1d(x, m.w, m.b), MAPS, {"w": (8, 12, 3), "b": (12,)},
        {"w": (*CONV, (24, 36)), "b": (*CONV_BIAS, None)},
    ),
    "aten's convolution of stride 2 and 2 groups": (
        lambda m, x: convolution(x, m, False), MAPS, {"w": (12, 4, 3), "b": (12,)},
        {"w": (*CONV, (12, 9)), "b": (*CONV_BIAS, None)},
    ),
    "aten's convolution, transposed": (
        lambda m, x: convolution(x, m, True), MAPS, {"w": (8, 6, 3), "b": (12,)},
        {"w": (*CONV, (6, 18)), "b": (*CONV_BIAS, None)},
    ),
    "addmm": (
        lambda m, x: torch.addmm(m.b, x, m.w), MATRIX, {"w": (8, 12), "b": (12,)},
        {"w": (*WEIGHT, (8, 12)), "b": (*BIAS, None)},
    ),
    "addmm, weight first": (
        lambda m, x: torch.addmm(m.b, m.w, x.T), MATRIX, {"w": (12, 8), "b": (12, 1)},
        {"w": (*WEIGHT, (8, 12)), "b": (*BIAS, None)},
    ),
    "addmv": (
        lambda m, x: torch.addmv(m.b, m.w, x), MATRIX[0], {"w": (12, 8), "b": (12,)},
        {"w": (*WEIGHT, (8, 12)), "b": (*BIAS, None)},
    ),
    "mv": (
        lambda m, x: torch.mv(m.w, x), MATRIX[0], {"w": (12, 8)}, {"w": (*WEIGHT, (8, 12))},
    ),
    "mv of a vector": (
        lambda m, x: torch.mv(x, m.w), MATRIX, {"w": (8,)}, {"w": (*WEIGHT, (8, 1))},
    ),
    "vector @": (
        lambda m, x: m.w @ x.T, MATRIX, {"w": (8,)}, {"w": (*WEIGHT, (8, 1))},
    ),
    "dot": (
        lambda m, x: torch.dot(x, m.w), MATRIX[0], {"w": (8,)}, {"w": (*WEIGHT, (8, 1))},
    ),
    "__rmatmul__": (
        lambda m, x: m.w.__rmatmul__(x), BATCH, {"w": (8, 12)}, {"w": (*WEIGHT, (8, 12))},
    ),
    "stacked @, on the right": (
        lambda m, x: x[:, None] @ m.w, BATCH, {"w": (3, 8, 12)}, {"w": (*WEIGHT, (8, 12))},
    ),
    "stacked @, on the left": (
        lambda m, x: m.w @ x[:, None].mT, BATCH, {"w": (3, 12, 8)}, {"w": (*WEIGHT, (8, 12))},
    ),
    "baddbmm": (
        lambda m, x: torch.baddbmm(m.b, x, m.w), BATCH, {"w": (2, 8, 12), "b": (2, 1, 12)},
        {"w": (*WEIGHT, (8, 12)), "b": (*BIAS, None)},
    ),
    "addbmm sums over the batch": (
        lambda m, x: torch.addbmm(m.b, x, m.w), BATCH, {"w": (2, 8, 12), "b": (12,)},
        {"w": (*WEIGHT, (16, 12)), "b": (*BIAS, None)},
    ),
    "addbmm, weight first": (
        lambda m, x: torch.addbmm(m.b, m.w, x.mT), BATCH, {"w": (2, 12, 8), "b": (5,)},
        {"w": (*WEIGHT, (16, 12)), "b": (*BIAS, None)},
    ),
    "addcmul": (
        lambda m, x: torch.addcmul(m.b, m.w, x), MATRIX, {"w": (8,), "b": (8,)},
        {"w": ("scale", "weight", None), "b": ("other", "bias", None)},
    ),
    "addcmul, weight last": (
        lambda m, x: torch.addcmul(m.b, x, m.w), MATRIX, {"w": (8,), "b": (8,)},
        {"w": ("scale", "weight", None), "b": ("other", "bias", None)},
    ),
    "bilinear": (
        lambda m, x: fn.bilinear(x, x[:, :6], m.w, m.b), MATRIX, {"w": (12, 8, 6), "b": (12,)},
        {"w": (*WEIGHT, (48, 84)), "b": (*BIAS, None)},
    ),
    "embedding": (lambda m, x: fn.embedding(x, m.w), IDS, {"w": (12, 8)}, TABLE),
    "aten's embedding": (lambda m, x: torch.embedding(m.w, x), IDS, {"w": (12, 8)}, TABLE),
    "rows by indices": (lambda m, x: m.w[x], IDS, {"w": (12, 8)}, TABLE),
    "index_select": (
        lambda m, x: torch.index_select(m.w, 0, x), IDS, {"w": (12, 8)}, TABLE,
    ),
    "positions": (
        lambda m, x: x @ m.b + fn.embedding(torch.arange(5), m.w), BATCH,
        {"w": (12, 12), "b": (8, 12)},
        {"w": ("position", "table", (1, 12)), "b": (*WEIGHT, (8, 12))},
    ),
    "layer_norm": (
        lambda m, x: fn.layer_norm(x, (8,), m.w, m.b), BATCH, {"w": (8,), "b": (8,)}, NORM,
    ),
    "rms_norm": (
        lambda m, x: fn.rms_norm(x, (8,), m.w), BATCH, {"w": (8,)}, {"w": NORM["w"]},
    ),
    "group_norm": (
        lambda m, x: fn.group_norm(x, 2, m.w, m.b), MAPS, {"w": (8,), "b": (8,)}, NORM,
    ),
    "batch_norm": (
        lambda m, x: fn.batch_norm(x, None, None, m.w, m.b, True), MAPS,
        {"w": (8,), "b": (8,)}, NORM,
    ),
    "instance_norm": (
        lambda m, x: fn.instance_norm(x, None, None, m.w, m.b, True), MAPS,
        {"w": (8,), "b": (8,)}, NORM,
    ),
    "aten's batch norm": (
        lambda m, x: torch.native_batch_norm(x, m.w, m.b, None, None, True, 0.1, 1e-5)[0], MAPS,
        {"w": (8,), "b": (8,)}, NORM,
    ),
    "aten's layer norm": (
        lambda m, x: torch.native_layer_norm(x, (8,), m.w, m.b, 1e-5)[0], BATCH,
        {"w": (8,), "b": (8,)}, NORM,
    ),
    "aten's group norm": (
        lambda m, x: torch.native_group_norm(x, m.w, m.b, 2, 8, 9, 4, 1e-5)[0], MAPS,
        {"w": (8,), "b": (8,)}, NORM,
    ),
    "tensordot, weight first": (
        lambda m, x: torch.tensordot(m.w, x, dims=([1], [2])), BATCH, {"w": (12, 8)},
        {"w": (*WEIGHT, (8, 12))},
    ),
    "tensordot over two axes": (
        lambda m, x: torch.tensordot(x, m.w, 2), BATCH, {"w": (5, 8, 12)},
        {"w": (*WEIGHT, (40, 12))},
    ),
    "einsum without an arrow": (
        lambda m, x: torch.einsum("bti,io", x, m.w), BATCH, {"w": (8, 12)},
        {"w": (*WEIGHT, (8, 12))},
    ),
    "mm": (lambda m, x: torch.mm(x, m.w), MATRIX, {"w": (8, 12)}, {"w": (*WEIGHT, (8, 12))}),
    "bmm": (lambda m, x: torch.bmm(x, m.w), BATCH, {"w": (2, 8, 12)}, {"w": (*WEIGHT, (8, 12))}),
    "inner": (
        lambda m, x: torch.inner(x, m.w), BATCH, {"w": (12, 8)}, {"w": (*WEIGHT, (8, 12))},
    ),
    "addmm by names": (
        lambda m, x: torch.addmm(m.b, mat2=m.w, mat1=x), MATRIX, {"w": (8, 12), "b": (12,)},
        {"w": (*WEIGHT, (8, 12)), "b": (*BIAS, None)},
    ),
    "conv1d of stride 2": (
        lambda m, x: fn.conv1d(x, m.w, stride=2), MAPS, {"w": (12, 8, 3)},
        {"w": (*CONV, (24, 18))},
    ),
    "conv1d with its groups by place": (
        lambda m, x: fn.conv1d(x, m.w, None, 1, 0, 1, 2), MAPS, {"w": (12, 4, 3)},
        {"w": (*CONV, (12, 18))},
    ),
    "conv2d of a stride for each axis": (
        lambda m, x: fn.conv2d(x[..., None], m.w, stride=(2, 1)), MAPS, {"w": (12, 8, 3, 1)},
        {"w": (*CONV, (24, 18))},
    ),
    "conv_transpose1d of stride 2": (
        lambda m, x: fn.conv_transpose1d(x, m.w, stride=2), MAPS, {"w": (8, 12, 4)},
        {"w": (*CONV, (16, 48))},
    ),
    "tensordot over the last axis": (
        lambda m, x: torch.tensordot(x, m.w, dims=([-1], [0])), BATCH, {"w": (8, 12)},
        {"w": (*WEIGHT, (8, 12))},
    ),
    "einsum with an ellipsis": (
        lambda m, x: torch.einsum("oi,...i->...o", m.w, x), BATCH, {"w": (12, 8)},
        {"w": (*WEIGHT, (8, 12))},
    ),
    "einsum of a stack": (
        lambda m, x: torch.einsum("bti,hio->bhto", x, m.w), BATCH, {"w": (3, 8, 12)},
        {"w": (*WEIGHT, (8, 36))},
    ),
    "a bag of one row": (
        lambda m, x: fn.embedding_bag(x[:, None], m.w, mode="sum"), IDS, {"w": (12, 8)}, TABLE,
    ),
    "rows of a slice": (lambda m, x: m.w[2:][x], IDS, {"w": (12, 8)}, TABLE),
    "prelu": (
        lambda m, x: fn.prelu(x.mT @ m.w, m.b), BATCH, {"w": (5, 8), "b": (1,)},
        {"w": ("linear", "weight", (5, 8)), "b": ("scale", "weight", None)},
    ),
    "a style on a kernel": (
        lambda m, x: fn.conv1d(x[:1], m.w * (x[0].mean(-1) @ m.b)[None, :, None]), MAPS,
        {"w": (12, 8, 3), "b": (8, 8)},
        {"w": (*CONV, (24, 36)), "b": ("linear", "weight", (24 * 8, 36 * 8))},
    ),
    "matrices picked for each sample": (
        lambda m, x: torch.bmm(x, m.w[x[:, 0].argmax(-1)]), BATCH, {"w": (8, 8, 4)},
        {"w": (*WEIGHT, (8, 4))},
    ),
    "a matrix that is stacked": (
        lambda m, x: torch.einsum("bti,eio->bteo", x, m.w * torch.tensor([[[1.0]], [[3.0]]])),
        BATCH, {"w": (8, 12)}, {"w": (*WEIGHT, (5 * 8, 5 * 2 * 12))},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_each_argument_is_what_its_place_says(name: str) -> None:
    function, x, shapes, expected = CALLS[name]
    rows = read(Net(function, **shapes), x).rows
    fans = {row.name: [(site.fan_in, site.fan_out) for _, site in row.sites()] for row in rows}
    assert all(len(set(pairs)) == 1 for pairs in fans.values())
    found = {
        row.name: (
            *(row.facets.kind, row.facets.part),
            None if fans[row.name][0] == (None, None) else fans[row.name][0],
        )
        for row in rows
    }
    assert found == expected


def test_a_stacked_matrix_keeps_its_axes() -> None:
    function, x, shapes, _ = CALLS["a matrix that is stacked"]
    (row,) = read(Net(function, **shapes), x).rows
    layout = row.facets.layout
    assert layout is not None
    assert (layout.outputs, layout.inputs) == ((1,), (0,))


def test_a_view_shows_what_was_written_since() -> None:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        y = x @ m.w
        view = y.view_as(y)
        y.relu_()
        return view @ m.b

    rows = read(Net(run, w=(8, 16), b=(16, 4)), BATCH).rows
    assert [row.facets.activation for row in rows] == ["relu", None]
    assert [row.facets.plain for row in rows] == [2, 0]


@pytest.mark.parametrize(
    ("function", "shape"),
    [(lambda m, x: x[:, None] @ m.w, (1, 8, 12)), (lambda m, x: m.w @ x[:, None].mT, (1, 12, 8))],
    ids=["right", "left"],
)
def test_a_stack_of_one_matrix_is_a_stack(
    function: Callable[..., Any], shape: tuple[int, ...]
) -> None:
    (row,) = read(Net(function, w=shape), BATCH).rows
    assert row.facets.layout is not None
    assert row.facets.layout.batch == (0,)


@pytest.mark.parametrize(("width", "cut"), [(2, 0), (16, 0), (24, 8)])
def test_a_part_of_a_part_is_where_it_was(width: int, cut: int) -> None:
    """Chunks of a copy of a slice; axes of two elements too."""

    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        gate, value = (x @ m.w)[..., cut:].mul(2.0).chunk(2, -1)
        return (torch.sigmoid(gate) * value) @ m.b

    half = (width - cut) // 2
    row = read(Net(run, w=(8, width), b=(half, 4)), BATCH).rows[0]
    boxes = {block.name: block.box[1] for block in row.facets.blocks}
    rest = {"rest0": (0, cut)} if cut else {}
    assert boxes == rest | {"gate": (cut, cut + half), "in": (cut + half, width)}


def test_the_first_look_into_a_table_is_its_evidence() -> None:
    def run(m: Any, x: torch.Tensor) -> torch.Tensor:
        return fn.embedding(x, m.w) + m.w[x.flip(0)]

    (row,) = read(Net(run, w=(12, 8)), IDS).rows
    assert row.facets.evidence == "embedding(i, W)"
