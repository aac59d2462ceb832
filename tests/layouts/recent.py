"""Kinds A to O: layouts of papers of 2023 and later, each of which was once read wrong."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import NOT_TRUE, Net, facts, gain, keeps, raw

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
