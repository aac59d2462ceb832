"""Kinds A to O: what was once wrong and sure of itself, each with siblings.

Sums of positions and rows, noise as a factor, scores that nothing divides, states of loops.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import NOT_TRUE, Net, facts, full, gain, keeps, raw

X = (64, 24)
STEPS = (8, 20, 16)
IDS = (16, 10)
SERIES = (8, 12, 8)

NO_END = {"ends_residual": NOT_TRUE}
NOBODY_KNOWS = {"ends_residual": None}


def ids():
    return torch.randint(0, 20, IDS)


def lin(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


# Rows and positions.


@gain("B", ids, undecidable=True)
def rows_and_positions_without_a_norm():
    return Net(
        lambda m, i: m.u(i) + m.v(torch.arange(10)), u=nn.Embedding(20, 16), v=nn.Embedding(10, 16)
    )


@gain("B", ids, undecidable=True)
def rows_and_raw_positions_without_a_norm():
    return Net(lambda m, i: m.u(i) + m.p, u=nn.Embedding(20, 16), p=raw(1, 10, 16))


def sines(count, size, start=0):
    angles = torch.arange(count)[:, None] / 10000 ** (torch.arange(0, size, 2) / size)
    table = nn.Embedding(count + start, size)
    with torch.no_grad():
        table.weight[:start] = 0
        table.weight[start:, 0::2], table.weight[start:, 1::2] = angles.sin(), angles.cos()
    return table


@keeps("O", ids, "v.weight")
def sines_in_a_table():
    return Net(
        lambda m, i: fn.layer_norm(m.u(i) + m.v(torch.arange(10)), (16,)),
        u=nn.Embedding(20, 16),
        v=sines(10, 16),
    )


@keeps("O", ids, "v.weight")
def sines_in_a_table_with_padding():
    return Net(
        lambda m, i: fn.layer_norm(m.u(i) + m.v(torch.arange(1, 11)), (16,)),
        u=nn.Embedding(20, 16),
        v=sines(12, 16, start=1),
    )


# Pools and interpolation.


@gain("A", (16, 12, 10), undecidable=True)
def interpolated_input():
    return Net(lambda m, x: m.f(fn.interpolate(x, scale_factor=2, mode="linear").mT), f=lin(12, 16))


@gain("A", (16, 8, 8, 8), undecidable=True)
def pooled_input():
    return Net(lambda m, x: m.f(fn.avg_pool2d(x, 2)), f=nn.Conv2d(8, 16, 1, bias=False))


@gain("plain", (16, 8, 6, 6))
def input_interpolated_to_the_nearest():
    return Net(
        lambda m, x: m.f(fn.interpolate(x, scale_factor=2)), f=nn.Conv2d(8, 60, 1, bias=False)
    )


@gain("A", (64, 8, 12, 12), undecidable=True)
def sum_of_two_pools():
    def forward(m, x):
        y = m.f(x)
        return fn.adaptive_avg_pool2d(y, 1) + fn.adaptive_max_pool2d(y, 1)

    return Net(forward, f=nn.Conv2d(8, 16, 3, bias=False))


# Random numbers and constants.


@gain("A", X, undecidable=True)
def noise_as_a_factor():
    return Net(lambda m, x: (y := m.f(x)) * (1 + torch.randn_like(y)), f=lin(24, 16))


@gain("A", X, undecidable=True)
def noise_around_one_written_in_place():
    return Net(lambda m, x: (y := m.f(x)) * torch.empty_like(y).normal_(1, 1), f=lin(24, 16))


@gain("plain", (64, 240))
def dropped_by_rounded_noise():
    def forward(m, x):
        y = m.f(x)
        return y * (torch.rand_like(y) + 0.5).floor() * 2**0.5

    return Net(forward, f=lin(240, 60))


@gain("A", X, undecidable=True)
def integer_added_by_a_buffer():
    return Net(lambda m, x: m.f(x + m.c), f=lin(24, 16), c=torch.full((24,), 3))


# Scores that nothing divides, and products of two products.


def attention(by, **parts):
    return Net(
        lambda m, x: by(m, m.q(x), m.k(x), m.v(x)),
        q=lin(16, 16),
        k=lin(16, 16),
        v=lin(16, 16),
        **parts,
    )


@gain("I", STEPS, undecidable=True)
def sigmoid_attention_without_a_divisor():
    return attention(lambda m, q, k, v: torch.sigmoid(q @ k.mT / 4) @ v)


@gain("I", STEPS, undecidable=True)
def sigmoid_attention_with_a_scale_and_a_bias():
    return attention(
        lambda m, q, k, v: torch.sigmoid(q @ k.mT * m.t + m.b) @ v, t=full(0.25, 1), b=full(-3, 1)
    )


@gain("I", STEPS, undecidable=True)
def state_that_a_loop_adds_up():
    def by(m, q, k, v):
        state, out = 0, []
        for t in range(q.shape[1]):
            state = state + k[:, t, :, None] * v[:, t, None]
            out.append((q[:, t, :, None] * state).sum(1))
        return torch.stack(out, 1)

    return attention(by)


@gain("I", STEPS, undecidable=True)
def state_that_einsum_adds_up():
    def by(m, q, k, v):
        state, out = torch.zeros(len(q), 16, 16), []
        for t in range(q.shape[1]):
            state = state + torch.einsum("bi,bj->bij", k[:, t], v[:, t])
            out.append(torch.einsum("bi,bij->bj", q[:, t], state))
        return torch.stack(out, 1)

    return attention(by)


@gain("D", (4, 12, 12, 8), undecidable=True)
def product_over_the_third_side_of_a_triangle():
    def forward(m, x):
        return m.o(torch.einsum("bikc,bjkc->bijc", m.a(x), m.b(x)))

    return Net(forward, a=lin(8, 16), b=lin(8, 16), o=lin(16, 8))


@gain("D", (16, 12, 16), undecidable=True)
def products_of_all_pairs():
    return Net(
        lambda m, x: torch.einsum("bic,bjc->bij", m.a(x), m.b(x)), a=lin(16, 16), b=lin(16, 16)
    )


# Cells: slices of one weight, and states that leak.


def lstm(step, **parts):
    def forward(m, x):
        h = c = torch.zeros(len(x), 16)
        for t in range(x.shape[1]):
            i, f, g, o = step(m, x[:, t], h)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return h

    return Net(forward, **parts)


@facts("G", SERIES, {"w": NO_END})
def lstm_of_two_slices():
    return lstm(lambda m, x, h: (x @ m.w[:8] + h @ m.w[8:]).chunk(4, -1), w=raw(24, 64))


@facts("G", SERIES, {"w": NO_END})
def lstm_of_two_slices_a_gate():
    return lstm(lambda m, x, h: [x @ w[:8] + h @ w[8:] for w in m.w], w=raw(4, 24, 16))


@facts("G", SERIES, {"w": NO_END})
def cell_of_two_slices():
    def forward(m, x):
        h = torch.zeros(len(x), 16)
        for t in range(x.shape[1]):
            h = torch.tanh(x[:, t] @ m.w[:8] + h @ m.w[8:])
        return h

    return Net(forward, w=raw(24, 16))


@facts("G", SERIES, {"w": NO_END})
def gru_of_two_slices():
    def forward(m, x):
        h = torch.zeros(len(x), 16)
        for t in range(x.shape[1]):
            (a, b, c), (d, e, f) = (y.chunk(3, -1) for y in (x[:, t] @ m.w[:8], h @ m.w[8:]))
            z = (b + e).sigmoid()
            h = (1 - z) * (c + (a + d).sigmoid() * f).tanh() + z * h
        return h

    return Net(forward, w=raw(24, 48))


def leaky(step):
    def forward(m, x):
        h, out = torch.zeros(len(x), 16), []
        for t in range(x.shape[1]):
            h = step(m, h, x[:, t])
            out.append(h)
        return torch.stack(out, 1)

    names = {"win.weight": NOBODY_KNOWS, "wrec.weight": NOBODY_KNOWS}
    make = lambda: Net(forward, win=lin(8, 16), wrec=lin(16, 16), a=torch.tensor(0.2))  # noqa: E731
    make.__name__ = step.__name__
    facts("G", SERIES, names)(make)


@leaky
def leak_of_a_cell_in_continuous_time(m, h, x):
    return h + 0.1 * (-h + torch.tanh(m.wrec(h) + m.win(x)))


@leaky
def leak_of_a_state_whose_rates_are_read(m, h, x):
    return h + 0.1 * (-h + m.wrec(torch.tanh(h)) + m.win(x))


@leaky
def leak_inside_an_activation(m, h, x):
    return torch.relu(h * (1 - m.a) + (m.win(x) + m.wrec(h)) * m.a)


@leaky
def leak_outside_an_activation(m, h, x):
    return h * 0.9 + 0.1 * torch.relu(m.win(x) + m.wrec(h))


# What the state of a loop is corrected by, keys of unit length, and other sums without shares.


@gain("I", STEPS, undecidable=True)
def state_that_is_corrected():
    """The delta rule."""

    def by(m, q, k, v):
        k, state, out = fn.normalize(k, dim=-1), torch.zeros(len(q), 16, 16), []
        for t in range(q.shape[1]):
            new = v[:, t] - torch.einsum("bij,bj->bi", state, k[:, t])
            state = state + torch.einsum("bi,bj->bij", new, k[:, t])
            out.append(torch.einsum("bij,bj->bi", state, q[:, t]))
        return torch.stack(out, 1)

    return attention(by)


@gain("I", STEPS, undecidable=True)
def cosines_instead_of_shares():
    return attention(lambda m, q, k, v: fn.normalize(q, dim=-1) @ (fn.normalize(k, dim=-1).mT @ v))


@gain("I", STEPS, undecidable=True)
def channels_without_shares():
    return attention(lambda m, q, k, v: v @ (q.mT @ k / 20**0.5))


@gain("I", STEPS, undecidable=True)
def values_that_also_gate():
    return attention(lambda m, q, k, v: m.u(v) * (fn.relu(q @ k.mT / 20) ** 2 @ v), u=lin(16, 16))


@gain("B", (16, 20, 12), undecidable=True)
def two_tasks_mixed_by_constants():
    """Cross-stitch units."""

    def forward(m, x):
        return torch.einsum("st,tbnd->sbnd", m.s, torch.stack([m.f(x), m.g(x)]))

    shares = nn.Parameter(torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    return Net(forward, s=shares, f=lin(12, 12), g=lin(12, 12))


@facts("G", SERIES, {"u": {"kind": "scale"}})
def scale_of_a_state_of_zeros():
    """IndRNN: at the first step what u multiplies is zeros, and all is added to the input's."""

    def forward(m, x):
        h = torch.zeros(len(x), 16)
        for t in range(x.shape[1]):
            h = torch.relu(m.w(x[:, t]) + m.u * h)
        return h

    return Net(forward, w=nn.Linear(8, 16), u=raw(16, std=0.5))


