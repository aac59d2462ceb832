"""An MLP, a GPT and a residual CNN of any width and depth; no head is tied."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WORDS, HEAD = 32, 16

TOKENS = torch.randint(WORDS, (4, 12), generator=torch.Generator().manual_seed(0))
NUMBERS = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Mlp(nn.Module):
    """Residual layers of two weights."""

    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()
        self.enter, self.norm = nn.Linear(8, width), nn.LayerNorm(width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.up = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.down = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.leave = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for norm, up, down in zip(self.norms, self.up, self.down, strict=True):
            x = x + down(up(norm(x)).relu())
        return self.leave(self.norm(x))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(y.transpose(1, 2).reshape(batch, time, width))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    """Heads of a fixed dimension, or a fixed number of heads."""

    def __init__(self, width: int, depth: int = 2, heads: int = 0, tied: bool = False) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, width), nn.Embedding(12, width)
        self.blocks = nn.ModuleList(Block(width, heads or width // HEAD) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, WORDS, bias=False)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.words(words) + self.places(torch.arange(words.shape[1], device=words.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Cnn(nn.Module):
    """Residual blocks of two convolutions and norms over all channels."""

    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, stride=2)
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for _ in range(depth))
        self.first = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.second = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.norm, self.head = nn.GroupNorm(1, width), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, first, second in zip(self.norms, self.first, self.second, strict=True):
            x = x + second(first(norm(x)).relu())
        return self.head(self.norm(x).mean((2, 3)))
