"""Thirty more networks, ill and healthy, that the rules on outputs and copies have not seen.

``MORE`` maps a name to a function that builds the model, its inputs and its loss, if it has one.
``ILL`` says which of them are ill, and was written before any of them was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .unseen import Calls

F = nn.functional
Built = tuple[nn.Module, Any, Callable[[Any], Tensor] | None]
MORE: dict[str, Callable[[], Built]] = {}
ILL = {
    "relu_policy",
    "clamped_labels",
    "tanh_of_many_classes",
    "twin_heads_of_torchs_attention",
    "twin_channels",
    "twin_columns",
    "saturated_recurrence",
    "saturated_convolutions",
    "loud_head_of_a_vit",
    "loud_towers",
    "loud_bilinear",
    "loud_cross_attention",
    "experts_of_one_seed",
    "loud_pixels",
    "loud_probabilities",
}


def more(build: Callable[[], Built]) -> Callable[[], Built]:
    MORE[build.__name__] = build
    return build


def lecun(net: nn.Module) -> nn.Module:
    """Draw every matrix by LeCun's law, and set biases to 0."""
    for p in net.parameters():
        if p.dim() > 1:
            nn.init.normal_(p, 0, p[0].numel() ** -0.5)
        elif p.dim() == 1 and not bool((p == 1).all()):
            nn.init.zeros_(p)
    return net


def entropy(classes: int, rows: int) -> Callable[[Tensor], Tensor]:
    target = torch.arange(rows) % classes
    return lambda logits: F.cross_entropy(logits, target)


@more
def relu_policy() -> Built:
    net = lecun(
        nn.Sequential(
            nn.Conv2d(4, 16, 4, 2),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 25, 12),
            nn.ReLU(),
        )
    )
    return net, torch.randn(24, 4, 16, 16), entropy(12, 24)


@more
def clamped_labels() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        return self.head(F.gelu(self.body(x))).clamp(min=0)

    net = lecun(Calls(run, body=nn.Linear(40, 64), head=nn.Linear(64, 20)))
    target = (torch.arange(24 * 20) % 3 == 0).float().view(24, 20)
    return net, torch.randn(24, 40), lambda y: F.binary_cross_entropy_with_logits(y, target)


@more
def tanh_of_many_classes() -> Built:
    net = lecun(nn.Sequential(nn.Linear(32, 64), nn.ELU(), nn.Linear(64, 100), nn.Tanh()))
    return net, torch.randn(200, 32), entropy(100, 200)


@more
def twin_heads_of_torchs_attention() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        return self.head(x + self.attention(x, x, x)[0]).mean(1)

    net = Calls(
        run, attention=nn.MultiheadAttention(48, 6, batch_first=True), head=nn.Linear(48, 9)
    )
    lecun(net)
    with torch.no_grad():
        packed = net.attention.in_proj_weight.view(3, 6, 8, 48)
        packed[:, 3:] = packed[:, :3]
    return net, torch.randn(8, 12, 48), None


@more
def twin_channels() -> Built:
    net = lecun(
        nn.Sequential(
            nn.Conv2d(3, 24, 3),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.Conv2d(24, 32, 3),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 10, 1),
        )
    )
    with torch.no_grad():
        net[3].weight[16:] = net[3].weight[:16]
    return net, torch.randn(8, 3, 12, 12), None


@more
def twin_columns() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.first) @ self.second

    first = torch.randn(40, 32) / 40**0.5
    net = Calls(
        run,
        first=nn.Parameter(torch.cat([first, first], 1)),
        second=nn.Parameter(torch.randn(64, 10) / 8),
    )
    return net, torch.randn(32, 40), None


@more
def saturated_recurrence() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 40)
        for t in range(x.shape[1]):
            h = torch.tanh(self.i(x[:, t]) + self.h(h))
        return self.head(h)

    net = lecun(Calls(run, i=nn.Linear(8, 40), h=nn.Linear(40, 40), head=nn.Linear(40, 10)))
    nn.init.xavier_normal_(net.h.weight, gain=3.0)
    return net, torch.randn(16, 20, 8), None


@more
def saturated_convolutions() -> Built:
    parts: list[nn.Module] = []
    for n in range(8):
        parts += [nn.Conv2d(16 if n else 3, 16, 3, padding=1), nn.Tanh()]
    net = nn.Sequential(*parts)
    for layer in net[::2]:
        nn.init.normal_(layer.weight, 0, 3.2 * layer.weight[0].numel() ** -0.5)
    return net, torch.randn(8, 3, 12, 12), None


