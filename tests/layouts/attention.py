"""Kind I: attention is a bilinear score and a weighted sum, whatever normalizes it."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as fn

from .layout import Net, facts, raw

D, H = 24, 3
X = (4, 10, D)
ROLES = {
    f"{name}.weight": {"part": part}
    for name, part in zip("abco", ("q", "k", "v", "out"), strict=True)
}


def heads(x):
    return x.unflatten(-1, (H, -1)).transpose(-3, -2)


def merged(x):
    return x.transpose(-3, -2).flatten(-2)


def attention(mix, **more):
    """a, b, c are q, k, v, and o the way out; the names say nothing."""
    return Net(
        lambda m, x: x + m.o(merged(mix(heads(m.a(x)), heads(m.b(x)), heads(m.c(x)), m))),
        **{name: nn.Linear(D, D) for name in "abco"},
        **more,
    )


@facts("I", X, ROLES)
def softmax_attention():
    return attention(lambda q, k, v, m: (q @ k.mT / 8**0.5).softmax(-1) @ v)


@facts("I", X, ROLES)
def transposed_scores():
    """k @ q^T, normalized over the keys' axis."""
    return attention(lambda q, k, v, m: (k @ q.mT).softmax(-2).mT @ v)


@facts("I", X, ROLES)
def scores_by_einsum():
    def mix(q, k, v, m):
        share = torch.einsum("bhid,bhjd->bhij", q, k).softmax(3)
        return torch.einsum("bhij,bhjd->bhid", share, v)

    return attention(mix)


@facts("I", X, ROLES)
def softmax_by_hand():
    def mix(q, k, v, m):
        score = q @ k.mT
        e = (score - score.amax(-1, keepdim=True)).exp()
        return (e / e.sum(-1, keepdim=True)) @ v

    return attention(mix)


@facts("I", X, ROLES)
def softmax_divided_later():
    def mix(q, k, v, m):
        e = (q @ k.mT).exp()
        return (e @ v) / e.sum(-1, keepdim=True)

    return attention(mix)


@facts("I", X, ROLES)
def sigmoid_attention():
    return attention(lambda q, k, v, m: torch.sigmoid(q @ k.mT / 8**0.5 - math.log(10)) @ v)


@facts("I", X, ROLES)
def squared_relu_attention():
    """Primer, GAU."""
    return attention(lambda q, k, v, m: fn.relu(q @ k.mT / 10).square() @ v)


@facts("I", X, ROLES)
def attention_of_plain_scores():
    """No function at all, but a causal mask."""
    mask = torch.ones(10, 10).tril()
    return attention(lambda q, k, v, m: (q @ k.mT * m.mask / 10) @ v, mask=mask)


@facts("I", X, ROLES)
def retention():
    place = torch.arange(10)
    decay = (0.9 ** (place[:, None] - place)).tril()
    return attention(lambda q, k, v, m: ((q @ k.mT) * m.decay) @ v, decay=decay)


@facts("I", X, ROLES)
def linear_attention():
    def mix(q, k, v, m):
        q, k = fn.elu(q) + 1, fn.elu(k) + 1
        state = k.mT @ v
        return (q @ state) / (q @ k.sum(-2, keepdim=True).mT)

    return attention(mix)


@facts("I", X, ROLES)
def efficient_attention():
    """Softmax over features of q and over positions of k."""
    return attention(lambda q, k, v, m: q.softmax(-1) @ (k.softmax(-2).mT @ v))


@facts("I", X, ROLES)
def linear_attention_by_einsum():
    def mix(q, k, v, m):
        state = torch.einsum("bhnd,bhne->bhde", fn.relu(k), v)
        return torch.einsum("bhnd,bhde->bhne", fn.relu(q), state)

    return attention(mix)


