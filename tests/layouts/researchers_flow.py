"""Kinds G to O once more: attention, recurrence, streams, norms and zeros of researchers."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .attention import ROLES, H, attention, heads, merged
from .layout import Net, facts, full, keeps, raw
from .meant import zeroed
from .norms import after, norm, trained
from .recurrent import recurrent, start
from .residual import END, MLP, MLP_ENDS, NO, D, X, attend, blocks, linear, mlp
from .residual import norm as layer_norm

# I: fast weights, and attention in other forms.


def fast_weights(step):
    """A state of keys times values, step by step."""

    def mix(q, k, v, m):
        state, out = torch.zeros(4, H, 8, 8), []
        k = fn.normalize(k, dim=-1)
        for t in range(q.shape[2]):
            state = step(state, k[:, :, t], v[:, :, t], m, t)
            out.append((state * q[:, :, t, :, None]).sum(-2))
        return torch.stack(out, 2)

    return mix


@facts("I", X, ROLES)
def delta_rule():
    def step(state, k, v, m, t):
        wrong = v - torch.einsum("bhkv,bhk->bhv", state, k)
        return state + torch.einsum("bhk,bhv->bhkv", k, 0.5 * wrong)

    return attention(fast_weights(step))


@facts("I", X, ROLES)
def delta_rule_by_broadcast():
    def step(state, k, v, m, t):
        wrong = v - (state * k[..., None]).sum(-2)
        return state + k[..., None] * wrong[..., None, :]

    return attention(fast_weights(step))


@facts("I", X, ROLES)
def gated_delta_rule():
    def step(state, k, v, m, t):
        state = state * m.decay[:, t, :, None, None]
        wrong = (v - (state * k[..., None]).sum(-2)) * m.rate[:, t, :, None]
        return state + k[..., None] * wrong[..., None, :]

    def forward(m, x):
        gates = Net(None)
        gates.decay, gates.rate = m.d(x).sigmoid(), m.r(x).sigmoid()
        mixed = fast_weights(step)(heads(m.a(x)), heads(m.b(x)), heads(m.c(x)), gates)
        return x + m.o(merged(mixed))

    layers = {name: nn.Linear(D, D) for name in "abco"}
    return Net(forward, **layers, d=nn.Linear(D, H), r=nn.Linear(D, H))


@facts("I", X, ROLES)
def delta_rule_in_chunks():
    def mix(q, k, v, m):
        lower = torch.eye(q.shape[2]) + (k @ k.mT).tril(-1)
        new = torch.linalg.solve_triangular(lower, v, upper=False)
        return (q @ k.mT).tril() @ new

    return attention(mix)


@facts("I", X, ROLES)
def difference_of_two_softmaxes():
    def mix(q, k, v, m):
        (q, p), (k, r) = q.chunk(2, -1), k.chunk(2, -1)
        return ((q @ k.mT).softmax(-1) - 0.5 * (p @ r.mT).softmax(-1)) @ v

    return attention(mix)


@facts("I", X, ROLES)
def attention_over_features():
    """XCA."""

    def mix(q, k, v, m):
        q, k = fn.normalize(q, dim=-2), fn.normalize(k, dim=-2)
        return ((q.mT @ k).softmax(-1) @ v.mT).mT

    return attention(mix)


@facts("I", X, ROLES)
def in_windows():
    def mix(q, k, v, m):
        q, k, v = (t.unflatten(2, (2, 5)) for t in (q, k, v))
        return ((q @ k.mT).softmax(-1) @ v).flatten(2, 3)

    return attention(mix)


@facts("I", X, ROLES)
def learned_keys_and_values_beside():
    def mix(q, k, v, m):
        k = torch.cat([m.keys.expand(4, -1, -1, -1), k], 2)
        v = torch.cat([m.values_.expand(4, -1, -1, -1), v], 2)
        return (q @ k.mT).softmax(-1) @ v

    return attention(mix, keys=raw(1, H, 2, 8), values_=raw(1, H, 2, 8))


@facts("I", X, {**ROLES, "g.weight": {"part": "gate"}})
def gate_on_the_result():
    def forward(m, x):
        y = (heads(m.a(x)) @ heads(m.b(x)).mT).softmax(-1) @ heads(m.c(x))
        return x + m.o(merged(y) * m.g(x).sigmoid())

    return Net(forward, **{name: nn.Linear(D, D) for name in "abcog"})


@facts("I", X, {"d.weight": {"part": "weight"}, **ROLES})
def keys_and_values_from_a_bottleneck():
    """Multi-head latent attention."""

    def forward(m, x):
        c = m.d(x)
        y = (heads(m.a(x)) @ heads(m.b(c)).mT).softmax(-1) @ heads(m.c(c))
        return x + m.o(merged(y))

    return Net(forward, a=nn.Linear(D, D), d=nn.Linear(D, 8), b=nn.Linear(8, D),
               c=nn.Linear(8, D), o=nn.Linear(D, D))  # fmt: skip


@facts("I", (2, 16, 6, 6), ROLES)
def non_local_block():
    def forward(m, x):
        q, k, v = (f(x).flatten(2) for f in (m.a, m.b, m.c))
        return x + m.o(((q.mT @ k).softmax(-1) @ v.mT).mT.reshape(2, 8, 6, 6))

    return Net(forward, **{name: nn.Conv2d(16, 8, 1) for name in "abc"}, o=nn.Conv2d(8, 16, 1))


@facts("I", X, {name: ROLES[name] for name in ("a.weight", "b.weight", "c.weight")})
def slots():
    """A softmax over the slots, divided by its sum over the inputs."""

    def forward(m, x):
        slots = m.slots.expand(4, -1, -1)
        share = (m.b(x) @ m.a(slots).mT).softmax(-1)
        return m.o(slots + (share / share.sum(1, keepdim=True)).mT @ m.c(x))

    return Net(forward, slots=raw(1, 5, D, std=1), **{name: nn.Linear(D, D) for name in "abco"})


# G.


@recurrent("w.weight")
def peepholes():
    def forward(m, x):
        h = c = start(x)
        for t in range(x.shape[1]):
            i, f, g, o = (m.u(x[:, t]) + m.w(h)).chunk(4, -1)
            c = torch.sigmoid(f + m.p * c) * c + torch.sigmoid(i + m.r * c) * g.tanh()
            h = torch.sigmoid(o + m.s * c) * c.tanh()
        return h

    vectors = {name: raw(D) for name in "prs"}
    return Net(forward, u=nn.Linear(D, 4 * D), w=nn.Linear(D, 4 * D), **vectors)


@recurrent("r")
def each_unit_on_its_own():
    def forward(m, x):
        h = start(x)
        for part in x.unbind(1):
            h = fn.relu(m.u(part) + m.r * h)
        return h

    return Net(forward, u=nn.Linear(D, D), r=raw(D))


@recurrent("w.weight")
def legendre_memory():
    """A memory whose matrices are fixed, beside a state."""

    def forward(m, x):
        h = memory = start(x)
        for part in x.unbind(1):
            memory = memory @ m.fixed + m.e(part) @ m.into
            h = torch.tanh(m.u(part) + m.w(h) + m.v(memory))
        return h

    buffers = {"fixed": 0.9 * torch.eye(D), "into": torch.randn(1, D)}
    return Net(forward, e=nn.Linear(D, 1), **{k: nn.Linear(D, D) for k in "uvw"}, **buffers)


@recurrent("w.weight")
def messages_and_a_gate():
    def forward(m, x):
        h = x
        for _ in range(x.shape[1]):
            message = m.e(h).mean(1, keepdim=True).expand_as(h)
            z = torch.sigmoid(m.z(torch.cat([message, h], -1)))
            h = (1 - z) * h + z * torch.tanh(m.u(message) + m.w(h))
        return h

    return Net(forward, z=nn.Linear(2 * D, D), **{k: nn.Linear(D, D) for k in "euw"})


# H.


@facts("H", X, MLP_ENDS)
def rolled_windows():
    def step(m, x):
        h = m.norm(x).roll(2, 1).unflatten(1, (2, 5))
        return x + mlp(m, h).flatten(1, 2).roll(-2, 1)

    return blocks(3, step, **MLP)


@facts("H", X, {f"{i}.{k}.weight": END if k in "oa" else NO for i in range(2) for k in "ouav"})
def macaron():
    def step(m, x):
        x = x + 0.5 * m.o(fn.silu(m.u(x)))
        return m.last(x + attend(m, m.first(x)))

    parts = {"first": layer_norm, "last": layer_norm, "v": linear(), "a": linear()}
    return blocks(2, step, u=linear(D, 2 * D), o=linear(2 * D, D), **parts)


@facts("H", X, {f"{i}.{k}.weight": END if k == "o" else NO for i in range(2) for k in "ouv"})
def branches_merged_by_a_layer():
    def step(m, x):
        h = m.norm(x)
        return x + m.o(torch.cat([fn.gelu(m.u(h)), (h @ h.mT).softmax(-1) @ m.v(h)], -1))

    return blocks(2, step, norm=layer_norm, u=linear(), v=linear(), o=linear(2 * D, D))


@facts("H", X, {f"{i}.{k}.weight": END if k == "o" else NO for i in range(2) for k in "of"})
def one_way_in_and_one_way_out():
    """PaLM: queries, keys, values and the feed-forward layer are one weight."""

    def step(m, x):
        q, k, v, u = m.f(m.norm(x)).split([D, D, D, 2 * D], -1)
        return x + m.o(torch.cat([(q @ k.mT).softmax(-1) @ v, fn.silu(u)], -1))

    return blocks(2, step, norm=layer_norm, f=linear(D, 5 * D), o=linear(3 * D, D))


@facts("H", X, MLP_ENDS)
def depth_dropped_by_hand():
    def step(m, x):
        keep = (torch.rand(x.shape[0], 1, 1) < 0.8).float() / 0.8
        return x + mlp(m, m.norm(x)) * keep

    return blocks(3, step, **MLP)


@facts("H", X, {f"{i}.{k}.weight": END if k == "out" else NO for i in range(2)
                for k in ("out", "up", "c")})  # fmt: skip
def context_inside_a_branch():
    def step(m, x):
        return x + m.out(fn.gelu(m.up(m.norm(x)) + m.c(x.mean(1, keepdim=True))))

    return blocks(2, step, c=linear(D, 2 * D), **MLP)


# K.


@norm()
def length_by_an_einsum():
    def forward(m, x):
        size = torch.einsum("btd,btd->bt", x, x)[..., None] / 24
        return x * (size + 1e-6).rsqrt() * m.w

    return after(forward, w=trained(24))


@norm()
def mean_by_a_sum():
    return after(
        lambda m, x: x * torch.rsqrt(x.square().sum(-1, keepdim=True) / 24 + 1e-6) * m.w,
        w=trained(24),
    )


@norm()
def one_scale_for_all():
    return after(
        lambda m, x: m.w * (x * 24**0.5 / x.norm(dim=-1, keepdim=True).clamp(min=1e-5)),
        w=full(1, 1),
    )


@norm(neutral=0.0)
def offset_in_single_precision():
    def forward(m, x):
        y = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
        return (y * (1.0 + m.w.float())).type_as(x)

    return after(forward, w=full(0, 24))


# O.


@keeps("O", (4, 8, 9, 9), "off.weight", "off.bias", blind=False)
def where_to_read():
    """Offsets of a grid, all 0 at first."""

    def forward(m, x):
        same = fn.affine_grid(torch.eye(2, 3).expand(4, 2, 3), x.shape, align_corners=False)
        grid = same + m.off(x).permute(0, 2, 3, 1)
        return m.f(fn.grid_sample(x, grid, align_corners=False))

    return Net(forward, off=zeroed(nn.Conv2d(8, 2, 3, padding=1)), f=nn.Conv2d(8, 8, 1))


@keeps("O", (4, 8), "last.weight", "last.bias", blind=False)
def coupling_layer():
    def forward(m, x):
        a, b = x.chunk(2, -1)
        scale, shift = m.last(fn.relu(m.first(a))).chunk(2, -1)
        return torch.cat([a, b * scale.exp() + shift], -1)

    return Net(forward, first=nn.Linear(4, 16), last=zeroed(nn.Linear(16, 8)))


@keeps("O", X, "sink")
def sink_of_attention():
    def forward(m, x):
        scores = torch.cat([m.a(x) @ m.b(x).mT, m.sink.expand(4, 10, 1)], -1)
        return scores.softmax(-1)[..., :-1] @ x

    return Net(forward, a=nn.Linear(D, D), b=nn.Linear(D, D), sink=full(0, 1))


@keeps("O", X, "up")
def random_projections_and_vectors():
    """VeRA."""
    return Net(
        lambda m, x: m.base(x) + fn.linear(m.down * fn.linear(x, m.first), m.last) * m.up,
        base=nn.Linear(D, D),
        first=torch.randn(4, D),
        last=torch.randn(D, 4),
        down=full(0.1, 4),
        up=full(0, D),
    )
