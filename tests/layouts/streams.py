"""Kinds H and Q: state spaces, lists, routers and gates beside a residual stream."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, facts, full, raw
from .residual import END, NO, D, X, linear, norm

# State spaces: the size of a step multiplies the stream, and D carries it past.

STEPPED = {"step.weight": NO, "b.weight": NO, "c.weight": NO, "out.weight": END}


def state_space(size):
    def forward(m, x):
        u = fn.silu(m.into(m.norm(x)))
        dt, b, c = size(m.step(u)), m.b(u), m.c(u)
        h, states = u.new_zeros(len(u), D, 6), []
        for t in range(x.shape[1]):
            decay = torch.exp(-dt[:, t, :, None] * m.rate.exp())
            h = decay * h + (dt[:, t] * u[:, t])[..., None] * b[:, t, None]
            states.append((h * c[:, t, None]).sum(-1))
        return x + m.out(torch.stack(states, 1) + u * m.d)

    parts = {"into": linear(), "step": linear(), "b": linear(D, 6), "c": linear(D, 6)}
    made = {name: make() for name, make in parts.items()}
    rate = nn.Parameter(torch.arange(1.0, 7).log().repeat(D, 1))
    return Net(forward, norm=norm(), out=linear()(), rate=rate, d=full(1, D), **made)


@facts("Q", X, STEPPED)
def step_of_a_state_space():
    return state_space(fn.softplus)


@facts("Q", X, STEPPED)
def step_of_a_state_space_as_an_exponential():
    return state_space(torch.exp)


# A stream that is kept as a list, all of which is added up again each time: a branch counts once.

LISTED = {f"{name}.{i}.weight": want | {"depth": 2} for i in range(3)
          for name, want in {"up": NO, "out": END}.items()}  # fmt: skip


def listed(add):
    def forward(m, x):
        results = [x]
        for up, out in zip(m.up, m.out, strict=True):
            results.append(out(fn.gelu(up(fn.layer_norm(add(results), (D,))))))
        return add(results)

    layers = {"up": linear(D, 2 * D), "out": linear(2 * D, D)}
    return Net(forward, **{name: [make() for _ in range(3)] for name, make in layers.items()})


@facts("H", X, LISTED)
def results_added_up_each_time():
    return listed(sum)


@facts("H", X, LISTED)
def results_stacked_and_added_up_each_time():
    return listed(lambda results: torch.stack(results).sum(0))


# Routers: scores that functions change, before the best of them are chosen.


def routed(score):
    def forward(m, x):
        h = m.norm(x)
        scores = score(fn.linear(h, m.router))
        chosen = (scores + m.offsets).topk(2, -1).indices
        share = scores.gather(-1, chosen)
        share = share / share.sum(-1, keepdim=True)
        y = torch.zeros_like(h)
        for n, expert in enumerate(m.experts):
            y = y + expert(h) * (share * (chosen == n)).sum(-1, keepdim=True)
        return x + y

    experts = [nn.Linear(D, D) for _ in range(4)]
    return Net(forward, norm=norm(), router=raw(4, D), offsets=torch.zeros(4), experts=experts)


ROUTED = {"router": {"part": "router"} | NO} | {f"experts.{n}.weight": END for n in range(4)}


@facts("Q", X, ROUTED)
def router_of_roots():
    """DeepSeek-V4: the square root of a softplus."""
    return routed(lambda z: fn.softplus(z).sqrt())


@facts("Q", X, ROUTED)
def router_of_exponentials():
    return routed(torch.exp)


# A sum of two projections that makes a gate looks like a block whose skip is projected.

GATES = {f"{name}.weight": NO for name in ("low", "high", "share")}


def gated_by_a_sum(act, squash):
    """An attention gate of a U-Net: x and what a layer made of it choose from x."""

    def forward(m, x):
        context = fn.relu(m.down(x))
        return m.out(x * squash(m.share(act(m.low(context) + m.high(x)))))

    names = {name: linear()() for name in ("down", "low", "high", "out")}
    return Net(forward, share=nn.Linear(D, 1), **names)


@facts("Q", X, GATES)
def gate_of_two_projections_and_a_layer():
    return gated_by_a_sum(fn.relu, torch.sigmoid)


@facts("Q", X, GATES)
def shares_of_two_projections_and_a_layer():
    return gated_by_a_sum(torch.tanh, lambda scores: scores.softmax(1))


@facts("H", X, {"low.weight": END, "high.weight": NO})
def projected_skip_before_a_sigmoid():
    """A classifier's last block: its sigmoid multiplies nothing."""

    def forward(m, x):
        return torch.sigmoid(m.share(fn.relu(m.low(fn.relu(m.down(x))) + m.high(x))))

    names = {name: linear()() for name in ("down", "low", "high")}
    return Net(forward, share=nn.Linear(D, 1), **names)


@facts("H", X, {"up": NO, "down": END, "gate.weight": NO})
def experts_that_choose_tokens():
    """The choice takes its dtype and the sum its shape from the stream, which neither is."""

    def forward(m, x):
        h = m.norm(x).flatten(0, 1)
        share, chosen = m.gate(h).softmax(-1).T.topk(10, -1)
        places = fn.one_hot(chosen, len(h)).to(h)
        y = fn.gelu(torch.einsum("ekt,td->ekd", places, h) @ m.up) @ m.down
        return x + torch.einsum("ekt,ek,ekd->td", places, share, y).view_as(x)

    up, down = raw(4, D, 2 * D), raw(4, 2 * D, D)
    return Net(forward, norm=norm(), gate=nn.Linear(D, 4), up=up, down=down)


@facts("Q", [X, X], {"g.weight": NO, "f.weight": END})
def gate_that_chooses_between_two_inputs():
    def forward(m, x, y):
        share = m.g(torch.cat([x, y], -1)).sigmoid()
        h = share * x + (1 - share) * y
        return h + m.f(fn.gelu(m.norm(h)))

    return Net(forward, g=linear(2 * D, D)(), norm=norm(), f=linear()())


@facts("Q", X, {"g.weight": {"fan_in": D, "guessed": False}, "u.weight": {"guessed": False}})
def gated_unit_whose_gelu_is_written_out():
    """T5: recipes know this gate, as they know that of ``torch.nn.functional``."""

    def forward(m, x):
        y = m.g(h := m.norm(x))
        gate = 0.5 * y * (1 + torch.tanh(0.7979 * (y + 0.044715 * y**3)))
        return x + m.o(gate * m.u(h))

    return Net(forward, norm=norm(), g=linear()(), u=linear()(), o=linear()())
