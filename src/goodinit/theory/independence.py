"""`independence`: whether weights and gradients are as independent as He's derivation takes them.

He et al. (2015), backward case: E|W^T g|^2 = |g|^2 |W|^2 / rows if the weights W and the gradient
g at the layer's output are independent. With most losses g depends on W.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from goodinit.anatomy.names import Slot, walk
from goodinit.errors import PlanError, SignalError
from goodinit.plans.plan import Plan
from goodinit.plans.rows import PlanRow, needs_old
from goodinit.signal.batch_axis import differentiable, untouched
from goodinit.signal.measure import (
    Loss,
    backward_error,
    check_graph,
    checked,
    line_of,
    scalar,
    unwrapped,
    whole,
)
from goodinit.theory.decoupled import Decoupled, IndependenceRow, Watch, norm2
from goodinit.trace.calls import tensors_in
from goodinit.trace.real_run import real_run
from goodinit.trace.run import Inputs, arguments

__all__ = ["Independence", "IndependenceRow", "independence"]

# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom; 1.96 from 31 on.
_T = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
      2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
      2.052, 2.048, 2.045, 2.042)  # fmt: skip
ROUNDING = 1e-3  # an interval is no narrower: orthogonal weights have no chance in |W^T g|^2
TELLING = 1.0  # a wider interval says little
SMALL = 0.1  # what is off by less is called little
CLEAR = 0.1  # in log r or log m: what isn't a layer's own chance
SIDED = 0.25  # of a gradient: more than signs at random make of 16 units or more


@dataclass(slots=True)
class Independence:
    """Whether He's assumption holds here.

    Attributes:
        ratio: R = |dL/dx|^2 at the start (the floating inputs, or what the first embedding of the
            inputs returned), over its mean when the backward pass uses redrawn weights: the same
            forward pass, masks and output gradient.
        interval: 95 %, for the redraws' number and for the weights' own chance.
        rows: r and m of each layer, in execution order.
        law: what the redrawn weights were drawn from.
        skipped: keys of calls whose weights are inside of one function, as an LSTM's are: they
            keep their own weights on the way back, and have no row.
    """

    ratio: float
    interval: tuple[float, float]
    rows: list[IndependenceRow] = field(default_factory=list[IndependenceRow])
    law: str = ""
    skipped: list[str] = field(default_factory=list[str])

    @property
    def holds(self) -> bool:
        """Whether the interval holds 1."""
        return self.interval[0] <= 1 <= self.interval[1]

    def __str__(self) -> str:
        low, high = self.interval
        said = f"true / decoupled squared gradient: {self.ratio:.3g} ({low:.3g} to {high:.3g})"
        lines = [
            f"{row.name}  r {_short(row.r)}  m {_short(row.m)}  R from here on {_short(row.ratio)}"
            for row in self.rows
        ]
        if self.skipped:
            lines.append(
                "Left out, for their weights are inside of one function: "
                f"{_few(self.skipped)}; they keep their own weights on the way back."
            )
        return "\n".join([self._verdict(), said, f"Redrawn weights: {self.law}.", *lines])

    def _verdict(self) -> str:
        off = max(1 - self.interval[0], self.interval[1] - 1)
        if self.holds and off <= TELLING:
            return f"He's assumption holds here within {max(off, 0.01):.0%}."
        if self.holds:
            return (
                "Nothing speaks against He's assumption here, which says little: with weights "
                "drawn anew the gradient differs as much by chance. More redraws or wider layers "
                "would tell."
            )
        small = abs(self.ratio - 1) <= SMALL
        said = f"is off by {abs(self.ratio - 1):.0%}, little but sure," if small else "doesn't hold"
        return (
            f"He's assumption {said} here: the squared gradient at the start is {self.ratio:.3g} "
            f"times what independent weights would make of it. {_cause(self.rows)}"
        )


def _cause(rows: list[IndependenceRow]) -> str:
    """Return where it breaks first on the way back, by r or by m, and why."""
    off = [(_off(row), row) for row in rows]
    clear = [row for size, row in reversed(off) if size > CLEAR]
    size, row = max(off, key=lambda pair: pair[0])
    if not size:
        return "At which layer isn't known: none has an r."
    row = clear[0] if clear else row
    uses = sum(other.weight == row.weight for other in rows)
    by_m = _log(row.m) > max(CLEAR, _log(row.r))
    where = f"at the activation after {row.name}, m = {_short(row.m)}" if by_m else (
        f"at {row.name}, r = {_short(row.r)}"
    )  # fmt: skip
    return f"On the way back it breaks first {where}: {_why(row, uses, by_m)}."


def _why(row: IndependenceRow, uses: int, by_m: bool) -> str:
    if uses > 1:
        return (
            f"its weight {row.weight} is used {uses} times (tied), so that the gradient there has "
            "to do with it"
        )
    known = row.own is not None and row.r is not None and 2 * row.own > abs(row.r - 1)
    if known and row.sided is not None and row.sided > SIDED:
        return (
            f"the readout above isn't zero-mean (the gradient that reaches the activation is to "
            f"{row.sided:.0%} one number for all units), so that it goes along the layer's own "
            "output"
        )
    if by_m:
        more = "more" if (row.m or 0) > 1 else "less"
        return f"the gradient is {more} where the activation lets it through than elsewhere"
    if known:
        return (
            "the gradient goes along the layer's own output, as that of a loss that is curved in "
            "it does (a squared error, cross-entropy with many classes)"
        )
    if row.own is None:
        return "the gradient there depends on its weights; how isn't known but of linear layers"
    return "its weights know more of the gradient than its output tells, as trained ones do"


def _off(row: IndependenceRow) -> float:
    return max(_log(row.r), _log(row.m))


def _log(value: float | None) -> float:
    return abs(math.log(value)) if value else 0.0


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + more


def independence(
    model: nn.Module, inputs: Inputs, loss: Loss, plan: Plan | None = None, redraws: int = 8
) -> Independence:
    """Measure whether weights and gradients are independent, as He's backward case takes them.

    The model is run once as it is, and once more for each redraw: the forward pass with its own
    weights, the backward pass with others of the same law. Each use of a shared weight has one
    of its own. Nothing of the model is changed.

    Args:
        model: with weights; unmodified.
        inputs: as for ``measure``.
        loss: called with the output; returns a scalar.
        plan: says what the weights were drawn from. Without one, and for weights that it keeps
            and that a parametrization makes, redrawn ones are iid normal with each weight's own
            mean and std; the result says so.
        redraws: how many; at least 2.

    Raises:
        SignalError: the model or the loss raised, fewer than 2 redraws, no layer with a gradient.
        PlanError: what is passed as plan is none.
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
    everything = checked(model, inputs)
    redraws = whole(redraws, "redraws", 2, "an interval")
    if plan is not None and not isinstance(plan, Plan):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PlanError(f"plan={plan!r} is no Plan: gi.init_ and gi.plan return one")
    names = {id(module): path for path, module in reversed(list(walk(model)))}
    found = [slot for slot in everything if not slot.buffer]
    params = {slot.name: slot.tensors for slot in found}
    taken = list(tensors_in(arguments(inputs)))
    if not all(bool(t.isfinite().all()) for t in taken if t.is_floating_point()):
        raise SignalError("values of the inputs are NaN or infinite: look at the data")
    laws = _laws(plan, found)
    watch = Watch(params, taken)
    true = _square(model, inputs, loss, names, watch)
    others = [Decoupled(params, taken, laws, seed) for seed in range(redraws)]
    drawn = [_square(model, inputs, loss, names, other) for other in others]
    if not true or not all(drawn) or not all(map(math.isfinite, (true, *drawn))):
        raise SignalError("the gradient at the start is 0 or not finite: see goodinit.measure")
    for number, row in enumerate(watch.rows):
        mean = math.fsum(other.rows[number].square for other in others) / redraws
        row.ratio = row.square / mean if mean and row.square else None
    ratio = true / (math.fsum(drawn) / redraws)
    wide = math.exp(_wide(drawn))
    law = _law(plan, others[0].own, len({row.weight for row in watch.rows}))
    return Independence(ratio, (ratio / wide, ratio * wide), watch.rows, law, watch.skipped)


