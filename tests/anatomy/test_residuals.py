"""Residual sums in many spellings: which weights end a branch, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

import goodinit as gi
from goodinit.anatomy import read, residuals

X = torch.randn(2, 5, 8)


class Net(nn.Module):
    """``Net(f, a=(8, 8))``: raw parameters, and a function of them and the inputs."""

    def __init__(self, function, **shapes):
        super().__init__()
        self.function = function
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.randn(shape)))

    def forward(self, *inputs):
        return self.function(self, *inputs)


def facets(function, names="abcde", inputs=(X,), **shapes):
    sizes = {**dict.fromkeys(names, (8, 8)), "o": (8, 3), **shapes}
    rows = read(Net(function, **sizes), inputs).rows
    return {row.name: row.facets for row in rows}


def ends(found):
    return "".join(name for name, one in found.items() if one.ends_residual)


def norm(x):
    return functional.layer_norm(x, x.shape[-1:])


def attend(q, k, v):
    return functional.scaled_dot_product_attention(q, k, v)


def mlp(x, a, b):
    return functional.gelu(x @ a) @ b


def parallel(m, x):  # GPT-J, NeoX, PaLM, Phi, Falcon
    h = norm(x)
    return (x + attend(h @ m.a, h, h) @ m.b + mlp(h, m.c, m.d)) @ m.o


def parallel_the_other_way(m, x):
    h = norm(x)
    return (attend(h @ m.a, h, h) @ m.b + mlp(h, m.c, m.d) + x) @ m.o


def two_norms(m, x):  # NeoX
    y = attend(norm(x) @ m.a, x, x) @ m.b
    z = mlp(norm(x * 2), m.c, m.d)
    return (z + y + x) @ m.o


def python_sum(m, x):
    return sum([x, norm(x) @ m.b, mlp(norm(x), m.c, m.d)]) @ m.o


def stack_sum(m, x):
    return torch.stack([x, norm(x) @ m.b, mlp(norm(x), m.c, m.d)]).sum(0) @ m.o


def stack_mean(m, x):
    return torch.stack((x, norm(x) @ m.b, mlp(norm(x), m.c, m.d)), -1).mean(-1) @ m.o


def einsum_sum(m, x):
    branches = [x, norm(x) @ m.b, mlp(norm(x), m.c, m.d)]
    return torch.einsum("nbtd->btd", torch.stack(branches)) @ m.o


def einsum_weighted(m, x):
    branches = torch.stack([x, norm(x) @ m.b, mlp(norm(x), m.c, m.d)])
    return torch.einsum("n,nbtd->btd", m.w, branches) @ m.o


def stacked_times_weights(m, x):
    branches = torch.stack([x, norm(x) @ m.b, mlp(norm(x), m.c, m.d)])
    return (branches * m.w[:, None, None, None]).sum(0) @ m.o


def in_place(m, x):
    x = norm(x)
    y = norm(x) @ m.b
    z = mlp(norm(x), m.c, m.d)
    x = x.clone()
    x.add_(y)
    x += z
    return x @ m.o


SPELLINGS = (
    parallel, parallel_the_other_way, two_norms, python_sum, stack_sum, stack_mean, einsum_sum,
    einsum_weighted, stacked_times_weights, in_place,
)  # fmt: skip


@pytest.mark.parametrize("function", SPELLINGS, ids=lambda f: f.__name__)
def test_both_of_two_parallel_branches_end(function):
    extra = {"w": (3,)} if "weight" in function.__name__ else {}
    found = facets(function, "abcd", **extra)
    assert ends(found) == "bd"
    assert [found[n].part for n in "bd"] == ["out", "out"]


ONE = {  # spelling of a sum of x and f(x) = gelu(norm(x) @ a) @ b
    "scaled branch": lambda m, x, f: x + 0.1 * f(x),
    "learned scale": lambda m, x, f: x + m.s * f(x),
    "scaled sum": lambda m, x, f: (x + f(x)) * 2**-0.5,
    "divided sum": lambda m, x, f: (x + f(x)) / 2**0.5,
    "weighted": lambda m, x, f: 0.9 * x + 0.1 * f(x),
    "alpha": lambda m, x, f: torch.add(x, f(x), alpha=0.3),
    "minus": lambda m, x, f: x - f(x),
    "lerp": lambda m, x, f: torch.lerp(x, f(x), 0.3),
    "lerp the other way": lambda m, x, f: torch.lerp(f(x), x, 0.3),
    "addcmul": lambda m, x, f: torch.addcmul(x, f(x), m.s),
    "addcdiv": lambda m, x, f: torch.addcdiv(x, f(x), torch.full_like(x, 3.0)),
    "ReZero": lambda m, x, f: x + m.z * f(x),
    "tanh gate": lambda m, x, f: x + torch.tanh(m.z) * f(x),
    "post norm": lambda m, x, f: norm(x + f(x)),
    "sandwich": lambda m, x, f: x + norm(f(norm(x))) * m.s,
    "DeepNorm": lambda m, x, f: norm(x * 1.7 + f(x)),
    "dropped": lambda m, x, f: x + functional.dropout(f(x), 0.1),
    "stochastic depth": lambda m, x, f: x + f(x) * torch.rand(2, 1, 1).bernoulli_(0.5),
    "in slices": lambda m, x, f: x[:, -1:] + f(x[:, -1:]),
    "cropped": lambda m, x, f: x[:, 1:] + f(x)[:, 1:],
    "by position": lambda m, x, f: x.index_add(1, torch.tensor([0, 2]), f(x[:, [0, 2]])),
    "scattered": lambda m, x, f: x.scatter_add(
        1, torch.tensor([0, 2])[None, :, None].expand(2, 2, 8), f(x[:, [0, 2]])
    ),
    "accumulated": lambda m, x, f: x.index_put(
        (torch.arange(2)[:, None], torch.tensor([0, 2])), f(x[:, [0, 2]]), accumulate=True
    ),
    "added to a part": lambda m, x, f: add_to_a_part(x, f),
    "set to a part": lambda m, x, f: set_a_part(x, f),
    "highway": lambda m, x, f: (1 - torch.sigmoid(x @ m.g)) * x + torch.sigmoid(x @ m.g) * f(x),
    "highway by one gate": lambda m, x, f: highway(x, f(x), torch.sigmoid(x @ m.g)),
    "highway by lerp": lambda m, x, f: torch.lerp(x, f(x), torch.sigmoid(x @ m.g)),
    "gated branch": lambda m, x, f: x + torch.sigmoid(x @ m.g) * f(x),
    "excited": lambda m, x, f: x + (y := f(x)) * torch.sigmoid(y.mean(1, keepdim=True) @ m.g),
    "accumulated from zeros": lambda m, x, f: (
        x + torch.zeros_like(x).index_add(1, torch.arange(5), f(x))
    ),
}


def add_to_a_part(x, f):
    x = x.clone()
    y = f(x)
    x[:, 1:] += y[:, 1:]
    return x


def set_a_part(x, f):
    x = x.clone()
    x[:, [0, 2]] = x[:, [0, 2]] + f(x[:, [0, 2]])
    return x


def highway(x, y, gate):
    return gate * y + (1 - gate) * x


@pytest.mark.parametrize("form", ONE)
def test_one_branch_ends(form):
    def run(m, x):
        x = norm(x)
        return ONE[form](m, x, lambda y: functional.gelu(norm(y) @ m.a) @ m.b) @ m.o

    found = facets(run, "abg", s=(8,), z=())
    assert ends(found) == "b"
    assert found["b"].part == "out"
    assert found["a"].ends_residual is False


@pytest.mark.parametrize("form", ["addmm", "baddbmm", "addbmm"])
def test_a_product_added_to_the_stream_by_one_call(form):
    def run(m, x):
        h = functional.gelu(norm(x) @ m.a)
        if form == "addmm":
            return torch.addmm(x[0], h[0], m.b) @ m.o
        if form == "addbmm":
            return torch.addbmm(x[0], h[:1], m.b[None]) @ m.o
        return torch.baddbmm(x, h, m.b.expand(2, 8, 8)) @ m.o

    assert ends(facets(run, "ab")) == "b"


def test_two_layers_by_addmm():
    def run(m, x):
        for a, b in ((m.a, m.b), (m.c, m.d)):
            x = torch.addmm(x, functional.gelu(norm(x) @ a), b)
        return x @ m.o

    assert ends(facets(run, "abcd", inputs=(X[0],))) == "bd"


def test_a_bias_added_by_addmm_is_no_stream():
    def run(m, x):
        x = functional.relu(torch.addmm(m.p, x, m.a))
        return torch.addmm(m.q, x, m.b)

    assert ends(facets(run, "ab", inputs=(X[0],), p=(8,), q=(8,))) == ""


def test_gated_like_a_gru():
    """GTrXL: x' = (1 - z) x + z tanh(y Wg + (r x) Ug)."""

    def run(m, x):
        y = functional.gelu(norm(x) @ m.a) @ m.b
        r, z = torch.sigmoid(y @ m.c + x @ m.d), torch.sigmoid(y @ m.e + x @ m.f)
        new = torch.tanh(y @ m.g + (r * x) @ m.h)
        return ((1 - z) * x + z * new) @ m.o

    assert ends(facets(run, "abcdefgh")) == "gh"


