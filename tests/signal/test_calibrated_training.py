"""Deep networks train after a calibration; 300 steps of Adam on handwritten digits."""

import pytest
import torch
from tests.signal.test_calibrate import Residual
from torch import nn

import goodinit as gi
from goodinit.demos import digits

pytestmark = pytest.mark.accuracy

WIDTH = 128


def plain() -> nn.Module:
    hidden = [m for _ in range(48) for m in (nn.Linear(WIDTH, WIDTH), nn.GELU())]
    return nn.Sequential(nn.Linear(64, WIDTH), nn.GELU(), *hidden, nn.Linear(WIDTH, 10))


def trained(model: nn.Module, data: digits.Digits, steps: int) -> float:
    digits.train(model, data, steps, lambda: None)
    return digits.test_accuracy(model, data)


def test_fifty_plain_layers_with_gelu_train() -> None:
    data, accuracies = digits.Digits.load(), list[float]()
    for calibrate in (False, True):
        torch.manual_seed(0)
        model = plain()
        gi.init_(model, "torch_default", seed=0)
        if calibrate:
            assert gi.calibrate_(model, data.x[:256]).ok
        accuracies.append(trained(model, data, 300))
    # Chance is .1, with a standard error of .014 on 449 images.
    assert accuracies[0] < 0.15
    assert accuracies[1] > 0.6


def test_a_hundred_residual_blocks_without_a_norm_train() -> None:
    """They do so by torch's default, too: its branches are small beside the stream."""
    data = digits.Digits.load()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), Residual(100))
    model[1].head = nn.Linear(32, 10)
    assert gi.calibrate_(model, data.x[:256]).ok
    assert trained(model, data, 60) > 0.8
