"""Kind A: something stands between the parameter and the product."""

import torch
from torch import nn
from torch.nn import functional as fn
from torch.nn.utils import parametrizations, parametrize, prune

import goodinit as gi

from .layout import Net, facts, full, gain, keeps, raw

X = (64, 48)
MAP = (6, 16, 9, 9)


@gain("A", X)
def equalized_rate():
    return Net(lambda m, x: fn.linear(x, m.w * 48**-0.5), w=raw(32, 48, std=1))


@gain("A", X)
def equalized_rate_with_a_multiplier():
    """StyleGAN's mapping network."""
    return Net(lambda m, x: fn.linear(x, m.w * (0.01 * 48**-0.5)), w=raw(32, 48, std=100))


@gain("A", MAP)
def equalized_convolution():
    return Net(lambda m, x: fn.conv2d(x, m.w * (16 * 9) ** -0.5), w=raw(24, 16, 3, 3, std=1))


@gain("A", X)
def divided_by_a_number():
    return Net(lambda m, x: x @ (m.w / 7.0), w=raw(48, 32))


@gain("A", X, undecidable=True)
def factor_after_the_product():
    """NTK: the same form as q * d^-.5."""
    return Net(lambda m, x: fn.linear(x, m.w) * 48**-0.5, w=raw(32, 48, std=1))


@gain("A", X)
def negated():
    return Net(lambda m, x: fn.linear(x, -m.w), w=raw(32, 48))


@gain("A", X)
def random_mask():
    mask = (torch.rand(32, 48) < 0.5).float()
    return Net(lambda m, x: fn.linear(x, m.w * m.mask), w=raw(32, 48), mask=mask)


@gain("A", X)
def sparse_mask_by_where():
    mask = torch.rand(32, 48) < 0.25
    return Net(
        lambda m, x: fn.linear(x, torch.where(m.mask, m.w, torch.zeros(()))),
        w=raw(32, 48),
        mask=mask,
    )


@gain("A", X)
def masked_fill():
    mask = torch.rand(32, 48) < 0.6
    return Net(lambda m, x: x @ m.w.masked_fill(m.mask, 0.0).T, w=raw(32, 48), mask=mask)


@gain("A", X)
def triangular():
    """MADE, causal token mixing: averaged over outputs, half of the summands arrive."""
    return Net(lambda m, x: fn.linear(x, m.w.tril()), w=raw(48, 48))


@gain("A", MAP)
def masked_convolution():
    """PixelCNN."""
    mask = torch.ones(1, 1, 3, 3)
    mask[..., 1, 1:] = mask[..., 2, :] = 0
    return Net(lambda m, x: fn.conv2d(x, m.w * m.mask), w=raw(24, 16, 3, 3), mask=mask)


@gain("A", X)
def pruned():
    layer = nn.Linear(48, 32, bias=False)
    return prune.random_unstructured(layer, "weight", 0.5)


@gain("A", X)
def twice_itself():
    return Net(lambda m, x: fn.linear(x, m.w + m.w), w=raw(32, 48))


@gain("A", X)
def symmetric():
    return Net(lambda m, x: fn.linear(x, m.w + m.w.T), w=raw(48, 48))


@gain("A", X)
def antisymmetric():
    return Net(lambda m, x: x @ (m.w - m.w.T), w=raw(48, 48))


@gain("A", X, refused=gi.errors.ParametrizationError)
def symmetric_by_a_parametrization():
    class Symmetric(nn.Module):
        def forward(self, w):
            return w.triu() + w.triu(1).T

    layer = nn.Linear(48, 48, bias=False)
    return parametrize.register_parametrization(layer, "weight", Symmetric())


@gain("A", X, undecidable=True)
def sum_of_two_parameters():
    return Net(lambda m, x: fn.linear(x, m.a + m.b), a=raw(32, 48), b=raw(32, 48))


