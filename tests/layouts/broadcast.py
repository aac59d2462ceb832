"""Kind B: a product that is written as something else than a product."""

import torch
from torch.nn import functional as fn

from .layout import Net, gain, raw

X = (64, 48)
LINE = (8, 16, 40)


@gain("B", X)
def multiply_and_sum():
    return Net(lambda m, x: (x[:, None, :] * m.w).sum(-1), w=raw(32, 48))


@gain("B", X)
def multiply_and_sum_transposed():
    return Net(lambda m, x: (x.unsqueeze(-1) * m.w).sum(1), w=raw(48, 32))


@gain("B", X)
def multiply_and_mean():
    return Net(lambda m, x: torch.mean(x[:, None, :] * m.w, -1), w=raw(32, 48))


@gain("B", (64, 4, 48), seeds=64)
def score_of_each_head():
    """GAT: (h * a).sum(-1)."""
    return Net(lambda m, h: (h * m.a).sum(-1), a=raw(1, 4, 48))


@gain("B", X, seeds=200)
def score_of_one_vector():
    return Net(lambda m, x: torch.sum(x.mul(m.a), dim=-1), a=raw(48))


@gain("B", (16, 6, 48))
def expanded_first():
    def product(m, x):
        wide = x.unsqueeze(2).expand(-1, -1, 32, -1)
        return torch.multiply(m.w.expand_as(wide), wide).sum(3)

    return Net(product, w=raw(32, 48))


@gain("B", LINE, seeds=32)
def depthwise_by_hand():
    return Net(lambda m, x: (x.unfold(-1, 5, 1) * m.w[:, None]).sum(-1), w=raw(16, 5))


@gain("B", LINE, seeds=100)
def taps_one_by_one():
    """A filter as a sum of shifted copies."""
    return Net(lambda m, x: sum(m.w[k] * x.roll(k, -1) for k in range(6)), w=raw(6))


@gain("B", (8, 6, 16, 10), seeds=100)
def weighted_sum_of_layers():
    """ELMo without the softmax."""
    return Net(lambda m, x: (x * m.w[:, None, None]).sum(1), w=raw(6))


@gain("B", (8, 3, 12, 12))
def locally_connected():
    def product(m, x):
        windows = fn.unfold(x, 3).view(8, 1, 27, 100)
        return (windows * m.w).sum(2)

    return Net(product, w=raw(6, 27, 100))


@gain("B", X)
def addcmul_and_sum():
    return Net(
        lambda m, x: torch.addcmul(torch.zeros(()), x[:, None], m.w, value=0.5).sum(-1),
        w=raw(32, 48),
    )


@gain("B", LINE)
def long_convolution():
    """Circular, by FFT: as many summands as positions."""

    def product(m, x):
        spectrum = torch.fft.rfft(x) * torch.fft.rfft(m.w)
        return torch.fft.irfft(spectrum, n=40)

    return Net(product, w=raw(16, 40))


@gain("B", LINE, seeds=32)
def padded_long_convolution():
    """Hyena, S4: a short filter, the ends cut off."""

    def product(m, x):
        spectrum = torch.fft.rfft(x, n=64) * torch.fft.rfft(m.w, n=64)
        return torch.fft.irfft(spectrum, n=64)[..., 7:40]

    return Net(product, w=raw(16, 8))


@gain("B", (4, 6, 12, 12))
def convolution_of_images_by_fft():
    def product(m, x):
        spectrum = torch.fft.rfft2(x)[:, None] * torch.fft.rfft2(m.w, s=(12, 12))
        return torch.fft.irfft2(spectrum, s=(12, 12)).sum(2)

    return Net(product, w=raw(8, 6, 3, 3))


@gain("B", X, seeds=100)
def circulant_by_fft():
    def product(m, x):
        return torch.fft.ifft(torch.fft.fft(x) * torch.fft.fft(m.c)).real

    return Net(product, c=raw(48))


@gain("B", X)
def repeated_over_outputs():
    return Net(lambda m, x: fn.linear(x, m.w.repeat(4, 1)), w=raw(16, 48))


@gain("B", X)
def repeated_over_inputs():
    return Net(lambda m, x: fn.linear(x, m.w.repeat(1, 4)), w=raw(32, 12))


@gain("B", X)
def repeat_interleaved():
    return Net(lambda m, x: x @ m.w.repeat_interleave(3, 0), w=raw(16, 32))


@gain("B", X)
def padded_weight():
    return Net(lambda m, x: fn.linear(x, fn.pad(m.w, (0, 16))), w=raw(32, 32))


@gain("B", (4, 8, 11, 11))
def dilated_by_padding():
    def product(m, x):
        w = m.w.new_zeros(16, 8, 5, 5)
        w[..., ::2, ::2] = m.w
        return fn.conv2d(x, w)

    return Net(product, w=raw(16, 8, 3, 3))


@gain("B", (4, 8, 13, 13))
def interpolated_kernel():
    def product(m, x):
        return fn.conv2d(x, fn.interpolate(m.w, size=(6, 6), mode="bilinear"))

    return Net(product, w=raw(24, 8, 3, 3))


@gain("B", (4, 8, 13, 13))
def kernel_of_nearest_neighbors():
    return Net(lambda m, x: fn.conv2d(x, fn.interpolate(m.w, scale_factor=2)), w=raw(16, 8, 3, 3))


@gain("B", X, seeds=64)
def kronecker_product():
    return Net(lambda m, x: fn.linear(x, torch.kron(m.a, m.b)), a=raw(8, 8), b=raw(8, 6))


@gain("B", (32, 8, 6), seeds=64)
def kronecker_by_two_products():
    """The same as two layers, one an axis."""
    return Net(lambda m, x: torch.einsum("bij,oi,pj->bop", x, m.a, m.b), a=raw(8, 8), b=raw(8, 6))


@gain("B", X, seeds=64)
def three_operands():
    return Net(lambda m, x: torch.einsum("bi,ri,or->bo", x, m.v, m.u), v=raw(16, 48), u=raw(32, 16))


@gain("B", [X, (64, 12)])
def bilinear_by_einsum():
    """Two activations and a weight: each output sums over both."""
    return Net(lambda m, x, z: torch.einsum("bi,bj,oij->bo", x, z, m.w), w=raw(64, 48, 12))


@gain("B", X)
def block_diagonal():
    return Net(lambda m, x: fn.linear(x, torch.block_diag(*m.w)), w=raw(4, 8, 12))


@gain("B", X)
def columns_one_by_one():
    return Net(lambda m, x: sum(x[:, i, None] * m.w[i] for i in range(48)), w=raw(48, 32))


@gain("B", X, undecidable=True)
def outer_product():
    """A numerical feature's embedding: nothing is summed, so it may be a scale."""
    return Net(lambda m, x: x[:, :, None] * m.w, w=raw(48, 16, std=1))
