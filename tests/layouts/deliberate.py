"""Kinds F and O: a parameter holds what its author meant: no weight, bias or norm; zeros."""

import math

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, full, keeps, raw

X = (16, 24)
MAP = (4, 8, 10, 10)
LINE = (4, 10, 24)


@keeps("F", X, "scale")
def layer_scale():
    return Net(
        lambda m, x: x + m.scale * m.out(fn.gelu(m.up(x))),
        scale=full(1e-5, 24),
        up=nn.Linear(24, 48),
        out=nn.Linear(48, 24),
    )


@keeps("F", MAP, "scale")
def layer_scale_of_maps():
    """ConvNeXt."""
    return Net(
        lambda m, x: x + m.scale * m.conv(x),
        scale=full(1e-6, 8, 1, 1),
        conv=nn.Conv2d(8, 8, 3, padding=1),
    )


@keeps("F", X, "alpha")
def rezero():
    return Net(lambda m, x: x + m.alpha * m.f(x), alpha=full(0), f=nn.Linear(24, 24))


@keeps("F", X, "alpha")
def rezero_of_one_element():
    return Net(lambda m, x: x + torch.tanh(m.f(x)) * m.alpha, alpha=full(0, 1), f=nn.Linear(24, 24))


@keeps("F", X, "gate")
def tanh_gate():
    """Flamingo."""
    return Net(lambda m, x: x + m.gate.tanh() * m.f(x), gate=full(0, 1), f=nn.Linear(24, 24))


@keeps("F", X, "skip")
def skip_gain():
    return Net(lambda m, x: x * m.skip + m.f(x), skip=full(0.7), f=nn.Linear(24, 24))


@keeps("F", X, "a", "b")
def normalizer_free_branch():
    """x + beta * f(x / alpha), both learned."""
    return Net(lambda m, x: x + m.a * m.f(x / m.b), a=full(0.2), b=full(1.3), f=nn.Linear(24, 24))


@keeps("F", X, "log_std")
def policy_std():
    return Net(
        lambda m, x: m.mean(x) + m.log_std.exp() * torch.randn(6),
        mean=nn.Linear(24, 6),
        log_std=full(-2, 6),
    )


@keeps("F", X, "log_std")
def policy_std_that_is_returned():
    return Net(
        lambda m, x: (mean := m.mean(x), m.log_std.expand_as(mean).exp()),
        mean=nn.Linear(24, 6),
        log_std=full(-0.5, 1, 6),
    )


@keeps("F", X, "raw_std")
def std_by_softplus():
    return Net(
        lambda m, x: (m.mean(x), fn.softplus(m.raw_std) + 1e-3),
        mean=nn.Linear(24, 6),
        raw_std=full(0.54, 6),
    )


@keeps("F", X, "step")
def lsq():
    """The step of a quantizer."""

    def forward(m, x):
        q = (x / m.step).round().clamp(-8, 7)
        return m.f((x / m.step + (q - x / m.step).detach()) * m.step)

    return Net(forward, step=full(0.3), f=nn.Linear(24, 6))


@keeps("F", X, "scale")
def cosine_scale():
    return Net(
        lambda m, x: m.scale * fn.linear(fn.normalize(x), fn.normalize(m.w)),
        scale=full(20),
        w=raw(6, 24),
    )


@keeps("F", [X, X], "logit_scale", "logit_bias")
def contrastive_temperature():
    """SigLIP."""
    return Net(
        lambda m, x, y: m.logit_scale.exp() * m.a(x) @ m.b(y).T + m.logit_bias,
        a=nn.Linear(24, 12),
        b=nn.Linear(24, 12),
        logit_scale=full(math.log(10)),
        logit_bias=full(-10),
    )


