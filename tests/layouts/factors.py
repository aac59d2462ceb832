"""Kinds A, D and E: constants around a product, and the gain of what follows a computed weight."""

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, full, gain, keeps, raw

X = (64, 48)
MAP = (6, 16, 9, 9)


def around(before=lambda m, x: x, after=lambda m, y: y, **parts):
    """A layer, with something on its input and on its product."""
    return Net(lambda m, x: after(m, m.f(before(m, x))), f=nn.Linear(48, 32), **parts)


# Whether a constant is meant for the weight isn't known: these are marked.


@gain("A", X, undecidable=True)
def number_before():
    return around(lambda m, x: x * 0.25)


@gain("A", X, undecidable=True)
def number_before_two_layers():
    def forward(m, x):
        h = x * 0.3
        return torch.cat([m.a(h), m.b(h)], -1)

    return Net(forward, a=nn.Linear(48, 32), b=nn.Linear(48, 16))


@gain("A", MAP, undecidable=True)
def number_before_a_convolution():
    return Net(lambda m, x: m.f(2 * x), f=nn.Conv2d(16, 24, 3))


@gain("A", X, undecidable=True)
def number_in_an_einsum():
    return Net(lambda m, x: torch.einsum("bi,oi->bo", x * 0.5, m.w), w=raw(32, 48))


@gain("A", X, undecidable=True)
def divided_by_the_count():
    return around(lambda m, x: x / x.size(-1))


@gain("A", X, undecidable=True)
def tensor_made_in_the_forward():
    return around(lambda m, x: x * torch.tensor(0.25))


@gain("A", X, undecidable=True)
def buffer_before():
    return around(lambda m, x: x * m.s, s=torch.full((48,), 0.1))


@gain("A", X, undecidable=True)
def features_masked():
    return around(lambda m, x: x * m.mask, mask=(torch.arange(48) % 2).float())


@gain("A", X, undecidable=True)
def features_filled_with_zeros():
    return around(lambda m, x: x.masked_fill(m.mask, 0.0), mask=torch.arange(48) % 4 > 0)


@gain("A", X, undecidable=True)
def features_chosen_by_where():
    return around(
        lambda m, x: torch.where(m.mask, x, torch.zeros(())), mask=torch.arange(48) % 4 == 0
    )


@gain("A", X, undecidable=True)
def padded_features():
    return Net(lambda m, x: m.f(fn.pad(x, (0, 144))), f=nn.Linear(192, 32))


@gain("A", X, undecidable=True)
def fixed_projection_before():
    return around(lambda m, x: x @ m.p, p=torch.randn(48, 48))


@gain("A", X)
def orthonormal_projection_before():
    return around(lambda m, x: x @ m.p, p=torch.linalg.qr(torch.randn(48, 48))[0])


@gain("A", MAP, undecidable=True)
def blurred_before():
    return Net(
        lambda m, x: m.f(fn.conv2d(x, m.k, groups=16)),
        k=torch.ones(16, 1, 3, 3) / 9,
        f=nn.Conv2d(16, 24, 3),
    )


@gain("A", X, undecidable=True)
def scale_before():
    return around(lambda m, x: x * m.s, s=full(0.1, 48))


@gain("A", X, undecidable=True)
def divided_by_a_temperature():
    return around(lambda m, x: x / m.t, t=full(5))


@gain("A", X, undecidable=True)
def input_added_to_itself():
    return around(lambda m, x: x + x)


@gain("A", X, undecidable=True)
def scale_after():
    return around(after=lambda m, y: y * m.s, s=full(0.1, 32))


@gain("A", X, undecidable=True)
def buffer_after():
    return around(after=lambda m, y: y * m.s, s=torch.full((32,), 0.1))


@gain("A", X, undecidable=True)
def fixed_projection_after():
    return around(after=lambda m, y: y @ m.p, p=0.01 * torch.randn(32, 32))


@gain("A", X, undecidable=True)
def product_added_to_itself():
    return around(after=lambda m, y: y + y)


@gain("A", X, undecidable=True)
def same_product_twice():
    return Net(lambda m, x: m.f(x) + m.f(x), f=nn.Linear(48, 32))


@gain("A", X, undecidable=True)
def changed_in_place_after():
    return around(after=lambda m, y: y.mul_(0.1))


@gain("A", X, undecidable=True)
def alpha_of_addmm():
    return Net(lambda m, x: torch.addmm(m.b, x, m.w, alpha=0.1), w=raw(48, 32), b=full(0, 32))


@gain("A", X)
def undone_after():
    return around(lambda m, x: x * 4, lambda m, y: y / 4)


@gain("A", X)
def negated_before():
    return around(lambda m, x: -x)


@gain("A", X)
def repeated_before():
    return Net(lambda m, x: m.f(x.repeat(1, 2)), f=nn.Linear(96, 32))


@gain("C", X, undecidable=True)
def bag_with_weights():
    """The data are the weights of a bag's rows."""
    return Net(
        lambda m, x: fn.embedding_bag(
            torch.arange(48).expand(64, 48), m.w, per_sample_weights=x, mode="sum"
        ),
        w=raw(48, 32),
    )


# He's gain counts once, whatever the weight is computed from, and wherever relu follows it.


