"""Curves over depth in a terminal, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.text import Text

from goodinit.report.libraries import needed

__all__ = ["MARKERS", "key", "plot"]

# Each curve has a marker of its own; the colours are the terminal's and only help.
MARKERS = (
    ("●", "blue"),
    ("x", "red"),
    ("+", "green"),
    ("o", "magenta"),
    ("*", "yellow"),
    ("#", "cyan"),
)


def plot(curves: Mapping[str, Sequence[float | None]], width: int = 78, height: int = 16) -> Text:
    """Return curves as text; what a logarithm can't show is left out.

    Raises:
        ReportError: plotext isn't installed.

    Example:
        >>> drawn = plot({"he": [1.0, 0.9, 1.1], "xavier": [0.1, 0.01, 0.0]}, width=40, height=9)
        >>> drawn.plain.count("●"), drawn.plain.count("x")
        (3, 2)
    """
    plotext = needed("plotext")
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    points = {
        name: [(at, math.log10(v)) for at, v in enumerate(curve, start=1) if v and 0 < v < math.inf]
        for name, curve in curves.items()
    }
    logs = [log for each in points.values() for _, log in each]
    if not logs:
        return Text("nothing to plot: no value is positive and finite")
    for number, name in reversed([*enumerate(curves)]):  # the first is drawn last, over the others
        if points[name]:
            x, y = zip(*points[name], strict=True)
            marker = MARKERS[number % len(MARKERS)][0]
            figure.draw(figure.signal([*x], [*y], marker=marker))
    # Whole decades: so what hardly changes looks flat.
    low, high = math.floor(min(logs)), max(math.ceil(max(logs)), math.floor(min(logs)) + 1)
    figure.ruler("y", "left").lim(low, high)
    step = max(1, math.ceil((high - low) / 5))
    exponents = list(range(step * math.ceil(low / step), high + 1, step))
    figure.ruler("y", "left").ticks(exponents, [decade(each) for each in exponents])
    depth = max(map(len, curves.values()))
    layers = _counted(depth)
    figure.ruler("x", "lower").ticks(layers, [str(layer) for layer in layers])
    lines: list[str] = plotext.uncolorize(str(figure.build())).splitlines()
    text = Text("\n".join(line.rstrip() for line in lines if line.strip()))
    for marker, style in MARKERS[: len(curves)]:
        text.highlight_words([marker], style)
    return text


def key(names: Sequence[str]) -> Text:
    """Return which marker means which curve."""
    text = Text()
    for number, name in enumerate(names):
        marker, style = MARKERS[number % len(MARKERS)]
        text.append(f"    {marker} {name}", style)
    return text


def decade(exponent: int) -> str:
    """Return how an axis writes a power of ten.

    >>> decade(0), decade(-6)
    ('1', '1e-6')
    """
    return "1" if exponent == 0 else f"1e{exponent}"


def _counted(depth: int) -> list[int]:
    """Return about six round numbers from 1 to the depth."""
    step = next(n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if depth / n <= 8)
    return [1, *range(step if step > 1 else 2, depth + 1, step)]