def _wide(drawn: list[float]) -> float:
    """Return half of the interval of log R: one more draw falls into it 95 times of 100.

    Products of layers are log-normal, nearly (Hanin & Nica, 2020): so Student's t of the logs.
    """
    n = len(drawn)
    t = _T[n - 2] if n <= len(_T) + 1 else 1.96
    return max(ROUNDING, t * statistics.stdev(map(math.log, drawn)) * math.sqrt(1 + 1 / n))


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
    return f"the plan's laws; {iid}: {_few(own)}" if own else "the plan's laws"


def _square(
    model: nn.Module, inputs: Inputs, loss: Loss, names: Mapping[int, str], watch: Watch
) -> float:
    """Return |dL/dx|^2 at the start."""
    given: list[Tensor] = []
    with real_run(model, inputs=untouched(inputs)) as run:
        args, kwargs = differentiable(arguments(inputs), given)
        try:
            output = run(watch, names, lambda: model(*args, **kwargs), watch.change)
            total = scalar(loss(output))
        except SignalError:
            raise
        except Exception as error:
            raise SignalError(f"the model or the loss raised: {line_of(error)}") from error
        if not watch.rows:
            inside = f": {_few(watch.skipped)} keep theirs inside" if watch.skipped else ""
            raise SignalError(f"no layer of this model multiplies a signal by a weight{inside}")
        start = given if watch.start is None else [watch.start]
        if not start:
            raise SignalError(
                "no input is floating, and no embedding looks one up, so that there is no start to "
                "follow the gradient to: pass floating inputs, what the model makes of these"
            )
        check_graph(total, output, "nothing that the model returns depends on the inputs")
        try:
            found = torch.autograd.grad(total, start, allow_unused=True)
        except Exception as error:
            raise backward_error(error) from error
        gradients = cast("tuple[Tensor | None, ...]", found)
        return math.fsum(norm2(gradient) for gradient in gradients if gradient is not None)
