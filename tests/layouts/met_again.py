"""Kinds A to I: signals that meet a part of themselves, rows that meet others, weights kept.

As in ``taken.py``, whether what they do to the second moment is meant isn't known. Beside each
stands what is no doubt.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, full, gain, raw

X = (64, 24)
STEPS = (8, 20, 16)
IDS, PAIRS = (64,), (64, 2)


def ids(*shape: int, count: int = 20):
    return lambda: torch.randint(0, count, shape)


def layout(kind="A", x=X):
    """A layout of a function that returns the module."""
    return gain(kind, x, undecidable=True)


def two(forward, size=24, **parts):
    return Net(forward, f=nn.Linear(size, size), g=nn.Linear(size, size), **parts)


def tables(forward, **parts):
    return Net(forward, u=nn.Embedding(20, 16), v=nn.Embedding(20, 16), **parts)


# Products of sums with a common term.


@layout()
def two_residual_sums_multiplied():
    return two(lambda m, x: (x + m.f(x)) * (x + m.g(x)))


@layout()
def product_multiplied_by_a_sum_with_it():
    return two(lambda m, x: (y := m.f(x)) * (m.g(x) - y))


@layout()
def signal_added_to_what_it_gates():
    """A cross network: x * (1 + g)."""
    return Net(lambda m, x: x * m.w(x) + x, w=nn.Linear(24, 1, bias=False))


@gain("plain", (64, 240))
def halves_multiplied():
    return Net(lambda m, x: (h := m.f(x).chunk(2, -1))[0] * h[1], f=nn.Linear(240, 64, bias=False))


# A running sum of steps, and one that an exponential takes.


@layout()
def running_sum_of_steps():
    return Net(lambda m, x: fn.softplus(m.f(x)).cumsum(-1), f=nn.Linear(24, 12))


@layout()
def running_sum_of_scaled_steps():
    return Net(lambda m, x: torch.cumsum(0.1 * torch.relu(m.f(x)), 1), f=nn.Linear(24, 12))


# Noise whose size is a product.


def posterior(spread):
    def forward(m, x):
        mean, size = m.f(x).chunk(2, -1)
        return mean + spread(size) * torch.randn_like(mean)

    return Net(forward, f=nn.Linear(24, 64))


@layout()
def noise_of_a_posterior():
    return posterior(lambda size: (0.5 * size).exp())


@layout()
def noise_of_a_positive_spread():
    return posterior(lambda size: fn.softplus(size) + 1e-4)


@layout()
def noise_by_addcmul():
    return two(lambda m, x: torch.addcmul(m.f(x), m.g(x).sigmoid(), torch.randn_like(x)))


# Gates that a class makes smaller.


@layout()
def gate_with_a_small_scale():
    return Net(lambda m, x: x * (m.s * m.g(x)), s=full(0.02, 24), g=nn.Linear(24, 24))


@layout()
def half_of_a_gate():
    return two(lambda m, x: m.f(x) * (m.g(x) / 4))


# Weights that are made of parameters which all keep their values.


@layout()
def weight_made_positive():
    return Net(lambda m, x: fn.linear(x, fn.softplus(m.w)), w=raw(32, 24))


@layout()
def exponential_of_a_clamped_weight():
    return Net(lambda m, x: x @ m.w.clamp(-5, 2).exp(), w=nn.Parameter(torch.randn(24, 32) - 3))


@layout(x=(8, 16, 20))
def kernel_made_by_a_softmax():
    return Net(lambda m, x: fn.conv1d(x.view(-1, 4, 20), m.w.softmax(-1), groups=4), w=raw(4, 1, 5))


@layout("D")
def normalized_with_the_size_it_had():
    def forward(m, x):
        w = m.w + m.b @ m.a
        return fn.linear(x, m.size * w / w.norm(dim=1, keepdim=True))

    w = nn.init.kaiming_uniform_(torch.empty(32, 24), a=math.sqrt(5))
    size = nn.Parameter(w.norm(dim=1, keepdim=True))
    return Net(forward, w=nn.Parameter(w), a=raw(4, 24), b=full(0, 32, 4), size=size)


# Rows of tables.


@layout("B", ids(*IDS))
def rows_of_two_tables_added():
    return tables(lambda m, i: m.u(i) + m.v(i))


@layout("B", [ids(*IDS), ids(*IDS)])
def rows_of_raw_tables_added():
    return Net(lambda m, i, j: m.u[i] - m.v[j], u=raw(20, 16), v=raw(20, 16))


@layout("B", [ids(*IDS), X])
def rows_added_to_a_product():
    return tables(lambda m, i, x: m.u(i) + m.f(x), f=nn.Linear(24, 16))


@layout("B", ids(*PAIRS))
def mean_of_rows():
    return tables(lambda m, i: m.h(m.u(i).mean(1)), h=nn.Linear(16, 8))


@layout("B", ids(64, 6))
def pairs_of_a_factorization_machine():
    return tables(lambda m, i: (m.u(i).sum(1) ** 2 - (m.u(i) ** 2).sum(1)).sum(-1))


@layout("D", [(64, 12), ids(64, count=6)])
def matrix_of_a_row():
    return Net(
        lambda m, x, i: torch.einsum("bi,bio->bo", x, m.w(i).view(-1, 12, 10)),
        w=nn.Embedding(6, 120),
    )


def normalized(rows):
    return tables(lambda m, i: m.h(fn.layer_norm(rows(m, i), (16,))), h=nn.Linear(16, 64))


@gain("plain", ids(64, 10))
def rows_and_positions():
    return normalized(lambda m, i: m.u(i) + m.v(torch.arange(10)))


@gain("plain", ids(*IDS))
def rows_of_two_tables_normalized():
    return normalized(lambda m, i: m.u(i) + m.v(i))


# Attention without shares, and a kernel that a mean makes.


def unnormalized(by):
    return Net(
        lambda m, x: by(m.q(x), m.k(x), m.v(x)),
        q=nn.Linear(16, 16, bias=False),
        k=nn.Linear(16, 16, bias=False),
        v=nn.Linear(16, 16, bias=False),
    )


@layout("I", STEPS)
def keys_and_values_first():
    return unnormalized(lambda q, k, v: q @ (k.mT @ v))


@layout("I", STEPS)
def keys_and_values_first_by_an_activation():
    return unnormalized(lambda q, k, v: fn.relu(q) @ (fn.relu(k).mT @ v))


@layout("D", (16, 12, 9, 9))
def kernel_made_of_a_mean():
    def forward(m, x):
        k = m.f(x.mean((2, 3))).view(-1, 1, 3, 3)
        return fn.conv2d(x.reshape(1, -1, 9, 9), k, groups=len(k)).view(16, 12, 7, 7)

    return Net(forward, f=nn.Linear(12, 108))


# Slices of two weights in each term, constants beside a weight, a partner that stays.


@gain("D", (128, 24))
def sum_of_kronecker_products():
    def forward(m, x):
        x = x.view(-1, 4, 6)
        return sum(torch.einsum("bij,ki,lj->bkl", x, a, b) for a, b in zip(m.a, m.b, strict=True))

    return Net(forward, a=raw(3, 4, 4), b=raw(3, 6, 6))


@gain("D", (128, 24))
def one_slice_of_two_that_are_shared():
    return Net(
        lambda m, x: sum(torch.einsum("bi,ir,ro->bo", x, u, m.v) for u in m.u),
        u=raw(3, 24, 12),
        v=raw(12, 20),
    )


@layout("E", (128, 24))
def column_beside_a_shift():
    """A companion matrix."""

    def forward(m, x):
        shift = torch.diag(torch.ones(23), -1)
        return x @ (shift + fn.pad(m.a[:, None], (23, 0)))

    return Net(forward, a=raw(24))


@layout("E", (128, 24))
def block_beside_an_identity():
    return Net(lambda m, x: x @ torch.block_diag(m.w, torch.eye(12)), w=raw(12, 12))


@gain("D", (16, 8, 12, 12), keep=("turn",))
def crop_of_a_kernel_turned_by_an_identity():
    def forward(m, x):
        crop = m.w[..., 2:5, 2:5].reshape(80, 9)
        return fn.conv2d(x, (crop @ m.turn).view(10, 8, 3, 3))

    return Net(forward, w=raw(10, 8, 7, 7), turn=nn.Parameter(torch.eye(9)))


@gain("D", (128, 24), keep=("mix",))
def product_with_a_permutation_that_stays():
    order = torch.arange(23, -1, -1)
    return Net(
        lambda m, x: x @ (m.mix @ m.w), w=raw(24, 32), mix=nn.Parameter(torch.eye(24)[order])
    )


# A gate whose bias is 1, an affine map made of a row, tables of integers.


@layout(x=(16, 20, 12))
def spatial_gate_with_a_bias_of_one():
    """gMLP."""

    def forward(m, x):
        u, v = m.p(x).chunk(2, -1)
        return u * (torch.einsum("nm,bmd->bnd", m.w, v) + m.b[:, None])

    return Net(forward, p=nn.Linear(12, 24), w=raw(20, 20), b=full(1, 20))


@layout("B", [(64, 12), ids(64)])
def scale_and_shift_by_a_row():
    def forward(m, x, i):
        scale, shift = m.u(i).chunk(2, -1)
        return scale * x + shift

    return Net(forward, u=nn.Embedding(20, 24))


@gain("B", ids(64))
def rows_looked_up_by_a_hash():
    return tables(lambda m, i: m.u(m.hash[i]), hash=torch.randint(20, (20,)))


@gain("B", ids(64))
def rows_of_the_nearest_neighbor():
    return tables(lambda m, i: m.u(m.near[i, 0]), near=torch.randint(20, (20, 4)))


# A weight of rank 3 that a network makes, noise of a size that is learned.


@layout("D", [(64, 24), (64, 10)])
def generated_of_low_rank():
    def forward(m, x, z):
        return torch.einsum("bor,bri,bi->bo", m.u(z).view(-1, 12, 3), m.v(z).view(-1, 3, 24), x)

    return Net(forward, u=nn.Linear(10, 36), v=nn.Linear(10, 72))


@layout("F", X)
def noise_of_a_learned_size():
    return Net(
        lambda m, x: m.f(x) + m.size.exp() * torch.randn(64, 12),
        f=nn.Linear(24, 12),
        size=full(-0.5, 12),
    )


# Two that are mixed by a share.


@gain("A", [X, X])
def mixed_inputs():
    return Net(lambda m, x, y: m.f(x.lerp(y, 0.3)), f=nn.Linear(24, 12))


@layout()
def mixed_products():
    return Net(
        lambda m, x: torch.lerp(m.f(x), m.g(x), 0.3), f=nn.Linear(24, 12), g=nn.Linear(24, 12)
    )


@layout("F", X)
def sample_of_a_distribution():
    return Net(
        lambda m, x: torch.distributions.Normal(m.f(x), fn.softplus(m.g(x))).rsample(),
        f=nn.Linear(24, 12),
        g=nn.Linear(24, 12),
    )


@layout("B", lambda: (torch.randint(20, IDS), torch.randint(20, IDS)))
def rows_stacked_and_summed():
    return Net(
        lambda m, i, j: torch.stack([m.f(i), m.g(j)]).sum(0),
        f=nn.Embedding(20, 16),
        g=nn.Embedding(20, 16),
    )