@gain("A", X, accepts=(1.0, 1.25), keep=("sigma",))
def noisy_linear():
    """Sigma is .5/sqrt(in), its author's: kept. Mu alone or both together have gain 1."""
    return Net(
        lambda m, x: fn.linear(x, m.mu + m.sigma * m.eps),
        mu=raw(32, 48),
        sigma=full(0.5 * 48**-0.5, 32, 48),
        eps=torch.randn(32, 48),
    )


@gain("A", X, keep=("rho",))
def bayes_by_backprop():
    return Net(
        lambda m, x: fn.linear(x, m.mu + fn.softplus(m.rho) * torch.randn_like(m.rho)),
        mu=raw(32, 48),
        rho=full(-6, 32, 48),
    )


@gain("A", X)
def drop_connect():
    return Net(lambda m, x: fn.linear(x, fn.dropout(m.w, 0.5)), w=raw(64, 48))


@keeps("A", X, "w", blind=False)
def softplus_weight():
    """Not additive: no law of the library's fits."""
    return Net(lambda m, x: fn.linear(x, fn.softplus(m.w)), w=raw(32, 48, std=1))


@keeps("A", X, "w", blind=False)
def exponential_weight():
    return Net(lambda m, x: x @ m.w.exp(), w=raw(48, 32, std=1))


@keeps("A", X, "w", blind=False)
def softmax_weight():
    return Net(lambda m, x: x @ m.w.softmax(0), w=raw(48, 32, std=1))


@keeps("A", X, "w", blind=False)
def sigmoid_weight():
    return Net(lambda m, x: fn.linear(x, torch.sigmoid(m.w)), w=raw(32, 48, std=1))


@gain("A", X, keep=("g",))
def weight_norm_by_hand():
    """The rows have norm 1: any draw of v will do."""
    return Net(
        lambda m, x: fn.linear(x, m.g * m.v / m.v.norm(dim=1, keepdim=True)),
        v=raw(32, 48),
        g=full(1, 32, 1),
    )


@gain("A", MAP)
def weight_standardization():
    def standardized(m, x):
        w = m.w - m.w.mean((1, 2, 3), keepdim=True)
        w = w / (w.std((1, 2, 3), keepdim=True) * (16 * 9) ** 0.5 + 1e-5)
        return fn.conv2d(x, w)

    return Net(standardized, w=raw(24, 16, 3, 3, std=1))


@gain("A", X, undecidable=True)
def spectral_norm():
    """The largest singular value is 1 whatever is drawn: no draw changes the ratio of a third."""
    return parametrizations.spectral_norm(nn.Linear(48, 32, bias=False))


@gain("A", X, undecidable=True)
def spectral_norm_by_a_hook():
    return nn.utils.spectral_norm(nn.Linear(48, 48, bias=False))


@gain("plain", (64, 48))
def orthogonal_parametrization():
    return parametrizations.orthogonal(nn.Linear(48, 48, bias=False))


@gain("A", X)
def half_of_its_spectrum():
    """The real part of the weight's Fourier transform."""
    return Net(lambda m, x: fn.linear(x, torch.fft.fft(m.w).real), w=raw(32, 48))


@gain("A", X, seeds=64)
def low_rank():
    return Net(lambda m, x: fn.linear(x, m.u @ m.v), u=raw(64, 8), v=raw(8, 48))


@gain("A", X, seeds=64)
def low_rank_of_three():
    return Net(lambda m, x: x @ (m.a @ m.b @ m.c), a=raw(48, 24), b=raw(24, 24), c=raw(24, 48))


@gain("A", X, seeds=64)
def tensor_train():
    def product(m, x):
        w = torch.einsum("aib,bjc->aijc", m.first, m.second).reshape(36, 48)
        return x @ w.T

    return Net(product, first=raw(6, 6, 8, std=1), second=raw(8, 6, 8, std=1))


@gain("A", X, keep=("alpha",))
def learned_factor():
    return Net(lambda m, x: fn.linear(x, m.alpha * m.w), w=raw(32, 48), alpha=full(0.1))


