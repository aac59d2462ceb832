"""Names, signatures, old names, fans and gains: torch's, function by function."""

from __future__ import annotations

import inspect
import math
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import init as theirs

from goodinit import schemes
from goodinit.errors import GoodinitError, printable
from goodinit.nn import init
from goodinit.nn import init as ours

from .laws import FUNCTION_NAMES, NAMES

PRIVATE = ["_calculate_fan_in_and_fan_out", "_calculate_correct_fan"]
OLD = [name for name in NAMES if f"{name}_" in NAMES]
NEW = ["delta_orthogonal_"]


def test_every_public_name_is_there() -> None:
    assert set(ours.__all__) == {*NAMES, *NEW}
    assert set(FUNCTION_NAMES) <= set(ours.__all__)


@pytest.mark.parametrize("name", [*NAMES, *PRIVATE])
def test_signatures(name: str) -> None:
    reference = list(inspect.signature(getattr(theirs, name)).parameters.values())
    mine = list(inspect.signature(getattr(ours, name)).parameters.values())
    for one, other in zip(reference, mine, strict=False):
        assert (one.name, one.kind, one.default) == (other.name, other.kind, other.default)
        assert type(one.default) is type(other.default)
    extra = mine[len(reference) :]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in extra)
    assert {p.name for p in extra} <= {"cut", "corrected"}


@pytest.mark.parametrize("name", [*NAMES, *NEW])
def test_docstrings_and_pickles(name: str) -> None:
    function = getattr(init, name)
    assert function.__name__ == name
    if name not in OLD:
        assert ">>>" in (function.__doc__ or "")
        assert pickle.loads(pickle.dumps(function)) is function


def test_the_old_names_are_all_known() -> None:
    assert len(OLD) == 11


@pytest.mark.parametrize("name", OLD)
def test_old_names_work_and_warn(name: str) -> None:
    shape = (4, 4, 3) if name == "dirac" else (4, 4)
    more = {"constant": (0.5,), "sparse": (0.5,)}.get(name, ())
    with pytest.warns(FutureWarning) as reference:
        getattr(theirs, name)(torch.empty(shape), *more)
    tensor = torch.empty(shape)
    torch.manual_seed(0)
    with pytest.warns(FutureWarning, match=f"nn.init.{name}_`") as mine:
        assert getattr(ours, name)(tensor, *more) is tensor
    assert [str(w.message) for w in mine] == [str(w.message) for w in reference]
    torch.manual_seed(0)
    assert torch.equal(tensor, getattr(ours, f"{name}_")(torch.empty(shape), *more))


SHAPES = st.lists(st.integers(0, 9), min_size=0, max_size=6).map(tuple)


@given(shape=SHAPES, mode=st.sampled_from(["fan_in", "fan_out", "FAN_IN", "Fan_Out", "fan", ""]))
def test_fans_are_torch_s(shape: tuple[int, ...], mode: str) -> None:
    tensor = torch.empty(shape, device="meta")
    for name, more in [(PRIVATE[0], ()), (PRIVATE[1], (mode,))]:
        try:
            reference = getattr(theirs, name)(tensor, *more)
        except ValueError as error:
            words = str(error)
            with pytest.raises(GoodinitError) as mine:
                getattr(ours, name)(tensor, *more)
            assert isinstance(mine.value, ValueError)
            assert str(mine.value).startswith(words)
        else:
            assert getattr(ours, name)(tensor, *more) == reference


CONVOLUTIONS = [f"conv{end}" for end in "1d 2d 3d _transpose1d _transpose2d _transpose3d".split()]
KNOWN = ["linear", *CONVOLUTIONS, "sigmoid", "tanh", "relu", "leaky_relu", "selu"]
PARAMS = st.one_of(
    st.none(), st.booleans(), st.text(max_size=3), st.integers(-9, 9), st.floats(-1e9, 1e9)
)


