"""`compare`: one model under several recipes, each drawn with several seeds and measured."""

from __future__ import annotations

import copy
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike

from torch import nn

from goodinit._common.late import late
from goodinit.applying.apply import apply_
from goodinit.errors import ModelError, SignalError
from goodinit.plans.plan import Plan
from goodinit.signal.measure import Loss, measure, whole
from goodinit.signal.rows import Signal, SignalRow
from goodinit.trace.run import Inputs

__all__ = ["Comparison", "compare", "summary"]


@dataclass(slots=True)
class Comparison:
    """One model under several recipes.

    Attributes:
        signals: of each recipe, one a seed.
        plans: of each recipe.
    """

    signals: dict[str, list[Signal]]
    plans: dict[str, Plan] = field(default_factory=dict[str, Plan])

    @property
    def ok(self) -> bool:
        """Whether no recipe has a finding but such as only inform."""
        return all(signal.ok for signals in self.signals.values() for signal in signals)

    def to_dict(self) -> dict[str, object]:
        """Return plain data, for JSON."""
        return {name: [s.to_dict() for s in signals] for name, signals in self.signals.items()}

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write one HTML file that opens offline: plots over depth, findings, rows, plans.

        Raises:
            ReportError: plotly isn't installed.
            OSError: the file can't be written.
        """
        late("goodinit.report.page:write")(self, path)

    def to_image(self, path: str | PathLike[str]) -> None:
        """Write the second moments, forward and backward over depth, as .png, .svg or .pdf.

        Raises:
            ReportError: another ending; matplotlib isn't installed.
            OSError: the file can't be written.
        """
        late("goodinit.report.image:write")(self, path)

    def __str__(self) -> str:
        lines = summary(self)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if at in (0, 6) else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )


def compare(
    model: nn.Module,
    inputs: Inputs,
    plans: Mapping[str, Plan],
    seeds: int = 5,
    loss: Loss | None = None,
) -> Comparison:
    """Draw each plan with seeds 0, 1, ... into a copy of the model, and measure it.

    Args:
        model: on meta as well; it is not written to.
        inputs: as for ``measure``.
        plans: by the names that they shall have in the comparison.
        seeds: how many; at least 1.
        loss: as for ``measure``.

    Raises:
        SignalError: as for ``measure``; fewer than one seed.
        ModelError: the model can't be copied.
    """
    seeds = whole(seeds, "seeds", 1, "a comparison")
    if not plans:
        raise SignalError("a comparison needs at least one recipe")
    signals: dict[str, list[Signal]] = {}
    for name, plan in plans.items():
        for seed in range(seeds):
            drawn = _copy(model)
            apply_(drawn, plan, seed=seed, materialize="cpu")
            signals.setdefault(name, []).append(measure(drawn, inputs, loss))
    return Comparison(signals, dict(plans))


def _copy(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise ModelError(
            f"the model can't be copied ({type(error).__name__}: {error}): draw and measure it "
            "recipe by recipe, with gi.init_ and gi.measure"
        ) from error


def summary(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return a heading and a line a recipe, as text in cells."""
    head = ("recipe", "last layer", "over seeds", "samples", "gradient", "loss", "findings")
    return [head, *(_line(name, signals) for name, signals in comparison.signals.items())]


def _line(name: str, signals: Sequence[Signal]) -> tuple[str, ...]:
    layers = [signal.layers for signal in signals]
    last = [rows[-1].forward for rows in layers if rows]
    seconds = [m.second for m in last]
    codes = Counter(code for s in signals for code in {f.code for f in s.findings})
    return (
        name,
        _middle(seconds),
        f"{min(seconds):.2g} to {max(seconds):.2g}" if len(seconds) > 1 else "",
        _middle([m.across_samples for m in last]),
        _middle([_back(rows) for rows in layers]),
        _middle([signal.loss for signal in signals]),
        ", ".join(f"{code} {n}/{len(signals)}" for code, n in sorted(codes.items())) or "none",
    )


def _back(rows: Sequence[SignalRow]) -> float | None:
    """Return the gradient's squared norm at the first layer, over that at the last."""
    if not rows or rows[0].backward is None or rows[-1].backward is None:
        return None
    first, last = (
        math.prod(r.shape) * r.backward.second for r in (rows[0], rows[-1]) if r.backward
    )
    return first / last if last else None


def _middle(values: Sequence[float | None]) -> str:
    """Return the median; nothing where there is none."""
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.3g}" if known else ""