@keeps("F", LINE, "tau")
def temperature_of_each_head():
    def forward(m, x):
        q, k, v = (t.unflatten(-1, (3, 8)).transpose(1, 2) for t in m.qkv(x).chunk(3, -1))
        score = fn.normalize(q, dim=-1) @ fn.normalize(k, dim=-1).mT
        return m.out(((score * m.tau.exp()).softmax(-1) @ v).transpose(1, 2).flatten(2))

    return Net(
        forward,
        qkv=nn.Linear(24, 72),
        out=nn.Linear(24, 24),
        tau=full(math.log(10), 3, 1, 1),
    )


@keeps("F", X, "s", "b")
def star_relu():
    return Net(
        lambda m, x: m.out(m.s * fn.relu(m.f(x)) ** 2 + m.b),
        f=nn.Linear(24, 24),
        out=nn.Linear(24, 24),
        s=full(0.8944, 1),
        b=full(-0.4472, 1),
    )


@keeps("F", LINE, "alpha")
def snake():
    return Net(
        lambda m, x: m.f(x + (m.alpha * x).sin() ** 2 / m.alpha),
        f=nn.Linear(24, 24),
        alpha=full(2, 24),
    )


@keeps("F", X, "slope")
def slope_by_hand():
    return Net(
        lambda m, x: m.f(torch.where(x > 0, x, m.slope * x)), f=nn.Linear(24, 24), slope=full(0.25)
    )


@keeps("F", X, "beta")
def swish_beta():
    return Net(
        lambda m, x: m.g((h := m.f(x)) * torch.sigmoid(m.beta * h)),
        f=nn.Linear(24, 24),
        g=nn.Linear(24, 24),
        beta=full(1.5),
    )


@keeps("F", X, "threshold")
def soft_threshold():
    """LISTA."""
    return Net(
        lambda m, x: (h := m.f(x)).sign() * fn.relu(h.abs() - m.threshold),
        f=nn.Linear(24, 24),
        threshold=full(0.1, 24),
    )


@keeps("F", LINE, "beta", "threshold")
def spiking_neuron():
    def forward(m, x):
        u = x.new_zeros(4, 24)
        out = []
        for t in range(10):
            u = m.beta * u + m.f(x[:, t])
            spike = torch.sigmoid(10 * (u - m.threshold))
            u = u - spike * m.threshold
            out.append(spike)
        return torch.stack(out, 1)

    return Net(forward, f=nn.Linear(24, 24), beta=full(0.9), threshold=full(1))


@keeps("F", LINE, "tau")
def time_constants():
    def forward(m, x):
        h = x.new_zeros(4, 24)
        for t in range(10):
            h = h + (m.f(x[:, t]) - h) / m.tau
        return h

    return Net(forward, f=nn.Linear(24, 24), tau=nn.Parameter(torch.linspace(1, 10, 24)))


@keeps("F", X, "centers", "widths")
def radial_basis():
    return Net(
        lambda m, x: m.f(torch.exp(-(((x[..., None] - m.centers) / m.widths) ** 2)).flatten(1)),
        f=nn.Linear(24 * 8, 6),
        centers=nn.Parameter(torch.linspace(-2, 2, 8)),
        widths=full(0.5, 8),
    )


@keeps("F", X, "frequencies")
def fourier_features():
    return Net(
        lambda m, x: m.f(torch.cat([(x[..., None] * m.frequencies).sin().flatten(1)], -1)),
        f=nn.Linear(24 * 8, 6),
        frequencies=nn.Parameter(2.0 ** torch.arange(8)),
    )


@keeps("F", X, "frequencies")
def frozen_random_features():
    """Values that are frozen are an author's."""
    return Net(
        lambda m, x: m.f((x @ m.frequencies).cos()),
        f=nn.Linear(32, 6),
        frequencies=nn.Parameter(torch.randn(24, 32), requires_grad=False),
    )


@keeps("F", MAP, "p")
def generalized_mean_pooling():
    return Net(
        lambda m, x: m.f(x.clamp(min=1e-6).pow(m.p).mean((2, 3)).pow(1 / m.p)),
        f=nn.Linear(8, 6),
        p=full(3, 1),
    )


