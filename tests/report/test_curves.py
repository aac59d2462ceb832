"""What reports show: which line, which names, which findings, in which words."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import goodinit as gi
from goodinit._common.text import trimmed
from goodinit.demos import models
from goodinit.errors import ReportError
from goodinit.report.curves import (
    QUANTITIES,
    as_comparison,
    at_least_apart,
    curve,
    evenly_chosen,
    line_over_depth,
    short_names,
    shown_rows,
)
from goodinit.report.optional import import_optional
from goodinit.report.placed_findings import placed_findings, verdict
from goodinit.signal import Comparison, Signal

from .made import chain, finding, row


def line_of(model, inputs):
    signal = gi.measure(model, inputs)
    found, rows = line_over_depth(as_comparison(signal)), shown_rows(as_comparison(signal))
    return found, [rows[n].key for n in found.at]


def test_the_line_connects_the_layers():
    net = nn.Sequential(*[part for _ in range(4) for part in (nn.Linear(8, 8), nn.ReLU())])
    line, keys = line_of(net, torch.randn(4, 8))
    assert line.unit == "layer"
    assert keys == ["0:linear", "2:linear", "4:linear", "6:linear"]


def test_in_a_residual_network_it_connects_the_sums():
    gpt = models.gpt(layers=3)
    line, keys = line_of(gpt, gpt.example_input_array)
    assert line.unit == "step of the residual stream"
    assert keys[0] == "embed:embedding"
    assert keys[1:-1] == [":add", *[f"blocks.{n}:add{m}" for n in range(3) for m in ("", "#2")]]
    assert keys[-1] == "head:linear"
    resnet = models.resnet(depth=4)
    _, keys = line_of(resnet, resnet.example_input_array)
    assert keys == ["0:conv2d", *[f"{n}:add" for n in range(1, 5)], "7:linear"]


def test_the_line_connects_an_encoder_and_a_decoder():
    both = nn.Transformer(16, 2, 2, 2, 32, dropout=0.0, batch_first=True)
    x = torch.randn(4, 5, 16)
    _, keys = line_of(both, {"src": x, "tgt": x})
    blocks = [f"encoder.layers.{n}:add{m}" for n in range(2) for m in ("", "#2")]
    blocks += [f"decoder.layers.{n}:add{m}" for n in range(2) for m in ("", "#2", "#3")]
    assert [key for key in keys if ":add" in key] == blocks


def test_sums_that_skip_nothing_are_no_residual_stream():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.x, self.h = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x):
            h = self.x(x)
            for _ in range(6):
                h = torch.tanh(self.x(x) + self.h(h))
            return h

    line, _ = line_of(Recurrent(), torch.randn(4, 8))
    assert line.unit == "layer"


def test_with_few_layers_the_line_connects_all_calls():
    lstm = models.lstm()
    line, keys = line_of(lstm, lstm.example_input_array)
    assert line.unit == "call"
    assert keys == ["embed:embedding", "lstm:lstm", "head:linear"]


def test_seeds_are_matched_by_key_not_by_position():
    short = Signal([row("a"), row("c", second=3.0)])
    long = Signal([row("a"), row("b", second=2.0), row("c", second=5.0)])
    both = Comparison({"r": [short, long]})
    keys = [r.key for r in shown_rows(both)]
    assert keys == ["a:linear", "c:linear", "b:linear"]
    found = curve(both.signals["r"], QUANTITIES["forward"], keys)
    assert found.seeds == [[1.0, 3.0, None], [1.0, 5.0, 2.0]]
    assert found.middle == [1.0, 4.0, 2.0]


def test_a_middle_with_one_value_that_is_not_finite_is_not_finite():
    found = curve([chain(1.0), chain(math.nan), chain(1.0)], QUANTITIES["forward"], ["0:linear"])
    assert math.isnan(found.middle[0])


PART = st.sampled_from(["a", "b", "layers", "0", "1", "attn", "Ä"])
NAMES = st.lists(st.lists(PART, min_size=1, max_size=4).map(".".join), max_size=8)


@given(NAMES)
def test_short_names_are_ends_of_names_and_stay_apart(names):
    short = short_names(names)
    assert len({*short.values()}) == len({*names})
    assert all(f".{name}".endswith(f".{short[name]}") for name in names)


@given(st.text(max_size=40), st.integers(3, 30))
def test_trimmed_names_fit(name, width):
    assert len(trimmed(name, width)) <= width
    assert trimmed(name, 40) == name


@given(st.lists(st.integers(0, 1000), unique=True, max_size=50).map(sorted), st.integers(2, 20))
def test_numbers_thinned_out(numbers, most):
    spread, wide = evenly_chosen(numbers, most), at_least_apart(numbers, most)
    assert len(spread) <= most
    assert all(b - a >= most for a, b in pairwise(wide[:-1]))
    for found in (spread, wide):
        assert {*found} <= {*numbers}
        assert found[:1] == numbers[:1]
        assert found[-1:] == numbers[-1:]


# Findings.


def having(*findings, recipe=""):
    return Signal(chain(1, 2, 3, 4).rows, findings=list(findings), batch=8)


def test_findings_appear_once_with_the_share_of_seeds_the_most_severe_first():
    mild, severe = finding("3:linear"), finding("0:linear", "GI108", "error")
    found = placed_findings(
        Comparison(
            {
                "a": [having(mild), having(mild, severe), having()],
                "b": [having()],
            }
        )
    )
    assert [(m.finding.code, m.count, m.seeds) for m in found] == [("GI108", 1, 3), ("GI102", 2, 3)]
    assert found[0].quantity == "backward"
    assert found[0].whose == "a, 1 of 3 seeds"


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ("2:linear", ("2:linear",)),
        ("3:linear to 1:linear", ("3:linear", "1:linear")),
        ("1.weight, 2.weight and 4 more", ("1:linear",)),
        ("1.weight", ("1:linear",)),
        ("inputs", ()),
        ("loss", ()),
        ("", ()),
    ],
)
def test_places_of_findings(where, keys):
    (placed,) = placed_findings(as_comparison(having(finding(where))))
    assert placed.keys == keys


def test_verdicts():
    sick, info = finding("0:linear"), finding("0:linear", "GI109", "info")
    assert verdict(as_comparison(having())) == (
        "No findings. Over 4 layers, the second moment ranges from 1 to 4, that of the gradient "
        "from 1 to 1."
    )
    assert verdict(as_comparison(having(info))).startswith("No findings.")
    assert verdict(as_comparison(having(sick))) == "The signal vanishes (GI102)."
    assert verdict(as_comparison(having(sick, finding("", "GI104"), info))) == (
        "The signal vanishes (GI102), and 1 more finding."
    )
    assert verdict(as_comparison(Signal([]))) == "No findings: there is no call to measure."
    both = Comparison(
        {
            "a": [having(), having()],
            "b": [having(sick), having()],
            "c": [having(), having()],
        }
    )
    assert (
        verdict(both)
        == "a, c: no findings in 2 seeds. b: the signal vanishes (GI102) in 1 of 2 seeds."
    )
    other = finding("2:linear", "GI108")
    several = Comparison(
        {
            "a": [having(sick, other), having(sick), having(info)],
            "b": [having()] * 3,
        }
    )
    assert verdict(several) == (
        "a: the signal vanishes (GI102) in 2 of 3 seeds; the signal vanishes (GI108) in 1 of 3 "
        "seeds. b: no findings in 3 seeds."
    )
    assert verdict(Comparison({"a": [having()], "b": [having(sick)]})) == (
        "a: no findings. b: the signal vanishes (GI102)."
    )


def test_a_missing_library_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "plotly", None)
    with pytest.raises(
        ReportError, match=r'plotly isn\'t installed: pip install "goodinit\[report\]"'
    ):
        import_optional("plotly")


def test_an_error_inside_of_a_library_is_not_a_missing_one(tmp_path, monkeypatch):
    (tmp_path / "halfway.py").write_text("import no_such_dependency_of_it")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency_of_it"):
        import_optional("halfway")
