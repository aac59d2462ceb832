"""muP against the package of its authors: the same laws, rates and losses, step by step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.mup.networks import NUMBERS, TOKENS, Gpt, Mlp
from torch import Tensor, nn

import goodinit as gi

pytestmark = pytest.mark.battery
mup = pytest.importorskip("mup", reason="the package mup isn't installed: make battery does")

WIDE, BASE, TIMES = 256, 64, 4


class TheirMlp(Mlp):
    """With the package's output layer."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.leave = mup.MuReadout(width, 4)


class TheirGpt(Gpt):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.head = mup.MuReadout(width, self.head.out_features, bias=False)


MODELS = [(Mlp, TheirMlp, NUMBERS, "leave"), (Gpt, TheirGpt, TOKENS, "head")]


def theirs_of(make: Callable[[int], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    model = make(WIDE)
    mup.set_base_shapes(model, make(BASE), delta=make(2 * BASE))
    return model


@pytest.mark.parametrize(("make", "their", "inputs", "last"), MODELS)
def test_laws(make, their, inputs: Tensor, last: str) -> None:
    theirs = dict(theirs_of(their).named_parameters())
    recipe = gi.recipe("mup", base=lambda: make(BASE), law="torch_default")
    for row in gi.plan(make(WIDE), recipe, inputs=inputs):
        value = theirs[row.name].detach().double()
        if row.name == f"{last}.weight":
            value = value / TIMES  # their multiplier
        if row.std:
            error = 5 / (2 * value.numel()) ** 0.5
            assert value.square().mean().sqrt().item() == pytest.approx(row.std, rel=error), row


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize(("make", "their", "inputs", "last"), MODELS)
def test_training(make, their, inputs: Tensor, last: str, optimizer: str) -> None:
    ours, theirs = make(WIDE), theirs_of(their)
    recipe = gi.recipe("mup", base=lambda: make(BASE))
    plan = gi.init_(ours, recipe, inputs=inputs, seed=0)
    values = ours.state_dict()
    theirs.load_state_dict(values | {f"{last}.weight": values[f"{last}.weight"] * TIMES})
    hyper = {"lr": 1e-2, "weight_decay": 0.1}
    small = {"eps": 1e-30} if optimizer == "adamw" else {}  # the package doesn't scale it
    groups = gi.mup.param_groups(ours, plan, optimizer=optimizer, **hyper, **small)
    stepper = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer](groups, **hyper)
    their_stepper = {"adamw": mup.MuAdamW, "sgd": mup.MuSGD}[optimizer](
        theirs.parameters(), **hyper, **small
    )
    for model, step in ((ours, stepper), (theirs, their_stepper)):
        model.double()
        model.losses = []
        x = inputs.double() if inputs.is_floating_point() else inputs
        for _ in range(5):
            loss = model(x).square().mean() + model(x).mean()
            model.losses.append(loss.item())
            step.zero_grad()
            loss.backward()
            step.step()
    assert ours.losses == pytest.approx(theirs.losses, rel=1e-5)
    assert ours.losses[-1] < ours.losses[0]
