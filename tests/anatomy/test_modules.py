"""What module types say: fans that hold through ``module(x)``, blocks, parts, guesses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.init import _calculate_fan_in_and_fan_out as torch_fans
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from goodinit.anatomy import read
from goodinit.anatomy.modules import activation_name, describe, describe_children
from goodinit.anatomy.rows import KINDS, PARTS, Row
from goodinit.anatomy.shapes import Siblings, guess
from goodinit.schemes import Layout
from goodinit.schemes.gains import NONLINEARITIES

few = settings(max_examples=15, deadline=None, derandomize=True)


def _row(module, attr):
    tensor = getattr(module, attr)
    return Row(attr, tuple(tensor.shape), tensor.dtype, type(module), describe(module)[attr])


def _fans(module, attr="weight"):
    """Return (fan_in, fan_out) of each block."""
    return [(block.fan_in, block.fan_out) for block, _ in _row(module, attr).sites()]


def _near(ratios, expected=1.0):
    """Hold a mean against its expectation, by the spread of independent estimates of it."""
    ratios = torch.stack(ratios).double()
    error = ratios.std() / math.sqrt(len(ratios))
    assert abs(ratios.mean() - expected) < 5.5 * error + 1e-6, (ratios.mean(), error)
    assert error < 0.05, error  # or the test would let a wrong fan through


REDRAWS = 100


def _redrawn(module, fan, run):
    """Return ``run()`` under fresh weights N(0, 1/fan), several times over."""
    torch.manual_seed(0)
    ratios = []
    for _ in range(REDRAWS):
        with torch.no_grad():
            nn.init.normal_(module.weight, std=fan**-0.5)
        ratios.append(run())
    return ratios


def _check_both_ways(module, shape):
    """E[y^2] = E[x^2] under 1/fan_in, E[g_x^2] = E[g_y^2] under 1/fan_out; in the interior.

    Every window axis is cut off at its borders, by whole strides, so that what remains is an
    average over all phases.
    """
    ((fan_in, fan_out),) = _fans(module)
    strides = getattr(module, "stride", ())
    transposed = getattr(module, "transposed", False)

    def inside(values, multiples):
        for axis, step in enumerate(multiples, start=2):
            cut = 6 * step
            whole = (values.shape[axis] - 2 * cut) // step * step
            values = values.narrow(axis, cut, whole)
        return values.square().mean()

    ones = [1] * len(strides)

    def forward():
        return inside(module(torch.randn(shape)), strides if transposed else ones)

    def backward():
        x = torch.randn(shape, requires_grad=True)
        y = module(x)
        (g,) = torch.autograd.grad(y, x, torch.randn_like(y))
        return inside(g, ones if transposed else strides)

    _near([r.detach() for r in _redrawn(module, fan_in, forward)])
    _near(_redrawn(module, fan_out, backward))


@pytest.mark.parametrize(
    ("module", "attr", "torchs", "ours"),
    [
        (nn.ConvTranspose2d(64, 128, 4, 2), "weight", (2048, 1024), (256, 2048)),
        (nn.Conv2d(64, 64, 3, groups=64), "weight", (9, 576), (9, 9)),
        (nn.Conv2d(64, 128, 3, groups=4), "weight", (144, 1152), (144, 288)),
        (nn.MultiheadAttention(512, 8), "in_proj_weight", (512, 1536), (512, 512)),
        (nn.LSTM(256, 256), "weight_hh_l0", (256, 1024), (256, 256)),
        (nn.GRU(256, 256), "weight_ih_l0", (256, 768), (256, 256)),
        (nn.Bilinear(30, 20, 7), "weight", (600, 140), (600, 175)),
        (nn.Embedding(1000, 32), "weight", (32, 1000), (1, 32)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_fans_where_torchs_fail(module, attr, torchs, ours):
    assert torch_fans(getattr(module, attr)) == torchs
    assert set(_fans(module, attr)) == {ours}


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(48, 20, bias=False), (40, 48)),
        (nn.Conv1d(8, 12, 3, bias=False), (4, 8, 60)),
        (nn.Conv1d(8, 12, 5, stride=3, bias=False), (4, 8, 90)),
        (nn.Conv1d(8, 12, 4, stride=2, dilation=2, bias=False), (4, 8, 80)),
        (nn.Conv2d(12, 18, 3, groups=3, bias=False), (2, 12, 24, 24)),
        (nn.Conv2d(12, 12, 3, groups=12, bias=False), (2, 12, 24, 24)),
        (nn.Conv2d(6, 8, (3, 5), stride=(1, 2), bias=False), (2, 6, 24, 36)),
        (nn.Conv3d(3, 6, 2, bias=False), (1, 3, 16, 16, 16)),
        (nn.ConvTranspose1d(8, 12, 4, stride=2, bias=False), (4, 8, 60)),
        (nn.ConvTranspose1d(8, 12, 3, stride=2, bias=False), (4, 8, 60)),
        (nn.ConvTranspose1d(8, 12, 3, stride=2, groups=4, bias=False), (4, 8, 60)),
        (nn.ConvTranspose2d(6, 8, 4, stride=(2, 1), bias=False), (2, 6, 20, 24)),
        (nn.ConvTranspose3d(3, 6, 2, stride=2, bias=False), (1, 3, 15, 15, 15)),
    ],
    ids=str,
)
def test_second_moments_hold_through_the_module(module, shape):
    _check_both_ways(module, shape)


@few
@given(
    channels=st.tuples(st.integers(4, 8), st.integers(4, 8)),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    groups=st.integers(1, 3),
    transposed=st.booleans(),
)
def test_any_convolution(channels, kernel, stride, groups, transposed):
    inputs, outputs = channels
    cls = nn.ConvTranspose1d if transposed else nn.Conv1d
    module = cls(inputs * groups, outputs * groups, kernel, stride, groups=groups, bias=False)
    _check_both_ways(module, (4, inputs * groups, 20 * stride + 30))


@few
@given(sizes=st.tuples(*[st.integers(3, 9)] * 3))
def test_bilinear(sizes):
    module = nn.Bilinear(*sizes, bias=False)
    ((fan_in, fan_out),) = _fans(module)

    def pair():
        return [torch.randn(64, n, requires_grad=True) for n in sizes[:2]]

    def backward():  # a gradient for each input: their mean
        xs = pair()
        y = module(*xs)
        gs = torch.autograd.grad(y, xs, torch.randn_like(y))
        return sum(g.square().mean() for g in gs) / 2

    _near([r.detach() for r in _redrawn(module, fan_in, lambda: module(*pair()).square().mean())])
    _near(_redrawn(module, fan_out, backward))


@pytest.mark.parametrize("module", [nn.Embedding(50, 24), nn.EmbeddingBag(50, 24, mode="sum")])
def test_embedding(module):
    """One-hot in: E[y^2] is the squared length of x, 1; the gradient flows as through x @ W."""
    ((fan_in, fan_out),) = _fans(module)
    ids = torch.arange(50)[:, None]
    looked_up = lambda: module(ids).detach().square().mean()  # noqa: E731
    _near(_redrawn(module, fan_in, looked_up))
    gradient = lambda: (torch.randn(32, 24) @ module.weight.detach().T).square().mean()  # noqa: E731
    _near(_redrawn(module, fan_out, gradient))


PACKED = [
    (nn.LSTM(20, 12), "weight_ih_l0"),
    (nn.LSTM(20, 12, 2, bidirectional=True), "weight_ih_l1_reverse"),
    (nn.LSTM(20, 12, 2, bidirectional=True, proj_size=5), "weight_ih_l1"),
    (nn.LSTM(20, 12, proj_size=5), "weight_hh_l0"),
    (nn.LSTM(20, 12, proj_size=5), "weight_hr_l0"),
    (nn.GRU(20, 12), "weight_hh_l0"),
    (nn.RNN(20, 12), "weight_ih_l0"),
    (nn.GRUCell(20, 12), "weight_ih"),
    (nn.MultiheadAttention(16, 2), "in_proj_weight"),
    (nn.MultiheadAttention(16, 2, kdim=5, vdim=9), "q_proj_weight"),
    (nn.MultiheadAttention(16, 2, kdim=5, vdim=9), "k_proj_weight"),
    (nn.MultiheadAttention(16, 2, kdim=5, vdim=9), "v_proj_weight"),
]


@pytest.mark.parametrize(("module", "attr"), PACKED, ids=[f"{m}.{a}" for m, a in PACKED])
def test_projections_of_packed_weights(module, attr):
    torch.manual_seed(0)
    weight = getattr(module, attr).detach()
    for block, site in _row(module, attr).sites():
        rows, columns = (slice(*edges) for edges in block.box)
        forward, backward = [], []
        for _ in range(REDRAWS):
            weight.normal_()
            x = torch.randn(40, weight.shape[1])
            y = nn.functional.linear(x, weight)[:, rows]
            forward.append(y.square().mean() / site.fan_in)
            g = torch.randn(40, weight.shape[0])[:, rows] @ weight[rows, columns]
            backward.append(g.square().mean() / site.fan_out)
        _near(forward)
        _near(backward)


def test_gates_are_torchs():
    """An LSTM whose blocks "in" and "forget" are shut and open carries its cell through."""
    cell = nn.LSTMCell(3, 4)
    blocks = {b.name: slice(*b.box[0]) for b in describe(cell)["bias_ih"].blocks}
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih[blocks["forget"]] = 50.0
        cell.bias_ih[blocks["in"]] = -50.0
        cell.bias_ih[blocks["cell"]] = 3.0
        cell.bias_ih[blocks["out"]] = 50.0
        c = torch.randn(1, 4)
        h, after = cell(torch.randn(1, 3), (torch.zeros(1, 4), c))
    torch.testing.assert_close(after, c)
    torch.testing.assert_close(h, torch.tanh(c))
    gru = nn.GRUCell(3, 4)
    blocks = {b.name: slice(*b.box[0]) for b in describe(gru)["bias_ih"].blocks}
    with torch.no_grad():
        for parameter in gru.parameters():
            parameter.zero_()
        gru.bias_ih[blocks["update"]] = -50.0
        gru.bias_ih[blocks["new"]] = 0.5
        gru.bias_hh[blocks["new"]] = 0.25
        gru.bias_ih[blocks["reset"]] = 50.0
        h = gru(torch.randn(1, 3), c)
    torch.testing.assert_close(h, torch.full((1, 4), math.tanh(0.75)))


EVERY = [
    nn.Linear(2, 3),
    nn.Bilinear(2, 3, 4),
    nn.ConvTranspose2d(2, 4, 3, groups=2),
    nn.Embedding(4, 3, padding_idx=-1),
    nn.EmbeddingBag(4, 3),
    nn.RNN(2, 3, 2, bidirectional=True, nonlinearity="relu"),
    nn.LSTM(2, 4, 2, bidirectional=True, proj_size=3),
    nn.GRU(2, 3, bias=False),
    nn.RNNCell(2, 3),
    nn.LSTMCell(2, 3),
    nn.GRUCell(2, 3, bias=False),
    nn.MultiheadAttention(4, 2, add_bias_kv=True),
    nn.MultiheadAttention(4, 2, kdim=3, bias=False),
    nn.BatchNorm1d(3),
    nn.BatchNorm2d(3, affine=False),
    nn.SyncBatchNorm(3, track_running_stats=False),
    nn.InstanceNorm3d(3, affine=True),
    nn.GroupNorm(1, 3),
    nn.LayerNorm(3, bias=False),
    nn.RMSNorm(3),
    nn.PReLU(),
]


@pytest.mark.parametrize("module", EVERY, ids=str)
def test_every_own_tensor_is_described_and_nothing_else(module):
    own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers())}
    told = describe(module)
    assert set(told) == set(own)
    for attr, facets in told.items():
        assert facets.kind in KINDS
        assert facets.part in PARTS
        assert not facets.guessed
        assert facets.evidence == f"nn.{type(module).__name__}"
        covered = sum(math.prod(block.shape) for block in facets.blocks)
        if facets.blocks:
            assert covered == own[attr].numel()
        assert (facets.part == "bias") <= (facets.layout is None)


@pytest.mark.parametrize("module", [nn.ReLU(), nn.RReLU(), nn.CosineSimilarity(), nn.Module()])
def test_types_without_parameters_say_nothing(module):
    assert describe(module) == describe_children(module) == {}


def test_details():
    assert describe(nn.Embedding(4, 3, padding_idx=-1))["weight"].zero_rows == (3,)
    assert describe(nn.Bilinear(2, 3, 4))["weight"].layout == Layout((0,), (1, 2))
    norm = describe(nn.BatchNorm1d(3))
    assert (norm["weight"].neutral, norm["bias"].neutral) == (1.0, 0.0)
    assert norm["running_var"].part == norm["num_batches_tracked"].part == "buffer"
    assert describe(nn.RNN(2, 3, nonlinearity="relu"))["weight_ih_l0"].activation == "relu"
    assert describe(nn.LSTM(2, 3))["weight_ih_l0"].activation is None
    assert describe(nn.MultiheadAttention(4, 2, add_bias_kv=True))["bias_k"].kind == "token"


class Mine(nn.Linear):
    def __init__(self, n):
        super().__init__(n, n)
        self.extra = nn.Parameter(torch.zeros(n))


class Stacked(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
        self.weight = nn.Parameter(torch.zeros(3, 4, 4))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_subclasses_and_logical_names():
    assert {a: f.evidence for a, f in describe(Mine(3)).items()} == dict.fromkeys(
        ["weight", "bias"], "nn.Linear"
    )
    assert set(describe(Stacked())) == {"bias"}  # what it put in place is another thing
    for wrap in (parametrizations.weight_norm, parametrizations.spectral_norm):
        assert set(describe(wrap(nn.Linear(3, 2)))) == {"weight", "bias"}
    for wrap in (weight_norm, spectral_norm):
        assert set(describe(wrap(nn.Linear(3, 2)))) == {"weight", "bias"}
    assert set(describe(nn.Linear(3, 2, device="meta"))) == {"weight", "bias"}


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_modules_are_described():
    assert describe(nn.LazyConv2d(4, 3))["weight"].kind == "conv"


@pytest.mark.parametrize("layer", [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer])
def test_transformer_layers(layer):
    module = layer(8, 2, 16, activation="gelu")
    told = describe_children(module)
    assert set(told) <= {name for name, _ in module.named_parameters()}
    ends = {name for name, fields in told.items() if fields.get("ends_residual")}
    attentions = [n for n in ("self_attn", "multihead_attn") if hasattr(module, n)]
    assert ends == {"linear2.weight", *(f"{n}.out_proj.weight" for n in attentions)}
    assert told["linear1.weight"] == {"part": "in", "ends_residual": False, "activation": "gelu"}
    assert told["self_attn.in_proj_weight"] == {"ends_residual": False}
    assert describe_children(module.self_attn) == {"out_proj.weight": {"part": "out"}}


def test_what_follows_in_a_sequential():
    act = nn.SiLU()
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)),
        act,
        nn.Conv2d(8, 8, 3),
        act,
        nn.Linear(8, 8),
        nn.Softmax(-1),
        nn.ReLU(),
        nn.Linear(8, 8),
        nn.Linear(8, 8),
    )
    silu = {"activation": "silu"}
    assert describe_children(net) == {"0.0.weight": silu, "2.weight": silu}

    class Residual(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    assert describe_children(Residual(nn.Linear(2, 2), nn.ReLU())) == {}
    within = nn.Sequential(Residual(nn.Linear(2, 2)), nn.ReLU())
    assert describe_children(within) == {}


ACTIVATIONS = [
    *(nn.ReLU(), nn.ReLU6(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Mish(), nn.Tanh()),
    *(nn.Sigmoid(), nn.SELU(), nn.ELU(), nn.ELU(0.5), nn.CELU(2.0), nn.LeakyReLU(0.2)),
    *(nn.Softplus(), nn.Softplus(2), nn.Hardtanh(0, 4), nn.Hardswish(), nn.Hardsigmoid()),
    *(nn.Hardshrink(0.3), nn.Softshrink(), nn.Softsign(), nn.Tanhshrink(), nn.LogSigmoid()),
    *(nn.Threshold(0.1, 0.2), nn.PReLU(), nn.PReLU(init=0.1), nn.RReLU(0.1, 0.2).eval()),
]


@pytest.mark.parametrize("module", ACTIVATIONS, ids=str)
def test_an_activations_name_computes_the_same(module):
    name, _, arguments = activation_name(module).partition("(")
    numbers = [float(n) for n in arguments.rstrip(")").split(", ") if n]
    z = torch.linspace(-3, 3, 41)
    torch.testing.assert_close(NONLINEARITIES[name](z, *numbers), module(z).detach())


def test_an_activation_with_its_defaults_has_a_bare_name():
    plain = (nn.ELU, nn.CELU, nn.Hardshrink, nn.Hardtanh, nn.LeakyReLU, nn.PReLU, nn.RReLU)
    plain += nn.Softplus, nn.Softshrink
    assert [activation_name(cls()) for cls in plain] == (
        "elu celu hardshrink hardtanh leaky_relu prelu rrelu softplus softshrink".split()
    )


def _guessed(module=None, **shapes):
    own = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    told = {name: guess(module or nn.Module(), name, Siblings(own)) for name in own}
    assert all(facets.guessed and facets.evidence == "shape" for facets in told.values())
    return told


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((8, 1), "linear"), ((8, 1, 1), "other"), ((8, 2), "linear")],
)
def test_a_matrix_may_have_one_column(shape, kind):
    """[n, 1, 1] is one number a channel."""
    assert _guessed(p=shape)["p"].kind == kind


def _guessed_fans(told, name, shape):
    return told[name].layout.fans(shape)


def test_guessed_matrices():
    assert _guessed_fans(_guessed(a=(30, 20)), "a", (30, 20)) == (20, 30)
    told = _guessed(a=(20, 60), b=(60,))
    assert _guessed_fans(told, "a", (20, 60)) == (20, 60)
    assert told["b"].part == "bias"
    told = _guessed(a=(60, 20), b=(60,))
    assert _guessed_fans(told, "a", (60, 20)) == (20, 60)
    told = _guessed(a=(8, 32), b=(32,), c=(32, 8), d=(8,))  # x @ a + b, then @ c + d
    assert _guessed_fans(told, "a", (8, 32)) == (8, 32)
    assert _guessed_fans(told, "c", (32, 8)) == (32, 8)
    assert [told[name].part for name in "abcd"] == ["weight", "bias"] * 2


def test_guessed_experts():
    told = _guessed(a=(8, 512, 256))
    assert torch_fans(torch.empty(8, 512, 256, device="meta")) == (131072, 2048)
    assert {(b.fan_in, b.fan_out) for b in told["a"].blocks} == {(256, 512)}
    assert [b.name for b in told["a"].blocks] == [f"expert{e}" for e in range(8)]
    assert told["a"].blocks[3].box == ((3, 4), (0, 512), (0, 256))
    d, h = 48, 20
    for up, down in (((4, d, 2 * h), (4, h, d)), ((4, 2 * h, d), (4, d, h))):
        for order in ({"a": up, "c": down}, {"c": down, "a": up}):
            told = _guessed(**order, router=(4, d))
            assert _guessed_fans(told, "a", up) == (d, 2 * h)
            assert _guessed_fans(told, "c", down) == (h, d)
            assert told["router"].part == "weight"
    told = _guessed(a=(4, d, 2 * h), b=(4, 2 * h), c=(4, h, d), e=(4, d))
    assert [told[name].part for name in "abce"] == ["weight", "bias"] * 2


def test_other_guesses():
    told = _guessed(a=(16, 3, 4, 4), b=(16,), c=(16, 1, 3))
    assert [(told[n].kind, told[n].part) for n in "abc"] == [
        ("conv", "weight"),
        ("conv", "bias"),
        ("conv", "weight"),
    ]
    windows = {"a": (16, 3, 7), "b": (16, 3, 8), "c": (16, 3, 32, 32), "d": (16, 3, 33, 33)}
    told = _guessed(**windows, e=(16, 1, 1))
    assert [facets.kind for facets in told.values()] == "conv linear conv other other".split()
    told = _guessed(a=(1, 1, 8), b=(1, 50, 8), c=(1, 8), d=(1, 8, 1, 1), e=(), f=(8,))
    kinds = ["token", "position", "token", "other", "other", "other"]
    assert [facets.kind for facets in told.values()] == kinds

    class T5LayerNorm(nn.Module):
        pass

    told = _guessed(T5LayerNorm(), x=(8,), y=(8,), z=(8,))
    assert [(f.kind, f.part, f.neutral) for f in told.values()] == [
        ("norm", "weight", 1.0),
        ("norm", "bias", 0.0),
        ("other", "weight", None),
    ]
    whole = torch.zeros(3, 3, dtype=torch.long)
    assert guess(nn.Module(), "a", Siblings({"a": whole})).kind == "other"


@few
@given(st.lists(st.lists(st.integers(1, 40), max_size=5), min_size=1, max_size=5))
def test_guesses_depend_on_no_name(shapes):
    names = [f"p{i}" for i in range(len(shapes))]
    first = _guessed(**dict(zip(names, shapes, strict=True)))
    renamed = ["z", "bias", "weight", "a.k", "q"][: len(shapes)]
    second = _guessed(**dict(zip(renamed, shapes, strict=True)))
    assert list(first.values()) == list(second.values())
    for shape, facets in zip(shapes, first.values(), strict=True):
        if facets.blocks:
            assert sum(math.prod(b.shape) for b in facets.blocks) == math.prod(shape)
        if facets.layout is not None:
            assert min(facets.layout.fans(tuple(shape))) >= 1


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("p", "q"), ("weight", "bias")),
        (("weight", "bias"), ("weight", "bias")),
        (("bias", "weight"), ("bias", "weight")),
        (("beta", "gamma"), ("bias", "weight")),
        (("bias", "g"), ("bias", "weight")),
        (("b", "weight"), ("bias", "weight")),
        (("bias",), ("bias",)),
    ],
)
def test_a_norm_whose_bias_comes_first(names: tuple[str, ...], parts: tuple[str, ...]) -> None:
    class OwnNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in names:
                self.register_parameter(name, nn.Parameter(torch.empty(8, device="meta")))

    rows = read(OwnNorm()).rows
    assert tuple(row.facets.part for row in rows) == parts
    assert all(row.facets.guessed and row.facets.kind == "norm" for row in rows)


def test_what_is_summed_before_an_exponential_is_no_rate() -> None:
    class Differential(nn.Module):
        """As differential attention's lambda; and a rate for each channel."""

        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.rate = (nn.Parameter(torch.randn(4)) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.exp((self.q * self.k).sum()) + x * torch.exp(self.rate)

    kinds = {row.name: row.facets.kind for row in read(Differential(), torch.ones(2, 4)).rows}
    assert kinds == {"q": "scale", "k": "scale", "rate": "ssm"}


class ShiftedNorm(nn.RMSNorm):
    """A subclass of a known norm that adds 1 to its weight, as Gemma's does."""

    def forward(self, x):
        return nn.functional.rms_norm(x, (8,), 1 + self.weight)


class NormByHand(nn.RMSNorm):
    def forward(self, x):
        return nn.functional.rms_norm(x, (8,)) * self.weight


class ShiftedNormByHand(nn.RMSNorm):
    def forward(self, x):
        return nn.functional.rms_norm(x, (8,)) * (1 + self.weight)


@pytest.mark.parametrize(
    ("norm", "neutral"),
    [(nn.RMSNorm, 1.0), (ShiftedNorm, 0.0), (NormByHand, 1.0), (ShiftedNormByHand, 0.0)],
)
def test_a_run_shows_whether_a_known_norm_adds_1(norm, neutral):
    model = nn.Sequential(nn.Linear(8, 8), norm(8), nn.Linear(8, 8))
    row = next(row for row in read(model, torch.ones(2, 8)).rows if row.name == "1.weight")
    assert (row.facets.kind, row.facets.part, row.facets.neutral) == ("norm", "weight", neutral)


def test_a_run_keeps_the_parts_that_a_known_module_names():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, kdim=4, vdim=6)

        def forward(self, q, k, v):
            return self.attention(q, k, v)[0]

    inputs = torch.ones(5, 8), torch.ones(3, 4), torch.ones(3, 6)
    parts = {row.name.rpartition(".")[2]: row.facets.part for row in read(Net(), inputs).rows}
    assert [parts[f"{name}_proj_weight"] for name in "qkv"] == ["q", "k", "v"]
