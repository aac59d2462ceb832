"""Thirty layers, handwritten digits, three initializations.

He et al. (2015), section 2.2: with Var(w) = 2 / fan_in a deep ReLU network keeps the second
moment of its signal; with Xavier's 1 / fan_in each layer halves it, and thirty layers leave
2^-30. PyTorch's default, 1 / (3 fan_in), loses a factor of six a layer; what is left at the end
are its random biases, the same for every image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import plotext  # pyright: ignore[reportMissingTypeStubs]
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from sklearn.datasets import load_digits  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import goodinit as gi

RECIPES = ("he", "xavier", "torch_default")
STYLES = {"he": ("●", "green"), "xavier": ("x", "magenta"), "torch_default": ("+", "red")}

DEPTH, WIDTH, STEPS, BATCH, RATE, SEED = 30, 128, 300, 128, 1e-3, 0
PLAN_LINES = 24  # lines of the plan that are shown
TINY = 1e-30  # where a logarithm or a quotient must stay finite


@dataclass(frozen=True, slots=True)
class Digits:
    """1,797 images of 8 x 8 pixels, one quarter held out, standardised as one number."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor

    @classmethod
    def load(cls) -> Digits:
        """Load scikit-learn's copy; split it with a fixed seed."""
        # scikit-learn's types say nothing of what is loaded.
        images, labels = cast("tuple[Any, Any]", load_digits(return_X_y=True))
        x = torch.as_tensor(images, dtype=torch.float32)
        y = torch.as_tensor(labels, dtype=torch.int64)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(SEED))
        test, train = order[: len(x) // 4], order[len(x) // 4 :]
        x = (x - x[train].mean()) / x[train].std()
        return cls(x[train], y[train], x[test], y[test])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one recipe led to.

    Attributes:
        recipe: its name.
        moments: the second moment of each linear layer's output at initialization.
        shares: how much of each differs between images, from 0 to 1.
        before: the training loss before the first step.
        after: the training loss after the last.
        accuracy: on the images held out.
    """

    recipe: str
    moments: tuple[float, ...]
    shares: tuple[float, ...]
    before: float
    after: float
    accuracy: float


def network(depth: int = DEPTH, width: int = WIDTH) -> nn.Sequential:
    """Return `depth` linear layers with a ReLU between each two, 64 pixels to 10 digits."""
    sizes = [64, *[width] * (depth - 1), 10]
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def outputs(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the output of every linear layer, in the order of execution."""
    seen: list[Tensor] = []

    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(output)

    handles = [m.register_forward_hook(hook) for m in net.modules() if isinstance(m, nn.Linear)]
    net(x)
    for handle in handles:
        handle.remove()
    return seen


Measured = tuple[tuple[float, ...], tuple[float, ...]]


def second_moments(net: nn.Module, x: Tensor) -> Measured:
    """Return each linear layer's second moment, and what share of it differs between inputs.

    The second moment is the mean square over the batch and the units; the share is the variance
    over the batch, averaged over the units, divided by it.
    """
    # In double: variances of nearly equal numbers, and squares of small ones.
    found = [y.double() for y in outputs(net, x)]
    moments = tuple(y.square().mean().item() for y in found)
    between = [y.var(0, correction=0).mean().item() for y in found]
    return moments, tuple(v / max(q, TINY) for v, q in zip(between, moments, strict=True))


def train(net: nn.Module, data: Digits, steps: int, tick: Callable[[], None]) -> None:
    """Run Adam for some steps; the batches are the same for every network."""
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
def loss_of(net: nn.Module, data: Digits) -> float:
    """Return the loss on all training images."""
    return cross_entropy(net(data.x), data.y).item()


@torch.no_grad()
def accuracy_of(net: nn.Module, data: Digits) -> float:
    """Return the share of held-out images that are named right."""
    return (net(data.x_test).argmax(1) == data.y_test).double().mean().item()


def start(recipe: str, data: Digits, depth: int, width: int) -> tuple[nn.Sequential, str]:
    """Return a network initialised by a recipe, and the plan in words."""
    net = network(depth, width)
    plan = gi.init_(net, recipe, inputs=data.x[:BATCH], seed=SEED)
    return net, str(plan)


def shorten(text: str, lines: int = PLAN_LINES) -> str:
    r"""Return a long text's head and tail, with the number of lines left out.

    >>> print(shorten("a\nb\nc\nd\ne\nf", 4))
    a
    b
    ... (3 more lines) ...
    f
    """
    rows = text.splitlines()
    if len(rows) <= lines:
        return text
    tail = max(1, lines // 4)
    head = lines - tail - 1
    left_out = f"... ({len(rows) - head - tail} more lines) ..."
    return "\n".join([*rows[:head], left_out, *rows[-tail:]])


def decade(exponent: int) -> str:
    """Return how an axis writes a power of ten.

    >>> decade(0), decade(-6)
    ('1', '1e-6')
    """
    return "1" if exponent == 0 else f"1e{exponent}"


def draw(curves: dict[str, tuple[float, ...]], width: int = 78, height: int = 19) -> Text:
    """Return curves over depth on a logarithmic axis, one marker a curve, as text.

    The colours are the terminal's own and only help: each curve has a marker of its own.
    """
    # plotext's annotations are incomplete.
    plot = cast("Any", plotext)
    figure = plot.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    logs: dict[str, list[float]] = {}
    for recipe, curve in curves.items():
        logs[recipe] = torch.tensor(curve).double().clamp_min(TINY).log10().tolist()
    depth = max(map(len, logs.values()))
    for recipe in reversed(logs):  # the first is drawn last, over the others
        marker = STYLES[recipe][0]
        figure.draw(figure.signal(list(range(1, depth + 1)), logs[recipe], marker=marker))
    low = min(min(curve) for curve in logs.values())
    high = max(max(curve) for curve in logs.values())
    exponents = range(3 * int(low // 3), int(high) + 1, 3)
    figure.ruler("y", "left").ticks(list(exponents), [decade(e) for e in exponents])
    layers = [1, *range(5, depth + 1, 5)]
    figure.ruler("x", "lower").ticks(layers, [str(layer) for layer in layers])
    lines = cast("str", plot.uncolorize(str(figure.build()))).splitlines()
    text = Text("\n".join(line.rstrip() for line in lines if line.strip()))
    for recipe in curves:
        marker, style = STYLES[recipe]
        text.highlight_words([marker], style)
    return text


def key(recipes: Sequence[str]) -> Text:
    """Return which marker means which recipe."""
    text = Text()
    for recipe in recipes:
        marker, style = STYLES[recipe]
        text.append(f"    {marker} {recipe}", style)
    return text


def table(outcomes: Sequence[Outcome]) -> Table:
    """Return the outcomes as a table."""
    result = Table(box=None, header_style="bold", pad_edge=False)
    result.add_column("recipe")
    for heading in (
        "second moment\nat the last layer",
        "of it, differs\nbetween images",
        "loss\nbefore",
        "loss\nafter",
        "accuracy\non new images",
    ):
        result.add_column(heading, justify="right")
    for o in outcomes:
        result.add_row(
            o.recipe,
            f"{o.moments[-1]:.1e}",
            f"{o.shares[-1]:.0e}" if o.shares[-1] < 0.001 else f"{o.shares[-1]:.1%}",
            f"{o.before:.3f}",
            f"{o.after:.3f}",
            f"{o.accuracy:.1%}",
        )
    return result


def kept(outcome: Outcome) -> float:
    """Return the variance between images at the last layer, over that at the first."""
    first, *_, last = map(math.prod, zip(outcome.moments, outcome.shares, strict=True))
    return last / max(first, TINY)


def enumerate_words(words: Sequence[str]) -> str:
    """Return a list as prose.

    >>> enumerate_words(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def verdict(outcomes: Sequence[Outcome], steps: int) -> str:
    """Return in one sentence what the numbers say.

    >>> he = Outcome("he", (1.0, 0.5), (0.4, 0.08), 2.4, 0.1, 0.95)
    >>> dead = Outcome("torch_default", (0.3, 3e-3), (0.4, 4e-15), 2.3, 2.3, 0.1)
    >>> print(verdict([he, dead], 300))
    From layer 1 to layer 2, what differs between images is multiplied by 1e-01 under he and
    1e-16 under torch_default; after 300 steps the networks name 95% and 10% of new images
    right (guessing: 10%).
    """
    factors = enumerate_words([f"{kept(o):.0e} under {o.recipe}" for o in outcomes])
    scores = enumerate_words([f"{o.accuracy:.0%}" for o in outcomes])
    return (
        f"From layer 1 to layer {len(outcomes[0].moments)}, what differs between images is "
        f"multiplied by {factors}; after {steps} steps the networks name {scores} of new images "
        f"right (guessing: 10%)."
    )


def run(console: Console, *, depth: int = DEPTH, width: int = WIDTH, steps: int = STEPS) -> None:
    """Run the whole demo on a console."""
    data = Digits.load()
    nets: dict[str, nn.Sequential] = {}
    measured: dict[str, Measured] = {}
    plan = ""
    for recipe in RECIPES:
        nets[recipe], words = start(recipe, data, depth, width)
        measured[recipe] = second_moments(nets[recipe], data.x)
        plan = plan or words

    console.print(f"[bold]The plan of recipe '{RECIPES[0]}'[/] for {depth} ReLU layers\n")
    console.print(shorten(plan), markup=False, highlight=False, soft_wrap=True)

    console.print("\n[bold]Second moment of each layer's output[/], before training, by layer\n")
    console.print(draw({recipe: measured[recipe][0] for recipe in RECIPES}))
    console.print(key(RECIPES))

    console.print(f"\n[bold]{steps} steps of Adam[/]\n")
    outcomes: list[Outcome] = []
    columns = (TextColumn("{task.description:13}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        for recipe, net in nets.items():
            task = progress.add_task(recipe, total=steps)
            before = loss_of(net, data)
            train(net, data, steps, lambda task=task: progress.advance(task))
            outcomes.append(
                Outcome(
                    recipe, *measured[recipe], before, loss_of(net, data), accuracy_of(net, data)
                )
            )
    console.print(table(outcomes))
    console.print()
    console.print(verdict(outcomes, steps))


def main() -> None:
    """Run the demo in this terminal."""
    # Layers this small gain nothing from a second thread, and lose much on a busy machine, where
    # threads wait for each other.
    torch.set_num_threads(1)
    run(Console(highlight=False))
