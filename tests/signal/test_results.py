"""What every result of measuring can do: rows, lookup, plain data, a text that fits."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit._common import text
from goodinit.errors import UnknownRowError

X = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
RESULTS = ("signal", "comparison", "independence")


def squared(out: Tensor) -> Tensor:
    return out.square().sum()


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    net = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    gi.init_(net, "he", seed=0)
    return {
        "signal": gi.measure(net, X),
        "comparison": gi.compare(net, X, ["he", "xavier"], seeds=2),
        "independence": gi.theory.independence(net, X, squared, redraws=2),
    }


@pytest.mark.parametrize("name", RESULTS)
def test_the_protocol(results: dict[str, Any], name: str) -> None:
    result = results[name]
    assert type(result.rows) is tuple
    assert type(result.findings) is tuple
    assert [*result] == [*result.rows]
    assert len(result) == len(result.rows) > 1
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert "\n" not in repr(result)
    assert "<table>" in result._repr_html_()
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.rows = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.rows[0].name = "other"


@pytest.mark.parametrize(
    ("name", "key", "number"),
    [
        ("signal", "0:linear", 0),
        ("signal", "0", 0),
        ("signal", "2:linear", 2),
        ("comparison", "xavier", 1),
        ("independence", "2:linear", 1),
        ("independence", "2", 1),
    ],
)
def test_rows_by_name(results: dict[str, Any], name: str, key: str, number: int) -> None:
    assert results[name][key] is results[name].rows[number]
    assert key in results[name]


@pytest.mark.parametrize("name", RESULTS)
def test_a_name_that_is_not_there(results: dict[str, Any], name: str) -> None:
    with pytest.raises(UnknownRowError, match="nothing") as raised:
        results[name]["nothing"]
    assert isinstance(raised.value, KeyError)
    assert "nothing" not in results[name]


@pytest.mark.parametrize("name", RESULTS)
def test_a_text_fits_the_terminal(
    results: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "terminal_width", lambda: 80)
    assert max(map(len, str(results[name]).splitlines())) <= 80


def test_the_numbers_of_a_comparison_are_its_signals(results: dict[str, Any]) -> None:
    comparison = results["comparison"]
    row, signals = comparison["he"], comparison.signals["he"]
    last = sorted(signal.layers[-1].forward.second for signal in signals)
    assert (row.seeds, row.lowest, row.highest) == (2, last[0], last[1])
    assert row.second == pytest.approx(sum(last) / 2)
    assert row.findings == {}
    assert comparison.ok is all(
        signal.ok for each in comparison.signals.values() for signal in each
    )


def test_findings_of_a_comparison_name_the_recipe_and_are_there_once() -> None:
    net = nn.Sequential(*(p for _ in range(20) for p in (nn.Linear(32, 32), nn.ReLU())))
    comparison = gi.compare(net, X, {"small": gi.Normal(0.01)}, seeds=2)
    codes = [finding.code for finding in comparison.findings]
    assert "GI102" in codes
    assert len(codes) == len(set(codes))
    assert all(finding.where.startswith("small: ") for finding in comparison.findings)
    assert not comparison.ok


def test_scalars_have_names_that_loggers_take() -> None:
    layer = nn.Linear(4, 4)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.weight = layer, nn.Parameter(torch.eye(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.layer(x)) @ self.weight

    signal = gi.measure(Twice(), torch.randn(8, 4), loss=lambda y: y.square().mean())
    scalars = signal.scalars("init")
    assert all(re.fullmatch(r"[\w./-]+", name) for name in scalars)
    assert all(type(value) is float for value in scalars.values())
    assert scalars["init/loss"] == signal.loss
    assert scalars["init_second_moment/layer.linear.2"] == signal["layer:linear#2"].forward.second
    assert "init_gradient/model.matmul" in scalars
    assert len(scalars) == 4 + 3 * len(signal.layers)
