"""Small models whose plans test_whole_plans.py holds whole."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as fn


class Net(nn.Module):
    """Parts, and a function of these and the inputs."""

    def __init__(self, function: Callable[..., Any] | None = None, **parts: object) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, *inputs: Tensor) -> Any:
        assert self.function is not None
        return self.function(self, *inputs)


def raw(*shape: int, value: float | None = None, **more: Any) -> nn.Parameter:
    made = torch.randn(shape, **more) if value is None else torch.full(shape, value, **more)
    return nn.Parameter(made, requires_grad=made.is_floating_point() or made.is_complex())


def linears(*sizes: int, bias: bool = True, function: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers = [nn.Linear(a, b, bias=bias) for a, b in pairwise(sizes)]
    return nn.Sequential(*[part for layer in layers for part in (layer, function())][:-1])


def tied(width: int = 8, by: float = 1.0) -> Net:
    table, head = nn.Embedding(9, width), nn.Linear(width, 9, bias=False)
    head.weight = table.weight
    return Net(lambda m, i: m.head(m.table(i)) * by, table=table, head=head)


def attention(width: int = 8, heads: int = 2, by: float | None = None, classes: int = 3) -> Net:
    def run(m: Net, x: Tensor) -> Tensor:
        q, k, v = (p.unflatten(-1, (heads, -1)).transpose(1, 2) for p in m.qkv(x).chunk(3, -1))
        mixed = fn.scaled_dot_product_attention(q, k, v, scale=by).transpose(1, 2).flatten(2)
        return m.head(x + m.out(mixed))

    return Net(run, qkv=nn.Linear(width, 3 * width), out=nn.Linear(width, width),
               head=nn.Linear(width, classes))  # fmt: skip


def gated_rnn() -> nn.LSTM:
    """A forget gate of 1, as recipes have it, and an input gate of -1, as they don't."""
    net = nn.LSTM(3, 4)
    with torch.no_grad():
        net.bias_ih_l0.zero_()[:4].fill_(-1.0)
        net.bias_ih_l0[4:8].fill_(1.0)
        net.bias_hh_l0.zero_()[:4].fill_(1.0)
        net.bias_hh_l0[4:8].fill_(2.0)
    return net


def two_layers() -> Net:
    return Net(up=nn.Linear(8, 16, bias=False), down=nn.Linear(16, 8, bias=False))


def scaled() -> nn.Module:
    """A layer whose weight is multiplied by a parameter of its parametrization."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = raw(5, 1, value=1.0)

        def forward(self, w: Tensor) -> Tensor:
            return w * self.gain

        def right_inverse(self, w: Tensor) -> Tensor:
            return w / self.gain

    made = Scaled()
    return nn.utils.parametrize.register_parametrization(nn.Linear(8, 5), "weight", made)


def wide(make: Callable[..., nn.Module], width: int, *more: Any) -> Net:
    """The model between a layer of a fixed number of inputs and one of outputs."""
    body = make(width, *more)
    return Net(
        lambda m, x: m.leave(m.body(m.enter(x))),
        enter=nn.Linear(8, width), body=body, leave=nn.Linear(width, 4),
    )  # fmt: skip


def post_norm(width: int, layers: int, first: bool = False) -> nn.Module:
    layer = nn.TransformerEncoderLayer(width, 2, 2 * width, batch_first=True, norm_first=first)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


def normed(width: int, layers: int, end: bool = True) -> Net:
    """Branches that end in a norm, or in nothing that is known."""

    def run(m: Net, x: Tensor) -> Tensor:
        for layer, norm in zip(m.layers, m.norms, strict=True):
            x = x + norm(layer(x)) if end else norm(x + layer(x)).relu()
        return x

    return Net(run, layers=nn.ModuleList(nn.Linear(width, width) for _ in range(layers)),
               norms=nn.ModuleList(nn.LayerNorm(width) for _ in range(layers)))  # fmt: skip


def branches(width: int, layers: int) -> nn.Sequential:
    """Residual layers, and after each one without a residual connection."""

    def run(m: Net, x: Tensor) -> Tensor:
        return x + m.down(m.up(x).relu())

    def plain(m: Net, x: Tensor) -> Tensor:
        return m.down(m.up(x).relu())

    return nn.Sequential(*(
        Net(plain if n % 2 else run, up=nn.Linear(width, width), down=nn.Linear(width, width))
        for n in range(layers)
    ))  # fmt: skip


def mixed(width: int) -> Net:
    """A table, a position, a scale, a depthwise kernel, and what the data flow can't tell."""

    def run(m: Net, i: Tensor) -> Tensor:
        x = m.table(i) + m.places[: i.shape[1]]
        x = x + m.conv(x.mT).mT * m.scale
        return m.norm(x) @ m.w * (m.table.weight.shape[1] / 8) ** -0.5

    return Net(run, table=nn.Embedding(9, width), places=raw(5, width), scale=raw(width, value=1.0),
               conv=nn.Conv1d(width, width, 3, padding=1, groups=width),
               norm=nn.LayerNorm(width), w=raw(width, 3), idle=raw(width, width),
               shared=raw(1), stats=torch.zeros(width))  # fmt: skip
