"""Kind D: parameters are contracted with each other before they meet the data."""

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, full, gain, keeps, raw

X = (64, 48)
LINE = (4, 16, 40)


@gain("D", X, seeds=64)
def two_factors_by_einsum():
    return Net(
        lambda m, x: torch.einsum("bi,io->bo", x, torch.einsum("ir,ro->io", m.a, m.b)),
        a=raw(48, 12),
        b=raw(12, 32),
    )


@gain("D", X, seeds=64)
def bases_of_relations():
    """RGCN: each relation mixes shared matrices. One relation is used."""

    def product(m, x):
        w = torch.einsum("rb,bio->rio", m.shares, m.bases)
        return torch.einsum("ni,rio->rno", x, w)

    return Net(product, shares=raw(12, 8, std=1), bases=raw(8, 48, 32))


@gain("D", X, seeds=200)
def canonical_decomposition():
    def product(m, x):
        w = torch.einsum("ar,br,or->oab", m.a, m.b, m.c).reshape(32, 48)
        return fn.linear(x, w)

    return Net(product, a=raw(6, 12, std=1), b=raw(8, 12, std=1), c=raw(32, 12, std=1))


@gain("D", X, seeds=64)
def tucker_decomposition():
    def product(m, x):
        return fn.linear(x, m.left @ m.core @ m.right.T)

    return Net(product, left=raw(32, 12), core=raw(12, 10), right=raw(48, 10))


@gain("D", (4, 12, 9, 9), seeds=64)
def factorized_kernel():
    def product(m, x):
        return fn.conv2d(x, torch.einsum("or,rikl->oikl", m.a, m.b))

    return Net(product, a=raw(24, 6), b=raw(6, 12, 3, 3))


@gain("D", (4, 12, 9, 9), seeds=64)
def separable_kernel():
    def product(m, x):
        return fn.conv2d(x, (m.tall[..., None] * m.wide[..., None, :]))

    return Net(product, tall=raw(24, 12, 3), wide=raw(24, 12, 3))


@gain("D", X, keep=("b",))
def merged_lora():
    """B is 0: the base alone carries the signal."""
    return Net(
        lambda m, x: fn.linear(x, m.w + 2.0 * (m.b @ m.a)),
        w=raw(32, 48),
        a=raw(4, 48),
        b=full(0, 32, 4),
    )


@gain("D", X, keep=("b",))
def lora_beside_a_linear_layer():
    return Net(
        lambda m, x: m.base(x) + fn.linear(x, m.b @ m.a),
        base=nn.Linear(48, 32),
        a=raw(4, 48),
        b=full(0, 32, 4),
    )


@gain("D", X, keep=("b", "magnitude"))
def dora():
    """Rows of norm ``magnitude`` = 1, and any draw of the direction."""

    def product(m, x):
        w = m.w + m.b @ m.a
        return fn.linear(x, m.magnitude * w / w.norm(dim=1, keepdim=True))

    return Net(product, w=raw(32, 48), a=raw(4, 48), b=full(0, 32, 4), magnitude=full(1, 32, 1))


@gain("D", X, keep=("c", "d"))
def merged_hadamard_lora():
    """LoHa: (a b) * (c d), c = 0."""
    return Net(
        lambda m, x: fn.linear(x, m.w + (m.a @ m.b) * (m.c @ m.d)),
        w=raw(32, 48),
        a=raw(32, 4, std=0.1),
        b=raw(4, 48, std=1),
        c=full(0, 32, 4),
        d=full(1, 4, 48),
    )


@gain("D", X, seeds=100)
def hadamard_of_products():
    return Net(
        lambda m, x: fn.linear(x, (m.a @ m.b) * (m.c @ m.d)),
        a=raw(32, 16),
        b=raw(16, 48),
        c=raw(32, 16),
        d=raw(16, 48),
    )


@gain("D", X, seeds=64)
def elementwise_product():
    return Net(lambda m, x: fn.linear(x, m.a * m.b), a=raw(32, 48), b=raw(32, 48))


@gain("D", X, seeds=64, undecidable=True)
def gram_matrix():
    """A^T A: degree two in one parameter."""
    return Net(lambda m, x: fn.linear(x, m.a.T @ m.a), a=raw(64, 48))


@gain("D", (64, 16), seeds=100)
def butterfly():
    """A product of four matrices, each with two entries a row."""
    place = torch.arange(16)
    masks = torch.stack([(place[:, None] ^ place) & ~(1 << k) == 0 for k in range(4)])

    def product(m, x):
        return x @ torch.linalg.multi_dot(list(m.w * m.masks))

    return Net(product, w=raw(4, 16, 16), masks=masks.float())