# Latents: a stream that starts from a parameter.


@pytest.mark.parametrize(
    "start",
    [
        lambda p: p.expand(2, 4, 8),
        lambda p: p.repeat(2, 1, 1),
        lambda p: p[None].expand(2, -1, -1),
        lambda p: p.unsqueeze(0).repeat_interleave(2, 0),
        lambda p: p,
    ],
)
def test_latents_are_a_stream(start):
    def run(m, x):
        z = start(m.p)
        z = z + attend((norm(z) @ m.a).expand(2, 4, 8), x @ m.b, x @ m.c) @ m.d
        z = z + functional.gelu(norm(z) @ m.e) @ m.f
        return z @ m.o

    assert ends(facets(run, "abcdef", p=(4, 8))) == "df"


# Weights that end no branch.


def test_modulation_ends_nothing():
    """DiT's adaLN: shift, scale and gate come from a condition."""

    def run(m, x, c):
        c = functional.silu(c)
        shift, scale, gate, shift2, scale2, gate2 = (c @ m.w).chunk(6, -1)
        h = norm(x) * (1 + scale[:, None]) + shift[:, None]
        x = x + gate[:, None] * (attend(h @ m.a, h, h) @ m.b)
        h = norm(x) * (1 + scale2[:, None]) + shift2[:, None]
        x = x + gate2[:, None] * (functional.gelu(h @ m.c) @ m.d)
        return x @ m.o

    found = facets(run, "abcd", (X, torch.randn(2, 8)), w=(8, 48))
    assert ends(found) == "bd"
    assert found["w"].ends_residual is False


