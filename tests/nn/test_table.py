"""Every function of torch.nn.init x dtype x layout x corner case, torch beside ours.

The same outcome: both raise (ours what torch raises, and a GoodinitError), or both return the
tensor with the same warnings and values of the same law. ``BETTER`` lists, with reasons, where
ours is not the same on purpose; each entry is checked to differ from torch as it says.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import init as theirs

from goodinit.errors import GoodinitError
from goodinit.nn import init as ours

from .laws import FUNCTIONS, NAMES, RANDOM, call, parts

inf, nan = math.inf, math.nan

REAL = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
COMPLEX = [torch.complex64, torch.complex128]
FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2]
WHOLE = [torch.int64, torch.int8, torch.uint8, torch.uint16, torch.bool]


class Outcome(NamedTuple):
    error: Exception | None
    warned: list[tuple[type[Warning], str]]
    same: bool  # what came back is what went in
    bumped: bool
    state: tuple[object, ...]  # what a call must leave alone


def run(function: Callable[[Tensor], object], tensor: Tensor) -> Outcome:
    error, back, before = None, None, None if tensor.is_inference() else tensor._version
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            back = function(tensor)
        except Exception as raised:
            error = raised
    warned = [(w.category, str(w.message)[:40]) for w in caught]
    bumped = before is not None and tensor._version > before
    state = (tensor.shape, tensor.dtype, tensor.stride(), tensor.requires_grad, tensor.is_leaf)
    return Outcome(error, warned, back is tensor, bumped, state)


def same_error(mine: Exception, reference: Exception) -> bool:
    """Ours is torch's kind of error, and goodinit's; or it is torch's own, word for word."""
    if isinstance(mine, GoodinitError):
        return isinstance(mine, type(reference))
    return type(mine) is type(reference) and str(mine) == str(reference)


def explain(mine: Outcome, reference: Outcome, has_memory: bool) -> str:
    """Return how the outcomes differ, or nothing."""
    if mine.error or reference.error:
        if not (mine.error and reference.error):
            return f"ours: {mine.error!r}, torch: {reference.error!r}"
        return "" if same_error(mine.error, reference.error) else f"{mine.error!r}"
    if has_memory and mine.bumped != reference.bumped:
        return "the version counter"
    if mine._replace(bumped=False) != reference._replace(bumped=False):
        return f"ours: {mine}, torch: {reference}"
    return ""


def filled(builder: Callable[[], Tensor]) -> Tensor:
    """Build a tensor with 7 in it, so that what isn't written shows."""
    tensor = builder()
    if tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_inference():
        with torch.no_grad():
            tensor.fill_(1 if tensor.dtype == torch.bool else 7)
    return tensor


def compare(name: str, builder: Callable[[], Tensor]) -> str:
    """Run both; check the values by the law, or against torch's; return how they differ."""
    torch.manual_seed(0)
    a, b = filled(builder), filled(builder)
    before = a.detach().clone() if a.layout == torch.strided else None
    mine = run(lambda t: call(name, ours, t), a)
    reference = run(lambda t: call(name, theirs, t), b)
    has_memory = a.layout == torch.strided and not a.is_meta and a.numel() > 0
    if has_memory and mine.error:
        assert before is not None
        assert torch.equal(a, before), "something was written before the error"
    elif has_memory:
        check_values(name, a)
        if not reference.error:
            check_values(name, b)
            if FUNCTIONS[name].law is None:
                assert torch.equal(a, b)
    return explain(mine, reference, has_memory)


def check_values(name: str, tensor: Tensor) -> None:
    law = FUNCTIONS[name].law
    if law is not None and tensor.numel() >= 100:
        law(tensor)
    elif law is not None:
        assert parts(tensor).isfinite().all()


