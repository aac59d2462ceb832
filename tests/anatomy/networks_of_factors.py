"""Networks that differ in what multiplies, bends, picks or squares a signal around a weight."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as fn

from .networks import IDS, MAPS, XY, Net, X, mlp, norm, short


def written_to_zeros(m: Net, x: Tensor) -> Tensor:
    y = torch.zeros(2, 5, 12)
    y[..., :8] = x @ m.a
    return y


def beside_a_tanh(m: Net, x: Tensor) -> Tensor:
    y = x @ m.a
    gate, beside = y.sigmoid(), y.tanh()
    return torch.cat([y * gate, beside], -1) @ m.tall


def overwritten(m: Net, x: Tensor) -> Tensor:
    y = x * 1.0
    y[..., :2] = 0
    return fn.linear(y, m.a)


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def routed(m: Net, x: Tensor) -> Tensor:
    shares, best = (x @ m.out).softmax(-1).topk(2, -1)
    experts = torch.einsum("bti,eio->bteo", x, m.stack)
    chosen = experts.gather(2, best[..., None].expand(-1, -1, -1, 8))
    return (chosen * shares[..., None]).sum(2)


# Constants before a product.

short(
    X,
    times_a_number=lambda m, x: (x * 3) @ m.a,
    times_a_number_that_is_meant=lambda m, x: (x.relu() * 1.5) @ m.a,
    times_a_number_beyond_what_is_meant=lambda m, x: (x.relu() * 2.1) @ m.a,
    times_a_small_number_behind_a_relu=lambda m, x: (x.relu() * 0.9) @ m.a,
    divided_by_the_root_of_its_width=lambda m, x: (x / 8**0.5) @ m.a,
    divided_by_half_the_root=lambda m, x: (x / 2) @ m.a,
    times_a_buffer=lambda m, x: (x * m.row) @ m.a,
    divided_by_a_buffer=lambda m, x: (x / (m.row + 1)) @ m.a,
    times_a_mask=lambda m, x: (x * m.mask) @ m.a,
    times_a_mask_and_a_number=lambda m, x: (x * m.mask * 2) @ m.a,
    less_a_part_of_itself=lambda m, x: (x - x / 2) @ m.a,
    less_itself_and_more=lambda m, x: (x * 3 - x * 2) @ m.a,
    plus_itself_turned=lambda m, x: (x + x.flip(-1)) @ m.a,
    plus_a_number=lambda m, x: (x + 2) @ m.a,
    twice_less_a_number=lambda m, x: (2 * x - 1) @ m.a,
    negated=lambda m, x: (-x) @ m.a,
    halves_added=lambda m, x: sum(x.chunk(2, -1)) @ m.a[:4],
    halves_of_one_added=lambda m, x: (y := x.chunk(2, -1)[0]) @ m.a[:4] + y @ m.b[:4],
    halves_weighted=lambda m, x: (x[..., :4] * 2 + x[..., 4:] * 3) @ m.a[:4],
    summed_pairs=lambda m, x: x.view(2, 5, 4, 2).sum(-1) @ m.a[:4],
    beside_zeros=lambda m, x: fn.linear(fn.pad(x[..., :6], (0, 2)), m.a),
    beside_ones=lambda m, x: fn.linear(fn.pad(x[..., :6], (0, 2), value=1.0), m.a),
    beside_rows_of_zeros=lambda m, x: fn.linear(fn.pad(x, (0, 0, 1, 1)), m.a),
    beside_another=lambda m, x: fn.linear(torch.cat([x[..., :4] * 2, x[..., 4:]], -1), m.a),
    beside_its_negative=lambda m, x: torch.cat([x, -x], -1) @ m.tall,
    beside_its_multiple=lambda m, x: torch.cat([x, 3 * x], -1) @ m.tall,
    beside_masked=lambda m, x: torch.cat([x * m.mask, x], -1) @ m.tall,
    by_a_kept_matrix=lambda m, x: (x @ m.keep) @ m.a,
    behind_a_kept_matrix=lambda m, x: (x @ m.a) @ m.keep,
    for_another_too=lambda m, x: (y := x * 3) @ m.a + y.tanh(),
    for_two_products=lambda m, x: ((y := x * 3) @ m.a, y @ m.b),
    for_a_shape_too=lambda m, x: (y := x * 3) @ m.a * torch.ones_like(y),
    slice_of_a_scaled=lambda m, x: (y := x * 3)[..., :4] @ m.a[:4] + y[..., 4:].tanh() @ m.b[:4],
    scaled_by_a_weight=lambda m, x: (x * m.p) @ m.a,
    scaled_by_a_norms_weight=lambda m, x: (norm(x) * m.p) @ m.a,
    scaled_by_one_number=lambda m, x: (x * m.s) @ m.a,
    scaled_and_used_as_a_weight=lambda m, x: x @ (m.a * m.p),
    overwritten=overwritten,
    convolved_scaled=lambda m, x: fn.conv1d(x.mT * 2, m.k[..., 0]),
    convolved_beside_zeros=lambda m, x: fn.conv1d(fn.pad(x.mT[:, :6], (0, 0, 0, 2)), m.k[..., 0]),
    convolved_and_padded=lambda m, x: fn.conv1d(fn.pad(x.mT, (1, 1)), m.k[..., 0]),
    convolved_unbatched=lambda m, x: fn.conv1d(x[0].mT * 2, m.k[..., 0]),
    # Constants behind a product.
    product_times_a_number=lambda m, x: (x @ m.a) * 3,
    product_times_a_number_and_a_norm=lambda m, x: norm((x @ m.a) * 3),
    product_times_a_number_and_a_relu=lambda m, x: ((x @ m.a) * 3).relu() @ m.b,
    product_times_a_number_and_a_tanh=lambda m, x: ((x @ m.a) * 2).tanh() @ m.b,
    product_times_a_large_number_and_a_tanh=lambda m, x: ((x @ m.a) * 2.1).tanh() @ m.b,
    product_times_a_large_number_and_two=lambda m, x: (y := (x @ m.a) * 3).tanh() * y.sin(),
    product_divided_by_the_root=lambda m, x: (x @ m.a) / 8**0.5,
    product_divided_by_half_the_root=lambda m, x: ((x @ m.a) / 2).relu() @ m.b,
    product_times_a_buffer=lambda m, x: (x @ m.a) * m.row,
    product_times_a_number_and_another=lambda m, x: (x @ m.a) * 3 * x,
    product_times_a_number_and_beside=lambda m, x: torch.cat([(x @ m.a) * 3, x], -1) @ m.tall,
    product_with_alpha=lambda m, x: torch.addmm(m.p, x[0], m.a, alpha=3),
    product_with_alpha_and_a_number=lambda m, x: torch.addmm(m.p, x[0], m.a, alpha=3) / 3,
    product_plus_a_number=lambda m, x: (x @ m.a) + 2,
    product_and_one_more=lambda m, x: (1 + x @ m.a) * x,
    product_and_one_more_twice=lambda m, x: (1 + x @ m.a) * (1 + x @ m.b),
    product_and_a_hundredth_more=lambda m, x: (0.01 + x @ m.a) * x,
    one_less_a_product=lambda m, x: torch.addcmul(x, 1 - x @ m.a, x),
    product_times_and_before_a_bend=lambda m, x: (x * 3).relu() @ m.a,
    product_before_a_sigmoid=lambda m, x: (x * 3).sigmoid() @ m.a,
    product_of_a_scaled_norm=lambda m, x: (norm(x) * 3).relu() @ m.a,
    kept_before_a_bend=lambda m, x: (x @ m.keep * 3).relu() @ m.a,
    drawn_before_a_bend=lambda m, x: (x * m.p * 3).relu() @ m.a,
    head_divided=lambda m, x: (norm(x) * 8**-0.5) @ m.out,
    head_times=lambda m, x: (norm(x) @ m.out) * 5,
    head_of_shares=lambda m, x: (norm(x) @ m.out).softmax(-1),
    head_of_logarithms=lambda m, x: (norm(x) @ m.out).log_softmax(-1),
    bias_then_norm=lambda m, x: norm(fn.linear(x, m.a, m.p)),
    bias_then_norm_and_more=lambda m, x: norm(y := fn.linear(x, m.a, m.p)) + y,
    bias_of_a_head=lambda m, x: fn.linear(x.tanh(), m.out.T, m.w).sigmoid(),
    bias_of_a_head_of_logarithms=lambda m, x: fn.linear(x, m.out.T, m.w).log_softmax(-1),
    bias_of_a_head_cut=lambda m, x: fn.linear(x, m.out.T, m.w).clamp(-1, 1),
    bias_of_an_end=lambda m, x: (x + fn.linear(x, m.a, m.p)) @ m.b,
    bias_of_a_gate=lambda m, x: fn.linear(x, m.a, m.p).sigmoid() * x,
    bias_of_a_gate_added_apart=lambda m, x: (x @ m.a + m.p + m.r).sigmoid() * x,
    bias_of_a_scaled_sigmoid=lambda m, x: (fn.linear(x, m.a, m.p).sigmoid() * 2) @ m.b,
    bias_of_a_squared_sigmoid=lambda m, x: ((y := fn.linear(x, m.a, m.p).sigmoid()) * y) @ m.b,
    bias_of_a_tanh_gate=lambda m, x: fn.linear(x, m.a, m.p).tanh() * x,
    bias_of_two_weights=lambda m, x: (x @ m.a + x @ m.b + m.p).sigmoid() * x,
    bias_of_no_weight=lambda m, x: (x + m.p).sigmoid() * x,
    product_beside_zeros=lambda m, x: fn.pad(x @ m.a, (0, 2)),
    product_beside_zeros_and_bent=lambda m, x: fn.pad(x @ m.a, (0, 2)).relu(),
    product_beside_ones=lambda m, x: fn.pad(x @ m.a, (0, 2), value=1.0),
    product_written=written_to_zeros,
    bias_then_scaled=lambda m, x: fn.linear(x, m.a, m.p) * 3,
)  # fmt: skip


# What a product meets.

short(
    X,
    squared=lambda m, x: (x @ m.a).square().sum(-1),
    squared_by_hand=lambda m, x: (y := x @ m.a) * y,
    squared_by_a_power=lambda m, x: (x @ m.a) ** 2,
    cubed=lambda m, x: (x @ m.a) ** 3,
    cubed_for_a_gelu=lambda m, x: gelu(x @ m.a) @ m.b,
    root_of_squares=lambda m, x: (x @ m.a).square().sum(-1).sqrt(),
    divided_by_its_size=lambda m, x: (y := x @ m.a) / y.square().mean(-1, keepdim=True).sqrt(),
    length=lambda m, x: (x @ m.a).norm(dim=-1),
    length_and_itself=lambda m, x: (y := x @ m.a).norm(dim=-1, keepdim=True) + y,
    averaged=lambda m, x: (x @ m.a).mean(1),
    averaged_to_a_number=lambda m, x: (x @ m.a).mean(),
    averaged_and_itself=lambda m, x: (y := x @ m.a) - y.mean(1, keepdim=True),
    exponential=lambda m, x: (x @ m.a).exp(),
    exponential_of_little=lambda m, x: (x @ m.a * 0.2).exp(),
    exponential_of_more=lambda m, x: (x @ m.a * 0.7).exp(),
    exponential_divided=lambda m, x: (e := (x @ m.a).exp()) / e.sum(-1, keepdim=True),
    exponential_in_a_softplus=lambda m, x: (x @ m.a).exp().add(1).log(),
    exponential_in_a_sigmoid=lambda m, x: 1 / (1 + (-(x @ m.a)).exp()),
    largest=lambda m, x: (x @ m.a).max(1).values,
    largest_and_itself=lambda m, x: (y := x @ m.a) - y.amax(-1, keepdim=True),
    less_its_largest_for_a_softmax=lambda m, x: (
        (y := x @ m.a) - y.amax(-1, keepdim=True)).softmax(-1),
    first_of_the_sorted=lambda m, x: (x @ m.a).sort(-1).values[..., :2],
    all_of_the_sorted=lambda m, x: (x @ m.a).sort(-1).values @ m.b,
    best_two=lambda m, x: (x @ m.a).topk(2, -1).values,
    product_of_its_numbers=lambda m, x: (x @ m.a).prod(-1),
    distances=lambda m, x: torch.cdist(x @ m.a, x @ m.b),
    crossed=lambda m, x: torch.linalg.cross((x @ m.a)[..., :3], x[..., :3]),
    noisy=lambda m, x: x @ m.a + torch.randn_like(x) * 0.1,
    noisy_before=lambda m, x: (x + torch.randn_like(x)) @ m.a,
    dropped=lambda m, x: fn.dropout(x @ m.a, 0.5, True) @ m.b,
    spectrum=lambda m, x: torch.fft.irfft(torch.fft.rfft(x @ m.a) * torch.fft.rfft(x)),
    spectrum_alone=lambda m, x: torch.fft.irfft(torch.fft.rfft(x @ m.a) * 2),
    gram=lambda m, x: (y := x @ m.a) @ y.mT,
    gram_summed=lambda m, x: ((y := x @ m.a) * y).sum(-1),
    towers=lambda m, x: ((x @ m.a) * (x @ m.b)).sum(-1),
    towers_averaged=lambda m, x: ((x @ m.a) * (x @ m.b)).mean(-1),
    towers_over_positions=lambda m, x: ((x @ m.a) * (x @ m.b)).sum(1),
    towers_kept_apart=lambda m, x: (x @ m.a) * (x @ m.b),
    towers_added=lambda m, x: (x @ m.a) * (x @ m.b) + (x @ m.c) * (x @ m.d),
    summed_with_shares=lambda m, x: ((x @ m.a) * x.softmax(1)).sum(1),
    summed_with_shares_of_another=lambda m, x: (
        (x @ m.a)[:, None] * (x @ m.out).softmax(-1).mT[..., None]).sum(2),
    summed_with_scores=lambda m, x: (x @ x.mT) @ (x @ m.a),
    summed_with_divided_scores=lambda m, x: (y := (s := x @ x.mT) @ (x @ m.a)) / s.sum(
        -1, keepdim=True) + 0 * y,
    summed_with_scores_and_a_norm=lambda m, x: norm((x @ x.mT) @ (x @ m.a)),
    before_a_sum_with_scores=lambda m, x: ((x @ x.mT) @ x) @ m.a,
    of_its_own_product=lambda m, x: (x @ x.mT) @ m.seen,
    running=lambda m, x: (x * x.sigmoid().cumprod(1)) @ m.a,
    shares_of_an_input=lambda m, x: (x * x.softmax(-1)) @ m.a,
    shares_of_a_product=lambda m, x: (x * (x @ m.b).softmax(-1)) @ m.a,
    gated_by_shares=lambda m, x: ((x @ m.b).softmax(-1) * (x @ m.c)) @ m.a,
    bilinear_by_hand=lambda m, x: ((x @ m.a) * x).sum(-1),
    bilinear_by_a_product=lambda m, x: torch.einsum("bti,bsi->bts", x @ m.a, x),
    bilinear_with_itself=lambda m, x: torch.einsum("bti,bti->bt", x @ m.a, x),
    bilinear_average=lambda m, x: ((x @ m.a) * x).mean(-1),
    bilinear_of_bends=lambda m, x: torch.einsum("bti,bsi->bts", x @ m.a, x.tanh()),
    bilinear_of_two_weights=lambda m, x: torch.einsum("bti,bsi->bts", x @ m.a, x.relu() @ m.b),
    bilinear_for_shares=lambda m, x: torch.einsum("bti,bsi->bts", x @ m.a, x).softmax(-1),
    bilinear_by_vecdot=lambda m, x: torch.linalg.vecdot(x @ m.a, x),
    bilinear_before_a_weight=lambda m, x: torch.einsum("bti,bsi->bts", x @ m.a, x) @ m.mix @ m.seen,
    scaled_and_summed_with_another=lambda m, x: ((x * m.p) * x.tanh()).sum(-1),
    multiplied_and_summed_by_hand=lambda m, x: (x[..., None] * m.a).sum(-2),
    multiplied_and_summed_and_added=lambda m, x: (x[..., None] * m.a).sum(-2) + x @ m.b,
    multiplied_and_summed_twice=lambda m, x: (x[..., None] * m.a).sum(-2) * 2,
    taps_by_hand=lambda m, x: x[:, 1:] * m.a[0] + x[:, :-1] * m.a[1],
    sampled=lambda m, x: fn.interpolate((x @ m.a).mT, scale_factor=2, mode="linear").mT,
)  # fmt: skip


# What functions make of a signal before a product.

short(
    X,
    sines=lambda m, x: x.sin() @ m.a,
    sines_of_more=lambda m, x: (x * 30).sin() @ m.a,
    sines_and_cosines=lambda m, x: torch.cat([(x * 9).sin(), (x * 9).cos()], -1) @ m.tall,
    squares=lambda m, x: x.square() @ m.a,
    cubes=lambda m, x: (x * x * x) @ m.a,
    logarithms=lambda m, x: x.abs().log1p() @ m.a,
    sizes=lambda m, x: x.abs() @ m.a,
    signs=lambda m, x: x.sign() @ m.a,
    rounded=lambda m, x: x.round() @ m.a,
    cut=lambda m, x: x.clamp(-1, 1) @ m.a,
    cut_narrowly=lambda m, x: x.clamp(-0.1, 0.1) @ m.a,
    shares=lambda m, x: x.softmax(-1) @ m.a,
    shares_of_positions=lambda m, x: x.softmax(1) @ m.a,
    exponentials=lambda m, x: x.exp() @ m.a,
    compared=lambda m, x: (x > 1).float() @ m.a,
    compared_by_linear=lambda m, x: fn.linear((x > 1).float(), m.a),
    cumulated=lambda m, x: x.cumsum(1) @ m.a,
    rolled=lambda m, x: (x + x.roll(1, 1)) @ m.a,
    differences=lambda m, x: (x[:, 1:] - x[:, :-1]) @ m.a,
    differences_by_diff=lambda m, x: x.diff(dim=1) @ m.a,
    less_its_mean=lambda m, x: (x - x.mean(-1, keepdim=True)) @ m.a,
    less_its_largest=lambda m, x: (x - x.amax(-1, keepdim=True)) @ m.a,
    mean_of_neighbors=lambda m, x: x[:, m.ids].mean(1) @ m.a,
    mean_of_positions=lambda m, x: fn.linear(x.mean(1), m.a),
    mean_of_features=lambda m, x: fn.linear(x.view(2, 5, 4, 2).mean(-1), m.a[:, :4]),
    largest_of_positions=lambda m, x: x.amax(1) @ m.a,
    normalized=lambda m, x: fn.normalize(x, dim=-1) @ m.a,
    lengths=lambda m, x: fn.linear(x.norm(dim=-1, keepdim=True), m.a[:, :1]),
    products_of_pairs=lambda m, x: (x[..., :4] * x[..., 4:]) @ m.a[:4],
    gated_by_itself=lambda m, x: (x * x.sigmoid()) @ m.a,
    squared_relu=lambda m, x: x.relu().square() @ m.a,
    relu_and_its_square=lambda m, x: torch.cat([(y := x.relu()), y * y], -1) @ m.tall,
    rows_of_a_constant=lambda m, x: m.keep[m.ids] @ m.a,
    added_inputs=lambda m, x: (x + m.row) @ m.a,
    two_bends=lambda m, x: x.tanh().exp() @ m.a,
    bends_beyond_a_product=lambda m, x: ((x @ m.b).exp() - 1) @ m.a,
    bends_of_a_product_caught=lambda m, x: norm((x @ m.b).exp() @ m.a),
    bends_for_a_convolution=lambda m, x: fn.conv1d(x.mT.exp(), m.k[..., 0]),
    shares_for_a_convolution=lambda m, x: fn.conv1d(x.mT.softmax(1), m.k[..., 0]),
    sums_for_a_convolution=lambda m, x: fn.conv1d(x.mT.cumsum(2), m.k[..., 0]),
    bumps=lambda m, x: (x[..., None] - m.row[:3]).square().neg().exp().flatten(2) @ m.pack,
    # What a weight is made of, and by what.
    bent_weight=lambda m, x: x @ m.a.tanh(),
    exponential_scale=lambda m, x: x * m.p.exp() @ m.a,
    softplus_scale=lambda m, x: x * fn.softplus(m.p),
    normalized_weight=lambda m, x: x @ fn.normalize(m.a, dim=0),
    normalized_weight_with_a_length=lambda m, x: x @ (fn.normalize(m.a, dim=0) * m.p),
    normalized_weight_of_a_scaled_input=lambda m, x: (x * 3) @ fn.normalize(m.a, dim=0),
    normalized_weight_of_a_little_scaled_input=lambda m, x: (x * 1.05) @ fn.normalize(m.a, dim=0),
    normalized_weight_before_a_factor=lambda m, x: (x @ fn.normalize(m.a, dim=0)) * 3,
    normalized_weight_before_a_norm=lambda m, x: norm((x @ fn.normalize(m.a, dim=0)) * 3),
    normalized_weight_of_rows=lambda m, x: x @ fn.normalize(m.wide, dim=1),
    normalized_weight_before_a_relu=lambda m, x: (x @ fn.normalize(m.a, dim=0)).relu() @ m.b,
    normalized_weight_of_both=lambda m, x: (x / 3) @ fn.normalize(m.a, dim=0) * 3,
    normalized_weight_of_a_relu=lambda m, x: (x.relu() * 1.4) @ fn.normalize(m.a, dim=0),
    product_of_weights=lambda m, x: x @ (m.a @ m.b),
    product_of_three_weights=lambda m, x: x @ (m.a @ m.b @ m.c),
    sum_of_weights=lambda m, x: x @ (m.a + m.b),
    symmetric_weight=lambda m, x: x @ (m.a + m.a.T),
    masked_weight=lambda m, x: x @ (m.a * m.mask),
    weight_and_a_bias_of_one=lambda m, x: x @ m.a + m.p + m.r,
    weight_of_experts=lambda m, x: torch.einsum("bti,eio->beto", x, m.stack),
    weight_mixed_by_shares=lambda m, x: torch.einsum(
        "btio,bti->bto", torch.einsum("bte,eio->btio", (x @ m.out).softmax(-1), m.stack), x),
    weight_generated=lambda m, x: torch.einsum(
        "bti,bio->bto", x, (x.mean(1) @ m.wide).view(2, 8, 2)),
    weight_in_columns=lambda m, x: x @ m.pack.T[:, 3:11],
    weight_of_a_vector=lambda m, x: x @ m.bias.view(8, 4),
    table_in_the_place_of_a_weight=lambda m, x: x @ m.table[m.ids].T,
)  # fmt: skip

# Rows that are looked up.

short(
    IDS,
    rows=lambda m, i: fn.embedding(i, m.table),
    rows_scaled=lambda m, i: fn.embedding(i, m.table) * 8**0.5 @ m.a,
    rows_scaled_twice=lambda m, i: (e := fn.embedding(i, m.table)) * 3 + e * 2,
    rows_and_positions=lambda m, i: norm(fn.embedding(i, m.table) + m.seen[m.ids]) @ m.a,
    rows_and_positions_as_a_whole=lambda m, i: norm(fn.embedding(i, m.table) + m.seen) @ m.a,
    rows_and_a_projection=lambda m, i: fn.embedding(i, m.table) @ m.a @ m.b,
    tied=lambda m, i: norm(mlp(fn.embedding(i, m.table), m.a, m.b)) @ m.table.T,
    tied_and_scaled=lambda m, i: norm(fn.embedding(i, m.table) * 8**0.5 @ m.a) @ m.table.T,
    tied_and_nearly_scaled=lambda m, i: norm(fn.embedding(i, m.table) * 3.1 @ m.a) @ m.table.T,
    tied_and_scaled_too_much=lambda m, i: norm(fn.embedding(i, m.table) * 3.2 @ m.a) @ m.table.T,
    tied_behind_a_norm=lambda m, i: norm(norm(fn.embedding(i, m.table)) @ m.a) @ m.table.T,
    tied_and_joined=lambda m, i: norm(
        torch.cat([e := fn.embedding(i, m.table), e], -1) @ m.tall) @ m.table.T,
    tied_and_bent=lambda m, i: fn.embedding(i, m.table).tanh() @ m.table.T,
    tied_and_divided=lambda m, i: (norm(fn.embedding(i, m.table)) * 8**-0.5) @ m.table.T / 2,
    rows_of_matrices_scaled=lambda m, i: m.cube[i.clamp(max=2)] * 3,
    tied_and_left_out=lambda m, i: norm(
        (fn.embedding(i, m.table) * 0 + m.seen) @ m.a) @ m.table.T,
    table_with_itself=lambda m, i: fn.embedding(i, m.table) @ m.table.T,
    table_with_another=lambda m, i: (fn.embedding(i, m.table) * fn.embedding(i, m.b)).sum(-1),
    table_with_another_scaled=lambda m, i: (
        fn.embedding(i, m.table) * fn.embedding(i, m.b)).sum(-1, keepdim=True) * 3,
    table_with_another_by_einsum=lambda m, i: torch.einsum(
        "bti,bsi->bts", fn.embedding(i, m.table), fn.embedding(i, m.b)),
    table_with_another_and_biases=lambda m, i: (
        fn.embedding(i, m.table) * fn.embedding(i, m.b)).sum(-1)
    + fn.embedding(i, m.out[:, :1]).squeeze(-1),
    table_with_another_over_rows=lambda m, i: (
        fn.embedding(i, m.table) * fn.embedding(i, m.b)).sum(1),
    table_with_another_for_a_sigmoid=lambda m, i: (
        fn.embedding(i, m.table) * fn.embedding(i, m.b)).sum(-1).sigmoid(),
    tables_kept_apart=lambda m, i: fn.embedding(i, m.table) * fn.embedding(i, m.b),
    projections_of_tables=lambda m, i: torch.einsum(
        "bti,bsi->bts", fn.embedding(i, m.table) @ m.a, fn.embedding(i, m.table) @ m.b),
    rows_averaged=lambda m, i: fn.embedding(i, m.table).mean(1) @ m.a,
    rows_averaged_by_shares=lambda m, i: (
        (e := fn.embedding(i, m.table)) * (e @ m.out[:, :1]).softmax(1)).sum(1),
    rows_less_others=lambda m, i: (fn.embedding(i, m.table) - fn.embedding(i.flip(1), m.table)),
    a_sequence_of_one_hot=lambda m, i: fn.one_hot(i, 8).float() @ m.a,
    a_bag=lambda m, i: fn.embedding_bag(i, m.table),
)  # fmt: skip


# Activations, gates and routers.

short(
    X,
    gelu_by_hand=lambda m, x: gelu(x @ m.a) @ m.b,
    gelu_by_erf=lambda m, x: (y := x @ m.a) * 0.5 * (1 + torch.erf(y / 2**0.5)) @ m.b,
    gelu_by_a_sigmoid=lambda m, x: (y := x @ m.a) * (1.702 * y).sigmoid() @ m.b,
    silu_by_hand=lambda m, x: (y := x @ m.a) * y.sigmoid() @ m.b,
    silu_with_a_factor=lambda m, x: (y := x @ m.a) * (1.4 * y).sigmoid() @ m.b,
    silu_with_a_large_factor=lambda m, x: (y := x @ m.a) * (2.1 * y).sigmoid() @ m.b,
    mish_by_hand=lambda m, x: (y := x @ m.a) * fn.softplus(y).tanh() @ m.b,
    hardswish_by_hand=lambda m, x: (y := x @ m.a) * fn.relu6(y + 3) / 6 @ m.b,
    silu_beside_a_tanh=beside_a_tanh,
    gated_tanh=lambda m, x: (y := x @ m.a) * y.tanh() @ m.b,
    squared_relu_after=lambda m, x: (x @ m.a).relu().square() @ m.b,
    squared_relu_by_hand=lambda m, x: (y := (x @ m.a).relu()) * y @ m.b,
    squared_relu_beside_itself=lambda m, x: (y := (x @ m.a).relu()).square() + y,
    bent_twice=lambda m, x: (x @ m.a).relu().tanh() @ m.b,
    bent_behind_a_norm=lambda m, x: norm(x @ m.a).relu() @ m.b,
    bent_behind_a_sum=lambda m, x: (x @ m.a + x).relu() @ m.b,
    bent_behind_a_bias=lambda m, x: (x @ m.a + m.p).relu() @ m.b,
    bent_and_not=lambda m, x: torch.cat([(y := x @ m.a).relu(), y], -1) @ m.tall,
    bent_in_three_layers=lambda m, x: ((x @ m.a).relu() @ m.b).relu() @ m.c,
    bent_in_layers_with_a_norm=lambda m, x: (norm((x @ m.a).relu() @ m.b).relu() @ m.c).relu()
    @ m.d,
    bent_in_layers_and_a_sum=lambda m, x: ((x @ m.a).relu() @ m.b).relu() @ m.c + x,
    saturated=lambda m, x: ((x @ m.a).tanh() @ m.b + m.p).tanh() @ m.c,
    saturated_gate=lambda m, x: ((x @ m.a * 2 - x @ m.b) + 3 * m.p).sigmoid() * x,
    saturated_of_a_part=lambda m, x: torch.add(x @ m.a, x @ m.b, alpha=0.5).tanh() @ m.c,
    saturated_of_a_mean=lambda m, x: (fn.avg_pool1d((x @ m.a).tanh(), 1) @ m.b + 1).tanh() @ m.c,
    glu=lambda m, x: x + fn.glu(x @ m.pack[:16].T) @ m.b,
    swiglu=lambda m, x: x + (fn.silu(x @ m.a) * (x @ m.b)) @ m.c,
    swiglu_the_other_way=lambda m, x: x + ((x @ m.b) * fn.silu(x @ m.a)) @ m.c,
    swiglu_in_one=lambda m, x: x + (fn.silu((h := x @ m.wide)[..., :8]) * h[..., 8:]) @ m.c,
    swiglu_in_one_reversed=lambda m, x: x + ((h := x @ m.wide)[..., :8] * fn.silu(h[..., 8:]))
    @ m.c,
    gate_by_a_sigmoid=lambda m, x: x + ((x @ m.a).sigmoid() * (x @ m.b)) @ m.c,
    gate_by_a_sigmoid_of_bends=lambda m, x: x + ((x @ m.a).sigmoid() * (x @ m.b).tanh()) @ m.c,
    gate_by_a_sigmoid_reversed=lambda m, x: x + ((x @ m.b).tanh() * (x @ m.a).sigmoid()) @ m.c,
    gate_of_the_input=lambda m, x: (x @ m.a).sigmoid() * x,
    gate_of_the_input_by_silu=lambda m, x: fn.silu(x @ m.a) * x @ m.b,
    gate_that_is_summed=lambda m, x: (fn.silu(x @ m.a) * (x @ m.b)).sum(-1),
    gate_of_another_signal=lambda m, x: (fn.silu(x @ m.a) * (x.relu() @ m.b)) @ m.c,
    router=routed,
    router_behind_a_softmax=lambda m, x: (
        (g := (x @ m.out).softmax(-1).topk(1, -1)).values * (x @ m.a) + 0 * g.indices),
    sparse_features=lambda m, x: (x @ m.a).topk(8, -1).values @ m.b,
    sparse_features_scattered=lambda m, x: torch.zeros(2, 5, 8).scatter(
        -1, (t := (x @ m.a).topk(3, -1)).indices, t.values) @ m.b,
    best_rows_picked=lambda m, x: x.gather(
        1, (x @ m.out[:, :1]).topk(2, 1).indices.expand(2, 2, 8)) @ m.a,
    best_class=lambda m, x: (x @ m.out).argmax(-1),
    patches=lambda m, x: fn.conv1d(x.mT[..., :3], m.k[..., 0], stride=3),
    patches_that_overlap=lambda m, x: fn.conv1d(x.mT[..., :3], m.k[..., 0], stride=2),
    patches_of_a_bend=lambda m, x: fn.conv1d(x.mT[..., :3].tanh(), m.k[..., 0], stride=3),
    patches_transposed=lambda m, x: fn.conv_transpose1d(x.mT, m.k[..., 0], stride=3),
)  # fmt: skip


short(
    MAPS,
    patches_of_a_map=lambda m, x: fn.conv2d(x, m.k, stride=3),
    patches_of_a_map_cut=lambda m, x: fn.conv2d(x, m.k, stride=(3, 2)),
    convolution_then_head=lambda m, x: fn.conv2d(x, m.k).relu().mean((2, 3)) @ m.out,
    convolution_scaled=lambda m, x: fn.conv2d(x * 2, m.k).relu(),
    convolution_masked=lambda m, x: fn.conv2d(x * m.mask[:, None, None], m.k).relu(),
    convolution_in_groups=lambda m, x: fn.conv2d(x, m.k[:, :2], groups=4),
    convolution_upward=lambda m, x: fn.conv_transpose2d(x, m.k, stride=2),
    convolution_then_norm=lambda m, x: fn.batch_norm(
        fn.conv2d(x, m.k, m.p), torch.zeros(8), torch.ones(8), training=True),
    convolution_of_a_mean=lambda m, x: fn.conv2d(x - x.mean((2, 3), keepdim=True), m.k),
    convolution_depthwise=lambda m, x: fn.conv2d(fn.conv2d(x, m.k[:, :1], groups=8), m.one),
)  # fmt: skip

short(
    XY,
    another_signal_times=lambda m, x, c: ((x @ m.a) * c).sum(-1),
    another_signal_contracted=lambda m, x, c: torch.einsum("bti,bsi->bts", x @ m.a, c),
    another_signal_contracted_by_shares=lambda m, x, c: (x @ m.a @ c.mT).softmax(-1),
    towers_of_two=lambda m, x, c: ((x @ m.a) * (c @ m.b)).sum(-1),
    towers_of_two_by_a_product=lambda m, x, c: (x @ m.a) @ (c @ m.b).mT,
    towers_of_two_scaled=lambda m, x, c: (x @ m.a) @ (c @ m.b).mT / 8,
    bias_of_a_gate_by_addcmul=lambda m, x, c: torch.addcmul(m.p, x @ m.a, c).sigmoid() * x,
    bias_of_a_gate_by_addcmul_turned=lambda m, x, c: torch.addcmul(m.p, c, x @ m.a).sigmoid() * x,
    bias_of_an_end_by_addcmul=lambda m, x, c: x + torch.addcmul(m.p, x @ m.a, c),
    bias_of_an_end_by_addcmul_turned=lambda m, x, c: x + torch.addcmul(m.p, c, x @ m.a),
    inputs_added=lambda m, x, c: (x + c) @ m.a,
    inputs_multiplied=lambda m, x, c: (x * c) @ m.a,
    inputs_scored=lambda m, x, c: (c @ x.mT) @ x @ m.a,
    scores_given=lambda m, x, c: c[..., :5] @ (x @ m.a),
    scores_given_and_divided=lambda m, x, c: (c[..., :5] @ (x @ m.a)) / c.sum(-1, keepdim=True),
    scores_given_of_an_input=lambda m, x, c: (c[..., :5] @ x) @ m.a,
    shares_given=lambda m, x, c: (c[..., :5].softmax(-1) @ x) @ m.a,
    shares_given_behind=lambda m, x, c: c[..., :5].softmax(-1) @ (x @ m.a),
    running_of_another=lambda m, x, c: (x * c.cumsum(1)) @ m.a,
    interpolated=lambda m, x, c: torch.lerp(x, c, 0.3) @ m.a,
)  # fmt: skip
