"""Networks that are ill on purpose: which finding must be made of each.

``SICK[code]`` yields ``(label, model, inputs, loss)``: several widths, depths, seeds and kinds of
layers. Those that the bounds leave out stay here, and are listed as missed in ``test_rates.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

import goodinit as gi

F = nn.functional
Ill = tuple[str, nn.Module, Any, Callable[[Any], Tensor] | None]
SEEDS = (0, 1, 2)
SICK: dict[str, Callable[[], Iterator[Ill]]] = {}


def sick(make: Callable[[], Iterator[Ill]]) -> Callable[[], Iterator[Ill]]:
    SICK[make.__name__.upper()] = make
    return make


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def dense(
    width: int, layers: int, activation: Callable[[], nn.Module], law: Any, seed: int, out: int = 0
) -> nn.Module:
    parts = [p for _ in range(layers) for p in (nn.Linear(width, width), activation())]
    net = nn.Sequential(*parts, *([nn.Linear(width, out)] if out else []))
    gi.init_(net, law, seed=seed)
    return net


def convolutions(width: int, layers: int, law: Any, seed: int) -> nn.Module:
    parts = [p for n in range(layers)
             for p in (nn.Conv2d(width if n else 3, width, 3, padding=1), nn.ReLU())]  # fmt: skip
    net = nn.Sequential(*parts)
    gi.init_(net, law, seed=seed)
    return net


IMAGES = noise(4, 3, 12, 12)
WIDTHS = (64, 256, 768)


@sick
def gi101() -> Iterator[Ill]:
    for width, seed, value in product(WIDTHS, SEEDS, (math.nan, math.inf)):
        x = noise(8, width, seed=seed)
        net = dense(width, 3, nn.ReLU, "he", seed)
        with torch.no_grad():
            net[2].weight[seed, seed] = value
        yield f"a weight {value}, {width} wide", net, x, None
        x = x.clone()
        x[0, 0] = value
        yield f"an input {value}, {width} wide", dense(width, 3, nn.ReLU, "he", seed), x, None
        loud = dense(width, 3, nn.ReLU, gi.Normal(1e15), seed)
        yield f"overflow, {width} wide", loud, noise(8, width), None


@sick
def gi102() -> Iterator[Ill]:
    for width, layers, seed in product(WIDTHS, (20, 40), SEEDS):
        x = noise(16, width, seed=seed)
        net = dense(width, layers, nn.ReLU, "xavier", seed)
        yield f"xavier and relu, {layers} x {width}", net, x, None  # He et al., 2015: 2^-layers
        net = dense(width, layers, nn.Identity, gi.Normal(0.3 / width**0.5), seed)
        yield f"linear, .09 a layer, {layers} x {width}", net, x, None
        net = dense(width, layers, nn.Tanh, gi.Normal(0.3 / width**0.5), seed)
        yield f"tanh, .09 a layer, {layers} x {width}", net, x, None
    for width, seed in product((16, 64), SEEDS):
        net = convolutions(width, 20, "xavier", seed)
        yield f"convolutions, xavier, {width} wide", net, IMAGES, None
        net = convolutions(width, 20, gi.VarianceScaling(0.5, "fan_in", "normal"), seed)
        yield f"convolutions, .25 a layer, {width} wide", net, IMAGES, None


@sick
def gi103() -> Iterator[Ill]:
    for width, layers, seed in product(WIDTHS, (20, 40), SEEDS):
        x = noise(16, width, seed=seed)
        net = dense(width, layers, nn.Identity, gi.Normal((2 / width) ** 0.5), seed)
        yield f"He without relu, {layers} x {width}", net, x, None
        net = dense(width, layers, nn.ReLU, gi.Normal(1.0), seed)
        yield f"N(0, 1), {layers} x {width}", net, x, None
    for width, seed in product((16, 64), SEEDS):
        yield (
            f"convolutions, {width} wide",
            convolutions(width, 12, gi.Normal(0.5), seed),
            IMAGES,
            None,
        )


@sick
def gi104() -> Iterator[Ill]:
    for width, layers, seed in product(WIDTHS, (20, 40), SEEDS):
        x = noise(16, width, seed=seed)
        net = dense(width, layers, nn.ReLU, "torch_default", seed, out=10)
        yield f"torch's own, {layers} x {width}", net, x, None
        net = dense(width, layers, nn.Tanh, {"*.weight": gi.Normal(0.3 / width**0.5),
                                             "*.bias": gi.Normal(0.5)}, seed, out=10)  # fmt: skip
        yield f"biases, {layers} x {width}", net, x, None


class Collapsing(nn.Module):
    """Attention over attention, nothing around it (Dong et al., 2021)."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.values = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.queries = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for value, query in zip(self.values, self.queries, strict=True):
            q, k = query(x).chunk(2, -1)
            x = F.scaled_dot_product_attention(q, k, value(x))
        return x


@sick
def gi105() -> Iterator[Ill]:
    for width, layers, length, seed in product((32, 128), (6, 12), (8, 32), SEEDS):
        net = Collapsing(width, layers)
        gi.init_(net, {nn.Linear: gi.LeCunNormal()}, seed=seed)
        yield f"{layers} x {width}, {length} long", net, noise(4, length, width, seed=seed), None


@sick
def gi106() -> Iterator[Ill]:
    for width, at, seed in product(WIDTHS, (0, 2), SEEDS):
        net = dense(width, 3, nn.ReLU, "he", seed)
        gi.init_(net, {f"{at}.bias": gi.Constant(-10.0)}, seed=seed)
        yield f"biases of -10 at {at}, {width} wide", net, noise(64, width, seed=seed), None
        net = dense(width, 3, nn.ReLU, "he", seed)
        gi.init_(net, {"2.weight": gi.Normal(0.1, mean=-1.0)}, seed=seed)
        yield f"weights around -1, {width} wide", net, noise(64, width, seed=seed), None


