"""The first cross-entropy, and what it must be."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import goodinit as gi

TARGETS = torch.arange(1024) % 4


def first_loss(std: float, **options: object) -> tuple[gi.Signal, list[str]]:
    """Measure a head whose logits are N(0, std^2) on 1024 samples of 4 classes."""
    net = nn.Linear(256, 4, bias=False)
    gi.init_(net, {"weight": gi.Normal(std / 16)}, seed=0)
    x = torch.randn(1024, 256, generator=torch.manual_seed(0))
    signal = gi.measure(net, x, lambda y: functional.cross_entropy(y, TARGETS, **options))
    return signal, [f.severity for f in signal.findings if f.code == "GI110"]


@pytest.mark.parametrize(("std", "severity"), [(1.0, []), (3.0, ["info"]), (12.0, ["warning"])])
def test_finding(std: float, severity: list[str]) -> None:
    signal, found = first_loss(std)
    assert found == severity
    assert signal.first_loss is not None
    assert signal.first_loss.value == pytest.approx(signal.loss)
    assert signal.first_loss.by_frequency == pytest.approx(math.log(4))


def test_its_error_is_that_of_the_mean() -> None:
    signal, _ = first_loss(1.0)
    x = torch.randn(1024, 256, generator=torch.manual_seed(0))
    net = nn.Linear(256, 4, bias=False)
    gi.init_(net, {"weight": gi.Normal(1 / 16)}, seed=0)
    each = functional.cross_entropy(net(x), TARGETS, reduction="none")
    assert signal.first_loss is not None
    assert signal.first_loss.error == pytest.approx(each.std().item() / 32, rel=1e-5)


def test_what_a_weighted_or_smoothed_loss_must_be_is_not_said() -> None:
    for options in ({"label_smoothing": 0.1}, {"weight": torch.tensor([1.0, 2.0, 3.0, 4.0])}):
        found = first_loss(1.0, **options)[0].first_loss
        assert found is not None
        assert (found.by_frequency, found.error) == (None, None)


def test_ignored_targets_and_probabilities() -> None:
    net, x = nn.Linear(8, 3, bias=False), torch.ones(4, 8)
    for targets in (torch.tensor([0, 1, -100, -100]), torch.tensor([[0.5, 0.5, 0.0]]).repeat(4, 1)):
        signal = gi.measure(net, x, lambda y, t=targets: functional.cross_entropy(y, t))
        assert signal.first_loss is not None
        assert signal.first_loss.by_frequency == pytest.approx(math.log(2))
    assert gi.measure(net, x, lambda y: y.square().sum()).first_loss is None
