"""Heads that attend to each other at each position: no weights that a hypernetwork makes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

import goodinit as gi

WIDTH, HEADS = 32, 4


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.norm(x)
        q, k, v = (part(y).unflatten(-1, (HEADS, -1)) for part in (self.q, self.k, self.v))
        y = (q @ k.mT / (WIDTH // HEADS) ** 0.5).softmax(-1) @ v
        return self.head(x + self.o(y.flatten(2)))


class Packed(nn.Module):
    """One projection; ``unused`` compares heads and takes nothing of it, as SAM 2 does."""

    def __init__(self, unused: bool) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.o = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head, self.unused = nn.Linear(WIDTH, 3), unused

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, HEADS, -1)).unbind(2)
        shares = (q * (WIDTH // HEADS) ** -0.5 @ k.mT).softmax(-1)
        if self.unused:
            q, k, v = (part.transpose(1, 2) for part in (q, k, v))
            y = fn.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        else:
            y = shares @ v
        return self.head(x + self.o(y.flatten(2)))


X = torch.randn(2, 5, WIDTH)


def test_projections_have_their_own_fans() -> None:
    plan = gi.plan(Heads(), "standard", inputs=X)
    for part in "qkv":
        row = plan[f"{part}.weight"]
        assert (row.part, row.fan_in, row.guessed) == (part, WIDTH, False)


def test_so_have_packed_ones() -> None:
    for unused in (False, True):
        row = gi.plan(Packed(unused), "standard", inputs=X)["qkv.weight"]
        assert {(b.name, b.fan_in) for b in row.blocks} == {(part, WIDTH) for part in "qkv"}
        assert not row.guessed
