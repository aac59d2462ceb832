"""Fifteen kinds of networks that users write, each once as it should be and once with one fault.

``STRANGERS`` maps a name to a function that builds the model, its inputs and its loss, if it has
one. Names that end in ``_ill`` have a fault, which their docstring says. All were written, faults
included, before any of them was measured or explained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from .unseen import Calls

F = nn.functional
Built = tuple[nn.Module, Any, Callable[[Any], Tensor] | None]
STRANGERS: dict[str, Callable[[], Built]] = {}


def stranger(build: Callable[[], Built]) -> Callable[[], Built]:
    STRANGERS[build.__name__] = build
    return build


def is_ill(name: str) -> bool:
    return name.endswith("_ill")


def entropy(classes: int, rows: int) -> Callable[[Tensor], Tensor]:
    target = torch.arange(rows) % classes
    return lambda logits: F.cross_entropy(logits, target)


def every(modules: list[nn.Module]) -> nn.ModuleList:
    return nn.ModuleList(modules)


# Generators and discriminators.


def generator() -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(32, 64, 4, 1, 0, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(True),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True),
        nn.ConvTranspose2d(16, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip


@stranger
def gan() -> Built:
    def run(self: Any, z: Tensor) -> Tensor:
        images = self.make(z)
        h = self.body(images)
        spread = h.std(0, correction=0).mean().expand(len(h), 1, *h.shape[2:])
        return self.judge(torch.cat([h, spread], 1)).flatten(1).mean(1)

    norm = nn.utils.parametrizations.spectral_norm
    make = generator()
    for m in make:
        if isinstance(m, nn.ConvTranspose2d):
            nn.init.normal_(m.weight, 0, 0.02)
        elif isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.weight, 1, 0.02)
            nn.init.zeros_(m.bias)
    body = nn.Sequential(
        norm(nn.Conv2d(3, 16, 4, 2, 1)), nn.LeakyReLU(0.2),
        norm(nn.Conv2d(16, 32, 4, 2, 1)), nn.LeakyReLU(0.2),
    )  # fmt: skip
    return (
        Calls(run, make=make, body=body, judge=norm(nn.Conv2d(33, 1, 4))),
        noise(8, 32, 1, 1),
        None,
    )


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape)


@stranger
def gan_ill() -> Built:
    """``nn.init.uniform_(m.weight)``, which draws from 0 to 1, for every transposed convolution."""
    make = generator()
    for m in make:
        if isinstance(m, nn.ConvTranspose2d):
            nn.init.uniform_(m.weight)
    return make, noise(8, 32, 1, 1), None


# UNets.


def unet(dead: bool) -> nn.Module:
    def run(self: Any, x: Tensor) -> Tensor:
        a = self.first(x)
        b = self.second(F.max_pool2d(a, 2))
        c = self.bottom(F.max_pool2d(b, 2))
        b = self.up(torch.cat([F.interpolate(c, scale_factor=2), b], 1))
        a = self.top(torch.cat([F.interpolate(b, scale_factor=2), a], 1))
        return self.head(a)

    def two(i: int, o: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.ReLU()
        )

    net = Calls(
        run, first=two(3, 16), second=two(16, 32), bottom=two(32, 64), up=two(96, 32),
        top=two(48, 16), head=nn.Conv2d(16, 2, 1),
    )  # fmt: skip
    for m in net.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
            nn.init.zeros_(m.bias)
    if dead:
        nn.init.constant_(net.bottom[0].bias, -20.0)
    return net


@stranger
def segmenter() -> Built:
    target = torch.randint(2, (4, 32, 32))
    return unet(False), noise(4, 3, 32, 32), lambda y: F.cross_entropy(y, target)


@stranger
def segmenter_ill() -> Built:
    """A bias of -20 switches the bottom of the UNet off."""
    target = torch.randint(2, (4, 32, 32))
    return unet(True), noise(4, 3, 32, 32), lambda y: F.cross_entropy(y, target)


# Recurrences written by hand.


@stranger
def elman() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 48)
        for step in x.unbind(1):
            h = torch.tanh(self.into(step) + self.on(h))
        return self.out(h)

    net = Calls(run, into=nn.Linear(12, 48), on=nn.Linear(48, 48, bias=False), out=nn.Linear(48, 5))
    nn.init.xavier_uniform_(net.into.weight)
    nn.init.orthogonal_(net.on.weight)
    return net, noise(16, 20, 12), entropy(5, 16)


@stranger
def gru_ill() -> Built:
    """The update gate starts shut, at a bias of -12, so that the state stays where it began."""

    def run(self: Any, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 48)
        for step in x.unbind(1):
            both = torch.cat([step, h], 1)
            z, r = torch.sigmoid(self.update(both)), torch.sigmoid(self.reset(both))
            new = torch.tanh(self.candidate(torch.cat([step, r * h], 1)))
            h = (1 - z) * h + z * new
        return self.out(h)

    update, reset, candidate = (nn.Linear(60, 48) for _ in range(3))
    nn.init.constant_(update.bias, -12.0)
    net = Calls(run, update=update, reset=reset, candidate=candidate, out=nn.Linear(48, 5))
    return net, noise(16, 20, 12), entropy(5, 16)


# Vision transformers.


class Block(nn.Module):
    """Pre-norm, with norms on queries and keys."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qn, self.kn = nn.RMSNorm(width // 4), nn.RMSNorm(width // 4)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, n, 3, 4, c // 4).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(self.qn(q), self.kn(k), v)
        x = x + self.proj(y.transpose(1, 2).reshape(b, n, c))
        return x + self.mlp(self.n2(x))


