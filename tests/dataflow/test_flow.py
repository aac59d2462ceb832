"""What the data flow tells, one construct at a time: how a tensor is used says what it is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import goodinit as gi
from goodinit.anatomy import read


class Net(nn.Module):
    """A model of raw parameters and a function of them: ``Net(f, w=(3, 4), b=(4,))``."""

    def __init__(self, function, **shapes):
        super().__init__()
        self.function = function
        for name, shape in shapes.items():
            value = nn.Parameter(torch.randn(shape)) if isinstance(shape, tuple) else shape
            setattr(self, name, value)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def told(function, *inputs, doubted=(), **shapes):
    """Return name -> row of a model of raw parameters; only what is ``doubted`` is guessed."""
    anatomy = read(Net(function, **shapes), inputs or (torch.randn(2, 5, 8),))
    assert anatomy.how == "meta", anatomy.reason
    assert {row.name for row in anatomy.rows if row.facets.guessed} == set(doubted)
    assert {row.name for row in anatomy.rows if row.facets.doubt} == set(doubted)
    return {row.name: row for row in anatomy.rows}


def blocks(row):
    return {b.name: (b.box, b.fan_in, b.fan_out) for b in row.facets.blocks}


def fans_of(row):
    """Return (fan_in, fan_out) of each block; of the whole where it isn't packed."""
    return [(block.fan_in, block.fan_out) for block, _ in row.sites()]


# Fans: the contracted axes are the fan-in, whatever the layout.


@pytest.mark.parametrize(
    ("function", "shape", "fans"),
    [
        (lambda m, x: x @ m.w, (8, 12), (8, 12)),
        (lambda m, x: x[..., :1] @ m.w, (1, 1), (1, 1)),
        (lambda m, x: functional.linear(x, m.w), (12, 8), (8, 12)),
        (lambda m, x: x @ m.w.t(), (12, 8), (8, 12)),
        (lambda m, x: x @ m.w.T, (12, 8), (8, 12)),
        (lambda m, x: torch.matmul(x, m.w.transpose(0, 1)), (12, 8), (8, 12)),
        (lambda m, x: (m.w @ x.transpose(1, 2)).transpose(1, 2), (12, 8), (8, 12)),
        (lambda m, x: torch.einsum("bti,io->bto", x, m.w), (8, 12), (8, 12)),
        (lambda m, x: torch.einsum("...i,oi->...o", x, m.w), (12, 8), (8, 12)),
        (lambda m, x: torch.einsum("bti,hid->bhtd", x, m.w), (3, 8, 4), (8, 12)),
        (lambda m, x: torch.einsum("bti,ihd->bthd", x, m.w), (8, 3, 4), (8, 12)),
        (lambda m, x: torch.tensordot(x, m.w, dims=1), (8, 12), (8, 12)),
        (lambda m, x: torch.tensordot(x, m.w, dims=([2], [1])), (12, 8), (8, 12)),
        (lambda m, x: x @ (m.w * 0.5), (8, 12), (2, 3)),
        (lambda m, x: x @ m.w.to(torch.float64).float(), (8, 12), (8, 12)),
        (lambda m, x: x @ m.w.reshape(8, 12), (2, 4, 12), (8, 12)),
        (lambda m, x: x @ m.w[None, :, :], (8, 12), (8, 12)),
        (lambda m, x: torch.addmm(x.new_zeros(12), x[0], m.w), (8, 12), (8, 12)),
        (lambda m, x: torch.bmm(x, m.w.expand(2, 8, 12)), (8, 12), (8, 12)),
        (lambda m, x: x.mm(m.w), (8, 12), (8, 12)),
        (lambda m, x: x @ m.w, (8, 1), (8, 1)),
        (lambda m, x: x[..., :1] @ m.w, (1, 12), (1, 12)),
        (lambda m, x: functional.conv1d(x.transpose(1, 2), m.w), (12, 8, 3), (24, 36)),
        (lambda m, x: functional.conv1d(x.transpose(1, 2), m.w, groups=4), (12, 2, 3), (6, 9)),
        (lambda m, x: functional.conv1d(x.transpose(1, 2), m.w, None, 2), (12, 8, 4), (32, 24)),
        (lambda m, x: functional.conv_transpose1d(x.transpose(1, 2), m.w), (8, 12, 3), (24, 36)),
        (
            lambda m, x: functional.conv_transpose1d(x.transpose(1, 2), m.w, stride=2, groups=2),
            (8, 6, 4),
            (8, 24),
        ),
    ],
)
def test_fans(function, shape, fans):
    flat = "mm" in function.__code__.co_names  # mm knows no batch
    inputs = torch.randn(5, 8) if flat else torch.randn(2, 5, 8)
    row = told(function, inputs, w=shape)["w"]
    assert row.facets.kind == ("conv" if "conv" in row.facets.evidence else "linear")
    assert fans_of(row) == [fans]


