"""Small models that are easily ill: deep and plain, recurrent, residual, detectors, UNets, GANs.

Whether one is ill depends on how it is drawn; some have no healthy draw at all. ``ILL`` has a
function for each, which returns the model and its inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

F = nn.functional
Built = tuple[nn.Module, Any]
WIDTH = 48
DEPTHS = (6, 12, 24, 40)
ILL: dict[str, Callable[[], Built]] = {}


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


X = noise(24, WIDTH)
IMAGES = noise(4, 3, 16, 16)
SERIES = noise(8, 30, 12)


def add(label: str, build: Callable[..., nn.Module], inputs: Any, *args: Any) -> None:
    ILL[label] = lambda: (build(*args), inputs)


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return self.f(x)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "sin": lambda: Of(torch.sin),
}


def tower(activation: Callable[[], nn.Module], depth: int) -> nn.Module:
    return nn.Sequential(
        *[p for _ in range(depth) for p in (nn.Linear(WIDTH, WIDTH), activation())]
    )


for _name, _make in ACTIVATIONS.items():
    for _depth in DEPTHS:
        add(f"{_name}, {_depth} layers", tower, X, _make, _depth)


# Functions and layers that change a scale unseen.


def siren(depth: int, omega: float) -> nn.Module:
    return tower(lambda: Of(lambda z: torch.sin(omega * z)), depth)


class Standardized(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        w = w / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


class Equalized(nn.Module):
    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.randn(o, i)), i**-0.5
        self.bias = nn.Parameter(torch.zeros(o))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)


class Graph(nn.Module):
    """Sums over a dozen neighbors."""

    def __init__(self, depth: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(depth))
        self.activation = activation

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.activation(layer(torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])))
        return x


def convolutions(make: Callable[..., nn.Module], depth: int, norm: bool = False) -> nn.Module:
    parts: list[nn.Module] = []
    for n in range(depth):
        parts += [make(12 if n else 3, 12, 3, padding=1)]
        parts += [nn.BatchNorm2d(12)] if norm else []
        parts += [nn.ReLU()]
    return nn.Sequential(*parts)


def equalized(depth: int) -> nn.Module:
    return nn.Sequential(
        *[p for _ in range(depth) for p in (Equalized(WIDTH, WIDTH), nn.LeakyReLU(0.2))]
    )


def normed_weights(depth: int) -> nn.Module:
    layers = [nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)) for _ in range(depth)]
    return nn.Sequential(*[p for layer in layers for p in (layer, nn.ReLU())])


_EDGES = torch.randint(0, 30, (2, 360), generator=torch.Generator().manual_seed(0))
for _depth in (5, 10):
    add(f"siren, {_depth} layers", siren, X, _depth, 30.0)
    add(f"sin(5 z), {_depth} layers", siren, X, _depth, 5.0)
    add(f"standardized, {_depth} layers", convolutions, IMAGES, Standardized, _depth)
    add(f"standardized and normed, {_depth}", convolutions, IMAGES, Standardized, _depth, True)
    add(f"equalized, {_depth} layers", equalized, X, _depth)
    add(f"weight_norm, {_depth} layers", normed_weights, X, _depth)
    add(f"graph relu, {_depth}", Graph, (noise(30, WIDTH), _EDGES), _depth, F.relu)
    add(f"graph tanh, {_depth}", Graph, (noise(30, WIDTH), _EDGES), _depth, torch.tanh)


# Recurrences by hand and torch's own.


class Recurrent(nn.Module):
    def __init__(self, activation: Callable[[Tensor], Tensor], steps: int) -> None:
        super().__init__()
        self.i, self.h = nn.Linear(12, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.activation, self.steps = activation, steps

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), WIDTH)
        for t in range(self.steps):
            h = self.activation(self.i(x[:, t]) + self.h(h))
        return h


class Autonomous(nn.Module):
    """Sees its input once."""

    def __init__(self, activation: Callable[[Tensor], Tensor], steps: int) -> None:
        super().__init__()
        self.h, self.activation, self.steps = nn.Linear(WIDTH, WIDTH), activation, steps

    def forward(self, h: Tensor) -> Tensor:
        for _ in range(self.steps):
            h = self.activation(self.h(h))
        return h


class ByHandGru(nn.Module):
    def __init__(self, steps: int) -> None:
        super().__init__()
        self.z, self.r, self.c = (nn.Linear(12 + WIDTH, WIDTH) for _ in range(3))
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), WIDTH)
        for t in range(self.steps):
            both = torch.cat([x[:, t], h], 1)
            z, r = self.z(both).sigmoid(), self.r(both).sigmoid()
            h = (1 - z) * h + z * self.c(torch.cat([x[:, t], r * h], 1)).tanh()
        return h


class Last(nn.Module):
    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.rnn, self.head = rnn, nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


for _label, _f in {
    "tanh": torch.tanh,
    "relu": F.relu,
    "linear": lambda z: z,
    "gelu": F.gelu,
}.items():
    for _steps in (10, 30):
        add(f"rnn by hand, {_label}, {_steps}", Recurrent, SERIES, _f, _steps)
        add(f"a cell on its own, {_label}, {_steps}", Autonomous, X, _f, _steps)
add("gru by hand", ByHandGru, SERIES, 30)
for _cls in (nn.RNN, nn.LSTM, nn.GRU):
    add(f"{_cls.__name__}", lambda cls: Last(cls(12, WIDTH, batch_first=True)), SERIES, _cls)
    add(
        f"{_cls.__name__}, 3 deep",
        lambda cls: Last(cls(12, WIDTH, 3, batch_first=True)),
        SERIES,
        _cls,
    )
add("RNN of relu", lambda: Last(nn.RNN(12, WIDTH, nonlinearity="relu", batch_first=True)), SERIES)


# Residual networks, with and without norms, and attention.


class Block(nn.Module):
    def __init__(self, activation: Callable[[], nn.Module], form: str) -> None:
        super().__init__()
        self.form = form
        self.inner, self.outer = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.activation, self.norm = activation(), nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x) if self.form == "pre" else x
        y = x + self.outer(self.activation(self.inner(y)))
        return self.norm(y) if self.form == "post" else y


def blocks(activation: Callable[[], nn.Module], depth: int, form: str) -> nn.Module:
    return nn.Sequential(*[Block(activation, form) for _ in range(depth)], nn.Linear(WIDTH, 10))


class Attention(nn.Module):
    """Attention with nothing around it, or with residual sums."""

    def __init__(self, depth: int, around: bool) -> None:
        super().__init__()
        self.values = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(depth))
        self.queries = nn.ModuleList(nn.Linear(WIDTH, 2 * WIDTH) for _ in range(depth))
        self.around = around

    def forward(self, x: Tensor) -> Tensor:
        for value, query in zip(self.values, self.queries, strict=True):
            q, k = query(x).chunk(2, -1)
            y = F.scaled_dot_product_attention(q, k, value(x))
            x = x + y if self.around else y
        return x


for _depth in (12, 40):
    for _form in ("none", "pre", "post"):
        add(f"residual, {_form} norm, {_depth}", blocks, X, nn.ReLU, _depth, _form)
        add(f"residual silu, {_form} norm, {_depth}", blocks, X, nn.SiLU, _depth, _form)
    add(f"attention alone, {_depth}", Attention, noise(4, 8, WIDTH), _depth, False)
    add(f"attention, residual, {_depth}", Attention, noise(4, 8, WIDTH), _depth, True)
    add(f"convolutions, {_depth}", convolutions, IMAGES, nn.Conv2d, _depth)
    add(f"convolutions and BatchNorm, {_depth}", convolutions, IMAGES, nn.Conv2d, _depth, True)


# Detectors, UNets, GANs, autoencoders.


class Detector(nn.Module):
    def __init__(self, depth: int, norm: bool) -> None:
        super().__init__()
        self.body = nn.ModuleList(convolutions_of(8 if n else 3, 8, norm, depth) for n in range(3))
        self.laterals = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(3))
        self.classes, self.boxes = (
            nn.Sequential(
                *[p for _ in range(4) for p in (nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())]
            )
            for _ in range(2)
        )
        self.score, self.box = nn.Conv2d(8, 20, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)
        nn.init.constant_(self.score.bias, -math.log(99))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = []
        for stage in self.body:
            x = F.max_pool2d(stage(x), 2)
            levels.append(x)
        top, out = None, []
        for lateral, level in zip(self.laterals, reversed(levels), strict=True):
            here = lateral(level)
            top = here if top is None else here + F.interpolate(top, scale_factor=2)
            out += [self.score(self.classes(top)), self.box(self.boxes(top))]
        return out


def convolutions_of(i: int, o: int, norm: bool, depth: int) -> nn.Module:
    parts: list[nn.Module] = []
    for n in range(depth):
        parts += [nn.Conv2d(o if n else i, o, 3, padding=1)]
        parts += [nn.BatchNorm2d(o)] if norm else []
        parts += [nn.SiLU() if depth > 3 else nn.ReLU()]
    return nn.Sequential(*parts)


class UNet(nn.Module):
    def __init__(self, levels: int, depth: int, norm: bool) -> None:
        super().__init__()
        widths = [3, *[8 * 2**n for n in range(levels)]]
        self.down = nn.ModuleList(
            convolutions_of(widths[n], widths[n + 1], norm, depth) for n in range(levels)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[n + 1], widths[n], 2, 2) for n in range(levels - 1, 0, -1)
        )
        self.merge = nn.ModuleList(
            convolutions_of(2 * widths[n], widths[n], norm, depth) for n in range(levels - 1, 0, -1)
        )
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for n, stage in enumerate(self.down):
            x = stage(x if not n else F.max_pool2d(x, 2))
            kept.append(x)
        for up, merge, skip in zip(self.up, self.merge, reversed(kept[:-1]), strict=True):
            x = merge(torch.cat([up(x), skip], 1))
        return self.head(x)


def generator(norm: bool, width: int) -> nn.Module:
    parts: list[nn.Module] = [nn.ConvTranspose2d(32, width, 4)]
    for _ in range(3):
        parts += [nn.BatchNorm2d(width)] if norm else []
        parts += [nn.ReLU(), nn.ConvTranspose2d(width, width, 4, 2, 1)]
    return nn.Sequential(*parts, nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1), nn.Tanh())


def critic(spectral: bool, depth: int) -> nn.Module:
    wrap = nn.utils.parametrizations.spectral_norm if spectral else lambda layer: layer
    parts: list[nn.Module] = []
    for n in range(depth):
        parts += [wrap(nn.Conv2d(12 if n else 3, 12, 3, padding=1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*parts, nn.Flatten(), wrap(nn.Linear(12 * 256, 1)))


def autoencoder(activation: Callable[[], nn.Module], depth: int) -> nn.Module:
    widths = [WIDTH, *[8] * depth, WIDTH]
    layers = [nn.Linear(i, o) for i, o in pairwise(widths)]
    return nn.Sequential(*[p for layer in layers for p in (layer, activation())][:-1])


for _norm in (False, True):
    for _depth in (2, 6):
        add(f"detector, {_depth}, norm {_norm}", Detector, noise(4, 3, 32, 32), _depth, _norm)
        add(f"unet, {_depth}, norm {_norm}", UNet, noise(4, 3, 32, 32), 3, _depth, _norm)
    add(f"generator, norm {_norm}", generator, noise(6, 32, 1, 1), _norm, 16)
    add(f"wide generator, norm {_norm}", generator, noise(6, 32, 1, 1), _norm, 48)
    add(f"critic, spectral {_norm}", critic, IMAGES, _norm, 6)
    add(f"deep critic, spectral {_norm}", critic, IMAGES, _norm, 20)
for _name in ("relu", "sigmoid", "tanh", "softplus"):
    add(f"autoencoder, {_name}", autoencoder, X, ACTIVATIONS[_name], 10)
