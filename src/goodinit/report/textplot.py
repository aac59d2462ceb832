"""Plots of curves over depth for the terminal, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.text import Text

from goodinit.report.curves import whole_decades
from goodinit.report.optional import import_optional

TICKS = 5  # labels along the y axis, at most: plots are about 13 lines high
MOST_LAYERS = 8  # labels along the x axis, at most
# Curves differ by marker; the terminal's colors only help.
MARKERS = (
    ("●", "blue"),
    ("x", "red"),
    ("+", "green"),
    ("o", "magenta"),
    ("*", "yellow"),
    ("#", "cyan"),
)


def text_plot(
    curves: Mapping[str, Sequence[float | None]], width: int = 78, height: int = 16
) -> Text:
    """Return curves as text; values without a logarithm are left out.

    Raises:
        ReportError: plotext isn't installed.

    Example:
        >>> curves = {"he": [1.0, 0.9, 1.1], "xavier": [0.1, 0.01, 0.0]}
        >>> drawn = text_plot(curves, width=40, height=9)
        >>> drawn.plain.count("●"), drawn.plain.count("x")
        (3, 2)
    """
    plotext = import_optional("plotext")
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    points = {
        name: [(at, math.log10(v)) for at, v in enumerate(curve, start=1) if v and 0 < v < math.inf]
        for name, curve in curves.items()
    }
    values = [v for curve in curves.values() for v in curve if v and 0 < v < math.inf]
    if not values:
        return Text("nothing to plot: no value is positive and finite")
    for number, name in reversed([*enumerate(curves)]):  # the first curve on top
        if points[name]:
            x, y = zip(*points[name], strict=True)
            marker = MARKERS[number % len(MARKERS)][0]
            figure.draw(figure.signal([*x], [*y], marker=marker))
    low, high = whole_decades(values)
    figure.ruler("y", "left").lim(low, high)
    step = max(1, math.ceil((high - low) / TICKS))
    exponents = list(range(step * math.ceil(low / step), high + 1, step))
    figure.ruler("y", "left").ticks(exponents, [f"1e{each}" if each else "1" for each in exponents])
    depth = max(map(len, curves.values()))
    layers = _round_numbers(depth)
    figure.ruler("x", "lower").ticks(layers, [str(layer) for layer in layers])
    lines: list[str] = plotext.uncolorize(str(figure.build())).splitlines()
    text = Text("\n".join(line.rstrip() for line in lines if line.strip()))
    for marker, style in MARKERS[: len(curves)]:
        text.highlight_words([marker], style)
    return text


def legend(names: Sequence[str]) -> Text:
    """Return the marker of each curve."""
    text = Text()
    for number, name in enumerate(names):
        marker, style = MARKERS[number % len(MARKERS)]
        text.append(f"    {marker} {name}", style)
    return text


def _round_numbers(depth: int) -> list[int]:
    """Return at most nine round numbers from 1 to the depth."""
    step = next(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if depth / n <= MOST_LAYERS)
    return [1, *range(step if step > 1 else 2, depth + 1, step)]