def test_a_doubt_is_in_the_plan():
    net = Net(lambda m, x: x @ m.w**2, w=(8, 8))
    row = gi.plan(net, "lecun", inputs=torch.randn(2, 8))["w"]
    assert row.guessed
    assert row.why.endswith(
        "; pow(W): they aren't additive in it: its fan is from their second moment"
    )


@pytest.mark.parametrize(
    "wrap",
    [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm,
     nn.utils.parametrizations.orthogonal, nn.utils.spectral_norm],
)  # fmt: skip
def test_a_parametrization_makes_the_weight_itself(wrap):
    rows = read(wrap(nn.Linear(8, 12)), torch.randn(2, 8)).rows
    row = next(row for row in rows if row.name == "weight")
    assert (row.facets.doubt, fans_of(row)) == ("", [(8, 12)])


def test_an_exported_graph_is_read_like_the_model():
    model = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.LayerNorm(12), nn.Linear(12, 3))
    x = torch.randn(2, 8)
    exported = torch.export.export(model, (x,)).module()
    found = [
        [
            (row.facets.kind, row.facets.part, fans_of(row))
            for row in read(m, x).rows
            if not row.buffer
        ]
        for m in (model, exported)
    ]
    assert sorted(found[0], key=str) == sorted(found[1], key=str)


def test_fan_in_of_a_raw_bilinear_weight():
    row = told(lambda m, x: functional.bilinear(x, x, m.w), w=(12, 8, 8))["w"]
    assert [fan_in for fan_in, _ in fans_of(row)] == [64]


@pytest.mark.parametrize("shape", [(1, 8, 3), (12, 1, 1), (12, 8, 1)])
def test_axes_of_one_element_keep_their_place(shape):
    """Dirac and DeltaOrthogonal read the layout, not only the fans."""
    x = torch.randn(2, shape[1], 9)
    layout = told(lambda m, x: functional.conv1d(x, m.w), x, w=shape)["w"].facets.layout
    assert (layout.outputs, layout.inputs, layout.window) == ((0,), (1,), (2,))


def test_stacked_matrices_are_blocks():
    x = torch.randn(3, 5, 8)
    row = told(lambda m, x: torch.bmm(x, m.w), x, w=(3, 8, 4))["w"]
    assert blocks(row) == {f"expert{i}": (((i, i + 1), (0, 8), (0, 4)), 8, 4) for i in range(3)}
    row = told(lambda m, x: torch.einsum("etd,ehd->eth", x, m.w), x, w=(3, 4, 8))["w"]
    assert blocks(row) == {f"expert{i}": (((i, i + 1), (0, 4), (0, 8)), 8, 4) for i in range(3)}


def test_matrices_taken_one_by_one_from_a_stack():
    def run(m, x):
        return sum(functional.relu(x @ m.w[i]) for i in range(3))

    row = told(run, w=(3, 8, 4))["w"]
    assert fans_of(row) == [(8, 4)] * 3
    assert [b.name for b in row.facets.blocks] == ["expert0", "expert1", "expert2"]
    assert row.facets.activation == "relu"


# Attention.


def attend(q, k, v):
    q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in (q, k, v))
    y = (q @ k.transpose(-1, -2) / 2).softmax(-1) @ v
    return y.transpose(1, 2).flatten(2)


def test_queries_keys_and_values_apart():
    def run(m, x):
        return x + attend(x @ m.a, x @ m.b, x @ m.c) @ m.d

    found = told(run, a=(8, 8), b=(8, 8), c=(8, 8), d=(8, 8))
    assert {n: r.facets.part for n, r in found.items()} == {
        "a": "q",
        "b": "k",
        "c": "v",
        "d": "out",
    }
    assert [r.facets.ends_residual for r in found.values()] == [False, False, False, True]


