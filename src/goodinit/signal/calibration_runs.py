"""`Runs`: the runs of a model that a calibration takes, and the factors that they show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from goodinit.anatomy import Anatomy
from goodinit.anatomy.names import walk
from goodinit.errors import SignalError
from goodinit.signal.aims import Aims
from goodinit.signal.calibration import ONCE
from goodinit.signal.checks import backward_error, check_graph
from goodinit.signal.gradient_run import GradientRun
from goodinit.signal.parameters import Weights
from goodinit.signal.projection import projection
from goodinit.signal.rescaling import STEADY, RescaledRun, Use, steady
from goodinit.trace.calls import tensors_in
from goodinit.trace.input_hints import hint_for_inputs
from goodinit.trace.real_run import real_run
from goodinit.trace.run import Inputs, arguments, first_line

PROBE = (
    2.0  # a factor: what is computed from a weight grows by as much, or doesn't follow its scale
)
PASSES_BACK = 60  # with the backward criterion; each settles one more layer at least
PASSES = 12  # of weights with several uses: each pass comes nearer to all of them
WITHIN = 0.49 * math.log(2)  # of a factor's logarithm: second moments within 2, and a little room
SAME = 1e-12  # sums of logarithms that differ by less are one
FIRST_STEP = 0.5  # of the way, where a factor counts more than once: a secant finds the next
GATED = "no gradient of it can be observed, or only one that comes through a softmax or a gate"
DEAF = "its product doesn't follow its scale: something divides by it, or adds to it"
UNSETTLED = (
    "The factors of weights that are used several times have not settled: each use changes what "
    "the next one takes."
)
UNSETTLED_BACK = (
    "The factors have not settled: rescaled weights change the signal, and by it the slopes of "
    "activations."
)
RunT = TypeVar("RunT", bound=RescaledRun)
Measured = Mapping[str, list[Use]]


@dataclass(slots=True)
class Runs:
    """The runs of a model that a calibration takes."""

    model: nn.Module
    inputs: Inputs
    weights: Weights
    anatomy: Anatomy
    aims: Aims
    along: dict[str, set[str]] | None = None

    def survey(self) -> RescaledRun:
        """Run the model as it is: count the uses of each weight, and drop those out of reach."""
        run = self.run({})
        reasons = dict(self.aims.reasons)
        for name in self.aims.targets:
            uses = run.uses.get(name)
            if name in run.together:
                reasons[name] = run.together[name]
            elif not uses:
                reasons[name] = "no call that was observed multiplies by it on these inputs"
        self.along = run.along
        self.drop(reasons)
        plain = {slot.name for slot in self.anatomy.slots if slot.how == "plain"}
        sizes = {n: s for n, s in run.computed.items() if n in plain and n in self.aims.targets}
        if sizes:
            probe = self.run(dict.fromkeys(sizes, PROBE)).computed
            norms = {n: probe[n] / s if s else math.inf for n, s in sizes.items()}
            self.drop({n: DEAF for n, s in norms.items() if abs(s / PROBE - 1) > STEADY})
        return run

    def asking(self) -> list[str]:
        """Return the weights that make queries or keys."""
        rows = {row.name: row.facets for row in self.anatomy.rows}
        return [
            name
            for name in self.aims.targets
            if rows[name].part in ("q", "k") or {b.name for b in rows[name].blocks} & {"q", "k"}
        ]

    def drop(self, reasons: Mapping[str, str]) -> None:
        """Leave weights alone after all."""
        reasons = {**self.aims.reasons, **reasons}
        targets = {name: t for name, t in self.aims.targets.items() if name not in reasons}
        self.aims = replace(self.aims, targets=targets, reasons=reasons)

    def deaf(self, after: Measured) -> list[str]:
        """Return the weights with one use whose target isn't met."""
        once = {name: target for name, target in self.aims.targets.items() if len(after[name]) == 1}
        return [
            n for n, target in once.items() if off_target(seconds(after[n]), [target]) > 1 + ONCE
        ]

    def run(self, factors: Mapping[str, float], moved: Iterable[str] = ()) -> RescaledRun:
        """Run the model with its weights times factors, those that are moved on target."""
        observer = self._observer(RescaledRun, factors, moved)
        with (
            real_run(self.model, grad=False, inputs=self._given()) as run,
            self.weights.around(observer),
        ):
            self._output(run, observer)
        if moved:
            _check_finite(observer.uses)
        return observer

    def run_back(self, factors: Mapping[str, float], moved: Iterable[str] = ()) -> GradientRun:
        """Run the model forward and backward, as ``run`` does; gradients are moved on target."""
        observer = self._observer(GradientRun, factors, moved)
        with real_run(self.model, inputs=self._given()) as run:
            output = self._output(run, observer)
            observer.returned(output)
            try:
                _differentiate(self.model, output, observer.leaves)
            finally:
                output = None
                observer.release()
        return observer

    def _observer(
        self, kind: type[RunT], factors: Mapping[str, float], moved: Iterable[str]
    ) -> RunT:
        return kind(
            self.weights,
            self.anatomy.slots,
            self._given(),
            self.aims,
            self.with_biases(factors),
            frozenset(moved),
            self.along or {},
        )

    def _output(self, run: Callable[..., Any], observer: RescaledRun) -> object:
        """Return what the model returns in a run."""
        args, kwargs = arguments(self.inputs)
        names = {id(module): path for path, module in reversed(list(walk(self.model)))}
        try:
            return run(observer, names, lambda: self.model(*args, **kwargs), observer.change)
        except SignalError:
            raise
        except Exception as error:
            raise models_error(error, self.inputs) from error

    def _given(self) -> list[Tensor]:
        return list(tensors_in(arguments(self.inputs)))

    def with_biases(self, factors: Mapping[str, float]) -> dict[str, float]:
        """Return the factors of weights, and those of biases that belong to one of them."""
        biases = {
            bias: factors[weight]
            for bias, weights in (self.along or {}).items()
            if len(weights) == 1 and (weight := next(iter(weights))) in factors
        }
        return {**factors, **biases}

    def forward(self, before: Measured) -> tuple[dict[str, float], list[str]]:
        """Return the factors that keep the signal, and notes."""
        flight = self.run({}, self.aims.targets).uses
        silent = [n for n in self.aims.targets if not any(use.second for use in flight[n])]
        self.drop(dict.fromkeys(silent, "its output is 0 on these inputs"))
        targets = self.aims.targets
        several = {name for name in targets if len(before[name]) > 1}
        if not several:
            return _factors(flight, targets), []
        once = targets.keys() - several
        found = self.run({}, once).uses
        left = {name: math.log(_mean_factor(found[name])) for name in several}
        if max(map(abs, left.values())) <= STEADY:  # as a calibration leaves it
            return {**dict.fromkeys(several, 1.0), **_factors(found, once)}, []
        shared = _Secants({name: _mean_factor(flight[name]) for name in several})
        for _ in range(PASSES):
            found = self.run(shared.factors, once).uses
            shared.note({name: math.log(_mean_factor(found[name])) for name in several})
            if shared.settled:
                break
        factors = {**shared.best, **_factors(self.run(shared.best, once).uses, once)}
        notes = [] if shared.settled else [UNSETTLED]
        return factors, notes

    def backward(self) -> tuple[dict[str, float], list[str], Measured]:
        """Return the factors that keep the gradient, notes, and the first gradients."""
        first = self.run_back({}).uses
        self.drop({name: GATED for name in self.aims.targets if not first.get(name)})
        factors = dict.fromkeys(self.aims.targets, 1.0)
        once = [name for name in factors if len(first[name]) == 1]
        several = [name for name in factors if len(first[name]) > 1]
        step = 1.0  # relu's slopes don't depend on scales
        for _ in range(PASSES_BACK):
            left = dict.fromkeys(factors, 1.0)
            for moved in (factors, once) if several else (factors,):
                found = self.run_back(factors, moved).uses
                changed = several if moved is factors and several else once
                left |= {name: steady(_mean_factor(found[name])) for name in changed}
            if all(factor == 1 for factor in left.values()):
                return factors, [], first
            factors = {name: f * left[name] ** step for name, f in factors.items()}
            step = FIRST_STEP  # a layer's slopes depend on its own scale, too: whole steps swing
        return factors, [UNSETTLED_BACK], first


