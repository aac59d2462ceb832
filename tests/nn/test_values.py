"""What is drawn: the laws at large, the same bits for the same seed, and what torch lacks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import simpson
from tests.steps import steps
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import init as theirs

from goodinit.errors import GoodinitError
from goodinit.nn import init
from goodinit.schemes.request import quantile_above

from .laws import FUNCTIONS, RANDOM, call, truncated
from .test_table import LAYOUTS

pytestmark = pytest.mark.filterwarnings("ignore:mean is more than 2 std")

inf = math.inf
SIDE = 800
# Kolmogorov and Smirnov: P(D > 2.6 / sqrt(n)) = 2 exp(-2 * 2.6^2) = 2.7e-6.
# The distance is looked for at each 32nd of the sorted values: it is at most 32 / n larger.
EACH = 32
LIMIT = 2.6 / SIDE - EACH / SIDE**2


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distance(w: Tensor, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    x = np.sort(w.detach().double().flatten().numpy())
    n, at = len(x), np.arange(0, len(x), EACH)
    below = cdf(x[at])  # a cut law's takes a microsecond a value
    return float(max(((at + 1) / n - below).max(), (below - at / n).max()))


def u(low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
    return stats.uniform(low, high - low).cdf


def n(mean: float, std: float) -> Callable[[np.ndarray], np.ndarray]:
    return stats.norm(mean, std).cdf


def t(mean: float, std: float, low: float, high: float) -> Callable[[np.ndarray], np.ndarray]:
    return stats.truncnorm((low - mean) / std, (high - mean) / std, loc=mean, scale=std).cdf


Q = math.sqrt(2 / (2 * SIDE))
LAWS = {
    "uniform_": (lambda w: init.uniform_(w, -2, 5), u(-2, 5)),
    "uniform_ tiny": (lambda w: init.uniform_(w, 0, 1e-25), u(0, 1e-25)),
    "normal_": (lambda w: init.normal_(w, 1, 3), n(1, 3)),
    "normal_ tiny": (lambda w: init.normal_(w, 0, 1e-25), n(0, 1e-25)),
    "trunc_normal_": (lambda w: init.trunc_normal_(w, 0.3, 1.5), t(0.3, 1.5, -2, 2)),
    "trunc_normal_ uncut": (lambda w: init.trunc_normal_(w, std=0.02), n(0, 0.02)),
    "trunc_normal_ tail": (lambda w: init.trunc_normal_(w, a=1, b=inf), t(0, 1, 1, inf)),
    "trunc_normal_ hang": (lambda w: init.trunc_normal_(w, a=3, b=1e4), t(0, 1, 3, 1e4)),
    "trunc_normal_ far": (lambda w: init.trunc_normal_(w, 0, 10, -inf, -99), t(0, 10, -inf, -99)),
    "trunc_normal_ narrow": (lambda w: init.trunc_normal_(w, 0, 9e6, 1, 3), t(0, 9e6, 1, 3)),
    "trunc_normal_ cut": (lambda w: init.trunc_normal_(w, 1, 2, cut=(-1, 2)), t(1, 2, -1, 5)),
    "xavier_uniform_": (init.xavier_uniform_, u(-math.sqrt(3) * Q, math.sqrt(3) * Q)),
    "xavier_normal_": (init.xavier_normal_, n(0, Q)),
    "kaiming_uniform_": (
        lambda w: init.kaiming_uniform_(w, a=math.sqrt(5)),
        u(-1 / math.sqrt(SIDE), 1 / math.sqrt(SIDE)),
    ),
    "kaiming_normal_": (
        lambda w: init.kaiming_normal_(w, nonlinearity="silu"),
        n(0, 1.6765 / math.sqrt(SIDE)),
    ),
}


# The law of another, with other numbers.
SIBLINGS = {
    *("uniform_ tiny", "trunc_normal_ uncut", "xavier_normal_", "kaiming_uniform_"),
    "trunc_normal_ hang",  # another tail
}


@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=[pytest.mark.battery] * (what in SIBLINGS)) for what in LAWS],
)
def test_the_laws(what: str) -> None:
    torch.manual_seed(0)
    fill, cdf = LAWS[what]
    assert distance(fill(torch.empty(SIDE, SIDE)), cdf) < LIMIT


def test_the_test_of_laws_sees_two_per_cent() -> None:
    torch.manual_seed(0)
    assert distance(init.normal_(torch.empty(SIDE, SIDE), 1, 3), n(1, 3 * 1.02)) > LIMIT
    assert distance(init.uniform_(torch.empty(SIDE, SIDE)), u(0, 1.02)) > LIMIT
    with pytest.raises(AssertionError):
        truncated(0.0, 1.0, -2, 2)(init.trunc_normal_(torch.empty(SIDE, SIDE), 0.0, 1.02))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", RANDOM)
def test_the_same_seed_gives_the_same_bits(name: str, threads: Callable[[int], None]) -> None:
    # More than torch gives to one thread (32,768); a far tail takes ten times as long.
    shape = (180, 190) if "far" in name else (400, 300)
    generator = seeded(5)
    state = generator.get_state()
    first = call(name, init, torch.empty(shape), generator)
    assert not torch.equal(generator.get_state(), state), "the generator has not advanced"
    second = call(name, init, torch.empty(shape), generator)
    assert not torch.equal(first, second)
    default = torch.get_rng_state()
    for number in (1, 2, 3):
        threads(number)
        assert torch.equal(call(name, init, torch.empty(shape), seeded(5)), first)
    assert torch.equal(torch.get_rng_state(), default), "the default generator was touched"
    torch.manual_seed(5)
    assert torch.equal(call(name, init, torch.empty(shape)), first)
    assert torch.equal(call(name, init, torch.empty(shape)), second)
    assert not torch.equal(call(name, init, torch.empty(shape), seeded(6)), first)


@pytest.mark.parametrize("name", RANDOM)
def test_what_isn_t_drawn_leaves_the_generator_alone(name: str) -> None:
    generator = seeded(5)
    state = generator.get_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tensor in (torch.empty(0, 4), torch.empty(4, 4, device="meta")):
            call(name, init, tensor, generator)
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", RANDOM)
def test_dtype_and_layout_don_t_change_the_numbers(name: str, dtype: torch.dtype) -> None:
    for layout in LAYOUTS.values():
        check_numbers(name, layout(name, dtype))


def check_numbers(name: str, empty: Tensor) -> None:
    dtype, w = empty.dtype, call(name, init, empty, seeded())
    single = call(name, init, torch.empty(w.shape), seeded())
    if dtype == torch.float64:  # orthogonal_ and far tails keep its digits
        torch.testing.assert_close(w.float(), single, atol=2e-6, rtol=1e-6)
    else:
        assert torch.equal(w, single.to(dtype))
    if "orthogonal" not in name and "far" not in name:
        assert torch.equal(w.float(), single.to(dtype).float())


def test_torch_s_own_generator_argument_is_not_enough_for_sparse() -> None:
    def zeros(module: object) -> list[Tensor]:
        runs = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            runs.append(call("sparse_", module, torch.empty(40, 30), seeded()) == 0)
        return runs

    assert torch.equal(*zeros(init))
    assert not torch.equal(*zeros(theirs))


def test_zeros_of_sparse_lie_anywhere() -> None:
    w = init.sparse_(torch.empty(16, 4000), 0.25, generator=seeded())
    share = (w == 0).double().mean(dim=1)
    assert ((share - 0.25).abs() < 5 * math.sqrt(0.25 * 0.75 / 4000)).all()


def test_orthogonal_is_haar_distributed_and_precise() -> None:
    # Over the orthogonal group the trace has mean 0 and variance 1.
    generator = seeded()
    traces = torch.stack(
        [init.orthogonal_(torch.empty(6, 6), generator=generator).trace() for _ in range(1000)]
    )
    assert abs(traces.mean().item()) < 5 / math.sqrt(1000)
    assert abs(traces.var().item() - 1) < 5 * math.sqrt(2 / 1000)
    double = init.orthogonal_(torch.empty(64, 64, dtype=torch.float64), generator=generator)
    torch.testing.assert_close(double @ double.T, torch.eye(64, dtype=torch.float64))
    opposite = init.orthogonal_(torch.empty(6, 6), -2, generator=seeded())
    assert torch.equal(opposite, -2 * init.orthogonal_(torch.empty(6, 6), generator=seeded()))


@given(
    mean=st.floats(-5, 5),
    std=st.floats(1e-6, 1e3),
    low=st.floats(-100, 100),
    width=st.floats(1e-3, 200),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
)
@settings(max_examples=150)
def test_trunc_normal_stays_within_bounds(
    mean: float, std: float, low: float, width: float, dtype: torch.dtype
) -> None:
    w = torch.empty(257, dtype=dtype)
    init.trunc_normal_(w, mean, std, low, low + width, generator=seeded())
    least, greatest = torch.tensor([low, low + width], dtype=torch.float64).to(dtype)
    assert least <= w.min()
    assert w.max() <= greatest


@pytest.mark.parametrize(
    ("low", "high"),
    [(4.2, inf), (4.2, 4.3), (10, inf), (10, 1e4), (37, 38), (1e3, inf), (0, 1e-6), (-1e-6, 2e-6)],
)
def test_far_quantiles_are_exact(low: float, high: float) -> None:
    chance = torch.tensor([0.0, 1e-6, 0.1, 0.5, 0.9, 0.999, 1 - 1e-6, 1 - 1e-9, 1.0]).double()
    chance = torch.cat([chance, torch.linspace(0.01, 0.99, 99).double()])
    excess = quantile_above(chance, low, high)
    assert ((excess >= 0) & (excess <= high - low)).all()
    assert excess.isfinite().all()
    # By Simpson's rule on the density, relative to the nearer end: no error function, no log.
    for u, end in zip(chance.tolist(), excess.tolist(), strict=True):
        reach = min(high - low, 45 / max(low, 1.0))
        rest = mass(low, end, reach) / mass(low, 0.0, reach)
        assert math.isclose(rest, 1 - u, rel_tol=1e-6, abs_tol=1e-9), u


def mass(low: float, start: float, stop: float) -> float:
    """The integral of exp(-low t - t^2/2) over [start, stop]."""
    t = np.linspace(start, max(start, stop), 4001)
    return float(simpson(np.exp(-low * t - t * t / 2), x=t)) if stop > start else 0.0


def test_far_tails_in_half_dtypes_are_one_cast() -> None:
    single, half = torch.empty(200_000), torch.empty(200_000, dtype=torch.bfloat16)
    for w in (single, half):
        init.trunc_normal_(w, 100.0, 10.0, 0.0, 5.0, generator=seeded())
    assert torch.equal(half, single.bfloat16())


def test_trunc_normal_does_not_hang() -> None:
    w = torch.empty(100, 100)
    steps(lambda: init.trunc_normal_(w, 0.5, 1.0, a=3, b=1e4), most=10_000)  # torch: never ends
    assert w.min() >= 3


def test_trunc_normal_in_units_of_sigma() -> None:
    w = torch.empty(SIDE, SIDE)
    init.trunc_normal_(w, std=0.02, cut=2.0, generator=seeded())
    assert w.abs().max() <= 0.04
    assert distance(w, t(0, 0.02, -0.04, 0.04)) < LIMIT
    absolute = init.trunc_normal_(w.clone(), 0.0, 0.02, -0.04, 0.04, generator=seeded())
    assert torch.equal(w, absolute)
    init.trunc_normal_(w, std=0.02, cut=2.0, corrected=True, generator=seeded())
    tolerance = 5 * math.sqrt((known_kurtosis() - 1) / SIDE**2)
    assert abs(w.double().square().mean().item() / 0.02**2 - 1) < tolerance
    assert init.trunc_normal_(w, 3.0, std=0.0, cut=2.0).unique().tolist() == [3.0]


def known_kurtosis() -> float:
    return float(stats.truncnorm(-2, 2).stats("k")) + 3


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({"cut": 2.0, "a": -1.0}, "not both"),
        ({"cut": 2.0, "b": 1.0}, "not both"),
        ({"corrected": True}, "needs cut"),
        ({"cut": -2.0}, "cut must be positive"),
        ({"cut": (2.0, 1.0)}, "low < high"),
        ({"cut": math.nan}, "finite"),
        ({"cut": "2"}, "must be a number"),
        ({"cut": 2.0, "std": -1.0}, "at least 0"),
        ({"cut": 2.0, "corrected": 1}, "True or False"),
        ({"std": 0.0, "mean": 5.0}, "outside of"),
        ({"std": 1e38, "a": -inf, "b": inf}, "infinite"),
    ],
)
def test_trunc_normal_refuses(named: dict[str, object], says: str) -> None:
    w = torch.full((3,), 7.0)
    with pytest.raises(GoodinitError, match=says) as error:
        init.trunc_normal_(w, **named)
    assert isinstance(error.value, ValueError)
    assert (w == 7).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_delta_orthogonal_keeps_norms_through_the_module(axes: int, dtype: torch.dtype) -> None:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1](6, 8, 3, padding=1, bias=False)
    weight = conv.weight.data = conv.weight.data.to(dtype)
    if axes == 2:
        weight = conv.weight.data = weight.to(memory_format=torch.channels_last)
    before = weight._version
    assert init.delta_orthogonal_(weight, 1.5, generator=seeded()) is weight
    assert weight._version > before
    assert weight.count_nonzero() == 48
    x = torch.randn(2, 6, *[5] * axes, generator=seeded())
    conv.weight.data = weight.float()
    ratio = (conv(x).norm() / x.norm()).item()
    assert abs(ratio / 1.5 - 1) < 4 * torch.finfo(dtype).eps
    for other in (torch.float64, torch.float32):
        same = init.delta_orthogonal_(torch.empty_like(weight, dtype=other), 1.5,
                                      generator=seeded())  # fmt: skip
        torch.testing.assert_close(same.to(dtype), weight, atol=1e-6, rtol=torch.finfo(dtype).eps)


def test_delta_orthogonal_refuses_and_leaves_alone() -> None:
    for shape, says in [((8, 4), "3, 4, or 5"), ((4, 8, 3), "at least as many outputs")]:
        w = torch.full(shape, 7.0)
        with pytest.raises(ValueError, match=says):
            init.delta_orthogonal_(w)
        assert (w == 7).all()
    for bad, says in [(torch.empty(4, 4, 3).long(), "not implemented"),
                      (torch.empty(4, 1, 3).expand(4, 4, 3), "share memory")]:  # fmt: skip
        with pytest.raises(GoodinitError, match=says):
            init.delta_orthogonal_(bad)
    for nothing in (torch.empty(4, 0, 3), torch.empty(4, 4, 3, device="meta")):
        assert init.delta_orthogonal_(nothing) is nothing
    with pytest.raises(GoodinitError, match="finite"):
        init.delta_orthogonal_(torch.empty(4, 4, 3), math.nan)


class Loud(Tensor):
    """A kind of tensor that answers for itself, as sharded ones do."""

    heard: list[object] = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        cls.heard.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


class Quiet(Tensor):
    """A kind of tensor that adds nothing."""


@pytest.mark.parametrize("name", ["uniform_", "normal_", "constant_", "kaiming_uniform_"])
def test_a_tensor_that_answers_for_itself_is_asked(name: str) -> None:
    Loud.heard.clear()
    loud = torch.zeros(40, 30).as_subclass(Loud)
    assert call(name, init, loud) is loud
    asked = {"kaiming_uniform_": "uniform_"}.get(name, name)
    assert getattr(theirs, asked) in Loud.heard


@pytest.mark.parametrize("name", FUNCTIONS)
def test_plain_subclasses_are_drawn_here_and_fake_ones_are_torch_s(name: str) -> None:
    shape = FUNCTIONS[name].shape
    quiet = torch.zeros(shape).as_subclass(Quiet)
    assert call(name, init, quiet, seeded()) is quiet
    assert torch.equal(quiet.as_subclass(Tensor), call(name, init, torch.zeros(shape), seeded()))
    with FakeTensorMode():
        fake = torch.empty(shape)
        if name.startswith("trunc_normal_"):
            return  # torch's rejection sampler asks a fake tensor for its value
        assert call(name, init, fake) is fake


@pytest.mark.parametrize("name", RANDOM)
def test_contexts_change_nothing(name: str) -> None:
    plain = call(name, init, torch.empty(40, 30), seeded())

    def again() -> Tensor:
        return call(name, init, torch.empty(40, 30, dtype=torch.float32, device="cpu"), seeded())

    with torch.device("meta"):
        assert torch.equal(again(), plain)
    with torch.inference_mode():
        assert torch.equal(again(), plain)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(again(), plain)
    finally:
        torch.set_default_dtype(torch.float32)


def test_gradients_are_left_alone() -> None:
    layer = nn.Linear(5, 3)
    layer(torch.ones(2, 5)).sum().backward()
    grad = layer.weight.grad
    assert grad is not None
    saved = grad.clone()
    hidden = layer(torch.ones(2, 5)).sin().square()
    init.xavier_uniform_(layer.weight)
    assert layer.weight.grad is grad
    assert torch.equal(grad, saved)
    hidden.sum().backward()  # the weight is not needed for its own gradient


def test_autograd_is_told_of_the_write() -> None:
    w = torch.ones(3, requires_grad=True)
    y = (w * w).sum()
    init.normal_(w)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_under_transforms_it_is_torchs() -> None:
    def drawn(x: Tensor) -> Tensor:
        return init.normal_(x.clone())

    several = torch.func.vmap(drawn, randomness="different")(torch.zeros(2, 5))
    assert not torch.equal(several[0], several[1])
    slope = torch.func.grad(lambda x: (init.uniform_(torch.empty(5), 1, 2) * x).sum())
    assert (slope(torch.zeros(5)) >= 1).all()


@pytest.mark.filterwarnings("ignore::UserWarning")  # the compiler's, of what breaks its graph
def test_a_compiled_caller_may_change_its_numbers() -> None:
    compiled = torch.compile(lambda x, std: init.normal_(x, 0.0, std), backend="eager")
    for std in (0.1, 0.2, 0.3):
        torch.manual_seed(0)
        seen = compiled(torch.empty(5, 7), std)
        torch.manual_seed(0)
        assert torch.equal(seen, init.normal_(torch.empty(5, 7), 0.0, std))


@pytest.mark.parametrize(
    ("low", "high"), [(4.0, math.inf), (-3.9, -3.8), (4.1, 4.2), (3.0, math.inf), (-math.inf, -2.7)]
)
@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
def test_far_and_narrow_intervals_are_as_fine_as_others(low: float, high: float) -> None:
    """Of the few words of such an interval cells of equal chance hold unequal many."""
    drawn = torch.empty(500_000, dtype=torch.float64)
    x = init.trunc_normal_(drawn, a=low, b=high, generator=seeded()).numpy()
    if low > 0:
        x, low, high = -x, -high, -low
    ends = stats.norm.cdf([low, high])
    counts = np.histogram((stats.norm.cdf(x) - ends[0]) / (ends[1] - ends[0]), 4096, (0, 1))[0]
    assert counts.sum() == len(x)
    assert stats.chisquare(counts).pvalue > 1e-6
    assert len(np.unique(x)) > 450_000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scales_that_are_small_beside_the_mean(dtype: torch.dtype) -> None:
    """Float32 has no number there; float64 has, and rounding to float32 is torch's too."""
    w = torch.empty(100_000, dtype=dtype)
    single = dtype == torch.float32
    for mean, std in [(1.0, 1e-9), (1000.0, 1e-6), (-3.0, 2e-8)]:
        init.normal_(w, mean, std, seeded())
        if single:
            assert (w == mean).all()
        else:
            assert abs(w.std().item() / std - 1) < 0.01
    for low, high in [(0.1, 0.1000000001), (1 + 1e-8, 1 + 2e-8)]:
        init.uniform_(w, low, high)
        if single:
            assert (w == torch.tensor(low)).all()
        else:
            assert w.min() >= low
            assert w.max() <= high
            assert len(w.unique()) > 1000
