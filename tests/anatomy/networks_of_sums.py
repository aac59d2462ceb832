"""Networks that differ in a sum: what skips a branch, where it ends, and what else is added."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as fn

from .networks import MAPS, XY, Net, X, mlp, network, norm, short


def twice(m: Net, x: Tensor) -> Tensor:
    x = x + mlp(norm(x), m.a, m.b)
    return x + mlp(norm(x), m.c, m.d)


def another_takes(m: Net, x: Tensor) -> Tensor:
    y = x @ m.a + mlp(x, m.b, m.c)
    return (x + y) @ m.d + y


def root_mean_square(x: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


def earlier(m: Net, x: Tensor) -> Tensor:
    y = (x @ m.a).relu()
    x = x + y @ m.b
    return y + mlp(x, m.c, m.d)


def later(m: Net, x: Tensor) -> Tensor:
    x = x + mlp(x, m.a, m.b)
    y = (x @ m.c).relu()
    return y + mlp(norm(y), m.d, m.e)


def long(m: Net, x: Tensor) -> Tensor:
    y = (x @ m.a).relu()
    z = y + mlp(norm(y), m.b, m.c)
    return torch.cat([z, y], -1) @ m.tall + mlp(y, m.d, m.e)


def modulated(m: Net, x: Tensor, c: Tensor) -> Tensor:
    shift, scale, gate = (c.relu() @ m.pack.mT).chunk(3, -1)
    return x + mlp(norm(x) * (1 + scale) + shift, m.a, m.b) * gate


def in_parts(m: Net, x: Tensor) -> Tensor:
    y = x @ m.b
    y[:, 1:] += x[:, :-1] @ m.a
    y[:, 2:] += x[:, :-2] @ m.c
    return y


# A signal and a branch of it.

short(
    X,
    block=lambda m, x: (x + mlp(x, m.a, m.b)) @ m.out,
    block_before_a_norm=lambda m, x: norm(x + mlp(x, m.a, m.b), m.p) @ m.out,
    block_of_half_its_input=lambda m, x: x * 0.5 + mlp(x, m.a, m.b),
    block_less_its_input=lambda m, x: mlp(x, m.a, m.b) - x,
    block_with_a_weight_behind=lambda m, x: (x + x @ m.a @ m.b).relu() @ m.c,
    two_blocks=lambda m, x: twice(m, x) @ m.out,
    two_branches=lambda m, x: x + x @ m.a + mlp(x, m.b, m.c),
    two_branches_apart=lambda m, x: (x + x @ m.a) + (x + mlp(x, m.b, m.c)),
    branches_in_a_branch=lambda m, x: x + (x @ m.a + mlp(x @ m.a, m.b, m.c)),
    scaled_sum_in_a_sum=lambda m, x: x + (x @ m.a + mlp(x, m.b, m.c)) * 0.5,
    reshaped_sum_in_a_sum=lambda m, x: x + (x @ m.a + mlp(x, m.b, m.c)).view(2, 5, 8),
    normed_sum_in_a_sum=lambda m, x: x + norm(x @ m.a + mlp(x, m.b, m.c)),
    sum_that_another_takes=another_takes,
    branch_without_a_weight=lambda m, x: (x + x.relu()) @ m.a,
    branch_of_a_part=lambda m, x: x + fn.pad(x[..., :2] @ m.up[:, :6], (0, 2)),
    branch_divided=lambda m, x: x + mlp(x, m.a, m.b) / (x @ m.c).exp(),
    branch_picked=lambda m, x: x + mlp(x, m.a, m.b)[:, m.ids],
    branch_of_a_largest=lambda m, x: x + (x @ m.a).max(1, keepdim=True).values,
    branch_of_shares=lambda m, x: x + (x @ m.a).softmax(-1) * x,
    branch_in_the_middle=lambda m, x: (norm(x) + mlp(norm(x), m.a, m.b)) @ m.c,
    lerp_to_a_branch=lambda m, x: torch.lerp(x, mlp(x, m.a, m.b), 0.25),
    addcmul_of_a_gate=lambda m, x: torch.addcmul(x, (x @ m.c).sigmoid(), mlp(x, m.a, m.b)),
    addcdiv_of_a_branch=lambda m, x: torch.addcdiv(x, mlp(x, m.a, m.b), m.row + 1),
    addmm_to_its_input=lambda m, x: torch.addmm(x[0], (x[0] @ m.a).relu(), m.b),
    addmm_to_a_bias=lambda m, x: torch.addmm(m.p, (x[0] @ m.a).relu(), m.b),
    baddbmm_to_its_input=lambda m, x: torch.baddbmm(x, (x @ m.a).relu(), m.stack[:2]),
    index_added=lambda m, x: x.index_add(1, m.ids, mlp(x, m.a, m.b)),
    scatter_added=lambda m, x: x.scatter_add(1, m.ids[None, :, None].expand(2, 5, 8), x @ m.a),
    index_put_added=lambda m, x: x.index_put((m.ids[:2],), mlp(x, m.a, m.b), accumulate=True),
    stacked_and_summed=lambda m, x: torch.stack([x, mlp(x, m.a, m.b), x @ m.c]).sum(0) @ m.out,
    stacked_and_mean=lambda m, x: torch.stack([x, mlp(x, m.a, m.b)], -1).mean(-1) @ m.out,
    joined_and_summed=lambda m, x: torch.cat([x, mlp(x, m.a, m.b)]).view(2, 2, 5, 8).sum(0),
    joined_and_summed_in_part=lambda m, x: torch.cat([x, mlp(x, m.a, m.b)]).sum(1),
    stacked_and_weighted=lambda m, x: torch.einsum(
        "n,nbti->bti", m.w, torch.stack([x, mlp(x, m.a, m.b), x @ m.c])),
    stacked_by_one=lambda m, x: torch.stack([mlp(x, m.a, m.b)]).sum(0) + x,
    python_sum_of_three=lambda m, x: sum([x, x @ m.a, mlp(x, m.b, m.c)]),
    # Skips that are none.
    bias_as_a_skip=lambda m, x: m.p + mlp(m.p + x, m.a, m.b),
    table_as_a_skip=lambda m, x: (t := m.seen * 1.0) + mlp(x + t, m.a, m.b),
    scores_and_a_bias=lambda m, x: ((s := x @ m.a @ x.mT) + s.relu() @ m.mix).softmax(-1) @ x,
    shares_as_a_skip=lambda m, x: (s := x.softmax(-1)) + mlp(s, m.a, m.b),
    gate_of_two=lambda m, x: (x @ m.a + mlp(x, m.b, m.c)).sigmoid() * x,
    gate_and_a_signal_of_two=lambda m, x: (y := x @ m.a + mlp(x, m.b, m.c)).sigmoid() * y,
)  # fmt: skip


# A skip that a weight projects.

short(
    X,
    projected=lambda m, x: x @ m.c + mlp(x, m.a, m.b),
    projected_and_normed=lambda m, x: norm(x @ m.c) + norm(mlp(x, m.a, m.b)),
    projected_beside_one_weight=lambda m, x: x @ m.c + x.relu() @ m.a,
    projected_without_a_bend=lambda m, x: x @ m.c + x @ m.a @ m.b,
    projected_twice=lambda m, x: x @ m.c @ m.d + mlp(x, m.a, m.b),
    projected_before_a_bend=lambda m, x: (x @ m.c).relu() + mlp(x, m.a, m.b),
    projected_beside_two_branches=lambda m, x: x @ m.c + mlp(x, m.a, m.b) + x @ m.d,
    projected_beside_a_sum_of_layers=lambda m, x: (x @ m.a + x @ m.d).relu() @ m.b + x @ m.c,
    projected_beside_a_sum_of_one=lambda m, x: ((y := x @ m.a) + y.tanh()).relu() @ m.b + x @ m.c,
    projected_beside_a_sum_with_its_input=lambda m, x: (
        (x @ m.a + x).relu() @ m.b + x @ m.c),
    projected_beside_a_product_of_layers=lambda m, x: (
        ((x @ m.a).relu() * (x @ m.d)) @ m.b + x @ m.c),
    projected_beside_a_sum_of_two_and_one=lambda m, x: (
        ((y := x @ m.a) + y * (x @ m.d)).relu() @ m.b + x @ m.c),
    projected_beside_a_sum_of_a_chain=lambda m, x: (
        ((y := x @ m.a) + y @ m.d).relu() @ m.b + x @ m.c),
    projected_beside_a_gate=lambda m, x: x @ m.c + (x @ m.a) * (x @ m.b).relu(),
    projected_inside_its_branch=lambda m, x: (y := x @ m.c) + mlp(y, m.a, m.b),
    projected_scale_and_shift=lambda m, x: (y := x @ m.c) + mlp(norm(x) * (1 + y), m.a, m.b),
    projected_mean=lambda m, x: x.mean(1, keepdim=True) @ m.c + mlp(x, m.a, m.b),
    projected_and_divided=lambda m, x: (x @ m.c + mlp(x, m.a, m.b)) * 0.7,
    projected_of_a_normed=lambda m, x: (n := norm(x)) @ m.c + mlp(n, m.a, m.b) + 0,
    projected_bend_beside_the_branch=lambda m, x: (
        x @ m.c + (x @ m.a @ m.b) * (x @ m.d).sigmoid()),
    projected_in_a_block=lambda m, x: (
        x @ m.c + ((y := (x @ m.a).relu()) + mlp(y, m.d, m.e)) @ m.b),
)  # fmt: skip


@network(MAPS)
def a_stage_of_a_convnet(m: Net, x: Tensor) -> Tensor:
    y = fn.conv2d(x, m.k, padding=1, stride=2)
    y = fn.conv2d(y.relu(), m.m, padding=1)
    x = (fn.conv2d(x, m.one, stride=2) + y).relu()
    return (x + fn.conv2d(fn.conv2d(x, m.k, padding=1).relu(), m.m, padding=1)).mean((2, 3)) @ m.out


@network(MAPS)
def a_pooled_skip(m: Net, x: Tensor) -> Tensor:
    return fn.avg_pool2d(x, 2) + fn.conv2d(fn.conv2d(x, m.k, padding=1).relu(), m.m,
                                           padding=1, stride=2)  # fmt: skip


@network(MAPS)
def a_branch_with_batch_norm(m: Net, x: Tensor) -> Tensor:
    y = fn.conv2d(x, m.k, padding=1)
    return x + fn.batch_norm(y, torch.zeros(8), torch.ones(8), m.p, m.r, training=True)


@network(MAPS)
def squeezed_and_excited(m: Net, x: Tensor) -> Tensor:
    y = fn.conv2d(x, m.k, padding=1)
    gate = mlp(y.mean((2, 3)), m.a, m.b).sigmoid()
    return x + y * gate[:, :, None, None]


# Which weights end a branch.

short(
    X,
    ends_before_a_norm=lambda m, x: x + norm(mlp(x, m.a, m.b), m.p),
    ends_before_a_norm_by_hand=lambda m, x: x + root_mean_square(mlp(x, m.a, m.b)) * m.p,
    ends_before_a_scale=lambda m, x: x + mlp(x, m.a, m.b) * m.p,
    ends_by_a_gate=lambda m, x: x + mlp(x, m.a, m.b) * (x @ m.c).sigmoid(),
    ends_by_a_silu_gate=lambda m, x: x + fn.silu(x @ m.a) * (x @ m.b),
    ends_by_two_factors=lambda m, x: x + (x @ m.a) * (x @ m.b),
    ends_by_two_gates=lambda m, x: x + (x @ m.a).sigmoid() * (x @ m.b).tanh(),
    ends_by_gates_alone=lambda m, x: x + (x @ m.a).sigmoid() * (x @ m.b).sigmoid(),
    ends_by_an_attention=lambda m, x: x + (x @ m.a @ (x @ m.b).mT).softmax(-1) @ (x @ m.c),
    ends_by_a_fused_attention=lambda m, x: x + fn.scaled_dot_product_attention(
        x @ m.a, x @ m.b, x @ m.c),
    ends_by_an_outer_product=lambda m, x: x + torch.einsum(
        "btij,btj->bti", (x @ m.a)[..., None] * (x @ m.b)[..., None, :], x @ m.c),
    ends_by_a_product_with_its_input=lambda m, x: x + x * (x @ m.a),
    ends_by_a_matrix_of_weights=lambda m, x: x + torch.einsum("bti,bsi->bts", x @ m.a, x) @ x,
    ends_by_mixed_positions=lambda m, x: x + (m.mix @ mlp(x, m.a, m.b)),
    ends_by_a_sum_of_weights=lambda m, x: x + (x @ m.a + x @ m.b) * 0.5,
    ends_twice_by_one_weight=lambda m, x: x + x @ m.a + (x @ m.b) @ m.a,
    ends_behind_a_pool=lambda m, x: x + fn.avg_pool1d(mlp(x, m.a, m.b), 3, 1, 1),
    ends_at_a_join=lambda m, x: x + torch.cat([x @ m.wide[:, :4], (x @ m.a)[..., :4]], -1),
    ends_at_a_sorted=lambda m, x: x + mlp(x, m.a, m.b).sort(-1).values,
    skip_of_an_earlier_layer=earlier,
    stream_that_starts_later=later,
    stream_of_three=lambda m, x: x + (y := x + x @ m.a) @ m.b + mlp(y, m.c, m.d),
    bottleneck_of_sums=lambda m, x: x + ((y := (x @ m.a).relu()) + y @ m.b).relu() @ m.c,
    long_skip=lambda m, x: long(m, x) @ m.out,
)  # fmt: skip


# Of two inputs.

short(
    XY,
    modulated=lambda m, x, c: x + mlp(norm(x) * (1 + c @ m.c) + c @ m.d, m.a, m.b),
    modulated_end=lambda m, x, c: x + mlp(norm(x), m.a, m.b) * (c @ m.c),
    modulated_end_by_a_sigmoid=lambda m, x, c: x + mlp(norm(x), m.a, m.b) * (c @ m.c).sigmoid(),
    modulated_by_one_layer=modulated,
    branch_of_another_input=lambda m, x, c: x + mlp(c, m.a, m.b),
    attended_to_another=lambda m, x, c: x + (
        (norm(x) @ m.a) @ (c @ m.b).mT / 8**0.5).softmax(-1) @ (c @ m.c) @ m.d,
    products_of_two_inputs=lambda m, x, c: x @ m.a + c @ m.b,
    products_of_two_inputs_and_a_norm=lambda m, x, c: norm(x @ m.a + c @ m.b, m.p),
    products_of_three=lambda m, x, c: x @ m.a + c @ m.b + (x * c) @ m.c,
    product_and_an_input=lambda m, x, c: x @ m.a + c,
    product_and_an_input_and_a_norm=lambda m, x, c: norm(x @ m.a + c),
    one_weight_on_both=lambda m, x, c: x @ m.a + c @ m.a,
    one_weight_on_both_and_a_norm=lambda m, x, c: norm(x @ m.a + c @ m.a),
    one_weight_on_both_apart=lambda m, x, c: (x @ m.a).relu() @ m.b + (c @ m.a).relu() @ m.b,
    a_complex_product=lambda m, x, c: (x @ m.a - c @ m.b, x @ m.b + c @ m.a),
    a_crossed_product=lambda m, x, c: (x @ m.a - c @ m.b, x @ m.b + c @ m.c),
    differences_of_products=lambda m, x, c: x @ m.a - c @ m.b,
    sums_of_kept=lambda m, x, c: x @ m.a + c @ m.keep,
    added_with_alpha=lambda m, x, c: torch.add(x @ m.a, c @ m.b, alpha=0.5),
    added_after_a_mean=lambda m, x, c: x @ m.a - (x @ m.a).mean(-1, keepdim=True) + c @ m.b,
    added_and_bent=lambda m, x, c: (x @ m.a + c @ m.b).tanh() @ m.c,
    added_to_a_bend=lambda m, x, c: (x @ m.a).tanh() + c @ m.b,
    added_to_a_table=lambda m, x, c: x @ m.a + m.seen,
    added_in_a_loop=lambda m, x, c: sum(t @ w for t, w in zip((x, c, x * c), m.stack, strict=True)),
)  # fmt: skip


# Parts of one weight, and low-rank pairs.

short(
    X,
    slices_added=lambda m, x: x[..., :3] @ m.a[:3] + x[..., 3:] @ m.a[3:],
    slices_added_in_steps=lambda m, x: x[..., :3] @ m.a[:3] + x[..., 3:6] @ m.a[3:6] + x[..., 6:]
    @ m.a[6:],
    slices_that_overlap=lambda m, x: x[..., :4] @ m.a[:4] + x[..., 3:] @ m.a[3:],
    strided_slices=lambda m, x: x[..., ::2] @ m.a[::2] + x[..., 1::2] @ m.a[1::2],
    slices_side_by_side=lambda m, x: torch.cat([x @ m.a[:, :3], x.relu() @ m.a[:, 3:]], -1),
    slices_of_other_sizes=lambda m, x: (x[..., :3] @ m.a[:3]) * (x[..., 3:] @ m.a[3:]),
    slices_in_a_row=lambda m, x: (x[..., :4] @ m.a[:4])[..., :4] @ m.a[4:] + x @ m.a,
    added_twice=lambda m, x: x @ m.a + (x @ m.a).mT.mT,
    added_twice_by_another_way=lambda m, x: x @ m.a + x @ m.a.mT,
    used_again_transposed=lambda m, x: (x @ m.wide).relu() @ m.wide.mT,
    written_in_parts=in_parts,
    lora=lambda m, x: x @ m.a + x @ m.down @ m.up * 0.5,
    lora_subtracted=lambda m, x: x @ m.a - x @ m.down @ m.up * 0.5,
    lora_subtracted_from=lambda m, x: 2 * (x @ m.down @ m.up) - x @ m.a,
    lora_of_a_scaled_base=lambda m, x: (x @ m.a) * 4 + (x @ m.down * 3) @ m.up,
    lora_of_a_negative_base=lambda m, x: (x @ m.a) * -4 + x @ m.down @ m.up,
    lora_of_a_scaled_input=lambda m, x: (x * 2) @ m.a + x @ m.down @ m.up,
    lora_of_the_same_scaled_input=lambda m, x: (y := x * 2) @ m.a + (y / 8) @ m.down @ m.up,
    lora_with_alpha=lambda m, x: torch.add(x @ m.a, x @ m.down @ m.up, alpha=2),
    lora_by_a_parameter=lambda m, x: x @ m.a + x @ m.down @ m.up * m.s,
    lora_with_a_bend=lambda m, x: x @ m.a + (x @ m.down).relu() @ m.up,
    lora_of_one_weight=lambda m, x: x @ m.down @ m.up + x @ m.down @ m.up,
    lora_as_wide=lambda m, x: x @ m.a + x @ m.b @ m.c,
    lora_of_another_signal=lambda m, x: x @ m.a + x.relu() @ m.down @ m.up,
    low_rank_alone=lambda m, x: x @ m.down @ m.up,
    low_rank_before_the_signal=lambda m, x: x @ (m.down @ m.up),
    low_rank_added_to_a_weight=lambda m, x: x @ (m.a + m.down @ m.up * 0.5),
)  # fmt: skip
