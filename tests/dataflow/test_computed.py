"""Weights that are computed before they meet the data: fans, kinds, and what can't be told."""

from __future__ import annotations

import ctypes
import math
import sys
import threading
import time

import pytest
import torch
from tests.forks import MAY_FORK, in_a_fork
from tests.models import zoo
from torch import nn
from torch.nn import functional as fn

import goodinit as gi
from goodinit.anatomy import read
from goodinit.dataflow import replay
from goodinit.dataflow.graph import Graph
from goodinit.dataflow.squares import EQUAL, are_unlike

X = torch.randn(16, 48)
MASK = (torch.arange(32 * 48).reshape(32, 48) % 3 == 0).float()  # a third of it


class Net(nn.Module):
    """A function of parameters, by their shapes, and of tensors, which become buffers."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, torch.Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, nn.Parameter(torch.randn(part)))

    def forward(self, *inputs):
        return self.function(self, *inputs)


def row_of(function, x=X, name="w", **parts):
    return gi.plan(Net(function, **parts), "lecun", inputs=x)[name]


EXACT = {
    "factor": (lambda m, x: fn.linear(x, m.w * 0.5), {"w": (32, 48)}, 12),
    "mask": (lambda m, x: fn.linear(x, m.w * m.mask), {"w": (32, 48), "mask": MASK}, 16),
    "twice itself": (lambda m, x: fn.linear(x, m.w + m.w), {"w": (32, 48)}, 192),
    "tril": (lambda m, x: fn.linear(x, m.w.tril()), {"w": (48, 48)}, 24.5),
    "pad": (lambda m, x: fn.linear(x, fn.pad(m.w, (0, 24))), {"w": (32, 24)}, 24),
    "repeat": (lambda m, x: fn.linear(x, m.w.repeat(4, 6)), {"w": (8, 8)}, 48),
    "vector of indices": (
        lambda m, x: x @ m.w[(torch.arange(48)[:, None] - torch.arange(48)) % 48],
        {"w": (48,)},
        48,
    ),
    "set into zeros": (
        lambda m, x: fn.linear(x, torch.zeros(32, 48).index_copy(0, torch.arange(0, 32, 4), m.w)),
        {"w": (8, 48)},
        12,
    ),
    "cat of inputs": (
        lambda m, x: fn.linear(x, torch.cat([m.w, m.v], 1)),
        {"w": (32, 19), "v": (32, 29)},
        48,
    ),
    "cat of scaled outputs": (
        lambda m, x: fn.linear(x, torch.cat([2 * m.w, 2 * m.v])),
        {"w": (8, 48), "v": (24, 48)},
        192,
    ),
    "basis": (
        lambda m, x: fn.linear(x, torch.einsum("k,koi->oi", m.w, m.b)),
        {"w": (3,), "b": torch.ones(3, 32, 48)},
        144,
    ),
    "complex": (
        lambda m, x: fn.linear(x.to(torch.cfloat), torch.view_as_complex(m.w)).real,
        {"w": (32, 48, 2)},
        48,  # of the 96 real products half are in the imaginary part
    ),
    "half": (lambda m, x: fn.linear(x.half(), (m.w.half() * 0.5)).float(), {"w": (32, 48)}, 12),
    "bfloat16, which rounds": (
        lambda m, x: fn.linear(x.to(torch.bfloat16), m.w.to(torch.bfloat16) * 0.3).float(),
        {"w": (32, 48)},
        4.32,
    ),
    "summed": (lambda m, x: (x[:, None] * m.w).sum(-1), {"w": (32, 48)}, 48),
    "mean": (lambda m, x: (x[:, None] * m.w).mean(-1), {"w": (32, 48)}, 1 / 48),
    "scores": (lambda m, x: (x.view(16, 4, 12) * m.w).sum(-1), {"w": (1, 4, 12)}, 12),
    "inner": (lambda m, x: torch.inner(x, m.w), {"w": (32, 48)}, 48),
    "Fourier": (
        lambda m, x: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(m.w), n=48),
        {"w": (48,)},
        48,
    ),
    "slices": (
        lambda m, x: x[:, :16] @ m.w[:16] + x[:, 16:] @ m.w[16:],
        {"w": (48, 32)},
        48,
    ),
    "slices with steps": (
        lambda m, x: x[:, ::2] @ m.w[::2] + x[:, 1::2] @ m.w[1::2],
        {"w": (48, 32)},
        48,
    ),
    "flat experts": (
        lambda m, x: torch.einsum("bi,bio->bo", x, m.w.view(4, 48, 32)[torch.arange(16) % 4]),
        {"w": (4 * 48 * 32,)},
        48,
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_a_fan_is_exact(name):
    function, parts, fan = EXACT[name]
    row = row_of(function, **parts)
    assert (row.fan_in, row.guessed) == (pytest.approx(fan, rel=1e-5), False), row.why


def test_a_weight_beside_a_large_constant_has_its_own_fan():
    row = row_of(lambda m, x: fn.linear(x, 50 + m.w), w=(32, 48))
    assert (row.fan_in, row.guessed) == (pytest.approx(48, rel=1e-5), True)
    assert "a constant is added to it" in row.why


def test_a_constant_that_is_kept_counts_as_added():
    """Noise of a learned size."""

    def noisy(m, x):
        return fn.linear(x, m.w + m.sigma * m.noise)

    net = Net(noisy, w=(32, 48), sigma=(32, 48), noise=torch.randn(32, 48))
    for sigma, marked in ((0.001, False), (0.1, True)):
        nn.init.constant_(net.sigma, sigma)
        row = gi.plan(net, "lecun", inputs=X)["w"]
        assert (row.fan_in, row.guessed) == (48, marked)
        assert ("a constant is added to it" in row.why) is marked


def test_a_large_weight_that_is_kept_is_marked():
    net = Net(lambda m, x: fn.linear(x, fn.softplus(m.w)), w=(1025, 1024))
    row = gi.plan(net, "lecun", inputs=torch.randn(2, 1024))["w"]
    assert row.guessed
    assert isinstance(row.scheme, gi.Keep)


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: fn.linear(x, m.w @ m.v),
        lambda m, x: fn.linear(x, torch.einsum("ij,jk->ik", m.w, m.v)),
        lambda m, x: fn.linear(x, torch.kron(m.w, m.v)[:32, :48]),
    ],
    ids=["product", "einsum", "kron"],
)
def test_a_factor_has_no_experts(function):
    """The axis that is lost in a product is no stack of matrices: it is drawn whole."""
    rows = [row_of(function, name=name, w=(32, 8), v=(8, 48)) for name in ("w", "v")]
    assert all("expert" not in row.part and len(row.blocks) <= 1 for row in rows)


@pytest.mark.parametrize(
    ("function", "parts", "fan"),
    [
        (lambda m, x: fn.linear(x, m.w @ m.v), {"w": (32, 8), "v": (8, 48)}, (48 * 8) ** 0.5),
        (lambda m, x: fn.linear(x, torch.kron(m.w, m.v)), {"w": (4, 6), "v": (8, 8)}, 48**0.5),
        (lambda m, x: torch.einsum("bi,ir,ro->bo", x, m.w, m.v), {"w": (48, 8), "v": (8, 32)},
         (48 * 8) ** 0.5),
        (lambda m, x: torch.linalg.multi_dot([x, m.w, m.v]), {"w": (48, 8), "v": (8, 32)},
         (48 * 8) ** 0.5),
    ],
    ids=["low rank", "kron", "einsum", "multi_dot"],
)  # fmt: skip
def test_factors_share_a_fan(function, parts, fan):
    """E[W^2] is a mean over draws of more than a thousand products: 5 % are five sigmas."""
    rows = [row_of(function, name=name, **parts) for name in ("w", "v")]
    assert [row.fan_in for row in rows] == pytest.approx([fan, fan], rel=0.05)
    assert not any(row.guessed for row in rows)


@pytest.mark.parametrize(
    "function",
    [fn.softplus, torch.exp, torch.sigmoid, torch.round, lambda w: 1 / w,
     lambda w: (100 * w).tanh(), lambda w: w**9],
)  # fmt: skip
def test_what_is_not_additive_is_kept(function):
    row = row_of(lambda m, x: fn.linear(x, function(m.w)), w=(32, 48))
    assert (row.kind, row.kept, row.fan_in) == ("other", True, None)


@pytest.mark.parametrize(
    ("function", "marked"),
    [
        (lambda w: (w - w.mean(1, keepdim=True)) / w.std(1, keepdim=True), True),  # 48 E[x^2]
        (lambda w: (w - w.mean(1, keepdim=True)) / w.std(1, keepdim=True) / 48**0.5, False),
        (lambda w: fn.normalize(w, dim=1), False),
    ],
)
def test_any_scale_will_do(function, marked):
    row = row_of(lambda m, x: fn.linear(x, function(m.w)), w=(32, 48))
    assert (row.kind, row.fan_in, row.guessed) == ("linear", 48, marked)
    assert ("times as large as its input" in row.why) is marked


DOUBTED = {
    "square": (lambda m, x: fn.linear(x, m.w**2), {"w": (32, 48)}, "aren't additive"),
    "eighth power": (lambda m, x: fn.linear(x, m.w**8), {"w": (32, 48)}, "aren't additive"),
    "bent slices": (
        lambda m, x: (x[:, :16] @ m.w[:16]).tanh() + x[:, 16:] @ m.w[16:],
        {"w": (48, 32)},
        "slices of it have other fans",
    ),
    "used twice": (
        lambda m, x: fn.linear(x, m.w * 0.5) + fn.linear(x.flip(1), m.w * 0.5),
        {"w": (32, 48)},
        "as if they had nothing in common",
    ),
    "two terms": (
        lambda m, x: fn.linear(x, m.w + m.u @ m.v),
        {"w": (32, 48), "u": (32, 4), "v": (4, 48)},
        "one of several terms",
    ),
    "factor": (lambda m, x: fn.linear(x, m.w) * 3, {"w": (32, 48)}, "multiplied by 3"),
    "shares": (
        lambda m, x: fn.linear(x, (x[0, :4].softmax(0) @ m.w.flatten(1)).view(32, 48)),
        {"w": (4, 32, 48)},
        "shares made of the data mix matrices of it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOUBTED)
def test_what_a_guess_decides_is_marked(name):
    function, parts, cause = DOUBTED[name]
    row = row_of(function, **parts)
    assert row.guessed
    assert cause in row.why


@pytest.mark.parametrize(("std", "marked"), [(1.0, False), (0.05, True)])
@pytest.mark.parametrize("factor", ["before", "behind"])
def test_a_factor_is_a_part_of_a_weight_that_holds_numbers_of_1(factor, std, marked):
    """Then its class counts on it; of other values nobody knows."""
    by_input = factor == "before"

    def run(m, x):
        return fn.linear(x / 48**0.5, m.w) if by_input else fn.linear(x, m.w) / 48**0.5

    model = Net(run, w=(32, 48))
    with torch.no_grad():
        model.w.mul_(std)
    row = gi.plan(model, "lecun", inputs=X)["w"]
    assert (row.fan_in, row.guessed) == (pytest.approx(1), marked)
    assert ("taken for a part of it" in row.why) is marked


def test_a_factor_that_hardly_starts_elsewhere_is_one():
    """Of 1e-4 + g the constant is a ten-thousandth: a product of zeros but for it."""
    net = Net(lambda m, x: fn.linear(x, m.w * (1e-4 + m.g)), w=(32, 48), g=(32, 1))
    rows = {row.name: row.facets for row in read(net, X).rows}
    assert (rows["g"].kind, rows["w"].kind) == ("scale", "linear")
    assert rows["g"].neutral == pytest.approx(1 - 1e-4)


@pytest.mark.parametrize("count", [(1,), (1, 1)])
def test_a_number_that_is_repeated_is_a_scale(count):
    """A number has no axes that a copy of it could run over."""
    assert row_of(lambda m, x: x * m.w.repeat(count), w=()).kind == "scale"


def test_twice_half_a_weight_has_half_of_its_fan():
    """Its two uses count alike: .5^2 of 48 inputs each."""
    function, parts, _ = DOUBTED["used twice"]
    assert row_of(function, **parts).fan_in == 24


@pytest.mark.parametrize(("count", "fan"), [(8, 1.62239), (9, None)])
def test_up_to_eight_weights_are_multiplied(count, fan):
    """Of eight each has the fan 48^(1/8); more aren't recognized as a product."""
    names = "abcdefghi"[:count]

    def run(m, x):
        return fn.linear(x, math.prod(getattr(m, name) for name in names))

    row = row_of(run, name="a", **dict.fromkeys(names, (32, 48)))
    assert (None if row.guessed else row.fan_in) == fan