def with_relu(kind, x=X, **options):
    return gain(kind, x, recipe="standard", **options)


@with_relu("A")
def relu_after_a_scaled_weight():
    return Net(lambda m, x: fn.relu(fn.linear(x, m.w * 0.1)), w=raw(64, 48))


@with_relu("A", seeds=64)
def relu_after_a_generated_weight():
    return Net(
        lambda m, x: fn.relu(fn.linear(x, m.make(m.code).view(64, 48))),
        make=nn.Linear(16, 64 * 48, bias=False),
        code=raw(16, std=1),
    )


@with_relu("D", seeds=64)
def relu_after_a_low_rank_weight():
    return Net(lambda m, x: fn.relu(fn.linear(x, m.u @ m.v)), u=raw(64, 8), v=raw(8, 48))


@with_relu("D", seeds=64)
def relu_after_three_factors():
    return Net(
        lambda m, x: fn.relu(x @ (m.u @ m.v @ m.z)), u=raw(48, 12), v=raw(12, 12), z=raw(12, 64)
    )


@with_relu("D")
def relu_after_a_merged_low_rank_term():
    return Net(
        lambda m, x: fn.relu(fn.linear(x, m.w + m.b @ m.a)),
        w=raw(64, 48),
        b=full(0, 64, 4),
        a=raw(4, 48),
    )


@with_relu("B")
def relu_after_a_sum_by_hand():
    return Net(lambda m, x: fn.relu((x[:, None] * m.w).sum(-1)), w=raw(64, 48))


@with_relu("E")
def relu_after_slices():
    return Net(lambda m, x: fn.relu(x[:, :20] @ m.w[:20] + x[:, 20:] @ m.w[20:]), w=raw(48, 64))


# The same, in other words.


@gain("A", X, undecidable=True)
def constant_in_an_einsum():
    return around(lambda m, x: torch.einsum("bi,i->bi", x, m.s), s=torch.full((48,), 0.2))


@gain("A", X, undecidable=True)
def exponential_of_a_scale():
    return around(after=lambda m, y: y * m.s.exp(), s=full(2.3))


@gain("A", X, undecidable=True)
def sigmoid_of_a_scale():
    return around(lambda m, x: x * torch.sigmoid(m.s), s=full(-3, 48))


@gain("A", X)
def one_plus_a_scale_of_zeros():
    return around(lambda m, x: x * (1 + m.s), s=full(0, 48))


@gain("A", (8, 6, 48), undecidable=True)
def summed_over_positions_before():
    return around(lambda m, x: x.sum(1))


@gain("A", (8, 6, 48), undecidable=True)
def summed_over_positions_after():
    return around(after=lambda m, y: y.sum(1))


@gain("A", X, undecidable=True)
def constant_weight_added():
    return Net(
        lambda m, x: fn.linear(x, m.base + m.w),
        w=raw(32, 48),
        base=torch.randn(32, 48) / 48**0.5,
    )


@keeps("A", X, "values_")
def weight_times_a_scale_of_zeros():
    """AdaLoRA: the fan is that beside any other singular values, and not 0."""
    return Net(
        lambda m, x: m.f(x) + x @ (m.a * m.values_).T @ m.b.T,
        f=nn.Linear(48, 32),
        a=raw(4, 48),
        values_=full(0, 4, 1),
        b=raw(32, 4),
    )


@gain("A", X, undecidable=True)
def standardized_weight():
    """Whatever is drawn, each element has a variance of 1."""
    return Net(
        lambda m, x: fn.linear(x, (m.w - m.w.mean(1, keepdim=True)) / m.w.std(1, keepdim=True)),
        w=raw(32, 48),
    )


@gain("E", (64, 24), seeds=32, undecidable=True)
def mixture_of_all_experts():
    def forward(m, x):
        return torch.einsum("bk,bi,kio->bo", m.route(x).softmax(-1), x, m.w)

    return Net(forward, route=nn.Linear(24, 4), w=raw(4, 24, 16))


@gain("E", (6, 20, 16), seeds=48)
def toeplitz_mixing_of_positions():
    def forward(m, x):
        i = torch.arange(20)
        return torch.einsum("tsd,bsd->btd", m.t[(i[:, None] - i[None]) % 20], x)

    return Net(forward, t=raw(20, 16))


@gain("A", [(8, 6, 48), (8, 12)], keep=("style.weight",))
def modulation_of_a_weight_that_is_zero_at_first():
    style = nn.Linear(12, 32)
    nn.init.zeros_(style.weight)
    nn.init.zeros_(style.bias)
    return Net(
        lambda m, x, c: torch.einsum("bti,boi->bto", x, m.w * (1 + m.style(c))[:, :, None]),
        w=raw(32, 48),
        style=style,
    )


@gain("A", MAP)
def rotated_kernels():
    return Net(
        lambda m, x: torch.cat([fn.conv2d(x, torch.rot90(m.w, k, (2, 3))) for k in range(4)], 1),
        w=raw(8, 16, 3, 3),
    )


@gain("A", MAP)
def mirrored_kernel():
    return Net(lambda m, x: fn.conv2d(x, (m.w + m.w.flip(3)) / 2), w=raw(24, 16, 3, 3))
