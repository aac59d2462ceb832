"""The plots of the HTML page, as plain data of a plotly figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from goodinit._common.text import trimmed
from goodinit.report.curves import (
    COLORS,
    QUANTITIES,
    Curve,
    Quantity,
    at_least_apart,
    curve,
    line_over_depth,
    short_names,
    shown_rows,
    whole_decades,
)
from goodinit.report.optional import import_optional
from goodinit.report.placed_findings import PlacedFinding, placed_findings
from goodinit.report.tooltips import escaped, tooltips
from goodinit.report.traces import (
    Panel,
    Trace,
    call_dots,
    crosses,
    error_band,
    finding_rings,
    median_line,
    seed_lines,
)
from goodinit.signal.compare import Comparison
from goodinit.signal.rows import SignalRow

MOST_DOTS = 1500  # calls off the line: with more the plots react slowly, and dots hide the line
TICKS = 9  # names along an axis, each about 60 pixels wide
NAME = 14  # characters of such a name
HEIGHT = 330  # pixels of a row of plots
NAMES = 84  # pixels of it for the slanted names below
LEVEL = 4  # characters: shorter names fit side by side without a slant
DECADES = 7  # labels along a logarithmic axis, at most
LABEL = 0.1  # of a logarithmic axis: room for a label below the lowest value
COSINES = (-1.05, 1.05)  # a cosine is from -1 to 1; the margin keeps points off the edges
POSITIVE = -0.15  # lower end of the axis if no cosine is below it, as in most models


def interactive_figure(comparison: Comparison) -> Any:
    """Return the plots as a figure of plotly's own class.

    Raises:
        ReportError: plotly isn't installed.
    """
    drawn = plotly_figure(comparison, placed_findings(comparison))
    return import_optional("plotly.graph_objects").Figure(drawn)


def plotly_figure(comparison: Comparison, findings: Sequence[PlacedFinding]) -> dict[str, Any]:
    """Return plots of all quantities that have values, two in a row."""
    rows = shown_rows(comparison)
    line = line_over_depth(comparison).at
    keys = [row.key for row in rows]
    curves = {
        name: [curve(signals, quantity, keys) for signals in comparison.signals.values()]
        for name, quantity in QUANTITIES.items()
    }
    shown = [name for name in QUANTITIES if any(each.has_values for each in curves[name])]
    several = len(comparison.signals) > 1
    layout = _layout(len(shown), legend=several)
    traces: list[Trace] = _legend(comparison) if several else []
    texts = [tooltips(rows, signals, recipe) for recipe, signals in comparison.signals.items()]
    for number, name in enumerate(shown):
        quantity = QUANTITIES[name]
        panel = Panel(
            f"{number + 1}" if number else "", quantity, _limits(quantity, curves[name], line)
        )
        layout |= _axes(panel, number, len(shown), _ticks(rows, line))
        layout["annotations"].append(_heading(panel))
        labeled: set[tuple[int, int, str]] = set()
        for at, recipe in enumerate(comparison.signals):
            mine = [p for p in findings if p.recipe == recipe and p.quantity == name]
            traces += _recipe(panel, at, curves[name][at], rows, line, texts[at], mine, labeled)
    return {"data": traces, "layout": layout}


def _recipe(
    panel: Panel,
    at: int,
    found: Curve,
    rows: Sequence[SignalRow],
    line: Sequence[int],
    texts: Sequence[str],
    findings: Sequence[PlacedFinding],
    labeled: set[tuple[int, int, str]],
) -> list[Trace]:
    """Return the traces of one recipe in one plot, the most important last and so on top."""
    color = COLORS[at % len(COLORS)]
    traces: list[Trace] = []
    if len(found.seeds) > 1:
        traces += seed_lines(panel, found, line, color)
    else:
        if panel.quantity is QUANTITIES["forward"]:
            traces.append(error_band(panel, found, line, color))
        between = sorted({*range(len(rows))} - {*line})
        if len(between) <= MOST_DOTS:
            traces.append(call_dots(panel, found, between, texts, color))
    traces.append(median_line(panel, found, line, texts, color))
    traces += crosses(panel, found, line, texts)
    if findings:
        traces.append(finding_rings(panel, found, [row.key for row in rows], findings, labeled))
    return [trace | {"legendgroup": str(at)} for trace in traces]


def _limits(
    quantity: Quantity, curves: Iterable[Curve], line: Sequence[int]
) -> tuple[float, float]:
    """Return the ends of a y axis, as exponents of ten if it is logarithmic."""
    values: list[float] = []
    for found in curves:
        at = line if len(found.seeds) > 1 else range(len(found.middle))
        values += [seed[n] or 0.0 for seed in found.seeds for n in at]
    if not quantity.log:
        return (COSINES[0] if any(value < POSITIVE for value in values) else POSITIVE, COSINES[1])
    low, high = whole_decades(v for v in values if v > 0 and math.isfinite(v))
    edge = max(0.25, LABEL * (high - low))
    return (low - edge, high + edge)


def _layout(panels: int, *, legend: bool) -> dict[str, Any]:
    top = 72 if legend else 48
    return {
        "height": HEIGHT * ((panels + 1) // 2) + top,
        "margin": {"l": 72, "r": 20, "t": top, "b": 0},
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
    """Return an entry for each recipe; clicking it toggles the recipe in all plots."""
    return [
        {
            "type": "scatter",
            "x": [None],
            "y": [None],
            "mode": "lines",
            "line": {"color": COLORS[at % len(COLORS)], "width": 3},
            "name": escaped(recipe),
            "legendgroup": str(at),
            "showlegend": True,
        }
        for at, recipe in enumerate(comparison.signals)
    ]


def _axes(panel: Panel, number: int, panels: int, ticks: dict[str, Any]) -> dict[str, Any]:
    """Return the axes of a plot; all x axes zoom together."""
    deep, row, column = (panels + 1) // 2, number // 2, number % 2
    alone = number == panels - 1 and column == 0
    low, high = panel.limits
    top = 1 - row / deep
    x = ticks | {
        "domain": [0, 1] if alone else [0.54 * column, 0.46 + 0.54 * column],
        "anchor": f"y{panel.number}",
        "showgrid": False,
        "zeroline": False,
        "showline": True,
        "linecolor": "#999",
        "title": {"text": "module, in order of execution", "standoff": 6, "font": {"size": 11}},
    }
    y: dict[str, Any] = {
        "domain": [top - (1 - NAMES / HEIGHT) / deep, top - (0.08 / deep if row else 0)],
        "anchor": f"x{panel.number}",
        "range": [low, high],
        "gridcolor": "#e5e5e5",
        "title": {"text": panel.quantity.unit, "standoff": 4, "font": {"size": 11}},
        "zeroline": False,
    }
    if number:
        x["matches"] = "x"
    if panel.quantity.log:
        step = max(1, math.ceil((high - low) / DECADES))
        y |= {"type": "log", "dtick": step, "exponentformat": "power"}
    return {f"xaxis{panel.number}": x, f"yaxis{panel.number}": y}


def _ticks(rows: Sequence[SignalRow], line: Sequence[int]) -> dict[str, Any]:
    short = short_names(row.name for row in rows)
    at = at_least_apart(line, len(rows) / TICKS)
    names = [trimmed(short[rows[n].name], NAME) for n in at]
    edge = 0.5 + 0.02 * len(rows)
    return {
        "tickvals": at,
        "ticktext": [escaped(name) for name in names],
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
