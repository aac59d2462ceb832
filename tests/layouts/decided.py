"""Kinds A to I that were only guessed once: what papers' code has, with its answer derived.

Sums of several products, inputs that functions make, factors that a class counts on, masks,
towers, mixed kernels, weights that are rounded.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, facts, full, gain, raw

X = (64, 48)
MAP = (4, 16, 12, 12)


def unit(*shape: int) -> nn.Parameter:
    """A parameter of N(0, 1): its module multiplies by the rest."""
    return raw(*shape, std=1.0)


# Sums of several products: each makes an equal share.


@gain("A", [X, (64, 10), (64, 5)])
def three_inputs_added():
    return Net(
        lambda m, x, t, c: m.f(x) + m.g(t) - m.h(c),
        f=nn.Linear(48, 32),
        g=nn.Linear(10, 32),
        h=nn.Linear(5, 32),
    )


@gain("A", X)
def value_and_advantages():
    """A dueling head: the mean that is subtracted is of one of the terms."""

    def forward(m, x):
        a = m.a(x)
        return m.v(x) + a - a.mean(-1, keepdim=True)

    return Net(forward, v=nn.Linear(48, 1), a=nn.Linear(48, 128))


@gain("A", [X, X])
def difference_of_two_embeddings():
    return Net(
        lambda m, a, b: m.h((m.f(a) - m.f(b)).abs()), f=nn.Linear(48, 40), h=nn.Linear(40, 32)
    )


@gain("A", X)
def splines_beside_a_layer():
    """KAN."""

    def forward(m, x):
        bumps = torch.exp(-(((x[..., None] - m.grid) / 0.57) ** 2))
        return torch.einsum("bik,oik->bo", bumps, m.c) + fn.linear(x, m.base)

    return Net(forward, c=raw(32, 48, 8), base=raw(32, 48), grid=torch.linspace(-2, 2, 8))


def nodes_and_edges():
    return torch.randn(40, 24), torch.randint(0, 40, (2, 160))


@facts(
    "I", nodes_and_edges, {"w.weight": {"guessed": False}, "a": {"fan_in": 16}, "b": {"fan_in": 16}}
)
def scores_of_edges():
    """GAT: the scores of both ends are added, each of 8 summands."""

    def forward(m, x, e):
        h = m.w(x).view(40, 4, 8)
        own = (h[e[0]] * m.a).sum(-1) + (h[e[1]] * m.b).sum(-1)
        scores = fn.leaky_relu(own, 0.2).exp()
        total = torch.zeros(40, 4).index_add(0, e[1], scores)
        shares = scores / (total[e[1]] + 1e-9)
        return torch.zeros(40, 4, 8).index_add(0, e[1], shares[..., None] * h[e[0]])

    return Net(forward, w=nn.Linear(24, 32, bias=False), a=raw(1, 4, 8), b=raw(1, 4, 8))


@facts("G", [(4, 6, 48)], {"x.weight": {"fan_in": 48}, "h.weight": {"fan_in": 32}})
def sum_of_a_cell():
    """No such sum: a state keeps its own law."""

    def forward(m, x):
        h = torch.zeros(4, 32)
        for step in x.unbind(1):
            h = torch.tanh(m.x(step) + m.h(h))
        return h

    return Net(forward, x=nn.Linear(48, 32), h=nn.Linear(32, 32))


# Inputs that functions make of one position.


@gain("B", X)
def chebyshev_polynomials():
    def forward(m, x):
        angle = torch.arccos(torch.tanh(x).clamp(-0.999, 0.999))[..., None]
        return torch.einsum("bik,iok->bo", torch.cos(angle * torch.arange(5)), m.c)

    return Net(forward, c=raw(48, 32, 5))


@gain("A", (64, 3))
def waves_beside_the_input():
    """NeRF."""

    def forward(m, x):
        waves = [f(2**k * math.pi * x) for k in range(4) for f in (torch.sin, torch.cos)]
        return m.f(torch.cat([x, *waves], -1))

    return Net(forward, f=nn.Linear(27, 128))


@gain("A", X)
def squares_beside_the_input():
    return Net(lambda m, x: m.f(torch.cat([x, x**2], -1)), f=nn.Linear(96, 64))


@gain("A", [X, X])
def products_and_distances_of_two_inputs():
    """InferSent."""
    return Net(
        lambda m, a, b: m.f(torch.cat([a, b, (a - b).abs(), a * b], -1)), f=nn.Linear(192, 64)
    )


@gain("A", X)
def sampled_code():
    """A VAE."""

    def forward(m, x):
        mean, log = m.e(x).chunk(2, -1)
        return m.d(mean + torch.randn_like(mean) * (0.5 * log).exp())

    return Net(forward, e=nn.Linear(48, 64), d=nn.Linear(32, 48))


@gain("A", X)
def scaled_random_features():
    """sqrt(2) cos: of second moment 1."""
    return Net(
        lambda m, x: m.f(torch.cos(x @ m.b + m.p) * math.sqrt(2)),
        f=nn.Linear(128, 32),
        b=torch.randn(48, 128),
        p=2 * math.pi * torch.rand(128),
    )


# Masks, and constants beside a signal.


@gain("A", X)
def features_left_out():
    return Net(
        lambda m, x: m.f(x * m.kept), f=nn.Linear(48, 32), kept=(torch.arange(48) % 3 > 0).float()
    )


@gain("A", MAP)
def coordinates_beside_channels():
    def forward(m, x):
        line = torch.linspace(-1, 1, 12)
        grid = torch.stack(torch.meshgrid(line, line, indexing="ij"))
        return m.f(torch.cat([x, grid.expand(4, -1, -1, -1)], 1))

    return Net(forward, f=nn.Conv2d(18, 24, 1))


@gain("A", lambda: (torch.randn(64, 38), torch.randint(0, 10, (64,))))
def class_beside_features():
    return Net(
        lambda m, x, c: m.f(torch.cat([x, fn.one_hot(c, 10).float()], -1)),
        f=nn.Linear(48, 256, bias=False),
    )


# A factor that a class counts on: it draws N(0, 1).


@gain("A", X)
def tangent_kernel_layers():
    return Net(
        lambda m, x: (x @ m.w / math.sqrt(48)) @ m.v / math.sqrt(40), w=unit(48, 40), v=unit(40, 32)
    )


@gain("A", X)
def tangent_kernel_layer_and_bias():
    return Net(lambda m, x: x @ m.w / math.sqrt(48) + 0.1 * m.b, w=unit(48, 32), b=full(0, 32))


@gain("A", MAP)
def equalized_input():
    return Net(lambda m, x: fn.conv2d(x * 0.25, m.w), w=unit(24, 16, 1, 1))


@gain("A", X)
def factors_that_cancel():
    return Net(lambda m, x: m.f(x * math.sqrt(48)) / math.sqrt(48), f=nn.Linear(48, 32))


# Towers: the sum over both outputs is shared.


@gain("A", [X, (64, 2)], seeds=64)
def operator_network():
    """DeepONet."""
    return Net(
        lambda m, u, y: (m.b(u) * m.t(y)).sum(-1, keepdim=True),
        b=nn.Linear(48, 40),
        t=nn.Linear(2, 40),
    )


@gain("A", [X, X], seeds=32)
def scores_of_two_inputs():
    return Net(lambda m, u, v: m.a(u) @ m.b(v).T, a=nn.Linear(48, 40), b=nn.Linear(48, 40))


@gain("A", [X, X], seeds=32)
def means_of_two_towers():
    return Net(
        lambda m, u, v: (m.a(u) * m.b(v)).mean(-1, keepdim=True),
        a=nn.Linear(48, 40),
        b=nn.Linear(48, 40),
    )


# Kernels that are mixed: each has its own fans, since the shares may choose one or take the mean.

ONE_KERNEL = {"w": {"fan_in": 16, "fan_out": 24, "guessed": True}}


def mixed(shares):
    def forward(m, x, c):
        kernels = (shares(m.route(c)) @ m.w.flatten(1)).view(-1, 16, 1, 1)
        return fn.conv2d(x.reshape(1, -1, 12, 12), kernels, groups=4).view(4, 24, 12, 12)

    return Net(forward, w=raw(4, 24, 16, 1, 1), route=nn.Linear(20, 4))


@facts("A", [MAP, (4, 20)], ONE_KERNEL)
def kernels_by_a_sigmoid():
    return mixed(torch.sigmoid)


@facts("A", [MAP, (4, 20)], ONE_KERNEL)
def kernels_by_a_softmax():
    return mixed(lambda scores: scores.softmax(-1))


@facts("A", [MAP, (4, 20)], ONE_KERNEL)
def kernels_by_a_soft_softmax():
    return mixed(lambda scores: (scores / 30).softmax(-1))


# Weights that are rounded: as large as normal weights make them.


@gain("A", X)
def signs_with_a_straight_gradient():
    def forward(m, x):
        signs = m.w.sign() * m.w.abs().mean(1, keepdim=True)
        return fn.linear(x, m.w + (signs - m.w).detach())

    return Net(forward, w=raw(32, 48))


@gain("A", X)
def three_values():
    """BitNet."""

    def forward(m, x):
        scale = 1 / m.w.abs().mean().clamp(min=1e-5)
        rounded = (m.w * scale).round().clamp(-1, 1) / scale
        return fn.linear(x, m.w + (rounded - m.w).detach())

    return Net(forward, w=raw(32, 48))


@gain("A", X)
def eight_bits():
    def forward(m, x):
        step = m.w.detach().abs().max() / 127
        return fn.linear(x, m.w + ((m.w / step).round() * step - m.w).detach())

    return Net(forward, w=raw(32, 48))


@gain("D", X)
def skew_with_a_small_diagonal():
    return Net(lambda m, x: x @ (m.w - m.w.T - 0.01 * torch.eye(48)), w=raw(48, 48))
