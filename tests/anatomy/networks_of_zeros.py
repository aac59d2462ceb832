"""Networks in which a weight z or zz, a number each n, or a part of a pair, starts at 0."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as fn

from .networks import IDS, MAPS, XY, Net, X, mlp, norm, short


def written(m: Net, x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 0] = x[:, 0] @ m.z
    return y @ m.a


def token_written(m: Net, x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 0] = m.n
    return y @ m.a


short(
    X,
    zeros_at_the_end_of_a_branch=lambda m, x: (x + mlp(x, m.a, m.z)) @ m.out,
    zeros_at_the_start_of_a_branch=lambda m, x: (x + mlp(x, m.z, m.a)) @ m.out,
    zeros_in_the_trunk=lambda m, x: (x @ m.z).relu() @ m.a,
    zeros_in_the_trunk_and_a_bias=lambda m, x: (x @ m.z + m.p).relu() @ m.a,
    zeros_in_a_head=lambda m, x: (x @ m.a).relu() @ m.z,
    zeros_in_a_head_of_shares=lambda m, x: ((x @ m.a).relu() @ m.z).softmax(-1),
    zeros_everywhere=lambda m, x: (x @ m.z).relu() @ m.zz,
    zeros_added_to_zeros=lambda m, x: (x @ m.z + x @ m.zz) @ m.a,
    zeros_added_to_a_product=lambda m, x: (x @ m.z + x @ m.b) @ m.a,
    zeros_less_a_product=lambda m, x: (x @ m.b - x @ m.z).relu() @ m.a,
    zeros_plus_a_number=lambda m, x: (x @ m.z + 1) @ m.a,
    zeros_that_modulate=lambda m, x: x * (1 + x @ m.z) @ m.a,
    zeros_that_multiply=lambda m, x: x * (x @ m.z) @ m.a,
    zeros_that_gate=lambda m, x: (x @ m.a) * (x @ m.z).sigmoid() @ m.b,
    zeros_that_gate_by_tanh=lambda m, x: (x @ m.a) * (x @ m.z).tanh() @ m.b,
    zeros_that_gate_zeros=lambda m, x: (x @ m.zz) * (x @ m.z).sigmoid() @ m.b,
    zeros_that_gate_a_weight=lambda m, x: (x @ (m.a * m.n.sigmoid())) @ m.b,
    zeros_that_gate_a_number=lambda m, x: (x @ m.a) + m.n.sigmoid() * m.p,
    zeros_multiplied_by_zeros=lambda m, x: x + (x @ m.z) * (x @ m.zz) @ m.a,
    zeros_before_a_softmax=lambda m, x: (x @ m.z).softmax(-1) * (x @ m.b) @ m.a,
    zeros_before_an_exponential=lambda m, x: (x @ m.z).exp() * (x @ m.b) @ m.a,
    zeros_before_a_cosine=lambda m, x: (x @ m.z).cos() @ m.a,
    zeros_before_a_norm=lambda m, x: norm(x @ m.z, m.p) @ m.a,
    zeros_averaged=lambda m, x: (x + (x @ m.z).mean(1, keepdim=True)) @ m.a,
    zeros_turned=lambda m, x: (x + (x @ m.z).mT.mT.flip(1)) @ m.a,
    zeros_chosen=lambda m, x: (x @ m.z).topk(2, -1).values @ m.up,
    zeros_picked=lambda m, x: (x + (x @ m.z)[:, m.ids]) @ m.a,
    zeros_as_queries=lambda m, x: fn.scaled_dot_product_attention(x @ m.z, x @ m.a, x @ m.b),
    zeros_as_keys=lambda m, x: ((x @ m.a) @ (x @ m.z).mT).softmax(-1) @ (x @ m.b),
    zeros_as_values=lambda m, x: fn.scaled_dot_product_attention(x @ m.a, x @ m.b, x @ m.z),
    zeros_as_values_beside=lambda m, x: x + fn.scaled_dot_product_attention(
        x @ m.a, x @ m.b, x @ m.z),
    zeros_as_keys_and_values=lambda m, x: fn.scaled_dot_product_attention(
        x @ m.a, (k := x @ m.z), k),
    zeros_behind_an_attention=lambda m, x: x + fn.scaled_dot_product_attention(
        x @ m.a, x @ m.b, x @ m.c) @ m.z,
    zeros_added_to_scores=lambda m, x: fn.scaled_dot_product_attention(
        x @ m.a, x @ m.b, x @ m.c, attn_mask=m.n[:5].expand(5, 5)),
    zeros_in_a_sampling=lambda m, x: (x @ m.a + 0 * (x @ m.z)) @ m.b,
    zeros_joined_to_a_signal=lambda m, x: torch.cat([x @ m.z, x], -1) @ m.tall,
    zeros_joined_to_zeros=lambda m, x: torch.cat([x @ m.z, x @ m.zz], -1) @ m.tall,
    zeros_joined_as_a_token=lambda m, x: torch.cat([m.n.expand(2, 1, 8), x], 1) @ m.a,
    zeros_written=written,
    zeros_written_as_a_token=token_written,
    zeros_as_positions=lambda m, x: (x + m.nn) @ m.a,
    zeros_as_a_scale=lambda m, x: x * m.n @ m.a,
    zeros_as_a_scale_of_a_branch=lambda m, x: (x + m.n * mlp(x, m.a, m.b)) @ m.out,
    zeros_as_a_scale_of_zeros=lambda m, x: (x + m.n * (x @ m.z)) @ m.out,
    zeros_as_one_more=lambda m, x: x * (1 + m.n) @ m.a,
    zeros_as_a_norms_weight=lambda m, x: norm(x, m.n) @ m.a,
    zeros_as_a_norms_weight_in_a_branch=lambda m, x: x + norm(x @ m.a, m.n),
    zeros_as_a_bias=lambda m, x: (x @ m.a + m.n).relu() @ m.b,
    zeros_above_a_low_rank=lambda m, x: x @ m.a + x @ m.down @ m.zup,
    zeros_below_a_low_rank=lambda m, x: x @ m.a + x @ m.zdown @ m.up,
    zeros_on_both_sides=lambda m, x: x @ m.a + x @ m.zdown @ m.zup,
    zeros_below_a_bend=lambda m, x: x @ m.a + (x @ m.zdown).tanh() @ m.up,
    zeros_below_a_flat_bend=lambda m, x: x @ m.a + (x @ m.zdown).relu() @ m.up,
    zeros_below_as_wide=lambda m, x: x @ m.a + x @ m.z @ m.b,
    zeros_below_alone=lambda m, x: x @ m.zdown @ m.up,
    zeros_below_a_gate=lambda m, x: x * (1 + x @ m.zdown @ m.up) @ m.a,
    zeros_below_two_weights=lambda m, x: x @ m.a + x @ m.zdown @ m.up @ m.b,
    zeros_in_a_product_of_weights=lambda m, x: x @ (m.a + m.down @ m.zup),
    zeros_that_are_tiny=lambda m, x: (x + mlp(x, m.a, m.tiny)) @ m.out,
    tiny_in_the_trunk=lambda m, x: (x @ m.tiny).relu() @ m.a,
    small_in_a_branch=lambda m, x: (x + mlp(x, m.a, m.small)) @ m.out,
)  # fmt: skip

short(
    XY,
    zeros_of_another_input=lambda m, x, c: (x @ m.a + c @ m.z) @ m.b,
    zeros_that_shift_and_scale=lambda m, x, c: (norm(x) * (1 + c @ m.z) + c @ m.zz) @ m.a,
    zeros_of_another_as_keys=lambda m, x, c: ((x @ m.a) @ (c @ m.z).mT).softmax(-1) @ (c @ m.b),
)

short(
    IDS,
    zeros_in_a_table=lambda m, i: fn.embedding(i, m.zt) @ m.a,
    zeros_in_a_table_added=lambda m, i: (fn.embedding(i, m.table) + fn.embedding(i, m.zt)) @ m.a,
    zeros_in_a_table_of_biases=lambda m, i: (
        fn.embedding(i, m.table) * fn.embedding(i, m.a)).sum(-1)
    + fn.embedding(i, m.zt[:, :1]).squeeze(-1),
)  # fmt: skip

short(
    MAPS,
    zeros_in_a_convolution=lambda m, x: x + fn.conv2d(
        fn.conv2d(x, m.k, padding=1).relu(), m.zk, padding=1),
    zeros_in_a_branch_normed=lambda m, x: x + fn.batch_norm(
        fn.conv2d(x, m.k, padding=1), torch.zeros(8), torch.ones(8), m.n, m.p, training=True),
    zeros_where_to_sample=lambda m, x: fn.grid_sample(
        x, (x.mean((2, 3)) @ m.z)[:, :2].view(2, 1, 1, 2).expand(2, 6, 6, 2), align_corners=False)
    .mean((2, 3)) @ m.a,
    zeros_that_are_sampled=lambda m, x: fn.grid_sample(
        fn.conv2d(x, m.zk, padding=1), x[:, :2].permute(0, 2, 3, 1), align_corners=False)
    .mean((2, 3)) @ m.a,
)  # fmt: skip