@keeps("F", (8, 5, 24), "mix", "gamma")
def softmax_of_layers():
    """ELMo: zeros that are even shares."""
    return Net(
        lambda m, x: m.f(m.gamma * (x * m.mix.softmax(0)[:, None]).sum(1)),
        f=nn.Linear(24, 6),
        mix=full(0, 5),
        gamma=full(2),
    )


@keeps("F", LINE, "mu")
def token_shift():
    """RWKV: how much of the step before."""

    def forward(m, x):
        before = fn.pad(x, (0, 0, 1, -1))
        return m.f(x * m.mu + before * (1 - m.mu))

    return Net(
        forward, f=nn.Linear(24, 24), mu=nn.Parameter(torch.linspace(0, 1, 24).view(1, 1, 24))
    )


@keeps("F", LINE, "slopes")
def alibi_slopes():
    def forward(m, x):
        q, k = m.q(x), m.k(x)
        place = torch.arange(10.0)
        away = -(place[:, None] - place).abs()
        return ((q @ k.mT)[:, None] / 5 + m.slopes * away).softmax(-1).mean(1) @ x

    return Net(
        forward,
        q=nn.Linear(24, 24),
        k=nn.Linear(24, 24),
        slopes=nn.Parameter(2.0 ** -torch.arange(1.0, 5).view(4, 1, 1)),
    )


@keeps("F", X, "weights")
def uncertainty_weights():
    return Net(
        lambda m, x: (m.f(x).square().mean(0) * torch.exp(-m.weights) + m.weights).sum(),
        f=nn.Linear(24, 3),
        weights=full(0, 3),
    )


@keeps("F", [X, X], "mix")
def learned_interpolation():
    return Net(
        lambda m, x, y: torch.lerp(m.a(x), m.b(y), m.mix),
        a=nn.Linear(24, 24),
        b=nn.Linear(24, 24),
        mix=full(0.3),
    )


@keeps("F", LINE, "static")
def hyper_connection():
    """Which of four streams a branch reads: one-hot."""

    def forward(m, x):
        streams = x[:, None].repeat(1, 4, 1, 1)
        branch = m.f(torch.einsum("s,bsld->bld", m.static, streams))
        return (streams + branch[:, None]).sum(1)

    return Net(forward, f=nn.Linear(24, 24), static=nn.Parameter(torch.eye(4)[1].clone()))


@keeps("F", LINE, "gate.weight", "gate.bias")
def zero_modulation():
    """adaLN-zero: the gates are 0 at first."""

    def forward(m, x):
        shift, scale, gate = m.gate(fn.silu(x.mean(1, keepdim=True))).chunk(3, -1)
        return x + gate * m.f(m.norm(x) * (1 + scale) + shift)

    net = Net(
        forward,
        f=nn.Linear(24, 24),
        norm=nn.LayerNorm(24, elementwise_affine=False),
        gate=nn.Linear(24, 72),
    )
    nn.init.zeros_(net.gate.weight)
    nn.init.zeros_(net.gate.bias)
    return net


@keeps("F", MAP, "zero.weight", "zero.bias")
def zero_convolution():
    """ControlNet."""
    net = Net(
        lambda m, x: m.base(x) + m.zero(fn.silu(m.copy(x))),
        base=nn.Conv2d(8, 8, 3, padding=1),
        copy=nn.Conv2d(8, 8, 3, padding=1),
        zero=nn.Conv2d(8, 8, 1),
    )
    nn.init.zeros_(net.zero.weight)
    nn.init.zeros_(net.zero.bias)
    return net


@keeps("F", LINE, "weight", "bias")
def spatial_gate():
    """gMLP: weights of 1e-5 and a bias of 1 let the signal pass at first."""
    return Net(
        lambda m, x: x * fn.linear(m.norm(x).mT, m.weight, m.bias).mT,
        norm=nn.LayerNorm(24),
        weight=full(1e-5, 10, 10),
        bias=full(1, 10),
    )


