"""The plots of the HTML page, as a figure of plotly's in plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from goodinit._common.text import trimmed
from goodinit.report.curves import (
    COLOURS,
    QUANTITIES,
    Curve,
    Quantity,
    apart,
    curve,
    lined,
    places,
    shortened,
)
from goodinit.report.hover import hovers, literal
from goodinit.report.marks import Mark
from goodinit.report.traces import Panel, Trace, dots, lost, marked, middle, seeds, uncertain
from goodinit.signal.compare import Comparison
from goodinit.signal.rows import SignalRow

__all__ = ["figure"]

DOTS = 1500  # calls between the layers; of more than these the layers alone are drawn
TICKS = 9  # names along an axis
HEIGHT = 330  # of a row of plots, in pixels
NAMES = 84  # of them for the names below
LEVEL = 4  # letters: names that aren't longer need no slope to stand beside each other


def figure(comparison: Comparison, marks: Sequence[Mark]) -> dict[str, Any]:
    """Return plots of every quantity that there is, two a row."""
    rows = places(comparison)
    line = lined(comparison).at
    keys = [row.key for row in rows]
    curves = {
        name: [curve(signals, quantity, keys) for signals in comparison.signals.values()]
        for name, quantity in QUANTITIES.items()
    }
    shown = [name for name in QUANTITIES if any(map(_has_values, curves[name]))]
    several = len(comparison.signals) > 1
    layout = _layout(len(shown), legend=several)
    traces: list[Trace] = _legend(comparison) if several else []
    texts = [hovers(rows, signals, recipe) for recipe, signals in comparison.signals.items()]
    for number, name in enumerate(shown):
        quantity = QUANTITIES[name]
        panel = Panel(
            f"{number + 1}" if number else "", quantity, _limits(quantity, curves[name], line)
        )
        layout |= _axes(panel, number, len(shown), _ticks(rows, line))
        layout["annotations"].append(_heading(panel))
        for at, recipe in enumerate(comparison.signals):
            mine = [m for m in marks if m.recipe == recipe and m.quantity == name]
            traces += _recipe(panel, at, curves[name][at], rows, line, texts[at], mine)
    return {"data": traces, "layout": layout}


def _recipe(
    panel: Panel,
    at: int,
    found: Curve,
    rows: Sequence[SignalRow],
    line: Sequence[int],
    texts: Sequence[str],
    marks: Sequence[Mark],
) -> list[Trace]:
    """Return one recipe's part of a plot, what matters most drawn last."""
    colour = COLOURS[at % len(COLOURS)]
    traces: list[Trace] = []
    if len(found.seeds) > 1:
        traces += seeds(panel, found, line, colour)
    else:
        if panel.quantity is QUANTITIES["forward"]:
            traces.append(uncertain(panel, found, line, colour))
        between = sorted({*range(len(rows))} - {*line})
        if len(between) <= DOTS:
            traces.append(dots(panel, found, between, texts, colour))
    traces.append(middle(panel, found, line, texts, colour))
    traces += lost(panel, found, line, texts)
    if marks:
        traces.append(marked(panel, found, [row.key for row in rows], marks))
    return [trace | {"legendgroup": str(at)} for trace in traces]


def _has_values(found: Curve) -> bool:
    return any(value is not None for value in found.middle)


def _limits(
    quantity: Quantity, curves: Iterable[Curve], line: Sequence[int]
) -> tuple[float, float]:
    """Return the ends of an axis, as exponents of ten where it is logarithmic."""
    values: list[float] = []
    for found in curves:
        at = line if len(found.seeds) > 1 else range(len(found.middle))
        values += [seed[n] or 0.0 for seed in found.seeds for n in at]
    if not quantity.log:
        return (-1.05 if any(value < -0.15 for value in values) else -0.15, 1.05)
    logs = [math.log10(value) for value in values if value > 0 and math.isfinite(value)]
    # Whole decades: so what hardly changes looks flat.
    low, high = (math.floor(min(logs)), math.ceil(max(logs))) if logs else (-1, 1)
    high = max(high, low + 1)
    edge = max(0.25, 0.04 * (high - low))
    return (low - edge, high + edge)


def _layout(panels: int, *, legend: bool) -> dict[str, Any]:
    top = 72 if legend else 48
    return {
        "height": HEIGHT * ((panels + 1) // 2) + top,
        "margin": {"l": 60, "r": 20, "t": top, "b": 0},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "#222"},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"color": "#222"}},
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"},
        "annotations": [],
    }


def _legend(comparison: Comparison) -> list[Trace]:
    """Return an entry for each recipe, which switches it on and off in all plots."""
    return [
        {
            "type": "scatter",
            "x": [None],
            "y": [None],
            "mode": "lines",
            "line": {"color": COLOURS[at % len(COLOURS)], "width": 3},
            "name": literal(recipe),
            "legendgroup": str(at),
            "showlegend": True,
        }
        for at, recipe in enumerate(comparison.signals)
    ]


def _axes(panel: Panel, number: int, panels: int, ticks: dict[str, Any]) -> dict[str, Any]:
    """Return the axes of a plot; those along the depth move together."""
    deep, row, column = (panels + 1) // 2, number // 2, number % 2
    one = number == panels - 1 and column == 0  # it has no neighbour
    low, high = panel.limits
    top = 1 - row / deep
    x = ticks | {
        "domain": [0, 1] if one else [0.54 * column, 0.46 + 0.54 * column],
        "anchor": f"y{panel.number}",
        "showgrid": False,
        "zeroline": False,
        "showline": True,
        "linecolor": "#999",
    }
    y: dict[str, Any] = {
        "domain": [top - (1 - NAMES / HEIGHT) / deep, top - (0.08 / deep if row else 0)],
        "anchor": f"x{panel.number}",
        "range": [low, high],
        "gridcolor": "#e5e5e5",
        "zeroline": False,
    }
    if number:
        x["matches"] = "x"
    if panel.quantity.log:
        step = max(1, math.ceil((high - low) / 7))
        y |= {"type": "log", "dtick": step, "exponentformat": "power"}
    return {f"xaxis{panel.number}": x, f"yaxis{panel.number}": y}


def _ticks(rows: Sequence[SignalRow], line: Sequence[int]) -> dict[str, Any]:
    short = shortened(row.name for row in rows)
    at = apart(line, len(rows) / TICKS)
    names = [trimmed(short[rows[n].name], 14) for n in at]
    edge = 0.5 + 0.02 * len(rows)
    return {
        "tickvals": at,
        "ticktext": [literal(name) for name in names],
        "tickangle": 0 if max(map(len, names), default=0) <= LEVEL else -40,
        "range": [-edge, len(rows) - 1 + edge],
    }


def _heading(panel: Panel) -> dict[str, Any]:
    return {
        "text": f"<b>{panel.quantity.title}</b>",
        "xref": f"x{panel.number} domain",
        "yref": f"y{panel.number} domain",
        "x": 0,
        "y": 1,
        "yanchor": "bottom",
        "yshift": 4,
        "showarrow": False,
    }