@pytest.mark.parametrize("zero", ["u", "v"])
def test_a_low_rank_term_of_zeros_is_an_adapter(zero):
    net = Net(lambda m, x: fn.linear(x, m.w + m.u @ m.v), w=(32, 48), u=(32, 4), v=(4, 48))
    with torch.no_grad():
        getattr(net, zero).zero_()
    rows = gi.plan(net, "lecun", inputs=X)
    other = "v" if zero == "u" else "u"
    parts = {"w": ("linear", "head"), zero: ("adapter", "out"), other: ("adapter", "in")}
    assert {row.name: (row.kind, row.part) for row in rows} == parts
    assert rows["w"].fan_in == 48


def test_a_product_of_zeros_alone_is_a_weight():
    net = Net(lambda m, x: fn.linear(x, m.u @ m.v), u=(32, 4), v=(4, 48))
    torch.nn.init.zeros_(net.v)
    assert [row.kind for row in gi.plan(net, "lecun", inputs=X)] == ["linear", "linear"]


@pytest.mark.parametrize(
    ("squares", "unlike"),
    [([0.0, 0.0], False), ([2.0, 2.0], False), ([2.0], False),
     ([2.0, 2.0 + EQUAL], False), ([2.0, 2.0 + 3 * EQUAL], True), ([0.0, 1.0], True)],
)  # fmt: skip
def test_squares_are_alike_within_the_error_of_their_sums(squares, unlike):
    assert are_unlike(squares) is unlike