# Better than torch, on purpose: (function or *, what) -> ("works" | "refused", why).
Better = dict[tuple[str, str], tuple[str, str]]
ALSO_HALF = "torch's QR takes no half dtypes; drawn in float32 and cast"
BETTER: Better = {
    **{
        (name, str(dtype)): ("works", "float8 is drawn in float32 and cast; torch has no kernel")
        for name in RANDOM
        for dtype in FLOAT8
    },
    ("eye_", "torch.uint16"): ("works", "torch.eye has no kernel; fill_ has"),
    **{
        (name, what): ("works", ALSO_HALF)
        for name in ("orthogonal_", "orthogonal_ wide")
        for what in ("torch.bfloat16", "torch.float16")
    },
    **{
        (name, f"{layout} {dtype}"): ("works", "torch's view_as refuses what isn't contiguous")
        for name in ("orthogonal_", "orthogonal_ wide")
        for layout in ("channels_last", "slice of a kernel")
        for dtype in REAL
    },
    **{
        (name, f"{layout} {dtype}"): ("works", ALSO_HALF)
        for name in ("orthogonal_", "orthogonal_ wide")
        for layout in ("transposed", "slice", "kernel")
        for dtype in (torch.bfloat16, torch.float16)
    },
    **{
        (name, what): ("works", "no elements, nothing to do; torch divides by zero")
        for name in ("xavier_uniform_", "xavier_normal_")
        for what in ("4 x 4 x 0", "0 x 0")
    },
    ("dirac_", "4 x 4 x 0"): ("works", "no elements, nothing to do; torch's index fails"),
    ("eye_", "expanded"): ("refused", "torch fills an expanded matrix with ones"),
    ("dirac_", "expanded kernel"): ("refused", "torch writes a sum of identities"),
    **{
        (name, "overlapping windows"): ("refused", "elements share memory: torch overwrites them")
        for name in (*RANDOM, "eye_")
    },
    ("trunc_normal_", "negative view"): ("works", "torch fails inside"),
    **{
        (name, "meta int"): ("refused", "as without meta, where torch refuses too")
        for name in RANDOM
        if name not in ("normal_", "xavier_normal_", "kaiming_normal_")
    },
}


def check_outcome(name: str, what: str, builder: Callable[[], Tensor]) -> None:
    try:
        difference = compare(name, builder)
    except AssertionError as error:
        raise AssertionError(f"{name} of {what}: {error}") from error
    if (name, what) not in BETTER:
        assert not difference, what
        return
    how, _ = BETTER[name, what]
    torch.manual_seed(0)
    mine = run(lambda t: call(name, ours, t), filled(builder))
    assert difference, f"{what}: the same as torch: take it off the list"
    if how == "works":
        assert mine.error is None, what
    else:
        assert isinstance(mine.error, GoodinitError), what


@pytest.mark.parametrize("name", FUNCTIONS)
def test_dtypes(name: str) -> None:
    for dtype in (*REAL, *COMPLEX, *FLOAT8, *WHOLE):
        empty = partial(torch.empty, FUNCTIONS[name].shape, dtype=dtype)
        check_outcome(name, str(dtype), empty)


def transposed(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape[::-1], dtype=dtype).permute(*range(len(shape) - 1, -1, -1))