class _Secants:
    """Factors of weights with several uses, which come nearer to what is measured, each by itself.

    Attributes:
        factors: to be measured next.
        best: those after which the least was left.
        settled: whether less than STEADY is left.
    """

    def __init__(self, factors: dict[str, float]) -> None:
        self.factors = factors
        self.best = factors
        self.settled = False
        self._left: dict[str, float] = {}
        self._steps: dict[str, float] = {}
        self._least = math.inf

    def note(self, left: dict[str, float]) -> None:
        """Take the logarithms of what each factor should still be multiplied by."""
        most = max(map(abs, left.values()))
        self.settled = most <= STEADY
        if most < self._least:
            self.best, self._least = self.factors, most
        steps = {name: self._step(name, rest) for name, rest in left.items()}
        self._left, self._steps = left, steps
        self.factors = {name: f * math.exp(steps[name]) for name, f in self.factors.items()}

    def _step(self, name: str, rest: float) -> float:
        last = self._steps.get(name)
        if not last:
            return FIRST_STEP * rest
        slope = (self._left[name] - rest) / last  # of what is left, by what was added
        return rest / slope if slope > FIRST_STEP else rest * FIRST_STEP


def _differentiate(model: nn.Module, output: object, leaves: list[Tensor]) -> None:
    total = projection(output)
    check_graph(total, output, "nothing that the model returns can be differentiated")
    wanted = [t for t in model.parameters() if t.requires_grad]
    try:
        torch.autograd.grad(total, [*wanted, *leaves], allow_unused=True)
    except Exception as error:
        raise backward_error(error) from error