def test_a_complex_input_has_two_real_numbers():
    x = torch.randn(4, 48, dtype=torch.cfloat)
    row = row_of(
        lambda m, x: (x[:, None] * torch.view_as_complex(m.w)).sum(-1).abs(), x, w=(32, 48, 2)
    )
    assert (row.fan_in, row.guessed) == (96, False)


def test_an_exact_fan_has_six_digits():
    row = row_of(
        lambda m, x: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(m.w), n=1001),
        torch.randn(2, 1001),
        w=(1001,),
    )
    assert (row.fan_in, row.guessed) == (1001, False)


def test_large_constants_of_two_layers_are_told_apart():
    """Their values aren't compared one by one, as those of small ones are."""

    def run(m, x):
        return fn.linear(fn.linear(x, m.w * m.g).relu(), m.v * m.k)

    net = Net(run, w=(80, 80), g=(80, 80), v=(80, 80), k=(80, 80))
    torch.nn.init.ones_(net.g)
    torch.nn.init.constant_(net.k, 3.0)
    rows = gi.plan(net, "lecun", inputs=torch.randn(2, 80))
    assert (rows["w"].fan_in, rows["v"].fan_in) == (80, 9 * 80)


# Operators that can't run again as they did. Their schemas are written out, since torch before
# 2.5 can't read annotations that `from __future__` keeps as text.


