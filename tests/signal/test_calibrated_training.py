"""Deep networks train after a calibration; 300 steps of Adam on handwritten digits."""

import pytest
import torch
from tests.signal.test_calibrate import Residual
from torch import nn

import goodinit as gi
from goodinit.demos import digits

pytestmark = pytest.mark.accuracy

WIDTH = 128


def plain(layers: int = 50, activation: type[nn.Module] = nn.GELU) -> nn.Module:
    hidden = [m for _ in range(layers - 2) for m in (nn.Linear(WIDTH, WIDTH), activation())]
    return nn.Sequential(nn.Linear(64, WIDTH), activation(), *hidden, nn.Linear(WIDTH, 10))


def trained(model: nn.Module, data: digits.Digits, steps: int) -> float:
    digits.train(model, data, steps, lambda: None)
    return digits.test_accuracy(model, data)


def test_fifty_plain_layers_with_gelu_train_for_some_seeds() -> None:
    """Rounding decides for which: 3 of 5 seeds where this was measured, 0 by torch's default."""
    data = digits.Digits.load()
    accuracies: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(5):
        for calibrate, reached in accuracies.items():
            model = plain()
            gi.init_(model, "torch_default", seed=seed)
            if calibrate:
                assert gi.calibrate_(model, data.x[:256]).ok
            reached.append(trained(model, data, 300))
    print(accuracies)
    # Chance is .1, with a standard error of .014 on 449 images.
    assert max(accuracies[False]) < 0.15
    assert max(accuracies[True]) > 0.5


def test_a_hundred_residual_blocks_without_a_norm_train() -> None:
    """They do so by torch's default, too: its branches are small beside the stream."""
    data = digits.Digits.load()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), Residual(100))
    model[1].head = nn.Linear(32, 10)
    assert gi.calibrate_(model, data.x[:256]).ok
    assert trained(model, data, 60) > 0.8


@pytest.mark.parametrize(
    ("layers", "activation", "settles"),
    [(50, nn.ReLU, True), (50, nn.Tanh, True), (20, nn.GELU, True), (50, nn.GELU, False)],
)
def test_the_backward_criterion_settles_or_says_that_it_did_not(
    layers: int, activation: type[nn.Module], settles: bool
) -> None:
    torch.manual_seed(0)
    model = plain(layers, activation)
    gi.init_(model, "torch_default", seed=0)
    found = gi.calibrate_(model, digits.Digits.load().x[:256], criterion="backward")
    off = [row.off for row in found.aimed if row.met is False and row.off is not None]
    worst = max((row.off or 0 for row in found.aimed), default=0)
    print(f"{layers} x {activation.__name__}: {len(off)} of {len(found.aimed)} off, {worst:.3g}")
    assert found.ok is settles
    assert (not found.notes) is settles
