"""Kinds O and P: zeros, constants and patterns that carry a meaning, and norms of unit offset."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, full, keeps, raw

X = (16, 24)
LINE = (4, 10, 24)
MAP = (4, 8, 10, 10)


def zeroed(layer):
    """Weight and bias 0."""
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


@keeps("O", X, "b.weight")
def adapter_of_two_layers():
    return Net(
        lambda m, x: m.base(x) + m.b(m.a(x)),
        base=nn.Linear(24, 24),
        a=nn.Linear(24, 4, bias=False),
        b=zeroed(nn.Linear(4, 24, bias=False)),
    )


@keeps("O", X, "b")
def adapter_of_raw_matrices():
    return Net(
        lambda m, x: m.base(x) + (x @ m.a) @ m.b,
        base=nn.Linear(24, 24),
        a=raw(24, 4, std=0.2),
        b=full(0, 4, 24),
    )


@keeps("O", X, "up.weight")
def bottleneck_adapter():
    """Houlsby: x + up(act(down(x)))."""
    return Net(
        lambda m, x: (h := m.base(x)) + m.up(fn.gelu(m.down(h))),
        base=nn.Linear(24, 24),
        down=nn.Linear(24, 6),
        up=zeroed(nn.Linear(6, 24)),
    )


@keeps("O", X, "scale")
def activations_rescaled():
    """IA3: a vector of ones."""
    return Net(
        lambda m, x: m.b(m.scale * fn.relu(m.a(x))),
        a=nn.Linear(24, 48),
        b=nn.Linear(48, 24),
        scale=full(1, 48),
    )


@keeps("O", X, "d", "b")
def two_vectors():
    """VeRA: frozen noise, and a vector of zeros."""
    return Net(
        lambda m, x: m.base(x) + m.b * fn.linear(m.d * fn.linear(x, m.down), m.up),
        base=nn.Linear(24, 24),
        down=nn.Parameter(torch.randn(4, 24), requires_grad=False),
        up=nn.Parameter(torch.randn(24, 4), requires_grad=False),
        d=full(0.1, 4),
        b=full(0, 24),
    )


@keeps("O", X, "rotation")
def rotation_of_nothing():
    """OFT: (I - Q)(I + Q)^-1 with Q = 0."""

    def forward(m, x):
        q = m.rotation - m.rotation.mT
        eye = torch.eye(24)
        return m.base(x) @ torch.linalg.solve(eye + q, eye - q)

    return Net(forward, base=nn.Linear(24, 24), rotation=full(0, 24, 24))


@keeps("O", X, "head.weight")
def head_of_zeros():
    return Net(
        lambda m, x: m.head(fn.relu(m.a(x))), a=nn.Linear(24, 24), head=zeroed(nn.Linear(24, 5))
    )


@keeps("O", X, "last.weight")
def coupling_of_zeros():
    """A flow is the identity at first."""

    def forward(m, x):
        a, b = x.chunk(2, -1)
        shift, scale = m.last(fn.relu(m.first(a))).chunk(2, -1)
        return torch.cat([a, b * scale.exp() + shift], -1)

    return Net(forward, first=nn.Linear(12, 32), last=zeroed(nn.Linear(32, 24)))


@keeps("O", X, "lower", "upper")
def triangular_factors_of_zeros():
    """An invertible linear layer that is the identity at first."""

    def forward(m, x):
        rows, columns = torch.tril_indices(24, 24, -1)
        lower, upper = torch.eye(24), torch.eye(24)
        lower[rows, columns] = m.lower
        upper[columns, rows] = m.upper
        return x @ (lower @ upper)

    return Net(forward, lower=full(0, 276), upper=full(0, 276))


@keeps("O", X, "lower")
def triangular_factor_in_new_zeros():
    """Its diagonal is written as ones."""

    def forward(m, x):
        lower = m.lower.new_zeros(24, 24)
        rows, columns = torch.tril_indices(24, 24, -1)
        lower[rows, columns] = m.lower
        lower[range(24), range(24)] = 1.0
        return m.a(x @ lower)

    return Net(forward, lower=full(0, 276), a=nn.Linear(24, 4))


@keeps("O", MAP, "up.weight")
def bilinear_upsampling():
    """FCN's transposed convolution, which trains."""
    net = Net(
        lambda m, x: m.up(m.a(x)),
        a=nn.Conv2d(8, 8, 3),
        up=nn.ConvTranspose2d(8, 8, 4, stride=2, bias=False),
    )
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        net.up.weight.copy_(torch.eye(8)[..., None, None] * (row[:, None] * row))
    return net


