"""Schemes called in the way of other libraries: the error has the line that works."""

from __future__ import annotations

import copy
import pickle

import pytest
from torch import nn

import goodinit as gi
from goodinit.errors import CallError, SchemeError
from goodinit.schemes.fields import short_repr

CUT = gi.TruncatedNormal(std=0.02)


@pytest.mark.parametrize(
    ("call", "line", "means"),
    [
        (lambda: gi.Normal(0, 0.02), "gi.Normal(std=0.02)", gi.Normal(0.02)),
        (lambda: gi.Normal(0.5, 0.1), "gi.Normal(std=0.1, mean=0.5)", gi.Normal(0.1, mean=0.5)),
        (lambda: gi.Normal(0.02, 0.0), "gi.Normal(std=0.02)", gi.Normal(0.02)),
        (gi.Normal, "gi.Normal(std=0.02)", gi.Normal(0.02)),
        (lambda: gi.Normal(sigma=0.1), "gi.Normal(std=0.1)", gi.Normal(0.1)),
        (lambda: gi.Normal(loc=1, scale=2), "gi.Normal(std=2, mean=1)", gi.Normal(2, mean=1)),
        (lambda: gi.TruncatedNormal(0, 0.02), "gi.TruncatedNormal(std=0.02)", CUT),
        (lambda: gi.TruncatedNormal(0, 0.02, -2, 2), "gi.TruncatedNormal(std=0.02)", CUT),
        (lambda: gi.TruncatedNormal(0.02, 0.0, 2.0), "gi.TruncatedNormal(std=0.02)", CUT),
        (lambda: gi.Uniform(0.1), "gi.Uniform(low=-0.1, high=0.1)", gi.Uniform(-0.1, 0.1)),
        (lambda: gi.Uniform(a=-1, b=2), "gi.Uniform(low=-1, high=2)", gi.Uniform(-1, 2)),
        (lambda: gi.Constant(val=0.1), "gi.Constant(value=0.1)", gi.Constant(0.1)),
        (lambda: gi.Orthogonal(2.0, 3), "gi.Orthogonal(gain=2)", gi.Orthogonal(2.0)),
        (lambda: gi.Zeros(3), "gi.Zeros()", gi.Zeros()),
    ],
)
def test_a_wrong_call_is_answered_by_one_that_works(call, line, means) -> None:
    with pytest.raises(CallError) as error:
        call()
    assert isinstance(error.value, TypeError)
    assert str(error.value).endswith(f"Write {line}")
    made = eval(line, {"gi": gi})
    assert made == means


def test_an_error_inside_a_scheme_is_no_wrong_call() -> None:
    with pytest.raises(CallError, match=r"^Function: missing a required argument: 'f'\. Write"):
        gi.Function()
    for scheme in (gi.Normal(0.02, mean=1.0), gi.TruncatedNormal(0.02, cut=1.0)):
        assert copy.deepcopy(scheme) == pickle.loads(pickle.dumps(scheme)) == scheme


@pytest.mark.parametrize("scheme", [gi.Normal(std=0), gi.TruncatedNormal(0.0, mean=0.02)])
def test_a_std_of_0_is_refused_for_a_weight(scheme: gi.Scheme) -> None:
    for layer in (nn.Linear(3, 2), nn.Conv2d(3, 2, 1), nn.Embedding(3, 2), nn.LSTM(3, 2)):
        with pytest.raises(SchemeError, match=r"gives all units .* gi.Constant\(0(.02)?\)"):
            gi.init_(layer, {"weight*": scheme})
    layer = nn.Linear(3, 2)
    gi.init_(layer, {"bias": scheme, "weight": gi.Constant(0.5)})
    assert layer.bias.eq(scheme.mean).all()
    gi.init_(nn.LayerNorm(3), {"weight": gi.Normal(std=0, mean=1.0)})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({(((((1,),),),),): [[[[[1]]]]]}, "{(((((1,),),),),): [[[[[1]]]]]}"),
        ({((((((1,),),),),),): [[[[[[1]]]]]]}, "{((((((...),),),),),): [[[[[[...]]]]]]}"),
        ({"d": 1, "b": 2, "c": 3, "a": 4}, "{'d': 1, 'b': 2, 'c': 3, 'a': 4}"),
        ({"d": 1, "b": 2, "c": 3, "a": 4, "e": 5}, "{'a': 4, 'b': 2, 'c': 3, 'd': 1, ...}"),
    ],
)
def test_four_items_are_shown_and_six_levels_of_keys_and_values(value: object, text: str) -> None:
    assert short_repr(value) == text
