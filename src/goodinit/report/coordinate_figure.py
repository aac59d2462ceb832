"""A figure of a coordinate check: sizes against widths and depths, with their lines."""

from __future__ import annotations

import math
from typing import Any

from goodinit.mup.coordinates import Coordinate, CoordinateCheck
from goodinit.report.optional import import_optional

WIDTH, HEIGHT = 4.2, 3.4  # inches of a plot
TITLES = {"initial": "before training", "change": "change by training"}


def coordinates_figure(check: CoordinateCheck) -> Any:
    """Return a matplotlib figure: a plot for widths and depths each, before training and after.

    Points are single draws, lines the fits. What isn't judged is drawn gray, a slope that isn't 0
    red, with its module's name.

    Raises:
        ReportError: matplotlib isn't installed.
    """
    figure = import_optional("matplotlib.figure")
    plots = list(dict.fromkeys((row.over, row.what) for row in check))
    made = figure.Figure(figsize=(WIDTH * max(len(plots), 1), HEIGHT), layout="constrained")
    for number, (over, what) in enumerate(plots, 1):
        axes = made.add_subplot(1, len(plots), number)
        axes.set(xscale="log", yscale="log", xlabel=over, title=TITLES[what])
        for row in check:
            if (row.over, row.what) == (over, what):
                _draw(axes, row)
        sizes = sorted({size for row in check if row.over == over for size in row.sizes})
        axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axes.minorticks_off()
    made.suptitle(f"{check.recipe}, {check.steps} steps of {check.optimizer}", fontsize=10)
    return made


def _draw(axes: Any, row: Coordinate) -> None:
    color = "tab:red" if not row.ok else "tab:blue" if row.judged else "silver"
    axes.scatter(row.sizes, row.values, s=8, color=color, alpha=0.6)
    middle = math.exp(math.fsum(map(math.log, row.values)) / len(row.values))
    center = math.exp(math.fsum(map(math.log, row.sizes)) / len(row.sizes))
    ends = (min(row.sizes), max(row.sizes))
    line = [middle * (size / center) ** row.slope for size in ends]
    axes.plot(ends, line, color=color, linewidth=1)
    if not row.ok:
        axes.annotate(f"{row.name or 'model'} {row.slope:.2f}", (ends[1], line[1]), fontsize=6)