@pytest.mark.parametrize("cut", ["chunk", "split", "unbind", "slices", "uneven"])
def test_queries_keys_and_values_in_one(cut):
    def run(m, x):
        y = functional.linear(x, m.w)
        if cut == "chunk":
            q, k, v = y.chunk(3, -1)
        elif cut == "split":
            q, k, v = y.split(8, -1)
        elif cut == "unbind":
            q, k, v = y.unflatten(-1, (3, 8)).unbind(2)
        elif cut == "slices":
            q, k, v = y[..., :8], y[..., 8:16], y[..., 16:]
        else:  # one head of keys and values for two of queries
            q, k, v = y.split((8, 4, 4), -1)
            k, v = (t.unflatten(-1, (1, 4)).expand(-1, -1, 2, -1).flatten(2) for t in (k, v))
        return x + attend(q, k, v) @ m.o

    rows = 16 if cut == "uneven" else 24
    found = told(run, w=(rows, 8), o=(8, 8))
    ends = (0, 8, 12, 16) if cut == "uneven" else (0, 8, 16, 24)
    assert blocks(found["w"]) == {
        name: (((a, b), (0, 8)), 8, b - a)
        for name, a, b in zip("qkv", ends, ends[1:], strict=False)
    }
    assert found["o"].facets.part == "out"


def test_rotated_in_part_is_still_one_query():
    """Partial rotary embedding: half of each head is turned, half passes."""

    def turn(t):
        t = t.unflatten(-1, (2, 4))
        a, b = t[..., :2], t[..., 2:]
        return torch.cat([a * 0.5 - a.flip(-1), b], -1).flatten(-2)

    def run(m, x):
        return x + attend(turn(x @ m.a), turn(x @ m.b), x @ m.c) @ m.d

    found = told(run, a=(8, 8), b=(8, 8), c=(8, 8), d=(8, 8))
    assert [found[n].facets.part for n in "abcd"] == ["q", "k", "v", "out"]
    assert not any(row.facets.blocks for row in found.values())


def test_cross_attention():
    def run(m, x, memory):
        return x + attend(x @ m.a, memory @ m.b, memory @ m.c) @ m.d

    x, memory = torch.randn(2, 5, 8), torch.randn(2, 7, 8)
    found = told(run, x, memory, a=(8, 8), b=(8, 8), c=(8, 8), d=(8, 8))
    assert [found[n].facets.part for n in "abcd"] == ["q", "k", "v", "out"]
    assert found["d"].facets.ends_residual


# Feed-forward blocks and activations.


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (functional.relu, "relu"),
        (torch.tanh, "tanh"),
        (lambda x: functional.leaky_relu(x, 0.2), "leaky_relu(0.2)"),
        (lambda x: functional.gelu(x, approximate="tanh"), "gelu_tanh"),
        (lambda x: x * torch.sigmoid(x), "silu"),
        (lambda x: x * torch.tanh(functional.softplus(x)), "mish"),
        (lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))), "gelu"),
        (lambda x: x * torch.sigmoid(1.702 * x), "gelu"),
        (lambda x: x * torch.sigmoid(1.2 * x), "silu"),
        (lambda x: x * torch.sigmoid(2.5 * x), "silu"),
        (lambda x: functional.dropout(functional.layer_norm(x, (16,)), 0.1).relu(), "relu"),
        (lambda x: x.relu_(), "relu"),
        (lambda x: x.clamp(min=0), "relu"),
        (lambda x: torch.maximum(x, torch.zeros_like(x)), "relu"),
        (lambda x: x.reshape(-1).sigmoid().view(2, 5, 16), "sigmoid"),
        (lambda x: x + 2, None),
    ],
)
def test_the_activation_that_follows(function, name):
    shifted = ("a", "b") if name is None and function(torch.zeros(1)) == 2 else ()
    found = told(lambda m, x: function(x @ m.a) @ m.b, a=(8, 16), b=(16, 8), doubted=shifted)
    assert found["a"].facets.activation == name
    assert found["b"].facets.activation is None


def test_a_softmax_is_no_activation():
    """What it makes of a signal is doubted."""
    found = told(
        lambda m, x: functional.softmax(x @ m.a, -1) @ m.b, a=(8, 16), b=(16, 8), doubted=("b",)
    )
    assert [found[name].facets.activation for name in "ab"] == [None, None]