def vit(positions: float) -> nn.Module:
    def run(self: Any, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])

    net = Calls(
        run, patch=nn.Conv2d(3, 64, 4, 4), blocks=every([Block(64) for _ in range(6)]),
        norm=nn.LayerNorm(64), head=nn.Linear(64, 10),
    )  # fmt: skip
    for m in net.modules():
        if isinstance(m, nn.Linear):
            nn.init.trunc_normal_(m.weight, std=0.05)
            nn.init.zeros_(m.bias)
    net.token = nn.Parameter(torch.randn(1, 1, 64) * 0.05)
    net.places = nn.Parameter(torch.randn(1, 17, 64) * positions)
    return net


@stranger
def small_vit() -> Built:
    return vit(0.05), noise(8, 3, 16, 16), entropy(10, 8)


@stranger
def small_vit_ill() -> Built:
    """Positions of std 50, beside patches of about 1: every image looks the same."""
    return vit(50.0), noise(8, 3, 16, 16), entropy(10, 8)


# Graphs.


def graph(nodes: int) -> Tensor:
    near = (torch.rand(nodes, nodes) < 0.3).float()
    return ((near + near.T + torch.eye(nodes)) > 0).float()


@stranger
def graph_attention() -> Built:
    def run(self: Any, x: Tensor, near: Tensor) -> Tensor:
        for layer, source, target in zip(self.layers, self.sources, self.targets, strict=True):
            h = layer(x)
            scores = F.leaky_relu(source(h) + target(h).T, 0.2)
            x = F.elu(scores.masked_fill(near == 0, -math.inf).softmax(-1) @ h)
        return self.head(x)

    net = Calls(
        run, layers=every([nn.Linear(24, 32), nn.Linear(32, 32)]),
        sources=every([nn.Linear(32, 1, bias=False) for _ in range(2)]),
        targets=every([nn.Linear(32, 1, bias=False) for _ in range(2)]),
        head=nn.Linear(32, 4),
    )  # fmt: skip
    for p in net.parameters():
        if p.dim() > 1:
            nn.init.xavier_uniform_(p)
    return net, (noise(40, 24), graph(40)), entropy(4, 40)


@stranger
def graph_averages_ill() -> Built:
    """Sixteen layers of averages over dense neighbors: all nodes become the same."""

    def run(self: Any, x: Tensor, near: Tensor) -> Tensor:
        shares = near / near.sum(1, keepdim=True)
        for layer in self.layers:
            x = F.relu(layer(shares @ x))
        return self.head(x)

    net = Calls(run, layers=every([nn.Linear(24, 24) for _ in range(16)]), head=nn.Linear(24, 4))
    for layer in net.layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return net, (noise(40, 24), graph(40)), entropy(4, 40)


# Sines.