@more
def loud_head_of_a_vit() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).mT
        return self.head(self.norm(self.body(x)).mean(1))

    layer = nn.TransformerEncoderLayer(96, 4, 192, batch_first=True, norm_first=True)
    net = Calls(
        run, patch=nn.Conv2d(3, 96, 4, 4), body=layer, norm=nn.LayerNorm(96), head=nn.Linear(96, 50)
    )
    lecun(net)
    nn.init.normal_(net.head.weight, 0, 3.0)
    return net.eval(), torch.randn(8, 3, 24, 24), None


@more
def loud_towers() -> Built:
    def run(self: Any, a: Tensor, b: Tensor) -> Tensor:
        return (self.left(a) * self.right(b)).sum(-1)

    def tower() -> nn.Module:
        net = lecun(nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64)))
        nn.init.normal_(net[2].weight, 0, 0.7)
        return net

    return (
        Calls(run, left=tower(), right=tower()),
        (torch.randn(32, 30), torch.randn(32, 30)),
        None,
    )


@more
def loud_bilinear() -> Built:
    net = nn.Bilinear(24, 24, 1)
    nn.init.normal_(net.weight)
    return net, (torch.randn(32, 24), torch.randn(32, 24)), None


@more
def loud_cross_attention() -> Built:
    def run(self: Any, x: Tensor, memory: Tensor) -> Tensor:
        q, k, v = self.q(x), self.k(memory), self.v(memory)
        shares = torch.softmax(torch.einsum("bqd,bkd->bqk", q, k) / 8, -1)
        return self.out(torch.einsum("bqk,bkd->bqd", shares, v))

    net = lecun(Calls(run, **{name: nn.Linear(64, 64) for name in ("q", "k", "v", "out")}))
    nn.init.normal_(net.q.weight)
    nn.init.normal_(net.k.weight)
    return net, (torch.randn(4, 10, 64), torch.randn(4, 20, 64)), None


@more
def experts_of_one_seed() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        shares = self.router(x).softmax(-1)
        return sum(shares[:, n, None] * e(x) for n, e in enumerate(self.experts))

    def expert() -> nn.Module:
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))

    experts = nn.ModuleList(expert() for _ in range(4))
    return Calls(run, router=nn.Linear(32, 4), experts=experts), torch.randn(32, 32), None


@more
def loud_pixels() -> Built:
    net = lecun(nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 21, 1)))
    nn.init.normal_(net[2].weight)
    return net, torch.randn(4, 3, 16, 16), None


@more
def loud_probabilities() -> Built:
    net = lecun(nn.Sequential(nn.Linear(40, 128), nn.SiLU(), nn.Linear(128, 10)))
    nn.init.normal_(net[2].weight)
    return nn.Sequential(net, nn.Softmax(1)), torch.randn(32, 40), None


# Healthy.


@more
def energy_of_atoms() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        return self.net(x).sum(1)

    net = nn.Sequential(nn.Linear(16, 64), nn.SiLU(), nn.Linear(64, 1))
    return Calls(run, net=lecun(net)), torch.randn(16, 300, 16), None


@more
def squashed_actor() -> Built:
    def run(self: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log = self.net(x).chunk(2, -1)
        return torch.tanh(mean), log.clamp(-20, 2).exp()

    net = nn.Sequential(
        nn.Linear(17, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 12)
    )
    return Calls(run, net=lecun(net)), torch.randn(32, 17), None


@more
def capped_logits() -> Built:
    def run(self: Any, words: Tensor) -> Tensor:
        return 30 * torch.tanh(self.head(self.norm(self.table(words))) / 30)

    net = Calls(run, table=nn.Embedding(40, 64), norm=nn.LayerNorm(64), head=nn.Linear(64, 40))
    lecun(net)
    words = torch.arange(64).view(8, 8) % 40
    return net, words, lambda y: F.cross_entropy(y.flatten(0, 1), words.flatten())


@more
def masked_actions() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        return self.net(x).masked_fill(x[:, :6] > 0.8, -1e9)

    net = lecun(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 6)))
    x = torch.randn(64, 20)
    return Calls(run, net=net), x, lambda y: F.cross_entropy(y, y.detach().argmax(1))


@more
def head_of_zeros() -> Built:
    net = lecun(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10)))
    nn.init.zeros_(net[2].weight)
    return net, torch.randn(40, 20), entropy(10, 40)


class Equalized(nn.Module):
    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(o, i)), nn.Parameter(torch.zeros(o))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * math.sqrt(1 / self.weight.shape[1]), self.bias)