def sliced(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty([2 * size + 1 for size in shape], dtype=dtype)[
        tuple(slice(1, None, 2) for _ in shape)
    ]


def channels_last(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    kernel = torch.empty(shape, dtype=dtype)
    return kernel.to(memory_format=torch.channels_last) if len(shape) == 4 else kernel


LAYOUTS: dict[str, Callable[[str, torch.dtype], Tensor]] = {
    "transposed": lambda name, dtype: transposed(FUNCTIONS[name].shape, dtype),
    "slice": lambda name, dtype: sliced(FUNCTIONS[name].shape, dtype),
    "kernel": lambda name, dtype: torch.empty(FUNCTIONS[name].kernel, dtype=dtype),
    "channels_last": lambda name, dtype: channels_last(FUNCTIONS[name].kernel, dtype),
    "slice of a kernel": lambda name, dtype: sliced(FUNCTIONS[name].kernel, dtype),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_layouts(name: str) -> None:
    for layout, dtype in itertools.product(LAYOUTS, REAL):
        check_outcome(name, f"{layout} {dtype}", partial(LAYOUTS[layout], name, dtype))


def inference(*shape: int) -> Tensor:
    with torch.inference_mode():
        return torch.zeros(shape)


def leaf(*shape: int) -> Tensor:
    return torch.empty(shape, requires_grad=True)


CORNERS: dict[str, Callable[[], Tensor]] = {
    "scalar": lambda: torch.empty(()),
    "int scalar": lambda: torch.empty((), dtype=torch.int64),
    "vector": lambda: torch.empty(200),
    "empty vector": lambda: torch.empty(0),
    "0 x 4": lambda: torch.empty(0, 4),
    "4 x 0": lambda: torch.empty(4, 0),
    "0 x 4 x 3": lambda: torch.empty(0, 4, 3),
    "4 x 0 x 3": lambda: torch.empty(4, 0, 3),
    "4 x 4 x 0": lambda: torch.empty(4, 4, 0),
    "0 x 0": lambda: torch.empty(0, 0),
    "empty half": lambda: torch.empty(0, 4, dtype=torch.bfloat16),
    "1 x 1": lambda: torch.empty(1, 1),
    "row": lambda: torch.empty(1, 200),
    "column": lambda: torch.empty(200, 1),
    "3-D": lambda: torch.empty(12, 10, 3),
    "5-D": lambda: torch.empty(6, 4, 3, 3, 2),
    "6-D": lambda: torch.empty(4, 4, 2, 2, 2, 2),
    "odd outputs": lambda: torch.empty(7, 3, 3),
    "meta": lambda: torch.empty(4, 4, device="meta"),
    "meta vector": lambda: torch.empty(4, device="meta"),
    "meta kernel": lambda: torch.empty(4, 4, 3, device="meta"),
    "meta empty": lambda: torch.empty(0, 4, device="meta"),
    "meta int": lambda: torch.empty(4, 4, dtype=torch.int64, device="meta"),
    "meta half": lambda: torch.empty(4, 4, dtype=torch.float16, device="meta"),
    "leaf": lambda: leaf(40, 30),
    "leaf kernel": lambda: leaf(12, 10, 3),
    "view of a leaf": lambda: leaf(80, 30)[::2],
    "not a leaf": lambda: leaf(40, 30) * 1,
    "parameter": lambda: nn.Parameter(torch.empty(40, 30)),
    "buffer": lambda: nn.Buffer(torch.empty(40, 30)),
    "expanded": lambda: torch.empty(40, 1).expand(40, 30),
    "expanded kernel": lambda: torch.empty(12, 1, 3).expand(12, 10, 3),
    "expanded, one long": lambda: torch.empty(200, 1).expand(200, 1),
    "expanded, empty": lambda: torch.empty(1, 0).expand(4, 0),
    "overlapping windows": lambda: torch.empty(80).as_strided((40, 30), (1, 1)),
    "inference": lambda: inference(4, 4),
    "inference kernel": lambda: inference(4, 4, 3),
    "conjugate": lambda: torch.empty(40, 30, dtype=torch.complex64).conj(),
    "negative view": lambda: torch.empty(40, 30, dtype=torch.complex64).conj().imag,
    "coordinate layout": lambda: torch.eye(4).to_sparse(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_corners(name: str) -> None:
    for corner, builder in CORNERS.items():
        check_outcome(name, corner, builder)


def test_every_function_is_in_the_table() -> None:
    named = {function.named or name for name, function in FUNCTIONS.items()}
    assert named == {n for n in NAMES if n.endswith("_")}


def test_each_better_outcome_was_met() -> None:
    met = {(name, str(dtype)) for name in FUNCTIONS for dtype in (*REAL, *FLOAT8, *WHOLE)}
    met |= {(n, f"{layout} {d}") for n in FUNCTIONS for layout in LAYOUTS for d in REAL}
    met |= {(name, corner) for name in FUNCTIONS for corner in CORNERS}
    assert BETTER.keys() <= met


def test_the_table_sees_a_wrong_function() -> None:
    def compared(mine: Callable[..., Tensor], **stand_in: Tensor) -> str:
        fake = ModuleType("fake")
        fake.__dict__.update(ours.__dict__ | {"normal_": mine, "zeros_": mine})
        function = FUNCTIONS["normal_"]
        tensor = torch.empty(function.shape)
        outcome = run(lambda t: call("normal_", fake, t), tensor)
        if not outcome.error:
            check_values("normal_", tensor)
        return explain(outcome, run(lambda t: call("normal_", theirs, t), tensor), True)

    def raises(*_: object, **__: object) -> Tensor:
        raise ValueError

    def warns(t: Tensor, *a: float, generator: None) -> Tensor:
        warnings.warn("!", UserWarning, stacklevel=1)
        return ours.normal_(t, *a)

    assert "ValueError" in compared(raises)
    assert "UserWarning" in compared(warns)
    assert compared(lambda t, *a, generator: ours.normal_(t, *a).clone())
    assert not compared(ours.normal_)
    with pytest.raises(AssertionError):
        compared(lambda t, *a, generator: ours.normal_(t, 0.5, 2.5))