@gain("A", X, keep=("gate",))
def gated_by_a_sigmoid():
    """sigmoid(3) = .95 of each element arrives."""
    return Net(
        lambda m, x: fn.linear(x, m.w * torch.sigmoid(m.gate)), w=raw(32, 48), gate=full(3, 32, 48)
    )


@gain("A", X)
def absolute_values():
    """E|w|^2 = E w^2, and the inputs have mean 0."""
    return Net(lambda m, x: fn.linear(x, m.w.abs()), w=raw(32, 48))


@gain("A", X)
def binary_weight():
    """XNOR-Net: sign(w) times the mean of |w|."""
    return Net(
        lambda m, x: fn.linear(x, m.w.sign() * m.w.abs().mean(1, keepdim=True)), w=raw(32, 48)
    )


@gain("A", X)
def straight_through_rounding():
    def rounded(m, x):
        step = m.w.detach().abs().amax() / 127
        q = (m.w / step).round() * step
        return fn.linear(x, m.w + (q - m.w).detach())

    return Net(rounded, w=raw(32, 48))


@gain("A", MAP)
def blurred_kernel():
    blur = torch.tensor([1.0, 2.0, 1.0])
    blur = (blur[:, None] * blur / 16)[None, None]

    def product(m, x):
        w = fn.conv2d(m.w.reshape(-1, 1, 3, 3), m.blur, padding=1).reshape(m.w.shape)
        return fn.conv2d(x, w)

    return Net(product, w=raw(24, 16, 3, 3), blur=blur)


@gain("A", X, seeds=32)
def cumulated():
    return Net(lambda m, x: fn.linear(x, m.w.cumsum(1)), w=raw(64, 48))


@gain("A", X, seeds=64)
def generated_from_a_code():
    """A hypernetwork without inputs: a layer's output is the weight."""
    return Net(
        lambda m, x: fn.linear(x, m.make(m.code).view(32, 48)),
        make=nn.Linear(16, 32 * 48, bias=False),
        code=raw(16, std=1),
    )


@gain("A", [X, (1, 16)], seeds=64)
def generated_from_the_data():
    return Net(
        lambda m, x, c: fn.linear(x, m.make(c).view(32, 48)),
        make=nn.Linear(16, 32 * 48, bias=False),
    )


@gain("A", [(8, 6, 48), (8, 16)], undecidable=True)
def generated_for_each_sample():
    """By bmm: the same graph as attention."""
    return Net(
        lambda m, x, c: torch.bmm(x, m.make(c).view(8, 48, 32)),
        make=nn.Linear(16, 32 * 48, bias=False),
    )


@facts("A", [MAP, (6, 8)], {"w": {"fan_in": 144, "fan_out": 216, "guessed": True}})
def mixture_of_kernels():
    """CondConv: each kernel has its own fans, since E[share^2] depends on the routing."""

    def product(m, x, c):
        share = m.route(c).softmax(-1)
        w = torch.einsum("be,eoihw->boihw", share, m.w).reshape(6 * 24, 16, 3, 3)
        return fn.conv2d(x.reshape(1, -1, 9, 9), w, groups=6).reshape(6, 24, 7, 7)

    return Net(product, route=nn.Linear(8, 4), w=raw(4, 24, 16, 3, 3))


@gain("A", [MAP, (6, 8)])
def demodulated():
    """StyleGAN2: the modulated rows have norm 1, so any draw of w will do."""

    def product(m, x, c):
        w = m.w * m.style(c)[:, None, :, None, None]
        w = w * torch.rsqrt(w.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        w = w.reshape(-1, 16, 3, 3)
        return fn.conv2d(x.reshape(1, -1, 9, 9), w, groups=6).reshape(6, 24, 7, 7)

    return Net(product, style=nn.Linear(8, 16), w=raw(24, 16, 3, 3))
