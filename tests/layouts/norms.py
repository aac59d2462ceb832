"""Kind K: norms in any spelling: kind "norm", and neutral after ``init_``."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as fn

import goodinit as gi

from .layout import Layout, Net, Verdict, facts, full, graded, holds

X = (8, 6, 24)
MAP = (4, 8, 6, 6)


def judge(layout: Layout, weight: str, neutral: float, bias: str | None = None) -> Verdict:
    """The weight is a norm's, and set to what changes nothing; so is its bias."""
    module = layout.make()
    plan = gi.init_(module, "standard", inputs=layout.draw(), seed=0)
    tensors, told = dict(module.named_parameters()), []
    if plan[weight].kind != "norm":
        told.append(f"{weight} is a {plan[weight].kind}")
    if not (tensors[weight] == neutral).all():
        told.append(f"{weight} isn't {neutral:g}")
    if bias and (plan[bias].part != "bias" or tensors[bias].any()):
        told.append(f"{bias} is a {plan[bias].kind} {plan[bias].part}")
    return graded(not told, not plan[weight].guessed, "; ".join(told))


def norm(x=X, weight="w", neutral=1.0, bias=None, **options):
    return holds("K", x, partial(judge, weight=weight, neutral=neutral, bias=bias), **options)


def trained(*shape):
    """A norm's weight after some steps: no one meant its values."""
    return nn.Parameter(1 + 0.1 * torch.randn(shape))


def rms(x):
    return torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def after(function, **parts):
    """A layer, a norm, a layer."""
    return Net(
        lambda m, x: m.b(function(m, m.a(x))), a=nn.Linear(24, 24), b=nn.Linear(24, 24), **parts
    )


@norm()
def weight_first():
    return after(lambda m, x: m.w * x * rms(x), w=trained(24))


@norm()
def weight_last():
    return after(lambda m, x: m.w * (x * rms(x)), w=trained(24))


@norm()
def input_last():
    return after(lambda m, x: rms(x) * m.w * x, w=trained(24))


@norm()
def divided_by_the_root():
    return after(
        lambda m, x: x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * m.w, w=full(1, 24)
    )


@norm()
def divided_by_the_norm():
    return after(lambda m, x: x / x.norm(dim=-1, keepdim=True) * 24**0.5 * m.w, w=full(1, 24))


@norm()
def normalize_and_scale():
    return after(lambda m, x: fn.normalize(x, dim=-1) * 24**0.5 * m.w, w=full(1, 24))


@norm(neutral=0.0)
def unit_offset():
    return after(lambda m, x: fn.normalize(x, dim=-1) * 24**0.5 * (m.w + 1), w=trained(24))


@norm(neutral=0.0)
def unit_offset_first():
    """Gemma."""
    return after(lambda m, x: (1.0 + m.w) * (x * rms(x)), w=full(0, 24))


@norm()
def in_double_precision():
    return after(lambda m, x: m.w * (x.double() * rms(x.double())).to(x.dtype), w=full(1, 24))


@norm(bias="b0")
def layer_norm_by_hand():
    def f(m, x):
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
        return (x - mean) / torch.sqrt(var + 1e-5) * m.w + m.b0

    return after(f, w=trained(24), b0=trained(24))


@norm(bias="b0")
def layer_norm_by_addcmul():
    def f(m, x):
        centered = x - x.mean(-1, keepdim=True)
        unit = centered * (centered.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
        return torch.addcmul(m.b0, m.w, unit)

    return after(f, w=full(1, 24), b0=full(0, 24))


@norm()
def centered_by_var_mean():
    def f(m, x):
        var, mean = torch.var_mean(x, -1, keepdim=True)
        return m.w * ((x - mean) * torch.rsqrt(var + 1e-5))

    return after(f, w=full(1, 24))


@norm()
def functional_layer_norm_then_weight():
    return after(lambda m, x: fn.layer_norm(x, (24,)) * m.w, w=full(1, 24))


@norm()
def functional_rms_norm():
    return after(lambda m, x: fn.rms_norm(x, (24,), m.w), w=trained(24))


@norm(MAP)
def channel_norm_of_maps():
    """ConvNeXt's layer norm over channels."""

    def f(m, x):
        x = m.a(x)
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / ((x - mean).pow(2).mean(1, keepdim=True) + 1e-6).sqrt()
        return m.b(m.w[:, None, None] * x)

    return Net(f, a=nn.Conv2d(8, 8, 1), b=nn.Conv2d(8, 8, 1), w=trained(8))


@norm(MAP, bias="b0")
def batch_norm_by_hand():
    def f(m, x):
        x = m.a(x)
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True)
        return m.b(m.w * (x - mean) / (var + 1e-5).sqrt() + m.b0)

    return Net(
        f, a=nn.Conv2d(8, 8, 1), b=nn.Conv2d(8, 8, 1), w=full(1, 1, 8, 1, 1), b0=full(0, 1, 8, 1, 1)
    )


@norm()
def norm_of_each_head():
    """q-norm: a weight per head and feature."""

    def f(m, x):
        x = m.a(x).unflatten(-1, (3, 8))
        return m.b((m.w * x * rms(x)).flatten(-2))

    return Net(f, a=nn.Linear(24, 24), b=nn.Linear(24, 24), w=trained(3, 8))


@norm()
def norm_before_rotary_positions():
    """q-norm in LLaMA's layout: pairs of numbers are rotated, which sums two of them."""
    angles = torch.arange(6)[:, None, None] * 10.0 ** -torch.arange(4.0).repeat(2)

    def f(m, x):
        x = m.a(x).unflatten(-1, (3, 8))
        x = m.w * (x * rms(x))
        first, second = x.chunk(2, -1)
        x = x * angles.cos() + torch.cat([-second, first], -1) * angles.sin()
        return m.b(x.flatten(-2))

    return Net(f, a=nn.Linear(24, 24), b=nn.Linear(24, 24), w=trained(8))


@facts("P", X, {"g": {"kind": "scale"}, "f.weight": {"guessed": False}})
def gain_that_is_an_exponential():
    """It isn't the rate of a state space, which multiplies what no norm made."""
    return Net(
        lambda m, x: m.f(fn.rms_norm(x, (24,)) * m.g.exp()), g=full(0, 24), f=nn.Linear(24, 8)
    )
