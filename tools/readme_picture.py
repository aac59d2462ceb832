"""Draw docs/img/depth.svg, the picture in README.md, from numbers measured here.

    .venv/bin/python tools/readme_picture.py

Left, the second moment of every layer's output in the networks of `make demo`
(goodinit/demos/digits.py) at initialization; right, their accuracy on new images while they are
trained. The mean is a line, each network a thin one. Put the accuracies that are printed into the
description of the picture in README.md, README.zh.md and docs/index.md.
"""

from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor

from goodinit.demos.digits import (
    DEPTH,
    SEEDS,
    STEPS,
    Digits,
    compare_recipes,
    drawn_network,
    test_accuracy,
    train,
)

EVERY = 10  # steps between two points of a curve
# Okabe and Ito's colors, which color-blind readers distinguish too.
COLORS = {"he": "#009E73", "torch_default": "#D55E00", "xavier": "#0072B2"}
LABELS = {"he": "He", "torch_default": "PyTorch's default", "xavier": "Xavier"}
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "img" / "depth.svg"


def main() -> None:
    """Measure, train, draw, write."""
    # Text as paths: the same on every machine. A fixed salt: the same file from the same numbers.
    mpl.rcParams.update(
        {"svg.fonttype": "path", "svg.hashsalt": "goodinit", "font.size": 12, "axes.linewidth": 0.8}
    )
    torch.set_num_threads(1)  # as in the demo: other sums of the same numbers train another way
    data = Digits.load()
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.4), layout="constrained")
    compared = compare_recipes(data)
    for recipe, color in COLORS.items():
        signals = compared.signals[recipe]
        sizes = torch.tensor([[row.forward.second for row in s.layers] for s in signals])
        mean = sizes.log().mean(0).exp()  # geometric: the axis is logarithmic
        draw(left, torch.arange(1, DEPTH + 1), sizes, mean, recipe)
        curves = torch.tensor([learning(recipe, seed, data) for seed in range(SEEDS)])
        reached = curves.mean(0)
        draw(right, torch.arange(0, STEPS + 1, EVERY), curves, reached, recipe)
        label = f"{LABELS[recipe]}: {reached[-1]:.0%}"
        right.text(1.03 * STEPS, reached[-1], label, color=color, va="center")
        print(f"{recipe:14} layer {DEPTH}: {mean[-1]:.2e}   accuracy {reached[-1]:.3f}")
    left.set_yscale("log")
    left.set_title(f"The signal, through {DEPTH} ReLU layers", loc="left", fontsize=12)
    left.set_xlabel("layer")
    left.set_ylabel("size (mean square)")
    right.set_title("What the network learns", loc="left", fontsize=12)
    right.set_xlabel("training step")
    right.set_ylabel("accuracy on new digits")
    right.set_ylim(0, 1.02)
    right.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    right.set_xlim(-5, 1.5 * STEPS)
    right.set_xticks(range(0, STEPS + 1, 100))
    figure.savefig(PICTURE, metadata={"Date": None}, facecolor="white")
    print(PICTURE)


def learning(recipe: str, seed: int, data: Digits) -> list[float]:
    """Return the accuracy on new images, every EVERY steps."""
    net = drawn_network(recipe, seed, data)
    found, step = [test_accuracy(net, data)], 0

    def tick() -> None:
        nonlocal step
        step += 1
        if step % EVERY == 0:
            found.append(test_accuracy(net, data))

    train(net, data, STEPS, tick)
    return found


def draw(axes: Axes, x: Tensor, curves: Tensor, mean: Tensor, recipe: str) -> None:
    """Draw the mean as a line, and each network as a thin one."""
    color = COLORS[recipe]
    axes.plot(x, curves.T, color=color, linewidth=0.5, alpha=0.35)
    axes.plot(x, mean, color=color, linewidth=2.4)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
