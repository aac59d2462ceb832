"""`Signal`: moments forward and backward through a model, a row a call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from typing import cast

from goodinit._common.late import late
from goodinit._common.text import wrap
from goodinit.findings import Finding
from goodinit.plans.plan import Plan
from goodinit.signal.moments import Moments

__all__ = ["Gradient", "Signal", "SignalRow", "number", "trimmed"]


@dataclass(slots=True)
class SignalRow:
    """One call of a torch function on the way from the inputs.

    Attributes:
        key: "path:function" and, from the second such call on, "#2": the same in any run.
        name: path of the module that called.
        kind: what the function does: see ``anatomy.functions``.
        function: its plain name.
        shape: of its (first floating) result.
        width: how many channels that has.
        forward: of the result.
        backward: of the gradient there; None if none arrived.
        takes: numbers of the rows whose results it took; -1 is an input.
        params: names of the parameters that it took.
        spread: standard deviation of log(second) over seeds, for the layers since the last norm
            are of finite width (Hanin & Rolnick, 2018).
    """

    key: str
    name: str
    kind: str
    function: str
    shape: tuple[int, ...]
    width: int
    forward: Moments
    backward: Moments | None = None
    takes: tuple[int, ...] = ()
    params: tuple[str, ...] = ()
    spread: float = 0.0

    @property
    def error(self) -> float:
        """Standard error of log(second): a finite batch and finite width together."""
        return math.hypot(self.forward.error or 0.0, self.spread)


@dataclass(frozen=True, slots=True)
class Gradient:
    """A parameter's gradient.

    Attributes:
        name: the parameter's.
        ratio: |g| / |w|; inf of a weight that is 0, NaN if numbers of the gradient are NaN or
            infinite, None if no gradient arrived.
        size: |g|.
    """

    name: str
    ratio: float | None
    size: float = 0.0


@dataclass(slots=True)
class Signal:
    """What became of the signal and of the gradient.

    Attributes:
        rows: in execution order.
        gradients: of each parameter that requires one.
        findings: what is wrong.
        loss: its value; None where a random projection of the outputs stood in for it.
        batch: number of samples.
        notes: what could not be known, and why.
    """

    rows: list[SignalRow]
    gradients: list[Gradient] = field(default_factory=list[Gradient])
    findings: list[Finding] = field(default_factory=list[Finding])
    loss: float | None = None
    batch: int = 1
    notes: list[str] = field(default_factory=list[str])

    @property
    def ok(self) -> bool:
        """Whether there is no finding but such as only inform."""
        return all(finding.severity == "info" for finding in self.findings)

    @property
    def layers(self) -> list[SignalRow]:
        """The rows that multiply by a parameter: what is meant by depth."""
        return [row for row in self.rows if row.kind == "contract" and row.params]

    def __getitem__(self, key: str) -> SignalRow:
        for row in self.rows:
            if row.key == key:
                return row
        raise KeyError(key)

    def to_dict(self) -> dict[str, object]:
        """Return plain data, for strict JSON: NaN and infinity are None."""
        return {name: _finite(value) for name, value in asdict(self).items()}

    def to_html(self, path: str | PathLike[str], plan: Plan | None = None) -> None:
        """Write one HTML file that opens offline: plots over depth, findings, all rows.

        Args:
            path: of the file, which is replaced whole; its name is the title.
            plan: what the weights were drawn by; its rows are shown too.

        Raises:
            ReportError: plotly isn't installed.
            OSError: the file can't be written.
        """
        comparison = late("goodinit.report.curves:alone")(self, plan)
        late("goodinit.report.page:write")(comparison, path)

    def to_image(self, path: str | PathLike[str]) -> None:
        """Write the second moments, forward and backward over depth, as .png, .svg or .pdf.

        Raises:
            ReportError: another ending; matplotlib isn't installed.
            OSError: the file can't be written.
        """
        late("goodinit.report.image:write")(late("goodinit.report.curves:alone")(self), path)

    def __str__(self) -> str:
        head = ("call", "function", "shape", "mean", "second", "samples", "positions", "gradient")
        lines = [head, *(_cells(row) for row in self.rows if row.kind not in ("view", "cast"))]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(
                cell.ljust(width) if at < 3 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        said = [str(finding) for finding in self.findings] or ["No findings."]
        return "\n".join(
            [*table, "", *(line for text in [*said, *self.notes] for line in wrap(text))]
        )


def _cells(row: SignalRow) -> Sequence[str]:
    f, b = row.forward, row.backward
    return (
        trimmed(row.name or "(model)", 20),
        trimmed(row.function, 12),
        "x".join(map(str, row.shape)),
        number(f.mean),
        number(f.second),
        number(f.across_samples),
        number(f.across_positions),
        number(None if b is None else b.second),
    )


def _finite(value: object) -> object:
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return {name: _finite(item) for name, item in items}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in cast("Sequence[object]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def number(value: float | None) -> str:
    """Return three digits of a number; nothing where there is none."""
    if value is None:
        return ""
    return "nan" if math.isnan(value) else f"{value:.3g}"


def trimmed(name: str, width: int) -> str:
    """Return a name that fits, cut in its middle: both of its ends tell.

    >>> trimmed("encoder.layers.11.attention.output", 20)
    'encoder.l…ion.output'
    """
    if len(name) <= width:
        return name
    head = (width - 1) // 2
    return f"{name[:head]}…{name[len(name) - (width - 1 - head) :]}"