@facts("K", STEPS, {"g": {"kind": "norm"}, "b": {"kind": "norm", "part": "bias"}})
def norm_whose_weight_comes_before_its_divisor():
    def forward(m, x):
        y = m.g * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)
        return m.f(y + m.b)

    return Net(forward, f=lin(16, 8), g=full(1, 16), b=full(0, 16))


# Hyper-connections whose matrix is made of the streams that it mixes.


class Copies(nn.Module):
    """Shares of each copy, before and after, and a matrix with rows and columns of sum 1."""

    def __init__(self, size, count=4):
        super().__init__()
        self.count, self.weight = count, raw((2 + count) * count, count * size)

    def forward(self, h):
        n = self.count
        flat = fn.rms_norm(h.flatten(2), (h.shape[2] * h.shape[3],))
        before, after, mix = fn.linear(flat, self.weight).split([n, n, n * n], -1)
        mix = mix.unflatten(-1, (n, n)).softmax(-1)
        for _ in range(3):
            mix = mix / mix.sum(-2, keepdim=True)
            mix = mix / mix.sum(-1, keepdim=True)
        return (before.sigmoid()[..., None] * h).sum(2), 2 * after.sigmoid(), mix


class CopiedLayer(nn.Module):
    def __init__(self, join):
        super().__init__()
        self.copies, self.norm, self.join = Copies(16), nn.LayerNorm(16), join
        self.up, self.down = lin(16, 32), lin(32, 16)

    def forward(self, h):
        x, after, mix = self.copies(h)
        return self.join(after, self.down(fn.gelu(self.up(self.norm(x)))), mix, h)