@keeps("O", X, "scale.weight")
def norm_of_small_rows():
    """Queries of length 1."""
    net = Net(lambda m, x: m.o(m.scale(m.a(x))), a=nn.Linear(24, 24), o=nn.Linear(24, 4))
    net.scale = SmallNorm()
    return net


class SmallNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((24,), 24**-0.5))

    def forward(self, x):
        return fn.normalize(x, dim=-1) * 24**0.5 * self.weight


@keeps("O", X, "w")
def identity_matrix():
    return Net(
        lambda m, x: fn.relu(m.a(x)) @ m.w, a=nn.Linear(24, 24), w=nn.Parameter(torch.eye(24))
    )


@keeps("O", MAP, "mix.weight")
def identity_convolution():
    net = Net(
        lambda m, x: m.b(m.mix(m.a(x))),
        a=nn.Conv2d(8, 8, 3),
        mix=nn.Conv2d(8, 8, 1, bias=False),
        b=nn.Conv2d(8, 8, 3),
    )
    nn.init.dirac_(net.mix.weight)
    return net


@keeps("O", MAP, "blur")
def blur_kernel():
    """A depthwise kernel that is frozen."""
    kernel = torch.tensor([1.0, 2.0, 1.0])
    kernel = (kernel[:, None] * kernel / 16).expand(8, 1, 3, 3)
    return Net(
        lambda m, x: m.b(fn.conv2d(m.a(x), m.blur, groups=8)),
        a=nn.Conv2d(8, 8, 3),
        b=nn.Conv2d(8, 8, 3),
        blur=nn.Parameter(kernel.clone(), requires_grad=False),
    )


@keeps("O", LINE, "mask")
def connectivity():
    """Frozen ones and zeros."""
    return Net(
        lambda m, x: torch.tanh(fn.linear(x, m.w * m.mask)),
        w=raw(24, 24),
        mask=nn.Parameter((torch.rand(24, 24) < 0.3).float(), requires_grad=False),
    )


@keeps("O", LINE, "reversal")
def reversal_potentials():
    """Frozen signs, as in a liquid network."""

    def forward(m, x):
        gate = torch.sigmoid(x[..., None] - m.mu)
        return (m.w * gate * m.reversal).sum(-2)

    return Net(
        forward,
        mu=nn.Parameter(torch.rand(24, 12)),
        w=nn.Parameter(torch.rand(24, 12)),
        reversal=nn.Parameter(torch.randint(0, 2, (24, 12)) * 2.0 - 1, requires_grad=False),
    )


@keeps("O", X, "grid")
def spline_grid():
    """KAN: knots."""

    def forward(m, x):
        basis = fn.relu(1 - (x[..., None] - m.grid).abs() / 0.5)
        return torch.einsum("bik,iko->bo", basis, m.w)

    return Net(
        forward,
        w=raw(24, 8, 5, std=0.1),
        grid=nn.Parameter(torch.linspace(-2, 2, 8).repeat(24, 1), requires_grad=False),
    )


@keeps("O", LINE, "tokens.norm.weight", blind=False)
def norm_of_latents():
    """A norm that is applied to parameters alone."""
    tokens = Net(None, norm=nn.LayerNorm(24))
    return Net(
        lambda m, x: m.q(m.tokens.norm(m.latents)) @ m.k(x).mT,
        latents=raw(5, 24, std=1),
        tokens=tokens,
        q=nn.Linear(24, 24),
        k=nn.Linear(24, 24),
    )


