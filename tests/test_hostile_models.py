"""Names that a terminal would obey, modules that contain themselves, and those nested too deep."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.errors import GoodinitError, SignalError, TraceError

EVIL = "a\x1b[31mred\x07\u202eevil\u2066\x9b"
OBEYED = "\x1b\x07\u202e\u2066\x9b"
X = torch.randn(8, 4, generator=torch.manual_seed(0))


class Evil(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.add_module(EVIL, nn.Linear(4, 4))
        self.add_module(f"norm{EVIL}", nn.BatchNorm1d(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.get_submodule(EVIL)(x)


@pytest.mark.parametrize(
    "make",
    [
        lambda: gi.plan(Evil(), "he", inputs=X),
        lambda: gi.init_(Evil(), {"*norm*.weight": gi.Normal(0.02)}),
        lambda: gi.measure(Evil(), X),
        lambda: gi.explain(Evil(), X),
        lambda: gi.diff(gi.plan(Evil(), "he"), gi.plan(Evil(), "xavier")),
    ],
)
def test_nothing_printed_has_control_or_direction_characters(make) -> None:
    result = make()
    html = result._repr_html_()
    for text in (str(result), repr(result), html, *map(str, getattr(result, "findings", ()))):
        assert not set(OBEYED) & set(text)
    assert "\\x1b[31mred" in html


@pytest.mark.parametrize(
    "call",
    [
        lambda: gi.init_(Evil(), {"*": gi.XavierUniform()}),
        lambda: gi.init_(Evil(), "he", keep=f"{EVIL}.x"),
        lambda: gi.plan(Evil(), "he")[f"{EVIL}.wieght"],
        lambda: gi.load_(Evil(), {f"{EVIL}.weight": torch.ones(3)}, "he"),
    ],
)
def test_no_error_has_them(call) -> None:
    with pytest.raises(GoodinitError) as error:
        call()
    assert not set(OBEYED) & set(str(error.value))


def test_a_module_that_contains_itself() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model.add_module("again", model)
    assert [row.name for row in gi.init_(model, "he", seed=0)] == ["0.weight", "0.bias"]
    assert len(gi.explain(model)) == 2
    gi.load_(model, {"0.weight": torch.ones(4, 4)}, "he")
    with pytest.raises(TraceError, match="RecursionError"):
        gi.plan(model, "he", inputs=X)
    with pytest.raises(SignalError, match="RecursionError"):
        gi.measure(model, X)


def nested(device: str) -> nn.Module:
    with torch.device(device):
        model: nn.Module = nn.Linear(4, 4)
    for _ in range(2000):
        model = nn.Sequential(model)
    return model


def test_modules_nested_2000_deep() -> None:
    model = nested("cpu")
    name = "0." * 2000 + "weight"
    assert gi.init_(model, "he", seed=0)[name].fan_in == 4
    assert len(gi.explain(model)) == 2
    gi.load_(model, {name: torch.ones(4, 4)}, "he")
    gi.init_(nested("meta"), "he", materialize="cpu")
    with pytest.raises(TraceError, match="RecursionError"):  # it can't run by itself either
        gi.plan(model, "he", inputs=X)
    with pytest.raises(SignalError, match="RecursionError"):
        gi.measure(model, X)
    with pytest.raises(SignalError, match="RecursionError"):
        gi.compare(model, X, ["he"], seeds=1)
