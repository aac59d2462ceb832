"""An image for a paper: second moments over depth, forward and backward."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

from goodinit._common.files import atomic_write
from goodinit.errors import ReportError
from goodinit.report.curves import (
    COLORS,
    QUANTITIES,
    Curve,
    Quantity,
    Value,
    curve,
    error_factor,
    line_over_depth,
    shown_rows,
    whole_decades,
)
from goodinit.report.optional import import_optional
from goodinit.signal.compare import Comparison

# Without dates, so that equal numbers give equal files.
METADATA: dict[str, dict[str, None]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
# Text as paths looks the same on every machine. A fixed salt gives the same ids in the file.
STYLE = {"svg.fonttype": "path", "svg.hashsalt": "goodinit", "font.size": 9, "axes.linewidth": 0.8}
WIDTH, HEIGHT = 3.5, 2.8  # inches of a plot: one column of a paper
AXES = {"forward": "second moment", "backward": "second moment of the gradient"}
INLINE_DPI, INLINE_WIDTH = 120, 2.8  # in a notebook: legible also where a page is 420 wide
MARGIN = 0.25  # decades beyond the ends of an axis
LEAST = 1e-150  # matplotlib squares values: its arithmetic overflows beyond 1e-154 and 1e154


def write_image(comparison: Comparison, path: str | PathLike[str]) -> None:
    """Write the image, replacing the file at once.

    Raises:
        ReportError: the ending isn't .png, .svg or .pdf, or matplotlib isn't installed.
        OSError: the file can't be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in METADATA:
        raise ReportError(f"{path}: an image ends in {', '.join(METADATA)}; for a page, to_html")
    matplotlib = import_optional("matplotlib")
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # the user's own style may need LaTeX, for example
        matplotlib.rcParams.update(STYLE)
        warnings.filterwarnings("ignore", message="Glyph")  # a character that the font lacks
        figure = _figure(comparison)
        with atomic_write(path) as new:
            figure.savefig(new, format=ending[1:], dpi=200, metadata=METADATA[ending])


def inline_figure(comparison: Comparison) -> Any:
    """Return the figure, which shows itself in a notebook, also before pyplot is imported.

    Raises:
        ReportError: matplotlib isn't installed.
    """
    matplotlib = import_optional("matplotlib")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = _figure(comparison)
        figure.set_size_inches(INLINE_WIDTH * len(figure.axes), HEIGHT)
    figure._repr_png_ = partial(_png, figure)
    return figure


def _png(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=INLINE_DPI)
    return buffer.getvalue()


def _figure(comparison: Comparison) -> Any:
    rows = shown_rows(comparison)
    line = line_over_depth(comparison)
    keys = [rows[at].key for at in line.at]
    curves = {
        name: [curve(signals, QUANTITIES[name], keys) for signals in comparison.signals.values()]
        for name in ("forward", "backward")
    }
    names = [n for n in curves if n == "forward" or any(c.has_values for c in curves[n])]
    figure = import_optional("matplotlib.figure").Figure(
        (WIDTH * len(names), HEIGHT), layout="constrained"
    )
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        quantity = QUANTITIES[name]
        axes.set_yscale("log")
        axes.set_ylim(*_limits(curves[name]))
        for at, found in enumerate(curves[name]):
            _draw_curve(axes, quantity, found, COLORS[at % len(COLORS)])
        axes.set_title(name, loc="left")
        axes.set_xlabel(line.unit)
        axes.set_ylabel(AXES[name])
        axes.locator_params(axis="x", integer=True)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    if len(comparison.signals) > 1:
        _legend(figure, list(comparison.signals))
    return figure


def _draw_curve(axes: Any, quantity: Quantity, found: Curve, color: str) -> None:
    """Draw the curve of a recipe: thin seeds and a thick median, or one seed with its error."""
    depth = range(1, len(found.middle) + 1)
    middle = [_drawable(value) for value in found.middle]
    if len(found.seeds) > 1:
        for seed in found.seeds:
            values = [_drawable(value) for value in seed]
            axes.plot(depth, values, color=color, linewidth=0.5, alpha=0.4)
    elif quantity is QUANTITIES["forward"]:
        factors = [1.0 if row is None else error_factor(row) for row in found.rows]
        low = [_drawable(v / factor) for v, factor in zip(middle, factors, strict=True)]
        high = [_drawable(v * factor) for v, factor in zip(middle, factors, strict=True)]
        axes.fill_between(depth, low, high, color=color, alpha=0.15, linewidth=0)
    axes.plot(depth, middle, color=color, linewidth=1.6, marker="o", markersize=2.2)


def _drawable(value: Value) -> float:
    """Return the value, or NaN, which leaves a gap, if a logarithmic axis can't show it."""
    return value if value is not None and LEAST < value < 1 / LEAST else math.nan


def _limits(curves: Sequence[Curve]) -> tuple[float, float]:
    values = (_drawable(v) for found in curves for seed in found.seeds for v in seed)
    low, high = whole_decades(v for v in values if not math.isnan(v))
    return 10.0 ** (low - MARGIN), 10.0 ** (high + MARGIN)


def _legend(figure: Any, names: Sequence[str]) -> None:
    line = import_optional("matplotlib.lines").Line2D
    handles = [line([], [], color=COLORS[at % len(COLORS)]) for at in range(len(names))]
    legend = figure.legend(handles, names, loc="outside upper left", ncols=4, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may contain a dollar sign
