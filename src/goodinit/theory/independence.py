"""`independence`: whether weights and gradients are as independent as He's derivation assumes.

He et al. (2015), backward case: E|W^T g|^2 = |g|^2 |W|^2 / rows if the weights W and the gradient
g at the layer's output are independent. With most losses g depends on W.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import torch
from torch import Tensor, nn

from goodinit._common.progress import progress_line
from goodinit._common.result import Result
from goodinit._common.text import html_table, several, table, wrap
from goodinit.anatomy.names import Slot, walk
from goodinit.errors import PlanError, SignalError
from goodinit.plans.plan import Plan
from goodinit.plans.rows import PlanRow, needs_old
from goodinit.signal.batch_axis import differentiable, untouched
from goodinit.signal.checks import (
    Loss,
    backward_error,
    check_count,
    check_graph,
    check_runnable,
    check_scalar,
    unwrapped,
)
from goodinit.theory.observers import GradientObserver, RedrawnBackward, squared_norm
from goodinit.trace.calls import tensors_in
from goodinit.trace.real_run import real_run
from goodinit.trace.run import Inputs, arguments, first_line

# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom; 1.96 from 31 on.
STUDENT_T = (
    12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
NORMAL_95 = 1.96  # that of the normal distribution
LEAST_INTERVAL = 1e-3  # in log R: |W^T g|^2 of orthogonal weights has no spread but rounding
WIDEST_INTERVAL = 1.0  # around R = 1: one that is wider excludes little
SMALL_ERROR = 0.1  # of R: a deviation that is smaller is called small
CLEAR_ERROR = 0.1  # of log r or log m: more than one wide layer has by chance
ONE_SIDED = 0.25  # of a gradient: more than random signs make of 16 units or more
MOST_OF_R = 0.5  # of r - 1: then the layer's own output explains it
HEAD = ("layer", "r", "m", "R from here on")


@dataclass(frozen=True, slots=True)
class IndependenceRow:
    """One call that multiplies by a weight.

    Attributes:
        name: key of the call.
        weight: name of the parameter.
        r: |dL/dx|^2 / (|dL/dy|^2 |W|^2 / rows); 1 if independent (less at a convolution's border).
        m: |f'(u) g|^2 / (mean f'(u)^2 |g|^2) of the activation that follows; None without one.
        ratio: R of the gradient at this layer's input: the effect of all layers from here on.
        own: how much above 1 r is if the gradient there depends on W through the layer's own
            output y = W x alone: the sum of (y g)^2 / |x|^2, over |g|^2 |W|^2 / rows.
        sided: (sum of g)^2 / (n |g|^2) of the gradient g that reaches the activation's n units:
            1 if it is the same for all, 1/n if its signs are random.
        square: |dL/dx|^2.

    Example:
        >>> import goodinit as gi
        >>> x = torch.randn(8, 4, generator=torch.manual_seed(0))
        >>> found = gi.theory.independence(nn.Linear(4, 4), x, lambda y: y.square().sum())
        >>> found.rows[0].name, found.rows[0].weight, found.rows[0].m
        (':linear', 'weight', None)
    """

    name: str
    weight: str = ""
    r: float | None = None
    m: float | None = None
    ratio: float | None = None
    own: float | None = None
    sided: float | None = None
    square: float = 0.0


@dataclass(frozen=True, repr=False)
class Independence(Result[IndependenceRow]):
    """Whether He's assumption holds here. Iterate over it for its rows, one per layer.

    Attributes:
        ratio: R = |dL/dx|^2 at the start (the floating inputs, or the embedding of the inputs),
            over its mean when the backward pass uses redrawn weights. Forward pass, masks and
            output gradient are the same.
        interval: 95 %, for the number of redraws and the chance of the weights themselves.
        rows: r and m of each layer, in execution order.
        law: the law of the redrawn weights.
        skipped: keys of calls whose weights are inside of one function, such as an LSTM's. They
            keep their weights in the backward pass, and have no row.

    Example:
        >>> import goodinit as gi
        >>> x = torch.randn(64, 64, generator=torch.manual_seed(0))
        >>> found = gi.theory.independence(nn.Linear(64, 64), x, lambda y: y.square().sum())
        >>> found.holds, len(found), found.ratio > 1  # the gradient is 2 y: it depends on W
        (False, 1, True)
    """

    ratio: float
    interval: tuple[float, float]
    rows: tuple[IndependenceRow, ...] = ()
    law: str = ""
    skipped: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the interval contains 1."""
        return self.interval[0] <= 1 <= self.interval[1]

    @property
    def ok(self) -> bool:
        """The same as ``holds``."""
        return self.holds

    def to_text(self, *, full: bool = False) -> str:  # noqa: ARG002 - one line per layer
        """Return the verdict and a line for each layer."""
        lines = [line for text in self._texts() for line in wrap(text)]
        return "\n".join([*lines, *table(HEAD, self._cells(), right={1, 2, 3})])

    def __repr__(self) -> str:
        low, high = self.interval
        return f"<Independence: R = {self.ratio:.3g} ({low:.3g} to {high:.3g}), {len(self)} layers>"

    def _repr_html_(self) -> str:
        return html_table(("verdict",), [(x,) for x in self._texts()]) + html_table(
            HEAD, self._cells()
        )

    def _names(self, row: IndependenceRow) -> Iterable[str]:
        return row.name, row.name.partition(":")[0]

    def _cells(self) -> list[tuple[str, ...]]:
        return [(row.name, *map(_three_places, (row.r, row.m, row.ratio))) for row in self.rows]

    def _texts(self) -> list[str]:
        low, high = self.interval
        texts = [
            self._verdict(),
            f"true / decoupled squared gradient: {self.ratio:.3g} ({low:.3g} to {high:.3g})",
            f"Redrawn weights: {self.law}.",
        ]
        if self.skipped:
            texts.append(
                f"Left out: {several(self.skipped)}. Their weights are inside of one function, and "
                "stay the same in the backward pass."
            )
        return texts

    def _verdict(self) -> str:
        off = max(1 - self.interval[0], self.interval[1] - 1)
        if self.holds and off <= WIDEST_INTERVAL:
            return f"He's assumption holds here within {max(off, 0.01):.0%}."
        if self.holds:
            return (
                "He's assumption is not refuted here, but the interval is wide: by chance alone, "
                "other weights change the gradient as much. Use more redraws or wider layers."
            )
        size, error = "doesn't hold", abs(self.ratio - 1)
        if error <= SMALL_ERROR:
            size = f"is off by {error:.0%}, which is small but certain,"
        return (
            f"He's assumption {size} here: the squared gradient at the start is {self.ratio:.3g} "
            f"times that of independent weights. {_cause(self.rows)}"
        )


