"""Kind A: inputs and products that are written into a part of a tensor, or written over in part.

What is then read is the whole tensor. Whether that is meant for the weight isn't known.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, full, gain

X = (64, 48)
MAP = (6, 16, 9, 9)
STEPS = (16, 12, 24)


def ahead(size=48, x=X, **options):
    """A layer whose input is written first."""

    def add(write):
        def make():
            return Net(lambda m, x: m.f(write(m, x)), f=nn.Linear(size, 32))

        make.__name__ = write.__name__
        return gain("A", x, undecidable=True, **options)(make)

    return add


@ahead(192)
def added_to_a_part_of_zeros(_, x):
    y = torch.zeros(64, 192)
    y[..., 48:96] += x
    return y


@ahead(192)
def copied_into_a_view_of_zeros(_, x):
    y = x.new_zeros(64, 192)
    y[:, :48].copy_(x)
    return y


@ahead(192)
def set_in_a_view_of_zeros(_, x):
    y = torch.zeros(64, 192)
    view = y[:, 10:58]
    view[...] = x
    return y


@ahead(192)
def added_to_a_narrow_part(_, x):
    y = torch.zeros(64, 192)
    y.narrow(1, 0, 48).add_(x)
    return y


@ahead(192)
def copied_into_two_views(_, x):
    y = torch.zeros(64, 192)
    y[:, :24].copy_(x[:, :24])
    y[:, -24:].copy_(x[:, 24:])
    return y


@ahead(192)
def rows_added_in_place(_, x):
    return torch.zeros(64, 192).index_add_(1, torch.arange(48), x)


@ahead()
def a_part_multiplied_by_zero(_, x):
    y = x.clone()
    y[:, :24] *= 0
    return y


@ahead()
def a_part_set_to_zero(_, x):
    y = x.clone()
    y[:, :36].zero_()
    return y


@ahead()
def a_part_set_to_a_number(_, x):
    y = x.clone()
    y[:, :24] = 2.0
    return y


@gain("A", MAP, undecidable=True)
def channels_added_to_zeros():
    def forward(m, x):
        y = x.new_zeros(6, 64, 9, 9)
        y[:, :16] += x
        return m.f(y)

    return Net(forward, f=nn.Conv2d(64, 32, 3))


@gain("A", (4, 3, 32), undecidable=True)
def zeros_between_steps():
    """A transposed convolution, as it is drawn in books."""

    def forward(m, x):
        y = torch.zeros(4, 3, 64)
        y[..., ::2] = x
        return m.f(y)

    return Net(forward, f=nn.Conv1d(3, 8, 5, padding=2))


@gain("A", X, undecidable=True)
def product_copied_into_zeros():
    def forward(m, x):
        y = torch.zeros(64, 128)
        y[:, :32].copy_(m.f(x))
        return y

    return Net(forward, f=nn.Linear(48, 32))


@gain("A", STEPS)
def positions_written_into_zeros():
    """Which are rows of their own."""

    def forward(m, x):
        y = x.new_zeros(16, 16, 24)
        y[:, 2:-2] += x
        return m.f(y)[:, 2:-2]

    return Net(forward, f=nn.Linear(24, 32))


@gain("A", STEPS)
def steps_written_one_by_one():
    def forward(m, x):
        y = torch.zeros(16, 12, 24)
        for t in range(12):
            y[:, t] = x[:, t]
        return m.f(y)

    return Net(forward, f=nn.Linear(24, 32))


@gain("A", STEPS, undecidable=True)
def mixed_with_the_step_before():
    """By lerp, with a share that is kept."""

    def forward(m, x):
        return m.f(torch.lerp(x, fn.pad(x, (0, 0, 1, -1)), m.share))

    return Net(forward, share=full(0.5, 24), f=nn.Linear(24, 32))


@ahead()
def noise_added(_, x):
    return x + torch.randn_like(x)


@ahead()
def dropped_by_a_comparison(_, x):
    return x * (torch.rand_like(x) > 0.75)
