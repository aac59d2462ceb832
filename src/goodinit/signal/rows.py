"""`Signal`: moments forward and backward through a model, one row per call."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from typing import Any

from goodinit._common.late import late
from goodinit._common.result import Result
from goodinit._common.text import shape_text
from goodinit.findings import Finding
from goodinit.plans.plan import Plan
from goodinit.signal.first_loss import FirstLoss
from goodinit.signal.moments import Moments


@dataclass(frozen=True, slots=True, repr=False)
class SignalRow:
    """One call of a torch function that depends on the inputs.

    Attributes:
        key: "path:function"; from the second such call on "path:function#2". The same in any run.
        name: path of the module that called.
        kind: what the function does; see ``dataflow.functions``.
        function: its plain name.
        shape: shape of its first floating result.
        width: number of channels of that result.
        forward: moments of the result.
        backward: moments of the gradient there; None if none arrived.
        takes: numbers of the rows whose results it took; -1 is an input.
        params: names of the parameters that it took.
        spread: standard deviation of log(second) over seeds, due to the finite width of the
            layers since the last norm (Hanin & Rolnick, 2018).

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> row = gi.measure(torch.nn.Linear(4, 2), torch.ones(8, 4)).rows[0]
        >>> row.key, row.kind, row.shape, row.params
        (':linear', 'contract', (8, 2), ('weight', 'bias'))
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

    def __repr__(self) -> str:
        shape = shape_text(self.shape)
        back = "" if self.backward is None else f", gradient's {self.backward.second:.3g}"
        return f"<SignalRow {self.key!r}: {shape}, second moment {self.forward.second:.3g}{back}>"

    @property
    def error(self) -> float:
        """The standard error of log(second), from a finite batch and finite width together."""
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

    @classmethod
    def of_norms(cls, name: str, size: float, weight: float) -> Gradient:
        """Return a gradient of a norm, of a parameter of a norm."""
        ratio = size / weight if weight else math.inf if size else 0.0
        return cls(name, ratio if math.isfinite(size) else math.nan, size)


@dataclass(frozen=True, repr=False)
class Signal(Result[SignalRow]):
    """What became of the signal and of the gradient.

    Iterate over it for its rows. ``signal["fc:linear"]`` is the row of that key, ``signal["fc"]``
    the first row of that module.

    Attributes:
        rows: in execution order.
        gradients: of each parameter that requires one.
        findings: what is wrong.
        loss: its value; None where a random projection of the outputs stood in for it.
        batch: number of samples.
        first_loss: the cross-entropy in ``loss``, and what it must be; None without one.
        notes: what could not be measured, and why.

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
        >>> signal = gi.measure(net, torch.randn(64, 4, generator=torch.manual_seed(0)))
        >>> [row.key for row in signal], signal["1"].function, signal.batch
        (['0:linear', '1:relu'], 'relu', 64)
    """

    rows: tuple[SignalRow, ...]
    gradients: tuple[Gradient, ...] = ()
    findings: tuple[Finding, ...] = ()
    loss: float | None = None
    batch: int = 1
    notes: tuple[str, ...] = ()
    first_loss: FirstLoss | None = None

    @property
    def layers(self) -> list[SignalRow]:
        """The rows that multiply by a parameter, as many as the model is deep."""
        return [row for row in self.rows if row.kind == "contract" and row.params]

    @property
    def gradient_change(self) -> float | None:
        """The gradient's squared norm at the first layer, over that at the last."""
        layers = self.layers
        if not layers or layers[0].backward is None or layers[-1].backward is None:
            return None
        first = math.prod(layers[0].shape) * layers[0].backward.second
        last = math.prod(layers[-1].shape) * layers[-1].backward.second
        return first / last if last else None

    def scalars(self, prefix: str = "signal") -> dict[str, float]:
        """Return numbers to log, by names that W&B, TensorBoard, MLflow and trackio take.

        For each layer its second moment, the cosine of two samples and the gradient's second
        moment; of the whole the loss, ``gradient_change`` and the numbers of findings.

        Args:
            prefix: of each name. Loggers make a group of charts of what stands before the slash:
                ``signal``, ``signal_second_moment``, ...

        Example:
            >>> import torch
            >>> import goodinit as gi
            >>> signal = gi.measure(torch.nn.Linear(4, 4), torch.ones(8, 4))
            >>> list(signal.scalars())[:3]
            ['signal/warnings', 'signal/errors', 'signal/gradient_change']
        """
        found: dict[str, float | None] = {
            "/warnings": sum(finding.severity == "warning" for finding in self.findings),
            "/errors": sum(finding.severity == "error" for finding in self.findings),
            "/loss": self.loss,
            "/gradient_change": self.gradient_change,
        }
        used: set[str] = set()
        for row in self.layers:
            name = _loggable(row.key if row.name else f"model{row.key}", used)
            found[f"_second_moment/{name}"] = row.forward.second
            found[f"_cosine/{name}"] = row.forward.across_samples
            found[f"_gradient/{name}"] = None if row.backward is None else row.backward.second
        return {prefix + name: float(v) for name, v in found.items() if v is not None}

    def plot(self) -> Any:
        """Return a matplotlib figure: second moments over depth, forward and backward.

        A notebook shows it; ``signal.plot().savefig("signal.png")`` writes it.

        Raises:
            ReportError: matplotlib isn't installed.
        """
        return late("goodinit.report.image:inline_figure")(self._compared())

    def to_figure(self) -> Any:
        """Return the plots of the page as a plotly figure, which a notebook shows.

        Raises:
            ReportError: plotly isn't installed.
        """
        return late("goodinit.report.plot:interactive_figure")(self._compared())

    def to_html(self, path: str | PathLike[str], plan: Plan | None = None) -> None:
        """Write one HTML file that opens offline: plots over depth, findings, all rows.

        Args:
            path: the file, which is replaced as a whole; its name is the title.
            plan: the plan that drew the weights; its rows are shown too.

        Raises:
            ReportError: plotly isn't installed.
            OSError: the file can't be written.
        """
        late("goodinit.report.page:write_page")(self._compared(plan), path)

    def to_image(self, path: str | PathLike[str]) -> None:
        """Write the second moments, forward and backward over depth, as .png, .svg or .pdf.

        Raises:
            ReportError: another ending; matplotlib isn't installed.
            OSError: the file can't be written.
        """
        late("goodinit.report.image:write_image")(self._compared(), path)

    def to_text(self, *, full: bool = False) -> str:
        """Return the verdict, the calls that matter and the findings; ``full``: all calls."""
        return late("goodinit.report.signal_text:signal_text")(self._compared(), full=full)

    def __repr__(self) -> str:
        return f"<Signal: {len(self)} rows, {len(self.findings)} findings>"

    def _repr_html_(self) -> str:
        return late("goodinit.report.notebook:signal_html")(self._compared())

    def _compared(self, plan: Plan | None = None) -> Any:
        """Return a comparison of this signal alone, which reports take."""
        return late("goodinit.report.curves:as_comparison")(self, plan)

    def _names(self, row: SignalRow) -> Iterable[str]:
        return row.key, row.name


def _loggable(key: str, used: set[str]) -> str:
    """Return a key in the characters that all loggers take; another one for each key.

    >>> used = set()
    >>> [_loggable(key, used) for key in ("a b:linear#2", "a/b:linear#2")]
    ['a_b.linear.2', 'a_b.linear.2_']
    """
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", re.sub("[:#]", ".", key))
    while name in used:
        name += "_"
    used.add(name)
    return name
