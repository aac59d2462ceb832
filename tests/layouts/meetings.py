"""Kinds A, B, D, G, I and O: products that meet others, attention and biases by hand.

Two products in one sum make it larger, shares and means smaller: these are marked.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, facts, full, gain, keeps, raw

X = (64, 48)
STEPS = (16, 12, 24)
ROLES = {f"{part}.weight": {"part": part} for part in "qkv"}


def neighbors():
    return torch.stack([torch.randperm(12)[:4] for _ in range(12)])


def two(forward, **parts):
    """Two layers of the same features, one of which has a bias."""
    return Net(forward, a=nn.Linear(24, 32), b=nn.Linear(24, 32, bias=False), **parts)


# Sums of two products.


@gain("A", STEPS, undecidable=True)
def a_node_and_the_mean_of_its_neighbors():
    return two(lambda m, x: m.a(x) + m.b(x[:, m.n].mean(2)), n=neighbors())


@gain("A", STEPS, undecidable=True)
def a_node_less_the_largest_of_its_neighbors():
    return two(lambda m, x: m.a(x) - m.b(x[:, m.n].amax(2)), n=neighbors())


@gain("A", STEPS, undecidable=True)
def both_ends_of_an_edge():
    parts = {"n": torch.randint(0, 12, (40,)), "to": torch.arange(40) % 12}
    return two(lambda m, x: m.a(x)[:, m.n] + m.b(x[:, m.to_]), n=parts["n"], to_=parts["to"])


@gain("A", [(6, 16, 9, 9), (6, 12)], undecidable=True)
def a_map_and_a_time():
    return Net(
        lambda m, x, t: m.f(x) + m.g(t)[:, :, None, None],
        f=nn.Conv2d(16, 24, 3, padding=1),
        g=nn.Linear(12, 24),
    )


@gain("A", [(16, 24), (16, 8)], undecidable=True)
def shifted_and_scaled_by_one_layer():
    def forward(m, x, c):
        scale, shift = m.g(c).chunk(2, -1)
        return scale * m.f(x) + shift

    return Net(forward, f=nn.Linear(24, 32), g=nn.Linear(8, 64))


@gain("B", X, undecidable=True)
def cosines_and_sines_of_each_number():
    def forward(m, x):
        phases = x[:, None, :, None] * torch.arange(1, 6.0)
        return (phases.cos() * m.a).sum((-2, -1)) + (phases.sin() * m.b).sum((-2, -1))

    return Net(forward, a=raw(32, 48, 5), b=raw(32, 48, 5))


@gain("A", [X, X], undecidable=True)
def two_inputs_added():
    return Net(lambda m, x, y: m.f(x + y), f=nn.Linear(48, 32))


# Squares, means, shares.


@gain("B", X, seeds=64, undecidable=True)
def factorization_machine():
    return Net(
        lambda m, x: 0.5 * ((x @ m.v) ** 2 - x**2 @ m.v**2).sum(-1),
        v=raw(48, 8),
    )


@gain("B", (64, 10, 16), seeds=32, undecidable=True)
def factorization_machine_of_embedded_fields():
    def forward(m, x):
        fields = m.f(x)
        return 1e-2 * (fields.sum(1) ** 2 - (fields**2).sum(1)).sum(-1)

    return Net(forward, f=nn.Linear(16, 8))


@gain("A", X, undecidable=True)
def mean_of_several_layers():
    layers = [nn.Linear(48, 32) for _ in range(4)]
    return Net(lambda m, x: torch.stack([f(x) for f in m.f]).mean(0), f=layers)


@gain("A", X, undecidable=True)
def experts_weighted_by_shares():
    def forward(m, x):
        shares = m.gate(x).softmax(-1)
        return sum(shares[:, e : e + 1] * f(x) for e, f in enumerate(m.f))

    return Net(forward, gate=nn.Linear(48, 4), f=[nn.Linear(48, 32) for _ in range(4)])


@gain("A", X, undecidable=True)
def the_best_two_experts():
    def forward(m, x):
        shares, best = m.gate(x).softmax(-1).topk(2)
        shares = shares / shares.sum(-1, keepdim=True)
        made = torch.stack([f(x) for f in m.f], 1)
        chosen = made.gather(1, best[..., None].expand(-1, -1, 32))
        return (shares[..., None] * chosen).sum(1)

    return Net(forward, gate=nn.Linear(48, 4), f=[nn.Linear(48, 32) for _ in range(4)])


@gain("A", X, undecidable=True)
def one_of_n_experts():
    def forward(m, x):
        chosen = fn.one_hot(m.gate(x).argmax(-1), 4).float()
        return torch.einsum("be,bi,eio->bo", chosen, x, m.w)

    return Net(forward, gate=nn.Linear(48, 4), w=raw(4, 48, 32))


@gain("A", X, undecidable=True)
def features_weighted_by_shares():
    return Net(lambda m, x: m.f(x * m.g(x).softmax(-1)), f=nn.Linear(48, 32), g=nn.Linear(48, 48))


@gain("A", (16, 24), undecidable=True)
def rows_weighted_by_shares():
    def forward(m, q):
        scores, best = (q @ m.keys.T).topk(3, -1)
        return (scores.softmax(-1)[..., None] * m.values[best]).sum(1)

    return Net(forward, keys=raw(40, 24), values=raw(40, 32))


@gain("A", X, undecidable=True)
def less_the_largest():
    return Net(lambda m, x: m.f(x - x.amax(-1, keepdim=True)), f=nn.Linear(48, 32))


@gain("A", X, undecidable=True)
def squashed_capsules():
    def forward(m, x):
        x = x.view(64, 6, 8)
        square = (x**2).sum(-1, keepdim=True)
        return m.f((square / (1 + square) * x / square.sqrt()).flatten(1))

    return Net(forward, f=nn.Linear(48, 32))


@gain("A", X, undecidable=True)
def cosines_with_the_weight():
    return Net(
        lambda m, x: fn.linear(fn.normalize(x, dim=-1), fn.normalize(m.w, dim=-1)), w=raw(32, 48)
    )


@gain("B", [(16, 24), (16, 18)], undecidable=True)
def factors_summed_in_groups():
    return Net(
        lambda m, x, y: ((x @ m.a) * (y @ m.b)).view(16, 8, 4).sum(-1), a=raw(24, 32), b=raw(18, 32)
    )


@gain("A", X, undecidable=True)
def dot_products_of_one_network():
    return Net(lambda m, x: m.f(x) @ m.f(x).T, f=nn.Linear(48, 32))


@gain("A", (6, 16, 9, 9), undecidable=True)
def a_map_in_two_bands():
    def forward(m, x):
        low = fn.avg_pool2d(x, 3, 1, 1)
        return m.f(torch.cat([x - low, low], 1))

    return Net(forward, f=nn.Conv2d(32, 24, 1))


@gain("E", STEPS, undecidable=True)
def taps_added_to_steps_of_a_buffer():
    def forward(m, x):
        y = torch.zeros(16, 12, 32)
        for t in range(12):
            for k in range(min(t + 1, 3)):
                y[:, t] += x[:, t - k] @ m.w[k]
        return y[:, 2:]

    return Net(forward, w=raw(3, 24, 32))


# Weights that were measured wrong.


@gain("D", X, seeds=32)
def tensor_train_on_the_input():
    return Net(
        lambda m, x: torch.einsum("bij,ior,jpr->bop", x.view(64, 6, 8), m.a, m.b),
        a=raw(6, 4, 3),
        b=raw(8, 8, 3),
    )


@gain("D", X, undecidable=True)
def triangular_factors_with_an_identity():
    def forward(m, x):
        lower = torch.tril(m.a, -1) + torch.eye(48)
        return x @ lower @ (torch.triu(m.b, 1) + torch.diag(m.s.exp()))

    return Net(forward, a=raw(48, 48), b=raw(48, 48), s=full(0, 48))


@gain("D", X, seeds=64)
def generated_in_chunks():
    def forward(m, x):
        rows = [m.f(torch.cat([m.code, chunk])) for chunk in m.chunks]
        return fn.linear(x, torch.cat(rows).view(32, 48))

    codes = {"code": nn.Parameter(torch.randn(8)), "chunks": nn.Parameter(torch.randn(6, 8))}
    return Net(forward, f=nn.Linear(16, 256), **codes)


@gain("B", (8, 16, 32), seeds=32)
def causal_convolution_by_fft():
    def forward(m, x):
        made = torch.fft.rfft(m.w, n=64) * torch.fft.rfft(x, n=64)
        return torch.fft.irfft(made, n=64)[..., :32]

    return Net(forward, w=raw(16, 32))


@gain("A", X)
def sorted_in_pairs():
    return Net(lambda m, x: m.f(x).view(64, 16, 2).sort(-1)[0].flatten(1), f=nn.Linear(48, 32))


# Attention by products that are summed.


def attention(forward, x=STEPS, width=24, **parts):
    layers = {part: nn.Linear(width, width) for part in "qkv"}
    return facts("I", x, ROLES)(_named(forward, lambda: Net(forward, **layers, **parts)))


def _named(forward, make):
    make.__name__ = forward.__name__
    return make


@attention
def all_pairs_multiplied_and_summed(m, x):
    scores = (m.q(x)[:, :, None] * m.k(x)[:, None]).sum(-1) / 24**0.5
    return (scores.softmax(-1)[..., None] * m.v(x)[:, None]).sum(2)


@attention
def pairs_of_heads_multiplied_and_summed(m, x):
    q, k, v = (f(x).view(16, 12, 4, 6) for f in (m.q, m.k, m.v))
    shares = ((q[:, :, None] * k[:, None]).sum(-1) * 6**-0.5).softmax(2)
    return (shares[..., None] * v[:, None]).sum(2).flatten(2)


@attention
def scores_multiplied_and_values_by_matmul(m, x):
    scores = (m.q(x)[:, :, None] * m.k(x)[:, None]).sum(-1) / 24**0.5
    return scores.softmax(-1) @ m.v(x)


@attention
def values_of_the_best_scores(m, x):
    scores, best = (m.q(x) @ m.k(x).mT / 24**0.5).topk(4, -1)
    chosen = m.v(x)[torch.arange(16)[:, None, None], best]
    return (scores.softmax(-1)[..., None] * chosen).sum(2)


@attention
def shares_of_edges(m, x):
    of, to = torch.arange(12).repeat(3), torch.arange(36) % 12
    scores = ((m.q(x[0])[to] * m.k(x[0])[of]).sum(-1) / 24**0.5).exp()
    sums = torch.zeros(12).index_add(0, to, scores)
    messages = (scores / sums[to])[:, None] * m.v(x[0])[of]
    return torch.zeros(12, 24).index_add(0, to, messages)


@attention
def scores_of_distances(m, x):
    return (-(torch.cdist(m.q(x), m.k(x)) ** 2) / 24).softmax(-1) @ m.v(x)


# Biases that a class set, each element to a value of its own.

SHARES = torch.tensor([0.5, 0.25, 0.12, 0.07, 0.04, 0.02])


@keeps("O", X, "b")
def logarithms_of_the_shares_of_classes():
    return Net(lambda m, x: x @ m.w + m.b, w=raw(48, 6), b=nn.Parameter(SHARES.log()))


@keeps("O", X, "f.bias")
def logarithms_in_a_layers_bias():
    layer = nn.Linear(48, 6)
    with torch.no_grad():
        layer.bias.copy_(SHARES.log())
    return Net(lambda m, x: m.f(x), f=layer)


@keeps("O", X, "b")
def steps_behind_a_softplus():
    steps = torch.exp(torch.rand(48) * math.log(100) + math.log(0.001))
    return Net(lambda m, x: fn.softplus(x + m.b), b=nn.Parameter(steps.expm1().log()))


@keeps("O", X, "f.bias")
def memories_of_many_lengths():
    """Chrono initialization."""
    layer = nn.Linear(48, 32)
    with torch.no_grad():
        layer.bias.copy_((torch.rand(32) * 98 + 1).log())
    return Net(lambda m, x: torch.sigmoid(m.f(x)) * x[:, :32], f=layer)


# A raw bias of a cell's gates.


def cell(gates, **parts):
    def forward(m, x):
        h = c = torch.zeros(16, 24)
        for t in range(4):
            i, f, g, o = gates(m, x[:, t], h).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h

    return Net(forward, b=full(0, 96), **parts)


@facts("G", STEPS, {"b": {"kind": "recurrent"}})
def raw_bias_of_two_products():
    return cell(lambda m, x, h: x @ m.w + h @ m.u + m.b, w=raw(24, 96), u=raw(24, 96))


@facts("G", STEPS, {"b": {"kind": "recurrent"}})
def raw_bias_of_a_packed_product():
    return cell(lambda m, x, h: torch.cat([x, h], -1) @ m.w + m.b, w=raw(48, 96))