def copies_mixed(join):
    def forward(m, x):
        h = x[:, :, None].expand(-1, -1, 4, -1)
        for layer in m.layers:
            h = layer(h)
        return m.head(h.mean(2))

    def make():
        return Net(forward, layers=[CopiedLayer(join) for _ in range(2)], head=lin(16, 8))

    make.__name__ = join.__name__
    ends = {f"layers.{n}.down.weight": NOBODY_KNOWS for n in range(2)}
    inner = {f"layers.{n}.up.weight": {"ends_residual": False, "part": "weight"} for n in range(2)}
    facts("H", STEPS, ends | inner)(make)


@copies_mixed
def copies_mixed_by_a_product(after, y, mix, h):
    return after[..., None] * y[:, :, None] + mix.mT @ h


@copies_mixed
def copies_mixed_by_einsum(after, y, mix, h):
    return torch.einsum("bsij,bsjd->bsid", mix, h) + torch.einsum("bsn,bsd->bsnd", after, y)


# Sums with a factor, with a table of constants, and of two pools of a product that is made twice.


@gain("H", X)
def sum_over_the_root_of_two():
    return Net(lambda m, x: (m.a(x) + m.b(x)) / 2**0.5, a=lin(24, 16), b=lin(24, 16))


@gain("H", X, undecidable=True)
def mean_of_two():
    return Net(lambda m, x: (m.a(x) + m.b(x)) / 2, a=lin(24, 16), b=lin(24, 16))


