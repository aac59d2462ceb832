"""Signals in a terminal, and in plain text."""

import math
from functools import cache

import pytest
import torch
from torch import nn

pytest.importorskip("plotext")
pytest.importorskip("rich")

from rich.console import Console

import goodinit as gi
from goodinit.demos import models
from goodinit.errors import printable
from goodinit.report.curves import as_comparison
from goodinit.report.terminal import render
from goodinit.report.textplot import text_plot
from goodinit.signal import Comparison, Signal
from goodinit.signal.measure import measured

from .made import chain, finding, row


def shown(comparison, width=80, full=False):
    console = Console(width=width)
    with console.capture() as captured:
        console.print(render(comparison, width, full=full))
    return captured.get()


@cache
def sick():
    net = nn.Sequential(*[part for _ in range(60) for part in (nn.Linear(32, 32), nn.ReLU())])
    x = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))
    gi.init_(net, "xavier", inputs=x, seed=0)
    return measured(net, x)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_a_screen_and_begins_with_the_verdict(width):
    signal = sick()
    text = shown(as_comparison(signal), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < 70  # of 120 calls
    assert "\x1b" not in text
    codes = [f.code for f in signal.findings]
    assert codes
    assert all(code in text for code in codes)
    assert lines[0].startswith("The signal vanishes")
    assert "0:linear to 118:linear" in text
    assert "104 more calls" in text
    assert "●" in text
    assert "x of the gradient" in text


def test_what_only_informs_and_all_calls_are_shown_on_demand():
    rows = [row(f"layers.{n}", takes=(n - 1,)) for n in range(60)]
    notes = [finding("layers.3:linear", "GI109", "info"), finding("layers.7:linear")]
    comparison = as_comparison(Signal(rows, findings=notes, batch=8))
    text, full = shown(comparison), shown(comparison, full=True)
    assert "1 note (GI109): --full, --html and --json show all" in text
    assert "[GI109]" not in text
    assert "[GI109]" in full
    assert all(f"layers.{n} " in full for n in range(60))
    assert "show all" not in full


def test_layers_first_and_last_and_those_with_findings_are_in_the_table():
    rows = [row(f"layers.{n}", takes=(n - 1,)) for n in range(200)]
    text = shown(as_comparison(Signal(rows, findings=[finding("layers.77:linear")], batch=8)))
    table = text.partition("more calls")[0]
    for name in ("layers.0 ", "layers.77 ", "layers.199 "):
        assert name in table
    assert len(table.splitlines()) < 26


def test_recipes_are_compared_in_a_table_and_two_plots():
    both = Comparison({"he": [chain(1, 1, 1)] * 2, "xavier": [chain(1, 0.5, 0.1)] * 2})
    text = shown(both)
    assert "forward: second moment, over 3 layers" in text
    assert "backward: the gradient's second moment" in text
    first, _, *table = text.splitlines()
    assert first == "he, xavier: no findings in 2 seeds."
    assert [line.split()[0] for line in table[:3]] == ["recipe", "he", "xavier"]
    assert "loss" not in text  # none was given, so it has no column


@pytest.mark.parametrize(
    "signal",
    [chain(math.nan, math.nan, math.nan), chain(0.0, 0.0, 0.0), chain(1.0), Signal([]),
     chain(1e-300, 1e300, 1.0, error=1e5), chain(1.0, 1.0, 1.0, backward=None)],
)  # fmt: skip
def test_what_no_axis_can_show(signal):
    assert shown(as_comparison(signal)).startswith("No findings")


def test_names_are_text_and_nothing_else():
    names = ["[red]a[/red]", "\x1b[31mred", "日本" * 30, "a\nb"]
    rows = [row(name, takes=(n - 1,)) for n, name in enumerate(names)]
    found = [finding(rows[1].key)]
    text = shown(as_comparison(Signal(rows, findings=found, notes=["\x1b]0;title"], batch=8)))
    assert "\x1b" not in text
    assert "[red]a[/red]" in text
    assert "\\x1b[31mred" in text
    assert printable("plain") == "plain"


def test_a_plot_without_one_drawable_value_says_so():
    assert text_plot({"a": [0.0, math.nan, None, -1.0]}).plain.startswith("nothing to plot")


def test_equal_values_are_level():
    lines = text_plot({"a": [1.0, 1.1, 0.95, 1.02]}, width=40, height=12).plain.splitlines()
    assert sum("●" in line for line in lines) <= 3


def test_the_axis_is_labeled_with_powers_of_ten():
    lines = text_plot({"a": [1.0, 1e-6]}, width=40, height=12).plain.splitlines()
    labels = [line.partition("┤")[0].strip() for line in lines if "┤" in line]
    assert labels == ["1", "1e-2", "1e-4", "1e-6"]


# str(): the standard library alone.


@pytest.mark.parametrize(
    "build",
    [
        models.gpt,
        pytest.param(models.moe, marks=pytest.mark.battery),  # a gpt with more parts
        models.cnn,
    ],
)
def test_plain_text_fits_a_hundred_columns(build):
    torch.manual_seed(0)
    model = build()
    lines = str(gi.measure(model, model.example_input_array)).splitlines()
    assert max(map(len, lines)) <= 100


def test_plain_text_of_long_names_and_findings():
    rows = [row("a.long.name." * 12 + str(n), takes=(n - 1,)) for n in range(4)]
    signal = Signal(rows, findings=[finding(rows[0].key)], notes=["A note. " * 30], batch=8)
    text = str(signal)
    assert max(map(len, text.splitlines()[:5])) <= 100  # the table
    assert max(len(line) for line in text.splitlines()[5:] if "a.long" not in line) <= 80
    assert "[GI102]" in text


def test_plain_data_is_strict_json():
    import json

    signal = chain(math.nan, math.inf, 1.0, -math.inf)
    for made in (signal, Comparison({"a": [signal]})):
        json.loads(json.dumps(made.to_dict(), allow_nan=False))
