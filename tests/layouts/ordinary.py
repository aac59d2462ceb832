"""Ordinary uses: right and sure."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn
from torch.nn.utils import parametrizations

from .layout import Net, gain, raw

X = (64, 48)
LINE, MAP, SPACE = (6, 12, 30), (4, 12, 11, 11), (3, 6, 7, 7, 7)


def plain(x=X, **options):
    return gain("plain", x, **options)


def ids(high: int, *shape: int):
    return lambda: torch.randint(0, high, shape)


@plain()
def linear():
    return nn.Linear(48, 32)


@plain()
def linear_without_a_bias():
    return nn.Linear(48, 32, bias=False)


@plain((4, 5, 6, 48))
def linear_of_four_axes():
    return nn.Linear(48, 32)


@plain()
def linear_by_function():
    return Net(lambda m, x: fn.linear(x, m.w), w=raw(32, 48))


@plain()
def matmul():
    return Net(lambda m, x: x @ m.w, w=raw(48, 32))


@plain()
def matmul_of_the_transpose():
    return Net(lambda m, x: x @ m.w.T, w=raw(32, 48))


@plain()
def weight_on_the_left():
    return Net(lambda m, x: (m.w @ x.T).T, w=raw(32, 48))


@plain()
def mm():
    return Net(lambda m, x: torch.mm(x, m.w.t()), w=raw(32, 48))


@plain()
def addmm():
    return Net(
        lambda m, x: torch.addmm(m.b, x, m.w), w=raw(48, 32), b=nn.Parameter(torch.zeros(32))
    )


@plain()
def conv1d_of_huggingface():
    from transformers.pytorch_utils import Conv1D

    return Conv1D(32, 48)


@plain((8, 4, 48))
def einsum():
    return Net(lambda m, x: torch.einsum("bti,oi->bto", x, m.w), w=raw(32, 48))


@plain((8, 5, 48))
def einsum_into_heads():
    return Net(lambda m, x: torch.einsum("bti,ihd->bthd", x, m.w), w=raw(48, 4, 8))


@plain((8, 5, 4, 12))
def einsum_out_of_heads():
    return Net(lambda m, x: torch.einsum("bthd,hdo->bto", x, m.w), w=raw(4, 12, 32))


@plain((8, 5, 4, 12))
def einsum_head_by_head():
    return Net(lambda m, x: torch.einsum("bthd,hdo->btho", x, m.w), w=raw(4, 12, 16))


@plain((4, 10, 48))
def einsum_over_positions():
    """An MLP-Mixer's tokens."""
    return Net(lambda m, x: torch.einsum("btd,st->bsd", x, m.w), w=raw(32, 10))


@plain((4, 32, 48))
def linear_over_positions():
    return Net(lambda m, x: m.f(x.transpose(1, 2)).transpose(1, 2), f=nn.Linear(32, 32))


@plain(LINE)
def conv1d():
    return nn.Conv1d(12, 24, 5)


@plain(MAP)
def conv2d():
    return nn.Conv2d(12, 24, 3)


@plain(SPACE)
def conv3d():
    return nn.Conv3d(6, 24, 3)


@plain(MAP)
def conv2d_of_one_pixel():
    return nn.Conv2d(12, 32, 1)


@plain(MAP)
def conv2d_by_function():
    return Net(lambda m, x: fn.conv2d(x, m.w), w=raw(24, 12, 3, 3))


@plain(MAP)
def strided():
    return nn.Conv2d(12, 32, 3, stride=2)


@plain(MAP)
def dilated():
    return nn.Conv2d(12, 24, 3, dilation=2)


@plain(MAP)
def circular_padding():
    return nn.Conv2d(12, 24, 3, padding=1, padding_mode="circular")


@plain(MAP, of=lambda y: y[..., 1:-1, 1:-1])
def zero_padding_inside():
    return nn.Conv2d(12, 24, 3, padding=1)


@plain(MAP)
def rectangular_kernel():
    return nn.Conv2d(12, 24, (1, 5))


@plain(MAP)
def grouped():
    return nn.Conv2d(12, 24, 3, groups=3)


@plain(MAP, seeds=32)
def depthwise():
    return nn.Conv2d(12, 12, 3, groups=12)


@plain(MAP, seeds=32)
def depthwise_with_a_multiplier():
    return nn.Conv2d(12, 36, 3, groups=12)


@plain((4, 4, 16, 16))
def patches():
    return Net(
        lambda m, x: m.f(x).flatten(2),
        f=nn.Conv2d(4, 48, 4, stride=4),
    )


@plain(LINE, of=lambda y: y[..., 4:-4])
def transposed_1d():
    return nn.ConvTranspose1d(12, 24, 5)


@plain(MAP, of=lambda y: y[..., 2:-2, 2:-2])
def transposed_2d():
    return nn.ConvTranspose2d(12, 24, 3)


@plain(MAP, of=lambda y: y[..., 2:-2, 2:-2])
def transposed_and_strided():
    return nn.ConvTranspose2d(12, 24, 4, stride=2)


@plain(MAP)
def transposed_without_overlap():
    return nn.ConvTranspose2d(12, 24, 2, stride=2)


@plain(MAP, of=lambda y: y[..., 2:-2, 2:-2])
def transposed_and_grouped():
    return nn.ConvTranspose2d(12, 24, 3, groups=4)


