"""Three initializations of a thirty-layer network on handwritten digits.

He et al. (2015), section 2.2: with Var(w) = 2 / fan_in, a deep ReLU network keeps the second
moment of its signal. With Xavier's 1 / fan_in each layer halves it, so after thirty layers 2^-30
is left. PyTorch's default, 1 / (3 fan_in), loses a factor of six per layer; the last layers only
see the random biases, which are the same for every image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sklearn.datasets import load_digits  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import goodinit as gi
from goodinit.report import terminal

RECIPES = ("he", "xavier", "torch_default")
DEPTH, WIDTH, STEPS, BATCH, RATE, SEED, SEEDS = 30, 128, 300, 128, 1e-3, 0, 3
PAGE = Path("goodinit-demo.html")


@dataclass(frozen=True, slots=True)
class Digits:
    """1,797 images of 8 x 8 pixels, standardized; a quarter is held out."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor

    @classmethod
    def load(cls) -> Digits:
        """Load scikit-learn's copy; split it with a fixed seed."""
        # scikit-learn has no types for what is loaded.
        images, labels = cast("tuple[Any, Any]", load_digits(return_X_y=True))
        x = torch.as_tensor(images, dtype=torch.float32)
        y = torch.as_tensor(labels, dtype=torch.int64)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(SEED))
        test, train = order[: len(x) // 4], order[len(x) // 4 :]
        x = (x - x[train].mean()) / x[train].std()
        return cls(x[train], y[train], x[test], y[test])


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of training networks that one recipe drew: means over them.

    Attributes:
        recipe: its name.
        before: the training loss before the first step.
        after: the training loss after the last step.
        accuracies: of each network, the accuracy on held-out images.
    """

    recipe: str
    before: float
    after: float
    accuracies: tuple[float, ...]

    @property
    def accuracy(self) -> float:
        """The mean accuracy on held-out images."""
        return fmean(self.accuracies)


def network(depth: int = DEPTH, width: int = WIDTH) -> nn.Sequential:
    """Return `depth` linear layers with ReLUs between them, from 64 pixels to 10 digits."""
    sizes = [64, *[width] * (depth - 1), 10]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def drawn_network(
    recipe: str, seed: int, data: Digits, depth: int = DEPTH, width: int = WIDTH
) -> nn.Sequential:
    """Return a network that a recipe drew, as ``compare_recipes`` measures it."""
    net = network(depth, width)
    gi.init_(net, recipe, inputs=data.x, seed=seed)
    return net


def compare_recipes(data: Digits, depth: int = DEPTH, width: int = WIDTH) -> gi.Comparison:
    """Measure signal and gradient under each recipe, before training."""
    return gi.compare(
        network(depth, width),
        data.x,
        RECIPES,
        seeds=SEEDS,
        loss=lambda logits: cross_entropy(logits, data.y),
    )


def train(net: nn.Module, data: Digits, steps: int, tick: Callable[[], None]) -> None:
    """Train with Adam; the batches are the same for every network."""
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    draw = torch.Generator().manual_seed(SEED)
    for _ in range(steps):
        batch = torch.randint(len(data.x), (BATCH,), generator=draw)
        loss = cross_entropy(net(data.x[batch]), data.y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tick()


@torch.no_grad()
def train_loss(net: nn.Module, data: Digits) -> float:
    """Return the loss on all training images."""
    return cross_entropy(net(data.x), data.y).item()


@torch.no_grad()
def test_accuracy(net: nn.Module, data: Digits) -> float:
    """Return the share of held-out images that are classified correctly."""
    return (net(data.x_test).argmax(1) == data.y_test).double().mean().item()


def _outcome_table(outcomes: Sequence[Outcome]) -> Table:
    """Return the outcomes as a table."""
    result = Table(box=None, header_style="bold", pad_edge=False)
    result.add_column("recipe")
    for heading in ("loss before", "loss after", "accuracy on new images"):
        result.add_column(heading, justify="right")
    for o in outcomes:
        reached = f"{o.accuracy:.1%} ({min(o.accuracies):.0%} to {max(o.accuracies):.0%})"
        result.add_row(o.recipe, f"{o.before:.3f}", f"{o.after:.3f}", reached)
    return result


def verdict(outcomes: Sequence[Outcome], steps: int) -> str:
    """Return the result in one sentence.

    >>> verdict([Outcome("he", 2.4, 0.1, (0.95,)), Outcome("xavier", 2.3, 2.3, (0.0, 0.2))], 300)
    'After 300 steps he classifies 95% of new images correctly, xavier 10% (chance: 10%).'
    """
    first, *others = outcomes
    best = f"{first.recipe} classifies {first.accuracy:.0%} of new images correctly"
    rest = "".join(f", {o.recipe} {o.accuracy:.0%}" for o in others)
    return f"After {steps} steps {best}{rest} (chance: 10%)."


def run(
    console: Console,
    *,
    depth: int = DEPTH,
    width: int = WIDTH,
    steps: int = STEPS,
    page: Path = PAGE,
) -> None:
    """Run the demo and print to a console."""
    data = Digits.load()
    console.print(f"[bold]gi.compare[/]: {depth} ReLU layers, {SEEDS} draws by each recipe\n")
    comparison = compare_recipes(data, depth, width)
    console.print(terminal.render(comparison, console.width))
    comparison.to_html(page)
    console.print(f"\nEvery layer, as an HTML page: {page.resolve()}", soft_wrap=True)

    console.print(f"\n[bold]{steps} steps of Adam[/], the mean of {SEEDS} networks (the range)\n")
    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description:13}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        for recipe in RECIPES:
            task = progress.add_task(recipe, total=SEEDS * steps)
            nets = [drawn_network(recipe, seed, data, depth, width) for seed in range(SEEDS)]
            before = fmean(train_loss(net, data) for net in nets)
            for net in nets:
                train(net, data, steps, lambda task=task: progress.advance(task))
            after = fmean(train_loss(net, data) for net in nets)
            accuracies = tuple(test_accuracy(net, data) for net in nets)
            outcomes.append(Outcome(recipe, before, after, accuracies))
    console.print(_outcome_table(outcomes))
    console.print()
    console.print(verdict(outcomes, steps))


def main() -> None:
    """Run the demo in this terminal."""
    # Layers this small do not get faster with a second thread, and much slower on a busy machine,
    # where threads wait for each other.
    torch.set_num_threads(1)
    run(Console(highlight=False))
