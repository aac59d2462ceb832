"""Further forms of kinds G, H and I, and what only looks like them."""

from __future__ import annotations

import functools
import operator

import torch
from torch import nn
from torch.nn import functional as fn

from .attention import ROLES, attention, heads, merged
from .layout import NOT_TRUE, Net, facts, raw
from .recurrent import recurrent, start
from .residual import END, MLP, MLP_ENDS, NO, D, X, blocks, linear, mlp, norm

PLAIN = {"part": "weight", "ends_residual": NOT_TRUE}


# Sums that are residual.


@facts("H", X, MLP_ENDS)
def reduced_by_an_operator():
    return blocks(3, lambda m, x: functools.reduce(operator.add, [x, mlp(m, m.norm(x))]), **MLP)


@facts("H", X, MLP_ENDS)
def mean_of_both():
    return blocks(3, lambda m, x: torch.stack([x, mlp(m, m.norm(x))]).mean(0) * 2**0.5, **MLP)


@facts("H", X, MLP_ENDS)
def half_of_each():
    return blocks(3, lambda m, x: 0.7 * x + 0.7 * mlp(m, m.norm(x)), **MLP)


@facts("H", X, MLP_ENDS)
def where_a_mask_holds():
    def step(m, x):
        some = torch.arange(10)[:, None] % 2 == 0
        return torch.where(some, x + mlp(m, m.norm(x)), x)

    return blocks(3, step, **MLP)


@facts("H", X, MLP_ENDS)
def first_token_alone():
    """CaiT's class attention."""

    def step(m, x):
        first = x[:, :1] + mlp(m, m.norm(x[:, :1]))
        return torch.cat([first, x[:, 1:]], 1)

    return blocks(3, step, **MLP)


@facts("H", X, MLP_ENDS)
def indexed_in_place():
    def step(m, x):
        x = x.clone()
        x[:, ::2] += mlp(m, m.norm(x[:, ::2]))
        return x

    return blocks(3, step, **MLP)


@facts("H", X, MLP_ENDS)
def over_a_list_of_streams():
    def forward(m, x):
        past = [x]
        for layer in m.layers:
            past.append(mlp(layer, layer.norm(past[-1])))
            past.append(past[-2] + past[-1])
        return past[-1]

    layers = [Net(None, **{name: make() for name, make in MLP.items()}) for _ in range(3)]
    return Named(Net(forward, layers=layers))


class Named(nn.Module):
    """Hands the names of ``layers`` up, so that they read as a Sequential's."""

    def __init__(self, net):
        super().__init__()
        object.__setattr__(self, "net", net)
        for name, layer in net.layers.named_children():
            self.add_module(name, layer)

    def forward(self, x):
        return self.net(x)


@facts("H", X, MLP_ENDS)
def channels_first():
    def step(m, x):
        x = x.transpose(1, 2)
        return (x + mlp(m, m.norm(x.transpose(1, 2))).transpose(1, 2)).transpose(1, 2)

    return blocks(3, step, **MLP)


@facts("H", X, MLP_ENDS)
def in_double_precision():
    """The stream is kept in double."""

    def step(m, x):
        return (x.double() + mlp(m, m.norm(x)).double()).float()

    return blocks(3, step, **MLP)


@facts("H", X, {f"{i}.outs.{k}.weight": END for i in range(2) for k in range(3)})
def a_way_out_for_each_head():
    def step(m, x):
        h = m.norm(x)
        parts = m.v(h).chunk(3, -1)
        share = (h @ h.mT).softmax(-1)
        return x + sum(out(share @ p) for out, p in zip(m.outs, parts, strict=True))

    return blocks(2, step, norm=norm, v=linear(), outs=lambda: [nn.Linear(8, D) for _ in range(3)])


@facts("H", (2, 8, 9, 9), {f"{i}.b.weight": END for i in range(2)} |
       {f"{i}.{k}.weight": NO for i in range(2) for k in ("a", "squeeze", "excite")})  # fmt: skip
def squeeze_and_excitation():
    def step(m, x):
        h = m.b(fn.relu(m.a(x)))
        share = torch.sigmoid(m.excite(fn.relu(m.squeeze(h.mean((2, 3), keepdim=True)))))
        return fn.relu(x + h * share)

    return blocks(
        2, step,
        a=lambda: nn.Conv2d(8, 8, 3, padding=1),
        b=lambda: nn.Conv2d(8, 8, 3, padding=1),
        squeeze=lambda: nn.Conv2d(8, 4, 1),
        excite=lambda: nn.Conv2d(4, 8, 1),
    )  # fmt: skip