@more
def equalized_head() -> Built:
    net = nn.Sequential(
        Equalized(40, 128),
        nn.LeakyReLU(0.2),
        Equalized(128, 128),
        nn.LeakyReLU(0.2),
        Equalized(128, 10),
    )
    return net, torch.randn(32, 40), None


@more
def widened_while_trained() -> Built:
    """Net2Net: units of a trained layer are there twice, and what they feed is halved."""
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    x = torch.randn(256, 16)
    y = (x[:, :4] * x[:, 4:8]).argmax(1)
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    wide = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    with torch.no_grad():
        wide[0].weight.copy_(net[0].weight.repeat(2, 1))
        wide[0].bias.copy_(net[0].bias.repeat(2))
        wide[2].weight.copy_(net[2].weight.repeat(1, 2) / 2 * torch.linspace(0.8, 1.2, 64))
        wide[2].bias.copy_(net[2].bias)
    return wide, x[:64], None


@more
def shared_keys() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        q = self.q(x).unflatten(-1, (6, 8)).transpose(1, 2)
        k, v = (p(x).unflatten(-1, (2, 8)).transpose(1, 2) for p in (self.k, self.v))
        k, v = (t.repeat_interleave(3, 1) for t in (k, v))
        return self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    net = Calls(
        run, q=nn.Linear(48, 48), k=nn.Linear(48, 16), v=nn.Linear(48, 16), o=nn.Linear(48, 48)
    )
    return lecun(net), torch.randn(4, 10, 48), None


@more
def counts() -> Built:
    net = lecun(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5), nn.Softplus()))
    return net, torch.randn(32, 20), lambda y: F.poisson_nll_loss(y, y.detach().round(), False)


@more
def contrastive() -> Built:
    def run(self: Any, a: Tensor, b: Tensor) -> Tensor:
        a, b = F.normalize(self.left(a), dim=-1), F.normalize(self.right(b), dim=-1)
        return self.scale.exp() * a @ b.T

    net = Calls(
        run,
        left=nn.Linear(40, 64),
        right=nn.Linear(30, 64),
        scale=nn.Parameter(torch.tensor(math.log(1 / 0.07))),
    )
    labels = torch.arange(32)
    inputs = torch.randn(32, 40), torch.randn(32, 30)
    return net, inputs, lambda y: F.cross_entropy(y, labels)


@more
def bilinear_upsampling() -> Built:
    taps = torch.tensor([0.25, 0.75, 0.75, 0.25])
    up = nn.ConvTranspose2d(12, 12, 4, 2, 1, groups=12, bias=False)
    net = lecun(nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 1)))
    with torch.no_grad():
        up.weight.copy_((taps[:, None] * taps).expand(12, 1, 4, 4))
    return nn.Sequential(net, up), torch.randn(4, 3, 8, 8), None


@more
def gated_cells() -> Built:
    def run(self: Any, x: Tensor) -> Tensor:
        h, c = x.new_zeros(len(x), 32), x.new_zeros(len(x), 32)
        for t in range(x.shape[1]):
            i, f, g, o = self.gates(torch.cat([x[:, t], h], 1)).chunk(4, 1)
            c = (f + 1).sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.head(h)

    net = Calls(run, gates=nn.Linear(8 + 32, 128), head=nn.Linear(32, 10))
    return lecun(net), torch.randn(16, 20, 8), None


@more
def quiet_factors() -> Built:
    def run(self: Any, users: Tensor, items: Tensor) -> Tensor:
        return (self.users(users) * self.items(items)).sum(-1) + self.bias(items)[:, 0]

    net = Calls(
        run, users=nn.Embedding(100, 64), items=nn.Embedding(80, 64), bias=nn.Embedding(80, 1)
    )
    for table, std in ((net.users, 0.1), (net.items, 0.1), (net.bias, 0.01)):
        nn.init.normal_(table.weight, 0, std)
    return net, (torch.arange(64) % 100, torch.arange(64) % 80), None


@more
def prices() -> Built:
    """A regression whose outputs are put back on the scale of the data."""

    def run(self: Any, x: Tensor) -> Tensor:
        return self.net(x) * 250.0 + 1200.0

    net = lecun(nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 1)))
    x = torch.randn(64, 13)
    return Calls(run, net=net), x, lambda y: F.mse_loss(y / 250, x[:, :1])


@more
def rectified_regression() -> Built:
    net = lecun(nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU()))
    x = torch.randn(64, 13)
    return net, x, lambda y: F.mse_loss(y, x.abs().mean(1, keepdim=True).expand_as(y))


assert len(MORE) == 30
assert len(ILL) == 15
