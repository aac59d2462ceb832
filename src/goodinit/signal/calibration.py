"""`Calibration`: by what each weight was multiplied, or why it was left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from goodinit._common.result import Result
from goodinit._common.text import count, grouped_names, html_table, number, table, wrap

ONCE, SEVERAL = 0.05, 1.0
"""How far the second moment may be from its target, relative, up or down: of a weight that is used
once it can be exact; a weight that is used several times has one factor for all its uses."""

ALONG = "scaled along with "
SHOWN = 6  # names in one line of text
HEAD = ("weight", "factor", "before", "after", "target", "uses", "off by")


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """What was done with one parameter.

    Attributes:
        name: the parameter's.
        factor: what it was multiplied by.
        before: second moment of its output before; geometric mean over its uses. With the backward
            criterion, of the gradient that it passes back, as a share of that at the last layer.
        after: the same afterwards.
        target: what was aimed at; None of what was left alone, of a bias, and of a compromise.
        uses: how many calls of one run multiply by it.
        off: by which factor, up or down, the use that is farthest off misses the target.
        why: why it was left alone, or which weight it was scaled along with.

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> found = gi.calibrate_(net, torch.randn(64, 8, generator=torch.manual_seed(0)))
        >>> found["0.weight"].target, found["0.bias"].why
        (1.0, 'scaled along with 0.weight')
    """

    name: str
    factor: float = 1.0
    before: float | None = None
    after: float | None = None
    target: float | None = None
    uses: int = 0
    off: float | None = None
    why: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.off is None else self.off <= 1 + (ONCE if self.uses == 1 else SEVERAL)


@dataclass(frozen=True, repr=False)
class Calibration(Result[CalibrationRow]):
    """What a calibration did. Iterate over it for its rows, one for each parameter.

    Attributes:
        rows: in registration order.
        criterion: "forward", "backward" or "compromise".
        notes: what it could not know, or not reach.

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> net = torch.nn.Sequential(*[torch.nn.Linear(32, 32), torch.nn.GELU()] * 1)
        >>> x = torch.randn(64, 32, generator=torch.manual_seed(0))
        >>> gi.calibrate_(net, x).ok
        True
    """

    rows: tuple[CalibrationRow, ...]
    criterion: str = "forward"
    notes: tuple[str, ...] = ()

    @property
    def aimed(self) -> list[CalibrationRow]:
        """The rows of the weights that were calibrated."""
        return [row for row in self.rows if row.uses]

    @property
    def ok(self) -> bool:
        """True if no target was missed."""
        return all(row.met is not False for row in self.rows)

    def to_text(self, *, full: bool = False) -> str:
        """Return how many weights are on target, and those left alone; ``full``: every weight."""
        lines = [line for text in self._texts() for line in wrap(text)]
        shown = [row for row in self.aimed if full or row.met is False]
        if shown:
            lines += table(HEAD, [_cells(row) for row in shown], right=set(range(1, 7)))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Calibration, {self.criterion}: {count(len(self.aimed), 'weight')} calibrated>"

    def _repr_html_(self) -> str:
        texts = html_table(("calibration",), [(text,) for text in self._texts()])
        return texts + html_table(HEAD, [_cells(row) for row in self.aimed])

    def _texts(self) -> Iterator[str]:
        aimed = self.aimed
        changed = sum(row.factor != 1 for row in aimed)
        missed = sum(row.met is False for row in aimed)
        verdict = "all on target" if not missed else f"{missed} off their target"
        if self.criterion == "compromise":
            verdict = "between what keeps the signal and what keeps the gradient"
        done = f"{count(len(aimed), 'weight')} calibrated ({self.criterion})"
        yield f"{done}, {verdict}; {changed} rescaled."
        reasons: dict[str, list[str]] = {}
        for row in self.rows:
            if not row.uses and not row.why.startswith(ALONG):
                reasons.setdefault(row.why, []).append(row.name)
        for why, names in reasons.items():
            yield f"Left alone: {grouped_names(names, SHOWN)}: {why}."
        yield from self.notes


def _cells(row: CalibrationRow) -> tuple[str, ...]:
    numbers = (row.factor, row.before, row.after, row.target)
    return (row.name, *map(number, numbers), str(row.uses), number(row.off))
