"""Kind J: plain nets under ``standard`` keep their second moment, or the plan says why not."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

import goodinit as gi

from .layout import Layout, Net, Verdict, graded, holds, second

WIDTH, FACTOR = 256, 30  # As in the promise.
# 20 layers of finite width spread the log of one draw by (5 * 20 / 256)**0.5 = .6, and that of a
# mean of three by .4: the factor's log, 3.4, is nine times as much.
DRAWS = 3


def judge(layout: Layout) -> Verdict:
    """Within a factor 30 of 1 at the end; else a finding at plan time."""
    net = layout.make()
    found = []
    plan = gi.plan(net, "standard", inputs=torch.randn(32, WIDTH))
    for seed in range(DRAWS):
        gi.apply_(net, plan, seed=seed)
        with torch.no_grad():
            found.append(second(net(torch.randn(32, WIDTH))))
    mean = torch.tensor(found).mean().item()
    return graded(1 / FACTOR < mean < FACTOR, not plan.findings, f"{mean:.2g}")


def plain(depth: int, act, hidden=lambda: nn.Linear(WIDTH, WIDTH)):
    """Layers with a function in between."""
    layers = [Net(lambda m, x: m.act(m.f(x)), f=hidden(), act=act) for _ in range(depth)]
    return nn.Sequential(*layers)


def smooth(make):
    return holds("J", (32, WIDTH), judge)(make)


@smooth
def gelu_20():
    return plain(20, fn.gelu)


@smooth
def silu_20():
    return plain(20, fn.silu)


@smooth
def mish_20():
    return plain(20, fn.mish)


@smooth
def hardswish_20():
    return plain(20, fn.hardswish)


@smooth
def gelu_50():
    return plain(50, fn.gelu)


@smooth
def silu_50():
    return plain(50, fn.silu)


@smooth
def elu_20():
    return plain(20, fn.elu)


@smooth
def softplus_20():
    return plain(20, fn.softplus)


@smooth
def tanh_20():
    return plain(20, torch.tanh)


@smooth
def sigmoid_20():
    return plain(20, torch.sigmoid)


@smooth
def sine_20():
    return plain(20, torch.sin)


@smooth
def leaky_relu_50():
    return plain(50, lambda x: fn.leaky_relu(x, 0.2))


@smooth
def gelu_by_its_formula():
    return plain(20, lambda x: 0.5 * x * (1 + torch.erf(x * 2**-0.5)))


@smooth
def gelu_by_its_approximation():
    return plain(
        20, lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))
    )


@smooth
def mish_by_its_formula():
    return plain(20, lambda x: x * torch.tanh(torch.log1p(torch.exp(x))))


@smooth
def hardswish_by_its_formula():
    return plain(20, lambda x: x * fn.relu6(x + 3) / 6)


@smooth
def silu_by_its_formula():
    return plain(20, lambda x: x * torch.sigmoid(x))


@smooth
def gelu_of_raw_matrices():
    class Raw(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(0.02 * torch.randn(WIDTH, WIDTH))

        def forward(self, x):
            return x @ self.w

    return plain(20, fn.gelu, Raw)
