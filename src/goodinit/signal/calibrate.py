"""`calibrate_`: weights rescaled so that a batch's signal keeps its size from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from torch import nn

from goodinit._common.progress import progress_line
from goodinit.anatomy import Anatomy, read
from goodinit.anatomy.names import Slot, walk
from goodinit.anatomy.writable import check_writable
from goodinit.applying.rescale import rescale_
from goodinit.errors import SignalError, TraceError, nearest
from goodinit.signal.aims import Aims, find_aims
from goodinit.signal.calibration import ALONG, ONCE, Calibration, CalibrationRow
from goodinit.signal.checks import check_runnable, unwrapped
from goodinit.signal.rescaling import STEADY, RescaledRun, Use
from goodinit.trace.calls import tensors_in
from goodinit.trace.input_hints import hint_for_inputs
from goodinit.trace.real_run import real_run
from goodinit.trace.run import Inputs, arguments, first_line

__all__ = ["calibrate_"]

METHODS = ("lsuv",)
CRITERIA = ("forward", "backward", "compromise")
PROBE = (
    2.0  # a factor: what is computed from a weight grows by as much, or doesn't follow its scale
)
PASSES = 12  # of weights with several uses: each pass comes nearer to all of them
WITHIN = 0.45 * math.log(2)  # of a factor's logarithm: second moments within 2, and some room
FIRST_STEP = 0.5  # of the way, where a factor counts more than once: a secant finds the next

Measured = Mapping[str, list[Use]]


@progress_line("calibrating")
def calibrate_(
    model: nn.Module,
    inputs: Inputs,
    *,
    method: str = "lsuv",
    criterion: str = "forward",
) -> Calibration:
    """Rescale a model's weights, in place, so that a batch's signal has its size at every layer.

    Layer-sequential unit variance (Mishkin and Matas, 2016), in one run: as the model runs, each
    weight in turn is multiplied by the number that gives its output a second moment of 1, and the
    model goes on with that output. The weight that ends a residual branch gets a share: 1/n where
    its stream adds up n branches. Biases are multiplied along with their weights. Only scales
    change: each number of a weight is multiplied by one factor, and a second call changes nothing.

    A weight that is used several times has one factor, the geometric mean over its uses, found in
    a few runs more. Left alone, and listed with the reason: what makes the model's output or a
    router's logits, sigmoid gates, norms, positions and other scales whose size has a meaning,
    zeros that are meant, frozen parameters, and weights inside of one function such as an LSTM's.

    Before and after, the model runs once more, which measures it. It runs as it is, in its mode,
    under the caller's autocast, and is left as it was but for the factors.

    Args:
        model: with weights: calibrate after ``init_``.
        inputs: a batch like those that it is trained on, as for ``measure``.
        method: "lsuv".
        criterion: "forward" holds the signal. It doesn't bound the gradient.

    Returns:
        A row for each parameter: the factor, the second moment before and after, the target, or
        why it was left alone.

    Raises:
        SignalError: the model raised, its inputs or a layer's output aren't finite, an unknown
            method or criterion.
        ModelError: a parameter that can't be written, or has no memory.
        WriteError: a write failed; everything is as it was.

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> net = nn.Sequential(*[nn.Linear(64, 64), nn.GELU()] * 1, nn.Linear(64, 10))
        >>> x = torch.randn(128, 64, generator=torch.manual_seed(0))
        >>> found = gi.calibrate_(net, x)
        >>> found["0.weight"].before < 0.5, round(gi.measure(net, x)["0"].forward.second, 2)
        (True, 1.0)
        >>> found["2.weight"].why
        "its output is the model's: the scale of logits is the loss's affair"
    """
    _check_choice("method", method, METHODS)
    _check_choice("criterion", criterion, CRITERIA)
    model = unwrapped(model)
    check_runnable(model, inputs)
    found, factors, anatomy = calibrated_factors(model, inputs, criterion)
    rescale_(factors, {slot.name: slot for slot in anatomy.slots})
    return found


def calibrated_factors(
    model: nn.Module, inputs: Inputs, criterion: str, only: frozenset[str] | None = None
) -> tuple[Calibration, dict[str, float], Anatomy]:
    """Return the calibration, the factors of weights and biases, and the anatomy.

    Nothing is written. ``only``: the parameters that may be.
    """
    given = list(tensors_in(arguments(inputs)))
    if not all(bool(t.isfinite().all()) for t in given if t.is_floating_point()):
        raise SignalError("values of the inputs are NaN or infinite: check the data")
    try:
        anatomy = read(model, inputs)
    except TraceError as error:
        raise _models_error(error.__cause__ or error, inputs) from error
    runs = _Runs(model, inputs, anatomy, find_aims(anatomy, only))
    for name in runs.aims.targets:
        check_writable(_slot(anatomy, name))
    before = runs.survey()
    factors, notes = runs.forward(before)
    after = runs.run(factors).uses
    while deaf := runs.deaf(after):
        runs.drop(dict.fromkeys(deaf, DEAF))
        factors, notes = runs.forward(before)
        after = runs.run(factors).uses
    rows = _rows(anatomy, runs, factors, before, after)
    notes += _notes(anatomy)
    changed = {name: f for name, f in runs.with_biases(factors).items() if f != 1}
    return Calibration(tuple(rows), criterion, tuple(notes)), changed, anatomy


@dataclass(slots=True)
class _Runs:
    """The runs of a model that a calibration takes."""

    model: nn.Module
    inputs: Inputs
    anatomy: Anatomy
    aims: Aims
    along: dict[str, set[str]] | None = None

    def survey(self) -> Measured:
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
        return run.uses

    def drop(self, reasons: Mapping[str, str]) -> None:
        """Leave weights alone after all."""
        reasons = {**self.aims.reasons, **reasons}
        targets = {name: t for name, t in self.aims.targets.items() if name not in reasons}
        self.aims = replace(self.aims, targets=targets, reasons=reasons)

    def deaf(self, after: Measured) -> list[str]:
        """Return the weights with one use whose target isn't met."""
        once = {name: target for name, target in self.aims.targets.items() if len(after[name]) == 1}
        return [name for name, target in once.items() if _off(target, after[name]) > 1 + ONCE]

    def run(self, factors: Mapping[str, float], moved: Iterable[str] = ()) -> RescaledRun:
        """Run the model with its weights times factors, those that are moved on target."""
        args, kwargs = arguments(self.inputs)
        given = list(tensors_in((args, dict(kwargs))))
        names = {id(module): path for path, module in reversed(list(walk(self.model)))}
        observer = RescaledRun(
            self.anatomy.slots,
            given,
            self.aims,
            self.with_biases(factors),
            frozenset(moved),
            self.along or {},
        )
        with real_run(self.model, grad=False, inputs=given) as run:
            try:
                run(observer, names, lambda: self.model(*args, **kwargs), observer.change)
            except Exception as error:
                raise _models_error(error, self.inputs) from error
        if moved:
            _check_finite(observer.uses)
        return observer

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


