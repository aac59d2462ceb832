"""Kinds A, D and O: inputs that are multiples of others, mixtures by constants, and set biases.

Whether what a constant does to a signal is meant for the weight isn't known: these are marked.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, full, gain, keeps

X = (64, 48)
MAP = (6, 16, 9, 9)
STEPS = (16, 12, 24)


def around(before=lambda m, x: x, after=lambda m, y: y, inputs=48, **parts):
    """A layer, with something on its input and on its product."""
    return Net(lambda m, x: after(m, m.f(before(m, x))), f=nn.Linear(inputs, 32), **parts)


def ahead(size=48):
    """A layer whose input something is done to first."""

    def add(before):
        def make():
            return around(before, inputs=size)

        make.__name__ = before.__name__
        return gain("A", X, undecidable=True)(make)

    return add


# Sums of one signal, and of a signal and constants.


@ahead()
def interpolated_from_zeros(_, x):
    return torch.zeros_like(x).lerp(x, 0.3)


@ahead()
def less_a_half_of_itself(_, x):
    return x - 0.5 * x


@ahead()
def subtracted_with_alpha(_, x):
    return torch.sub(x, x, alpha=0.7)


@ahead()
def listed_and_summed(_, x):
    return sum([x, x, x])


@ahead()
def added_to_its_neighbors(_, x):
    return x + x.roll(1, -1) + x.roll(2, -1)


@ahead()
def twice_less_one(_, x):
    return 2 * x - 1


@ahead()
def three_minus(_, x):
    return 3 - x


@ahead()
def times_a_constant_plus_zeros(_, x):
    return torch.addcmul(torch.zeros(48), x, torch.full((48,), 0.2))


@gain("A", X, undecidable=True)
def constant_of_its_class_added():
    return around(lambda m, x: x + m.b, b=full(2, 48))


@gain("A", X, undecidable=True)
def interpolated_after():
    return around(after=lambda m, y: torch.zeros_like(y).lerp(y, 0.2))


@gain("A", X)
def halves_added():
    return around(lambda m, x: 0.5 * x + 0.5 * x)


@gain("A", X)
def interpolated_with_itself():
    return around(lambda m, x: torch.lerp(x, x, 0.3))


# Features beside zeros.


@ahead(192)
def beside_zeros(_, x):
    return torch.cat([x, torch.zeros(64, 144)], -1)


@ahead(192)
def beside_zeros_like_it(_, x):
    return torch.cat([x, x.new_zeros(64, 144)], -1)


@ahead(192)
def written_into_zeros(_, x):
    y = torch.zeros(64, 192)
    y[:, :48] = x
    return y


@ahead(192)
def scattered(_, x):
    return torch.zeros(64, 192).scatter(1, torch.arange(48).expand(64, 48), x)


@gain("A", MAP, undecidable=True)
def channels_beside_zeros():
    return Net(lambda m, x: m.f(fn.pad(x, (0, 0, 0, 0, 0, 48))), f=nn.Conv2d(64, 32, 3))


@gain("A", (8, 6, 48))
def positions_beside_zeros():
    """Which are rows of their own."""
    return around(lambda m, x: fn.pad(x, (0, 0, 1, 1)), lambda m, y: y[:, 1:-1])


@gain("A", (8, 6, 48))
def positions_beside_zeros_in_windows():
    """Swin's maps that windows don't divide."""
    return around(
        lambda m, x: fn.pad(x, (0, 0, 1, 1)).view(8, 2, 4, 48).flatten(0, 1),
        lambda m, y: y.view(8, 8, 32)[:, 1:-1],
    )


@gain("A", X)
def beside_itself():
    return around(lambda m, x: torch.cat([x, x], -1), inputs=96)


# Functions that no list describes.


@ahead()
def running_sum(_, x):
    return x.cumsum(-1)


@ahead()
def spectrum(_, x):
    return torch.fft.fft(x).real


@ahead(47)
def differences(_, x):
    return x.diff(dim=-1)


@gain("A", X)
def orthonormal_spectrum():
    return around(
        lambda m, x: (
            torch.view_as_real(torch.fft.rfft(x, norm="ortho"))[:, 1:-1].flatten(1) * 2**0.5
        ),
        inputs=46,
    )


# Mixtures by what a class keeps.


def steps():
    """How long ago each step was, and whether it was at all."""
    t = torch.arange(12)
    return {"d": (t[:, None] - t).clamp(min=0), "mask": (t[:, None] >= t).float()}


def mixing(kernel, after=True, **parts):
    """A layer over positions that a kernel mixes."""
    first, last = (lambda m, x: x, kernel) if after else (kernel, lambda m, x: x)
    return Net(lambda m, x: last(m, m.f(first(m, x))), f=nn.Linear(24, 24), **parts, **steps())


@gain("D", STEPS, undecidable=True)
def powers_of_a_decay():
    return mixing(lambda m, x: (m.a**m.d * m.mask) @ x, a=full(0.9))


@gain("D", STEPS, undecidable=True)
def powers_of_a_decay_before():
    return mixing(lambda m, x: (torch.sigmoid(m.a) ** m.d * m.mask) @ x, after=False, a=full(2))


@gain("D", STEPS, undecidable=True)
def decays_of_heads():
    def mix(m, x):
        heads = x.unflatten(-1, (4, 6)).transpose(1, 2)
        kernel = torch.exp(m.a[:, None, None] * m.d) * m.mask
        return (kernel @ heads).transpose(1, 2).flatten(2)

    return mixing(mix, a=nn.Parameter(-torch.linspace(0.02, 0.5, 4)))


@gain("D", STEPS, undecidable=True)
def average_by_a_loop():
    def mix(m, u):
        h, ys = torch.zeros(16, 24), []
        for t in range(12):
            h = m.a * h + u[:, t]
            ys.append(h)
        return torch.stack(ys, 1)

    return mixing(mix, a=full(0.9, 24))


@gain("D", STEPS, undecidable=True)
def decay_in_the_spectrum():
    def mix(m, u):
        kernel = m.a[:, None] ** torch.arange(12.0)
        y = torch.fft.rfft(u.transpose(1, 2), n=24) * torch.fft.rfft(kernel, n=24)
        return torch.fft.irfft(y, n=24)[..., :12].transpose(1, 2)

    return mixing(mix, a=nn.Parameter(torch.linspace(0.5, 0.95, 24)))


@gain("D", X, undecidable=True)
def frozen_layer_after():
    fixed = nn.Linear(32, 32, bias=False).requires_grad_(False)
    return around(after=lambda m, y: m.fixed(y), fixed=fixed)


@gain("D", STEPS)
def shares_of_positions_by_a_softmax():
    """Of equal logits: 1/12 of each."""
    return mixing(lambda m, x: 12**0.5 * (torch.softmax(m.logits, -1) @ x), logits=full(0, 12, 12))


# Rows that are added up by index, as messages of a graph's edges.


def edges():
    return {"of": torch.randint(0, 12, (48,)), "to": torch.arange(48) % 12}


@gain("D", STEPS, undecidable=True)
def messages_added():
    def add(m, y):
        return torch.zeros_like(y).index_add(1, m.to_, y[:, m.of])

    known = edges()
    return around(after=add, inputs=24, of=known["of"], to_=known["to"])


@gain("D", STEPS, undecidable=True)
def messages_added_before():
    def add(m, x):
        to = m.to_[:, None].expand(16, 48, 24)
        return x.new_zeros(16, 12, 24).scatter_add(1, to, x[:, m.of])

    known = edges()
    return around(add, inputs=24, of=known["of"], to_=known["to"])


# Biases that a class set.


def with_bias(layer, value, part=slice(None)):
    """A layer of which a part of the bias holds one value."""
    with torch.no_grad():
        layer.bias[part] = value
    return layer


@keeps("O", X, "t.bias")
def highway():
    def forward(m, x):
        t = torch.sigmoid(m.t(x))
        return t * torch.relu(m.h(x)) + (1 - t) * x

    return Net(forward, t=with_bias(nn.Linear(48, 48), -2.0), h=nn.Linear(48, 48))


@keeps("O", X, "head.bias")
def prior_of_rare_objects():
    return Net(
        lambda m, x: m.head(torch.relu(m.f(x))),
        f=nn.Linear(48, 32),
        head=with_bias(nn.Linear(32, 1), -4.6),
    )


@keeps("O", STEPS, "wx.bias")
def forget_gates_of_a_cell():
    def forward(m, x):
        h = c = torch.zeros(16, 24)
        for t in range(3):
            i, f, g, o = (m.wx(x[:, t]) + m.wh(h)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h

    wx = with_bias(nn.Linear(24, 96), 1.0, slice(24, 48))
    return Net(forward, wx=wx, wh=nn.Linear(24, 96, bias=False))


@keeps("O", MAP, "f.bias", "n.bias")
def convolution_and_norm():
    return Net(
        lambda m, x: m.n(m.f(x)),
        f=with_bias(nn.Conv2d(16, 8, 3), 0.1),
        n=with_bias(nn.GroupNorm(2, 8), 0.5),
    )


@keeps("O", STEPS, "gate.bias")
def open_gate():
    return Net(
        lambda m, x: x + torch.sigmoid(m.gate(x)) * m.f(x),
        gate=with_bias(nn.Linear(24, 24), 3.0),
        f=nn.Linear(24, 24),
    )
