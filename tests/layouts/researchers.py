"""Kinds A to F once more: what researchers write, measured before any rule was made for it."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, full, gain, keeps, raw

X = (64, 48)
MAP = (6, 16, 9, 9)
LINE = (4, 30, 16)


# B: sums of products that no single call shows.


@gain("B", LINE, seeds=48)
def taps_by_unfold():
    return Net(
        lambda m, x: (x.transpose(1, 2).unfold(-1, 5, 1) * m.w[:, None]).sum(-1), w=raw(16, 5)
    )


@gain("B", (4, 16, 12, 12), seeds=48)
def one_kernel_for_all_channels():
    return Net(lambda m, x: fn.conv2d(x, m.w.expand(16, 1, 3, 3), groups=16), w=raw(1, 1, 3, 3))


@gain("B", (16, 6, 48))
def a_vector_for_each_head():
    return Net(lambda m, x: (x.unflatten(-1, (4, 12)) * m.a).sum(-1), a=raw(1, 1, 4, 12))


@gain("B", (4, 32, 16), seeds=32)
def real_filter_in_the_spectrum():
    return Net(
        lambda m, x: torch.fft.irfft(torch.fft.rfft(x, dim=1) * m.w, n=32, dim=1), w=raw(17, 16)
    )


@gain("B", (8, 6, 10, 16))
def over_two_axes_by_hand():
    return Net(lambda m, x: (x[:, :, None] * m.w[None]).sum((-1, -2)), w=raw(6, 5, 10, 16))


@gain("B", (6, 8, 8, 8))
def convolution_by_hand():
    def forward(m, x):
        windows = fn.unfold(x, 3)
        return (windows[:, None] * m.w.flatten(1)[None, :, :, None]).sum(2)

    return Net(forward, w=raw(12, 8, 3, 3))


@gain("B", X)
def sum_of_a_row_and_a_column():
    return Net(lambda m, x: fn.linear(x, m.a[:, None] + m.b[None]), a=raw(32), b=raw(48))


# C: calls that say their sums in another way.


@gain("C", X)
def einsum_of_lists():
    return Net(lambda m, x: torch.einsum(x, [0, 1], m.w, [2, 1], [0, 2]), w=raw(32, 48))


@gain("C", X)
def products_of_vectors_by_broadcast():
    return Net(lambda m, x: torch.linalg.vecdot(x[:, None], m.w), w=raw(32, 48))


@gain("C", (8, 3, 48))
def einsum_without_an_arrow():
    return Net(lambda m, x: torch.einsum("...i,oi", x, m.w), w=raw(32, 48))


@gain("C", X)
def product_of_a_sparse_input():
    return Net(lambda m, x: torch.sparse.mm(x.to_sparse(), m.w), w=raw(48, 32))


@gain("C", X, undecidable=True)
def solved_for():
    return Net(lambda m, x: torch.linalg.solve(m.w, x.T).T, w=nn.Parameter(2 * torch.eye(48)))


# D: weights made of parameters.


@gain("D", (4, 12, 9, 9), seeds=32)
def kernel_of_a_fixed_basis():
    """Steerable: coefficients of filters that aren't learned."""
    return Net(
        lambda m, x: fn.conv2d(x, torch.einsum("oib,bhw->oihw", m.c, m.basis)),
        c=raw(16, 12, 4),
        basis=torch.randn(4, 3, 3),
    )


@gain("D", X, seeds=32)
def coefficients_of_a_spectrum():
    return Net(
        lambda m, x: fn.linear(
            x, torch.fft.irfft2(torch.complex(m.c, torch.zeros_like(m.c)), s=(32, 48))
        ),
        c=raw(32, 25),
    )


@gain("D", X)
def cayley_transform():
    """Orthogonal at any scale of the parameter."""

    def forward(m, x):
        skew, one = m.a - m.a.T, torch.eye(48)
        return x @ torch.linalg.solve(one + skew, one - skew)

    return Net(forward, a=raw(48, 48))


@gain("D", X)
def exponential_of_a_skew_matrix():
    return Net(lambda m, x: x @ torch.linalg.matrix_exp(m.a - m.a.T), a=raw(48, 48))


@gain("D", X)
def orthonormalized():
    return Net(lambda m, x: x @ torch.linalg.qr(m.w)[0], w=raw(48, 48))


@gain("D", X, seeds=64, keep=("s",))
def singular_values():
    return Net(lambda m, x: x @ (m.u * m.s @ m.v), u=raw(48, 16), s=full(1, 16), v=raw(16, 32))


@gain("D", X, seeds=64)
def matrix_applied_twice():
    return Net(lambda m, x: x @ m.w @ m.w, w=raw(48, 48))


@gain("D", X, seeds=64)
def square_of_a_matrix():
    return Net(lambda m, x: x @ (m.w @ m.w), w=raw(48, 48))


@gain("D", X, keep=("alpha",), seeds=64)
def bank_mixed_by_learned_shares():
    return Net(
        lambda m, x: fn.linear(x, torch.einsum("k,koi->oi", m.alpha.softmax(0), m.bank)),
        alpha=full(0, 6),
        bank=raw(6, 32, 48),
    )


@gain("D", X)
def batch_ensemble():
    return Net(
        lambda m, x: fn.linear(x * m.r, m.w) * m.s, w=raw(32, 48), r=full(1, 48), s=full(1, 32)
    )


