"""Kind A: inputs that functions make of a signal, whose second moment isn't the signal's.

Where it is the same for any signal (waves, one of n, unit length) the fan counts it; else the row
is marked. What a pool or a mean leaves depends on how alike its numbers are: it is left alone.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, full, gain

X = (64, 48)


def of_features(before, size, **parts):
    """A layer of what a function makes of the input."""
    return Net(
        lambda m, x: m.f(before(m, x).flatten(1)), f=nn.Linear(size, 32, bias=False), **parts
    )


def made(size, x=X, undecidable=True, **parts):
    """A layout of a function of the module and the input."""

    def add(before):
        def make():
            known = {name: part() for name, part in parts.items()}
            return of_features(before, size, **known)

        make.__name__ = before.__name__
        return gain("A", x, undecidable=undecidable)(make)

    return add


def ids():
    return torch.randint(0, 48, (256,))


# Known, whatever goes in.


@made(128, undecidable=False, b=lambda: torch.randn(48, 64))
def sines_and_cosines_of_a_projection(m, x):
    return torch.cat([torch.sin(x @ m.b), torch.cos(x @ m.b)], -1)


@made(32, lambda: torch.randint(0, 1000, (64,)), undecidable=False)
def sines_of_a_time(_, t):
    angle = t[:, None].float() * torch.exp(-torch.arange(16) / 2)
    return torch.cat([angle.cos(), angle.sin()], -1)


@made(48, ids, undecidable=False)
def one_of_n(_, x):
    return fn.one_hot(x, 48).float()


@made(48 * 6, undecidable=False, edges=lambda: torch.linspace(-2, 2, 5))
def one_of_n_bins_of_each(m, x):
    return fn.one_hot(torch.bucketize(x, m.edges), 6).float()


@made(48, undecidable=False)
def unit_length(_, x):
    return fn.normalize(x, dim=-1)


@made(48, undecidable=False)
def unit_length_by_hand(_, x):
    return x / x.norm(dim=-1, keepdim=True)


# Marked: it depends on the signal.


@made(48 * 8, centers=lambda: torch.linspace(-2, 2, 8))
def bumps(m, x):
    return torch.exp(-((x[..., None] - m.centers) ** 2))


@made(48 * 8, grid=lambda: torch.arange(-3, 9) * 0.4 - 1)
def cubic_splines(m, x):
    x, g = x[..., None], m.grid
    basis = ((x >= g[:-1]) & (x < g[1:])).to(x.dtype)
    for k in range(1, 4):
        up = (x - g[: -k - 1]) / (g[k:-1] - g[: -k - 1])
        down = (g[k + 1 :] - x) / (g[k + 1 :] - g[1:-k])
        basis = up * basis[..., :-1] + down * basis[..., 1:]
    return basis


@made(48 * 4)
def powers_of_a_squashed_signal(_, x):
    x = torch.tanh(x)
    return torch.stack([x, x * x, x * x * x, x * x * x * x], -1)


@made(48)
def shares_of_a_softmax(_, x):
    return torch.softmax(x, -1)


@made(96)
def beside_one_of_n(_, x):
    return torch.cat([x, fn.one_hot(x.argmax(-1), 48).float()], -1)


@made(48)
def clipped_narrowly(_, x):
    return x.clamp(-0.1, 0.1)


@made(48)
def firing(_, x):
    return (x > 1).float()


@made(10, centers=lambda: torch.randn(10, 48))
def distances_from_centers(m, x):
    return torch.cdist(x, m.centers)


@made(48, ids, table=lambda: torch.eye(48))
def rows_of_a_constant(m, x):
    return m.table[x]


@made(48, lambda: torch.randint(0, 100, (64, 5)), e=lambda: nn.Embedding(100, 48))
def rows_added_up(m, x):
    return m.e(x).sum(1)


# Left alone.


@gain("plain", X)
def norm_by_hand():
    def norm(m, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * m.g

    return of_features(norm, 48, g=full(1, 48))
