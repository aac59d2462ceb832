"""fan_out of computed weights: it keeps the second moment of the gradient, as fan_in the signal's.

Measured over draws: E[gx^2] / E[gy^2] = 1 for weights of variance 1 / fan_out.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as fn

import goodinit as gi

SEEDS = 16
SIGMAS = 5.0
SHARE = 0.05  # shares of products of parameters are measured themselves, on a few draws
ROWS, MAPS = (64, 24), (4, 6, 9, 9)

Form = tuple[Callable[..., Any], tuple[int, ...], dict[str, tuple[int, ...]]]
FORMS: dict[str, Form] = {
    "inner": (lambda m, x: torch.inner(x, m.w), ROWS, {"w": (40, 24)}),
    "inner, the weight first": (lambda m, x: torch.inner(m.w, x), ROWS, {"w": (40, 24)}),
    "multiplied and summed": (lambda m, x: (x[:, None] * m.w).sum(-1), ROWS, {"w": (40, 24)}),
    "expanded first": (
        lambda m, x: (x[:, None].expand(-1, 40, -1) * m.w).mean(-1), ROWS, {"w": (40, 24)},
    ),
    "repeated": (
        lambda m, x: (x.repeat(1, 3) * m.w).view(64, 3, 24).sum(-1), ROWS, {"w": (72,)},
    ),
    "three products": (
        lambda m, x: torch.linalg.multi_dot([x, m.u, m.v]), ROWS, {"u": (24, 12), "v": (12, 40)},
    ),
    "a product of weights": (lambda m, x: x @ (m.u @ m.v), ROWS, {"u": (24, 12), "v": (12, 40)}),
    "a triangle": (lambda m, x: fn.linear(x, m.w.tril()), ROWS, {"w": (48, 24)}),
    "windows": (
        lambda m, x: (fn.unfold(x, 3)[:, None] * m.w[..., None]).sum(2), MAPS, {"w": (16, 54)},
    ),
    "a Fourier transform": (
        lambda m, x: torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(m.w, n=24), n=24),
        (64, 4, 24), {"w": (4, 24)},
    ),
    "one product of each place": (
        lambda m, x: (x[:, :, None] * m.w).sum(-1), (64, 4, 12), {"w": (4, 10, 12)},
    ),
    "the same for each step": (
        lambda m, x: torch.stack([(step[:, None] * m.w).sum(-1) for step in x.unbind(1)]),
        (16, 4, 24), {"w": (40, 24)},
    ),
    "a quadratic form": (lambda m, x: x @ m.w @ x.T, ROWS, {"w": (24, 24)}),
}  # fmt: skip


class Net(nn.Module):
    """Some parameters and a function of them and an input."""

    def __init__(self, function: Callable[..., Any], shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(0.02 * torch.randn(shape)))
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


@pytest.mark.parametrize("name", FORMS)
def test_it_keeps_the_gradient(name: str) -> None:
    function, shape, shapes = FORMS[name]
    random = torch.Generator().manual_seed(len(name))
    net, found = Net(function, shapes), list[float]()
    plan = gi.plan(net, gi.VarianceScaling(1.0, "fan_out", "normal"), inputs=torch.ones(shape))
    for seed in range(SEEDS):
        gi.apply_(net, plan, seed=seed)
        x = torch.randn(shape, generator=random).requires_grad_()
        y = net(x)
        gy = torch.randn(y.shape, generator=random)
        (gx,) = torch.autograd.grad(y, x, gy)
        found.append(float(gx.square().mean() / gy.square().mean()))
    ratios = torch.tensor(found)
    allowed = SIGMAS * float(ratios.std()) / SEEDS**0.5 + SHARE
    assert allowed < 0.5
    assert abs(float(ratios.mean()) - 1) < allowed, (ratios.mean(), [row.fan_out for row in plan])


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x, z: x @ m.w @ z.T,
        lambda m, x, z: torch.bmm((x @ m.w)[:, None], z[:, :, None]),
        lambda m, x, z: torch.linalg.vecdot(x @ m.w, z),
        lambda m, x, z: torch.einsum("bi,bi->b", fn.linear(x, m.w.T), z),
    ],
)
def test_a_bilinear_form_counts_both_sums_and_says_so(form: Callable[..., Any]) -> None:
    net = Net(lambda m, pair: form(m, *pair), {"w": (24, 16)})
    x, z = torch.randn(64, 24), torch.randn(64, 16)
    row = gi.plan(net, "lecun", inputs=((x, z),))["w"]
    assert (row.fan_in, row.guessed) == (24 * 16, True)
    assert "its fans count both sums" in row.why


@pytest.mark.parametrize(
    "form",
    [
        lambda m, x, y: (x[:, None] * m.w + y[:, None]).sum(-1),
        lambda m, x, y: (x[:, None] * m.w * y[:, None]).sum(-1),
    ],
    ids=["added", "multiplied"],
)
def test_what_meets_a_product_before_its_sum_is_no_input(form: Callable[..., Any]) -> None:
    net = Net(lambda m, pair: form(m, *pair), {"w": (40, 24)})
    row = gi.plan(net, "lecun", inputs=((torch.randn(64, 24), torch.randn(64, 24)),))["w"]
    assert (row.fan_in, row.fan_out) == (24, 40)


def test_a_product_of_numbers_that_is_summed_is_doubted() -> None:
    """Q-values times one-hot actions are one of them; times a vector they are a bilinear form."""
    net = Net(lambda m, pair: ((pair[0] @ m.w) * pair[1]).sum(-1), {"w": (24, 16)})
    row = gi.plan(net, "lecun", inputs=((torch.randn(64, 24), torch.randn(64, 16)),))["w"]
    assert (row.fan_in, row.guessed) == (24, True)
    for reduce, fan_in in ((torch.sum, 24 * 24), (torch.mean, 1)):
        square = Net(lambda m, x, reduce=reduce: reduce((x @ m.w) * x, -1), {"w": (24, 24)})
        row = gi.plan(square, "lecun", inputs=torch.randn(64, 24))["w"]
        assert (row.fan_in, row.guessed) == (fan_in, True)


def test_a_product_times_its_own_norm_that_is_summed_is_doubted() -> None:
    """Over steps: over its features it would be a bilinear form."""
    net = Net(lambda m, x: ((h := x @ m.w) * fn.layer_norm(h, (16,))).sum(1), {"w": (24, 16)})
    row = gi.plan(net, "lecun", inputs=torch.randn(8, 12, 24))["w"]
    assert (row.fan_in, row.guessed) == (24, True)
    assert "its product is multiplied by another, and summed" in row.why


def test_a_scale_between_two_activations_is_doubted() -> None:
    """DistMult: its class's values are kept, as those of a scale, and the row says so."""
    net = Net(lambda m, pair: (pair[0] * m.r * pair[1]).sum(-1), {"r": (24,)})
    row = gi.plan(net, "lecun", inputs=((torch.randn(64, 24), torch.randn(64, 24)),))["r"]
    assert (row.kind, row.guessed) == ("scale", True)


