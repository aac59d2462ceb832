"""Norms in any spelling, and products that are none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from goodinit.anatomy.read import read
from goodinit.anatomy.rows import Facets

D = 24
ROWS, MAPS = (8, 6, D), (4, 8, 6, 6)


class Net(nn.Module):
    """A layer, a function of its output and of ``w``, ``b`` and ``g``, and another layer."""

    def __init__(self, function: Callable[..., Tensor], shape: tuple[int, ...] = (D,)) -> None:
        super().__init__()
        maps = shape[0] == 8
        self.first = nn.Conv2d(8, 8, 1) if maps else nn.Linear(D, D)
        self.last = nn.Conv2d(8, 8, 1) if maps else nn.Linear(D, D)
        self.w, self.b, self.g = (nn.Parameter(torch.full(shape, 1.5)) for _ in range(3))
        self.register_buffer("mean", torch.zeros(D))
        self.register_buffer("var", torch.ones(D))
        self.register_buffer("root", torch.tensor(D**0.5))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self, self.first(x)))


def facets(function: Callable[..., Tensor], of: str, shape: tuple[int, ...] = (D,)) -> Facets:
    rows = read(Net(function, shape), torch.randn(MAPS if shape[0] == 8 else ROWS)).rows
    return {row.name: row.facets for row in rows}[of]


def ms(x: Tensor) -> Tensor:
    return x.pow(2).mean(-1, keepdim=True)


def rms(x: Tensor) -> Tensor:
    return torch.rsqrt(ms(x) + 1e-6)


def centered(x: Tensor, dim: int = -1) -> Tensor:
    return x - x.mean(dim, keepdim=True)


def by_groups(m: Net, x: Tensor) -> Tensor:
    y = x.reshape(len(x), 2, -1)
    y = (y - y.mean(-1, keepdim=True)) * (y.var(-1, keepdim=True, unbiased=False) + 1e-5).rsqrt()
    return y.view_as(x) * m.w[:, None, None]


def over_batch(m: Net, x: Tensor) -> Tensor:
    mean = x.mean((0, 2, 3), keepdim=True)
    var = x.var((0, 2, 3), keepdim=True, unbiased=False)
    return m.w.view(1, -1, 1, 1) * (x - mean) / (var + 1e-5).sqrt()


def folded(m: Net, x: Tensor) -> Tensor:
    scale = m.w * (m.var + 1e-5).rsqrt()
    return x * scale + (m.b - m.mean * scale)


def by_var_mean(m: Net, x: Tensor) -> Tensor:
    var, mean = torch.var_mean(x, dim=-1, keepdim=True, unbiased=False)
    return (x - mean) * torch.rsqrt(var + 1e-5) * m.w


def by_std_mean(m: Net, x: Tensor) -> Tensor:
    std, mean = torch.std_mean(x, dim=-1, keepdim=True)
    return m.w * (x - mean) / (std + 1e-5)


def by_two_moments(m: Net, x: Tensor) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    var = (x * x).mean(-1, keepdim=True) - mean * mean
    return (x - mean) / torch.sqrt(var + 1e-5) * m.w


def in_float(m: Net, x: Tensor) -> Tensor:
    y = x.float()
    return (m.w * (y * rms(y))).type_as(x)


def of_each_head(m: Net, x: Tensor) -> Tensor:
    y = x.unflatten(-1, (3, 8))
    return (m.w * y * rms(y)).flatten(-2)


def scale_before(m: Net, x: Tensor) -> Tensor:
    y = m.g * x
    return m.w * y * rms(y)


NORMS: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "w * x * rsqrt": lambda m, x: m.w * x * rms(x),
    "w * (x * rsqrt)": lambda m, x: m.w * (x * rms(x)),
    "(w * rsqrt) * x": lambda m, x: m.w * rms(x) * x,
    "rsqrt * w * x": lambda m, x: rms(x) * m.w * x,
    "x * (rsqrt * w)": lambda m, x: x * (rms(x) * m.w),
    "x * rsqrt * w": lambda m, x: x * rms(x) * m.w,
    "x / sqrt * w": lambda m, x: x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * m.w,
    "w * x / sqrt": lambda m, x: m.w * x / (ms(x) + 1e-6) ** 0.5,
    "w / sqrt * x": lambda m, x: m.w / torch.sqrt(ms(x) + 1e-6) * x,
    "x ** -.5": lambda m, x: m.w * x * (ms(x) + 1e-6).pow(-0.5),
    "1 / sqrt": lambda m, x: m.w * x * (1 / (ms(x) + 1e-6).sqrt()),
    "reciprocal": lambda m, x: x * (ms(x) + 1e-6).sqrt().reciprocal() * m.w,
    "x * x": lambda m, x: x * torch.rsqrt((x * x).mean(-1, keepdim=True)) * m.w,
    "sum / d": lambda m, x: x / ((x * x).sum(-1, keepdim=True) / D).sqrt() * m.w,
    "norm * d ** -.5": lambda m, x: x / (x.norm(dim=-1, keepdim=True) * D**-0.5).clamp(1e-6) * m.w,
    "norm / sqrt(d)": lambda m, x: m.w * (x / (x.norm(dim=-1, keepdim=True) / D**0.5)),
    "norm, then sqrt(d)": lambda m, x: (x * m.w) / x.norm(dim=-1, keepdim=True) * D**0.5,
    "vector_norm": lambda m, x: (
        m.w * x * (D**0.5 / torch.linalg.vector_norm(x, dim=-1, keepdim=True))
    ),
    "normalize": lambda m, x: fn.normalize(x, dim=-1) * D**0.5 * m.w,
    "normalize, weight first": lambda m, x: fn.normalize(x, dim=-1) * m.w * D**0.5,
    "layer_norm": lambda m, x: fn.layer_norm(x, (D,)) * m.w,
    "std": lambda m, x: m.w * centered(x) / (x.std(-1, keepdim=True) + 1e-6),
    "torch.std": lambda m, x: centered(x) / torch.std(x, -1, keepdim=True) * m.w + m.b,
    "var": lambda m, x: centered(x) / (x.var(-1, keepdim=True) + 1e-6).sqrt() * m.w + m.b,
    "a mean without its axis": lambda m, x: (
        m.w * (x - x.mean(-1)[..., None]) * rms(x - x.mean(-1).unsqueeze(-1).to(x.dtype))
    ),
    "var_mean": by_var_mean,
    "std_mean": by_std_mean,
    "two moments": by_two_moments,
    "addcmul": lambda m, x: torch.addcmul(m.b, m.w, centered(x) * rms(centered(x))),
    "in place": lambda m, x: (x * rms(x)).mul_(m.w),
    "type_as": in_float,
    "double": lambda m, x: m.w * (x.double() * rms(x.double())).to(x.dtype),
    "running statistics": lambda m, x: (x - m.mean) / (m.var + 1e-5).sqrt() * m.w + m.b,
    "folded statistics": folded,
    "a gate behind": lambda m, x: m.w * (x * rms(x)) * torch.sigmoid(x),
    "a scale before": scale_before,
}


@pytest.mark.parametrize("function", NORMS.values(), ids=NORMS)
def test_a_norm_in_any_spelling(function: Callable[[Net, Tensor], Tensor]) -> None:
    weight = facets(function, "w")
    assert (weight.kind, weight.part, weight.neutral) == ("norm", "weight", 1)
    assert not weight.guessed


@pytest.mark.parametrize("function", NORMS.values(), ids=NORMS)
def test_of_a_unit_offset_zero_is_neutral(function: Callable[[Net, Tensor], Tensor]) -> None:
    def shifted(m: Net, x: Tensor) -> Tensor:
        class Offset:
            w, g, b, mean, var = 1 + m.w, m.g, m.b, m.mean, m.var

        return function(Offset, x)

    weight = facets(shifted, "w")
    assert (weight.kind, weight.part, weight.neutral) == ("norm", "weight", 0)


@pytest.mark.parametrize(
    ("function", "shape"),
    [(by_groups, (8,)), (over_batch, (8,)), (of_each_head, (3, 8))],
    ids=["groups", "batch", "heads"],
)
def test_norms_of_other_layouts(
    function: Callable[[Net, Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    weight = facets(function, "w", shape)
    assert (weight.kind, weight.part, weight.neutral) == ("norm", "weight", 1)


@pytest.mark.parametrize("name", ["var", "torch.std", "addcmul", "running statistics"])
def test_the_offset_of_a_norm_is_its_bias(name: str) -> None:
    bias = facets(NORMS[name], "b")
    assert (bias.kind, bias.part, bias.neutral) == ("norm", "bias", 0)


def layer_scale(m: Net, x: Tensor) -> Tensor:
    return x + m.w * torch.relu(x)


def softmax_by_hand(m: Net, x: Tensor) -> Tensor:
    scores = (x @ x.transpose(-1, -2)).exp()
    return (scores / scores.sum(-1, keepdim=True)) @ x * m.w


SCALES: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "plain": lambda m, x: m.w * x,
    "behind a norm's own weight": lambda m, x: m.w * (m.g * (x * rms(x))),
    "behind a norm's own weight, written flat": lambda m, x: m.g * x * rms(x) * m.w,
    "behind a module's weight": lambda m, x: m.w * fn.layer_norm(x, (D,), m.g, m.b),
    "before a norm": lambda m, x: (m.w * x) * rms(m.w * x),
    "before a module's norm": lambda m, x: fn.layer_norm(m.w * x, (D,)),
    "of a branch": layer_scale,
    "of the norm of something else": lambda m, x: m.w * x * rms(torch.relu(x)),
    "of a gate": lambda m, x: m.w * torch.sigmoid(x) * x,
    "of attention": lambda m, x: (x @ x.transpose(-1, -2)).softmax(-1) @ x * m.w,
    "of attention by hand": softmax_by_hand,
    "of shares": lambda m, x: x.exp() / x.exp().sum(-1, keepdim=True) * m.w,
    "times a length": lambda m, x: m.w * x * x.norm(dim=-1, keepdim=True),
    "times a deviation": lambda m, x: m.w * x * (x.var(-1, keepdim=True) + 1e-6).sqrt(),
    "divided by a mean": lambda m, x: m.w * x / x.abs().mean(-1, keepdim=True),
    "divided by a mean square": lambda m, x: m.w * x / ms(x),
    "of cosines": lambda m, x: (
        fn.normalize(x, dim=-1) @ fn.normalize(x, dim=-1).transpose(-1, -2) @ x * m.w
    ),
    "divided by a number": lambda m, x: m.w * x / m.root,
}


@pytest.mark.parametrize("function", SCALES.values(), ids=SCALES)
def test_other_factors_are_scales(function: Callable[[Net, Tensor], Tensor]) -> None:
    assert facets(function, "w").kind == "scale"


@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: fn.normalize(x, dim=-1) * m.w,
        lambda m, x: m.w * x / x.norm(dim=-1, keepdim=True),
        lambda m, x: m.w * x / torch.linalg.vecdot(x, x)[..., None].sqrt(),
        lambda m, x: m.w * x * torch.einsum("btd,btd->bt", x, x)[..., None].rsqrt(),
    ],
    ids=["normalize", "norm", "vecdot", "einsum"],
)
def test_what_is_neutral_for_a_signal_of_length_one_is_not_known(
    function: Callable[[Net, Tensor], Tensor],
) -> None:
    # sqrt(width) may be in the weight (ScaleNorm), or left out on purpose (cosine attention).
    weight = facets(function, "w")
    assert (weight.kind, weight.part, weight.neutral) == ("norm", "weight", None)
