"""Every argument at its edges, torch beside ours: the same outcome, or better for a reason."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import init as theirs

from goodinit.errors import GoodinitError
from goodinit.nn import init as ours

from .laws import NAMES
from .test_table import explain, run

inf, nan = math.inf, math.nan
Call = Callable[[ModuleType, Tensor], Tensor]


def of(function: str, *args: object, **named: object) -> Call:
    return lambda m, t: getattr(m, function)(t, *args, **named)


U, N, T = partial(of, "uniform_"), partial(of, "normal_"), partial(of, "trunc_normal_")
C, XU, XN = partial(of, "constant_"), partial(of, "xavier_uniform_"), partial(of, "xavier_normal_")
KU, KN = partial(of, "kaiming_uniform_"), partial(of, "kaiming_normal_")
O, S, D = partial(of, "orthogonal_"), partial(of, "sparse_"), partial(of, "dirac_")

matrix, kernel = partial(torch.empty, 6, 4), partial(torch.empty, 6, 4, 3)
SILENT = "torch writes NaN or infinity and says nothing"
SENSELESS = "torch takes a number that means nothing"
EARLY = "refused before anything is drawn, also on meta and without elements"

# (what, call, tensor, how it differs from torch and why; None: it doesn't)
Case = tuple[str, Call, Callable[[], Tensor], tuple[str, str] | None]
CASES: list[Case] = [
    ("a above b", U(1, 0), matrix, None),
    ("a equals b", U(1, 1), matrix, None),
    ("b infinite", U(0, inf), matrix, None),
    ("a infinite", U(-inf, 0), matrix, None),
    ("a NaN", U(nan, 1), matrix, None),
    ("b NaN", U(0, nan), matrix, None),
    ("too wide", U(-3e38, 3e38), matrix, None),
    ("beyond float32", U(0, 1e39), matrix, None),
    ("beyond float16", U(0, 1e5), partial(matrix, dtype=torch.float16), None),
    ("huge in float64", U(-1e300, 1e300), partial(matrix, dtype=torch.float64), None),
    ("tiny", U(0, 1e-30), matrix, None),
    ("narrow", U(1, 1 + 1e-9), matrix, None),
    ("bool for a number", U(False, 2), matrix, None),
    ("tensors for numbers", U(torch.tensor(0.0), torch.tensor(1.0)), matrix, None),
    ("numpy numbers", U(np.float32(0), np.float64(1)), matrix, None),
    ("text for a number", U("0", 1), matrix, None),
    ("None for a number", U(None, 1), matrix, None),
    ("complex for a number", U(1j, 2), matrix, None),
    ("two numbers for one", U(torch.zeros(2), 1), matrix, None),
    ("a huge integer", U(0, 10**400), matrix, ("ValueError", "torch: OverflowError")),
    ("a above b, empty", U(1, 0), partial(torch.empty, 0), None),
    ("a above b, meta", U(1, 0), partial(matrix, device="meta"), ("refused", EARLY)),
    ("std negative", N(0, -1), matrix, None),
    ("std 0", N(2, 0), matrix, None),
    ("std -0.", N(2, -0.0), matrix, None),
    ("std 0, complex", N(2, 0), partial(matrix, dtype=torch.complex64), None),
    ("a equals b, complex", U(2, 2), partial(matrix, dtype=torch.complex64), None),
    ("std NaN", N(0, nan), matrix, None),
    ("mean NaN", N(nan, 1), matrix, ("refused", SILENT)),
    ("std infinite", N(0, inf), matrix, ("refused", SILENT)),
    ("mean infinite", N(inf, 1), matrix, ("refused", SILENT)),
    ("std beyond float32", N(0, 1e39), matrix, ("refused", SILENT)),
    ("std beyond float16", N(0, 1e5), partial(matrix, dtype=torch.float16), ("refused", SILENT)),
    ("std huge in float64", N(0, 1e300), partial(matrix, dtype=torch.float64), None),
    ("std tiny", N(0, 1e-30), matrix, None),
    ("std True", N(0, True), matrix, None),
    ("std a tensor", N(0, torch.tensor(2.0)), matrix, None),
    ("std text", N(0, "1"), matrix, None),
    ("std None", N(0, None), matrix, None),
    ("std negative, empty", N(0, -1), partial(torch.empty, 0), None),
    ("std negative, meta", N(0, -1), partial(matrix, device="meta"), None),
    ("a above b", T(0, 1, 2, 1), matrix, None),
    ("a equals b", T(0, 1, 1, 1), matrix, None),
    ("std 0 inside", T(0, 0), matrix, ("works", "the mean, as of normal_; torch divides by 0")),
    ("cut, std negative", T(0, -1), matrix, ("refused", SENSELESS)),
    ("cut, std NaN", T(0, nan), matrix, ("refused", "torch draws a uniform law")),
    ("std infinite", T(0, inf), matrix, ("refused", "torch draws a uniform law")),
    ("cut, mean NaN", T(nan, 1), matrix, ("refused", "torch draws a uniform law")),
    ("a NaN", T(0, 1, nan, 2), matrix, None),
    ("b NaN", T(0, 1, -2, nan), matrix, None),
    ("no bounds", T(0, 1, -inf, inf), matrix, None),
    ("one bound", T(0, 1, -inf, 1), matrix, None),
    ("cut, one bound, tail", T(0, 1, 1, inf), matrix, ("works", "torch asks for U(1, inf)")),
    ("tail", T(0, 1, 3, 4), matrix, None),
    ("cut, far tail", T(0, 1, 30, 31), matrix, None),
    ("tail below", T(5, 1, -2, 2), matrix, None),
    ("a sliver", T(0, 1, 0, 1e-9), matrix, None),
    ("bounds at 100 sigma", T(0, 0.02), matrix, None),
    ("bounds at 1e30 sigma", T(0, 1e-30), matrix, None),
    ("text", T(0, 1, "a", 2), matrix, None),
    ("cut, std -1, empty", T(0, -1), partial(torch.empty, 0), ("refused", EARLY)),
    ("a above b, empty", T(0, 1, 2, 1), partial(torch.empty, 0), None),
    ("std -1, meta", T(0, -1), partial(matrix, device="meta"), ("refused", EARLY)),
    ("cut, tail, meta", T(0, 1, 3, 4), partial(matrix, device="meta"), None),
    *(
        (f"{what} in {dtype}", C(value), partial(matrix, dtype=dtype), None)
        for what, value in {
            "NaN": nan,
            "infinity": inf,
            "-1": -1,
            "complex": 1 + 2j,
            "True": True,
            "text": "a",
            "None": None,
            "a tensor": torch.tensor(3.0),
            "a vector": torch.tensor([3.0]),
            "1e39": 1e39,
            "a huge integer": 10**30,
        }.items()
        for dtype in (torch.float32, torch.float16, torch.int64, torch.complex64)
    ),
    *(
        (f"gain {what}", function(value), matrix, better)
        for what, value, better_normal, better_matrix in [
            ("0", 0, None, None),
            ("-1", -1, None, None),
            ("NaN", nan, None, ("refused", SILENT)),
            ("infinite", inf, ("refused", SILENT), ("refused", SILENT)),
            ("text", "1", None, None),
            ("None", None, None, None),
            ("a tensor", torch.tensor(2.0), None, None),
        ]
        for function, better in [(XU, None), (XN, better_normal), (O, better_matrix)]
    ),
    ("gain beyond float16", O(1e6), partial(kernel, dtype=torch.float16), ("refused", SILENT)),
    *(
        (f"{named}", function(**named), matrix, better)
        for named, better in [
            ({"a": nan}, None),
            ({"a": inf}, None),
            ({"a": -1}, None),
            ({"a": "x"}, None),
            ({"a": None}, None),
            ({"a": True}, None),
            ({"a": 1e200}, None),
            ({"mode": "fan_avg"}, None),
            ({"mode": "FAN_OUT"}, None),
            ({"mode": 3}, None),
            ({"nonlinearity": "relu", "a": 3}, None),
            ({"nonlinearity": "tanh"}, None),
            ({"nonlinearity": "ReLU"}, None),
            ({"nonlinearity": None}, None),
            ({"nonlinearity": "gelu"}, ("works", "torch has no gain for it")),
            ({"nonlinearity": torch.sin}, ("works", "torch has no gain for it")),
            ({"mode": "fan_avg", "nonlinearity": "gelu"}, None),
        ]
        for function in (KU, KN)
    ),
    ("anything goes without elements", KU(mode="x"), partial(torch.empty, 0, 3), None),
    ("anything goes without elements", KN(nonlinearity="x"), partial(torch.empty, 0, 3), None),
    ("sparsity 0", S(0), matrix, None),
    ("sparsity 1", S(1), matrix, None),
    ("sparsity .01", S(0.01), matrix, None),
    ("sparsity negative", S(-0.1), matrix, ("refused", SENSELESS)),
    ("sparsity above 1", S(1.5), matrix, ("refused", SENSELESS)),
    ("sparsity NaN", S(nan), matrix, None),
    ("sparsity infinite", S(inf), matrix, ("ValueError", "torch: OverflowError from inside")),
    ("sparsity text", S("a"), matrix, None),
    ("sparsity None", S(None), matrix, None),
    ("std negative", S(0.5, -1), matrix, None),
    ("std 0", S(0.5, 0), matrix, None),
    ("std NaN", S(0.5, nan), matrix, None),
    ("std infinite", S(0.5, inf), matrix, ("refused", SILENT)),
    ("groups 2", D(2), kernel, None),
    ("groups 6", D(6), kernel, None),
    ("groups True", D(True), kernel, None),
    ("groups 4 of 6", D(4), kernel, None),
    ("groups 12 of 6", D(12), kernel, None),
    ("groups 0", D(0), kernel, ("ValueError", "torch: ZeroDivisionError")),
    ("groups -1", D(-1), kernel, ("refused", "torch writes zeros only")),
    ("groups 1.0", D(1.0), kernel, None),
    ("groups text", D("a"), kernel, None),
    ("groups None", D(None), kernel, None),
    ("groups 4 of 6, meta", D(4), partial(kernel, device="meta"), None),
    ("groups 3 of none", D(3), partial(torch.empty, 0, 4, 3), None),
    *(
        (f"{function} with generator={generator!r}", of(function, *args, generator=generator),
         matrix, None)
        for function, args in [
            ("uniform_", ()),
            ("normal_", ()),
            ("trunc_normal_", ()),
            ("xavier_uniform_", ()),
            ("xavier_normal_", ()),
            ("kaiming_uniform_", ()),
            ("kaiming_normal_", ()),
            ("orthogonal_", ()),
            ("sparse_", (0.5,)),
        ]
        for generator in ("a", 0)
    ),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda i: f"{i}-{CASES[i][0]}"[:40])
def test_arguments(number: int) -> None:
    _, call, builder, better = CASES[number]
    torch.manual_seed(0)
    a, b = builder(), builder()
    if not a.is_meta:
        a.fill_(7)
    mine, reference = run(lambda t: call(ours, t), a), run(lambda t: call(theirs, t), b)
    memory = not a.is_meta and a.numel() > 0
    if memory and mine.error:
        assert (a == 7).all(), "something was written before the error"
    elif memory and not reference.error:
        # What is the same everywhere is the same value in both; the rest has the same range.
        if (b == b.flatten()[0]).all() or b.isnan().all():
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
        elif a.dtype.is_floating_point and "sliver" not in CASES[number][0]:
            assert a.abs().max() <= 8 * b.abs().max()
    difference = explain(mine, reference, memory)
    if better is None:
        assert not difference
        return
    assert difference, "the same as torch: take it off the list"
    assert (mine.error is None) == (better[0] == "works")
    if better[0] != "works":
        assert isinstance(mine.error, GoodinitError)
        assert isinstance(mine.error, ValueError)


@pytest.mark.parametrize("what", [[1.0, 2.0], None, "w", np.zeros((3, 3))], ids=str)
@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_")])
def test_what_is_no_tensor(name: str, what: object) -> None:
    more = {"constant_": (1.0,), "sparse_": (0.5,)}.get(name, ())
    with pytest.raises((AttributeError, TypeError)) as reference:
        getattr(theirs, name)(what, *more)
    with pytest.raises(GoodinitError, match=r"pass a torch.Tensor") as mine:
        getattr(ours, name)(what, *more)
    assert isinstance(mine.value, type(reference.value))


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_")])
def test_a_lazy_parameter_says_what_to_do(name: str) -> None:
    lazy = torch.nn.parameter.UninitializedParameter()
    more = {"constant_": (1.0,), "sparse_": (0.5,)}.get(name, ())
    with pytest.raises(GoodinitError, match="lazy module: run the module") as mine:
        getattr(ours, name)(lazy, *more)
    assert isinstance(mine.value, ValueError)


def test_messages_begin_with_torch_s_words() -> None:
    for bad, tensor in [
        (of("eye_"), torch.empty(3)),
        (of("dirac_"), torch.empty(3)),
        (of("dirac_", 4), torch.empty(6, 4, 3)),
        (of("orthogonal_"), torch.empty(3)),
        (of("sparse_", 0.5), torch.empty(3)),
        (of("xavier_uniform_"), torch.empty(3)),
        (of("kaiming_normal_"), torch.empty(3)),
        (of("kaiming_normal_", mode="fan_avg"), torch.empty(3, 3)),
        (of("kaiming_normal_", nonlinearity="x"), torch.empty(3, 3)),
        (of("kaiming_normal_", a="x"), torch.empty(3, 3)),
    ]:
        reference, mine = (run(partial(bad, m), tensor).error for m in (theirs, ours))
        assert str(mine).startswith(str(reference))
        assert len(str(mine)) > len(str(reference))


def test_the_warning_points_at_the_caller() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours.kaiming_uniform_(torch.empty(0, 3))
        ours.kaiming_normal_(torch.empty(0, 3))
        ours.trunc_normal_(torch.empty(3), 9.0)
        ours.xavier_uniform(torch.empty(3, 3))
    assert {w.filename for w in caught} == {__file__}
    assert [w.category for w in caught] == [*[UserWarning] * 3, FutureWarning]