DEAF = "its product doesn't follow its scale: something divides by it, or adds to it"
UNSETTLED = (
    "The factors of weights that are used several times have not settled: each use changes what "
    "the next one takes."
)


class _Secants:
    """Factors of weights with several uses, which come nearer to what is measured, each by itself.

    Args:
        factors: to begin with.

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


def _mean_factor(uses: list[Use]) -> float:
    """Return the geometric mean over the uses that have a signal.

    It is moved as little as it takes to leave each use within a factor of 2, if one number can.
    """
    logs = [math.log(use.factor) for use in uses if use.second]
    mean = math.fsum(logs) / max(len(logs), 1)
    least, most = max(logs, default=0.0) - WITHIN, min(logs, default=0.0) + WITHIN
    return math.exp(min(max(mean, least), most) if least <= most else mean)


def _factors(found: Measured, names: Iterable[str]) -> dict[str, float]:
    return {name: found[name][0].factor for name in names}


def _rows(
    anatomy: Anatomy,
    runs: _Runs,
    factors: Mapping[str, float],
    before: Measured,
    after: Measured,
) -> Iterable[CalibrationRow]:
    aims, scaled = runs.aims, runs.with_biases(factors)
    for row in anatomy.rows:
        name = row.name
        if name in factors:
            yield CalibrationRow(
                name,
                factors[name],
                _mean_second(before[name]),
                _mean_second(after[name]),
                aims.targets[name],
                len(after[name]),
                _off(aims.targets[name], after[name]),
            )
        elif name in scaled:
            (weight,) = (runs.along or {})[name]
            yield CalibrationRow(name, scaled[name], why=f"{ALONG}{weight}")
        elif not row.buffer:
            yield CalibrationRow(
                name, why=aims.reasons.get(name, "a bias whose weight is left alone")
            )


def _off(target: float, uses: list[Use]) -> float:
    """Return the largest factor, up or down, between the target and a use that has a signal."""
    ratios = [use.second / target for use in uses if use.second]
    return max((max(ratio, 1 / ratio) for ratio in ratios), default=math.inf)


def _mean_second(uses: list[Use]) -> float:
    seconds = [use.second for use in uses if use.second]
    if not all(map(math.isfinite, seconds)):
        return math.inf
    return math.exp(math.fsum(map(math.log, seconds)) / len(seconds)) if seconds else 0.0


def _notes(anatomy: Anatomy) -> list[str]:
    if anatomy.graph is not None:
        return []
    reason = f" ({anatomy.reason})" if anatomy.reason else ""
    by_types = "residual ends and gates were found by module types alone, where they were found"
    return [f"The data flow isn't known{reason}: {by_types}."]


def _check_finite(uses: Measured) -> None:
    for name, found in uses.items():
        if not all(math.isfinite(use.second) for use in found):
            raise SignalError(
                f"the output of {name} has NaN or infinite numbers although what comes before it "
                "is on target: see goodinit.measure, which shows where they begin"
            )


def _models_error(error: BaseException, inputs: Inputs) -> SignalError:
    hint = hint_for_inputs(inputs, str(error))
    return SignalError(f"the model raised: {first_line(error)}{hint and '.'}{hint}")


def _check_choice(what: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        near = nearest(value, known) if isinstance(value, str) else ""
        raise SignalError(f"{what}={value!r:.80}: pass {' or '.join(map(repr, known))}.{near}")


def _slot(anatomy: Anatomy, name: str) -> Slot:
    return next(slot for slot in anatomy.slots if slot.name == name)