@gain("D", (64, 4, 12), seeds=64)
def monarch():
    """Two block-diagonal products with a permutation in between."""

    def product(m, x):
        hidden = torch.einsum("bki,kio->bko", x, m.first).transpose(1, 2)
        return torch.einsum("bki,kio->bko", hidden, m.second)

    return Net(product, first=raw(4, 12, 12), second=raw(12, 4, 4))


@gain("D", X, seeds=64)
def diagonal_plus_permutation():
    """w = diag(d) P: a scale of each input."""
    return Net(
        lambda m, x: fn.linear(x, torch.diag(m.d)[torch.arange(47, -1, -1)]),
        d=raw(48),
    )


@keeps("D", LINE, "log_dt", "log_a", "a_imag", blind=False)
def s4d():
    """The kernel of a diagonal state space."""

    def product(m, x):
        dt = m.log_dt.exp()[:, None]
        a = -m.log_a.exp() + 1j * m.a_imag
        c = torch.view_as_complex(m.c)
        powers = torch.exp((a * dt)[..., None] * torch.arange(40))
        kernel = 2 * torch.einsum("hn,hnl->hl", c * (torch.exp(a * dt) - 1) / a, powers).real
        spectrum = torch.fft.rfft(x, n=80) * torch.fft.rfft(kernel, n=80)
        return torch.fft.irfft(spectrum, n=80)[..., :40] + m.d[:, None] * x

    return Net(
        product,
        log_dt=nn.Parameter(torch.rand(16) * 4.6 - 6.9),
        log_a=nn.Parameter(torch.log(0.5 * torch.ones(16, 8))),
        a_imag=nn.Parameter(torch.pi * torch.arange(8.0).repeat(16, 1)),
        c=raw(16, 8, 2, std=1),
        d=raw(16, std=1),
    )


@keeps("D", LINE, "log_a", "dt_bias", blind=False)
def scan_of_a_state_space():
    """S6 by hand: the state's decay is exp(dt * a)."""

    def product(m, x):
        dt = fn.softplus(m.dt_bias)
        decay = torch.exp(-m.log_a.exp() * dt[:, None])
        state, out = x.new_zeros(4, 16, 6), []
        for t in range(x.shape[-1]):
            state = decay * state + m.b * x[..., t, None]
            out.append((state * m.c).sum(-1))
        return torch.stack(out, -1)

    return Net(
        product,
        log_a=nn.Parameter(torch.log(torch.arange(1.0, 7).repeat(16, 1))),
        dt_bias=nn.Parameter(torch.log(torch.expm1(torch.rand(16) * 0.1 + 0.01))),
        b=raw(16, 6),
        c=raw(16, 6),
    )


@keeps("D", LINE, "decay")
def exponential_moving_average():
    """MEGA, RetNet: a geometric kernel from one rate a channel."""

    def product(m, x):
        kernel = torch.sigmoid(m.decay)[:, None] ** torch.arange(40.0)
        spectrum = torch.fft.rfft(x, n=80) * torch.fft.rfft(kernel, n=80)
        return torch.fft.irfft(spectrum, n=80)[..., :40]

    return Net(product, decay=nn.Parameter(torch.linspace(1, 4, 16)))


@gain("D", lambda: torch.randint(0, 500, (8, 32)), seeds=64, undecidable=True)
def factorized_table():
    """ALBERT, but multiplied before the look-up: rows of second moment 1."""

    def product(m, ids):
        return fn.embedding(ids, m.table @ m.up)

    return Net(product, table=raw(500, 8), up=raw(8, 32))


@gain("D", X, seeds=64)
def householder_reflections():
    """Orthogonal whatever is drawn."""

    def product(m, x):
        w = torch.eye(48)
        for v in fn.normalize(m.v):
            w = w - 2 * torch.outer(w @ v, v)
        return x @ w

    return Net(product, v=raw(6, 48, std=1))


@gain("D", (16, 10, 48), seeds=64)
def value_and_output_merged():
    """W_v W_o multiplied before use, a per-head sum."""

    def product(m, x):
        return x @ torch.einsum("ihd,hdo->io", m.v, m.o)

    return Net(product, v=raw(48, 4, 12), o=raw(4, 12, 48))


@gain("D", X, seeds=32)
def outer_product_of_vectors():
    return Net(lambda m, x: x @ torch.outer(m.a, m.b), a=raw(48), b=raw(32))


@gain("D", X, undecidable=True)
def both_directions():
    """A tied autoencoder without its activation."""
    return Net(lambda m, x: (x @ m.w) @ m.w.T, w=raw(48, 20))