@pytest.mark.parametrize("last", [False, True])
def test_film_ends_nothing(last):
    def run(m, x, c):
        gamma, beta = c @ m.a, c @ m.b
        h = norm(x) @ m.c
        if last:
            return (x + gamma[:, None] * (functional.relu(h) @ m.d) + beta[:, None]) @ m.o
        return (x + functional.relu(gamma[:, None] * h + beta[:, None]) @ m.d) @ m.o

    assert ends(facets(run, "abcd", (X, torch.randn(2, 8)))) == "d"


def test_a_time_embedding_in_a_block_ends_nothing():
    """A diffusion UNet's block, with and without a projected skip."""

    def run(m, x, t):
        h = functional.silu(norm(x)) @ m.a
        h = h + (functional.silu(t) @ m.b)[:, None]
        x = x + functional.silu(norm(h)) @ m.c
        h = functional.silu(norm(x)) @ m.d + (functional.silu(t) @ m.e)[:, None]
        return (x @ m.s + functional.silu(norm(h)) @ m.f) @ m.o

    assert ends(facets(run, "abcdef", (X, torch.randn(2, 8)), s=(8, 8))) == "cf"


@pytest.mark.parametrize(("bend", "end"), [(functional.relu, "b"), (torch.clone, "")])
def test_a_projected_skip_is_one_beside_a_block_with_an_activation(bend, end):
    def run(m, x):
        return (x @ m.s + bend(x @ m.a) @ m.b) @ m.o

    assert ends(facets(run, "abs")) == end