@gain("D", (4, 12, 9, 9), seeds=64)
def pointwise_times_depthwise():
    return Net(
        lambda m, x: fn.conv2d(x, m.p[:, :, None, None] * m.d[None]),
        p=raw(16, 12),
        d=raw(12, 3, 3),
    )


@gain("D", X, seeds=100)
def tensor_ring():
    return Net(
        lambda m, x: fn.linear(x, torch.einsum("aib,bjc,cka->ijk", m.a, m.b, m.c).reshape(32, 48)),
        a=raw(4, 32, 4),
        b=raw(4, 6, 4),
        c=raw(4, 8, 4),
    )


# E: slices.


@gain("E", (64, 24))
def corner_of_a_larger_weight():
    """An elastic network at half its width."""
    return Net(lambda m, x: fn.linear(x, m.w[:16, :24]), w=raw(32, 48))


@gain("E", (4, 16, 9, 9))
def center_of_a_kernel():
    return Net(lambda m, x: fn.conv2d(x, m.w[:, :, 1:2, 1:2]), w=raw(24, 16, 3, 3))


@gain("E", X, seeds=64)
def rolled_taps():
    return Net(lambda m, x: sum(x.roll(k, -1) * m.w[k] for k in range(5)), w=raw(5, 48))


@gain("E", LINE, seeds=32)
def causal_taps():
    def forward(m, x):
        padded = fn.pad(x, (0, 0, 3, 0))
        return sum(padded[:, k : k + 30] * m.w[k] for k in range(4))[:, 3:]

    return Net(forward, w=raw(4, 16))


@gain("E", X)
def four_blocks():
    def forward(m, x):
        a, b = x[:, :24], x[:, 24:]
        rows = [fn.linear(a, r[:, :24]) + fn.linear(b, r[:, 24:]) for r in m.w.chunk(2)]
        return torch.cat(rows, -1)

    return Net(forward, w=raw(32, 48))


@gain("E", [(6, 20, 24), lambda: torch.randint(0, 3, (6,))])
def relation_of_each_graph():
    return Net(lambda m, x, r: torch.bmm(x, m.w[r]), w=raw(3, 24, 16))


@gain("E", X)
def half_of_the_rows_fixed():
    return Net(
        lambda m, x: fn.linear(x, torch.cat([m.w, m.fixed])),
        w=raw(16, 48),
        fixed=torch.randn(16, 48) / 48**0.5,
    )


# F: values that their authors meant.


@keeps("F", (4, 1, 200), "low", "band", blind=False)
def sinc_filters():
    def forward(m, x):
        t = torch.arange(-20, 21) / 4000
        low = 50 + m.low.abs()
        high = low + 50 + m.band.abs()
        waves = [torch.sin(2 * math.pi * f[:, None] * t) for f in (high, low)]
        return fn.conv1d(x, ((waves[0] - waves[1]) / (t + 1e-6))[:, None])

    mel = 700 * (10 ** (torch.linspace(30, 2000, 9) / 2595) - 1)
    return Net(forward, low=nn.Parameter(mel[:-1].clone()), band=nn.Parameter(mel.diff()))


@keeps("F", LINE, "s", "alpha", "delta", "r")
def energy_normalization():
    """PCEN."""

    def forward(m, x):
        smooth = x.abs().mean(1, keepdim=True) * m.s
        return (x.abs() / (1e-6 + smooth) ** m.alpha + m.delta) ** m.r - m.delta**m.r

    return Net(forward, s=full(0.025, 1), alpha=full(0.98, 16), delta=full(2, 16), r=full(0.5, 16))


@keeps("F", MAP, "v")
def evolved_norm():
    return Net(
        lambda m, x: x * torch.sigmoid(m.v * x) / x.std((2, 3), keepdim=True),
        v=full(1, 1, 16, 1, 1),
    )


@keeps("F", X, "levels", blind=False)
def levels_of_a_quantizer():
    return Net(
        lambda m, x: (x[..., None] - m.levels).abs().neg().softmax(-1) @ m.levels,
        levels=nn.Parameter(torch.linspace(-2, 2, 16)),
    )


@keeps("F", MAP, "gamma", "beta")
def response_normalization():
    """ConvNeXt V2."""

    def forward(m, x):
        size = x.norm(dim=(2, 3), keepdim=True)
        return m.gamma * (x * size / (size.mean(1, keepdim=True) + 1e-6)) + m.beta + x

    return Net(forward, gamma=full(0, 1, 16, 1, 1), beta=full(0, 1, 16, 1, 1))


@keeps("F", X, "k")
def sharpness_of_a_softplus():
    return Net(lambda m, x: fn.softplus(x * m.k) / m.k, k=full(10))


@keeps("F", X, "gate")
def highway_of_a_constant():
    return Net(
        lambda m, x: (g := torch.sigmoid(m.gate)) * m.f(x) + (1 - g) * x,
        gate=full(-2, 48),
        f=nn.Linear(48, 48),
    )


@keeps("F", LINE, "eps")
def graph_isomorphism():
    return Net(
        lambda m, x: m.f((1 + m.eps) * x + x.sum(1, keepdim=True)),
        eps=full(0),
        f=nn.Linear(16, 16),
    )


@keeps("F", X, "mix")
def identity_at_first():
    return Net(
        lambda m, x: torch.einsum("bsd,st->btd", x.view(64, 4, 12), m.mix),
        mix=nn.Parameter(torch.eye(4)),
    )