@torch.library.custom_op("goodinit_tests::once", mutates_args=(), schema="(Tensor w) -> Tensor")
def once(w: torch.Tensor) -> torch.Tensor:
    if not w.is_meta:
        raise ValueError("only once")
    return w.clone()


@once.register_fake
def _(w):
    return torch.empty_like(w)


@torch.library.custom_op(
    "goodinit_tests::writes", mutates_args=("w",), schema="(Tensor(a!) w) -> Tensor"
)
def writes(w: torch.Tensor) -> torch.Tensor:
    w.mul_(2)
    return w.clone()


@writes.register_fake
def _(w):
    return torch.empty_like(w)


@torch.library.custom_op("goodinit_tests::positive", mutates_args=(), schema="(Tensor w) -> Tensor")
def positive(w: torch.Tensor) -> torch.Tensor:
    return w[w > 0].clone()


@positive.register_fake
def _(w):
    return w.new_empty(48)


@torch.library.custom_op("goodinit_tests::same", mutates_args=(), schema="(Tensor w) -> Tensor")
def same(w: torch.Tensor) -> torch.Tensor:
    return w.clone()


@same.register_fake
def _(w):
    return torch.empty_like(w)


def test_without_a_backward_a_fan_is_an_average():
    """Over 32 draws of 32 outputs: 5 % are a few sigmas."""
    row = row_of(lambda m, x: torch.ops.goodinit_tests.same(x[:, None] * m.w).sum(-1), w=(32, 48))
    assert (row.fan_in, row.guessed) == (pytest.approx(48, rel=0.05), False)


@pytest.mark.parametrize(
    ("function", "shape", "cause"),
    [
        (lambda m, x: fn.linear(x, torch.ops.goodinit_tests.once(m.w)), (32, 48), "only once"),
        (lambda m, x: fn.linear(x, torch.ops.goodinit_tests.writes(m.w * 1.5)), (32, 48),
         "changes its arguments"),
        (lambda m, x: x @ torch.ops.goodinit_tests.positive(m.w), (96,), "another shape"),
    ],
    ids=["raises", "writes", "data-dependent"],
)  # fmt: skip
def test_what_can_not_run_again_is_marked(function, shape, cause):
    row = row_of(function, w=shape)
    assert row.guessed
    assert cause in row.why