@pytest.mark.parametrize("place", ["before", "after", "both"])
def test_talking_heads_end_nothing(place):
    def run(m, x):
        q, k, v = (t.unflatten(-1, (4, 2)).transpose(1, 2) for t in (x @ m.a, x @ m.b, x @ m.c))
        s = q @ k.transpose(-1, -2)
        if place != "after":
            s = s + torch.einsum("hg,bhij->bgij", m.t, s)
        s = s.softmax(-1)
        if place != "before":
            s = s + torch.einsum("hg,bhij->bgij", m.u, s)
        return (x + (s @ v).transpose(1, 2).flatten(2) @ m.d) @ m.o

    found = facets(run, "abcd", t=(4, 4), u=(4, 4))
    assert ends(found) == "d"


def test_a_mask_of_several_layers_is_no_stream():
    """Scores of a sink beside the others: what the mask was added to goes through a join."""

    def run(m, x, mask):
        for q, k, v in ((m.a, m.b, m.c), (m.d, m.e, m.f), (m.g, m.h, m.i)):
            h = norm(x)
            scores = (h @ q) @ (h @ k).transpose(-1, -2) / 8**0.5 + mask
            scores = torch.cat((scores, m.s.expand(2, 5, 1)), -1)
            scores = scores - scores.max(-1, keepdim=True).values
            x = x + scores.softmax(-1)[..., :-1] @ h @ v
        return norm(x) @ m.o

    found = facets(run, "abcdefghi", (X, torch.zeros(2, 5, 5)), s=(1, 1, 1))
    assert ends(found) == "cfi"


def test_a_stack_with_its_input_injected_ends_nothing():
    """ARMA: h' = relu(A h W + x V), with x the same in each layer."""

    def run(m, x, adjacency):
        h = functional.relu(adjacency @ (x @ m.a) + x @ m.b)
        h = functional.relu(adjacency @ (h @ m.c) + x @ m.d)
        h = functional.relu(adjacency @ (h @ m.e) + x @ m.f)
        return h @ m.o

    assert ends(facets(run, "abcdef", (X[0], torch.rand(5, 5)))) == ""


def test_parts_of_attention_are_no_ends_without_a_projection():
    """The values alone are added, whatever else the scores were made of."""

    def run(m, x):
        q, k, v = x @ m.a, x @ m.b, x @ m.c
        s = (q @ k.transpose(-1, -2) + (x @ m.d) @ m.e).softmax(-1)
        return (x + s @ v) @ m.o

    assert ends(facets(run, "abcd", e=(8, 5))) == "c"


def test_two_streams_that_read_each_other_end_where_each_is_added_to():
    """Words look at an image, it looks at them, and they look at it once more (SAM's decoder)."""

    def run(m, words, image):
        words = norm(words + attend(words, image, image @ m.a) @ m.b)
        image = norm(image + attend(image, words, words @ m.c) @ m.d)
        words = norm(words + attend(words, image, image @ m.e) @ m.f)
        return torch.cat((words, image), 1) @ m.o

    assert ends(facets(run, "abcdef", (X, torch.randn(2, 7, 8)))) == "bdf"


@pytest.mark.parametrize("normalized", [False, True])
def test_a_router_of_sigmoids_ends_nothing(normalized):
    """DeepSeek-V3: the chosen experts are multiplied by shares, divided by their sum."""

    def run(m, x):
        shares = (x @ m.r).sigmoid()
        chosen = (shares + m.s).topk(2, dim=-1).indices
        shares = shares.gather(-1, chosen)
        if normalized:
            shares = shares / (shares.sum(-1, keepdim=True) + 1e-20)
        made = torch.stack([mlp(x, m.a, m.b), mlp(x, m.c, m.d)], -2)
        return (x + (made * (shares * 2.5).unsqueeze(-1)).sum(-2)) @ m.o

    assert ends(facets(run, "abcd", r=(8, 4), s=(4,))) == "bd"