def test_gates():
    def run(m, x):
        return x + (functional.silu(x @ m.a) * (x @ m.b)) @ m.c

    found = told(run, a=(8, 16), b=(8, 16), c=(16, 8))
    assert [found[n].facets.part for n in "abc"] == ["gate", "in", "out"]
    assert [found[n].facets.activation for n in "abc"] == ["silu", None, None]


def test_a_product_of_two_inputs_projections_is_no_gate():
    """Only a sigmoid says by itself that it shuts something."""

    def run(m, x, z):
        return (functional.silu(x @ m.a) * (z @ m.b)) @ m.c

    found = told(run, torch.randn(2, 8), torch.randn(2, 8), a=(8, 16), b=(8, 16), c=(16, 8))
    assert [found[n].facets.part for n in "abc"] == ["weight", "weight", "head"]


def test_a_share_of_the_values_is_no_value():
    """One number for each token, from another projection."""

    def run(m, x):
        share = torch.sigmoid(x @ m.g).mean(-1, keepdim=True)
        return x + attend(x @ m.a, x @ m.b, (x @ m.c) * share) @ m.d

    found = told(run, **dict.fromkeys("abcgd", (8, 8)))
    assert [found[n].facets.part for n in "abcgd"] == ["q", "k", "v", "weight", "out"]


@pytest.mark.parametrize("glu", [True, False])
def test_gates_in_one(glu):
    def run(m, x):
        y = x @ m.w
        if glu:
            return functional.glu(y, -1) @ m.o
        gate, value = y.chunk(2, -1)
        return (torch.sigmoid(gate) * value) @ m.o

    row = told(run, w=(8, 12), o=(6, 8))["w"]
    first, second = ("in", "gate") if glu else ("gate", "in")
    assert blocks(row) == {
        first: (((0, 8), (0, 6)), 8, 6),
        second: (((0, 8), (6, 12)), 8, 6),
    }


def test_a_gate_on_what_another_branch_made():
    """``sigmoid(x @ g) * f(x)``: the activation of g multiplies another projection."""

    def run(m, x):
        return x + torch.sigmoid(x @ m.g) * (functional.relu(x @ m.a) @ m.b)

    found = told(run, g=(8, 1), a=(8, 16), b=(16, 8))
    assert found["g"].facets.part == "gate"
    assert not found["g"].facets.ends_residual
    assert found["b"].facets.ends_residual


# Residual streams.


def test_residual_ends_in_every_spelling():
    def run(m, x):
        x = x + functional.relu(x @ m.a) @ m.b
        x = torch.add(functional.relu(x @ m.c) @ m.d, x)
        y = functional.relu(x @ m.e) @ m.f
        y += x
        return y + 0.5 * functional.dropout(functional.layer_norm(y @ m.g, (8,)) * m.s, 0.1)

    sizes = dict.fromkeys("abcdefg", (8, 8))
    found = told(run, **sizes, s=(8,))
    ends = [name for name in "abcdefg" if found[name].facets.ends_residual]
    assert ends == ["b", "d", "f", "g"]
    assert found["a"].facets.width == 8


def test_sums_that_are_no_residual():
    def run(m, x, z):
        return functional.relu(x @ m.a + z @ m.b) @ m.c

    x, z = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    found = told(run, x, z, a=(8, 16), b=(8, 16), c=(16, 4))
    assert not any(row.facets.ends_residual for row in found.values())
    assert [fans_of(found[name])[0][0] for name in "ab"] == [16, 16]  # of both products
    assert found["c"].facets.part == "head"


def test_adapters_beside_a_frozen_weight():
    """W x + B A x is one layer with an adapter; B ends no residual branch."""

    def run(m, x):
        return (
            functional.relu(
                functional.linear(x, m.w) + functional.linear(functional.linear(x, m.a), m.b)
            )
            @ m.o
        )

    net = Net(run, w=(16, 8), a=(2, 8), b=(16, 2), o=(16, 4))
    net.w.requires_grad_(False)
    found = {row.name: row.facets for row in read(net, torch.randn(3, 8)).rows}
    assert (found["w"].kind, found["a"].kind, found["b"].kind) == ("linear", "adapter", "adapter")
    assert not any(facets.ends_residual for facets in found.values())
    assert found["w"].activation == "relu"


# Tables, offsets, scales, tokens.


