"""Matrices: orthogonality through the module, torch's functions beside ours, every error."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from goodinit.errors import FanError, SchemeError
from goodinit.schemes import (
    DeltaOrthogonal,
    Dirac,
    Identity,
    Layout,
    Orthogonal,
    Site,
    Sparse,
    Zeros,
)
from goodinit.schemes.haar import haar, haar_box_

LINEAR = Layout((0,), (1,))
CONV2D = Layout((0,), (1,), (2, 3))


def gaussian(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("outputs", "inputs"), [(64, 64), (96, 64), (1, 5), (5, 1)])
def test_orthogonal_keeps_norms_through_the_module(outputs: int, inputs: int, fill) -> None:
    layer = nn.Linear(inputs, outputs, bias=False)
    fill(Orthogonal(gain=1.5), (outputs, inputs), LINEAR, out=layer.weight)
    x = gaussian(32, inputs)
    if outputs >= inputs:
        torch.testing.assert_close(layer(x).norm(dim=1), 1.5 * x.norm(dim=1))
    else:  # orthonormal rows: W W^T = gain^2
        w = layer.weight
        torch.testing.assert_close(w @ w.T, 2.25 * torch.eye(outputs))


def test_orthogonal_in_the_layout_inputs_by_outputs(fill) -> None:
    w = fill(Orthogonal(), (64, 96), Layout((1,), (0,)))
    x = gaussian(32, 64)
    torch.testing.assert_close((x @ w).norm(dim=1), x.norm(dim=1))


def test_stacked_matrices_are_orthogonal_one_by_one(fill) -> None:
    w = fill(Orthogonal(), (32, 3, 16), Layout((0,), (2,), batch=(1,)))
    for i in range(3):
        torch.testing.assert_close(w[:, i].T @ w[:, i], torch.eye(16))
    assert not torch.allclose(w[:, 0], w[:, 1])


def test_groups_are_orthogonal_one_by_one(fill) -> None:
    conv = nn.Conv1d(8, 16, 3, groups=4, bias=False)
    layout = Layout((0,), (1,), (2,), groups=4)
    fill(Orthogonal(), (16, 2, 3), layout, out=conv.weight)
    for w in conv.weight.reshape(4, 4, 6):
        torch.testing.assert_close(w @ w.T, torch.eye(4))
    up = nn.ConvTranspose1d(8, 16, 1, groups=4, bias=False)
    layout = Layout((1,), (0,), (2,), groups=4, transposed=True)
    fill(Orthogonal(), (8, 4, 1), layout, out=up.weight)
    x = gaussian(5, 8, 7)
    torch.testing.assert_close(up(x).norm(dim=1), x.norm(dim=1))


def test_the_moments_of_matrices(fill) -> None:
    sites = [
        (Orthogonal(2.0), (96, 4, 3, 3), CONV2D),
        (Orthogonal(2.0), (8, 4, 3, 3), CONV2D),
        (DeltaOrthogonal(2.0), (32, 8, 3, 3), CONV2D),
        (Identity(2.0), (12, 8), LINEAR),
        (Dirac(gain=2.0), (12, 8, 3, 3), CONV2D),
        (Dirac(groups=3), (12, 8, 3, 3), CONV2D),
    ]
    for scheme, shape, layout in sites:
        values = fill(scheme, shape, layout).double()
        mean, std = scheme.moments(Site.of(shape, layout))
        second = values.square().mean().item()
        assert second == pytest.approx(mean**2 + std**2, rel=1e-5), scheme
        if isinstance(scheme, (Identity, Dirac)):
            assert values.mean().item() == pytest.approx(mean)
    values = fill(Sparse(0.3, std=2.0), (1000, 300), LINEAR).double()
    mean, std = Sparse(0.3, std=2.0).moments(Site.of((1000, 300), LINEAR))
    n = values.count_nonzero().item()
    assert abs(values.square().mean().item() / std**2 - 1) < 5 * math.sqrt(2 / n)


def test_orthogonal_is_haar_distributed(fill) -> None:
    # Over the orthogonal group the trace has mean 0 and variance 1, and the diagonal either sign.
    # LAPACK's own Q, without the sign of R's diagonal, has a trace far from that.
    layout = Layout((1,), (2,), batch=(0,))
    q = fill(Orthogonal(), (4000, 6, 6), layout).double()
    traces = q.diagonal(dim1=1, dim2=2).sum(dim=1)
    assert abs(traces.mean().item()) < 5 / math.sqrt(4000)
    assert abs(traces.var().item() - 1) < 5 * math.sqrt(2 / 4000)
    theirs = torch.linalg.qr(gaussian(4000, 6, 6).double()).Q.diagonal(dim1=1, dim2=2).sum(dim=1)
    assert abs(theirs.mean().item()) > 5 / math.sqrt(4000)


def test_orthogonal_against_the_slow_reference(fill) -> None:
    """H_1 ... H_n D, one reflection after the other in float64, of more columns than one block."""
    from goodinit.streams import Law, Stream

    rows, columns = 560, 530
    a = Stream(0).fill_(torch.empty(rows, columns), "weight", Law.normal(0.0, 1.0)).double()
    reference = torch.eye(rows, columns, dtype=torch.float64)
    for k in reversed(range(columns)):
        v = a[k:, k].clone()  # what a QR decomposition of a Gaussian matrix would meet here
        v[0] += v.norm().copysign(v[0])
        v /= v.norm()
        reference[k:] -= 2 * torch.outer(v, v @ reference[k:])
    reference *= -a.diagonal().sign()
    drawn = fill(Orthogonal(), (rows, columns), LINEAR)
    torch.testing.assert_close(drawn, reference.float(), atol=2e-6, rtol=0.0)
    wide = fill(Orthogonal(), (3, 5), LINEAR)  # is drawn as the transpose of a tall one
    assert torch.allclose(wide @ wide.T, torch.eye(3), atol=1e-6)


@pytest.mark.parametrize("shape", [(600, 530), (3, 600, 530), (7, 40, 30)])
def test_orthogonal_bits_do_not_depend_on_threads(shape: tuple[int, ...]) -> None:
    g = gaussian(*shape)
    before, drawn = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        drawn.append(haar(g.clone()))
    torch.set_num_threads(before)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes_are_one_cast_from_float32(dtype: torch.dtype, fill) -> None:
    for scheme, layout in [
        (Orthogonal(), CONV2D),
        (DeltaOrthogonal(), CONV2D),
        (Dirac(), CONV2D),
        (Sparse(0.5), CONV2D),
    ]:
        single = fill(scheme, (16, 8, 3, 3), layout)
        assert torch.equal(fill(scheme, (16, 8, 3, 3), layout, dtype=dtype), single.to(dtype))


def test_strides_don_t_matter(fill) -> None:
    for scheme in (Orthogonal(), DeltaOrthogonal(), Dirac(), Sparse(0.5)):
        out = torch.empty(16, 8, 3, 3).to(memory_format=torch.channels_last)
        fill(scheme, (16, 8, 3, 3), CONV2D, out=out)
        assert torch.equal(out, fill(scheme, (16, 8, 3, 3), CONV2D))
        assert out.is_contiguous(memory_format=torch.channels_last)
        part = torch.full((32, 9, 3, 3), 7.0)
        fill(scheme, (16, 8, 3, 3), CONV2D, out=part[::2, :8])
        assert torch.equal(part[::2, :8], out)
        assert (part[1::2] == 7).all()
        assert (part[:, 8] == 7).all()


def test_torch_refuses_what_orthogonal_takes() -> None:
    with pytest.raises(RuntimeError):
        nn.init.orthogonal_(torch.empty(16, 8, dtype=torch.bfloat16))


def test_parameters_are_written_without_gradients(fill) -> None:
    weight = nn.Parameter(torch.empty(8, 8))
    before = weight._version
    fill(Orthogonal(), (8, 8), LINEAR, out=weight)
    assert weight.is_leaf
    assert weight._version > before


@pytest.mark.parametrize("transposed", [False, True])
def test_delta_orthogonal_keeps_norms(transposed: bool, fill) -> None:
    if transposed:
        conv = nn.ConvTranspose2d(8, 12, 3, padding=1, bias=False)
        layout = Layout((1,), (0,), (2, 3), transposed=True)
    else:
        conv = nn.Conv2d(8, 12, 3, padding=1, bias=False)
        layout = CONV2D
    fill(DeltaOrthogonal(), tuple(conv.weight.shape), layout, out=conv.weight)
    x = gaussian(4, 8, 5, 6)
    torch.testing.assert_close(conv(x).norm(), x.norm())
    assert conv.weight.count_nonzero() == 96


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 4, 3, 4), (12, 2, 3, 3, 5)])
def test_dirac_is_torch_s(groups: int, shape: tuple[int, ...], fill) -> None:
    layout = Layout((0,), (1,), tuple(range(2, len(shape))))
    theirs = nn.init.dirac_(torch.empty(shape), groups=groups)
    assert torch.equal(fill(Dirac(groups), shape, layout), theirs)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_dirac_returns_the_input(groups: int, fill) -> None:
    x = gaussian(2, 8, 6, 5)
    conv = nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False)
    layout = Layout((0,), (1,), (2, 3), groups=groups)
    fill(Dirac(), tuple(conv.weight.shape), layout, out=conv.weight)
    assert torch.equal(conv(x), x)
    up = nn.ConvTranspose2d(8, 8, 3, padding=1, groups=groups, bias=False)
    layout = Layout((1,), (0,), (2, 3), groups=groups, transposed=True)
    fill(Dirac(), tuple(up.weight.shape), layout, out=up.weight)
    assert torch.equal(up(x), x)


def test_identity_is_torch_s_eye(fill) -> None:
    assert torch.equal(fill(Identity(), (3, 5), LINEAR), nn.init.eye_(torch.empty(3, 5)))
    stacked = fill(Identity(), (2, 3, 3), Layout((1,), (2,), batch=(0,)))
    assert torch.equal(stacked, torch.eye(3).expand(2, 3, 3))


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 20),
    sparsity=st.floats(0, 1),
    flip=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_sparse_has_torch_s_zeros(
    rows: int, columns: int, sparsity: float, flip: bool, seed: int
) -> None:
    from goodinit.streams import Law, Stream

    def draw(out: Tensor, law: Law, purpose: str = "") -> None:
        Stream(seed).fill_(out, "w", law, purpose=purpose)

    layout = Layout((1,), (0,)) if flip else LINEAR
    w = torch.empty((columns, rows) if flip else (rows, columns))
    Sparse(sparsity, std=1.0).fill_(w, draw, Site.of(tuple(w.shape), layout))
    zeros = ((w.T if flip else w) == 0).sum(dim=0)
    theirs = (nn.init.sparse_(torch.empty(rows, columns), sparsity) == 0).sum(dim=0)
    assert (zeros == math.ceil(sparsity * rows)).all()
    assert torch.equal(zeros, theirs)


def test_sparse_zeros_lie_anywhere_and_the_rest_is_the_plain_draw(fill) -> None:
    w = fill(Sparse(0.25, std=1.0), (16, 4000), LINEAR)
    share = (w == 0).double().mean(dim=1)
    assert ((share - 0.25).abs() < 5 * math.sqrt(0.25 * 0.75 / 4000)).all()
    full = fill(Sparse(0.0, std=1.0), (16, 4000), LINEAR)
    assert torch.equal(w[w != 0], full[w != 0])
    assert not fill(Sparse(0.5, std=0.0), (4, 4), LINEAR).any()


@pytest.mark.parametrize(
    "scheme", [Orthogonal(), DeltaOrthogonal(), Identity(), Dirac(), Sparse(0.5)]
)
def test_what_is_no_matrix_is_refused(scheme, fill) -> None:
    for shape, layout in [((8,), None), ((8, 8), None), ((8,), Layout(outputs=(0,)))]:
        with pytest.raises(FanError, match=r"Use Normal\(std\), Constant\(value\) or Zeros"):
            fill(scheme, shape, layout)
    layout = LINEAR if isinstance(scheme, (Identity, Sparse, Orthogonal)) else CONV2D
    with pytest.raises(SchemeError, match="must be positive"):
        fill(scheme, (0, 8, 3, 3)[: 2 + len(layout.window)], layout)


def test_what_doesn_t_fit_is_refused_and_says_what_to_use(fill) -> None:
    for scheme, shape, layout, says in [
        (DeltaOrthogonal(), (8, 4), LINEAR, "Use Orthogonal"),
        (DeltaOrthogonal(), (4, 8, 3, 3), CONV2D, "at least as many outputs"),
        (Identity(), (8, 8, 3, 3), CONV2D, r"Use Dirac\(\)"),
        (Dirac(), (8, 8), LINEAR, r"Use Identity\(\)"),
        (Dirac(groups=3), (8, 8, 3, 3), CONV2D, "multiple of the groups"),
        (Dirac(groups=2), (8, 2, 3), Layout((0,), (1,), (2,), groups=4), r"say Dirac\(\)"),
    ]:
        with pytest.raises(SchemeError, match=says):
            fill(scheme, shape, layout)


def test_times(fill) -> None:
    for scheme, shape, layout in [
        (Orthogonal(), (8, 8), LINEAR),
        (DeltaOrthogonal(), (8, 8, 3, 3), CONV2D),
        (Identity(), (8, 8), LINEAR),
        (Dirac(groups=2), (8, 8, 3, 3), CONV2D),
        (Sparse(0.5), (8, 8), LINEAR),
    ]:
        torch.testing.assert_close(
            fill(scheme.times(3.0), shape, layout), 3 * fill(scheme, shape, layout)
        )
        assert scheme.times(0) == Zeros()
        assert scheme.times(2.0).times(0.5) == scheme
        for factor in (-1.0, math.nan, math.inf, True, "2"):
            with pytest.raises(SchemeError, match="factor"):
                scheme.times(factor)


@pytest.mark.parametrize("shape", [(1100, 700), (700, 1100), (600, 512), (600, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_box_of_a_random_orthogonal_matrix_has_its_bits(shape, dtype) -> None:
    gauss = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    whole = haar(gauss.clone()).mul_(1.5).to(dtype)
    for rows, columns in ((slice(0, shape[0]), slice(3, 9)), (slice(500, 599), slice(7, shape[1]))):
        box = torch.full((shape[1], shape[0]), 7.0, dtype=dtype).t()[rows, columns]
        haar_box_(box, gauss.clone(), rows, columns, 1.5)
        assert torch.equal(box, whole[rows, columns])
