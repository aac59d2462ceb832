"""Attention without softmax, in any order and spelling: which weights are q, k and v."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from goodinit.anatomy import read as read_model
from goodinit.anatomy.attention_scores import Scores, attention_scores

from .test_residuals import Net, X, norm, read


def heads(t):
    return t.unflatten(-1, (2, 4)).transpose(1, 2)


def merged(t):
    return t.transpose(1, 2).flatten(2)


def scores(q, k):
    return q @ k.transpose(-1, -2) / 2


def causal(s):
    return s * torch.ones(s.shape[-2:]).tril()


def backwards(q, k, v):
    """Scores of keys and queries, the keys' axis first."""
    s = (k @ q.transpose(-1, -2)).softmax(-2)
    return s.transpose(-1, -2) @ v


def normalized(q, k, v):
    q, k = functional.elu(q) + 1, functional.elu(k) + 1
    return (q @ (k.transpose(-1, -2) @ v)) / (q @ k.sum(-2).unsqueeze(-1))


def transposed(q, k, v):
    """XCiT: attention between features."""
    q, k, v = (t.transpose(-1, -2) for t in (q, k, v))
    return ((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(-1, -2)


def stepwise(outer, read, part=lambda t: t.unbind(2)):
    """A state to which each step adds an outer product; the steps before fade."""

    def mix(q, k, v):
        state, made = q.new_zeros(*q.shape[:2], 4, 4), []
        for query, key, value in zip(part(q), part(functional.relu(k)), part(v), strict=True):
            state = 0.9 * state + outer(key, value)
            made.append(read(query, state))
        return torch.stack(made, 2)

    return mix


FORMS = {
    "softmax": lambda q, k, v: scores(q, k).softmax(-1) @ v,
    "sigmoid": lambda q, k, v: torch.sigmoid(scores(q, k)) @ v,
    "squared relu": lambda q, k, v: functional.relu(scores(q, k)).square() @ v,
    "nothing": lambda q, k, v: scores(q, k) @ v,
    "mask alone": lambda q, k, v: causal(scores(q, k)) @ v,
    "sum": lambda q, k, v: (s := causal(scores(q, k)).exp()) / s.sum(-1, keepdim=True) @ v,
    "cosine": lambda q, k, v: (
        scores(functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)).softmax(-1) @ v
    ),
    "by hand": lambda q, k, v: (
        ((s := (scores(q, k) - scores(q, k).amax(-1, True)).exp()) / s.sum(-1, True)) @ v
    ),
    "backwards": backwards,
    "einsum": lambda q, k, v: torch.einsum(
        "bhqk,bhkd->bhqd", torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(-1), v
    ),
    "einsum with dots": lambda q, k, v: torch.einsum(
        "...qk,...kd->...qd", torch.einsum("...qd,...kd->...qk", q, k), v
    ),
    "einsum backwards": lambda q, k, v: torch.einsum(
        "bhkq,bhkd->bhqd", torch.einsum("bhkd,bhqd->bhkq", k, q).softmax(2), v
    ),
    "reflected": lambda q, k, v: v.__rmatmul__(k.transpose(-1, -2).__rmatmul__(q).softmax(-1)),
    "linear": lambda q, k, v: functional.relu(q) @ (functional.relu(k).transpose(-1, -2) @ v),
    "linear, normalized": normalized,
    "linear, softmax of both": lambda q, k, v: (
        q.softmax(-1) @ (k.softmax(-2).transpose(-1, -2) @ v)
    ),
    "linear by einsum": lambda q, k, v: torch.einsum(
        "bhqd,bhde->bhqe", q, torch.einsum("bhkd,bhke->bhde", k, v)
    ),
    "step by step": stepwise(
        lambda k, v: k[..., None] * v[..., None, :], lambda q, s: (q[..., None] * s).sum(-2)
    ),
    "step by step, transposed": stepwise(
        lambda k, v: v[..., None] * k[..., None, :],
        lambda q, s: (s * q[..., None, :]).sum(-1),
        part=lambda t: [t[:, :, step] for step in range(t.shape[2])],
    ),
    "step by step, by matmul": stepwise(
        lambda k, v: k[..., None] @ v[..., None, :], lambda q, s: (q[..., None, :] @ s)[..., 0, :]
    ),
    "step by step, by einsum": stepwise(
        lambda k, v: torch.einsum("bhd,bhe->bhde", k, v),
        lambda q, s: torch.einsum("bhd,bhde->bhe", q, s),
    ),
    "all steps at once": lambda q, k, v: (
        q[..., None] * (k[..., None] * v[..., None, :]).cumsum(2)
    ).sum(-2),
    "with a bias of positions": lambda q, k, v: (
        (scores(q, k) + scores(q, k.flip(-2))).softmax(-1) @ v
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("packed", [False, True])
def test_queries_keys_and_values(form, packed):
    def run(m, x):
        h = norm(x)
        if packed:
            q, k, v = (heads(t) for t in (h @ m.w).chunk(3, -1))
        else:
            q, k, v = heads(h @ m.a), heads(h @ m.b), heads(h @ m.c)
        return (x + merged(FORMS[form](q, k, v)) @ m.d) @ m.o

    sizes = {"w": (8, 24)} if packed else dict.fromkeys("abc", (8, 8))
    rows = read(Net(run, **sizes, d=(8, 8), o=(8, 3)), X).rows
    found = {row.name: row.facets for row in rows}
    if packed:
        assert [block.name for block in found["w"].blocks] == ["q", "k", "v"]
    else:
        assert [found[name].part for name in "abc"] == ["q", "k", "v"]
    assert found["d"].part == "out"
    assert [name for name, one in found.items() if one.ends_residual] == ["d"]


def test_patches_of_a_convolution_are_no_heads_of_its_features():
    """Views that cut a map into patches mix its channels' axis with others (MobileViT)."""

    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(8, 8, 1, bias=False)
            self.qkv, self.o = nn.Linear(8, 24), nn.Linear(8, 8)

        def forward(self, x):
            x = self.first(x).reshape(2 * 8 * 3, 2, 3, 2).transpose(1, 2)
            x = x.reshape(2, 8, 9, 4).transpose(1, 3).reshape(8, 9, 8)
            q, k, v = (heads(t) for t in self.qkv(norm(x)).chunk(3, -1))
            return norm(x + self.o(merged(scores(q, k).softmax(-1) @ v)))

    rows = read_model(Patches(), torch.empty(2, 8, 6, 6)).rows
    found = {row.name: row.facets for row in rows}
    assert [block.name for block in found["qkv.weight"].blocks] == ["q", "k", "v"]
    assert found["o.weight"].part == "out"


def test_grouped_projections_are_no_short_convolutions():
    """SqueezeBERT: behind them is the layer before, not what makes queries."""

    class Grouped(nn.Module):
        def __init__(self):
            super().__init__()
            self.before = nn.Conv1d(8, 8, 1)
            self.a, self.b, self.c = (nn.Conv1d(8, 8, 1, groups=2) for _ in "abc")
            self.o = nn.Conv1d(8, 8, 1)

        def forward(self, x):
            x = norm(self.before(x).mT).mT
            q, k, v = (heads(layer(x).mT) for layer in (self.a, self.b, self.c))
            return norm((x + self.o(merged(scores(q, k).softmax(-1) @ v).mT)).mT)

    rows = read_model(Grouped(), torch.empty(2, 8, 6)).rows
    found = {row.name: row.facets.part for row in rows}
    assert [found[f"{name}.weight"] for name in "abc"] == ["q", "k", "v"]
    assert found["before.weight"] == "weight"


def test_a_mixer_of_tokens_before_a_projection_makes_no_queries():
    """GroupViT: a norm lies between; what Linformer mixes are the keys themselves."""

    def run(m, x):
        h = norm((x.mT @ m.mix).mT)
        q, k, v = heads(h @ m.a), heads(h @ m.b), heads(h @ m.c)
        return (x + merged(scores(q, k).softmax(-1) @ v) @ m.d) @ m.o

    places = X.shape[-2]
    rows = read(Net(run, mix=(places, places), **dict.fromkeys("abcd", (8, 8)), o=(8, 3)), X).rows
    found = {row.name: row.facets.part for row in rows}
    assert [found[name] for name in ("mix", *"abcd")] == ["weight", "q", "k", "v", "out"]


def test_a_state_may_have_two_features():
    def run(m, x):
        q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in (x @ m.a, x @ m.b, x @ m.c))
        return x + merged(FORMS["all steps at once"](q, k, v)) @ m.d

    rows = read(Net(run, a=(8, 4), b=(8, 4), c=(8, 8), d=(8, 8)), X).rows
    assert [row.facets.part for row in rows] == ["q", "k", "v", "out"]


def test_an_operand_may_be_a_sum_of_products():
    """DeBERTa's queries are of contents and of positions."""

    def run(m, x):
        h, places = norm(x), norm(x.flip(1))
        q, k, v = heads(h @ m.a + places @ m.e), heads(h @ m.b), heads(h @ m.c)
        return (x + merged(FORMS["softmax"](q, k, v)) @ m.d) @ m.o

    rows = read(Net(run, **dict.fromkeys("abcde", (8, 8)), o=(8, 3)), X).rows
    parts = {row.name: row.facets.part for row in rows}
    assert [parts[name] for name in "aebcd"] == ["q", "q", "k", "v", "out"]


@pytest.mark.parametrize("form", FORMS)
def test_without_a_projection_values_end_the_branch(form):
    def run(m, x):
        h = norm(x)
        q, k, v = heads(h @ m.a), heads(h @ m.b), heads(h @ m.c)
        return (x + merged(FORMS[form](q, k, v))) @ m.o

    rows = read(Net(run, **dict.fromkeys("abc", (8, 8)), o=(8, 3)), X).rows
    assert [row.name for row in rows if row.facets.ends_residual] == ["c"]


def test_convolutions_attend_too():
    """EfficientViT: 1x1 convolutions, and relu(q) (relu(k)' v) over pixels."""

    def run(m, x):
        q, k, v = (
            functional.conv2d(x, w[..., None, None]).flatten(2).transpose(1, 2)
            for w in (m.a, m.b, m.c)
        )
        y = functional.relu(q) @ (functional.relu(k).transpose(-1, -2) @ v)
        return x + functional.conv2d(y.transpose(1, 2).unflatten(2, (3, 5)), m.d[..., None, None])

    rows = read(Net(run, **dict.fromkeys("abcd", (8, 8))), torch.randn(2, 8, 3, 5)).rows
    assert [row.facets.part for row in rows] == ["q", "k", "v", "out"]


def test_a_graph_that_is_given_is_no_attention():
    """A (A X W): two steps along the edges of a graph."""

    def run(m, x, adjacency):
        h = adjacency @ (adjacency @ (x @ m.a))
        return functional.relu(h) @ m.o

    model = Net(run, a=(8, 8), o=(8, 3))
    rows = read(model, (X[0], torch.rand(5, 5))).rows
    assert [row.facets.part for row in rows] == ["weight", "head"]


@pytest.mark.parametrize(
    ("batch_first", "shape", "positions"),
    [(True, (7, 5, 8), 5), (False, (5, 7, 8), 5), (False, (5, 8), 5)],
)
def test_scores_of_torchs_module(batch_first: bool, shape: tuple[int, ...], positions: int) -> None:
    class Attentive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    anatomy = read_model(Attentive(), torch.ones(shape))
    name = "attention.in_proj_weight"
    assert attention_scores(anatomy) == (Scores(name, name, 4, 0.5, positions),)