def test_tables():
    def run(m, tokens):
        x = functional.embedding(tokens, m.words) + m.places[torch.arange(tokens.shape[1])]
        x = x + m.first[: tokens.shape[1]]
        return torch.cat([m.cls.expand(len(x), 1, -1), x], 1) @ m.words.T

    tokens, shapes = torch.randint(0, 20, (2, 5)), {"places": (9, 8), "first": (9, 8)}
    # No norm lies between the rows and the logits.
    found = told(run, tokens, doubted=("words",), words=(20, 8), cls=(1, 1, 8), **shapes)
    assert {n: r.facets.kind for n, r in found.items()} == {
        "words": "embedding", "places": "position", "first": "position", "cls": "token",
    }  # fmt: skip
    assert found["words"].facets.part == "head"
    assert fans_of(found["words"]) == [(1, 8)]


@pytest.mark.parametrize(
    ("function", "kind", "part", "neutral"),
    [
        (lambda m, x: x @ m.w + m.p, "linear", "bias", 0),
        (lambda m, x: m.p + x @ m.w, "linear", "bias", 0),
        (lambda m, x: functional.linear(x, m.w.T, m.p), "linear", "bias", 0),
        (lambda m, x: (x @ m.w) * m.p, "scale", "weight", 1),
        (lambda m, x: (x @ m.w) * (1 + m.p), "scale", "weight", 0),
        (lambda m, x: (x @ m.w) / m.p, "scale", "weight", 1),
        (lambda m, x: functional.layer_norm(x @ m.w, (8,)) * m.p, "norm", "weight", 1),
        (lambda m, x: functional.layer_norm(x @ m.w, (8,), m.p), "norm", "weight", 1),
        (lambda m, x: functional.layer_norm(x @ m.w, (8,), None, m.p), "norm", "bias", 0),
        (lambda m, x: functional.normalize(x @ m.w, dim=-1) * m.p, "norm", "weight", None),
        (lambda m, x: m.p * by_hand(x @ m.w), "norm", "weight", 1),
        (lambda m, x: by_hand(x @ m.w) * (1 + m.p), "norm", "weight", 0),
        (lambda m, x: functional.prelu((x @ m.w).transpose(1, 2), m.p), "scale", "weight", None),
    ],
)
def test_offsets_and_scales(function, kind, part, neutral):
    p = nn.Parameter(torch.full((8,), float(neutral or 0)))
    row = told(function, w=(8, 8), p=p)["p"]
    assert (row.facets.kind, row.facets.part, row.facets.neutral) == (kind, part, neutral)
    assert fans_of(row) == [(None, None)]


def by_hand(x):
    """RMSNorm."""
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def test_a_scale_behind_a_norm_that_has_its_weight_is_no_norm():
    """The mix of a token with the one before it, as in RWKV."""

    def run(m, x):
        x = functional.layer_norm(x, (8,), m.w, m.b)
        return (x * m.mix + x.roll(1, 1) * (1 - m.mix)) @ m.o

    torch.manual_seed(0)  # now and then they make a mix of size 1, which nobody doubts
    found = told(run, w=(8,), b=(8,), mix=(8,), o=(8, 8), doubted=("o",))
    assert found["mix"].facets.kind == "scale"
    assert (found["w"].facets.kind, found["b"].facets.kind) == ("norm", "norm")


def test_a_bias_of_stacked_matrices_is_a_bias():
    def run(m, x):
        return torch.einsum(
            "bteh,eho->bteo", functional.relu(torch.einsum("bti,eih->bteh", x, m.w) + m.b), m.v
        )

    found = told(run, w=(3, 8, 16), b=(3, 16), v=(3, 16, 8))
    assert (found["b"].facets.kind, found["b"].facets.part) == ("linear", "bias")


def test_routers():
    def run(m, x):
        share, best = torch.softmax(x @ m.r, -1).topk(1, -1)
        every = torch.stack([functional.relu(x @ m.a[i]) @ m.b[i] for i in range(3)], -2)
        chosen = every.gather(-2, best[..., None].expand(-1, -1, -1, 8))
        return x + (chosen * share[..., None]).sum(-2)

    row = told(run, r=(8, 3), a=(3, 8, 16), b=(3, 16, 8))["r"]
    assert (row.facets.kind, row.facets.part, row.facets.ends_residual) == (
        "router", "router", False,
    )  # fmt: skip


