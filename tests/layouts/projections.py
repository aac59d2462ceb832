"""Kind I: which weight makes queries, keys and values, where others work on them as well."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as fn

from .attention import ROLES, D, H, X, attention, heads, merged
from .layout import Net, facts, raw

# Keys and values whose positions a weight mixes (Linformer): what makes features is behind it.


@facts("I", X, {**ROLES, "rows": {"part": "weight"}, "more.weight": {"part": "weight"}})
def keys_of_fewer_positions():
    def mix(q, k, v, m):
        k = torch.einsum("bhnd,nk->bhkd", k, m.rows)
        return (q @ k.mT / 8**0.5).softmax(-1) @ m.more(v.mT).mT

    return attention(mix, rows=raw(10, 5), more=nn.Linear(10, 5))


@facts("I", X, {**ROLES, "rows": {"part": "weight"}})
def keys_of_fewer_positions_by_a_product():
    return attention(
        lambda q, k, v, m: (q @ (m.rows @ k).mT / 8**0.5).softmax(-1) @ (m.rows @ v),
        rows=raw(5, 10),
    )


@facts("I", X, ROLES)
def queries_of_two_layers_in_a_row():
    """Of features alone: the last one makes them."""

    def forward(m, x):
        q, k, v = heads(m.a(m.first(x))), heads(m.b(m.first(x))), heads(m.c(x))
        return x + m.o(merged((q @ k.mT).softmax(-1) @ v))

    return Net(
        forward,
        first=nn.Linear(D, 12),
        a=nn.Linear(12, D),
        b=nn.Linear(12, D),
        c=nn.Linear(D, D),
        o=nn.Linear(D, D),
    )


# Weights on the features of each head, after the projections: feature maps, a bilinear form.


def linearly(q, k, v):
    return (q @ (k.mT @ v)) / (q @ k.sum(2)[..., None] + 1e-3)


@facts("I", X, {**ROLES, "f.weight": {"part": "weight"}, "g.weight": {"part": "weight"}})
def feature_maps_of_layers():
    """Hedgehog: a layer for the queries of each head and one for its keys, and softmaxes."""

    def mix(q, k, v, m):
        q, k = (torch.cat([z.softmax(-1), (-z).softmax(-1)], -1) for z in (m.f(q), m.g(k)))
        return linearly(q, k, v)

    return attention(mix, f=nn.Linear(8, 8), g=nn.Linear(8, 8))


@facts("I", X, {**ROLES, "f": {"part": "weight"}})
def feature_map_shared_by_queries_and_keys():
    return attention(
        lambda q, k, v, m: linearly(fn.relu(q @ m.f), fn.relu(k @ m.f), v), f=raw(8, 16)
    )


@facts("I", X, {**ROLES, "f": {"part": "weight"}})
def scores_by_a_bilinear_form():
    return attention(lambda q, k, v, m: (q @ m.f @ k.mT).softmax(-1) @ v, f=raw(8, 8))


@facts("I", X, {f"{name}.weight": {"part": part} for name, part in zip("abc", "qkv", strict=True)})
def projections_of_each_head_of_an_embedding():
    """Three layers and the stream take what the first one made: it makes no queries."""

    def forward(m, x):
        x = m.first(x)
        q, k, v = (layer(heads(x)) for layer in (m.a, m.b, m.c))
        return x + m.o(merged((q @ k.mT).softmax(-1) @ v))

    layers = {name: nn.Linear(8, 8) for name in "abc"}
    return Net(forward, first=nn.Linear(D, D), o=nn.Linear(D, D), **layers)


# Heads mixed by a layer, and convolutions of each feature between a projection and its use.


@facts("I", X, ROLES)
def talking_heads_by_a_layer():
    def mix(q, k, v, m):
        shares = m.after((q @ k.mT).softmax(-1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return shares @ v

    return attention(mix, after=nn.Linear(H, H, bias=False))


def convolved(mix):
    def forward(m, x):
        q, k, v = (
            fn.silu(conv(layer(x).mT)[..., :-3]).mT
            for layer, conv in zip((m.a, m.b, m.c), m.taps, strict=True)
        )
        return x + m.o(mix(q, k, v))

    taps = [nn.Conv1d(D, D, 4, padding=3, groups=D) for _ in range(3)]
    return Net(forward, taps=taps, **{name: nn.Linear(D, D) for name in "abco"})


@facts("I", X, ROLES)
def convolutions_of_each_feature():
    return convolved(lambda q, k, v: (q @ k.mT / D**0.5).softmax(-1) @ v)


@facts("I", X, ROLES)
def convolutions_of_each_feature_and_a_state():
    """Gated linear attention and the delta rule, with short convolutions."""

    def mix(q, k, v):
        state, out = torch.zeros(len(q), D, D), []
        for t in range(q.shape[1]):
            state = 0.9 * state + k[:, t, :, None] * v[:, t, None]
            out.append((q[:, t, :, None] * state).sum(1))
        return torch.stack(out, 1)

    return convolved(mix)