@given(name=st.sampled_from(KNOWN), param=PARAMS)
def test_gains_are_torch_s_where_it_has_one(name: str, param: object) -> None:
    try:
        reference = theirs.calculate_gain(name, param)
    except ValueError as error:
        words = printable(str(error))
        with pytest.raises(GoodinitError) as mine:
            init.calculate_gain(name, param)
        assert isinstance(mine.value, ValueError)
        assert str(mine.value).startswith(words)
    else:
        mine = init.calculate_gain(name, param)
        assert mine == reference
        assert type(mine) is type(reference)


def test_gains_that_torch_lacks() -> None:
    # 1/sqrt(E[f(z)^2]) from 10^6 equally likely z, independent of the quadrature.
    p = (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000
    z = torch.special.ndtri(p)
    functions = {
        "gelu": nn.functional.gelu,
        "silu": nn.functional.silu,
        "swish": nn.functional.silu,
        "mish": nn.functional.mish,
        "elu": nn.functional.elu,
        "softplus": nn.functional.softplus,
        "hardswish": nn.functional.hardswish,
    }
    for name, f in functions.items():
        gain = f(z).square().mean().item() ** -0.5
        assert math.isclose(init.calculate_gain(name), gain, rel_tol=1e-4), name
        assert math.isclose(init.calculate_gain(f), gain, rel_tol=1e-4), name
        assert init.calculate_gain(name) == schemes.gain(name)
        with pytest.raises(ValueError, match="Unsupported"):
            theirs.calculate_gain(name)
    assert init.calculate_gain(nn.GELU()) == init.calculate_gain("gelu")
    assert init.calculate_gain(torch.tanh) == schemes.gain("tanh") != init.calculate_gain("tanh")
    # glu: E[(z1 sigmoid(z2))^2] = E[z1^2] E[sigmoid(z2)^2], and the first is 1.
    gain = torch.sigmoid(z).square().mean().item() ** -0.5
    assert math.isclose(init.calculate_gain("glu"), gain, rel_tol=1e-4)


def test_glu_s_gain_keeps_the_second_moment_through_the_module() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 256, generator=generator)
    layer = nn.Linear(256, 512, bias=False)
    gain = init.calculate_gain("glu")
    # The gate sees weights of gain 1, as the definition has it; the value's are multiplied.
    init.kaiming_normal_(layer.weight, nonlinearity="linear", generator=generator)
    with torch.no_grad():
        layer.weight[:256] *= gain
        y = nn.functional.glu(layer(x), dim=-1)
    # Kurtosis of z1 sigmoid(z2) is below 9, and about 256 features are independent.
    assert abs(y.double().square().mean().item() - 1) < 5 * math.sqrt(8 / (256 * 256))


@pytest.mark.parametrize(
    ("what", "param", "says"),
    [
        ("gleu", None, "Unsupported nonlinearity gleu. Did you mean 'glu' or 'gelu'"),
        (None, None, "Unsupported nonlinearity None"),
        ("gelu", 0.5, "only leaky_relu takes one"),
        (torch.tanh, 1, "only leaky_relu takes one"),
        (torch.argsort, None, "element by element"),
        (lambda z: z.softmax(0), None, "element by element"),
        (torch.zeros_like, None, "is 0"),
        ("leaky_relu", torch.tensor(0.1), "not a valid number"),
    ],
)
def test_gains_refused(what: object, param: object, says: str) -> None:
    with pytest.raises(GoodinitError, match=says) as error:
        init.calculate_gain(what, param)
    assert isinstance(error.value, ValueError)


def test_the_drop_in_runs_where_people_use_it() -> None:
    def initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            init.constant_(module.weight, 1)
            init.constant_(module.bias, 0)
        elif isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=0.02)
            init.zeros_(module.bias)

    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)
    )
    net.apply(initialise)
    assert net(torch.randn(2, 3, 8, 8)).isfinite().all()
    assert not net[4].bias.any()
