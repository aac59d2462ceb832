"""Deep networks train after a calibration: Adam on handwritten digits."""

from statistics import mean

import pytest
import torch
from tests.recipes import training
from tests.signal.test_calibrate import Residual
from torch import nn

import goodinit as gi
from goodinit.demos import digits

pytestmark = pytest.mark.accuracy

RATES = (3e-4, 1e-3, 3e-3)
SEEDS, SEED_FOR_RATE = range(5), 5


def drawn(
    seed: int, data: digits.Digits, calibrate: bool, activation: type[nn.Module]
) -> nn.Module:
    model = training.plain(activation, 50)
    gi.init_(model, "torch_default", seed=seed)
    if calibrate:
        assert gi.calibrate_(model, data.x[:256]).ok
    return model


@pytest.mark.parametrize("activation", [nn.GELU, nn.SiLU])
def test_fifty_plain_layers_train_for_every_seed(activation: type[nn.Module]) -> None:
    """Each initialization at the rate with which the training loss of another seed ended lowest."""
    data = digits.Digits.load()
    for calibrate in (False, True):
        losses: dict[float, float] = {}
        for rate in RATES:
            model = drawn(SEED_FOR_RATE, data, calibrate, activation)
            losses[rate] = mean(
                training.train(model, training.batches(data, SEED_FOR_RATE), rate)[-30:]
            )
        rate = min(RATES, key=lambda rate: losses[rate])
        reached: list[float] = []
        for seed in SEEDS:
            model = drawn(seed, data, calibrate, activation)
            training.train(model, training.batches(data, seed), rate)
            reached.append(training.accuracy(model, (data.x_test, data.y_test)))
        print(f"{activation.__name__}, {calibrate=}, {rate=}: {[round(a, 2) for a in reached]}")
        # Chance is .1, with a standard error of .014 on 449 images.
        assert min(reached) > 0.5 if calibrate else max(reached) < 0.15


def test_a_hundred_residual_blocks_without_a_norm_train() -> None:
    """They do so by torch's default, too: its branches are small beside the stream."""
    data = digits.Digits.load()
    for calibrate in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 32), Residual(100))
        model[1].head = nn.Linear(32, 10)
        if calibrate:
            assert gi.calibrate_(model, data.x[:256]).ok
        digits.train(model, data, 60, lambda: None)
        reached = digits.test_accuracy(model, data)
        print(f"residual, {calibrate=}: {reached:.2f}")
        assert reached > 0.8


@pytest.mark.parametrize(
    ("layers", "activation", "settles"),
    [(50, nn.ReLU, True), (50, nn.Tanh, True), (20, nn.GELU, True), (50, nn.GELU, False)],
)
def test_the_backward_criterion_settles_or_says_that_it_did_not(
    layers: int, activation: type[nn.Module], settles: bool
) -> None:
    torch.manual_seed(0)
    model = training.plain(activation, layers)
    gi.init_(model, "torch_default", seed=0)
    found = gi.calibrate_(model, digits.Digits.load().x[:256], criterion="backward")
    off = [row.off for row in found.aimed if row.met is False and row.off is not None]
    worst = max((row.off or 0 for row in found.aimed), default=0)
    print(f"{layers} x {activation.__name__}: {len(off)} of {len(found.aimed)} off, {worst:.3g}")
    assert found.ok is settles
    assert (not found.notes) is settles