def by_index(x, share, best, m):
    out = torch.zeros_like(x)
    for i in range(3):
        token, _ = torch.where(best == i)
        out = out.index_add(0, token, x[token] @ m.w[i])
    return out


def by_mixture(x, share, best, m):
    mix = torch.zeros(4, 3).scatter(-1, best, share.softmax(-1))
    return torch.einsum("be,eio,bi->bo", mix, m.w, x)


def by_mask(x, share, best, m):
    mask = functional.one_hot(best, 3).sum(1).to(x.dtype)
    return sum(x @ m.w[i] * mask[:, i, None] for i in range(3))


def in_order_of_experts(x, share, best, m):
    return x[best.flatten().argsort() // 2] @ m.w[0]


def not_to_experts(x, share, best, m):
    """The best features are the signal."""
    return torch.zeros(4, 3).scatter(-1, best, share) @ m.w[0, :3]


@pytest.mark.parametrize(
    ("dispatch", "kind", "doubted"),
    [
        (by_index, "router", ("w",)),
        (by_mixture, "router", ("w",)),
        (by_mask, "router", ()),
        (in_order_of_experts, "router", ()),
        (not_to_experts, "linear", ("r", "w")),
    ],
)
def test_scores_choose_experts_or_are_features(dispatch, kind, doubted):
    def run(m, x):
        x = x[0, :4]
        return dispatch(x, *(x @ m.r).topk(2, -1), m)

    assert told(run, doubted=doubted, r=(8, 3), w=(3, 8, 8))["r"].facets.kind == kind


def test_weights_made_of_weights():
    """Standardised kernels, and a low-rank product: the factors multiply activations in the end."""

    def standardised(m, x):
        w = m.w - m.w.mean((1, 2), keepdim=True)
        return functional.conv1d(x.transpose(1, 2), w / (w.std((1, 2), keepdim=True) + 1e-5))

    row = told(standardised, doubted=("w",), w=(12, 8, 3))["w"]  # nothing divides by the fan
    assert (row.facets.kind, fans_of(row)) == ("conv", [(24, 36)])


@pytest.mark.parametrize("channels", [8, 12])
def test_the_gain_of_a_standardised_kernel_scales_its_channels(channels: int) -> None:
    """Of a square kernel too, where the gain is as long as both axes (NFNet's 1x1)."""

    def standardised(m, x):
        flat = m.w.reshape(1, channels, -1)
        w = functional.batch_norm(flat, None, None, weight=m.gain.view(-1), training=True)
        return functional.conv1d(x.transpose(1, 2), w.reshape_as(m.w), stride=1)

    # Nothing divides by the fan: whatever is drawn, the product is larger than its input.
    rows = told(standardised, doubted=("w",), w=(channels, 8, 1), gain=(channels, 1, 1))
    assert (rows["w"].facets.kind, fans_of(rows["w"])) == ("conv", [(8, channels)])
    assert rows["gain"].facets.layout is None
    assert rows["gain"].facets.neutral == 1


def test_a_weight_used_twice_with_different_activations_has_one_row():
    def run(m, x):
        return functional.relu(x @ m.w) @ m.o + torch.tanh(x @ m.w) @ m.o

    found = told(run, doubted=("o",), w=(8, 8), o=(8, 4))  # two products with it are added
    assert fans_of(found["w"]) == [(8, 8)]
    assert found["w"].facets.activation == "relu"  # that of the first use


def test_patches():
    """Windows of an input that don't overlap; further on they are a convolution's, as any."""

    def run(m, x):
        y = functional.relu(functional.conv2d(x, m.a, stride=4))
        return functional.conv_transpose2d(functional.conv2d(y, m.b, stride=2), m.c, stride=2)

    x = torch.randn(2, 3, 16, 16)
    found = told(run, x, a=(8, 3, 4, 4), b=(8, 8, 2, 2), c=(8, 8, 2, 2))
    assert [found[name].facets.part for name in "abc"] == ["patch", "weight", "head"]

    def first(shape, **options):
        convolve = functional.conv_transpose2d if shape[0] == 3 else functional.conv2d
        rows = told(
            lambda m, x: convolve(x, m.w, **options).mean((2, 3)) @ m.o,
            x,
            doubted="w",
            w=shape,
            o=(8, 4),
        )
        return rows["w"].facets.part

    assert first((8, 3, 4, 4), stride=4) == "patch"
    assert first((8, 3, 4, 4), stride=2) == "weight"
    assert first((8, 3, 1, 1)) == "weight"
    assert first((3, 8, 2, 2), stride=2) == "weight"  # transposed


def test_what_feeds_an_activation_before_an_end_goes_in():
    def run(m, x):
        return x + functional.relu(x @ m.a) @ m.b

    found = told(run, a=(8, 16), b=(16, 8))
    assert [found[name].facets.part for name in "ab"] == ["in", "out"]


def test_a_norms_module_knows_what_it_is():
    rows = read(nn.LayerNorm(8), torch.randn(2, 8)).rows
    assert {row.facets.evidence for row in rows} == {"nn.LayerNorm"}


def test_unused_parameters_keep_what_their_type_says_or_are_guessed():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)
            self.raw = nn.Parameter(torch.randn(4, 4))

        def forward(self, x):
            return self.used(x)

    found = {row.name: row.facets for row in read(Unused(), torch.randn(2, 4)).rows}
    assert (found["unused.weight"].kind, found["unused.weight"].guessed) == ("linear", False)
    assert found["raw"].guessed


