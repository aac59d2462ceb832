"""Small models of common kinds, for examples: ``goodinit plan demo:gpt``.

Each has an input for its forward pass in ``example_input_array``, the attribute that Lightning
uses for this.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["cnn", "gpt", "lstm", "mlp", "moe", "resnet"]


def mlp(depth: int = 3, width: int = 128) -> nn.Module:
    """Linear layers and ReLUs, from 64 inputs to 10 outputs.

    >>> model = mlp()
    >>> model(model.example_input_array).shape
    torch.Size([8, 10])
    """
    layers: list[nn.Module] = [nn.Linear(64, width), nn.ReLU()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), nn.ReLU()]
    return _with(nn.Sequential(*layers, nn.Linear(width, 10)), _noise(8, 64))


def cnn(width: int = 16) -> nn.Module:
    """Three convolutions with BatchNorm, on images of 32 x 32."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
        conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10)]
    return _with(nn.Sequential(*layers), _noise(8, 3, 32, 32))


def resnet(depth: int = 4, width: int = 32) -> nn.Module:
    """``depth`` residual blocks of two convolutions, on images of 32 x 32."""
    stem = nn.Conv2d(3, width, 3, padding=1)
    blocks = (_Residual(width) for _ in range(depth))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
    return _with(nn.Sequential(stem, *blocks, *head), _noise(4, 3, 32, 32))


def lstm(layers: int = 2, width: int = 128, vocabulary: int = 1000) -> nn.Module:
    """A language model: an embedding, an LSTM, an output projection."""
    return _with(_Recurrent(layers, width, vocabulary), _words(vocabulary))


def gpt(layers: int = 4, width: int = 128, heads: int = 4, vocabulary: int = 1000) -> nn.Module:
    """A pre-norm transformer that predicts the next word, with tied embeddings."""
    blocks = [_Block(width, heads, _feed_forward(width)) for _ in range(layers)]
    return _with(_Transformer(blocks, width, vocabulary), _words(vocabulary))


def moe(
    layers: int = 4, width: int = 128, heads: int = 4, experts: int = 4, vocabulary: int = 1000
) -> nn.Module:
    """Like ``gpt``, with a mixture of experts in each block, two of them per word."""
    blocks = [_Block(width, heads, _Experts(width, experts)) for _ in range(layers)]
    return _with(_Transformer(blocks, width, vocabulary), _words(vocabulary))


def _with(model: nn.Module, example: Tensor) -> nn.Module:
    model.example_input_array = example
    return model


def _noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _words(vocabulary: int) -> Tensor:
    return torch.arange(32).view(2, 16) % vocabulary


def _feed_forward(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).relu()
        return (x + self.norm2(self.conv2(y))).relu()


class _Recurrent(nn.Module):
    def __init__(self, layers: int, width: int, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(cast("Tensor", self.lstm(self.embed(words))[0]))


class _Transformer(nn.Module):
    def __init__(self, blocks: list[_Block], width: int, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(64, width)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.embed(words) + self.position(torch.arange(words.shape[1], device=words.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, inner: nn.Module) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.inner(self.norm2(x))

    def attend(self, x: Tensor) -> Tensor:
        split = (
            z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in self.qkv(x).chunk(3, -1)
        )
        q, k, v = split
        y = scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).flatten(2))


class _Experts(nn.Module):
    """Run all experts on all words and use two: simple, and fast enough for a demo."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(_feed_forward(width) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        scores, chosen = self.router(x).softmax(-1).topk(2)
        shares = torch.zeros_like(x[..., :1]).expand(*x.shape[:-1], len(self.experts))
        shares = shares.scatter(-1, chosen, scores)
        outputs = torch.stack([expert(x) for expert in self.experts], -1)
        return (outputs * shares.unsqueeze(-2)).sum(-1)