@plain(SPACE, of=lambda y: y[..., 2:-2, 2:-2, 2:-2])
def transposed_3d():
    return nn.ConvTranspose3d(6, 16, 3)


@plain(MAP)
def unfold_and_linear():
    return Net(lambda m, x: m.w @ fn.unfold(x, 3), w=raw(24, 12 * 9))


@plain(MAP)
def kernel_from_a_matrix():
    return Net(lambda m, x: fn.conv2d(x, m.w.view(24, 12, 3, 3)), w=raw(24, 12 * 9))


@plain(LINE)
def linear_of_windows():
    return Net(lambda m, x: fn.linear(x.unfold(-1, 5, 2), m.w), w=raw(32, 5))


@plain()
def packed_projections():
    return Net(lambda m, x: torch.cat(m.f(x).chunk(3, -1), -1), f=nn.Linear(48, 3 * 16))


@plain()
def packed_then_split():
    def forward(m, x):
        q, k, v = m.f(x).split([32, 8, 8], -1)
        return torch.cat([q, k, v], -1)

    return Net(forward, f=nn.Linear(48, 48))


@plain()
def weight_in_chunks():
    return Net(lambda m, x: torch.cat([fn.linear(x, w) for w in m.w.chunk(3)], -1), w=raw(48, 48))


@plain()
def weight_unbound():
    return Net(lambda m, x: torch.stack([x @ w for w in m.w.unbind()]), w=raw(3, 48, 32))


@plain()
def weight_seen_otherwise():
    return Net(lambda m, x: x @ m.w.view(48, 32), w=raw(48 * 32))


@plain()
def weight_reshaped_and_permuted():
    return Net(lambda m, x: x @ m.w.permute(2, 0, 1).reshape(48, 32), w=raw(4, 8, 48))


@plain((6, 20, 48))
def experts_by_bmm():
    return Net(lambda m, x: torch.bmm(x, m.w), w=raw(6, 48, 24))


@plain((20, 6, 48))
def experts_by_einsum():
    return Net(lambda m, x: torch.einsum("bei,eio->beo", x, m.w), w=raw(6, 48, 24))


@plain((6, 20, 48))
def experts_by_baddbmm():
    return Net(
        lambda m, x: torch.baddbmm(m.b, x, m.w),
        w=raw(6, 48, 24),
        b=nn.Parameter(torch.zeros(6, 1, 24)),
    )


@plain((6, 20, 48))
def experts_broadcast():
    return Net(lambda m, x: x[None].transpose(0, 1) @ m.w[:, None], w=raw(6, 48, 24))


@plain()
def bilinear_layer_of_one_input():
    return Net(lambda m, x: m.f(x, torch.ones(64, 1)), f=nn.Bilinear(48, 1, 32, bias=False))


@plain([X, (64, 12)])
def bilinear():
    return nn.Bilinear(48, 12, 64)


@plain(ids(100, 8, 20))
def embedding():
    return nn.Embedding(100, 32)


@plain(ids(100, 8, 20))
def embedding_of_a_raw_table():
    return Net(lambda m, i: fn.embedding(i, m.table), table=raw(100, 32))


@plain(ids(100, 8, 20))
def table_by_index():
    return Net(lambda m, i: m.table[i], table=raw(100, 32))


@plain(lambda: torch.randint(1, 100, (8, 20)))
def embedding_with_padding():
    return nn.Embedding(100, 32, padding_idx=0)


@plain()
def one_weight_in_two_layers():
    layer = nn.Linear(48, 48, bias=False)
    return Net(lambda m, x: torch.cat([m.a(x), m.b(x)], -1), a=layer, b=layer)


@plain()
def weight_norm():
    return parametrizations.weight_norm(nn.Linear(48, 32, bias=False))


@plain(seeds=64)
def two_layers():
    return nn.Sequential(nn.Linear(48, 64), nn.Linear(64, 32))


@plain(seeds=64)
def low_rank_by_two_layers():
    return Net(lambda m, x: x @ m.a @ m.b, a=raw(48, 24), b=raw(24, 48))


@plain((64, 4, 12))
def flattened_first():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 32))


@plain(MAP)
def pixel_shuffle():
    return nn.Sequential(nn.Conv2d(12, 24, 3), nn.PixelShuffle(2))


@plain()
def weight_in_half_precision():
    return Net(lambda m, x: x @ m.w.double().float(), w=raw(48, 32))


@plain((16, 5, 48))
def input_in_a_loop():
    return Net(lambda m, x: torch.stack([m.f(x[:, t]) for t in range(5)], 1), f=nn.Linear(48, 32))


@plain()
def lazy():
    layer = nn.LazyLinear(32)
    layer(torch.randn(X))
    return layer


@plain()
def contiguous_copy():
    return Net(lambda m, x: fn.linear(x, m.w.T.contiguous()), w=raw(48, 32))


@plain()
def cloned():
    return Net(lambda m, x: fn.linear(x, m.w.clone()), w=raw(32, 48))


@plain()
def concatenated_weights():
    return Net(lambda m, x: fn.linear(x, torch.cat([m.a, m.b])), a=raw(16, 48), b=raw(24, 48))


@plain()
def stacked_weights():
    return Net(lambda m, x: torch.stack([m.a, m.b]) @ x.T, a=raw(32, 48), b=raw(32, 48))