def _cause(rows: Sequence[IndependenceRow]) -> str:
    """Return where, by r or by m, it first fails in the backward pass, and why."""
    off = [(max(_log(row.r), _log(row.m)), row) for row in rows]
    clear = [row for size, row in reversed(off) if size > CLEAR_ERROR]
    size, row = max(off, key=lambda pair: pair[0])
    if not size:
        return "The layer isn't known: none has an r."
    row = clear[0] if clear else row
    uses = sum(other.weight == row.weight for other in rows)
    by_m = _log(row.m) > max(CLEAR_ERROR, _log(row.r))
    where = f"at {row.name}, r = {_three_places(row.r)}"
    if by_m:
        where = f"at the activation after {row.name}, m = {_three_places(row.m)}"
    return f"In the backward pass it fails first {where}: {_why(row, uses, by_m)}."


def _why(row: IndependenceRow, uses: int, by_m: bool) -> str:
    if uses > 1:
        return (
            f"its weight {row.weight} is used {uses} times (tied), so that the gradient there "
            "depends on it"
        )
    known = row.own is not None and row.r is not None and row.own > MOST_OF_R * abs(row.r - 1)
    if known and row.sided is not None and row.sided > ONE_SIDED:
        return (
            f"the readout above isn't zero-mean ({row.sided:.0%} of the gradient that reaches the "
            "activation is the same for all units), so that the gradient is parallel to the "
            "layer's own output"
        )
    if by_m:
        more = "more" if (row.m or 0) > 1 else "less"
        return f"the gradient is {more} where the activation passes it than elsewhere"
    if known:
        return (
            "the gradient is parallel to the layer's own output, as with a loss that is curved in "
            "it (a squared error, cross-entropy with many classes)"
        )
    if row.own is None:
        return "the gradient there depends on its weights; the cause is known of linear layers only"
    return "the gradient depends on its weights beyond its own output, as with trained weights"


def _log(value: float | None) -> float:
    return abs(math.log(value)) if value else 0.0


