"""Kinds A, B, L and plain: products that meet a signal again before the next weight.

A choice between two, a mask made of another product, a product less its mean, the real part.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, facts, full, gain, raw

X = (64, 24)
SURE = {"guessed": False}
NODES = (20, 16)


def lin(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


def two(function, outputs=32):
    return Net(function, f=lin(24, outputs), g=lin(24, outputs))


def three(function):
    return Net(function, f=lin(24, 32), g=lin(24, 32), h=lin(24, 32))


# Gates: one that chooses makes the sum smaller; one alone is as recipes know it.


@gain("A", X, undecidable=True)
def gate_that_chooses():
    def forward(m, x):
        gate = m.g(x).sigmoid()
        return gate * m.f(x) + (1 - gate) * m.h(x)

    return three(forward)


@gain("A", X, undecidable=True)
def gate_that_chooses_by_lerp():
    return three(lambda m, x: torch.lerp(m.f(x), m.h(x), m.g(x).sigmoid()))


@gain("A", X, undecidable=True)
def gated_units_added():
    def forward(m, x):
        return m.f(x) * m.g(x).sigmoid() + m.h(x) * m.g(x.flip(-1)).sigmoid()

    return three(forward)


@facts("plain", X, {"f.weight": SURE, "g.weight": SURE})
def gated_linear_unit():
    return two(lambda m, x: m.f(x) * m.g(x).sigmoid())


@facts("plain", X, {"f.weight": SURE, "g.weight": SURE})
def gated_linear_unit_by_silu():
    return two(lambda m, x: m.f(x) * fn.silu(m.g(x)))


@facts("plain", (8, 12, 6, 6), {"f.weight": SURE, "g.weight": SURE})
def squeezed_and_excited():
    def forward(m, x):
        y = m.f(x)
        return m.h(y * m.g(y.mean((2, 3), keepdim=True)).sigmoid())

    f, h = nn.Conv2d(12, 16, 3), nn.Conv2d(16, 8, 1)
    return Net(forward, f=f, g=nn.Conv2d(16, 16, 1), h=h)


# Masks of what another product is; the product's own size counts.


@gain("A", X)
def zeros_where_another_product_is_negative():
    return two(lambda m, x: torch.where(m.g(x) > 0, m.f(x), 0.0))


@gain("A", X)
def multiplied_by_whether_another_product_is_positive():
    return two(lambda m, x: m.f(x) * (m.g(x) > 0))


@gain("A", X)
def filled_where_an_input_is_negative():
    return Net(lambda m, x: m.f(x).masked_fill(x[:, :1] < 0, 0), f=lin(24, 32))


@gain("A", X)
def chosen_of_two_products_by_a_third():
    return three(lambda m, x: torch.where(m.g(x) > 0, m.f(x), m.h(x)))


# A product less its mean, over few features; the largest of sums.


@gain("A", X)
def three_logits_less_their_mean():
    return Net(lambda m, x: (y := m.f(x)) - y.mean(-1, keepdim=True), f=lin(24, 3))


@gain("A", X)
def features_less_the_mean_of_their_group():
    def forward(m, x):
        y = m.f(x).unflatten(-1, (8, 4))
        return (y - y.mean(-1, keepdim=True)).flatten(1)

    return Net(forward, f=lin(24, 32))


@gain("A", X, undecidable=True)
def smallest_of_all_sums():
    return two(lambda m, x: (m.f(x)[:, :, None] + m.g(x)[:, None]).amin(1), outputs=8)


# What a product is multiplied by.


@gain("A", X, undecidable=True)
def times_the_length_of_the_input():
    return Net(lambda m, x: m.f(x) * x.norm(dim=-1, keepdim=True), f=lin(24, 32))


@gain("A", X, undecidable=True)
def times_the_mean_of_the_input():
    return Net(lambda m, x: m.f(x) * x.mean(-1, keepdim=True), f=lin(24, 32))


@gain("A", X, undecidable=True)
def turned_by_learned_angles():
    return two(lambda m, x: torch.cat([m.f(x) * m.g(x).cos(), m.f(x) * m.g(x).sin()], -1))


@gain("A", X, undecidable=True)
def noise_that_multiplies_an_activation():
    return Net(lambda m, x: (y := m.f(x).relu()) * (1 + torch.randn_like(y)), f=lin(24, 32))


@gain("plain", X)
def product_times_its_input():
    return Net(lambda m, x: m.f(x) * x, f=lin(24, 24))


# Complex products: half of each is in the real part, and a pair of real numbers has twice as much.


@gain("L", X)
def real_part_of_a_product():
    return Net(
        lambda m, x: (x.cfloat() @ torch.complex(m.a, m.b)).real, a=raw(24, 16), b=raw(24, 16)
    )


@gain("L", X)
def imaginary_part_of_a_product_of_pairs():
    def forward(m, x):
        return (torch.complex(x, x.roll(1, 0)) @ torch.complex(m.a, m.b)).imag

    return Net(forward, a=raw(24, 16), b=raw(24, 16))


@gain("L", X)
def both_parts_of_a_product_side_by_side():
    def forward(m, x):
        return torch.view_as_real(x.to(torch.cfloat) @ torch.view_as_complex(m.w)).flatten(1)

    return Net(forward, w=raw(24, 16, 2))


@gain("L", X)
def size_of_a_product_of_pairs():
    return Net(
        lambda m, x: (torch.complex(x, x.roll(1, 0)) @ torch.complex(m.a, m.b)).abs(),
        a=raw(24, 16),
        b=raw(24, 16),
    )


# Neighbors beside the node itself, and rows of several tables.


def neighbors():
    near = (torch.rand(20, 20) < 0.3).float() + torch.eye(20)
    return near / near.sum(1, keepdim=True)


@gain("A", [NODES, neighbors], undecidable=True)
def a_node_beside_the_mean_of_its_neighbors():
    return Net(lambda m, x, near: m.f(torch.cat([x, near @ x], -1)), f=lin(32, 24))


@gain("B", lambda: torch.randint(0, 20, (32, 4)), undecidable=True)
def products_of_the_rows_of_several_tables():
    def forward(m, ids):
        rows = torch.stack([table(ids[:, n]) for n, table in enumerate(m.tables)], 1)
        return torch.bmm(rows, rows.mT).flatten(1)

    return Net(forward, tables=[nn.Embedding(20, 8) for _ in range(4)])


@facts("A", X, {"f.weight": SURE, "g.weight": SURE})
def modulated_by_a_product_of_zeros():
    net = two(lambda m, x: m.f(x) * (1 + m.g(x)) + m.b)
    nn.init.zeros_(net.g.weight)
    net.b = full(0, 32)
    return net


# Several products in each sum: of the parts of an input with the parts of a number.


class Parts(nn.Module):
    """Quaternions with 4 parts, octonions with 8: each part of the result adds all products."""

    def __init__(self, count):
        super().__init__()
        self.parts = nn.ModuleList(lin(6, 5) for _ in range(count))

    def forward(self, x):
        count = len(self.parts)
        x, places = x.chunk(count, -1), range(count)
        sign = lambda i, j: -1 if i & j else 1  # noqa: E731
        return torch.cat(
            [sum(sign(i, j) * self.parts[i ^ j](x[j]) for j in places) for i in places], -1
        )


@gain("L", (64, 24))
def quaternions():
    return Parts(4)


@gain("L", (64, 48))
def octonions():
    return Parts(8)


@gain("L", (16, 8, 8, 8))
def complex_convolution_of_two_layers():
    def forward(m, x):
        a, b = x.chunk(2, 1)
        return torch.cat([m.re(a) - m.im(b), m.re(b) + m.im(a)], 1)

    return Net(forward, re=nn.Conv2d(4, 6, 3, bias=False), im=nn.Conv2d(4, 6, 3, bias=False))


# Fourier layers that write what they keep of a spectrum into zeros.


@gain("L", (16, 8, 8, 8))
def two_corners_of_a_spectrum():
    def forward(m, x):
        given, made = torch.fft.rfft2(x), torch.zeros(len(x), 8, 8, 5, dtype=torch.cfloat)
        low, high = slice(None, 3), slice(-3, None)
        for rows, w in ((low, m.low), (high, m.high)):
            made[:, :, rows, low] = torch.einsum("bixy,ioxy->boxy", given[:, :, rows, low], w)
        return torch.fft.irfft2(made, s=(8, 8))

    corner = lambda: nn.Parameter(torch.rand(8, 8, 3, 3, dtype=torch.cfloat) / 64)  # noqa: E731
    return Net(forward, low=corner(), high=corner())


@gain("L", (32, 8, 32))
def modes_beside_a_convolution():
    def forward(m, x):
        given = torch.fft.rfft(x)
        made = torch.zeros_like(given)
        made[:, :, :5] = torch.einsum("bix,iox->box", given[:, :, :5], m.w)
        return torch.fft.irfft(made, n=32) + m.c(x)

    w = nn.Parameter(torch.rand(8, 8, 5, dtype=torch.cfloat) / 64)
    return Net(forward, w=w, c=nn.Conv1d(8, 8, 1, bias=False))


# A factor that makes up for weights of N(0, 1), with the gain of an activation.


@gain("A", X)
def equalized_with_the_gain_of_tanh():
    return Net(lambda m, x: (x @ m.w) * (5 / 3 / 24**0.5), w=raw(24, 32, std=1))


@gain("A", (32, 12, 8, 8))
def equalized_by_the_size_of_its_own_draw():
    c = nn.Conv2d(12, 16, 3, bias=False)
    nn.init.kaiming_normal_(c.weight)
    scale = c.weight.detach().square().mean().sqrt().item()
    c.weight.data /= scale
    return Net(lambda m, x: m.c(x * scale), c=c)


# Signals that are squared or multiplied once they were added.


@gain("A", X, undecidable=True)
def mixed_by_a_share_that_is_learned():
    def forward(m, x):
        share = m.a.sigmoid()
        return share * m.f(x) + (1 - share) * m.g(x)

    net = two(forward)
    net.a = full(0, 32)
    return net


# Masks that leave more products to the same units, layer after layer.


class Ordered(nn.Module):
    """MADE: each output takes the inputs before it."""

    def __init__(self, *hidden, size=20):
        super().__init__()
        places = [torch.arange(size), *(torch.arange(n) % (size - 1) for n in hidden)]
        pairs = zip([*places[1:], places[0] - 1], places, strict=True)
        self.masks = [(after[:, None] >= before).float() for after, before in pairs]
        self.layers = nn.ModuleList(lin(*mask.shape[::-1]) for mask in self.masks)

    def forward(self, x):
        for layer, mask in zip(self.layers, self.masks, strict=True):
            x = fn.linear(x, layer.weight * mask)
        return x


@gain("A", (128, 20))
def ordered_inputs_in_two_layers():
    return Ordered(64)


@gain("A", (128, 20))
def ordered_inputs_in_four_layers():
    return Ordered(64, 48, 64)


@gain("A", X)
def random_masks_in_two_layers():
    def forward(m, x):
        return (x @ (m.v * m.f)) @ (m.w * m.g).T

    masks = {"f": (torch.rand(24, 48) < 0.3).float(), "g": (torch.rand(32, 48) < 0.3).float()}
    return Net(forward, v=raw(24, 48), w=raw(32, 48), **masks)


# Messages added to a product, and a mean that a loop makes in more calls than are followed.


@gain("A", [NODES, lambda: torch.randint(0, 20, (2, 50))], undecidable=True)
def messages_added_to_a_product():
    def forward(m, x, edges):
        return m.f(x).index_add(0, edges[1], m.g(x[edges[0]]))

    return Net(forward, f=lin(16, 24), g=lin(16, 24))


@gain("A", (16, 40, 8), undecidable=True)
def mean_that_a_long_loop_makes_of_its_input():
    def forward(m, x):
        share, mean, means = m.a.sigmoid(), torch.zeros(len(x), 8), []
        for step in x.unbind(1):
            mean = share * step + (1 - share) * mean
            means.append(mean)
        return m.f(torch.stack(means, 1))

    return Net(forward, a=full(0, 8), f=lin(8, 16))


# A mask takes its dtype and device from the signal.


@gain("A", X)
def mask_of_the_signals_type():
    mask = (torch.rand(32, 24) < 0.3).float()
    return Net(lambda m, x: fn.linear(x, m.w * m.mask.to(x)), w=raw(32, 24), mask=mask)


@gain("A", X)
def mask_by_type_as():
    mask = torch.rand(24, 32) < 0.3
    return Net(lambda m, x: x @ (m.mask.type_as(x) * m.w), w=raw(24, 32), mask=mask)


@gain("A", X)
def columns_in_the_shape_of_a_signal():
    return Net(lambda m, x: m.f(x * (1 + m.p.expand_as(x))), p=full(0, 24), f=lin(24, 16))


@gain("A", X, undecidable=True)
def triangle_of_the_signals_type():
    return Net(lambda m, x: x @ (m.w * torch.ones(24, 24).tril().to(x)), w=raw(24, 24))
