"""Kind L: complex weights: E|y|^2 = E|x|^2, or an error or a finding that names them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

import goodinit as gi

from .layout import Layout, Net, Verdict, gain, holds, judge_gain, keeps, raw

X = (64, 48)
LINE = (8, 12, 40)


def judge(layout: Layout) -> Verdict:
    """Drawn right; or refused; or kept, with a finding that names the parameter."""
    found = judge_gain(layout)
    module = layout.make()
    plan = gi.plan(module, "lecun", inputs=layout.draw())
    odd = [name for name, p in module.named_parameters() if p.is_complex()]
    named = all(any(name in f.where for f in plan.findings) for name in odd)
    if found.answer != "right" and named and all(plan[name].kept for name in odd):
        return Verdict("right", True, "kept, with a finding")
    return found


def complex_weight(x=X, **options):
    return holds("L", x, judge, refused=gi.errors.DtypeError, **options)


def craw(*shape: int) -> nn.Parameter:
    return nn.Parameter(0.02 * torch.randn(shape, dtype=torch.cfloat))


def complex_inputs(*shape: int):
    return lambda: torch.randn(shape, dtype=torch.cfloat)


@complex_weight()
def complex_matrix():
    return Net(lambda m, x: x.to(torch.cfloat) @ m.w, w=craw(48, 32))


@complex_weight(complex_inputs(64, 48))
def complex_linear_layer():
    return nn.Linear(48, 32, bias=False, dtype=torch.cfloat)


@complex_weight(complex_inputs(4, 8, 9, 9))
def complex_convolution():
    return nn.Conv2d(8, 16, 3, bias=False, dtype=torch.cfloat)


@complex_weight(complex_inputs(64, 48))
def complex_einsum():
    return Net(lambda m, x: torch.einsum("bi,io->bo", x, m.w), w=craw(48, 32))


@complex_weight(LINE)
def spectral_convolution():
    """FNO, all modes kept, orthonormal transforms."""

    def product(m, x):
        modes = torch.einsum("bik,iok->bok", torch.fft.rfft(x, norm="ortho"), m.w)
        return torch.fft.irfft(modes, n=40, norm="ortho")

    return Net(product, w=craw(12, 16, 21))


@gain("L", LINE, undecidable=True)
def spectral_convolution_of_pairs():
    """Real and imaginary parts in a last axis; two terms, but half of the modes are mirrored."""

    def product(m, x):
        w = torch.view_as_complex(m.w)
        modes = torch.einsum("bik,iok->bok", torch.fft.rfft(x, norm="ortho"), w)
        return torch.fft.irfft(modes, n=40, norm="ortho")

    return Net(product, w=raw(12, 16, 21, 2))


@gain("L", complex_inputs(64, 48))
def pairs_seen_as_complex():
    """|w|^2 has two terms: Var of each part is 1/(2 fan_in) (Trabelsi et al. 2018)."""
    return Net(lambda m, x: x @ torch.view_as_complex(m.w), w=raw(48, 32, 2))


@gain("L", complex_inputs(64, 48), undecidable=True)
def two_parameters_made_complex():
    return Net(lambda m, x: x @ torch.complex(m.re, m.im), re=raw(48, 32), im=raw(48, 32))


@gain("L", (64, 48, 2), undecidable=True)
def two_layers_as_a_complex_one():
    def product(m, z):
        a, b = z.unbind(-1)
        return torch.stack([m.re(a) - m.im(b), m.im(a) + m.re(b)], -1)

    return Net(product, re=nn.Linear(48, 48, bias=False), im=nn.Linear(48, 48, bias=False))


@gain("L", (64, 48, 2), undecidable=True)
def a_real_matrix_of_a_complex_one():
    """[[a, -b], [b, a]] as one real weight."""

    def product(m, z):
        w = torch.cat([torch.cat([m.re, -m.im], 1), torch.cat([m.im, m.re], 1)])
        return fn.linear(z.transpose(1, 2).flatten(1), w)

    return Net(product, re=raw(32, 48), im=raw(32, 48))


@keeps("L", complex_inputs(64, 48), "phase", blind=False)
def phases():
    """exp(i phase): not additive."""
    return Net(
        lambda m, x: x @ torch.polar(torch.ones(48, 32), m.phase) / 48**0.5,
        phase=raw(48, 32, std=1),
    )


@keeps("L", (4, 30, 16), "log_rate", "angle", blind=False)
def diagonal_recurrence():
    """LRU: eigenvalues inside the unit circle."""

    def forward(m, x):
        decay = torch.polar(torch.exp(-m.log_rate.exp()), m.angle)
        h = torch.zeros(4, 16, dtype=torch.cfloat)
        out: list[Tensor] = []
        for t in range(30):
            h = decay * h + x[:, t]
            out.append(h.real)
        return torch.stack(out, 1)

    return Net(
        forward,
        log_rate=nn.Parameter(torch.rand(16).log()),
        angle=nn.Parameter(6.28 * torch.rand(16)),
    )
