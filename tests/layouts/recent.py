"""Kinds A to O: layouts of papers of 2023 and later, each of which was once read wrong."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

import goodinit as gi

from .layout import NOT_TRUE, Net, facts, gain, graded, holds, keeps, raw

X = (64, 48)
STEPS = (8, 12, 48)


# Coefficients that a class sets, and values that later layers take from an earlier one.


def value_residual():
    def forward(m, x):
        first = None
        for share, packed, out in zip(m.shares, m.packed, m.out, strict=True):
            q, k, v = packed(fn.rms_norm(x, (48,))).chunk(3, -1)
            first = v if first is None else first
            v = share[0] * v + share[1] * first
            x = x + out(fn.scaled_dot_product_attention(q, k, v))
        return x

    return Net(
        forward,
        shares=nn.Parameter(torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]])),
        packed=[nn.Linear(48, 144, bias=False) for _ in range(3)],
        out=[nn.Linear(48, 48, bias=False) for _ in range(3)],
    )


YES, NO = {"ends_residual": True}, {"ends_residual": NOT_TRUE}


@facts("H", STEPS, {"out.1.weight": YES, "out.2.weight": YES, "packed.2.weight": NO})
def values_of_an_earlier_layer():
    return value_residual()


@keeps("O", STEPS, "shares")
def shares_of_an_earlier_layer():
    return value_residual()


@keeps("O", X, "shares")
def two_shares():
    def forward(m, x):
        return m.shares[0] * x + m.shares[1] * m.f(x)

    return Net(forward, shares=nn.Parameter(torch.tensor([0.25, 0.7])), f=nn.Linear(48, 48))


# Sums that no call shows.


@gain("B", X)
def values_of_a_sparse_matrix():
    column, row = torch.randint(0, 48, (192,)), torch.arange(32).repeat_interleave(6)

    def product(m, x):
        return torch.zeros(64, 32).index_add(1, m.row, x[:, m.column] * m.values)

    return Net(product, values=raw(192), row=row, column=column)


@gain("B", X)
def series_of_cosines():
    """A KAN by Fourier series: E[cos^2] is one half."""

    def product(m, x):
        angles = x[:, None, :, None] * torch.arange(1, 6)
        return (torch.cos(angles) * m.c).sum((-2, -1))

    return Net(product, c=raw(32, 48, 5))


@gain("B", X, undecidable=True)
def multiply_and_sum_of_a_shifted_signal():
    return Net(lambda m, x: ((2 * x - 1)[:, None] * m.w).sum(-1), w=raw(32, 48))


@gain("B", X, undecidable=True)
def multiply_and_sum_of_wavelets():
    return Net(lambda m, x: (torch.exp(-x * x)[:, None] * m.w).sum(-1), w=raw(32, 48))


@gain("A", [(4, 16, 12, 12), (4, 20)], undecidable=True)
def mixture_of_kernels_by_broadcast():
    def product(m, x, c):
        shares = m.route(c).softmax(-1)[:, :, None, None, None, None]
        kernels = (shares * m.w).sum(1).view(64, 16, 3, 3)
        return fn.conv2d(x.view(1, 64, 12, 12), kernels, padding=1, groups=4)

    return Net(product, route=nn.Linear(20, 4), w=raw(4, 16, 16, 3, 3))


# Sums over the edges of a graph that is one of the inputs.


def nodes_and_edges():
    return torch.randn(20, 24), torch.randint(0, 20, (2, 80))


@gain("A", nodes_and_edges, undecidable=True)
def nodes_and_their_neighbors():
    """GIN."""

    def product(m, x, e):
        neighbors = torch.zeros_like(x).scatter_add(0, e[1][:, None].expand(-1, 24), x[e[0]])
        return m.f((1 + m.eps) * x + neighbors)

    return Net(product, f=nn.Linear(24, 32), eps=nn.Parameter(torch.zeros(1)))


@gain("A", nodes_and_edges, undecidable=True)
def differences_along_edges():
    return Net(
        lambda m, x, e: m.f(torch.cat([x[e[1]], x[e[0]] - x[e[1]]], -1)), f=nn.Linear(48, 32)
    )


@gain("A", nodes_and_edges, undecidable=True)
def normalized_messages():
    def product(m, x, e):
        degree = torch.zeros(20).index_add(0, e[1], torch.ones(80)).clamp(min=1)
        share = (degree.rsqrt()[e[0]] * degree.rsqrt()[e[1]])[:, None]
        return torch.zeros(20, 32).index_add(0, e[1], m.f(x)[e[0]] * share)

    return Net(product, f=nn.Linear(24, 32))


@gain("A", [(20, 24), (20, 20)], undecidable=True)
def adjacency_among_the_inputs():
    return Net(lambda m, x, a: a @ m.f(x), f=nn.Linear(24, 32))


@gain("A", [(20, 24), (20, 20)], undecidable=True)
def adjacency_before():
    return Net(lambda m, x, a: m.f(a @ x), f=nn.Linear(24, 32))


def mask():
    return (torch.rand(8, 12) < 0.7).float()


@gain("A", [STEPS, mask], of=lambda y: y * 8.4**0.5)
def mean_of_what_a_mask_leaves():
    def mean(m, x, kept):
        return (m.f(x) * kept[..., None]).sum(1) / kept.sum(1, keepdim=True)

    return Net(mean, f=nn.Linear(48, 32))


# Modulations, gradients, constants, sums of two weights.


@gain("A", [X, (64, 16)], undecidable=True)
def modulation_by_one_plus():
    def product(m, x, c):
        gain, shift = m.g(c).chunk(2, -1)
        return m.f(x) * (1 + gain) + shift

    return Net(product, f=nn.Linear(48, 32), g=nn.Linear(16, 64))


@facts("A", [X, (64, 16)], {"g.weight": {"guessed": False}})
def modulation_of_zeros():
    net = modulation_by_one_plus()
    nn.init.zeros_(net.g.weight)
    return net


@gain("C", X, undecidable=True)
def gradient_of_an_energy():
    def forward(m, x):
        with torch.enable_grad():
            z = x.detach().requires_grad_()
            return torch.autograd.grad(m.f(z).square().sum() / 2, z, create_graph=True)[0]

    return Net(forward, f=nn.Linear(48, 96))


@gain("A", X, undecidable=True)
def projection_by_a_constant():
    return Net(lambda m, x: m.f(x @ torch.eye(48, 192)), f=nn.Linear(192, 32))


@gain("A", (4, 16, 12, 12), undecidable=True)
def rows_and_columns_of_a_kernel():
    def product(m, x):
        return fn.conv2d(x, m.a, padding=(1, 0)) + fn.conv2d(x, m.b, padding=(0, 1))

    return Net(product, a=raw(16, 16, 3, 1), b=raw(16, 16, 1, 3))


# Parts, ends and zeros of recent blocks.


@facts("I", STEPS, {"q.weight": {"part": "q"}, "k.weight": {"part": "k"}, "v.weight": {"part": "v"},
                    "o.weight": YES, "b.weight": NO})  # fmt: skip
def delta_rule_by_a_triangular_system():
    def forward(m, x):
        q, k, v = fn.silu(m.q(x)), fn.normalize(fn.silu(m.k(x)), dim=-1), m.v(x)
        rate = m.b(x).sigmoid()
        lower = torch.eye(12) + torch.tril((k * rate) @ k.mT, -1)
        u = torch.linalg.solve_triangular(lower, v * rate, upper=False)
        return x + m.o(torch.tril(q @ k.mT) @ u)

    layers = {name: nn.Linear(48, 48) for name in "qkvo"}
    return Net(forward, b=nn.Linear(48, 1), **layers)


@facts("I", STEPS, {"q.weight": {"part": "q"}, "k.weight": {"part": "k"}, "o.weight": YES})
def delta_rule_step_by_step():
    def forward(m, x):
        q, k = (fn.normalize(fn.silu(layer(x)), dim=-1) for layer in (m.q, m.k))
        v, rate, state, found = m.v(x), m.b(x).sigmoid(), x.new_zeros(8, 48, 48), []
        for t in range(4):
            known = (state * k[:, t, :, None]).sum(-2)
            new = (v[:, t] - known) * rate[:, t]
            state = state + k[:, t, :, None] * new[:, None]
            found.append((state * q[:, t, :, None]).sum(-2))
        return x[:, :4] + m.o(torch.stack(found, 1) * fn.silu(m.g(x[:, :4])))

    layers = {name: nn.Linear(48, 48) for name in "qkvgo"}
    return Net(forward, b=nn.Linear(48, 1), **layers)


@facts("H", X, {"decoder.weight": NO})
def sparse_autoencoder():
    """Its bias is subtracted and added again: that is no stream."""

    def forward(m, x):
        features = fn.relu(m.encoder(x - m.b))
        best, where = features.topk(8, -1)
        return m.decoder(torch.zeros_like(features).scatter(-1, where, best)) + m.b

    layers = {"encoder": nn.Linear(48, 96), "decoder": nn.Linear(96, 48, bias=False)}
    return Net(forward, b=nn.Parameter(torch.zeros(48)), **layers)


@keeps("O", STEPS, "down", "base", blind=False)
def decay_of_low_rank():
    """RWKV's: a matrix of zeros before a narrow one that holds values."""

    def forward(m, x):
        decay = torch.exp(-torch.exp(m.base + torch.tanh(x @ m.down) @ m.up))
        return m.o(m.v(x) * decay)

    return Net(
        forward,
        base=nn.Parameter(torch.full((48,), -5.0)),
        down=nn.Parameter(torch.zeros(48, 8)),
        up=raw(8, 48),
        v=nn.Linear(48, 48),
        o=nn.Linear(48, 48),
    )


def is_drawn(layout):
    module = layout.make()
    gi.init_(module, "standard", inputs=layout.draw(), seed=0)
    return graded(bool(module.down.any()), True, "kept")


@holds("O", X, is_drawn)
def narrow_placeholder():
    """Behind a relu, no gradient reaches zeros: they are drawn."""
    return Net(
        lambda m, x: x + fn.relu(x @ m.down) @ m.up,
        down=nn.Parameter(torch.zeros(48, 8)),
        up=raw(8, 48),
    )


@gain("A", [X, X], undecidable=True)
def products_of_two_towers():
    return Net(lambda m, x, y: (m.a(x) * m.b(y)).sum(-1), a=nn.Linear(48, 32), b=nn.Linear(48, 32))


@facts("I", STEPS, {"q.weight": {"guessed": False}, "k.weight": {"guessed": False}})
def one_query_by_multiply_and_sum():
    def forward(m, x):
        share = ((m.q(x[:, :1]) * m.k(x)).sum(-1) / 7).softmax(-1)
        return m.o((share[..., None] * m.v(x)).sum(1))

    return Net(forward, **{name: nn.Linear(48, 48) for name in "qkvo"})
