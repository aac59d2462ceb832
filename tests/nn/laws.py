"""What the tests of nn.init share: each function as it is called, and what its values must obey.

A law looks at a tensor and knows nothing of who filled it: torch's tensors and ours go through
the same one. Tolerances: |z| < 5 from the number of elements, and the rounding of the dtype.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import torch
from scipy import stats
from torch import Tensor
from torch.nn import init as theirs

Generator = torch.Generator | None

# torch.nn.init lists its names itself since torch 2.8.
FUNCTION_NAMES = [
    name
    for name, value in vars(theirs).items()
    if inspect.isfunction(value) and not name.startswith("_")
]
NAMES: list[str] = getattr(theirs, "__all__", FUNCTION_NAMES)

# Tests in which torch's own functions of older versions do something else than today's: the first
# version that was tried and does the same, which tests, and the difference. What ours do there is
# tested on newer versions: it doesn't depend on torch's.
OLDER = (
    ((2, 13), r"trunc_normal_ far out|\[\d+-cut, ", "torch inverted erf, in the tensor's dtype"),
    ((2, 13), r"trunc_normal_.*-(meta int|negative view)\]", "torch inverted erf"),
    ((2, 13), r"\[sparse_-.*float16", "torch drew exact zeros among its numbers"),
    ((2, 10), r"\[sparse_-.*float8", "torch drew exact zeros among its numbers"),
    ((2, 13), r"\[(sparse_|orthogonal_|orthogonal_ wide)-meta int\]", "torch refused these"),
    ((2, 8), r"\[eye_-torch.float8|gain beyond float16", "torch refused these"),
    ((2, 6), r"-torch.float8_|-buffer\]", "torch had no fill_ for float8, and no nn.Buffer"),
    ((2, 6), r"\[orthogonal_.*-negative view\]", "torch failed inside"),
)


class Function(NamedTuple):
    """A call of one function of either module, and its law (None: the values follow alone)."""

    call: Callable[..., Tensor]
    law: Callable[[Tensor], None] | None
    shape: tuple[int, ...] = (40, 30)
    kernel: tuple[int, ...] = (12, 10, 3, 3)
    named: str = ""


def precision(w: Tensor) -> float:
    return torch.finfo(w.dtype.to_real() if w.is_complex() else w.dtype).eps


def parts(w: Tensor) -> Tensor:
    """The real numbers in it, float64, flat."""
    w = w.detach()
    return (torch.view_as_real(w.resolve_conj()) if w.is_complex() else w).double().flatten()


def moments_are(
    x: Tensor, mean: float, std: float, kurtosis: float, rounding: float, z: float = 5
) -> None:
    n = x.numel()
    slack = rounding * (abs(mean) + std)
    assert abs(x.mean().item() - mean) <= z * std / math.sqrt(n) + slack
    spread = (x - mean).square().mean().item() / std**2
    assert abs(spread - 1) <= z * math.sqrt((kurtosis - 1) / n) + 8 * rounding


def within(x: Tensor, low: float, high: float, dtype: torch.dtype) -> None:
    low, high = torch.tensor([low, high], dtype=torch.float64).to(dtype).double().tolist()
    assert x.min().item() >= low
    assert x.max().item() <= high


def uniform(low: float, high: float) -> Callable[[Tensor], None]:
    def law(w: Tensor) -> None:
        x = parts(w)
        real = w.dtype.to_real() if w.is_complex() else w.dtype
        within(x, low, high, real)
        moments_are(x, (low + high) / 2, (high - low) / math.sqrt(12), 1.8, precision(w))

    return law


def normal(mean: float, std: float) -> Callable[[Tensor], None]:
    def law(w: Tensor) -> None:
        spread = std / math.sqrt(2) if w.is_complex() else std
        moments_are(parts(w), mean, spread, 3.0, precision(w))

    return law


def truncated(mean: float, std: float, low: float, high: float) -> Callable[[Tensor], None]:
    def law(w: Tensor) -> None:
        x = parts(w)
        within(x, low, high, w.dtype)
        m, v, k = known(mean, std, low, high)
        moments_are(x, m, math.sqrt(v), k + 3, precision(w))

    return law


@functools.cache
def known(mean: float, std: float, low: float, high: float) -> tuple[float, float, float]:
    """Mean, variance and excess kurtosis; scipy takes a tenth of a second for them."""
    law = stats.truncnorm((low - mean) / std, (high - mean) / std, loc=mean, scale=std)
    m, v, k = law.stats("mvk")
    return float(m), float(v), float(k)


def fan_law(uniformly: bool, std: Callable[[int, int], float]) -> Callable[[Tensor], None]:
    def law(w: Tensor) -> None:
        window = math.prod(w.shape[2:])
        sigma = std(w.shape[1] * window, w.shape[0] * window)
        bound = math.sqrt(3) * sigma
        (uniform(-bound, bound) if uniformly else normal(0.0, sigma))(w)

    return law


def orthogonal(gain: float) -> Callable[[Tensor], None]:
    def law(w: Tensor) -> None:
        m = w.detach().double().flatten(1)
        gram = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
        # Each entry is off by half an ulp at most; the errors of a row add up at random.
        tolerance = gain**2 * (4 * precision(w) + 1e-12)
        eye = gain**2 * torch.eye(len(gram), dtype=torch.float64)
        torch.testing.assert_close(gram, eye, atol=tolerance, rtol=0)

    return law


def sparse(share: float, std: float) -> Callable[[Tensor], None]:
    def law(w: Tensor) -> None:
        wanted = math.ceil(share * w.shape[0])
        zeros = (w.detach() == 0).sum(dim=0)
        assert (zeros >= wanted).all()
        if precision(w) < 1e-2:  # float8 rounds some small values to 0 as well
            assert (zeros == wanted).all()
        if wanted < w.shape[0]:
            normal(0.0, std)(w.detach()[w.detach() != 0])

    return law


def glorot(fan_in: int, fan_out: int) -> float:
    return 2 * math.sqrt(2 / (fan_in + fan_out))


FUNCTIONS: dict[str, Function] = {
    "uniform_": Function(
        lambda m, t, g=None: m.uniform_(t, -0.5, 1.5, generator=g), uniform(-0.5, 1.5)
    ),
    "normal_": Function(lambda m, t, g=None: m.normal_(t, 0.5, 2.0, generator=g), normal(0.5, 2)),
    "trunc_normal_": Function(
        lambda m, t, g=None: m.trunc_normal_(t, 0.2, 1.5, -2.0, 1.0, generator=g),
        truncated(0.2, 1.5, -2.0, 1.0),
    ),
    "trunc_normal_ in a tail": Function(
        lambda m, t, g=None: m.trunc_normal_(t, 0.0, 1.0, 1.0, 3.0, generator=g),
        truncated(0.0, 1.0, 1.0, 3.0),
        named="trunc_normal_",
    ),
    "trunc_normal_ far out": Function(
        lambda m, t, g=None: m.trunc_normal_(t, 100.0, 10.0, 0.0, 5.0, generator=g),
        truncated(100.0, 10.0, 0.0, 5.0),
        named="trunc_normal_",
    ),
    "constant_": Function(lambda m, t, g=None: m.constant_(t, 0.3), None),
    "ones_": Function(lambda m, t, g=None: m.ones_(t), None),
    "zeros_": Function(lambda m, t, g=None: m.zeros_(t), None),
    "eye_": Function(lambda m, t, g=None: m.eye_(t), None, kernel=(12, 10)),
    "dirac_": Function(lambda m, t, g=None: m.dirac_(t, groups=2), None, (12, 5, 3), (12, 5, 3, 2)),
    "xavier_uniform_": Function(
        lambda m, t, g=None: m.xavier_uniform_(t, gain=2.0, generator=g), fan_law(True, glorot)
    ),
    "xavier_normal_": Function(
        lambda m, t, g=None: m.xavier_normal_(t, gain=2.0, generator=g), fan_law(False, glorot)
    ),
    "kaiming_uniform_": Function(
        lambda m, t, g=None: m.kaiming_uniform_(t, a=math.sqrt(5), generator=g),
        fan_law(True, lambda i, o: 1 / math.sqrt(3 * i)),
    ),
    "kaiming_normal_": Function(
        lambda m, t, g=None: m.kaiming_normal_(t, mode="fan_out", nonlinearity="relu", generator=g),
        fan_law(False, lambda i, o: math.sqrt(2 / o)),
    ),
    "orthogonal_": Function(
        lambda m, t, g=None: m.orthogonal_(t, gain=1.5, generator=g), orthogonal(1.5)
    ),
    "orthogonal_ wide": Function(
        lambda m, t, g=None: m.orthogonal_(t, gain=1.5, generator=g),
        orthogonal(1.5),
        (20, 60),
        (10, 4, 3, 3),
        named="orthogonal_",
    ),
    "sparse_": Function(
        lambda m, t, g=None: m.sparse_(t, 0.3, std=0.5, generator=g),
        sparse(0.3, 0.5),
        kernel=(12, 10),
    ),
}

RANDOM = [name for name, function in FUNCTIONS.items() if function.law]


def call(name: str, module: ModuleType, tensor: Tensor, generator: Generator = None) -> Tensor:
    return FUNCTIONS[name].call(module, tensor, generator)