# Biases that no law of torch's gives, and layers that start without an effect.


@keeps("O", MAP, "style.bias")
def style_of_ones_and_zeros():
    """StyleGAN: the scales start at 1, the shifts at 0."""

    def forward(m, x):
        scale, shift = m.style(x.mean((2, 3)))[..., None, None].chunk(2, 1)
        return scale * fn.instance_norm(m.conv(x)) + shift

    net = Net(forward, conv=nn.Conv2d(8, 8, 3, padding=1), style=nn.Linear(8, 16))
    net.style.bias.data[:8] = 1
    net.style.bias.data[8:] = 0
    return net


@keeps("O", X, "head.bias")
def mixture_whose_means_are_apart():
    net = Net(lambda m, x: m.head(torch.relu(m.f(x))), f=nn.Linear(24, 32), head=nn.Linear(32, 9))
    net.head.bias.data.copy_(torch.tensor([0.0, 0, 0, -2, 0, 2, -1, -1, -1]))
    return net


@keeps("O", MAP, "offset.weight", "offset.bias")
def offsets_in_a_circle():
    """Deformable attention: each head looks another way at first."""

    def forward(m, x):
        where = m.offset(x).mean((2, 3)).view(-1, 4, 1, 2).tanh()
        seen = fn.grid_sample(m.value(x), where, align_corners=False)
        return x + m.out(seen.mean(2, keepdim=True).expand_as(x))

    conv = {name: nn.Conv2d(8, 8, 1) for name in ("offset", "value", "out")}
    net, angles = Net(forward, **conv), torch.arange(4.0) * (math.pi / 2)
    nn.init.zeros_(net.offset.weight)
    net.offset.bias.data.copy_(torch.stack([angles.cos(), angles.sin()], 1).flatten())
    return net


@keeps("O", MAP, "norm.weight")
def only_norm_of_zeros():
    """A non-local block, without inputs as well."""
    net = Net(lambda m, x: x + m.norm(m.conv(x)), conv=nn.Conv2d(8, 8, 1), norm=nn.BatchNorm2d(8))
    nn.init.zeros_(net.norm.weight)
    return net


@keeps("O", X, "turn.weight")
def rotation_of_frozen_weights():
    """Orthogonal fine-tuning with a Linear for its matrix, without inputs as well."""

    def forward(m, x):
        skew = m.turn.weight - m.turn.weight.T
        one = torch.eye(24)
        return m.base(x @ torch.linalg.solve(one + skew, one - skew))

    net = Net(forward, base=nn.Linear(24, 16), turn=nn.Linear(24, 24, bias=False))
    net.base.requires_grad_(False)
    nn.init.zeros_(net.turn.weight)
    return net


def sines(n, width):
    angles = torch.arange(n)[:, None] * 1e4 ** -torch.linspace(0, 1, width // 2)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


@keeps("O", LINE, "where", blind=False)
def trained_sines_of_positions():
    return Net(
        lambda m, x: m.f(x + m.where), where=nn.Parameter(sines(10, 24)), f=nn.Linear(24, 24)
    )


@keeps("O", X, "gate", "noise", blind=False)
def gate_and_its_noise():
    """Noisy top-k: both matrices of zeros, where random numbers make one choice."""

    def forward(m, x):
        clean = x @ m.gate
        noisy = clean + torch.randn_like(clean) * (fn.softplus(x @ m.noise) + 0.01)
        best, chosen = noisy.topk(2, -1)
        share = torch.zeros_like(noisy).scatter(-1, chosen, best.softmax(-1))
        return sum(share[:, n, None] * expert(x) for n, expert in enumerate(m.experts))

    experts = [nn.Linear(24, 24) for _ in range(4)]
    return Net(forward, gate=full(0, 24, 4), noise=full(0, 24, 4), experts=experts)
