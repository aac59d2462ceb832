"""The demo, made small."""

import io
from pathlib import Path

import pytest

pytest.importorskip("plotext")
pytest.importorskip("plotly")
pytest.importorskip("rich")
pytest.importorskip("sklearn")

import torch
from rich.console import Console

from goodinit.demos import digits


def test_demo_prints_plain_text_where_there_is_no_terminal(tmp_path: Path) -> None:
    out, page = io.StringIO(), tmp_path / "demo.html"
    digits.run(Console(file=out, width=80), depth=4, width=16, steps=3, page=page)
    text = out.getvalue()
    assert "\x1b" not in text
    assert [line.split()[0] for line in text.splitlines()[5:8]] == [*digits.RECIPES]
    plot = text[text.index("┌") : text.index("┘")]
    for marker in "●x+":
        assert marker in plot
    assert max(map(len, text.replace(str(page), "").splitlines())) <= 80
    assert str(page) in text
    assert "<title>demo: signal</title>" in page.read_text()
    assert "After 3 steps" in " ".join(text.split())


def test_the_nets_that_are_trained_are_those_that_are_compared() -> None:
    data = digits.Digits.load()
    comparison = digits.compare_recipes(data, 4, 16)
    for recipe, signals in comparison.signals.items():
        for seed, signal in enumerate(signals):
            net = digits.drawn_network(recipe, seed, data, 4, 16)
            assert signal.loss == pytest.approx(digits.train_loss(net, data), rel=1e-6)


def test_training_sees_the_same_batches() -> None:
    data = digits.Digits.load()
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        net = digits.network(3, 16)
        digits.train(net, data, 5, lambda: None)
        losses.append(digits.train_loss(net, data))
    assert losses[0] == losses[1]
