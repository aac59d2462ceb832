"""Networks that differ from others in one call: an operand more, a view between, an axis kept."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as fn

from .networks import IDS, MAPS, XY, Net, X, norm, short
from .networks_of_cells import heads, loop, qkv


def shares(m: Net, x: Tensor) -> Tensor:
    return (x @ m.a @ (x @ m.b).mT).softmax(-1)


def scores_of_heads(m: Net, x: Tensor) -> Tensor:
    return heads(x @ m.a) @ heads(x @ m.b).mT


# Attention, with one call or operand more.

short(
    X,
    shares_summed_over_heads=lambda m, x: torch.einsum(
        "bhqk,bkd->bqd", scores_of_heads(m, x).softmax(-1), x @ m.c),
    attention_times_a_gate=lambda m, x: torch.einsum(
        "bqk,bkd,bqd->bqd", shares(m, x), x @ m.c, (x @ m.d).sigmoid()),
    attention_with_scores_of_three=lambda m, x: torch.einsum(
        "k,bqd,bkd->bqk", torch.ones(5), x @ m.a, x @ m.b).softmax(-1) @ (x @ m.c),
    attention_of_softmaxed_queries=lambda m, x: (
        ((q := qkv(m, x))[0].softmax(-1) @ q[1].mT) @ q[2]),
    attention_of_a_parameters_shares=lambda m, x: fn.scaled_dot_product_attention(
        m.seen.softmax(-1).expand(2, 5, 8), x @ m.b, x @ m.c),
    attention_mixed_over_keys=lambda m, x: (scores_of_heads(m, x) @ m.square).softmax(-1) @ heads(
        x @ m.c),
    attention_mixed_over_queries=lambda m, x: torch.einsum(
        "bhqk,qr->bhrk", scores_of_heads(m, x), m.square).softmax(-1) @ heads(x @ m.c),
    attention_mixed_by_a_slice=lambda m, x: fn.conv2d(
        scores_of_heads(m, x), m.k[:2, :2, 1:2, 1:2]).softmax(-1) @ heads(x @ m.c),
    attention_mixed_by_a_wide_kernel=lambda m, x: fn.conv2d(
        scores_of_heads(m, x), m.k[:2, :2], padding=1).softmax(-1) @ heads(x @ m.c),
    attention_by_a_state_in_a_view=lambda m, x: (
        (q := qkv(m, x))[0] @ (q[1].mT @ q[2]).view(2, 8, 8)),
    attention_by_a_state_of_shares=lambda m, x: (
        (q := qkv(m, x))[0].softmax(-1) @ (q[1].softmax(1).mT @ q[2]).contiguous()),
    attention_by_a_state_of_running_keys=lambda m, x: (
        (q := qkv(m, x))[0] @ (q[1].cumsum(1).mT @ q[2].cumsum(1)).clone()),
    attention_of_gated_values=lambda m, x: shares(m, x) @ (fn.silu(x @ m.c) * (x @ m.d)),
    attention_of_gated_queries=lambda m, x: (
        (fn.silu(x @ m.a) * (x @ m.d)) @ (x @ m.b).mT).softmax(-1) @ (x @ m.c),
    attention_in_an_adapter=lambda m, x: (
        (x @ m.a + x @ m.down @ m.up) @ (x @ m.b).mT).softmax(-1) @ (x @ m.c),
    attention_packed_in_an_adapter=lambda m, x: (
        (x @ m.wide + x @ m.down @ m.gates[:2, :16])[..., :8] @ (x @ m.b).mT)
    .softmax(-1) @ (x @ m.wide + x @ m.down @ m.gates[:2, :16])[..., 8:],
    attention_of_a_vector=lambda m, x: (
        ((x[0] @ m.b) @ (m.a @ x[0, 0])).softmax(-1) @ (x[0] @ m.c)),
    attention_beside_a_gate_of_its_queries=lambda m, x: (
        fn.silu(q := x @ m.a) * (x @ m.d) @ m.e
        + fn.scaled_dot_product_attention(q, x @ m.b, x @ m.c)),
    attention_by_distance=lambda m, x: (
        -torch.cdist(x @ m.a, x @ m.b)).softmax(-1) @ (x @ m.c),
    attention_to_a_parameter=lambda m, x: (
        -torch.cdist(x @ m.a, m.seen.expand(2, 5, 8))).softmax(-1) @ (x @ m.c),
    attention_with_a_state_in_rows=lambda m, x: torch.einsum(
        "bd,bde->be", (x @ m.a).mean(1), torch.einsum("btd,bte->bde", x @ m.b, x @ m.c)),
    attention_with_a_state_in_columns=lambda m, x: torch.einsum(
        "be,bde->bd", (x @ m.a).mean(1), torch.einsum("btd,bte->bde", x @ m.b, x @ m.c)),
)  # fmt: skip


# Products of two signals: which axis is summed, and what follows.

short(
    X,
    in_one_call_with_shares=lambda m, x: torch.einsum("bqk,bkd,de->bqe", shares(m, x), x, m.c),
    by_hand_in_a_view=lambda m, x: (x * m.p).view(2, 5, 2, 4).sum((2, 3)) + (x * m.r).sum(-1),
    by_hand_with_another_in_a_view=lambda m, x: (
        (x * m.p).view(2, 5, 2, 4) * x.relu().view(2, 5, 2, 4)).sum(-1),
    squared_and_summed=lambda m, x: ((y := x @ m.a) * y).sum(-1, keepdim=True) * x @ m.b,
    sums_of_slices=lambda m, x: x[..., 1:4] @ m.a[1:4] + x[..., 4:] @ m.a[4:],
    sums_of_strided_slices=lambda m, x: x[..., ::2] @ m.a[::2] + x[..., 1::2] @ m.a[1::2],
    a_slice_of_a_power=lambda m, x: x + (x @ m.a).relu() @ m.wide[:, 8:],
    complex_sizes=lambda m, x: torch.view_as_complex((x @ m.a).view(2, 5, 4, 2)).abs() @ m.b[:4],
    complex_parts=lambda m, x: torch.view_as_complex((x @ m.a).view(2, 5, 4, 2)).real @ m.b[:4],
    a_share_times_two=lambda m, x: (x @ m.a).sigmoid() * 2 @ m.b,
    a_tanh_times_a_number=lambda m, x: (x @ m.a).tanh() * 1.5 @ m.b,
    written_into_zeros=lambda m, x: torch.zeros(2, 5, 8).index_add(1, m.ids, x @ m.a) @ m.b,
    written_twice_into_zeros=lambda m, x: torch.zeros(2, 9, 8).index_add(
        1, m.ids + 2, x @ m.a) @ m.b,
    a_running_sum_in_a_view=lambda m, x: (x @ m.a).cumsum(1).view(2, 5, 2, 4).softmax(-1),
    a_running_sum_added=lambda m, x: ((x @ m.a).cumsum(1) + 1).softmax(-1) @ m.b,
    stacked_experts=lambda m, x: torch.einsum(
        "bseh,ehd->bsed", torch.einsum("bsd,ehd->bseh", x, m.stack).relu(), m.pile),
    stacked_experts_summed=lambda m, x: torch.einsum(
        "bseh,ehd->bsd", torch.einsum("bsd,edh->bseh", x, m.stack).relu(), m.pile),
    gated_by_a_prelu=lambda m, x: fn.prelu(x @ m.a, m.w[:1]) * (x @ m.b) @ m.c,
    gated_by_two=lambda m, x: (x @ m.a).sigmoid() * (x @ m.b).tanh() @ m.c,
    gated_by_a_sum=lambda m, x: (x @ m.a).sigmoid() * (x @ m.b + x @ m.d).tanh() @ m.c,
    one_number_of_a_pair=lambda m, x: x * m.pair.exp().sum() @ m.a,
    a_pair_of_factors=lambda m, x: (x[..., :2] * m.pair.exp()) @ m.up,
    biases_of_a_table=lambda m, x: (x @ m.a + m.seen[:1]).relu() @ m.b,
)  # fmt: skip

short(
    XY,
    summed_with_its_axis_kept=lambda m, x, y: ((x @ m.a) * y.relu()).sum(-1, keepdim=True) * x,
    averaged_with_its_axis_kept=lambda m, x, y: ((x @ m.a) * (y @ m.b)).mean(-1, keepdim=True),
    summed_over_two_features=lambda m, x, y: (x @ m.down) @ y[..., :2].relu().mT,
    summed_over_one_feature=lambda m, x, y: (x @ m.a[:, :1]) @ y[..., :1].relu().mT,
    summed_by_labels=lambda m, x, y: torch.einsum(
        "bes,bse->bs", torch.einsum("bsd,de->bes", x, m.a), y.relu()),
    bilinear_before_a_bend=lambda m, x, y: (fn.bilinear(x, y, m.stack) + x @ m.out).tanh(),
    towers_times_a_number=lambda m, x, y: ((x @ m.a) @ (y @ m.b).mT * 2 + 1).view(2, 25),
    towers_and_a_bias=lambda m, x, y: (x @ m.a) @ (y @ m.b).mT + m.seen[:, :5],
    towers_and_a_signal=lambda m, x, y: (x @ m.a) @ (y @ m.b).mT + x @ x.mT,
    towers_bent=lambda m, x, y: ((x @ m.a) @ (y @ m.b).mT).tanh(),
    towers_by_hand_for_shares=lambda m, x, y: (
        ((x @ m.a) * (y @ m.b)).sum(-1) + m.seen[:, 0]).softmax(-1),
    towers_by_hand_scaled_for_shares=lambda m, x, y: (
        ((x @ m.a) * (y @ m.b)).sum(-1) / 3).softmax(-1),
    towers_by_hand_in_a_view=lambda m, x, y: ((x @ m.a) * (y @ m.b)).sum(-1).view(10).exp(),
)  # fmt: skip


# Low rank beside a weight: what the three have in common.

short(
    X,
    low_rank_beside_a_negative=lambda m, x: -0.5 * (x @ m.a) + x @ m.down @ m.up,
    low_rank_less_a_weight=lambda m, x: x @ m.down @ m.up - 2 * (x @ m.a),
    low_rank_less_twice=lambda m, x: x @ m.a - 2 * (x @ m.down @ m.up),
    low_rank_above_a_slice_of_it=lambda m, x: x @ m.a + x @ m.down @ m.a[:2],
    low_rank_below_a_slice_of_it=lambda m, x: x @ m.a + x @ m.a[:, :2] @ m.up,
    low_rank_of_one_weight=lambda m, x: x @ m.a + x @ m.b[:, :2] @ m.b[:2],
    low_rank_below_a_buffer=lambda m, x: x @ m.a + x @ m.keep[:, :2] @ m.up,
    low_rank_above_a_buffer=lambda m, x: x @ m.a + x @ m.down @ m.keep[:2],
    low_rank_beside_a_buffer=lambda m, x: x @ m.keep + x @ m.down @ m.up,
    low_rank_of_a_scaled_input=lambda m, x: x @ m.a + (x * 3) @ m.down @ m.up,
    low_rank_of_a_reshaped_input=lambda m, x: x @ m.a + x.view(10, 8).view(2, 5, 8) @ m.down @ m.up,
    low_rank_to_fewer=lambda m, x: x @ m.a[:, :4] + x @ m.down @ m.up[:, :4],
    low_rank_scaled_in_the_middle=lambda m, x: x @ m.a + (x @ m.down * 0.5) @ m.up,
)  # fmt: skip


# Rows of tables.

short(
    IDS,
    looked_up_in_two_ways=lambda m, i: (fn.embedding(i, m.table) + m.table[i]) @ m.a,
    indexed_and_looked_up=lambda m, i: m.table[i] @ m.a + fn.embedding(i, m.table) @ m.b,
    rows_of_numbers=lambda m, i: m.cube[:, :1][i % 3].squeeze(2).sum(1),
    rows_times_zero=lambda m, i: (m.table[i] * 0) @ m.a,
    rows_times_three=lambda m, i: (m.table[i] * 3) @ m.a,
    rows_summed=lambda m, i: m.table[i].sum(1) @ m.a,
    rows_summed_and_taken=lambda m, i: (t := m.table[i]).sum(1) @ m.a + t.mean(1) @ m.b,
    rows_summed_and_normed=lambda m, i: norm(m.table[i].sum(1)) @ m.a,
    rows_averaged_and_normed=lambda m, i: norm(m.table[i].mean(1)) @ m.a,
    rows_averaged_over_one=lambda m, i: m.table[i[:, :1]].mean(1) @ m.a,
    rows_averaged_and_kept=lambda m, i: (t := m.table[i]) @ m.a + t.mean(1, keepdim=True) @ m.b,
    rows_largest=lambda m, i: m.table[i].amax(1) @ m.a,
    rows_times_a_product=lambda m, i: (m.table[i] * (m.seen[i] @ m.b)).sum(1) @ m.a,
    rows_times_a_product_for_shares=lambda m, i: (m.table[i] * (m.seen[i] @ m.b)).sum(-1).softmax(
        -1),
    rows_times_a_product_alone=lambda m, i: (m.table[i] * (m.seen[i] @ m.b)) @ m.a,
    rows_of_two_tables_less_numbers=lambda m, i: (
        (m.table[i] * m.seen[i]).sum(-1) + m.a[:5, :1][i].squeeze(-1)),
    rows_with_a_product=lambda m, i: torch.einsum("bsd,bse->bde", m.table[i], m.seen[i] @ m.b),
)  # fmt: skip


# Zeros.

short(
    X,
    zeros_as_keys_fused=lambda m, x: fn.scaled_dot_product_attention(
        x @ m.a, x @ m.z, x @ m.b),
    zeros_as_a_mask=lambda m, x: fn.scaled_dot_product_attention(
        x @ m.a, x @ m.b, x @ m.c, attn_mask=(x @ m.z)[..., :5]),
    zeros_below_zeros_of_a_low_rank=lambda m, x: x @ m.a + x @ m.zdown @ (m.zup * 2),
    zeros_below_two_low_ranks=lambda m, x: x @ m.a + x @ m.zdown @ m.up + x @ m.zdown @ m.up,
)  # fmt: skip

short(
    MAPS,
    zeros_that_sample_themselves=lambda m, x: fn.grid_sample(
        z := fn.conv2d(x, m.zk, padding=1), z[:, :2].permute(0, 2, 3, 1), align_corners=False)
    .mean((2, 3)) @ m.a,
    sliced_patches=lambda m, x: fn.conv2d(x, m.k[:, :, 1:, 1:], stride=2).relu(),
    sliced_patches_that_overlap=lambda m, x: fn.conv2d(x, m.k[:, :, 1:, 1:], stride=1).relu(),
    patches_of_one_pixel=lambda m, x: fn.conv2d(x, m.one).relu(),
)  # fmt: skip


# Loops.


def halved(m: Net, x: Tensor, h: Tensor) -> Tensor:
    return torch.lerp(h, (x @ m.a + h @ m.b).tanh(), 0.5)


def updated_from_the_input(m: Net, x: Tensor, h: Tensor) -> Tensor:
    return h + (x @ m.a + h @ m.b).sigmoid() * ((x @ m.c).tanh() - x)


def updated_by_a_number(m: Net, x: Tensor, h: Tensor) -> Tensor:
    new = (x @ m.a + h @ m.b).tanh()
    return new + 0.5 * (h - new)


def updated_by_a_share(m: Net, x: Tensor, h: Tensor) -> Tensor:
    new = (x @ m.a + h @ m.b).tanh()
    return new + (x @ m.c).sigmoid() * (h - new)


def updated_and_multiplied(m: Net, x: Tensor, h: Tensor) -> Tensor:
    new = (x @ m.a + h @ m.b).tanh()
    return new * ((x @ m.c).sigmoid() * (h - new))


def bent_after_its_gates(m: Net, x: Tensor, h: Tensor) -> Tensor:
    z = (x @ m.a + h @ m.b).sigmoid()
    return (z * h + (1 - z) * (x @ m.c + h @ m.d).tanh()).tanh()


def row_of_biases(m: Net, x: Tensor) -> Tensor:
    h = c = torch.zeros(2, 8)
    for t in range(3):
        i, f, g, o = (x[:, t] @ m.into + m.flat + h @ m.back + m.s).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    return h @ m.out


def two_cells(m: Net, x: Tensor) -> Tensor:
    h = g = torch.zeros(2, 8)
    for t in range(3):
        h = (x[:, t] @ m.a + h @ m.b).tanh()
        g = (h @ m.c + g @ m.d).tanh()
    return g @ m.out


def one_cell_after_another(m: Net, x: Tensor) -> Tensor:
    h, found = torch.zeros(2, 8), []
    for t in range(3):
        h = (x[:, t] @ m.a + h @ m.b).tanh()
        found.append(h)
    g = torch.zeros(2, 8)
    for one in found:
        g = (one @ m.c + g @ m.d).tanh()
    return g @ m.out


short(
    X,
    halved_in_a_loop=lambda m, x: loop(m, x, halved),
    updated_from_the_input_in_a_loop=lambda m, x: loop(m, x, updated_from_the_input),
    updated_by_a_number_in_a_loop=lambda m, x: loop(m, x, updated_by_a_number),
    updated_by_a_share_in_a_loop=lambda m, x: loop(m, x, updated_by_a_share),
    updated_and_multiplied_in_a_loop=lambda m, x: loop(m, x, updated_and_multiplied),
    bent_after_its_gates_in_a_loop=lambda m, x: loop(m, x, bent_after_its_gates),
    row_of_biases_in_a_loop=row_of_biases,
    two_cells_in_a_loop=two_cells,
    one_loop_after_another=one_cell_after_another,
)  # fmt: skip
