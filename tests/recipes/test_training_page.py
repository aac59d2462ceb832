"""docs/training.md says what was measured; each of its trainings can begin."""

import itertools
import math

import pytest
import torch
from tools.training import page
from tools.training.experiments import EXPERIMENTS, Experiment, initializations

from .training import train


def test_the_page_has_the_numbers_that_were_measured() -> None:
    assert page.generated() in (page.ROOT / "docs" / "training.md").read_text()


def run(accuracy: float) -> dict[str, object]:
    return {"curve": [1.0] * 60, "held_out": 1.0, "accuracy": accuracy}


def test_only_what_chance_explains_counts_as_good() -> None:
    rows = [
        {"initialization": name, "rate": 1e-3, "runs": [run(middle + d) for d in (-0.1, 0, 0.1)]}
        for name, middle in (("best", 0.8), ("close", 0.65), ("far", 0.6))
    ]
    # Each mean has a standard error of .1/sqrt(3), a difference of two .082, twice that .163.
    assert page.as_good_as_the_best(rows) == ["best", "close"]


def test_a_loss_that_is_not_a_number_diverged() -> None:
    row = {"initialization": "a", "rate": 1.0, "runs": [run(0.1), run(0.1) | {"curve": [None] * 9}]}
    assert "| a | 1 | diverged | **0.100 ± 0.000** |" in page.table([row])


@pytest.mark.accuracy
@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda e: e.slug)
def test_each_training_begins(experiment: Experiment) -> None:
    task = experiment.task()
    for name, initialize in initializations(experiment).items():
        torch.manual_seed(0)
        net = experiment.build()
        initialize(net, task.shown, 0)
        losses = train(net, itertools.islice(task.batches(0), 2))
        assert all(map(math.isfinite, losses)), name
    assert experiment.steps == sum(1 for _ in task.batches(0))
