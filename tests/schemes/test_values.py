"""Schemes of independent elements: formulas, arithmetic, every error."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

import goodinit.schemes as s
from goodinit.errors import FanError, SchemeError
from goodinit.schemes import Layout, Site
from goodinit.streams import Law, Stream

LINEAR = Layout((0,), (1,))
SITE = Site.of((20, 30), LINEAR)
DRAWN = [
    s.Normal(0.5, mean=0.1),
    s.Uniform(-1, 2),
    s.TruncatedNormal(0.5, mean=0.1, cut=(-1, 2), corrected=True),
    s.VarianceScaling(2.0, "fan_avg", "truncated"),
    s.XavierUniform(2.0),
    s.XavierNormal(),
    s.HeUniform("leaky_relu", 0.2, "fan_out"),
    s.HeNormal("gelu"),
    s.LeCunUniform(),
    s.LeCunNormal(),
]
FIXED = [s.Constant(0.3), s.Zeros(), s.Ones(), s.Function(lambda site: torch.ones(site.shape))]


def test_formulas() -> None:
    assert s.XavierNormal().moments(SITE) == (0, pytest.approx(math.sqrt(2 / 50)))
    assert s.XavierUniform(3.0).law(SITE).scale == pytest.approx(3 * math.sqrt(6 / 50))
    assert s.HeNormal().moments(SITE)[1] == math.sqrt(2 / 30)
    assert s.HeNormal(mode="fan_out").moments(SITE)[1] == math.sqrt(2 / 20)
    assert s.HeUniform().law(SITE).scale == pytest.approx(math.sqrt(6 / 30))
    assert s.LeCunNormal().moments(SITE)[1] == math.sqrt(1 / 30)
    assert s.LeCunUniform().law(SITE).scale == pytest.approx(math.sqrt(3 / 30))
    assert s.HeNormal("tanh").moments(SITE)[1] == pytest.approx(1.5925 / math.sqrt(30), 1e-4)
    assert (s.Ones().moments(SITE), s.Zeros().moments(SITE)) == ((1.0, 0.0), (0.0, 0.0))
    truncated = s.VarianceScaling(1.0, "fan_in", "truncated")
    assert truncated.moments(SITE)[1] == math.sqrt(1 / 30)
    assert truncated.law(SITE).scale == pytest.approx(math.sqrt(1 / 30) / 0.87962566103)


def test_torch_s_default_law() -> None:
    assert s.HeUniform("leaky_relu", a=math.sqrt(5)).law(SITE).scale == pytest.approx(30**-0.5)
    half = s.HeUniform("leaky_relu", a=math.sqrt(3))
    assert half.law(SITE).scale == pytest.approx(math.sqrt(1.5 / 30))
    layer = nn.Linear(30, 20)
    assert layer.weight.abs().max() <= 30**-0.5


def test_aliases() -> None:
    assert s.KaimingUniform is s.HeUniform
    assert s.KaimingNormal is s.HeNormal
    assert s.GlorotUniform is s.XavierUniform
    assert s.GlorotNormal is s.XavierNormal


@given(st.floats(-6, 6), st.floats(1e-3, 12))
def test_truncated_moments_against_scipy(low: float, width: float) -> None:
    high = low + width
    mean, std = s.truncated_moments(low, high)
    # scipy's variance loses digits in a tail: quadrature on its density instead
    grid = np.linspace(low, high, 20_001)
    density = np.exp(-(grid**2 - min(abs(low), abs(high)) ** 2 * (low * high > 0)) / 2)
    density /= np.trapezoid(density, grid)
    expected = np.trapezoid(grid * density, grid)
    assert mean == pytest.approx(expected, rel=1e-6, abs=1e-6)
    spread = np.trapezoid((grid - expected) ** 2 * density, grid)
    assert std == pytest.approx(math.sqrt(spread), rel=1e-5)
    if low * high < 0:
        assert std == pytest.approx(stats.truncnorm(low, high).std(), rel=1e-5)


def test_a_std_of_0_is_the_mean(fill) -> None:
    for scheme in (s.Normal(0, mean=0.25), s.TruncatedNormal(0, mean=0.25, corrected=True)):
        assert (fill(scheme, (3, 4)) == 0.25).all()
    for distribution in ("normal", "uniform", "truncated"):
        scheme = s.VarianceScaling(0.0, "fan_in", distribution)
        assert not fill(scheme, (3, 4), LINEAR).any()
    assert not fill(s.XavierUniform(0.0), (3, 4), LINEAR).any()


@pytest.mark.parametrize("scheme", DRAWN, ids=repr)
def test_times_multiplies_the_values(scheme: s.Scheme, fill) -> None:
    twice = scheme.times(2.0)
    mean, std = scheme.moments(SITE)
    assert twice.moments(SITE) == (pytest.approx(2 * mean), pytest.approx(2 * std))
    torch.testing.assert_close(fill(twice, (20, 30), LINEAR), 2 * fill(scheme, (20, 30), LINEAR))
    assert scheme.times(0) == s.Zeros()
    for factor in (-1.0, math.nan, math.inf, True, "2", None):
        with pytest.raises(SchemeError, match="factor"):
            scheme.times(factor)


def test_times_is_closed() -> None:
    assert s.Normal(1.0, mean=2.0).times(0.5) == s.Normal(0.5, mean=1.0)
    assert s.XavierNormal().times(3) == s.XavierNormal(3.0)
    assert s.HeNormal().times(3) == s.VarianceScaling(18.0)
    assert s.LeCunUniform().times(2) == s.VarianceScaling(4.0, "fan_in", "uniform")
    assert s.Constant(2).times(0.5) == s.Constant(1.0)
    assert s.Ones().times(3) == s.Constant(3.0)
    assert s.Ones().times(1) == s.Ones()
    assert s.Zeros().times(3) == s.Zeros()
    assert s.Keep().times(1) == s.Keep()
    assert s.TorchDefault().times(1) == s.TorchDefault()
    for scheme in (s.Keep(), s.TorchDefault()):
        with pytest.raises(SchemeError, match="multiply"):
            scheme.times(2)
    assert s.AddNoise(0.5).times(1) == s.AddNoise(0.5)
    with pytest.raises(SchemeError, match="another share"):
        s.AddNoise(0.5).times(2)


@pytest.mark.parametrize(
    ("scheme", "text"),
    [
        (s.Normal(0.02), "Normal(std=0.02)"),
        (s.Normal(1 / 3, mean=2.0), "Normal(std=0.333333, mean=2)"),
        (s.Uniform(-1, 1 / 3), "Uniform(low=-1, high=0.333333)"),
        (s.TruncatedNormal(1.0), "TruncatedNormal(std=1)"),
        (s.TruncatedNormal(1.0, cut=(-1, 2)), "TruncatedNormal(std=1, cut=(-1.0, 2.0))"),
        (s.Constant(1 / 3), "Constant(value=0.333333)"),
        (s.Zeros(), "Zeros()"),
        (s.Ones(), "Ones()"),
        (s.Keep(), "Keep()"),
        (s.TorchDefault(), "TorchDefault()"),
        (s.AddNoise(), "AddNoise()"),
        (s.Function(len), "Function(f=<built-in function len>)"),
        (s.VarianceScaling(2.0), "VarianceScaling(scale=2)"),
        (s.XavierUniform(), "XavierUniform()"),
        (s.XavierNormal(2.0), "XavierNormal(gain=2)"),
        (s.HeUniform(), "HeUniform()"),
        (s.HeNormal("gelu"), "HeNormal(nonlinearity='gelu')"),
        (s.LeCunUniform(), "LeCunUniform()"),
        (s.LeCunNormal(), "LeCunNormal()"),
        (s.Orthogonal(2.0), "Orthogonal(gain=2)"),
        (s.DeltaOrthogonal(), "DeltaOrthogonal()"),
        (s.Identity(), "Identity()"),
        (s.Dirac(2), "Dirac(groups=2)"),
        (s.Sparse(0.5), "Sparse(sparsity=0.5)"),
    ],
    ids=str,
)
def test_a_repr_has_what_differs_from_the_defaults(scheme: s.Scheme, text: str) -> None:
    assert repr(scheme) == text


@pytest.mark.parametrize(
    ("cls", "field", "others"),
    [
        (s.Normal, "std", {}),
        (s.TruncatedNormal, "std", {}),
        (s.AddNoise, "share", {}),
        (s.Function, "factor", {"f": len}),
        (s.VarianceScaling, "scale", {}),
        (s.XavierUniform, "gain", {}),
        (s.XavierNormal, "gain", {}),
        (s.Orthogonal, "gain", {}),
        (s.DeltaOrthogonal, "gain", {}),
        (s.Identity, "gain", {}),
        (s.Dirac, "gain", {}),
        (s.Sparse, "sparsity", {}),
        (s.Sparse, "std", {"sparsity": 0.5}),
    ],
)
def test_the_least_value_of_a_field_is_0(
    cls: type[s.Scheme], field: str, others: dict[str, object]
) -> None:
    assert getattr(cls(**{field: 0.0}, **others), field) == 0.0
    with pytest.raises(SchemeError, match=f"{field} must be at least 0"):
        cls(**{field: -0.25}, **others)


@pytest.mark.parametrize("scheme", FIXED, ids=lambda x: type(x).__name__)
def test_fixed_values(scheme: s.Scheme, fill) -> None:
    values = fill(scheme, (3, 4))
    mean, std = scheme.moments(Site((3, 4)))
    assert std == 0
    assert torch.equal(values, torch.full((3, 4), mean))
    torch.testing.assert_close(fill(scheme.times(2), (3, 4)), 2 * values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_noise_is_a_share_of_the_standard_deviation(dtype: torch.dtype, fill) -> None:
    values = torch.tensor([[-1.0, 3.0], [3.0, 7.0]]).to(dtype)  # of mean 3 and std sqrt(8)
    noise = Stream(0).draw("weight", Law.normal(0.0, 0.01 * 2.828427125), (2, 2))
    noisy = fill(s.AddNoise(0.01), (2, 2), out=values.clone(), dtype=dtype)
    assert torch.equal(noisy, (values + noise).to(dtype))
    for constant in (torch.full((3,), 0.1), torch.empty(0)):
        assert torch.equal(fill(s.AddNoise(0.5), tuple(constant.shape), out=constant), constant)


def test_keep_writes_nothing(fill) -> None:
    out = torch.ones(3)
    version = out._version
    fill(s.Keep(), (3,), out=out)
    assert (out._version, out.sum()) == (version, 3)
    assert all(map(math.isnan, s.Keep().moments(Site((3,)))))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("scheme", DRAWN, ids=repr)
def test_dtypes_are_one_cast_from_float32(scheme: s.Scheme, dtype: torch.dtype, fill) -> None:
    values = fill(scheme, (20, 30), LINEAR, dtype=dtype)
    assert torch.equal(values, fill(scheme, (20, 30), LINEAR).to(dtype))


def test_leaf_parameters_and_channels_last(fill) -> None:
    weight = nn.Parameter(torch.empty(8, 4, 3, 3).to(memory_format=torch.channels_last))
    for scheme in (s.Constant(2.0), FIXED[-1], s.HeNormal()):
        layout = Layout((0,), (1,), (2, 3))
        plain = fill(scheme, (8, 4, 3, 3), layout)
        version = weight._version
        fill(scheme, (8, 4, 3, 3), layout, out=weight)
        assert torch.equal(weight.detach(), plain)
        assert weight._version > version
        assert weight.is_leaf


def test_function(fill) -> None:
    a_log = s.Function(lambda site: torch.arange(1, site.shape[-1] + 1).log())
    assert torch.equal(fill(a_log, (2, 3))[1], torch.tensor([1.0, 2, 3]).log())
    mean, std = a_log.moments(Site((2, 3)))
    values = np.log([1, 2, 3])
    assert (mean, std) == (pytest.approx(values.mean()), pytest.approx(values.std()))
    with torch.device("meta"):
        assert a_log.moments(Site((2, 3)))[0] == mean
    with pytest.raises(SchemeError, match="code"):
        a_log.to_dict()
    for f, says in [
        (lambda site: torch.ones(5), "broadcast"),
        (lambda site: torch.tensor(math.nan), "NaN"),
        (lambda site: torch.tensor(1e300, dtype=torch.float64), "float32"),
        (lambda site: torch.tensor(1j), "real tensor"),
        (lambda site: torch.ones(3, device="meta"), "real tensor"),
        (lambda site: 1.0, "real tensor"),
        (lambda site: site.nonsense, "AttributeError"),
    ]:
        with pytest.raises(SchemeError, match=says):
            s.Function(f).check(Site((2, 3)))
    with pytest.raises(SchemeError, match="a function of a Site"):
        s.Function(3)


NUMBERS = [math.nan, math.inf, -math.inf, True, "1", None, [1.0], 1j, 10**400]


@pytest.mark.parametrize("bad", NUMBERS, ids=lambda x: str(x)[:8])
def test_numbers_are_checked(bad: object) -> None:
    for make in [
        lambda: s.Normal(bad),
        lambda: s.Normal(1.0, mean=bad),
        lambda: s.Uniform(bad, 1.0),
        lambda: s.Uniform(0.0, bad),
        lambda: s.TruncatedNormal(bad),
        lambda: s.TruncatedNormal(1.0, mean=bad),
        lambda: s.TruncatedNormal(1.0, cut=bad),
        lambda: s.TruncatedNormal(1.0, cut=(bad, 2.0)),
        lambda: s.Constant(bad),
        lambda: s.VarianceScaling(bad),
        lambda: s.XavierUniform(bad),
        lambda: s.XavierNormal(bad),
        lambda: s.HeUniform("leaky_relu", bad),
        lambda: s.Orthogonal(bad),
        lambda: s.DeltaOrthogonal(bad),
        lambda: s.Identity(bad),
        lambda: s.Dirac(gain=bad),
        lambda: s.Sparse(bad),
        lambda: s.Sparse(0.5, bad),
        lambda: s.Normal(1.0).scaled(depth=bad),
    ]:
        with pytest.raises(SchemeError):
            make()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: s.Normal(-1), r"Normal\(std=-1.*at least 0"),
        (lambda: s.Normal(1e-30), "can't be drawn"),
        (lambda: s.Normal(1e38), "can't be drawn"),
        (lambda: s.Constant(1e39), "within float32"),
        (lambda: s.Uniform(1, 1), r"use Constant\(1\)"),
        (lambda: s.Uniform(2, 1), "below high"),
        (lambda: s.TruncatedNormal(-1), "at least 0"),
        (lambda: s.TruncatedNormal(1, cut=0), "positive"),
        (lambda: s.TruncatedNormal(1, cut=-1), "positive"),
        (lambda: s.TruncatedNormal(1, cut=(2, 1)), "low < high"),
        (lambda: s.TruncatedNormal(1, cut=(1, 2, 3)), "pair"),
        (lambda: s.TruncatedNormal(1, cut=(30, 31)), "can't be drawn"),
        (lambda: s.Dirac(True), "from 1"),
        (lambda: s.TruncatedNormal(1, corrected=1), "True or False"),
        (lambda: s.VarianceScaling(-1), "at least 0"),
        (lambda: s.VarianceScaling(mode="fan_inn"), "Did you mean 'fan_in'"),
        (lambda: s.VarianceScaling(mode=["fan_in"]), "one of"),
        (lambda: s.VarianceScaling(distribution="gaussian"), "one of normal"),
        (lambda: s.XavierUniform(-1), "at least 0"),
        (lambda: s.XavierUniform(1e200), "finite square"),
        (lambda: s.LeCunNormal().times(1e200), "finite"),
        (lambda: s.HeNormal("geluu"), "Did you mean 'gelu'"),
        (lambda: s.HeNormal(torch.tanh), r"VarianceScaling\(gain\(f\)"),
        (lambda: s.HeUniform(a=math.sqrt(5)), "nonlinearity='leaky_relu'"),
        (lambda: s.HeUniform(mode="fan"), "one of"),
        (lambda: s.Sparse(1.5), "at most 1"),
        (lambda: s.Sparse(-0.1), "at least 0"),
        (lambda: s.Dirac(0), "from 1"),
        (lambda: s.Dirac(1.0), "from 1"),
        (lambda: s.Scaled(3, ()), "must be a Scheme"),
        (lambda: s.Scaled(s.Ones(), (("dpeth", 1.0),)), "powers are of"),
        (lambda: s.Scaled(s.Ones(), (("depth", 1.0), ("depth", 2.0))), "each once"),
    ],
)
def test_refused(make, says: str) -> None:
    with pytest.raises(SchemeError, match=says):
        make()


def test_numbers_of_many_types() -> None:
    assert s.Normal(np.float32(0.5)) == s.Normal(0.5) == s.Normal(Fraction(1, 2))
    assert s.TruncatedNormal(1, cut=[-1, 2]) == s.TruncatedNormal(1, cut=(-1.0, 2.0))
    assert len({s.Normal(1), s.Normal(1.0), s.TruncatedNormal(1, cut=[-1, 2])}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        s.Normal(1).std = 2


def test_fans_that_aren_t_there() -> None:
    for scheme in DRAWN[3:]:
        for site in (
            Site((64,)),
            Site((0, 3), LINEAR, 0, 0),
            Site((1,), None, math.nan, math.nan),
            Site((1,), None, math.inf, math.inf),
        ):
            with pytest.raises(FanError) as caught:
                scheme.check(site)
            assert type(scheme).__name__ in str(caught.value)
            assert "Use " in str(caught.value)
    with pytest.raises(FanError, match="shape \\(64,\\)"):
        s.HeNormal().law(Site((64,)))


def test_markers_have_no_numbers(fill) -> None:
    for scheme in (s.TorchDefault(), s.Normal(1.0).scaled(depth=1)):
        with pytest.raises(SchemeError, match="planned on a model"):
            scheme.check(SITE)
        with pytest.raises(SchemeError, match="planned on a model"):
            scheme.fill_(None, None, SITE)


def test_scaled_resolves() -> None:
    scheme = s.Normal(0.02).scaled(depth=-0.5, layer=1)
    assert scheme.resolve({"depth": 4, "layer": 2}).moments(SITE) == (0, pytest.approx(0.03))
    assert scheme.times(2) == s.Normal(0.04).scaled(depth=-0.5, layer=1)
    assert repr(scheme) == "Normal(std=0.02).scaled(depth=-0.5, layer=1)"
    for facts, says in [
        ({"layer": 2}, "needs the depth"),
        ({"depth": 0, "layer": 2}, "positive depth"),
        ({"depth": 4, "layer": -1}, "positive layer"),
        ({"depth": math.nan, "layer": 1}, "positive depth"),
    ]:
        with pytest.raises(SchemeError, match=says):
            scheme.resolve(facts)
    with pytest.raises(SchemeError, match="finite"):
        s.Normal(1.0).scaled(width=500).resolve({"width": 10})


def test_every_name_is_exported() -> None:
    assert len(set(s.__all__)) == len(s.__all__)
    assert all(hasattr(s, name) for name in s.__all__)


WITH_DEFAULTS = [
    cls
    for name in s.__all__
    if isinstance(cls := getattr(s, name), type)
    and issubclass(cls, s.Scheme)
    and not cls.__abstractmethods__
    and all(one.default is not dataclasses.MISSING for one in dataclasses.fields(cls))
]


@pytest.mark.parametrize("cls", WITH_DEFAULTS)
def test_a_repr_shows_no_default(cls: type[s.Scheme]) -> None:
    shown = "share=1.0" if cls.__name__ == "LikeRows" else ""  # its share is always said
    assert repr(cls()) == f"{cls.__name__}({shown})"