def test_a_long_chain_of_sums_takes_time_in_proportion():
    """Each sum could skip all that came before: the search has a bound for the whole graph."""

    def run(m, x, h):
        for _ in range(700):
            h = torch.tanh(x @ m.b + h) * 1.01
        return h @ m.o

    assert ends(facets(run, "ab", (X, X.clone()))) == ""


# The stream's size.


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("by_hand", [False, True])
def test_a_norm_that_ends_a_branch_has_the_branchs_share(offset, by_hand):
    """Sandwich norms: what comes before them can't scale the branch."""

    def last(y, weight):
        if by_hand:
            return y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-6) * (weight + offset)
        return functional.rms_norm(y, (8,), weight + offset)

    def run(m, x):
        for a, b, n, p in ((m.a, m.b, m.n, m.p), (m.c, m.d, m.q, m.r)):
            y = functional.rms_norm(x, (8,), n + offset)
            x = x + last(functional.gelu(y @ a) @ b, p)
        return x @ m.o

    shapes = dict.fromkeys("npqr", (8,))
    model = Net(run, **dict.fromkeys("abcd", (8, 8)), **shapes, o=(8, 3))
    plan = gi.init_(model, "standard", inputs=X, seed=0)
    assert [(plan[name].kind, plan[name].part) for name in "np"] == [
        ("norm", "weight"),
        ("norm", "out"),
    ]
    assert [plan[n].name for n in "abcd" if plan[n].ends_residual] == ["b", "d"]
    depth = plan["b"].depth
    assert (model.n + offset).tolist() == pytest.approx([1] * 8)
    assert (model.p + offset).tolist() == pytest.approx([(2 * depth) ** -0.5] * 8)


def test_a_table_is_divided_by_what_multiplies_its_rows():
    """Transformer, Gemma: embeddings times sqrt(width) start at second moment 1."""

    class Scaled(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.table, self.head = nn.Embedding(500, 16), nn.Linear(16, 3)
            self.factor = factor

        def forward(self, ids):
            return self.head(self.table(ids) * self.factor)

    for factor in (4.0, torch.tensor(4.0)):
        plan = gi.plan(Scaled(factor), "standard", inputs=torch.arange(6))
        assert plan["table.weight"].std == pytest.approx(0.25)
    assert gi.plan(Scaled(1.0), "standard", inputs=torch.arange(6))["table.weight"].std == 1


@pytest.mark.parametrize(
    "square", [torch.square, lambda y: y**2, lambda y: y.pow(2), lambda y: y * y]
)
def test_a_squared_relu_has_no_relus_gain(square):
    def run(m, x):
        return square(functional.relu(x @ m.a)) @ m.o

    plan = gi.plan(Net(run, a=(8, 64), o=(64, 3)), "standard", inputs=X)
    assert plan["a"].activation == "relu"
    assert plan["a"].std == pytest.approx(8**-0.5)


def test_weights_behind_the_last_sum_that_was_searched_are_marked(monkeypatch):
    def blocks(m, x):
        x = x + mlp(x, m.a, m.b)
        return (x + mlp(x, m.c, m.d)) @ m.o

    assert ends(facets(blocks, "abcd")) == "bd"
    monkeypatch.setattr(residuals, "SEARCHED", 0.1)
    found = facets(blocks, "abcd")
    known = {name: one.ends_residual for name, one in found.items()}
    assert known == {"a": False, "b": True, "c": None, "d": None, "o": None}
    assert [name for name, one in found.items() if one.guessed] == ["c", "d", "o"]
    assert found["d"].doubt == residuals.NOT_SEARCHED


def test_branches_come_of_the_graph_and_dont_tell_anatomies_apart():
    found = read(Net(lambda m, x: x + x @ m.a @ m.b, a=(8, 8), b=(8, 8)), X)
    assert found.branches == {"b": 1}
    assert replace(found, graph=None, branches={}) == found
