"""Schemes there and back, and data that means harm."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import goodinit.schemes as s
from goodinit.errors import SchemeError
from goodinit.schemes.gains import NONLINEARITIES
from goodinit.schemes.reader import SCHEMES

numbers = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)
names = st.sampled_from(sorted(set(NONLINEARITIES) - {"threshold", "leaky_relu"}))
modes = st.sampled_from(["fan_in", "fan_out", "fan_avg"])
cuts = st.one_of(
    st.floats(0.1, 9), st.tuples(st.floats(-3, 0), st.floats(0.1, 3)), st.just([-1, 2])
)

plain = st.one_of(
    st.builds(s.Normal, positive, mean=st.floats(-1, 1)),
    st.builds(s.Uniform, st.floats(-10, 0), st.floats(0.1, 10)),
    st.builds(s.TruncatedNormal, positive, mean=st.just(0.5), cut=cuts, corrected=st.booleans()),
    st.builds(s.Constant, numbers),
    st.just(s.Zeros()),
    st.just(s.Ones()),
    st.builds(
        s.VarianceScaling, positive, modes, st.sampled_from(["normal", "uniform", "truncated"])
    ),
    st.builds(s.XavierUniform, positive),
    st.builds(s.XavierNormal, positive),
    st.builds(s.HeUniform, names, st.just(0.0), modes),
    st.builds(s.HeNormal, st.just("leaky_relu"), st.floats(-2, 2), modes),
    st.just(s.LeCunUniform()),
    st.just(s.LeCunNormal()),
    st.just(s.TorchDefault()),
    st.just(s.Keep()),
    st.builds(s.Orthogonal, positive),
    st.builds(s.DeltaOrthogonal, positive),
    st.builds(s.Identity, positive),
    st.builds(s.Dirac, st.integers(1, 9), positive),
    st.builds(s.Sparse, st.floats(0, 1), positive),
    st.builds(s.ICNR, st.builds(s.HeNormal), st.integers(1, 9)),
)
powers = st.fixed_dictionaries({}, optional=dict.fromkeys(("depth", "layer", "fan_in"), numbers))
schemes = st.one_of(plain, st.builds(lambda scheme, p: scheme.scaled(**p), plain, powers))


@given(schemes)
@settings(deadline=None)
def test_there_and_back_through_json(scheme: s.Scheme) -> None:
    data = json.loads(json.dumps(scheme.to_dict(), allow_nan=False))
    assert s.from_dict(data) == scheme
    assert s.from_dict(scheme.to_dict()) == scheme


def test_every_exported_scheme_can_be_read() -> None:
    exported = {
        name
        for name in s.__all__
        if isinstance(getattr(s, name), type) and issubclass(getattr(s, name), s.Scheme)
    }
    planned = {"DropUnits", "LowRank", "Mimetic"}  # what a plan makes of a recipe's scheme
    assert exported - {"Scheme", "Drawn", "Function", "Scaled"} == set(SCHEMES) - planned
    assert s.from_dict({"scheme": "KaimingNormal"}) == s.HeNormal()


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(10**400)
)
hostile = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
fields = ["std", "mean", "low", "high", "cut", "corrected", "value", "scale", "mode", "gain"]
fields += ["distribution", "nonlinearity", "a", "groups", "sparsity", "share", "scaled", "x"]


@given(st.sampled_from([*SCHEMES, "Function"]), st.dictionaries(st.sampled_from(fields), hostile))
@settings(deadline=None, max_examples=150)
def test_hostile_fields_read_or_raise_scheme_error(name: str, data: dict[str, object]) -> None:
    try:
        scheme = s.from_dict({**data, "scheme": name})
    except SchemeError:
        return
    assert s.from_dict(scheme.to_dict()) == scheme


@given(hostile)
def test_hostile_data_raises_scheme_error(data: object) -> None:
    with pytest.raises(SchemeError, match=r"^rule 3: "):
        s.from_dict(data, where="rule 3")


def deep_list() -> list[object]:
    data: list[object] = []
    for _ in range(100_000):
        data = [data]
    return data


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (3, "a scheme is a mapping"),
        ({}, "doesn't say which scheme"),
        ({"scheme": "XavierUnifrom"}, "Did you mean 'XavierUniform'"),
        ({"scheme": ["Normal"]}, "no scheme is called"),
        ({"scheme": "Function", "f": "os.system"}, "holds code"),
        ({"scheme": "Scheme"}, "no scheme is called"),
        ({"scheme": "Normal"}, "needs std"),
        ({"scheme": "Normal", "std": 1, "maen": 0}, "Did you mean 'mean'"),
        ({"scheme": "Normal", "std": 1, 3: 0}, "no field 3"),
        ({"scheme": "Zeros", "value": 0}, "no field 'value'"),
        ({"scheme": "Normal", "std": "1"}, "must be a number, not str"),
        ({"scheme": "Normal", "std": math.nan}, "finite"),
        ({"scheme": "Normal", "std": 10**5000}, "finite"),
        ({"scheme": "Normal", "std": True}, "must be a number, not bool"),
        ({"scheme": "TruncatedNormal", "std": 1, "cut": [1]}, "pair"),
        ({"scheme": "Constant", "value": deep_list()}, "must be a number, not list"),
        ({"scheme": "Scaled", "of": {"scheme": "Ones"}}, "no scheme is called"),
        ({"scheme": "One", "scaled": {}}, "no scheme is called"),
        ({"scheme": "Ones", "scaled": [1]}, "scaled is a mapping"),
        ({"scheme": "Ones", "scaled": {"depth": "1"}}, "must be a number"),
        ({"scheme": "Ones", "scaled": {"dpeth": 1}}, "Did you mean 'depth'"),
        ({"scheme": "Ones", "scaled": {3: 1}}, "no field 3"),
        ({"scheme": "Normal", "std": {"scheme": "Ones"}}, "must be a number, not dict"),
        ({"scheme": "Ones", "x" * 10**6: 1}, "no field"),
    ],
)
def test_refused(data: object, says: str) -> None:
    with pytest.raises(SchemeError, match=says) as caught:
        s.from_dict(data, where="here")
    assert str(caught.value).startswith("here")
    assert len(str(caught.value)) < 500


def test_scaled_within_scaled_adds_the_powers_up() -> None:
    scheme = s.Normal(1.0).scaled(depth=1, fan_in=-0.5).scaled(width=2, depth=-3)
    assert scheme == s.Scaled(s.Normal(1.0), (("width", 2), ("fan_in", -0.5), ("depth", -2)))
    assert scheme == s.Scaled(s.Normal(1.0).scaled(fan_in=-0.5), (("depth", -2), ("width", 2)))
    assert s.Ones().scaled(depth=1).scaled(depth=-1) == s.Ones().scaled()
    facts = {"depth": 4.0, "width": 3.0, "fan_in": 81.0}
    assert scheme.resolve(facts) == s.Normal(4.0**-2 * 3.0**2 / 9)
    with pytest.raises(SchemeError, match="finite"):
        s.Ones().scaled(depth=1e308).scaled(depth=1e308)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"scheme": "Nrmal"}, ("scheme",)),
        ({"scheme": "Normal", "std": -1}, ("std",)),
        ({"scheme": "Normal", "std": 1, "maen": 1}, ("maen",)),
        ({"scheme": "Ones", "scaled": {"depth": ""}}, ("scaled", "depth")),
        ({"scheme": "Ones", "scaled": 3}, ("scaled",)),
        ({"scheme": "Normal"}, ()),
    ],
)
def test_an_error_knows_its_field(data: object, field: tuple[str, ...]) -> None:
    with pytest.raises(SchemeError) as caught:
        s.from_dict(data, where="here")
    assert caught.value.field == field
