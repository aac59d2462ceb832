"""Networks that differ in their attention, in their gates and in the steps of their loops."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as fn

from .networks import MAPS, XY, Net, X, mlp, network, norm, short


def qkv(m: Net, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return x @ m.a, x @ m.b, x @ m.c


def heads(x: Tensor) -> Tensor:
    return x.view(2, 5, 2, 4).transpose(1, 2)


def packed(m: Net, x: Tensor) -> tuple[Tensor, ...]:
    return (x @ m.pack.T).chunk(3, -1)


def by_steps(m: Net, x: Tensor, update: Callable[..., Tensor]) -> Tensor:
    q, k, v = qkv(m, x)
    state, found = torch.zeros(len(x), 8, 8), []
    for t in range(3):
        state = update(state, k[:, t, :, None], v[:, t, None])
        found.append((q[:, t, :, None] * state).sum(1))
    return torch.stack(found, 1) @ m.d


def attention_by_hand(m: Net, x: Tensor) -> Tensor:
    q, k, v = qkv(m, x)
    return (q @ k.mT).softmax(-1) @ v


def block(m: Net, x: Tensor) -> Tensor:
    h = norm(x, m.p)
    x = x + fn.scaled_dot_product_attention(h @ m.a, h @ m.b, h @ m.c) @ m.d
    return x + mlp(norm(x, m.r), m.e, m.f)


def loop(m: Net, x: Tensor, step: Callable[..., Tensor], steps: int = 3) -> Tensor:
    h = torch.zeros(2, 8)
    for t in range(steps):
        h = step(m, x[:, t], h)
    return h @ m.out


def gru(m: Net, x: Tensor, h: Tensor) -> Tensor:
    z, r = (x @ m.a + h @ m.b).sigmoid(), (x @ m.c + h @ m.d).sigmoid()
    return (1 - z) * (x @ m.e + r * (h @ m.f)).tanh() + z * h


def gru_reset_before(m: Net, x: Tensor, h: Tensor) -> Tensor:
    z, r = (x @ m.a + h @ m.b).sigmoid(), (x @ m.c + h @ m.d).sigmoid()
    return torch.lerp(h, (x @ m.e + (r * h) @ m.f).tanh(), z)


def gru_by_difference(m: Net, x: Tensor, h: Tensor) -> Tensor:
    z = (x @ m.a + h @ m.b + m.p).sigmoid()
    return h + z * ((x @ m.c + h @ m.d).tanh() - h)


def minimal(m: Net, x: Tensor, h: Tensor) -> Tensor:
    f = (torch.cat([x, h], -1) @ m.tall).sigmoid()
    return f * h + (1 - f) * (x @ m.a).tanh()


def coupled(m: Net, x: Tensor, h: Tensor) -> Tensor:
    f = (x @ m.a + h @ m.b).sigmoid()
    return f * h + (1 - f) * x


def unbent(m: Net, x: Tensor, h: Tensor) -> Tensor:
    return 0.9 * h + x @ m.a


def lstm(m: Net, x: Tensor, steps: int = 3, joined: bool = False, shift: bool = False) -> Tensor:
    h = c = torch.zeros(2, 8)
    for t in range(steps):
        if joined:
            made = torch.cat([x[:, t], h], -1) @ m.gates + m.bias
        else:
            made = x[:, t] @ m.into + m.bias + h @ m.back
        i, f, g, o = made.chunk(4, -1)
        c = (f + shift).sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    return h @ m.out


def bent(m: Net, x: Tensor, h: Tensor) -> Tensor:
    return (x @ m.a + h @ m.b).tanh()


def runge_kutta(m: Net, x: Tensor) -> Tensor:
    for _ in range(2):
        first = mlp(x, m.a, m.b)
        second = mlp(x + 0.5 * first, m.a, m.b)
        x = x + 0.5 * (first + second)
    return x


def state_space(m: Net, x: Tensor, steps: Tensor | float = 0.1) -> Tensor:
    state, found = torch.zeros(2, 8), []
    for t in range(3):
        by = steps[:, t] if isinstance(steps, Tensor) else steps
        state = state * (by * -m.p.exp()).exp() + x[:, t] * by
        found.append(state * m.w[0])
    return torch.stack(found, 1) @ m.out


def decoded(m: Net, x: Tensor) -> Tensor:
    chosen, found = torch.zeros(2, dtype=torch.long), []
    for t in range(3):
        scores = (fn.embedding(chosen, m.table) + x[:, t]) @ m.wide
        chosen = scores.argmax(-1).clamp(max=10)
        found.append(scores)
    return torch.stack(found)


# Attention. Queries, keys and values are products with a, b and c.


short(
    X,
    attention=lambda m, x: ((q := qkv(m, x))[0] @ q[1].mT / 8**0.5).softmax(-1) @ q[2] @ m.d,
    attention_with_a_mask=lambda m, x: ((q := qkv(m, x))[0] @ q[1].mT).masked_fill(
        m.mix > 0, -torch.inf).softmax(-1) @ q[2],
    attention_with_a_bias=lambda m, x: ((q := qkv(m, x))[0] @ q[1].mT + m.seen[:, :5]).softmax(
        -1) @ q[2],
    attention_without_a_softmax=lambda m, x: ((q := qkv(m, x))[0] @ q[1].mT) @ q[2],
    attention_by_a_relu=lambda m, x: ((q := qkv(m, x))[0] @ q[1].mT).relu() @ q[2],
    attention_fused=lambda m, x: fn.scaled_dot_product_attention(*qkv(m, x)) @ m.d,
    attention_fused_with_a_scale=lambda m, x: fn.scaled_dot_product_attention(
        *qkv(m, x), scale=1.0),
    attention_of_scaled_queries=lambda m, x: ((q := qkv(m, x))[0] * 0.5 @ (q[1] * 3).mT).softmax(
        -1) @ (q[2] * 7),
    attention_of_normed_queries=lambda m, x: (norm((q := qkv(m, x))[0]) @ norm(q[1]).mT).softmax(
        -1) @ q[2],
    attention_of_heads=lambda m, x: (
        heads((q := qkv(m, x))[0]) @ heads(q[1]).mT / 2).softmax(-1) @ heads(q[2]),
    attention_of_heads_joined=lambda m, x: fn.scaled_dot_product_attention(
        *map(heads, qkv(m, x))).transpose(1, 2).flatten(2) @ m.d,
    attention_with_talking_heads=lambda m, x: torch.einsum(
        "bhts,hg->bgts", heads((q := qkv(m, x))[0]) @ heads(q[1]).mT, m.up[:, :2]
    ).softmax(-1) @ heads(q[2]),
    attention_with_mixing_convolution=lambda m, x: fn.conv2d(
        (heads((q := qkv(m, x))[0]) @ heads(q[1]).mT).softmax(-1), m.one[:2, :2]) @ heads(q[2]),
    attention_packed=lambda m, x: ((q := packed(m, x))[0] @ q[1].mT / 8**0.5).softmax(-1) @ q[2],
    attention_packed_in_a_view=lambda m, x: fn.scaled_dot_product_attention(
        *(x @ m.pack.T).view(2, 5, 3, 8).unbind(2)) @ m.d,
    attention_packed_in_part=lambda m, x: (x @ m.a @ (k := (x @ m.wide))[..., :8].mT).softmax(
        -1) @ k[..., 8:],
    attention_of_one_key=lambda m, x: fn.scaled_dot_product_attention(
        heads(x @ m.a), (x @ m.b[:, :4])[:, None], (x @ m.c[:, :4])[:, None]),
    attention_of_shared_keys=lambda m, x: ((x @ m.a) @ (k := x @ m.b).mT).softmax(-1) @ k,
    attention_of_shared_queries=lambda m, x: ((k := x @ m.a) @ k.mT).softmax(-1) @ (x @ m.b),
    attention_of_the_input=lambda m, x: ((x @ m.a) @ x.mT).softmax(-1) @ x,
    attention_by_einsum=lambda m, x: torch.einsum(
        "bts,bsi->bti", torch.einsum("bti,bsi->bts", (q := qkv(m, x))[0], q[1]).softmax(-1), q[2]),
    attention_from_the_left=lambda m, x: (q := [w @ x.mT for w in (m.a, m.b, m.c)])[2] @ (
        q[1].mT @ q[0]).softmax(1),
    attention_over_features=lambda m, x: (q := qkv(m, x))[2] @ (q[0].mT @ q[1]).softmax(-1).mT,
    attention_by_sums=lambda m, x: (
        ((q := qkv(m, x))[0][:, :, None] * q[1][:, None]).sum(-1).softmax(-1)[..., None]
        * q[2][:, None]).sum(2),
    attention_by_distances=lambda m, x: (-torch.cdist((q := qkv(m, x))[0], q[1])).softmax(
        -1) @ q[2],
    attention_by_exponentials=lambda m, x: (
        e := ((q := qkv(m, x))[0] @ q[1].mT).exp()) @ q[2] / e.sum(-1, keepdim=True),
    attention_linear=lambda m, x: (q := qkv(m, x))[0].softmax(-1) @ (q[1].softmax(1).mT @ q[2]),
    attention_linear_by_relus=lambda m, x: ((q := qkv(m, x))[0].relu() @ (
        q[1].relu().mT @ q[2])) / (q[0].relu() @ q[1].relu().sum(1)[..., None]),
    attention_linear_by_einsum=lambda m, x: torch.einsum(
        "bti,bio->bto", (q := qkv(m, x))[0], torch.einsum("bsi,bso->bio", q[1], q[2])),
    attention_by_steps=lambda m, x: by_steps(m, x, lambda state, k, v: state + k * v),
    attention_by_steps_that_decay=lambda m, x: by_steps(
        m, x, lambda state, k, v: state * 0.9 + k * v),
    attention_by_the_delta_rule=lambda m, x: by_steps(
        m, x, lambda state, k, v: state + k * (v - (k * state).sum(1, keepdim=True))),
    attention_by_steps_of_one_sample=lambda m, x: by_steps(
        m, x[:1], lambda state, k, v: state + k * v),
    attention_without_samples=lambda m, x: attention_by_hand(m, x[0]),
    attention_in_a_block=lambda m, x: block(m, block(m, x)),
    attention_then_a_gate=lambda m, x: fn.scaled_dot_product_attention(*qkv(m, x)) * (
        x @ m.d).sigmoid() @ m.e,
    attention_then_a_bend=lambda m, x: fn.scaled_dot_product_attention(*qkv(m, x)).relu() @ m.d,
    attention_then_two=lambda m, x: (y := fn.scaled_dot_product_attention(*qkv(m, x))) @ m.d
    + y @ m.e,
    attention_of_convolved=lambda m, x: fn.scaled_dot_product_attention(*(
        fn.conv1d(x.mT, w[..., :1, 0]).mT for w in (m.k, m.m, m.one))),
    attention_of_depthwise=lambda m, x: fn.scaled_dot_product_attention(*(
        fn.conv1d(x.mT, w[:, :1, :1, 0], groups=8).mT for w in (m.k, m.m, m.one))),
    pooled_by_scores=lambda m, x: ((x @ m.out[:, :1]).softmax(1) * (x @ m.a)).sum(1),
    mixed_by_scores=lambda m, x: (x @ m.wide[:, :5]).softmax(-1) @ (x @ m.a),
)  # fmt: skip


@network(MAPS)
def attention_in_a_map(m: Net, x: Tensor) -> Tensor:
    q, k, v = (fn.conv2d(x, w[..., :1, :1]).flatten(2) for w in (m.k, m.m, m.one))
    return x + (v @ (q.mT @ k).softmax(-1).mT).view(2, 8, 6, 6)


short(
    XY,
    attention_to_another=lambda m, x, c: ((x @ m.a) @ (c @ m.b).mT / 8**0.5).softmax(-1) @ (
        c @ m.c) @ m.d,
    attention_of_a_learned_query=lambda m, x, c: (
        m.seen @ m.a @ (x @ m.b).mT).softmax(-1) @ (x @ m.c),
    attention_with_another_as_values=lambda m, x, c: (
        (x @ m.a) @ (x @ m.b).mT).softmax(-1) @ (c @ m.c),
)  # fmt: skip

# Cells.


short(
    X,
    cell=lambda m, x: loop(m, x, bent),
    cell_of_one_step=lambda m, x: loop(m, x, bent, 1),
    cell_of_two_steps=lambda m, x: loop(m, x, bent, 2),
    cell_of_ten_steps=lambda m, x: loop(m, x.repeat(1, 2, 1), bent, 10),
    cell_with_biases=lambda m, x: loop(
        m, x, lambda m, x, h: (x @ m.a + m.p + h @ m.b + m.r).tanh()),
    cell_without_an_input=lambda m, x: loop(m, x, lambda m, x, h: (h @ m.b).tanh() + x * 0),
    cell_that_is_linear=lambda m, x: loop(m, x, lambda m, x, h: x @ m.a + h @ m.b),
    cell_with_a_skip=lambda m, x: loop(m, x, lambda m, x, h: h + (x @ m.a + h @ m.b).tanh()),
    cell_with_a_scaled_skip=lambda m, x: loop(
        m, x, lambda m, x, h: 0.5 * h + 0.5 * (x @ m.a + h @ m.b).tanh()),
    cell_of_two_weights=lambda m, x: loop(
        m, x, lambda m, x, h: ((x @ m.a + h @ m.b).tanh() @ m.c).tanh()),
    cell_that_joins=lambda m, x: loop(
        m, x, lambda m, x, h: (torch.cat([x, h], -1) @ m.tall).tanh()),
    cell_that_joins_itself=lambda m, x: loop(m, x, lambda m, x, h: (
        torch.cat([h, h], -1) @ m.tall + x).tanh()),
    cell_that_only_decays=lambda m, x: loop(m, x, unbent),
    cell_with_a_norm=lambda m, x: loop(
        m, x, lambda m, x, h: norm(x @ m.a + h @ m.b, m.p).tanh()),
    cell_with_dropout=lambda m, x: loop(
        m, x, lambda m, x, h: fn.dropout((x @ m.a + h @ m.b).tanh(), 0.5, True)),
    cell_with_a_gate_of_its_input=lambda m, x: loop(
        m, x, lambda m, x, h: (x @ m.a + h @ m.b).tanh() * (x @ m.c).sigmoid()),
    cell_gru=lambda m, x: loop(m, x, gru),
    cell_gru_of_two_steps=lambda m, x: loop(m, x, gru, 2),
    cell_gru_that_resets_before=lambda m, x: loop(m, x, gru_reset_before),
    cell_gru_by_a_difference=lambda m, x: loop(m, x, gru_by_difference),
    cell_minimal=lambda m, x: loop(m, x, minimal),
    cell_coupled=lambda m, x: loop(m, x, coupled),
    cell_lstm=lstm,
    cell_lstm_of_two_steps=lambda m, x: lstm(m, x, 2),
    cell_lstm_that_joins=lambda m, x: lstm(m, x, joined=True),
    cell_lstm_shifted=lambda m, x: lstm(m, x, shift=True),
    iterated=lambda m, x: (bent := lambda x: (x @ m.a).tanh())(bent(bent(x))) @ m.out,
    iterated_with_a_skip=lambda m, x: (f := lambda x: x + (x @ m.a).tanh())(f(f(x))) @ m.out,
    iterated_blocks=lambda m, x: (f := lambda x: x + mlp(norm(x), m.a, m.b))(f(f(x))) @ m.out,
    iterated_blocks_and_one_more=lambda m, x: (f := lambda x: x + mlp(norm(x), m.a, m.b))(
        f(f(x) + mlp(norm(x), m.c, m.d))) @ m.out,
    iterated_on_an_input=lambda m, x: (f := lambda y: (y @ m.a + x).tanh())(f(f(x))) @ m.out,
    iterated_and_transposed=lambda m, x: ((x @ m.a).relu() @ m.a.T).relu() @ m.a,
    iterated_solver=lambda m, x: runge_kutta(m, x) @ m.out,
    state_space=state_space,
    state_space_with_steps=lambda m, x: state_space(m, x, fn.softplus(x @ m.b + m.r)),
    decoded_by_its_best=decoded,
)  # fmt: skip