@sick
def gi107() -> Iterator[Ill]:
    for width, activation, seed in product(WIDTHS, (nn.Tanh, nn.Sigmoid), SEEDS):
        # Past .99 is past 2.65 of tanh and 4.6 of sigmoid: half of N(0, 16^2) and more.
        net = dense(width, 3, activation, gi.Normal(16 / width**0.5), seed, out=10)
        yield f"{activation.__name__}, std 16, {width} wide", net, noise(16, width, seed=seed), None


@sick
def gi108() -> Iterator[Ill]:
    for width, seed in product((64, 256), SEEDS):
        x = noise(16, width, seed=seed)
        net = dense(width, 16, nn.Sigmoid, "xavier", seed)  # a slope of at most 1/4
        yield f"sigmoid, {width} wide", net, x, None
        net = dense(width, 60, nn.Tanh, gi.Normal(2.5 / width**0.5), seed)
        yield f"chaos, {width} wide", net, x, None  # Poole et al., 2016
        parts = [p for _ in range(100)
                 for p in (nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU())]  # fmt: skip
        net = nn.Sequential(*parts)
        gi.init_(net, "he", seed=seed)
        yield f"100 batch norms, {width} wide", net, x, None  # Yang et al., 2019: 1.2 a layer


class Unused(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


@sick
def gi109() -> Iterator[Ill]:
    for width, seed in product(WIDTHS, SEEDS):
        yield f"{width} wide", Unused(width), noise(8, width, seed=seed), None


class Tied(nn.Module):
    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(vocabulary, width), nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.norm(self.embed(ids)))


def next_word(ids: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda logits: F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@sick
def gi110() -> Iterator[Ill]:
    for width, words, seed in product((128, 256, 768), (100, 2000), SEEDS):
        ids = torch.randint(words, (4, 16), generator=torch.Generator().manual_seed(seed))
        net = Tied(words, width)
        gi.init_(net, {"embed.weight": gi.Normal(1.0)}, seed=seed)
        yield f"tied N(0, 1), {words} x {width}", net, ids, next_word(ids)
        x = noise(32, width, seed=seed)
        net = dense(width, 2, nn.ReLU, "he", seed, out=words)
        gi.init_(net, {"4.weight": gi.Normal(2.0)}, seed=seed)
        classes = torch.arange(32) % words
        yield f"a loud head, {words} x {width}", net, x, lambda z, t=classes: F.cross_entropy(z, t)


@sick
def gi111() -> Iterator[Ill]:
    for width, seed in product(WIDTHS, SEEDS):
        parts = (nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 10))
        net = nn.Sequential(*parts)
        gi.init_(net, {nn.BatchNorm1d: gi.Normal(0.02)}, seed=seed)
        yield f"N(0, .02), batch norm, {width} wide", net, noise(16, width, seed=seed), None
        net = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.Linear(width, 10))
        gi.init_(net, {nn.LayerNorm: gi.Normal(1.0)}, seed=seed)
        yield f"N(0, 1), layer norm, {width} wide", net, noise(16, width, seed=seed), None


@sick
def gi124() -> Iterator[Ill]:
    for width, layers, seed in product((32, 64), (2, 6), SEEDS):
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True)
        yield (
            f"clones, {layers} x {width}",
            nn.TransformerEncoder(layer, layers),
            noise(4, 6, width, seed=seed),
            None,
        )


@sick
def gi132() -> Iterator[Ill]:
    for width, at, seed in product(WIDTHS, (0, 2), SEEDS):
        net = dense(width, 3, nn.Tanh, "lecun", seed, out=10)
        gi.init_(net, {f"{at}.bias": gi.Constant(9.0)}, seed=seed)
        yield f"biases of 9 at {at}, {width} wide", net, noise(16, width, seed=seed), None


@sick
def gi135() -> Iterator[Ill]:
    for width, activation, layers, seed in product((64, 256), (nn.GELU, nn.SiLU), (24, 40), SEEDS):
        gain = gi.gain(activation.__name__.lower())
        net = dense(
            width, layers, activation, gi.VarianceScaling(gain**2, "fan_in", "normal"), seed
        )
        yield f"{activation.__name__}, {layers} x {width}", net, noise(16, width, seed=seed), None


@sick
def gi142() -> Iterator[Ill]:
    for width, fused, seed in product((64, 256), (True, False), SEEDS):
        # Scores of N(0, 1) weights have a std of about the width; a softmax of 16 needs 13.
        net = Attention(width, fused)
        gi.init_(net, {"*.weight": gi.Normal(1.0), "*.bias": gi.Zeros()}, seed=seed)
        name = "fused" if fused else "by hand"
        yield f"{name}, N(0, 1), {width} wide", net, noise(4, 16, width, seed=seed), None
        net = nn.TransformerEncoderLayer(width, 4, batch_first=True, norm_first=True)
        gi.init_(net, {"self_attn.in_proj_weight": gi.Normal(1.0)}, seed=seed)
        yield f"of torch, N(0, 1), {width} wide", net, noise(4, 16, width, seed=seed), None


class Attention(nn.Module):
    """Causal attention in a residual branch, by torch's fused call or by hand."""

    def __init__(self, width: int, fused: bool) -> None:
        super().__init__()
        self.qkv, self.out, self.fused = nn.Linear(width, 3 * width), nn.Linear(width, width), fused

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = q @ k.mT * q.shape[-1] ** -0.5
            hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            y = F.dropout(scores.masked_fill(hidden, -1e9).softmax(-1), 0.1, self.training) @ v
        return x + self.out(y.transpose(1, 2).flatten(-2))