@facts("I", X, ROLES)
def random_features():
    """Performer: exp of random projections."""

    def mix(q, k, v, m):
        q, k = (torch.exp(t @ m.features - t.square().sum(-1, keepdim=True) / 2) for t in (q, k))
        return q @ (k.mT @ v)

    return attention(mix, features=torch.randn(D // H, 16))


@facts("I", X, ROLES)
def cosine_attention():
    def mix(q, k, v, m):
        score = fn.normalize(q, dim=-1) @ fn.normalize(k, dim=-1).mT
        return (10 * score).softmax(-1) @ v

    return attention(mix)


@facts("I", X, ROLES)
def talking_heads():
    def mix(q, k, v, m):
        score = torch.einsum("bhij,hg->bgij", q @ k.mT, m.before)
        share = torch.einsum("bhij,hg->bgij", score.softmax(-1), m.after)
        return share @ v

    return attention(mix, before=raw(H, H, std=1), after=raw(H, H, std=1))


@facts("I", X, ROLES)
def talking_heads_by_convolution():
    def mix(q, k, v, m):
        return m.after(m.before(q @ k.mT).softmax(-1)) @ v

    return attention(mix, **{name: nn.Conv2d(H, H, 1) for name in ("before", "after")})


@facts("I", X, ROLES)
def attention_in_a_loop_over_heads():
    def forward(m, x):
        q, k, v = (layer(x).chunk(H, -1) for layer in (m.a, m.b, m.c))
        parts = [(p @ r.mT).softmax(-1) @ s for p, r, s in zip(q, k, v, strict=True)]
        return x + m.o(torch.cat(parts, -1))

    return Net(forward, **{name: nn.Linear(D, D) for name in "abco"})


@facts("I", X, ROLES)
def linear_attention_as_a_recurrence():
    def forward(m, x):
        q, k, v = fn.relu(m.a(x)), fn.relu(m.b(x)), m.c(x)
        state, out = x.new_zeros(4, D, D), []
        for t in range(10):
            state = state + k[:, t, :, None] * v[:, t, None]
            out.append((q[:, t, :, None] * state).sum(1))
        return x + m.o(torch.stack(out, 1))

    return Net(forward, **{name: nn.Linear(D, D) for name in "abco"})


@facts("I", [X, (4, 7, D)], ROLES)
def cross_attention_without_softmax():
    return Net(
        lambda m, x, z: x + m.o(fn.relu(m.a(x) @ m.b(z).mT / 7) @ m.c(z)),
        **{name: nn.Linear(D, D) for name in "abco"},
    )


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.out = nn.LayerNorm(D), nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x):
        return x + self.out(fn.gelu(self.up(self.norm(x))))


@facts(
    "I",
    [X, X],
    {"left.0.out.weight": {"depth": 2, "layer": 0}, "right.4.out.weight": {"depth": 5, "layer": 4}},
)
def two_towers():
    """Each stream has its own depth."""

    def forward(m, x, y):
        for block in m.left:
            x = block(x)
        for block in m.right:
            y = block(y)
        return (fn.normalize(x, dim=-1) * fn.normalize(y, dim=-1)).sum(-1)

    return Net(forward, left=[Block() for _ in range(2)], right=[Block() for _ in range(5)])


@facts("I", X, ROLES)
def linear_attention_divided_in_one_product():
    """The third operand only divides the result."""

    def mix(q, k, v, m):
        q, k = fn.elu(q) + 1, fn.elu(k) + 1
        share = 1 / torch.einsum("bhnd,bhd->bhn", q, k.sum(2))
        state = torch.einsum("bhnd,bhne->bhde", k, v)
        return torch.einsum("bhnd,bhde,bhn->bhne", q, state, share)

    return attention(mix)


@facts("I", X, ROLES)
def linear_attention_whose_divisor_comes_first():
    def mix(q, k, v, m):
        q, k = torch.relu(q), torch.relu(k)
        share = 1 / (q @ k.sum(2, keepdim=True).mT + 1e-6)
        state = torch.einsum("bhnd,bhne->bhde", k, v)
        return torch.einsum("bhnz,bhnd,bhde->bhne", share, q, state)

    return attention(mix)


@facts("I", X, ROLES)
def scores_of_landmarks():
    """Nyström: a product of three scores, each of queries and keys or of their means."""

    def mix(q, k, v, m):
        means = [one.unflatten(2, (5, 2)).mean(3) for one in (q, k)]
        rows, inner = (q @ means[1].mT).softmax(-1), (means[0] @ means[1].mT).softmax(-1)
        inverse = torch.linalg.pinv(inner)
        return rows @ inverse @ ((means[0] @ k.mT).softmax(-1) @ v)

    return attention(mix)


@facts("I", X, ROLES)
def scores_of_landmarks_inverted_step_by_step():
    def mix(q, k, v, m):
        means = [one.unflatten(2, (5, 2)).mean(3) for one in (q, k)]
        rows, inner = (q @ means[1].mT).softmax(-1), (means[0] @ means[1].mT).softmax(-1)
        inverse = inner.mT
        for _ in range(4):
            inverse = 2 * inverse - inverse @ inner @ inverse
        return rows @ inverse @ ((means[0] @ k.mT).softmax(-1) @ v)

    return attention(mix)


# Step by step, with keys or values of one feature: a product with a column of one number.


def stepwise(keys, values, add, read):
    def forward(m, x):
        q, k, v = m.a(x), m.b(x), m.c(x)
        state, out = torch.zeros(len(x), keys, values), []
        for t in range(x.shape[1]):
            state = state + add(k[:, t], v[:, t])
            out.append(read(q[:, t], state))
        return torch.stack(out, 1)

    sizes = zip("abc", (keys, keys, values), strict=True)
    return Net(forward, **{name: nn.Linear(D, size, bias=False) for name, size in sizes})


def multiplied(k, v):
    return k[..., None] * v[..., None, :]


def summed(q, state):
    return (q[..., None] * state).sum(1)


UNDIVIDED = {f"{name}.weight": {"part": part} for name, part in zip("abc", "qkv", strict=True)}
UNDIVIDED["c.weight"]["guessed"] = True


@facts("I", X, UNDIVIDED)
def values_of_one_feature_step_by_step():
    return stepwise(8, 1, multiplied, summed)


@facts("I", X, UNDIVIDED)
def keys_of_one_feature_step_by_step():
    return stepwise(1, 8, multiplied, summed)


@facts("I", X, UNDIVIDED)
def keys_of_one_feature_after_values_step_by_step():
    return stepwise(1, 8, lambda k, v: v[..., None, :] * k[..., None], summed)


@facts("I", X, UNDIVIDED)
def values_of_one_feature_by_matmul():
    return stepwise(
        8, 1, lambda k, v: k[..., None] @ v[..., None, :], lambda q, s: (q[:, None] @ s)[:, 0]
    )


@facts("I", X, UNDIVIDED)
def keys_of_one_feature_by_einsum():
    return stepwise(
        1,
        8,
        lambda k, v: torch.einsum("bi,bj->bij", k, v),
        lambda q, s: torch.einsum("bi,bij->bj", q, s),
    )


@facts("I", (2, 4, 5, D), {"a.weight": {"fan_in": D}, "r.0": {"ends_residual": False}})
def tables_of_relative_rows_and_columns():
    """SAM: heads lie beside images in one axis, which rows of a table are no weights for."""

    def forward(m, x):
        count, rows, columns, _ = x.shape
        packed = m.a(x).reshape(count, rows * columns, 3, H, -1).permute(2, 0, 3, 1, 4)
        q, k, v = packed.reshape(3, count * H, rows * columns, -1).unbind(0)
        grid = q.unflatten(1, (rows, columns))
        down, right = ((i := torch.arange(n))[:, None] - i + n - 1 for n in (rows, columns))
        down = torch.einsum("bhwc,hkc->bhwk", grid, m.r[0][down])[..., None]
        right = torch.einsum("bhwc,wkc->bhwk", grid, m.r[1][right])[..., None, :]
        scores = (q @ k.mT / 8**0.5).unflatten(2, (rows, columns)).unflatten(1, (rows, columns))
        shares = (scores + down + right).flatten(3).flatten(1, 2).softmax(-1)
        y = (shares @ v).view(count, H, rows, columns, -1).permute(0, 2, 3, 1, 4)
        return x + m.o(y.flatten(3))

    tables = nn.ParameterList([raw(2 * n - 1, D // H) for n in (4, 5)])
    return Net(forward, a=nn.Linear(D, 3 * D), r=tables, o=nn.Linear(D, D))