def sines(omega: float, divided: bool) -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(omega * layer(x))
        return self.head(x)

    layers = every([nn.Linear(2 if n == 0 else 64, 64) for n in range(5)])
    for n, layer in enumerate(layers):
        bound = 1 / 2 if n == 0 else math.sqrt(6 / 64) / (omega if divided else 1)
        nn.init.uniform_(layer.weight, -bound, bound)
    net = Calls(run, layers=layers, head=nn.Linear(64, 3))
    bound = math.sqrt(6 / 64) / omega
    nn.init.uniform_(net.head.weight, -bound, bound)
    return net, torch.rand(64, 2) * 2 - 1, None


@stranger
def siren() -> Built:
    return sines(30.0, True)


@stranger
def siren_ill() -> Built:
    """The weights are not divided by omega, 30."""
    return sines(30.0, False)


# Autoencoders.


@stranger
def variational() -> Built:
    def run(self: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encode(x)
        mean, logvar = self.mean(h), self.logvar(h)
        z = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        return self.decode(z), mean, logvar

    encode = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten()
    )
    decode = nn.Sequential(
        nn.Linear(8, 512), nn.ReLU(), nn.Unflatten(1, (32, 4, 4)),
        nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1),
    )  # fmt: skip
    net = Calls(run, encode=encode, mean=nn.Linear(512, 8), logvar=nn.Linear(512, 8), decode=decode)
    x = torch.rand(16, 1, 16, 16)

    def loss(out: Any) -> Tensor:
        made, mean, logvar = out
        apart = -0.5 * (1 + logvar - mean**2 - logvar.exp()).sum(1).mean()
        return F.binary_cross_entropy_with_logits(made, x, reduction="sum") / 16 + apart

    return net, x, loss


@stranger
def autoencoder_ill() -> Built:
    """Ten sigmoid layers as torch draws them: nothing of the input gets through."""
    sizes = (64, 56, 48, 40, 32, 24, 32, 40, 48, 56, 64)
    parts: list[nn.Module] = []
    for i, o in pairwise(sizes):
        parts += [nn.Linear(i, o), nn.Sigmoid()]
    x = torch.rand(32, 64)
    return nn.Sequential(*parts), x, lambda y: F.mse_loss(y, x)


# Diffusion in a few dimensions.


def denoiser(raw: bool) -> Built:
    def run(self: Any, x: Tensor, t: Tensor) -> Tensor:
        if raw:
            h = self.into(torch.cat([x, t[:, None]], 1))
        else:
            freq = torch.exp(torch.arange(16) * (-math.log(10000) / 16))
            angle = t[:, None] * freq
            h = self.into(x) + self.time(torch.cat([angle.sin(), angle.cos()], 1))
        for layer in self.layers:
            h = h + layer(h) if not raw else F.silu(layer[1](h))
        return self.out(h)

    net = Calls(
        run, into=nn.Linear(3 if raw else 2, 64), time=nn.Linear(32, 64),
        layers=every(
            [
                nn.Sequential(
                    nn.LayerNorm(64), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64)
                )
                for _ in range(4)
            ]
        ),
        out=nn.Linear(64, 2),
    )  # fmt: skip
    if raw:
        del net.time
        for n, layer in enumerate(net.layers):
            net.layers[n] = nn.Sequential(nn.Identity(), layer[1])
    else:
        nn.init.zeros_(net.out.weight)
        nn.init.zeros_(net.out.bias)
    x, t, wanted = noise(64, 2), torch.randint(0, 1000, (64,)).float(), noise(64, 2)
    return net, (x, t), lambda y: F.mse_loss(y, wanted)


@stranger
def toy_diffusion() -> Built:
    return denoiser(False)


@stranger
def toy_diffusion_ill() -> Built:
    """The time step, up to 1,000, goes in beside the point as it is."""
    return denoiser(True)


# Transformers that translate.


class Translator(nn.Module):
    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.masked = masked
        self.table = nn.Embedding(50, 32)
        nn.init.normal_(self.table.weight, 0, 32**-0.5)
        self.enc = nn.ModuleList(
            nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True) for _ in range(2)
        )
        self.dec = nn.ModuleList(
            nn.TransformerDecoderLayer(32, 4, 64, 0.0, batch_first=True) for _ in range(2)
        )
        for p in [*self.enc.parameters(), *self.dec.parameters()]:
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)
        angle = torch.arange(12)[:, None] * torch.exp(torch.arange(16) * (-math.log(10000) / 16))
        self.register_buffer("places", torch.cat([angle.sin(), angle.cos()], 1))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        pad = source == 0
        x = self.table(source) * 32**0.5 + self.places
        y = self.table(target) * 32**0.5 + self.places
        for layer in self.enc:
            x = layer(x, src_key_padding_mask=pad)
        causal = nn.Transformer.generate_square_subsequent_mask(12)
        for layer in self.dec:
            y = layer(y, x, tgt_mask=causal, memory_key_padding_mask=pad)
        return y @ self.table.weight.T


