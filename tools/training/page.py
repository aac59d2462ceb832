"""The plots and tables of docs/training.md, from the numbers in docs/training/.

python -m tools.training.page     draw them again; `make compare-training` does so at its end
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from tools.training.experiments import EXPERIMENTS, Experiment

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- made by make compare-training -->\n", "<!-- end of what it made -->\n"
CHANCE = 2.0  # standard errors of a difference, within which two means count as equal
LAST = 6  # points of a curve over which its end is averaged: a tenth

# Okabe and Ito's colors: told apart by color-blind readers too. Dashed: it has seen data.
COLORS = {
    "torch default": "#777777",
    "Xavier": "#56B4E9",
    "He": "#0072B2",
    "standard": "#D55E00",
    "standard, calibrated": "#D55E00",
    "family": "#009E73",
    "AnyInit": "#CC79A7",
    "AnyInit on data": "#CC79A7",
}
SAW_DATA = ("standard, calibrated", "AnyInit on data")

Row = dict[str, Any]  # one initialization: its name, its rate, and a run for each seed


def load(experiment: Experiment) -> list[Row]:
    """Return what was measured; nothing if the experiment hasn't run."""
    path = ROOT / "docs" / "training" / f"{experiment.slug}.json"
    return json.loads(path.read_text()) if path.exists() else []


def ends(row: Row) -> list[float]:
    """Return the training loss at the end, for each seed; NaN where it isn't finite."""
    curves = [run["curve"][-LAST:] for run in row["runs"]]
    return [mean(c) if None not in c else math.nan for c in curves]


def accuracies(row: Row) -> list[float]:
    """Return the held-out accuracy for each seed."""
    return [run["accuracy"] for run in row["runs"]]


def as_good_as_the_best(rows: list[Row]) -> list[str]:
    """Return the initializations whose accuracy is the best, or differs from it by chance."""
    best = max(rows, key=lambda row: mean(accuracies(row)))
    found: list[str] = []
    for row in rows:
        a, b = accuracies(row), accuracies(best)
        error = math.sqrt(stdev(a) ** 2 / len(a) + stdev(b) ** 2 / len(b))
        if mean(b) - mean(a) <= CHANCE * error:
            found.append(row["initialization"])
    return found


def spread(values: list[float], digits: int) -> str:
    """Return mean and standard deviation as text."""
    if any(map(math.isnan, values)):
        return "diverged"
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def table(rows: list[Row]) -> str:
    """Return the table of one experiment; those as good as the best are bold."""
    best = as_good_as_the_best(rows)
    lines = [
        "| initialization | rate | training loss | held-out accuracy |",
        "|---|---|---|---|",
    ]
    for row in rows:
        name, accuracy = row["initialization"], spread(accuracies(row), 3)
        shown = f"**{accuracy}**" if name in best else accuracy
        lines.append(f"| {name} | {row['rate']:g} | {spread(ends(row), 3)} | {shown} |")
    return "\n".join(lines)


def summary(measured: dict[str, list[Row]]) -> str:
    """Return one line for each experiment: mean accuracies, those as good as the best bold."""
    names = list(COLORS)
    lines = [f"| model | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for title, rows in measured.items():
        best, cells = as_good_as_the_best(rows), dict.fromkeys(names, "")
        for row in rows:
            value = f"{mean(accuracies(row)):.2f}"
            bold = f"**{value}**" if row["initialization"] in best else value
            name, _, recipe = row["initialization"].partition(": ")
            cells[name] = f"{bold} ({recipe})" if recipe else bold
        lines.append(f"| {title} | {' | '.join(cells.values())} |")
    return "\n".join(lines)


def draw(experiment: Experiment, rows: list[Row]) -> None:
    """Draw the loss curves: the median of the seeds as a line, all of them as a band."""
    from matplotlib import pyplot as plt  # the tests read this file, and draw nothing
    from matplotlib.ticker import LogLocator

    figure, axes = plt.subplots(figsize=(5.4, 4.6), layout="constrained")
    steps = experiment.steps
    for row in rows:
        name = row["initialization"]
        curves = [
            [value if value is not None else math.nan for value in run["curve"]]
            for run in row["runs"]
        ]
        points = list(zip(*curves, strict=True))
        x = [steps * (i + 0.5) / len(points) for i in range(len(points))]
        color, line = COLORS[name.partition(":")[0]], "--" if name in SAW_DATA else "-"
        axes.plot(x, [median(p) for p in points], line, color=color, linewidth=1.8, label=name)
        axes.fill_between(
            x, [min(p) for p in points], [max(p) for p in points], color=color, alpha=0.12, lw=0
        )
    axes.set_yscale("log")
    guess = min(run["curve"][0] for row in rows for run in row["runs"])
    axes.set_ylim(top=2 * guess)  # first losses of some are far above
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("step of Adam")
    axes.set_title(f"{experiment.name}: training loss", loc="left", fontsize=11)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    path = ROOT / "docs" / "img" / f"training-{experiment.slug}.svg"
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def generated() -> str:
    """Return the part of the page that is made from numbers."""
    measured = {e: load(e) for e in EXPERIMENTS}
    parts = [summary({e.name: rows for e, rows in measured.items() if rows})]
    for experiment, rows in measured.items():
        if rows:
            alt = f"Training loss of {experiment.name} by initialization; the table has its end."
            parts.append(f"### {experiment.name}")
            parts.append(f"![{alt}](img/training-{experiment.slug}.svg)")
            parts.append(table(rows))
    return BEGIN + "\n" + "\n\n".join(parts) + "\n\n" + END


def write() -> None:
    """Draw all plots, and put plots and tables into the page."""
    import matplotlib as mpl

    # Text as paths: the same on every machine. A fixed salt: the same file from the same numbers.
    mpl.use("agg")
    mpl.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "goodinit", "font.size": 10})
    for experiment in EXPERIMENTS:
        rows = load(experiment)
        if rows:
            draw(experiment, rows)
    page = ROOT / "docs" / "training.md"
    text = page.read_text()
    page.write_text(text.partition(BEGIN)[0] + generated() + text.partition(END)[2])


if __name__ == "__main__":
    write()