def test_biases_of_stacked_experts_are_no_embedding() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(3, 8, 5))
            self.b = nn.Parameter(torch.zeros(3, 8))
            self.table = nn.Parameter(torch.randn(3, 6))  # rows of another length

        def forward(self, x: Tensor) -> Tensor:
            chosen = torch.tensor([0, 2, 1])
            y = torch.bmm(x.expand(3, -1, -1), self.w.mT) + self.b[chosen].unsqueeze(1)
            return torch.cat([y, self.table[chosen].unsqueeze(1).expand(-1, 4, -1)], dim=-1)

    rows = {row.name: row for row in read(Experts(), torch.randn(4, 5)).rows}
    assert (rows["b"].facets.kind, rows["b"].facets.part) == ("linear", "bias")
    assert rows["b"].facets.layout is None
    assert rows["table"].facets.kind == "embedding"


def mixed_angles(m, x):
    """Angles of three axes in one tensor: the first one's are written over by the others'."""
    angles = x @ m.f[:, None]
    first = angles[0]
    first[..., torch.tensor([1])] = angles[1][..., torch.tensor([1])]
    return (x @ m.w) * angles[0].cos() + angles[1]


def test_what_is_written_into_a_row_of_a_whole_is_followed():
    rows = told(mixed_angles, doubted="fw", w=(8, 2), f=(2, 8, 2))
    assert [fans_of(rows[name]) for name in ("w", "f")] == [[(8, 2)], [(8, 2)] * 2]


def test_a_bound_of_each_sample_is_no_relu():
    def clamped(m, x):
        return (x @ m.w).clamp(min=x.amax(-1, keepdim=True)) @ m.v

    assert told(clamped, doubted="w", w=(8, 6), v=(6, 4))["w"].facets.activation is None


def test_a_weight_without_elements_is_joined_to_another():
    rows = told(lambda m, x: x @ torch.cat([m.w, m.none]), w=(8, 6), none=(0, 6))
    assert fans_of(rows["w"]) == [(8, 6)]


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own, when it decomposes
@pytest.mark.parametrize("decomposed", [False, True])
def test_an_exported_convolution_and_batch_norm(decomposed):
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU()).eval()
    x = torch.randn(2, 4, 8, 8)
    exported = torch.export.export(model, (x,))
    exported = exported.run_decompositions() if decomposed else exported
    rows = read(exported.module(), x).rows
    found = {row.name.replace("/", "."): row for row in rows if not row.buffer}
    assert [found[name].facets.kind for name in found] == ["conv", "conv", "norm", "norm"]
    assert [row.facets.guessed for row in found.values()] == [False] * 4
    assert fans_of(found["0.weight"]) == [(36, 54)]


@pytest.mark.parametrize(("largest", "kept"), [(80, True), (79, False)])
def test_the_largest_signal_is_measured(
    largest: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("goodinit.dataflow.unlisted.LARGEST_SIGNAL", largest)
    graph = read(Net(lambda m, x: x.cumsum(1) @ m.w, w=(8, 12)), torch.randn(2, 5, 8)).graph
    assert graph is not None
    (linear,) = (node.linear for node in graph.nodes if node.function == "cumsum")
    assert (linear is not None) == kept