def sentences(empty: bool) -> tuple[Tensor, Tensor]:
    source, target = torch.randint(1, 50, (8, 12)), torch.randint(1, 50, (8, 12))
    source[:, 9:] = 0
    if empty:
        source[3] = 0
    return source, target


@stranger
def translator() -> Built:
    source, target = sentences(False)
    return (
        Translator(True),
        (source, target),
        lambda y: F.cross_entropy(y.flatten(0, 1), target.flatten()),
    )


@stranger
def translator_ill() -> Built:
    """One sentence is all padding, so that its softmax has nothing to choose from."""
    source, target = sentences(True)
    return (
        Translator(True),
        (source, target),
        lambda y: F.cross_entropy(y.flatten(0, 1), target.flatten()),
    )


# Detectors.


def detector(prior: float) -> Built:
    def run(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        levels = [self.stem(x)]
        for down in self.downs:
            levels.append(down(F.relu(levels[-1])))
        classes, boxes = [], []
        for level in levels:
            classes.append(self.classes(level).flatten(2))
            boxes.append(self.boxes(level).flatten(2))
        return torch.cat(classes, 2), torch.cat(boxes, 2)

    def tower(out: int) -> nn.Sequential:
        parts: list[nn.Module] = []
        for _ in range(4):
            parts += [nn.Conv2d(64, 64, 3, padding=1), nn.GroupNorm(8, 64), nn.ReLU()]
        return nn.Sequential(*parts, nn.Conv2d(64, out, 3, padding=1))

    net = Calls(
        run, stem=nn.Conv2d(3, 64, 4, 4), downs=every([nn.Conv2d(64, 64, 3, 2, 1)]),
        classes=tower(9), boxes=tower(4),
    )  # fmt: skip
    for m in [*net.classes.modules(), *net.boxes.modules()]:
        if isinstance(m, nn.Conv2d):
            nn.init.normal_(m.weight, 0, 0.01)
            nn.init.zeros_(m.bias)
    nn.init.constant_(net.classes[-1].bias, prior)
    wanted = (torch.rand(4, 9, 80) < 0.01).float()

    def loss(out: tuple[Tensor, Tensor]) -> Tensor:
        return F.binary_cross_entropy_with_logits(out[0], wanted) + out[1].abs().mean()

    return net, noise(4, 3, 32, 32), loss


@stranger
def retina() -> Built:
    return detector(-4.6)


@stranger
def retina_ill() -> Built:
    """The prior of the classes has the wrong sign: every anchor is an object, for sure."""
    return detector(4.6)


# Policies and values.


@stranger
def actor_critic() -> Built:
    def run(self: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.actor(x), self.log_std.exp().expand(len(x), -1), self.critic(x)

    def head(out: int, gain: float) -> nn.Sequential:
        net = nn.Sequential(
            nn.Linear(11, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, out)
        )
        for m in net:
            if isinstance(m, nn.Linear):
                nn.init.orthogonal_(m.weight, gain if m is net[-1] else 2**0.5)
                nn.init.zeros_(m.bias)
        return net

    net = Calls(run, actor=head(3, 0.01), critic=head(1, 1.0))
    net.log_std = nn.Parameter(torch.zeros(3))
    return net, noise(64, 11), None


@stranger
def deterministic_policy_ill() -> Built:
    """The last layer is drawn with gain 30: every action lies at its bound."""
    net = nn.Sequential(
        nn.Linear(11, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3), nn.Tanh()
    )
    for n in (0, 2, 4):
        nn.init.orthogonal_(net[n].weight, 30.0 if n == 4 else 2**0.5)
        nn.init.zeros_(net[n].bias)
    return net, noise(64, 11), None


# Spikes.


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        ctx.save_for_backward(v)
        return (v > 0).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (v,) = ctx.saved_tensors
        return grads[0] / (1 + 5 * v.abs()) ** 2


def spiking(fire: Callable[[Tensor], Tensor]) -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        v1, v2, out = 0.0, 0.0, 0.0
        for step in x.unbind(1):
            v1 = 0.9 * v1 + self.first(step)
            s1 = fire(v1 - 1)
            v1 = v1 - s1
            v2 = 0.9 * v2 + self.second(s1)
            s2 = fire(v2 - 1)
            v2 = v2 - s2
            out = out + self.out(s2)
        return out

    net = Calls(run, first=nn.Linear(20, 64), second=nn.Linear(64, 64), out=nn.Linear(64, 5))
    for layer in (net.first, net.second, net.out):
        nn.init.kaiming_normal_(layer.weight)
    return net, noise(16, 15, 20), entropy(5, 16)


@stranger
def spikes() -> Built:
    return spiking(Spike.apply)


@stranger
def spikes_ill() -> Built:
    """No surrogate gradient: a comparison lets no gradient through to the first two layers."""
    return spiking(lambda v: (v > 0).float())


# Mixtures of experts.


def experts(bias: float) -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        shares = self.router(x).softmax(-1)
        weight, chosen = shares.topk(2, -1)
        y = torch.zeros_like(x)
        for n, expert in enumerate(self.experts):
            rows, place = (chosen == n).nonzero(as_tuple=True)
            y = y.index_add(0, rows, weight[rows, place, None] * expert(x[rows]))
        return self.head(x + y)

    def expert() -> nn.Module:
        return nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    net = Calls(
        run, router=nn.Linear(32, 8), experts=every([expert() for _ in range(8)]),
        head=nn.Linear(32, 10),
    )  # fmt: skip
    nn.init.normal_(net.router.weight, 0, 0.02)
    nn.init.zeros_(net.router.bias)
    with torch.no_grad():
        net.router.bias[0] = bias
    return net, noise(64, 32), entropy(10, 64)


@stranger
def mixture() -> Built:
    return experts(0.0)


@stranger
def mixture_ill() -> Built:
    """The router's bias sends every row to the first expert, with all of its weight."""
    return experts(20.0)


# Two towers.


def towers(scale: float) -> Built:
    def run(self: Any, images: Tensor, words: Tensor) -> Tensor:
        a = F.normalize(self.images(images), dim=-1)
        b = F.normalize(self.project(self.words(words)), dim=-1)
        return self.scale.exp() * a @ b.T

    net = Calls(
        run,
        images=nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 24),
        ),
        words=nn.EmbeddingBag(100, 32), project=nn.Linear(32, 24),
    )  # fmt: skip
    net.scale = nn.Parameter(torch.tensor(scale))
    target = torch.arange(16)
    inputs = noise(16, 3, 16, 16), torch.randint(0, 100, (16, 7))
    return net, inputs, lambda y: F.cross_entropy(y, target) + F.cross_entropy(y.T, target)


