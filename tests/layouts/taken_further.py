"""Kinds A, B and F: powers, distances and convolutions of products, rows multiplied by rows.

As in ``taken.py``, whether what they do to the second moment is meant isn't known.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, gain

X = (64, 48)
STEPS = (16, 12, 24)


def pairs():
    return torch.randint(0, 20, (64, 2))


def layout(kind="A", x=X):
    """A layout of a function that returns the module."""
    return gain(kind, x, undecidable=True)


def one(after, inputs=48, outputs=32):
    return Net(lambda m, x: after(m.f(x)), f=nn.Linear(inputs, outputs))


def two(forward, inputs=48, outputs=32, **parts):
    return Net(forward, f=nn.Linear(inputs, outputs), g=nn.Linear(inputs, outputs), **parts)


def tables(forward, **parts):
    return Net(forward, u=nn.Embedding(20, 16), v=nn.Embedding(20, 16), **parts)


# Powers, and what is no power: an activation by hand.


@layout()
def third_power_of_a_product():
    return one(lambda y: y**3)


@layout()
def fourth_power_of_a_product():
    return one(lambda y: torch.pow(y, 4.0))


@layout()
def third_power_in_double_precision():
    return one(lambda y: y.float_power(3).float())


@gain("A", X)
def gelu_by_its_third_power():
    def after(y):
        inner = math.sqrt(2 / math.pi) * (y + 0.044715 * torch.pow(y, 3.0))
        return 1.534 * 0.5 * y * (1 + torch.tanh(inner))

    return one(after)


@layout()
def square_of_a_sum_of_two():
    return two(lambda m, x: (m.f(x) + m.g(x)).square())


# Distances and cross products of two products.


@layout(x=[X, X])
def distance_of_a_pair():
    return Net(lambda m, x, y: fn.pairwise_distance(m.f(x), m.f(y)), f=nn.Linear(48, 32))


@layout(x=[X, X])
def distances_of_two_towers():
    return two(lambda m, x, y: torch.cdist(m.f(x), m.g(y)))


@layout()
def cross_product_of_two():
    return two(lambda m, x: torch.linalg.cross(m.f(x), m.g(x)), outputs=3)


@layout()
def less_the_largest_product():
    return one(lambda y: y - y.amax(-1, keepdim=True))


@layout()
def the_largest_product_less_each():
    return one(lambda y: y.max(-1, keepdim=True)[0] - y)


# Convolutions of two signals by Fourier transforms.


@layout("B", STEPS)
def correlation_of_two_products():
    def forward(m, x):
        q, k = torch.fft.rfft(m.f(x), dim=1), torch.fft.rfft(m.g(x), dim=1)
        return torch.fft.irfft(q * torch.conj(k), n=12, dim=1)

    return two(forward, 24, 24)


@layout("B", STEPS)
def holographic_binding():
    def forward(m, x):
        return torch.fft.ifft(torch.fft.fft(m.f(x)) * torch.fft.fft(m.g(x))).real

    return two(forward, 24, 24)


@layout("B", STEPS)
def product_bound_to_its_input():
    return Net(
        lambda m, x: torch.fft.irfft(torch.fft.rfft(m.f(x)) * torch.fft.rfft(x), n=24),
        f=nn.Linear(24, 24),
    )


# Rows multiplied by rows.


@layout("F", pairs)
def factorized_matrix():
    return tables(lambda m, i: (m.u(i[:, 0]) * m.v(i[:, 1])).sum(-1))


@layout("F", pairs)
def words_and_contexts():
    return tables(lambda m, i: torch.einsum("bd,bd->b", m.u(i[:, 0]), m.v(i[:, 1])))


@layout("F", pairs)
def triples_of_a_graph():
    return tables(lambda m, i: (m.u(i[:, 0]) * m.v(i[:, 1]) * m.u(i[:, 1])).sum(-1))


@layout("F", pairs)
def scores_of_all_pairs():
    return tables(lambda m, i: m.u(i[:, 0]) @ m.v(i[:, 1]).T)


# Numbers before an activation that is no product's.


@layout()
def enlarged_before_a_relu():
    return Net(lambda m, x: m.f(torch.relu(10 * x)), f=nn.Linear(48, 32))


@layout()
def random_features_of_a_buffer():
    return Net(lambda m, x: m.f(torch.relu(x @ m.p)), p=torch.randn(48, 64), f=nn.Linear(64, 32))


@layout()
def small_features_of_a_buffer():
    return Net(
        lambda m, x: m.f(fn.gelu(fn.linear(x, m.p))),
        p=torch.randn(64, 48) / 100,
        f=nn.Linear(64, 32),
    )


@layout(x=STEPS)
def differences_with_the_first_repeated():
    return Net(lambda m, x: m.f(torch.diff(x, dim=1, prepend=x[:, :1])), f=nn.Linear(24, 16))