def _three_places(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


@progress_line("measuring independence")
def independence(
    model: nn.Module, inputs: Inputs, loss: Loss, plan: Plan | None = None, redraws: int = 8
) -> Independence:
    """Measure whether weights and gradients are independent, as He's backward case assumes.

    The model runs once as it is, and once more for each redraw: the forward pass with its own
    weights, the backward pass with others of the same law. Each use of a shared weight gets its
    own. The model isn't changed.

    Args:
        model: with weights; unmodified.
        inputs: as for ``measure``.
        loss: called with the output; returns a scalar.
        plan: the plan that drew the weights. Without one, and for weights that it keeps or that
            are parametrized, redrawn weights are iid normal with each weight's own mean and std;
            ``law`` of the result says which.
        redraws: number of redraws, at least 2.

    Raises:
        SignalError: the model or the loss raised, fewer than 2 redraws, no layer with a gradient.
        PlanError: ``plan`` is no Plan.
        MetaModelError: the model has no weights.

    Example:
        >>> import goodinit as gi
        >>> net = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
        >>> plan = gi.init_(net, "he", seed=0)
        >>> x, y = torch.randn(64, 256, generator=torch.manual_seed(0)), torch.arange(64) % 10
        >>> loss = lambda z: nn.functional.cross_entropy(z, y)
        >>> found = gi.theory.independence(net, x, loss, plan)
        >>> found.holds
        True
    """
    model = unwrapped(model)
    slots = check_runnable(model, inputs)
    redraws = check_count(redraws, "redraws", 2, "an interval")
    if plan is not None and not isinstance(plan, Plan):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PlanError(f"plan={plan!r} is no Plan: gi.init_ and gi.plan return one")
    names = {id(module): path for path, module in reversed(list(walk(model)))}
    found = [slot for slot in slots if not slot.buffer]
    params = {slot.name: slot.tensors for slot in found}
    taken = list(tensors_in(arguments(inputs)))
    if not all(bool(t.isfinite().all()) for t in taken if t.is_floating_point()):
        raise SignalError("values of the inputs are NaN or infinite: check the data")
    laws = _laws(plan, found)
    observer = GradientObserver(params, taken)
    true = _squared_gradient(model, inputs, loss, names, observer)
    others = [RedrawnBackward(params, taken, laws, seed) for seed in range(redraws)]
    drawn = [_squared_gradient(model, inputs, loss, names, other) for other in others]
    if not true or not all(drawn) or not all(map(math.isfinite, (true, *drawn))):
        raise SignalError("the gradient at the start is 0 or not finite: see goodinit.measure")
    rows = _rows(observer, others)
    ratio, wide = true / statistics.fmean(drawn), math.exp(_half_interval(drawn))
    law = _law(plan, others[0].own, len({row.weight for row in rows}))
    return Independence(ratio, (ratio / wide, ratio * wide), rows, law, tuple(observer.skipped))


def _rows(
    observer: GradientObserver, others: Sequence[RedrawnBackward]
) -> tuple[IndependenceRow, ...]:
    """Return a row for each layer, with R by the mean of the squared gradients of all redraws."""
    rows: list[IndependenceRow] = []
    for n, layer in enumerate(observer.rows):
        mean = statistics.fmean(other.rows[n].square for other in others)
        ratio = layer.square / mean if mean and layer.square else None
        rows.append(IndependenceRow(**asdict(layer), ratio=ratio))
    return tuple(rows)


def _half_interval(drawn: list[float]) -> float:
    """Return half of the interval of log R, which one more draw falls into 95 times of 100.

    Products of layers are nearly log-normal (Hanin & Nica, 2020): hence Student's t of the logs.
    """
    n = len(drawn)
    t = STUDENT_T[n - 2] if n <= len(STUDENT_T) + 1 else NORMAL_95
    return max(LEAST_INTERVAL, t * statistics.stdev(map(math.log, drawn)) * math.sqrt(1 + 1 / n))


def _laws(plan: Plan | None, found: Iterable[Slot]) -> dict[str, PlanRow]:
    """Return the plan's rows of weights that are drawn as they are."""
    if plan is None:
        return {}
    plain = [slot.name for slot in found if slot.how == "plain" and slot.name in plan]
    return {name: plan[name] for name in plain if not needs_old(plan[name])}


def _law(plan: Plan | None, own: Mapping[str, None], weights: int) -> str:
    iid = "iid normal, each with its weight's own mean and std"
    if plan is None or len(own) == weights:
        return iid
    return f"the plan's laws; {iid}: {several(own)}" if own else "the plan's laws"


def _squared_gradient(
    model: nn.Module,
    inputs: Inputs,
    loss: Loss,
    names: Mapping[int, str],
    observer: GradientObserver,
) -> float:
    """Return |dL/dx|^2 at the start."""
    given: list[Tensor] = []
    with real_run(model, inputs=untouched(inputs)) as run:
        args, kwargs = differentiable(arguments(inputs), given)
        try:
            output = run(observer, names, lambda: model(*args, **kwargs), observer.change)
            total = check_scalar(loss(output))
        except SignalError:
            raise
        except Exception as error:
            raise SignalError(f"the model or the loss raised: {first_line(error)}") from error
        if not observer.rows:
            inside = f": {several(observer.skipped)} keep theirs inside" if observer.skipped else ""
            raise SignalError(f"no layer of this model multiplies a signal by a weight{inside}")
        start = given if observer.start is None else [observer.start]
        if not start:
            raise SignalError(
                "no input is floating, and no embedding looks one up, so that the gradient has no "
                "start to go back to: pass floating inputs, such as the embedded tokens"
            )
        check_graph(total, output, "nothing that the model returns depends on the inputs")
        try:
            found = torch.autograd.grad(total, start, allow_unused=True)
        except Exception as error:
            raise backward_error(error) from error
        gradients = cast("tuple[Tensor | None, ...]", found)
        return math.fsum(squared_norm(gradient) for gradient in gradients if gradient is not None)