@stranger
def clip() -> Built:
    return towers(math.log(1 / 0.07))


@stranger
def clip_ill() -> Built:
    """The inverse temperature, 14.3, where its logarithm belongs."""
    return towers(1 / 0.07)


# Radiance fields.


def radiance(bias: float, density: Callable[[Tensor], Tensor]) -> Built:
    def run(self: Any, points: Tensor) -> tuple[Tensor, Tensor]:
        scaled = points[..., None] * 2.0 ** torch.arange(6)
        coded = torch.cat([points, scaled.sin().flatten(-2), scaled.cos().flatten(-2)], -1)
        h = coded
        for n, layer in enumerate(self.layers):
            h = F.relu(layer(h if n != 4 else torch.cat([h, coded], -1)))
        return torch.sigmoid(self.color(h)), density(self.density(h))

    net = Calls(
        run, layers=every([nn.Linear({0: 39, 4: 103}.get(n, 64), 64) for n in range(8)]),
        color=nn.Linear(64, 3), density=nn.Linear(64, 1),
    )  # fmt: skip
    for layer in net.layers:
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    nn.init.constant_(net.density.bias, bias)
    return net, torch.rand(64, 3) * 2 - 1, None


@stranger
def nerf() -> Built:
    return radiance(0.0, F.softplus)


@stranger
def nerf_ill() -> Built:
    """A bias of -20 and a relu: the density is 0 everywhere, and gets no gradient."""
    return radiance(-20.0, F.relu)