def test_random_functions_draw_numbers_of_their_own():
    """Dropout of half of a weight, the rest doubled: E[W^2] = 2.

    The squares are 0 or 4; their mean over 1536 elements is within 5 / sqrt(1536) = .13 of it.
    """
    state = torch.get_rng_state()
    rows = [row_of(lambda m, x: fn.linear(x, fn.dropout(m.w, 0.5)), w=(32, 48)) for _ in range(2)]
    torch.set_rng_state(state)
    before = torch.get_rng_state()
    net = Net(lambda m, x: fn.linear(x, fn.dropout(m.w, 0.5)), w=(32, 48))
    after_making = torch.get_rng_state()
    gi.plan(net, "lecun", inputs=X)
    assert torch.equal(torch.get_rng_state(), after_making)
    assert not torch.equal(before, after_making)
    assert rows[0].fan_in == rows[1].fan_in == pytest.approx(96, rel=0.13)


def test_nothing_is_left_behind():
    net = Net(lambda m, x: fn.linear(x, m.w * m.mask), w=(32, 48), mask=MASK.clone())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    gi.plan(net, "lecun", inputs=X)
    assert net.w.grad is None
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_threads_get_the_same_answers():
    found = []

    def ask():
        found.append(row_of(lambda m, x: fn.linear(x, m.w @ m.v), w=(32, 8), v=(8, 48)).fan_in)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


@pytest.mark.parametrize("name", ["factor", "twice itself", "tril", "summed", "cat of inputs"])
def test_without_values_the_fans_are_the_same(name):
    function, parts, fan = EXACT[name]
    with torch.device("meta"):
        net = Net(function, **parts)
    row = gi.plan(net, "lecun", inputs=X)["w"]
    assert (row.fan_in, row.guessed) == (pytest.approx(fan, rel=1e-5), False)


def test_a_mask_without_values_is_marked():
    with torch.device("meta"):
        net = Net(lambda m, x: fn.linear(x, m.w * m.mask), w=(32, 48), mask=torch.ones(32, 48))
    row = gi.plan(net, "lecun", inputs=X)["w"]
    assert row.guessed
    assert "no values on meta" in row.why


@pytest.mark.parametrize("name", ["mlp", "convnet", "resnet_basic", "vit", "gpt", "llama"])
def test_plain_models_run_nothing_again(name, monkeypatch):
    def refuse(*_):
        raise AssertionError("run again")

    monkeypatch.setattr("goodinit.anatomy.computed.Computed", refuse)
    monkeypatch.setattr("goodinit.dataflow.response.Computed", refuse)
    monkeypatch.setattr("goodinit.anatomy.made_signals.Computed", refuse)
    model, inputs = zoo.build(name)
    graph = read(model, inputs).graph
    assert isinstance(graph, Graph)
    assert not graph.recorder.tape.entries  # it ends with the reading


def cost_of(function) -> tuple[float, float, float]:
    """Of a plan of 2048 x 2048 weights: the fan, the seconds beside those of one product of two
    such matrices, and how many of them would fill the memory that it takes."""
    import resource

    # M_MMAP_THRESHOLD: each tensor gets memory of its own, not what was freed before.
    ctypes.CDLL(None).mallopt(-3, 2**20)
    parts = dict.fromkeys("wuv", (2048, 2048))
    net, x = Net(function, m=torch.ones(2048, 2048), **parts), torch.randn(2, 2048)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    row = gi.plan(net, "lecun", inputs=x)["w"]
    taken = time.process_time() - start
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    start = time.process_time()
    torch.mm(net.m, net.m)
    return row.fan_in, taken / (time.process_time() - start), kib / (16 * 1024)


@MAY_FORK
@pytest.mark.skipif(sys.platform != "linux", reason="what the C library keeps is another's there")
@pytest.mark.parametrize(
    ("function", "most"),
    [
        pytest.param(lambda m, x: fn.linear(x, m.w * m.m), 5, marks=pytest.mark.battery),
        (lambda m, x: fn.linear(x, m.w + m.u @ m.v), 8),
    ],
    ids=["mask", "two terms of three matrices"],
)
def test_a_large_weight_takes_little_time_and_memory(function, most):
    """One product takes an eighth of a second, so that 16 are two seconds."""
    row_of(function, m=torch.ones(48, 48), **dict.fromkeys("wuv", (48, 48)))  # imports

    def check():
        fan, products, tensors = cost_of(function)
        assert fan == pytest.approx(2048, rel=1e-3)
        assert products < 16
        assert tensors <= most

    in_a_fork(check)


