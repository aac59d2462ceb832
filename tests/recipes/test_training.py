"""Does the default train? `standard` beside five simple recipes, on the digits.

The table that this prints stands in docs/default.md.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from goodinit.demos.digits import Digits

from .training import GPT, ResidualMLP, ResNet, RowsLSTM, accuracies, plain

pytestmark = pytest.mark.accuracy

RECIPES = ("standard", "torch_default", "xavier", "lecun", "he", "orthogonal")
SEEDS = list(range(5))
ALLOWED = 0.03  # below the best
CHANCE = 2.0  # standard errors of the difference, from the spread over the seeds

MODELS: dict[str, Callable[[], nn.Module]] = {
    **{
        f"{f.__name__}, {layers} layers": lambda f=f, layers=layers: plain(f, layers)
        for f in (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh)
        for layers in (5, 20, 40)
    },
    "residual MLP, 50 layers": ResidualMLP,
    "ResNet without norms": ResNet,
    "LSTM": RowsLSTM,
    "GPT": GPT,
}


@pytest.fixture(scope="module")
def digits() -> Digits:
    torch.set_num_threads(1)  # layers this small don't get faster with a second one
    return Digits.load()


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def squared_error(values: list[float]) -> float:
    """Of the mean."""
    n, middle = len(values), mean(values)
    return sum((value - middle) ** 2 for value in values) / (n - 1) / n


@pytest.mark.parametrize("name", MODELS)
def test_standard_trains_as_well_as_the_best_simple_recipe(name: str, digits: Digits) -> None:
    found = {recipe: accuracies(MODELS[name], recipe, SEEDS, digits) for recipe in RECIPES}
    print(f"\n| {name} | " + " | ".join(f"{mean(found[r]):.2f}" for r in RECIPES) + " |")
    best = max(RECIPES[1:], key=lambda recipe: mean(found[recipe]))
    ours = found["standard"]
    noise = CHANCE * math.sqrt(squared_error(ours) + squared_error(found[best]))
    assert mean(ours) >= mean(found[best]) - ALLOWED - noise
    if mean(found["torch_default"]) < mean(found[best]) - ALLOWED:  # it fails
        assert mean(ours) > mean(found["torch_default"])
