"""The demo, made small."""

import io

import pytest

pytest.importorskip("plotext")
pytest.importorskip("rich")
pytest.importorskip("sklearn")

import torch
from rich.console import Console
from torch import nn

from goodinit.demos import digits


def test_demo_prints_plain_text_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    digits.run(Console(file=out, width=80), depth=4, width=16, steps=3)
    text = out.getvalue()
    assert "\x1b" not in text
    for recipe in digits.RECIPES:
        assert recipe in text
    plot = text[text.index("┌") : text.index("┘")]
    assert max(map(len, plot.splitlines())) <= 80
    for marker, _ in digits.STYLES.values():
        assert marker in plot
    assert "after 3 steps" in " ".join(text.split())


def test_second_moments_of_known_layers() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    for layer in (net[0], net[2]):
        assert isinstance(layer, nn.Linear)
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    moments, shares = digits.second_moments(net, x)
    assert moments == (12.5, 12.5)  # (9 + 16 + 0 + 25) / 4, twice: nothing is negative
    assert shares == (0.1, 0.1)  # variances 2.25 and 0.25: 1.25 of 12.5


def test_training_sees_the_same_batches() -> None:
    data = digits.Digits.load()
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        net = digits.network(3, 16)
        digits.train(net, data, 5, lambda: None)
        losses.append(digits.loss_of(net, data))
    assert losses[0] == losses[1]
