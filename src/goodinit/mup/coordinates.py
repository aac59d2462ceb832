"""`CoordinateCheck`: how activations and their changes grow with width and depth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from goodinit._common.late import late
from goodinit._common.result import Result
from goodinit._common.text import (
    count,
    escaped,
    folded_html,
    html_table,
    number,
    table,
    verdict_html,
    wrap,
)

SLOPE = 0.05  # of log(size) against log(width): at 16 times the width, 15 % more
ERRORS = 2.0  # standard errors of a slope that chance may add
MOST_ROWS = 12  # of a table on a screen
HEAD = ("module", "what", "over", "slope", "error", "verdict")


@dataclass(frozen=True, slots=True, repr=False)
class Coordinate:
    """How the output of one module grows: a straight line through logarithms.

    Attributes:
        name: path of the module, "" of the model; layers' numbers are * where depth varies.
        what: "initial", the output before training; "change", what training added to it.
        over: "width" or "depth".
        sizes: the widths or depths, one for each value.
        values: root of the mean square, for each size and seed.
        slope: of log(value) against log(size): 0 is what muP has.
        error: its standard error.
        last: whether its own size is the same at each width, as that of the model's output. Its
            initial value may fall, as 1/sqrt(width) of muP's logits does.
        judged: whether its slope counts. Over depths those inside of layers don't: a branch's
            share of the sum is 1/depth, and a layer's place between 0 and 1 depends on the depth.

    Example:
        >>> Coordinate("fc", "change", "width", (64, 256), (0.8, 1.6), slope=0.5, error=0.0).slope
        0.5
    """

    name: str
    what: Literal["initial", "change"]
    over: Literal["width", "depth"]
    sizes: tuple[int, ...]
    values: tuple[float, ...]
    slope: float
    error: float
    last: bool = False
    judged: bool = True

    @property
    def ok(self) -> bool:
        """Whether the slope is 0, within .05 and two standard errors."""
        allowed = SLOPE + ERRORS * self.error
        if not self.judged:
            return True
        if self.what == "initial" and self.last:
            return self.slope <= allowed
        return abs(self.slope) <= allowed

    @property
    def key(self) -> str:
        """Name, what and over what, by which a check finds it."""
        return f"{self.name}:{self.what}:{self.over}"

    def __repr__(self) -> str:
        return f"<Coordinate {self.key!r}: slope {self.slope:.3f} +- {self.error:.3f}>"


@dataclass(frozen=True, repr=False)
class CoordinateCheck(Result[Coordinate]):
    """Slopes of activations and of their changes, over widths and depths.

    ``check["layer:change:width"]`` is one row; ``check.ok`` whether all slopes are 0.

    Attributes:
        rows: by module, in the order in which they run.
        recipe: name of the recipe.
        optimizer: name of the optimizer.
        steps: how many were trained.
        notes: what was left out, and why.

    Example:
        >>> values = tuple(width**0.5 for width in (64, 128, 256))
        >>> row = Coordinate("fc", "change", "width", (64, 128, 256), values, *fit(
        ...     (64, 128, 256), values))
        >>> check = CoordinateCheck((row,), "standard", "adamw", 4)
        >>> check.ok, round(check["fc:change:width"].slope, 3)
        (False, 0.5)
    """

    rows: tuple[Coordinate, ...]
    recipe: str = ""
    optimizer: str = ""
    steps: int = 0
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether each slope is 0, within .05 and two standard errors."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def worst(self) -> Coordinate:
        """The row whose slope is furthest from 0, initial logits aside."""
        judged = [r for r in self.rows if r.judged and not (r.what == "initial" and r.last)]
        return max(judged or self.rows, key=lambda row: abs(row.slope))

    def to_text(self, *, full: bool = False) -> str:
        """Return the verdict and the slopes, the steepest first."""
        cells = self._cells()
        shown = cells if full else cells[:MOST_ROWS]
        out = [*wrap(self._verdict()), "", *table(HEAD, shown, {3, 4})]
        if len(shown) < len(cells):
            out += wrap(f"{len(shown)} of {len(cells)} rows: check.to_text(full=True) shows all")
        for note in self.notes:
            out += ["", *wrap(f"note: {note}")]
        return "\n".join(out)

    def _verdict(self) -> str:
        wrong = [row for row in self.rows if not row.ok]
        verdict = "all slopes are 0" if self.ok else f"{len(wrong)} of {len(self)} slopes aren't 0"
        steps = count(self.steps, "step")
        return f"{self.recipe}, {steps} of {self.optimizer}: {verdict} within {SLOPE}"

    def _cells(self) -> list[tuple[str, ...]]:
        """Return a line for each row, the steepest first."""
        rows = sorted(self.rows, key=lambda row: (row.ok, not row.judged, -abs(row.slope)))
        return [
            (row.name or "(model)", row.what, row.over, number(row.slope), number(row.error),
             "" if row.judged and row.ok else "not 0" if row.judged else "not judged")
            for row in rows
        ]  # fmt: skip

    def _repr_html_(self) -> str:
        cells = self._cells()
        every = html_table(HEAD, cells)
        rest = folded_html(f"All {len(cells)} rows", every) if len(cells) > MOST_ROWS else ""
        notes = "".join(f"<p>{escaped(note)}</p>" for note in self.notes)
        verdict = verdict_html(self._verdict(), self.ok)
        return f"{verdict}{html_table(HEAD, cells[:MOST_ROWS])}{notes}{rest}"

    def plot(self) -> Any:
        """Return a matplotlib figure: each row's values against width or depth, with its line.

        Raises:
            ReportError: matplotlib isn't installed.
        """
        return late("goodinit.report.coordinate_figure:coordinates_figure")(self)

    def __repr__(self) -> str:
        return f"<CoordinateCheck {self.recipe!r}: {len(self)} rows, ok {self.ok}>"

    def _names(self, row: Coordinate) -> Iterable[str]:
        return (row.key,)


def fit(sizes: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """Return the slope of log(value) against log(size), by least squares, and its standard error.

    >>> slope, error = fit([1, 2, 4, 8], [3.0, 6.0, 12.0, 24.0])
    >>> round(slope, 9), round(error, 9)
    (1.0, 0.0)
    """
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    spread = math.fsum((a - mean_x) ** 2 for a in x)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    rest = [b - mean_y - slope * (a - mean_x) for a, b in zip(x, y, strict=True)]
    variance = math.fsum(r * r for r in rest) / max(len(x) - 2, 1)
    return slope, math.sqrt(variance / spread)
