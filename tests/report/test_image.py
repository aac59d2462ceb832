"""Images for papers."""

import math
import re

import pytest
import torch
from torch import nn

pytest.importorskip("matplotlib")

import matplotlib as mpl
from matplotlib import image as files

import goodinit as gi
from goodinit.errors import ReportError
from goodinit.signal import Comparison, Signal

from .made import chain

SIGNS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("ending", SIGNS)
def test_the_ending_says_what_it_is(tmp_path, ending):
    path = tmp_path / f"signal{ending.upper() if ending == '.png' else ending}"
    chain(1.0, 0.1, 0.01).to_image(path)
    assert path.read_bytes().startswith(SIGNS[ending])
    before = path.read_bytes()
    chain(1.0, 0.1, 0.01).to_image(path)
    assert path.read_bytes() == before  # no date inside


def test_a_plot_for_each_direction(tmp_path):
    for name, backward, plots in (("both", 1.0, 2), ("one", None, 1)):
        chain(1.0, 2.0, 3.0, backward=backward).to_image(tmp_path / f"{name}.svg")
        text = (tmp_path / f"{name}.svg").read_text()
        assert len(re.findall(r'<g id="axes_\d+">', text)) == plots
    assert files.imread(_png(tmp_path, chain(1, 2, 3))).shape[:2] == (560, 1400)


def test_the_values_are_where_the_axis_says(tmp_path):
    # The line of a constant 1 among whole decades from 0.1 is level.
    both = Comparison({"he": [chain(1, 1, 1)] * 2, "xavier": [chain(1, 0.1, 0.01)] * 2})
    both.to_image(tmp_path / "both.svg")
    text = (tmp_path / "both.svg").read_text()
    lines = [
        [float(y) for y in re.findall(r"[ML] \S+ (\S+)", path)]
        for path in re.findall(
            r'<path d="([^"]+)" clip-path[^>]+stroke: #0072b2; stroke-width: 1.6', text
        )
    ]
    assert lines
    assert all(len({*line}) == 1 for line in lines)


@pytest.mark.parametrize(
    "signal",
    [chain(math.nan, math.nan, math.nan), chain(0.0, 0.0, 0.0), chain(1.0), Signal([]),
     chain(1e-300, 1e300, 1.0, error=1e5), chain(1.0, math.inf, 1.0)],
)  # fmt: skip
def test_what_no_axis_can_show(tmp_path, signal):
    _png(tmp_path, signal)


def test_names_of_recipes_are_plain_text(tmp_path):
    names = ["$x^{", "日本", "a_b", "<&>"]
    Comparison({name: [chain(1, 1, 1)] for name in names}).to_image(tmp_path / "p.svg")


def test_the_reader_s_own_style_is_left_alone(tmp_path):
    with mpl.rc_context({"text.usetex": True, "lines.linewidth": 9.0}):
        _png(tmp_path, chain(1, 1, 1))
        assert mpl.rcParams["text.usetex"]
        assert mpl.rcParams["lines.linewidth"] == 9.0


@pytest.mark.parametrize("name", ["p.jpg", "p", "p.html", ".png"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(ReportError, match=r"an image ends in \.png, \.svg, \.pdf"):
        chain(1.0).to_image(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", ["to_html", "to_image"])
def test_a_place_that_cant_be_written(tmp_path, write):
    for made in (chain(1.0), Comparison({"a": [chain(1.0)]})):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            getattr(made, write)(tmp_path / "nowhere" / "p.svg")


def test_an_old_file_stays_where_drawing_fails(tmp_path, monkeypatch):
    path = tmp_path / "p.png"
    path.write_text("old")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="No space left"):
        chain(1.0).to_image(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_measured_signal(tmp_path):
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    signal = gi.measure(net, torch.randn(4, 8))
    _png(tmp_path, signal)


def _png(folder, signal):
    path = folder / "p.png"
    signal.to_image(path)
    return path
