"""Thirty networks that were labeled before the rules on dead and identical networks were written.

``UNSEEN`` maps a name to a function that builds the model and its inputs. ``ILL`` says which of
them can't learn what they should, and why; the others are as their authors draw them. No rule was
changed after these were first judged: ``test_unseen.py`` pins what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from tests.signal.made import Calls, zeroed
from torch import Tensor, nn

F = nn.functional
Built = tuple[nn.Module, Any]
UNSEEN: dict[str, Callable[[], Built]] = {}

ILL = {
    "constant_mlp": "all weights hold one number: the units of a layer are one unit",
    "constant_cnn": "all kernels hold one number, behind batch norms",
    "constant_gru": "the units of a recurrent layer are one unit",
    "silent_spikes": "no neuron reaches its threshold: the output is 0 for all inputs",
    "shut_policy": "a saturated hardtanh ends it: every action is 1",
    "below_threshold": "nn.Threshold ends it, and nothing exceeds it",
    "generated_kernels": "kernels made for each sample multiply the signal by 30 a layer",
    "frozen_reservoir": "weights are buffers, and multiply the signal by 25 a layer",
    "product_by_hand": "products and sums by hand multiply the signal by 16 a layer",
    "factorized": "weights are products of two small factors: the signal vanishes",
    "zero_trunk": "all weights are 0, and tanh(0) = 0: only the last bias learns",
    "zero_branches": "both weights of each residual branch are 0: the branches never learn",
    "one_word": "all rows of the table are one row: the output is the same for all words",
}


def unseen(build: Callable[[], Built]) -> Callable[[], Built]:
    UNSEEN[build.__name__] = build
    return build


def filled(net: nn.Module, value: float) -> nn.Module:
    """Fill all weights with one number, and all biases with 0."""
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(value if p.dim() > 1 else 0.0)
    return net


# Healthy ones.


def waves(t: Tensor, width: int) -> Tensor:
    freqs = torch.exp(-math.log(10_000) * torch.arange(width // 2) / (width // 2))
    angles = t[:, None].float() * freqs[None]
    return torch.cat([angles.cos(), angles.sin()], -1)


class DiTBlock(nn.Module):
    def __init__(self, d: int) -> None:
        super().__init__()
        self.n1, self.n2 = (nn.LayerNorm(d, elementwise_affine=False) for _ in range(2))
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.ada = zeroed(nn.Linear(d, 6 * d))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        s1, b1, g1, s2, b2, g2 = self.ada(F.silu(c))[:, None].chunk(6, -1)
        q, k, v = self.qkv(self.n1(x) * (1 + s1) + b1).chunk(3, -1)
        x = x + g1 * self.proj(F.scaled_dot_product_attention(q, k, v))
        h = F.gelu(self.up(self.n2(x) * (1 + s2) + b2))
        return x + g2 * self.down(h)


@unseen
def diffusion_transformer() -> Built:
    """Peebles & Xie (2023): adaLN-Zero, a final layer of zeros, raw time steps up to 1,000."""

    def run(self: Any, x: Tensor, t: Tensor) -> Tensor:
        c = self.time(waves(t, 32))
        x = self.embed(x)
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.ada(F.silu(c))[:, None].chunk(2, -1)
        return self.last(self.norm(x) * (1 + scale) + shift)

    net = Calls(
        run,
        time=nn.Sequential(nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 32)),
        embed=nn.Linear(12, 32),
        blocks=nn.ModuleList(DiTBlock(32) for _ in range(3)),
        ada=zeroed(nn.Linear(32, 64)),
        norm=nn.LayerNorm(32, elementwise_affine=False),
        last=zeroed(nn.Linear(32, 12)),
    )
    return net, (torch.randn(8, 10, 12), torch.randint(0, 1000, (8,)))


@unseen
def control_branch() -> Built:
    """Zhang et al. (2023): a copy of the encoder, tied to the frozen net by zero convolutions."""

    def run(self: Any, x: Tensor, hint: Tensor) -> Tensor:
        h, side, skips = self.stem(x), self.stem2(x) + self.hint(hint), []
        for down, copy, zero in zip(self.downs, self.copies, self.zeros, strict=True):
            h, side = down(h), copy(side)
            skips.append(h + zero(side))
        for up in self.ups:
            h = up(torch.cat([h, skips.pop()], 1))
        return self.head(h)

    def block(i: int, o: int) -> nn.Module:
        return nn.Sequential(nn.GroupNorm(4, i), nn.SiLU(), nn.Conv2d(i, o, 3, padding=1))

    net = Calls(
        run,
        stem=nn.Conv2d(4, 16, 3, padding=1), stem2=nn.Conv2d(4, 16, 3, padding=1),
        hint=nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(),
                           zeroed(nn.Conv2d(8, 16, 3, padding=1))),
        downs=nn.ModuleList(block(16, 16) for _ in range(3)),
        copies=nn.ModuleList(block(16, 16) for _ in range(3)),
        zeros=nn.ModuleList(zeroed(nn.Conv2d(16, 16, 1)) for _ in range(3)),
        ups=nn.ModuleList(block(32, 16) for _ in range(3)),
        head=nn.Conv2d(16, 4, 3, padding=1),
    )  # fmt: skip
    return net, (torch.randn(4, 4, 8, 8), torch.rand(4, 3, 8, 8))


@unseen
def latent_array() -> Built:
    """Jaegle et al. (2021): learned latents of N(0, .02^2) read the inputs by cross-attention."""

    def run(self: Any, x: Tensor) -> Tensor:
        z = self.latents.expand(len(x), -1, -1)
        x = self.norm(self.embed(x))
        z = z + self.cross(self.n1(z), x, x, need_weights=False)[0]
        z = z + self.feed(self.n2(z))
        return self.head(z.mean(1))

    net = Calls(
        run,
        latents=nn.Parameter(0.02 * torch.randn(1, 6, 32)),
        embed=nn.Linear(5, 32), norm=nn.LayerNorm(32), n1=nn.LayerNorm(32), n2=nn.LayerNorm(32),
        cross=nn.MultiheadAttention(32, 4, batch_first=True),
        feed=nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)),
        head=nn.Linear(32, 10),
    )  # fmt: skip
    return net, (torch.randn(8, 20, 5),)


@unseen
def derivative_inside() -> Built:
    """A physics-informed net that returns u and its directional derivative by forward mode."""

    def run(self: Any, x: Tensor) -> Tensor:
        u, du = torch.func.jvp(self.body, (x,), (torch.ones_like(x),))
        return torch.cat([u, du], -1)

    body = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(),
                         nn.Linear(32, 1))  # fmt: skip
    for layer in body[::2]:
        nn.init.xavier_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return Calls(run, body=body), (torch.rand(64, 2) * 2 - 1,)


@unseen
def graph_convolutions() -> Built:
    """Kipf & Welling (2017): products with a sparse, normalized adjacency matrix."""

    def run(self: Any, x: Tensor) -> Tensor:
        h = F.relu(torch.sparse.mm(self.adjacency, self.first(x)))
        return torch.sparse.mm(self.adjacency, self.second(h))

    near = (torch.rand(40, 40) < 0.1) | torch.eye(40, dtype=torch.bool)
    near = (near | near.T).float()
    degree = near.sum(1).rsqrt()
    net = Calls(
        run,
        adjacency=(degree[:, None] * near * degree).to_sparse(),
        first=nn.Linear(16, 32), second=nn.Linear(32, 7),
    )  # fmt: skip
    for layer in (net.first, net.second):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return net, (torch.randn(40, 16),)


@unseen
def inverse_distances() -> Built:
    """Messages weighted by 1/distance, whose diagonal is infinite and masked in the next line."""

    def run(self: Any, points: Tensor) -> Tensor:
        gap = (points[:, :, None] - points[:, None]).square().sum(-1)
        own = torch.eye(points.shape[1], dtype=torch.bool)
        near = (1 / gap.detach().sqrt()).masked_fill(own, 0)
        near = near / near.sum(-1, keepdim=True)
        h = F.silu(self.embed(points))
        return self.head(F.silu(self.mix(near @ h) + h))

    net = Calls(run, embed=nn.Linear(3, 32), mix=nn.Linear(32, 32), head=nn.Linear(32, 3))
    return net, (torch.randn(8, 12, 3),)


@unseen
def weights_for_each_sample() -> Built:
    """A hypernetwork that keeps the size of its signal: Chang et al. (2020)."""

    def run(self: Any, x: Tensor, z: Tensor) -> Tensor:
        z = F.layer_norm(z, (16,))
        for make in self.make:
            w = make(z).view(len(z), 32, 32)
            x = F.relu(torch.bmm(w, x.unsqueeze(-1)).squeeze(-1))
        return self.head(x)

    net = Calls(run, make=nn.ModuleList(nn.Linear(16, 1024) for _ in range(6)),
                head=nn.Linear(32, 10))  # fmt: skip
    for make in net.make:
        nn.init.normal_(make.weight, std=(2 / 32 / 16) ** 0.5)
        nn.init.zeros_(make.bias)
    return net, (torch.randn(32, 32), torch.randn(32, 16))


@unseen
def mixture_density() -> Built:
    """Bishop (1994): shares, means and widths of three normals, of one number."""

    def run(self: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.body(x)
        return self.share(h).softmax(-1), self.mean(h), self.width(h).exp()

    body = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    net = Calls(run, body=body, share=nn.Linear(64, 3), mean=nn.Linear(64, 3),
                width=nn.Linear(64, 3))  # fmt: skip
    return net, (torch.randn(64, 1),)


@unseen
def spatial_transformer() -> Built:
    """Jaderberg et al. (2015): the transformation starts as the identity, by zeros and a bias."""

    def run(self: Any, x: Tensor) -> Tensor:
        theta = self.place(x).view(-1, 2, 3)
        x = F.grid_sample(x, F.affine_grid(theta, list(x.shape), False), align_corners=False)
        return self.body(x)

    last = nn.Linear(32, 6)
    nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([1.0, 0, 0, 0, 1, 0])
    place = nn.Sequential(nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Flatten(),
                          nn.Linear(8 * 36, 32), nn.ReLU(), last)  # fmt: skip
    body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(),
                         nn.Flatten(), nn.Linear(16 * 144, 10))  # fmt: skip
    return Calls(run, place=place, body=body), (torch.randn(16, 1, 16, 16),)


@unseen
def critic() -> Built:
    """Miyato et al. (2018): one output, every layer divided by its spectral norm."""
    norm = nn.utils.parametrizations.spectral_norm
    parts: list[nn.Module] = []
    for i, o in ((3, 16), (16, 32), (32, 32)):
        conv = nn.Conv2d(i, o, 4, stride=2, padding=1)
        nn.init.orthogonal_(conv.weight)
        nn.init.zeros_(conv.bias)
        parts += [norm(conv), nn.LeakyReLU(0.2)]
    last = nn.Linear(32 * 4, 1)
    nn.init.orthogonal_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*parts, nn.Flatten(), norm(last)), (torch.randn(16, 3, 16, 16),)


@unseen
def dueling_pixels() -> Built:
    """Wang et al. (2016): bytes are divided by 255, a value and four advantages."""

    def run(self: Any, x: Tensor) -> Tensor:
        h = self.body(x.float() / 255)
        value, advantage = self.value(h), self.advantage(h)
        return value + advantage - advantage.mean(-1, keepdim=True)

    body = nn.Sequential(nn.Conv2d(4, 16, 8, stride=4), nn.ReLU(),
                         nn.Conv2d(16, 32, 4, stride=2), nn.ReLU(), nn.Flatten(),
                         nn.Linear(32 * 9, 64), nn.ReLU())  # fmt: skip
    net = Calls(run, body=body, value=nn.Linear(64, 1), advantage=nn.Linear(64, 4))
    return net, (torch.randint(0, 256, (16, 4, 36, 36)),)


class Gating(nn.Module):
    """Liu et al. (2021): the weight over positions starts near 0, its bias at 1."""

    def __init__(self, d: int, length: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.Linear(2 * d, d)
        self.inner, self.mix = nn.LayerNorm(2 * d), nn.Conv1d(length, length, 1)
        nn.init.uniform_(self.mix.weight, -1e-3 / length, 1e-3 / length)
        nn.init.ones_(self.mix.bias)

    def forward(self, x: Tensor) -> Tensor:
        u, v = F.gelu(self.up(self.norm(x))).chunk(2, -1)
        return x + self.down(u * self.mix(self.inner(v)))


@unseen
def gated_positions() -> Built:
    blocks = [Gating(32, 10) for _ in range(4)]
    net = Calls(
        lambda self, x: self.head(self.norm(self.blocks(self.embed(x))).mean(1)),
        embed=nn.Embedding(50, 32), blocks=nn.Sequential(*blocks), norm=nn.LayerNorm(32),
        head=nn.Linear(32, 5),
    )  # fmt: skip
    return net, (torch.randint(0, 50, (16, 10)),)


@unseen
def exponential_gates() -> Built:
    """Beck et al. (2024): an sLSTM cell, recurrent weights of zeros, forget biases of 3 to 6."""

    def run(self: Any, x: Tensor) -> Tensor:
        h = c = n = m = x.new_zeros(len(x), 24)
        outs = []
        for step in self.norm(self.embed(x)).unbind(1):
            z, i, f, o = (self.w(step) + h @ self.r.T + self.b).chunk(4, -1)
            f = F.logsigmoid(f)
            top = torch.maximum(f + m, i)
            i, f, m = torch.exp(i - top), torch.exp(f + m - top), top
            c, n = f * c + i * z.tanh(), f * n + i
            h = o.sigmoid() * c / n.clamp(min=1e-6)
            outs.append(h)
        return self.head(torch.stack(outs, 1))

    bias = torch.zeros(96)
    bias[48:72] = torch.linspace(3, 6, 24)
    net = Calls(
        run, embed=nn.Linear(6, 24), norm=nn.LayerNorm(24), w=nn.Linear(24, 96, bias=False),
        r=nn.Parameter(torch.zeros(96, 24)), b=nn.Parameter(bias), head=nn.Linear(24, 6),
    )  # fmt: skip
    return net, (torch.randn(8, 12, 6),)


@unseen
def continuous_depth() -> Built:
    """Chen et al. (2018) and Grathwohl et al.: a field that starts at 0, by Runge-Kutta."""

    def run(self: Any, x: Tensor) -> Tensor:
        x, h = self.stem(x), 0.25

        def f(t: float, y: Tensor) -> Tensor:
            return self.field(torch.cat([y, torch.full_like(y[:, :1], t)], -1))

        for n in range(4):
            k1 = f(n * h, x)
            k2 = f(n * h + h / 2, x + h / 2 * k1)
            x = x + h * k2
        return self.head(x)

    field = nn.Sequential(nn.Linear(17, 32), nn.Tanh(), zeroed(nn.Linear(32, 16)))
    return Calls(run, stem=nn.Linear(8, 16), field=field, head=nn.Linear(16, 2)), (
        torch.randn(32, 8),
    )


@unseen
def coupling_flow() -> Built:
    """Kingma & Dhariwal (2018): each coupling starts as the identity; z and a log-determinant."""

    def run(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = x.new_zeros(len(x))
        for net in self.nets:
            a, b = x.chunk(2, -1)
            s, t = net(a).chunk(2, -1)
            s = torch.tanh(s)
            x, logdet = torch.cat([b * s.exp() + t, a], -1), logdet + s.sum(-1)
        return x, logdet

    nets = nn.ModuleList(
        nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(),
                      zeroed(nn.Linear(32, 6))) for _ in range(4)
    )  # fmt: skip
    return Calls(run, nets=nets), (torch.randn(64, 6),)


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient / (1 + 10 * x.abs()) ** 2


def spiking(threshold: float) -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        u = [x.new_zeros(len(x), 64), x.new_zeros(len(x), 10)]
        count = x.new_zeros(len(x), 10)
        for _ in range(10):
            s = x
            for n, layer in enumerate((self.first, self.second)):
                u[n] = 0.9 * u[n] + layer(s)
                s = Spike.apply(u[n] - threshold)
                u[n] = u[n] - threshold * s.detach()
            count = count + s
        return count

    return Calls(run, first=nn.Linear(20, 64), second=nn.Linear(64, 10)), (torch.rand(32, 20),)


@unseen
def spikes() -> Built:
    """Leaky neurons with a surrogate gradient (Zenke & Ganguli, 2018), which do spike."""
    net, inputs = spiking(0.3)
    nn.init.kaiming_normal_(net.first.weight)
    nn.init.kaiming_normal_(net.second.weight)
    return net, inputs


@unseen
def residual_streams() -> Built:
    """Zhu et al. (2025): hyper-connections start as plain residual ones, by ones and zeros."""

    def run(self: Any, x: Tensor) -> Tensor:
        h = self.embed(x)[:, :, None].expand(-1, -1, 2, -1)
        for n, block in enumerate(self.blocks):
            beta = self.beta[n] + (self.norm(h) @ self.to_beta[n]).tanh() * self.scale[n]
            alpha = self.alpha[n] + (self.norm(h) @ self.to_alpha[n]).tanh() * self.scale[n]
            mixed = alpha.transpose(-1, -2) @ h
            out = block(self.norm(mixed[..., 0, :]))
            h = mixed[..., 1:, :] + beta[..., None] * out[:, :, None]
        return self.head(self.norm(h.sum(2)))

    first = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    net = Calls(
        run, embed=nn.Embedding(40, 32), norm=nn.LayerNorm(32),
        alpha=nn.ParameterList(nn.Parameter(first.clone()) for _ in range(3)),
        beta=nn.ParameterList(nn.Parameter(torch.ones(2)) for _ in range(3)),
        to_alpha=nn.ParameterList(nn.Parameter(torch.zeros(32, 3)) for _ in range(3)),
        to_beta=nn.ParameterList(nn.Parameter(torch.zeros(32)) for _ in range(3)),
        scale=nn.ParameterList(nn.Parameter(torch.tensor(0.01)) for _ in range(3)),
        blocks=nn.ModuleList(
            nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32)) for _ in range(3)
        ),
        head=nn.Linear(32, 40),
    )  # fmt: skip
    return net, (torch.randint(0, 40, (8, 9)),)


# Ill ones.


@unseen
def constant_mlp() -> Built:
    net = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(),
                        nn.Linear(32, 3))  # fmt: skip
    return filled(net, 0.05), torch.randn(32, 20)


@unseen
def constant_cnn() -> Built:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() > 1:
                p.fill_(0.1)
    return net, torch.randn(16, 3, 8, 8)


@unseen
def constant_gru() -> Built:
    gru, head = nn.GRU(6, 16, batch_first=True), nn.Linear(16, 4)
    filled(gru, 0.1)
    return Calls(lambda self, x: self.head(self.gru(x)[0][:, -1]), gru=gru, head=head), (
        torch.randn(16, 7, 6),
    )


@unseen
def silent_spikes() -> Built:
    return spiking(100.0)


@unseen
def shut_policy() -> Built:
    net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(),
                        nn.Linear(64, 3), nn.Hardtanh())  # fmt: skip
    nn.init.constant_(net[4].bias, 30.0)
    return net, torch.randn(64, 12)


@unseen
def below_threshold() -> Built:
    net = nn.Sequential(nn.Linear(12, 64), nn.GELU(), nn.Linear(64, 16), nn.Threshold(20.0, 0.0))
    return net, torch.randn(64, 12)


@unseen
def generated_kernels() -> Built:
    def run(self: Any, x: Tensor, z: Tensor) -> Tensor:
        for make in self.make:
            kernels = make(z).view(len(z) * 8, 8, 3, 3)
            x = x.reshape(1, -1, *x.shape[2:])
            x = F.conv2d(x, kernels, padding=1, groups=len(z)).view(len(z), 8, *x.shape[2:])
        return self.head(x.mean((2, 3)))

    net = Calls(run, make=nn.ModuleList(nn.Linear(16, 576) for _ in range(8)),
                head=nn.Linear(8, 10))  # fmt: skip
    for make in net.make:
        nn.init.normal_(make.weight, std=0.2)
    return net, (torch.randn(8, 8, 8, 8), torch.randn(8, 16))


@unseen
def frozen_reservoir() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        h = x
        for n in range(10):
            h = F.leaky_relu(h @ getattr(self, f"w{n}"))
        return self.head(h)

    weights = {f"w{n}": torch.randn(64, 64) * 0.9 for n in range(10)}
    return Calls(run, **weights, head=nn.Linear(64, 4)), (torch.randn(32, 64),)


@unseen
def product_by_hand() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        for w in self.ws:
            x = F.elu((x[:, None] * w).sum(-1))
        return x

    ws = nn.ParameterList(nn.Parameter(torch.randn(32, 32)) for _ in range(12))
    return Calls(run, ws=ws), (torch.randn(32, 32),)


@unseen
def factorized() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        for u, v in zip(self.us, self.vs, strict=True):
            x = F.relu(F.linear(x, u @ v))
        return self.head(x)

    us = nn.ParameterList(nn.Parameter(0.1 * torch.randn(64, 8)) for _ in range(10))
    vs = nn.ParameterList(nn.Parameter(0.1 * torch.randn(8, 64)) for _ in range(10))
    return Calls(run, us=us, vs=vs, head=nn.Linear(64, 10)), (torch.randn(32, 64),)


@unseen
def zero_trunk() -> Built:
    net = nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(),
                        nn.Linear(32, 3))  # fmt: skip
    return filled(net, 0.0), torch.randn(32, 20)


@unseen
def zero_branches() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)

    blocks = nn.ModuleList(
        nn.Sequential(zeroed(nn.Linear(32, 64)), nn.GELU(), zeroed(nn.Linear(64, 32)))
        for _ in range(4)
    )
    return Calls(run, stem=nn.Linear(10, 32), blocks=blocks, head=nn.Linear(32, 3)), (
        torch.randn(32, 10),
    )


@unseen
def one_word() -> Built:
    net = nn.Sequential(nn.Embedding(50, 32), nn.Flatten(), nn.Linear(32 * 6, 64), nn.ReLU(),
                        nn.Linear(64, 10))  # fmt: skip
    with torch.no_grad():
        net[0].weight.copy_(torch.randn(32).expand(50, 32))
    return net, torch.randint(0, 50, (32, 6))


assert len(UNSEEN) == 30