@gain("A", X, undecidable=True)
def offsets_added_by_a_buffer():
    return Net(lambda m, x: m.f(x + m.c), f=lin(24, 16), c=torch.linspace(-3, 3, 24))


@gain("plain", (64, 240))
def sines_added_by_a_buffer_to_a_normed_signal():
    table = torch.linspace(0, 9, 240).sin()
    return Net(lambda m, x: m.f(fn.layer_norm(x + m.c, (240,))), f=lin(240, 60), c=table)


@gain("A", (16, 8, 16, 16), undecidable=True)
def sum_of_pools_of_a_layer_called_twice():
    return Net(
        lambda m, x: fn.avg_pool2d(m.f(x), 2) + fn.max_pool2d(m.f(x), 2),
        f=nn.Conv2d(8, 12, 1, bias=False),
    )


@gain("B", ids, undecidable=True)
def rows_and_a_buffer_of_positions():
    return Net(lambda m, i: m.u(i) * 4 + m.p, u=nn.Embedding(20, 16), p=torch.randn(10, 16))


@facts("I", STEPS, {"qkv.weight": {"guessed": False}})
def shares_of_keys_and_values_first_of_packed_projections():
    """CoaT: queries take sums of values, which are convolved as well."""

    def forward(m, x):
        q, k, v = m.qkv(x).chunk(3, -1)
        return m.o(q @ (k.softmax(1).mT @ v) + q * m.c(v.mT).mT)

    c = nn.Conv1d(16, 16, 3, padding=1, groups=16)
    return Net(forward, qkv=lin(16, 48), c=c, o=lin(16, 16))


@gain("D", [(64, 8), (64, 32), (64, 10)], undecidable=True)
def weights_of_several_paths_that_a_network_makes():
    """A tensor product weighted by a network, as for equivariant messages."""

    def forward(m, x, y, z):
        first, second = m.f(z).split([8 * 16, 32 * 16], -1)
        paths = zip((x, y), (first.view(-1, 8, 16), second.view(-1, 32, 16)), strict=True)
        return torch.cat([torch.einsum("bi,bio->bo", one, w) for one, w in paths], -1)

    return Net(forward, f=lin(10, 40 * 16))


@gain("B", [(64, 8), (64, 8, 24)], undecidable=True)
def products_of_signals_summed_in_the_same_einsum():
    return Net(lambda m, s, x: torch.einsum("bk,bki,oi->bo", s, x, m.w), w=raw(32, 24))


@gain("B", (64, 8, 24))
def einsum_of_stacked_rows_without_an_arrow():
    return Net(lambda m, x: torch.einsum("...i,io", x, m.w), w=raw(24, 32))


@gain("I", (64, 8, 24), undecidable=True)
def features_that_are_not_last_summed_with_another_signal():
    def forward(m, x):
        return (torch.einsum("bsd,ed->bes", x, m.w) * m.f(x).mT.relu()).sum(1)

    return Net(forward, w=raw(32, 24), f=lin(24, 32))