def _mean_factor(uses: list[Use]) -> float:
    """Return the geometric mean over the uses that have a signal.

    It is moved as little as it takes to leave each use within a factor of 2, or, where no number
    can, to make the least of the sum of what they exceed it by, in logarithms.
    """
    found = [math.log(use.factor) for use in uses if use.second] or [0.0]
    if max(found) - min(found) <= STEADY:
        return math.exp(math.fsum(found) / len(found))
    logs = torch.tensor(found, dtype=torch.float64, device="cpu")
    ends, _ = torch.cat([logs - WITHIN, logs + WITHIN]).sort()  # where the sum changes its slope
    excess = ((logs - ends[:, None]).abs() - WITHIN).clamp_min(0).sum(1)
    best = ends[excess <= excess.amin() + SAME]
    return logs.mean().clamp(best[0], best[-1]).exp().item()


def _factors(found: Measured, names: Iterable[str]) -> dict[str, float]:
    return {name: found[name][0].factor for name in names}


def seconds(uses: list[Use]) -> list[float]:
    """Return the second moment of each use."""
    return [use.second for use in uses]


def off_target(seconds: list[float], targets: list[float]) -> float:
    """Return the largest factor, up or down, between a use that has a signal and its target."""
    targets = targets * len(seconds) if len(targets) == 1 else targets
    ratios = [second / target for second, target in zip(seconds, targets, strict=True) if second]
    return max((max(ratio, 1 / ratio) for ratio in ratios), default=math.inf)


def _check_finite(uses: Measured) -> None:
    for name, found in uses.items():
        if not all(math.isfinite(use.second) for use in found):
            raise SignalError(
                f"the output of {name} has NaN or infinite numbers although what comes before it "
                "is on target: see goodinit.measure, which shows where they begin"
            )


def models_error(error: BaseException, inputs: Inputs) -> SignalError:
    """Return the error to raise when the model raised one."""
    hint = hint_for_inputs(inputs, str(error))
    return SignalError(f"the model raised: {first_line(error)}{hint and '.'}{hint}")