def test_a_weight_that_is_used_in_both_directions_is_doubted() -> None:
    net = Net(lambda m, x: (x @ m.w) @ m.w.T, {"w": (24, 16)})
    row = gi.plan(net, "lecun", inputs=torch.randn(64, 24))["w"]
    assert (row.fan_in, row.guessed) == (24, True)


def test_queries_and_keys_have_a_sum_each() -> None:
    """Their product is larger than either, which no softmax makes up for: they are marked."""
    net = Net(lambda m, x: (x @ m.q) @ (x @ m.k).T, {"q": (24, 16), "k": (24, 16)})
    plan = gi.plan(net, "lecun", inputs=torch.randn(64, 24))
    assert [(row.fan_in, row.guessed) for row in plan] == [(24, True), (24, True)]


def test_an_einsum_between_two_signals_has_the_mean_of_both_as_fan_out() -> None:
    """As ``nn.Bilinear``, whose weight it has."""
    net = Net(lambda m, p: torch.einsum("bi,oij,bj->bo", p[0], m.w, p[1]), {"w": (7, 24, 16)})
    row = gi.plan(net, "lecun", inputs=((torch.randn(64, 24), torch.randn(64, 16)),))["w"]
    assert (row.fan_in, row.fan_out) == (24 * 16, 7 * (24 + 16) / 2)
