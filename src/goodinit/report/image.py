"""An image for a paper: the second moments over depth, forward and backward."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from goodinit._common.files import replaced
from goodinit.errors import ReportError
from goodinit.report.curves import COLOURS, QUANTITIES, Curve, Quantity, Value, curve, lined, places
from goodinit.report.libraries import needed
from goodinit.signal.compare import Comparison

__all__ = ["write"]

# Dates would make another file of the same numbers.
METADATA: dict[str, dict[str, None]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
# Text as paths: the same on every machine. A fixed salt: the same names inside of the file.
STYLE = {"svg.fonttype": "path", "svg.hashsalt": "goodinit", "font.size": 9, "axes.linewidth": 0.8}
WIDTH, TALL = 3.5, 2.8  # of a plot, in inches
LEAST = 1e-150  # matplotlib's own arithmetic overflows from the square of its inverse on
WIDEST = 50.0  # an error of log(second) beyond this is drawn as this


def write(comparison: Comparison, path: str | PathLike[str]) -> None:
    """Write the image; the file is replaced whole.

    Raises:
        ReportError: an ending that isn't .png, .svg or .pdf; matplotlib isn't installed.
        OSError: the file can't be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in METADATA:
        raise ReportError(f"{path}: an image ends in {', '.join(METADATA)}; for a page, to_html")
    matplotlib = needed("matplotlib")
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # the reader's own style may need what isn't here: LaTeX, say
        matplotlib.rcParams.update(STYLE)
        warnings.filterwarnings("ignore", message="Glyph")  # a name that the font can't show
        figure = _figure(comparison)
        with replaced(path) as new:
            figure.savefig(new, format=ending[1:], dpi=200, metadata=METADATA[ending])


def _figure(comparison: Comparison) -> Any:
    rows = places(comparison)
    line = lined(comparison)
    keys = [rows[at].key for at in line.at]
    curves = {
        name: [curve(signals, QUANTITIES[name], keys) for signals in comparison.signals.values()]
        for name in ("forward", "backward")
    }
    names = [
        name
        for name in curves
        if name == "forward" or any(v is not None for c in curves[name] for v in c.middle)
    ]
    figure = needed("matplotlib.figure").Figure((WIDTH * len(names), TALL), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        quantity = QUANTITIES[name]
        axes.set_yscale("log")
        axes.set_ylim(*_whole_decades(curves[name]))
        for at, found in enumerate(curves[name]):
            _draw(axes, quantity, found, COLOURS[at % len(COLOURS)])
        axes.set_title(quantity.title, loc="left", fontsize=9)
        axes.set_xlabel(line.unit)
        axes.locator_params(axis="x", integer=True)
        axes.grid(axis="y", color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    if len(comparison.signals) > 1:
        _legend(figure, list(comparison.signals))
    return figure


def _draw(axes: Any, quantity: Quantity, found: Curve, colour: str) -> None:
    """Draw a recipe: its seeds thin, their median thick; of one seed the standard error."""
    depth = range(1, len(found.middle) + 1)
    middle = [_drawable(value) for value in found.middle]
    if len(found.seeds) > 1:
        for seed in found.seeds:
            values = [_drawable(value) for value in seed]
            axes.plot(depth, values, color=colour, linewidth=0.5, alpha=0.4)
    elif quantity is QUANTITIES["forward"]:
        errors = [0.0 if row is None else row.error for row in found.rows]
        factors = [math.exp(min(error, WIDEST)) for error in errors]
        low = [_drawable(v / factor) for v, factor in zip(middle, factors, strict=True)]
        high = [_drawable(v * factor) for v, factor in zip(middle, factors, strict=True)]
        axes.fill_between(depth, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(depth, middle, color=colour, linewidth=1.6, marker="o", markersize=2.2)


def _drawable(value: Value) -> float:
    """Return a value for a logarithmic axis; NaN, which leaves a gap, for what it can't show."""
    return value if value is not None and LEAST < value < 1 / LEAST else math.nan


def _whole_decades(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return the ends of an axis: whole decades, so that what hardly changes looks flat."""
    values = [_drawable(v) for found in curves for seed in found.seeds for v in seed]
    logs = [math.log10(value) for value in values if not math.isnan(value)]
    low, high = (math.floor(min(logs)), math.ceil(max(logs))) if logs else (-1, 1)
    return 10.0 ** (low - 0.25), 10.0 ** (max(high, low + 1) + 0.25)


def _legend(figure: Any, names: Sequence[str]) -> None:
    line = needed("matplotlib.lines").Line2D
    handles = [line([], [], color=COLOURS[at % len(COLOURS)]) for at in range(len(names))]
    legend = figure.legend(handles, names, loc="outside upper left", ncols=4, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may hold a dollar sign