@facts("H", [(2, 8, 9, 9), (2, 16)], {f"layers.{i}.b.weight": END for i in range(2)} |
       {f"layers.{i}.{k}.weight": NO for i in range(2) for k in ("a", "time")})  # fmt: skip
def time_added_inside_a_branch():
    """A diffusion UNet's block."""

    def forward(m, x, t):
        for layer in m.layers:
            h = layer.a(fn.silu(x)) + layer.time(fn.silu(t))[:, :, None, None]
            x = x + layer.b(fn.silu(h))
        return x

    layers = [
        Net(
            None,
            a=nn.Conv2d(8, 8, 3, padding=1),
            b=nn.Conv2d(8, 8, 3, padding=1),
            time=nn.Linear(16, 8),
        )
        for _ in range(2)
    ]
    return Net(forward, layers=layers)


# Sums that are none.


@facts("H", X, {"a.weight": NO, "b.weight": NO})
def pooled_over_positions():
    return Net(lambda m, x: m.b(torch.tanh(m.a(x)).sum(1)), a=nn.Linear(D, D), b=nn.Linear(D, 5))


@facts("H", X, {"a.weight": NO, "b.weight": NO, "head.weight": NO})
def parallel_layers_without_a_stream():
    return Net(
        lambda m, x: m.head(fn.relu(m.a(x)) + fn.relu(m.b(x))),
        a=nn.Linear(D, D),
        b=nn.Linear(D, D),
        head=nn.Linear(D, 5),
    )


@facts("H", X, {"up.weight": NO, "gate.weight": NO, "down.weight": NO})
def gated_unit_without_a_stream():
    return Net(
        lambda m, x: m.down(fn.silu(m.gate(x)) * m.up(x)),
        gate=nn.Linear(D, 2 * D),
        up=nn.Linear(D, 2 * D),
        down=nn.Linear(2 * D, D),
    )


@facts("H", X, {f"{k}.weight": NO for k in ("encode", "deep", "decode")})
def skip_by_concatenation():
    def forward(m, x):
        e = fn.relu(m.encode(x))
        return m.decode(torch.cat([e, fn.relu(m.deep(e))], -1))

    return Net(forward, encode=nn.Linear(D, D), deep=nn.Linear(D, D), decode=nn.Linear(2 * D, D))


@facts("H", X, {"a.weight": NO, "b.weight": NO})
def average_of_two_networks():
    return Net(
        lambda m, x: 0.5 * (m.b(fn.relu(m.a(x))) + m.d(fn.relu(m.c(x)))),
        **{k: nn.Linear(D, D) for k in "abcd"},
    )


@facts("H", X, {"mean.weight": NO, "log_var.weight": NO})
def reparameterized_noise():
    """A variational autoencoder: mean + std * noise."""

    def forward(m, x):
        mean, std = m.mean(x), (0.5 * m.log_var(x)).exp()
        return m.decode(mean + std * torch.randn_like(std))

    return Net(forward, mean=nn.Linear(D, 8), log_var=nn.Linear(D, 8), decode=nn.Linear(8, D))


# Recurrences.


@recurrent("w.weight")
def bidirectional():
    def forward(m, x):
        def run(parts):
            h, out = start(x), []
            for part in parts:
                h = torch.tanh(m.u(part) + m.w(h))
                out.append(h)
            return torch.stack(out, 1)

        parts = x.unbind(1)
        return torch.cat([run(parts), run(parts[::-1]).flip(1)], -1)

    return Net(forward, u=nn.Linear(D, D), w=nn.Linear(D, D))


@recurrent("w.weight")
def euler_steps():
    """An ODE: h + dt f(h), as many steps as one likes."""

    def forward(m, x):
        h = m.u(x[:, 0])
        for _ in range(x.shape[1]):
            h = h + 0.1 * torch.tanh(m.w(h))
        return m.o(h)

    return Net(forward, u=nn.Linear(D, D), w=nn.Linear(D, D), o=nn.Linear(D, 5))


@recurrent("a.weight", "b.weight")
def runge_kutta_steps():
    def forward(m, x):
        def field(h):
            return m.b(torch.tanh(m.a(h)))

        h = x[:, 0]
        for _ in range(x.shape[1]):
            k1 = field(h)
            k2 = field(h + 0.05 * k1)
            h = h + 0.1 * k2
        return h

    return Net(forward, a=nn.Linear(D, 2 * D), b=nn.Linear(2 * D, D))