@pytest.mark.parametrize(
    ("name", "most", "marked"),
    [("LARGEST", 1536, False), ("LARGEST", 1535, True),
     ("LARGEST_SUM", 3072, False), ("LARGEST_SUM", 3071, True)],
)  # fmt: skip
def test_above_the_largest_size_the_row_is_marked(name, most, marked, monkeypatch):
    """A product with a number takes 32 * 48 = 1536 numbers, and makes as many."""
    monkeypatch.setattr(f"goodinit.dataflow.replay.{name}", most)
    row = row_of(lambda m, x: fn.linear(x, m.w * 0.5), w=(32, 48))
    assert row.guessed is marked
    assert ("numbers" in row.why) is marked


@pytest.mark.parametrize(("more", "factors"), [(1, 1), (0, 3)])
def test_more_than_2_to_the_26_numbers_are_not_computed_again(more, factors):
    """Nor 6 times as many: three products of 2^26 numbers each."""
    with torch.device("meta"):
        net = Net(
            lambda m, x: fn.linear(x, m.w * 0.5 if factors == 1 else m.w * 0.5 * 0.5 * 0.5),
            w=(2**13, 2**13 + more),
        )
    row = gi.plan(net, "lecun", inputs=torch.zeros(1, 2**13 + more))["w"]
    assert row.guessed
    assert "more than 67108864 numbers" in row.why


def test_noise_that_is_drawn_in_place_is_drawn_again() -> None:
    """A router's jitter, after a norm: it stays a norm, whatever is in memory."""

    class Jitter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(8))
            self.linear = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x * torch.rsqrt(x.square().mean(-1, keepdim=True)) * self.scale
            x *= torch.empty_like(x).uniform_(0.9, 1.1)
            return self.linear(x[None, torch.arange(3)].reshape(-1, 8))

    net = Jitter().to("meta")
    kinds = {read(net, torch.ones(4, 8)).rows[0].facets.kind for _ in range(4)}
    assert kinds == {"norm"}


@pytest.mark.parametrize(
    ("function", "products"),
    [
        (lambda m, x: fn.linear(x, m.w + m.u @ m.v), 7),
        (lambda m, x: fn.linear(x, m.w * m.mask + (m.u @ m.v) @ m.t), 17),
    ],
)
def test_products_that_are_known_are_not_computed_again(function, products, monkeypatch):
    """They take nearly all of the time of a large weight: at 0, and where no factor changes."""
    run, names = replay._run, []
    monkeypatch.setattr(replay, "_run", lambda e, *rest: (names.append(e.name), run(e, *rest))[1])
    sizes = {"w": (24, 24), "u": (24, 24), "v": (24, 24), "t": (24, 24)}
    row_of(function, X[:, :24], "u", **sizes, mask=torch.eye(24))
    assert names.count("matmul") == products


@pytest.mark.parametrize(
    ("function", "want"),
    [
        (lambda m, x: fn.linear(x, m.w.abs() * m.v), 64**0.5),
        (lambda m, x: fn.linear(x, m.w**2 * m.v), (3 * 64) ** (1 / 3)),
        (lambda m, x: fn.linear(x, m.w.abs() @ m.v), 64.0),
    ],
    ids=["size", "square", "matrix"],
)
def test_a_weight_shares_with_one_whose_power_multiplies_it(function, want):
    """|w| * v as w * v; E[w^4] is 3 of a normal w, and the variance of v counts once."""
    net = Net(function, w=(64, 64), v=(64, 64))
    plan = gi.plan(net, "lecun", inputs=torch.randn(2, 64))
    for name in ("w", "v"):
        assert plan[name].guessed
        assert plan[name].fan_in == pytest.approx(want, rel=0.05)
    assert "goes with a weight that they aren't additive in" in plan["v"].why


def test_beside_a_rounded_weight_a_weight_is_marked():
    net = Net(lambda m, x: fn.linear(x, torch.tanh(m.w) @ m.v), w=(64, 64), v=(64, 64))
    plan = gi.plan(net, "lecun", inputs=torch.randn(2, 64))
    assert "goes with a weight that they aren't additive in" in plan["v"].why
