"""The traces of one plot of the page: lines, bands, dots, crosses, findings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from goodinit.report.curves import Curve, Quantity, Value, error_factor
from goodinit.report.placed_findings import PlacedFinding

RED = "#C1272D"
EDGE = 0.1  # of the x axis: a label there is wider than the rest of the axis
LABELS = 12  # that fit above each other in a plot
LEVEL = 0.02  # of the y axis: a line that rises less is beside a label, not behind it
CROSS_BELOW, CROSS_ABOVE = 0.03, 0.97  # of the axis: a cross of 8 pixels stays inside the plot

Trace = dict[str, Any]


class Panel(NamedTuple):
    """One plot.

    Attributes:
        number: "" for the first, then "2", "3": as plotly counts axes.
        quantity: what it shows.
        limits: ends of its y axis; exponents of ten if it is logarithmic.
    """

    number: str
    quantity: Quantity
    limits: tuple[float, float]

    def trace(self, x: Sequence[int], y: Sequence[Value], **more: Any) -> Trace:
        """Return a trace of this plot, with gaps for values that its axis can't show."""
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
        """Return the value if the axis can show it, else None."""
        if value is None or not math.isfinite(value) or (self.quantity.log and value <= 0):
            return None
        return value

    def shown(self, value: Value) -> float:
        """Return where a value is drawn; near an edge if the axis can't show it."""
        known = self.drawable(value)
        return known if known is not None else self.at(CROSS_BELOW if value == 0 else CROSS_ABOVE)

    def share(self, value: Value) -> float:
        """Return where a value is drawn, as a share of the y axis."""
        low, high = self.limits
        shown = self.shown(value)
        return ((math.log10(shown) if self.quantity.log else shown) - low) / (high - low)

    def at(self, share: float) -> float:
        """Return the value at a share of the y axis, from 0 to 1."""
        low, high = self.limits
        value = low + share * (high - low)
        return 10.0**value if self.quantity.log else value


def median_line(
    panel: Panel, found: Curve, line: Sequence[int], texts: Sequence[str], color: str
) -> Trace:
    """Return the line over depth: of several seeds the median."""
    return panel.trace(
        line,
        [found.middle[n] for n in line],
        mode="lines+markers",
        line={"color": color, "width": 2},
        marker={"color": color, "size": 5},
        **_tooltip(line, texts),
    )


def call_dots(
    panel: Panel, found: Curve, at: Sequence[int], texts: Sequence[str], color: str
) -> Trace:
    """Return dots for the calls that aren't on the line."""
    return panel.trace(
        at,
        [found.middle[n] for n in at],
        mode="markers",
        marker={"color": color, "size": 4, "opacity": 0.35},
        **_tooltip(at, texts),
    )


def seed_lines(panel: Panel, found: Curve, line: Sequence[int], color: str) -> list[Trace]:
    """Return a thin line for each seed."""
    return [
        panel.trace(
            line,
            [seed[n] for n in line],
            mode="lines",
            line={"color": color, "width": 0.7},
            opacity=0.4,
            hoverinfo="skip",
        )
        for seed in found.seeds
    ]


def error_band(panel: Panel, found: Curve, line: Sequence[int], color: str) -> Trace:
    """Return a band of one standard error on both sides of the line of one seed."""
    rows = [(n, row) for n in line if (row := found.rows[n]) is not None]
    known = [(n, row) for n, row in rows if 0 < row.forward.second < math.inf]
    upper = [row.forward.second * error_factor(row) for _, row in known]
    lower = [row.forward.second / error_factor(row) for _, row in known]
    x = [n for n, _ in known]
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return panel.trace(
        [*x, *reversed(x)],
        [*upper, *reversed(lower)],
        mode="lines",
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},0.15)",
        line={"width": 0},
        hoverinfo="skip",
    )


def crosses(panel: Panel, found: Curve, line: Sequence[int], texts: Sequence[str]) -> list[Trace]:
    """Return crosses for values the axis can't show: 0 at the bottom, NaN and inf at the top."""
    at = [
        n
        for n, value in enumerate(found.middle)
        if value is not None and panel.drawable(value) is None and (value != 0 or n in line)
    ]
    if not at:
        return []
    trace = panel.trace(
        at,
        [panel.shown(found.middle[n]) for n in at],
        mode="markers",
        marker={"color": RED, "size": 8, "symbol": "x"},
        **_tooltip(at, texts),
    )
    return [trace]


def finding_rings(
    panel: Panel,
    found: Curve,
    keys: Sequence[str],
    findings: Sequence[PlacedFinding],
    labeled: set[tuple[int, int, str]],
) -> Trace:
    """Return a ring with the code around the last place of each finding.

    ``labeled`` are the places, heights and codes that have a label from an earlier recipe: a second
    one would overprint it.
    """
    codes: dict[int, list[str]] = {}
    for placed in findings:
        if placed.finding.severity != "info" and placed.keys and placed.keys[-1] in keys:
            codes.setdefault(keys.index(placed.keys[-1]), []).append(placed.finding.code)
    return panel.trace(
        [*codes],
        [panel.shown(found.middle[n]) for n in codes],
        mode="markers+text",
        marker={"color": RED, "size": 13, "symbol": "circle-open", "line": {"width": 2}},
        text=[_label(panel, found, n, each, labeled) for n, each in codes.items()],
        textposition=[_label_position(panel, found, n) for n in codes],
        textfont={"color": RED},
        hoverinfo="skip",
        cliponaxis=False,
    )


def _label(
    panel: Panel, found: Curve, n: int, codes: Sequence[str], labeled: set[tuple[int, int, str]]
) -> str:
    height = round(panel.share(found.middle[n]) * LABELS)
    new = [code for code in codes if (n, height, code) not in labeled]
    labeled |= {(n, height, code) for code in new}
    return " ".join(new)


def _label_position(panel: Panel, found: Curve, n: int) -> str:
    """Return where a label stands so that it overprints neither an axis nor the line."""
    last = len(found.middle) - 1
    share = n / max(last, 1)
    if EDGE <= share <= 1 - EDGE:
        return "top center"
    near = n + max(1, round(EDGE * last)) * (1 if share < EDGE else -1)
    rise = panel.share(found.middle[min(max(near, 0), last)]) - panel.share(found.middle[n])
    vertical = "bottom" if rise > LEVEL else "top"
    return f"{vertical} {'right' if share < EDGE else 'left'}"


def _tooltip(at: Sequence[int], texts: Sequence[str]) -> dict[str, Any]:
    """Return the tooltips, and the rows that a click leads to."""
    return {"hovertext": [texts[n] for n in at], "hoverinfo": "text", "customdata": list(at)}