@recurrent("cell.w.weight")
def cell_module():
    """The cell is a module of its own, called in a loop with a tuple of states."""

    def cell(m, part, state):
        h, c = state
        i, f, g, o = m.w(torch.cat([part, h], -1)).chunk(4, -1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def forward(m, x):
        state = (start(x), start(x))
        for part in x.unbind(1):
            state = m.cell(part, state)
        return m.head(state[0])

    return Net(forward, cell=Net(cell, w=nn.Linear(2 * D, 4 * D)), head=nn.Linear(D, 5))


@recurrent("w.weight", "o.weight")
def output_fed_back():
    """Its own output is the next input."""

    def forward(m, x):
        y, h = x[:, 0], start(x)
        for _ in range(x.shape[1]):
            h = torch.tanh(m.u(y) + m.w(h))
            y = m.o(h)
        return y

    return Net(forward, u=nn.Linear(D, D), w=nn.Linear(D, D), o=nn.Linear(D, D))


@recurrent("w.weight")
def messages_in_rounds():
    """A graph network whose rounds share their weights."""

    def forward(m, x):
        h = torch.tanh(m.u(x[:, 0]))
        adjacency = torch.ones(4, 4) / 4
        for _ in range(x.shape[1]):
            h = torch.tanh(m.w(adjacency @ h))
        return h

    return Net(forward, u=nn.Linear(D, D), w=nn.Linear(D, D))


@recurrent("w")
def scalar_recurrence_of_channels():
    """IndRNN."""

    def forward(m, x):
        h = start(x)
        for t in range(x.shape[1]):
            h = torch.relu(m.u(x[:, t]) + m.w * h)
        return h

    return Net(forward, u=nn.Linear(D, D), w=raw(D, std=0.5))


# Scores.


@facts("I", X, ROLES)
def relu_attention_with_shared_keys():
    """Multi-query: one head of keys and values."""

    def forward(m, x):
        q = heads(m.a(x))
        k, v = m.b(x)[:, None], m.c(x)[:, None]
        return x + m.o(merged(fn.relu(q @ k.mT / 10) @ v))

    net = Net(forward, **{name: nn.Linear(D, D) for name in "ao"})
    net.b, net.c = nn.Linear(D, 8), nn.Linear(D, 8)
    return net


@facts("I", X, ROLES)
def causal_linear_attention():
    """By a cumulated sum of outer products."""

    def mix(q, k, v, m):
        q, k = fn.elu(q) + 1, fn.elu(k) + 1
        state = torch.einsum("bhnd,bhne->bhnde", k, v).cumsum(2)
        return torch.einsum("bhnd,bhnde->bhne", q, state)

    return attention(mix)


@facts("I", X, ROLES)
def masked_and_dropped():
    def mix(q, k, v, m):
        score = (q @ k.mT / 8**0.5).masked_fill(m.mask, float("-inf"))
        return fn.dropout(score.softmax(-1), 0.1) @ v

    return attention(mix, mask=torch.ones(10, 10).triu(1).bool())


@facts("I", X, ROLES)
def sparse_scores():
    """The best scores alone."""

    def mix(q, k, v, m):
        score = q @ k.mT
        best = score.topk(4, -1).values[..., -1:]
        return torch.where(score >= best, score, torch.full((), -1e9)).softmax(-1) @ v

    return attention(mix)


@facts("I", X, ROLES)
def gated_values():
    def forward(m, x):
        share = (heads(m.a(x)) @ heads(m.b(x)).mT).softmax(-1)
        return x + m.o(merged(share @ heads(m.c(x))) * torch.sigmoid(m.g(x)))

    return Net(forward, **{name: nn.Linear(D, D) for name in "abcog"})


@facts("I", [X, X], {"a.weight": PLAIN, "b.weight": PLAIN})
def towers_are_no_attention():
    """Similarities of two towers are the output: nothing is weighted by them."""
    return Net(
        lambda m, x, y: fn.normalize(m.a(x), dim=-1) @ fn.normalize(m.b(y), dim=-1).mT,
        a=nn.Linear(D, 8),
        b=nn.Linear(D, 8),
    )


@facts("I", X, {"a.weight": {"part": "weight"}, "head.weight": {"ends_residual": NOT_TRUE}})
def covariance_pooling_is_no_attention():
    def forward(m, x):
        h = m.a(x)
        return m.head((h.mT @ h / 10).flatten(1))

    return Net(forward, a=nn.Linear(D, 6), head=nn.Linear(36, 5))


@facts("I", X, {"a.weight": {"part": "weight"}, "b.weight": {"ends_residual": NOT_TRUE}})
def learned_adjacency_is_no_attention():
    """Graph WaveNet: the scores are of parameters alone."""

    def forward(m, x):
        share = fn.relu(m.left @ m.right).softmax(-1)
        return m.b(fn.relu(share @ m.a(x)))

    return Net(
        forward,
        a=nn.Linear(D, D),
        b=nn.Linear(D, 5),
        left=raw(10, 4, std=1),
        right=raw(4, 10, std=1),
    )
