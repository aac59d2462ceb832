"""What is drawn in one plot of the page: lines, bands, dots, crosses, findings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from goodinit.report.curves import Curve, Quantity, Value
from goodinit.report.marks import Mark

__all__ = ["Panel", "Trace", "dots", "lost", "marked", "middle", "seeds", "uncertain"]

RED = "#C1272D"
WIDEST = 50.0  # an error of log(second) beyond this is drawn as this

Trace = dict[str, Any]


class Panel(NamedTuple):
    """One plot.

    Attributes:
        number: "" of the first one, then "2", "3": as plotly counts axes.
        quantity: what it shows.
        limits: ends of its upright axis, exponents of ten where that is logarithmic.
    """

    number: str
    quantity: Quantity
    limits: tuple[float, float]

    def trace(self, x: Sequence[int], y: Sequence[Value], **more: Any) -> Trace:
        """Return points of this plot; such as its axis can't show are gaps."""
        return {
            "type": "scatter",
            "xaxis": f"x{self.number}",
            "yaxis": f"y{self.number}",
            "x": list(x),
            "y": [self.drawable(value) for value in y],
            "showlegend": False,
            **more,
        }

    def drawable(self, value: Value) -> Value:
        """Return a value that the axis can show; None for others."""
        if value is None or not math.isfinite(value) or (self.quantity.log and value <= 0):
            return None
        return value

    def shown(self, value: Value) -> float:
        """Return where a value is drawn: the lost ones as crosses near the edges."""
        known = self.drawable(value)
        return known if known is not None else self.edge(0.03 if value == 0 else 0.97)

    def edge(self, share: float) -> float:
        """Return the value at a share of the upright axis, from 0 to 1."""
        low, high = self.limits
        at = low + share * (high - low)
        return 10.0**at if self.quantity.log else at


def middle(
    panel: Panel, found: Curve, line: Sequence[int], texts: Sequence[str], colour: str
) -> Trace:
    """Return the line through the layers."""
    return panel.trace(
        line,
        [found.middle[n] for n in line],
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"color": colour, "size": 5},
        **_told(line, texts),
    )


def dots(panel: Panel, found: Curve, at: Sequence[int], texts: Sequence[str], colour: str) -> Trace:
    """Return the calls between the layers."""
    return panel.trace(
        at,
        [found.middle[n] for n in at],
        mode="markers",
        marker={"color": colour, "size": 4, "opacity": 0.35},
        **_told(at, texts),
    )


def seeds(panel: Panel, found: Curve, line: Sequence[int], colour: str) -> list[Trace]:
    """Return a thin line for each seed."""
    return [
        panel.trace(
            line,
            [seed[n] for n in line],
            mode="lines",
            line={"color": colour, "width": 0.7},
            opacity=0.4,
            hoverinfo="skip",
        )
        for seed in found.seeds
    ]


def uncertain(panel: Panel, found: Curve, line: Sequence[int], colour: str) -> Trace:
    """Return a band of one standard error to both sides of the line of one seed."""
    rows = [(n, row) for n in line if (row := found.rows[n]) is not None]
    known = [(n, row) for n, row in rows if 0 < row.forward.second < math.inf]
    factors = [math.exp(min(row.error, WIDEST)) for _, row in known]
    upper = [row.forward.second * by for (_, row), by in zip(known, factors, strict=True)]
    lower = [row.forward.second / by for (_, row), by in zip(known, factors, strict=True)]
    x = [n for n, _ in known]
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return panel.trace(
        [*x, *reversed(x)],
        [*upper, *reversed(lower)],
        mode="lines",
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.15)",
        line={"width": 0},
        hoverinfo="skip",
    )


def lost(panel: Panel, found: Curve, line: Sequence[int], texts: Sequence[str]) -> list[Trace]:
    """Return crosses for what an axis can't show: 0 at its bottom, NaN and infinity at its top."""
    at = [
        n
        for n, value in enumerate(found.middle)
        if value is not None and panel.drawable(value) is None and (value != 0 or n in line)
    ]
    if not at:
        return []
    crosses = panel.trace(
        at,
        [panel.shown(found.middle[n]) for n in at],
        mode="markers",
        marker={"color": RED, "size": 8, "symbol": "x"},
        **_told(at, texts),
    )
    return [crosses]


def marked(panel: Panel, found: Curve, keys: Sequence[str], marks: Sequence[Mark]) -> Trace:
    """Return a ring with its code around the last place of each finding."""
    codes: dict[int, list[str]] = {}
    for mark in marks:
        if mark.finding.severity != "info" and mark.keys and mark.keys[-1] in keys:
            codes.setdefault(keys.index(mark.keys[-1]), []).append(mark.finding.code)
    return panel.trace(
        [*codes],
        [panel.shown(found.middle[n]) for n in codes],
        mode="markers+text",
        marker={"color": RED, "size": 13, "symbol": "circle-open", "line": {"width": 2}},
        text=[" ".join(each) for each in codes.values()],
        textposition="top center",
        textfont={"color": RED},
        hoverinfo="skip",
        cliponaxis=False,
    )


def _told(at: Sequence[int], texts: Sequence[str]) -> dict[str, Any]:
    """Return what the mouse shows, and the number of the row that a click leads to."""
    return {"hovertext": [texts[n] for n in at], "hoverinfo": "text", "customdata": list(at)}