@keeps("O", LINE, "gate.weight", "gate.bias")
def gates_of_two_heads():
    """Weight 0, biases 3 and 6: each head forgets at its own rate, whatever comes."""
    net = Net(
        lambda m, x: m.o((m.v(x).unflatten(-1, (2, 12)) * torch.sigmoid(m.gate(x))[..., None])
                         .flatten(-2)),
        v=nn.Linear(24, 24),
        o=nn.Linear(24, 4),
        gate=zeroed(nn.Linear(24, 2)),
    )  # fmt: skip
    with torch.no_grad():
        net.gate.bias.copy_(torch.tensor([3.0, 6.0]))
    return net


@keeps("O", LINE, "gate.weight", "gate.bias")
def gate_of_zeros():
    """Weight 0, bias 1: the gate is open at first, whatever comes."""
    net = Net(
        lambda m, x: m.o(m.v(x) * torch.sigmoid(m.gate(x))),
        v=nn.Linear(24, 24),
        o=nn.Linear(24, 24),
        gate=zeroed(nn.Linear(24, 24)),
    )
    nn.init.constant_(net.gate.bias, 10)
    return net


@keeps("O", LINE, "dynamic", "scale", "static")
def dynamic_mixture():
    """A learned mixture that is static at first."""

    def forward(m, x):
        streams = x[:, :, None].expand(-1, -1, 4, -1)
        share = m.static + m.scale * torch.tanh(fn.layer_norm(streams, (24,)) @ m.dynamic)
        branch = m.f(torch.einsum("btsd,bts->btd", streams, share))
        return (streams + branch[:, :, None]).sum(2)

    return Net(
        forward,
        f=nn.Linear(24, 24),
        static=nn.Parameter(torch.eye(4)[2].clone()),
        dynamic=full(0, 24),
        scale=full(0.01),
    )


# P: gamma 0, and 1 is added.


def offset(function, *names, x=LINE, **parts):
    def make():
        return Net(
            lambda m, h: h + m.b(fn.gelu(m.a(function(m, h)))),
            a=nn.Linear(24, 48),
            b=nn.Linear(48, 24),
            **{name: part() for name, part in parts.items()},
        )

    make.__name__ = function.__name__
    keeps("P", x, *names)(make)


class RMSNorm(nn.Module):
    """As in x-transformers and Gemma."""

    def __init__(self, value=0.0):
        super().__init__()
        self.gamma = full(value, 24)

    def forward(self, x):
        return fn.normalize(x, dim=-1) * 24**0.5 * (self.gamma + 1)


class UnitNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.gamma = nn.LayerNorm(24, elementwise_affine=False), full(0, 24)

    def forward(self, x):
        return self.norm(x) * (1 + self.gamma)


class OneNorm(nn.Module):
    """No offset: ones."""

    def __init__(self):
        super().__init__()
        self.g = full(1, 24)

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.g


def rms_of_unit_offset(m, x):
    return m.norm(x)


def layer_norm_of_unit_offset(m, x):
    return m.norm(x)


def plain_norm_module(m, x):
    return m.norm(x)


def raw_unit_offset(m, x):
    return fn.layer_norm(x, (24,)) * (m.g + 1)


def offset_and_bias(m, x):
    return fn.layer_norm(x, (24,)) * (m.g + 1) + m.beta


def offset_by_addcmul(m, x):
    y = fn.rms_norm(x, (24,))
    return torch.addcmul(y, y, m.g)


def scalar_offset(m, x):
    return fn.normalize(x, dim=-1) * 24**0.5 * (1 + m.g)


def exponential_gain(m, x):
    return fn.layer_norm(x, (24,)) * m.g.exp()


offset(rms_of_unit_offset, "norm.gamma", norm=RMSNorm)
offset(layer_norm_of_unit_offset, "norm.gamma", norm=UnitNorm)
offset(plain_norm_module, "norm.g", norm=OneNorm)
offset(raw_unit_offset, "g", g=lambda: full(0, 24))
offset(offset_and_bias, "g", "beta", g=lambda: full(0, 24), beta=lambda: full(0, 24))
offset(offset_by_addcmul, "g", g=lambda: full(0, 24))
offset(scalar_offset, "g", g=lambda: full(0))
offset(exponential_gain, "g", g=lambda: full(0, 24))
