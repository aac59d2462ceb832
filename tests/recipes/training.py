"""Small models and the digits, for comparing recipes by what trains.

The networks of one row differ in recipe and seed only, and are trained side by side: their weights
are stacked, which changes no number but its last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

import goodinit as gi
from goodinit.demos.digits import Digits

F = nn.functional
STEPS, BATCH, RATE, CLASSES = 300, 64, 1e-3, 10


Batch = tuple[Tensor, Tensor]


def batches(digits: Digits, seed: int) -> Iterator[Batch]:
    """Yield the batches of a training."""
    draw = torch.Generator().manual_seed(seed)
    for _ in range(STEPS):
        chosen = torch.randint(len(digits.x), (BATCH,), generator=draw)
        yield digits.x[chosen], digits.y[chosen]


def plain(activation: type[nn.Module], layers: int, width: int = 128) -> nn.Module:
    """So many linear layers with activations between them."""
    sizes = [64, *[width] * (layers - 1), CLASSES]
    parts = [
        part for i in range(layers) for part in (nn.Linear(sizes[i], sizes[i + 1]), activation())
    ]
    return nn.Sequential(*parts[:-1])


class ResidualMLP(nn.Module):
    """24 branches of two layers, relu between them; 50 layers with the first and the last."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, width), nn.Linear(width, CLASSES)
        self.up = nn.ModuleList(nn.Linear(width, width) for _ in range(24))
        self.down = nn.ModuleList(nn.Linear(width, width) for _ in range(24))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(up(x).relu())
        return self.last(x)


class ResNet(nn.Module):
    """Residual branches of two convolutions, each followed by a norm."""

    def __init__(
        self, norm: Callable[[int], nn.Module] = nn.Identity, branches: int = 8, channels: int = 8
    ) -> None:
        super().__init__()
        count = 2 * branches
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(count)
        )
        self.norms = nn.ModuleList(norm(channels) for _ in range(count))
        self.last = nn.Linear(channels * 16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.view(-1, 1, 8, 8)).relu()
        for i in range(0, len(self.convs), 2):
            y = self.norms[i](self.convs[i](x)).relu()
            x = x + self.norms[i + 1](self.convs[i + 1](y))
        return self.last(F.avg_pool2d(x, 2).flatten(1))


class RowsLSTM(nn.Module):
    """Reads an image row by row."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.lstm, self.last = nn.LSTM(8, width, batch_first=True), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.lstm(x.view(-1, 8, 8))[0][:, -1])


class GPT(nn.Module):
    """Four pre-norm layers on the 16 means of 2 x 2 pixels, as one of 8 tokens each."""

    def __init__(self, width: int = 32, layers: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.tokens, self.positions = nn.Embedding(8, width), nn.Embedding(16, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers + 1))
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(width, 4 * width) for _ in range(layers))
        self.down = nn.ModuleList(nn.Linear(4 * width, width) for _ in range(layers))
        self.last = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        means = F.avg_pool2d(x.view(-1, 1, 8, 8), 2).flatten(1)
        h = self.tokens((2.5 * (means + 1)).long().clamp(0, 7)) + self.positions.weight
        for i, qkv in enumerate(self.qkv):
            parts = qkv(self.norms[2 * i](h)).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0)
            q, k, v = (part.transpose(-3, -2) for part in parts)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            h = h + self.out[i](mixed.transpose(-3, -2).flatten(-2))
            h = h + self.down[i](F.gelu(self.up[i](self.norms[2 * i + 1](h))))
        return self.last(self.norms[-1](h)[..., -1, :])


def accuracies(
    build: Callable[[], nn.Module], recipe: str, seeds: list[int], data: Digits
) -> list[float]:
    """Held-out accuracy after training, for each seed."""
    nets: list[nn.Module] = []
    for seed in seeds:
        net = build()
        gi.init_(net, recipe, inputs=data.x[:BATCH], seed=seed)
        nets.append(net)
    if not isinstance(nets[0], (nn.Sequential, ResidualMLP)):  # vmap has no fast rule for these
        return [_train(net, data, seed) for net, seed in zip(nets, seeds, strict=True)]
    return _train_together(nets, data, seeds[0])


def cross_entropy(net: nn.Module, batch: Batch) -> Tensor:
    """Of a class for each image, or for each character."""
    x, y = batch
    return F.cross_entropy(net(x).flatten(0, -2), y.flatten())


def train(net: nn.Module, data: Iterable[Batch], rate: float = RATE) -> list[float]:
    """Train with Adam; return the loss of each batch."""
    optimizer = torch.optim.Adam(net.parameters(), lr=rate, fused=True)
    losses: list[float] = []
    for batch in data:
        optimizer.zero_grad()
        loss = cross_entropy(net, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def accuracy(net: nn.Module, batch: Batch) -> float:
    """Return the share that is classified correctly."""
    x, y = batch
    return (net(x).argmax(-1) == y).double().mean().item()


def _train(net: nn.Module, data: Digits, seed: int) -> float:
    train(net, batches(data, seed))
    return accuracy(net, (data.x_test, data.y_test))


def _train_together(nets: list[nn.Module], data: Digits, seed: int) -> list[float]:
    stacked, buffers = stack_module_state(nets)

    def run(x: Tensor) -> Tensor:
        call = vmap(lambda p, b: functional_call(nets[0], (p, b), (x,)))
        return call(stacked, buffers)

    optimizer = torch.optim.Adam(stacked.values(), lr=RATE)
    for x, y in batches(data, seed):
        optimizer.zero_grad()
        logits = run(x)
        repeated = y.repeat(len(nets))
        F.cross_entropy(logits.flatten(0, 1), repeated, reduction="sum").div(len(y)).backward()
        optimizer.step()
    with torch.no_grad():
        return (run(data.x_test).argmax(-1) == data.y_test).double().mean(1).tolist()
