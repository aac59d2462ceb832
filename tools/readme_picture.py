"""Draw docs/img/depth.svg, the picture in README.md, from numbers measured here.

    .venv/bin/python tools/readme_picture.py

The second moment of every layer's output in the demo's network (goodinit/demos/digits.py) at
initialization: the mean of SEEDS networks as a line, each network as a thin one.
"""

from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib import pyplot as plt

import goodinit as gi
from goodinit.demos.digits import DEPTH, WIDTH, Digits, network

SEEDS = 10
# Okabe and Ito's colours: told apart by colour-blind readers too.
COLOURS = {"he": "#009E73", "torch_default": "#D55E00", "xavier": "#0072B2"}
LABELS = {"he": "he", "torch_default": "torch's default", "xavier": "xavier"}
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "img" / "depth.svg"


def main() -> None:
    """Measure, draw, write."""
    # Text as paths: the same on every machine. A fixed salt: the same file from the same numbers.
    mpl.rcParams.update(
        {"svg.fonttype": "path", "svg.hashsalt": "goodinit", "font.size": 10, "axes.linewidth": 0.8}
    )
    compared = gi.compare(network(), Digits.load().x, [*COLOURS], seeds=SEEDS)
    layers = range(1, DEPTH + 1)
    figure, axes = plt.subplots(figsize=(7.2, 3.4), layout="constrained")
    for recipe, colour in COLOURS.items():
        signals = compared.signals[recipe]
        curves = torch.tensor([[row.forward.second for row in s.layers] for s in signals])
        mean = curves.log().mean(0).exp()  # geometric: the axis is logarithmic
        axes.semilogy(layers, curves.T, color=colour, linewidth=0.5, alpha=0.35)
        axes.semilogy(layers, mean, color=colour, linewidth=2.2)
        axes.text(DEPTH + 0.6, mean[-1].item(), LABELS[recipe], color=colour, va="center")
        print(f"{recipe:14} layer 1: {mean[0]:.2e}   layer {DEPTH}: {mean[-1]:.2e}")
    axes.set_xlim(1, DEPTH + 6)
    axes.set_xticks([1, *range(5, DEPTH + 1, 5)])
    axes.set_xlabel("layer")
    axes.set_title(
        f"Second moment of each layer's output, {DEPTH} ReLU layers of width {WIDTH}",
        loc="left",
        fontsize=10,
    )
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None}, facecolor="white")
    print(PICTURE)


if __name__ == "__main__":
    main()
