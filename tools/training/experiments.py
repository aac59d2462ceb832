"""The models, the data and the initializations that `make compare-training` compares."""

from __future__ import annotations

import importlib
import importlib.util
import string
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from tests.recipes import training
from tests.recipes.training import Batch, ResNet, batches, plain
from torch import Tensor, nn

import goodinit as gi
from goodinit.demos import models
from goodinit.demos.digits import Digits

CHARACTERS = "".join(sorted(set(string.printable) - set("\t\r\v\f"))) + "\0"  # the last: any other
WIDTH, CONTEXT, TEXTS, TEXT_STEPS = 64, 32, 16, 300
HELD_OUT = 128  # texts on which a language model is judged
CALIBRATED_ON = 256  # images; of texts, as many as make a batch


@dataclass(frozen=True)
class Task:
    """Batches for training, and one that is held out.

    Attributes:
        batches: yields the batches of one training; equal seeds yield equal ones.
        held_out: judges what was trained.
        shown: what the initializations see: inputs of the training data.
    """

    batches: Callable[[int], Iterator[Batch]]
    held_out: Batch
    shown: Tensor


@dataclass(frozen=True)
class Experiment:
    """A model on a task.

    Attributes:
        name: for headings and file names.
        build: makes the model.
        task: loads the data.
        family: the recipe of its family; empty if no family has published one.
        steps: of a training.
    """

    name: str
    build: Callable[[], nn.Module]
    task: Callable[[], Task]
    family: str
    steps: int

    @property
    def slug(self) -> str:
        """The name, as a file's."""
        return self.name.lower().replace(",", "").replace(" ", "-")


@cache
def digits() -> Task:
    """Scikit-learn's 1,797 handwritten digits."""
    data = Digits.load()
    return Task(
        lambda seed: batches(data, seed),
        (data.x_test, data.y_test),
        data.x[:CALIBRATED_ON],
    )


@cache
def text() -> Task:
    """The top-level modules of Python's standard library; each tenth is held out."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    number = {character: i for i, character in enumerate(CHARACTERS)}
    other = len(CHARACTERS) - 1

    def read(chosen: list[Path]) -> Tensor:
        joined = "\n".join(file.read_text(encoding="utf-8") for file in chosen)
        return torch.tensor([number.get(character, other) for character in joined])

    train = read([file for i, file in enumerate(files) if i % 10])
    held_out = read(files[::10])

    def windows(source: Tensor, count: int, draw: torch.Generator) -> Batch:
        starts = torch.randint(len(source) - CONTEXT - 1, (count, 1), generator=draw)
        chosen = source[starts + torch.arange(CONTEXT + 1)]
        return chosen[:, :-1], chosen[:, 1:]

    def all_batches(seed: int) -> Iterator[Batch]:
        draw = torch.Generator().manual_seed(seed)
        for _ in range(TEXT_STEPS):
            yield windows(train, TEXTS, draw)

    fixed = torch.Generator().manual_seed(0)
    return Task(all_batches, windows(held_out, HELD_OUT, fixed), windows(train, TEXTS, fixed)[0])


EXPERIMENTS = (
    Experiment(
        "Plain ReLU, 50 layers", lambda: plain(nn.ReLU, 50, WIDTH), digits, "", training.STEPS
    ),
    Experiment(
        "Plain GELU, 50 layers", lambda: plain(nn.GELU, 50, WIDTH), digits, "", training.STEPS
    ),
    Experiment(
        "Plain tanh, 50 layers",
        lambda: plain(nn.Tanh, 50, WIDTH),
        digits,
        "orthogonal",
        training.STEPS,
    ),
    Experiment(
        "ResNet without norms", lambda: ResNet(branches=4), digits, "resnet", training.STEPS
    ),
    Experiment(
        "ResNet", lambda: ResNet(nn.BatchNorm2d, branches=4), digits, "resnet", training.STEPS
    ),
    Experiment(
        "GPT",
        lambda: models.gpt(layers=2, width=WIDTH, heads=4, vocabulary=len(CHARACTERS)),
        text,
        "gpt2",
        TEXT_STEPS,
    ),
    Experiment(
        "LSTM",
        lambda: models.lstm(layers=2, width=WIDTH, vocabulary=len(CHARACTERS)),
        text,
        "lstm",
        TEXT_STEPS,
    ),
)

Initialize = Callable[[nn.Module, Tensor, int], object]


def by_recipe(recipe: str) -> Initialize:
    """Return what draws a model by a recipe."""
    return lambda net, x, seed: gi.init_(net, recipe, inputs=x[: training.BATCH], seed=seed)


def calibrated(net: nn.Module, x: Tensor, seed: int) -> None:
    """Draw by `standard`, and rescale on data."""
    by_recipe("standard")(net, x, seed)
    gi.calibrate_(net, x)


def by_anyinit(mode: str) -> Initialize:
    """Return what draws a model by AnyInit: from theory, or on data."""
    package = importlib.import_module("anyinit")
    return lambda net, x, seed: package.initialize(net, mode, x, seed=seed)


def initializations(experiment: Experiment) -> dict[str, Initialize]:
    """Return those that an experiment compares, by the names in its table."""
    found = {
        "torch default": by_recipe("torch_default"),
        "Xavier": by_recipe("xavier"),
        "He": by_recipe("he"),
        "standard": by_recipe("standard"),
        "standard, calibrated": calibrated,
    }
    if experiment.family:
        found[f"family: {experiment.family}"] = by_recipe(experiment.family)
    if importlib.util.find_spec("anyinit"):
        found["AnyInit"] = by_anyinit("analytic")
        found["AnyInit on data"] = by_anyinit("empirical")
    return found
