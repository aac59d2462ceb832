"""`calibrate_`: weights rescaled so that a batch's signal keeps its size from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import nn

from goodinit._common.processes import is_one_of_many
from goodinit._common.progress import progress_line
from goodinit.anatomy import Anatomy, read
from goodinit.anatomy.writable import check_writable
from goodinit.applying.rescale import rescale_
from goodinit.errors import SignalError, TraceError, nearest
from goodinit.signal.aims import find_aims
from goodinit.signal.calibration import ALONG, Calibration, CalibrationRow
from goodinit.signal.calibration_runs import DEAF, Runs, models_error, off_target, seconds
from goodinit.signal.checks import check_runnable, unwrapped
from goodinit.signal.parameters import Weights
from goodinit.signal.rescaling import steady
from goodinit.trace.calls import tensors_in
from goodinit.trace.run import Inputs, arguments

METHODS = ("lsuv",)
LOUD = 4.0
"""Second moment of attention's scores. Queries and keys on target give 1, if their product is
divided by the root of its width; T5's isn't, and a softmax of scores this far apart picks one."""
UNDIVIDED = "on target, queries and keys would make attention pick one position: scores too large"
UNWEIGHTED = "a bias whose weight is left alone, or isn't in the same call"
CRITERIA = ("forward", "backward", "compromise")


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
    its stream adds up n branches. In deep plain stacks of gelu, silu and the like 1 is exceeded,
    so that small samples don't vanish. Biases are multiplied along with their weights. Only
    scales change, and a second call changes nothing. A weight that is used several times has one
    factor, the geometric mean over its uses, found in a few more runs.

    Some parameters are left alone and listed with the reason: what makes the model's output or a
    router's logits, gates, norms, positions and other scales whose size has a meaning, intended
    zeros, frozen parameters, and weights inside one function such as an LSTM's. The model's mode
    isn't changed.

    Args:
        model: with weights: calibrate after ``init_``.
        inputs: a batch like those that it is trained on, as for ``measure``.
        method: "lsuv".
        criterion: "forward" holds the signal, and doesn't bound the gradient. "backward" holds the
            gradient that each weight passes back, of a random projection of the output, in several
            runs; a note says if they were not enough. "compromise" takes the harmonic mean of the
            two squared factors, as Xavier's does.

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
        "it makes the model's output, whose scale is up to the loss"
    """
    _check_choice("method", method, METHODS)
    _check_choice("criterion", criterion, CRITERIA)
    _check_alone()
    model = unwrapped(model)
    weights = Weights(check_runnable(model, inputs))
    found, factors, anatomy = calibrated_factors(weights, model, inputs, criterion)
    rescale_(factors, {slot.name: slot for slot in anatomy.slots})
    return found


def calibrated_factors(
    weights: Weights,
    model: nn.Module,
    inputs: Inputs,
    criterion: str,
    kept: Mapping[str, str] | None = None,
) -> tuple[Calibration, dict[str, float], Anatomy]:
    """Return the calibration, the factors of weights and biases, and the anatomy.

    Nothing is written. ``kept``: parameters that may not be, and why.
    """
    floats = [t for t in tensors_in(arguments(inputs)) if t.is_floating_point()]
    if not all(bool(t.isfinite().all()) for t in floats):
        raise SignalError("values of the inputs are NaN or infinite: check the data")
    if floats and not any(bool(t.any()) for t in floats):
        raise SignalError("all inputs are 0, which shows what biases make: pass a batch of data")
    try:
        anatomy = read(model, inputs)
    except TraceError as error:
        raise models_error(error.__cause__ or error, inputs) from error
    runs = Runs(model, inputs, weights, anatomy, find_aims(anatomy, kept or {}))
    by_name = {slot.name: slot for slot in anatomy.slots}
    for name in runs.aims.targets:
        check_writable(by_name[name])
    find = {"forward": _forward, "backward": _backward, "compromise": _compromise}[criterion]
    factors, results, notes = find(runs)
    notes += _notes(anatomy)
    scaled = runs.with_biases(factors)
    rows = tuple(_rows(runs, factors, results))
    changed = {name: factor for name, factor in scaled.items() if factor != 1}
    return Calibration(rows, criterion, tuple(notes)), changed, anatomy


@dataclass(frozen=True, slots=True)
class _Result:
    """Second moments of a weight's uses before and after, and the targets if there were any."""

    before: list[float]
    after: list[float]
    targets: list[float] = field(default_factory=list[float])


Found = tuple[dict[str, float], dict[str, _Result], list[str]]


def _forward(runs: Runs) -> Found:
    first = runs.survey()
    before = first.uses
    while True:
        factors, notes = runs.forward(before)
        last = runs.run(factors)
        after = last.uses
        lost = dict.fromkeys(runs.deaf(after), DEAF)
        if last.loudest > max(LOUD, first.loudest):
            lost |= dict.fromkeys(runs.asking(), UNDIVIDED)
        if not lost:
            break
        runs.drop(lost)
    results = {
        name: _Result(seconds(before[name]), seconds(after[name]), [runs.aims.targets[name]])
        for name in factors
    }
    return factors, results, notes


def _backward(runs: Runs) -> Found:
    runs.survey()
    factors, notes, first = runs.backward()
    last = runs.run_back(factors)
    results = {
        name: _Result(seconds(first[name]), seconds(last.uses[name]), last.aimed[name])
        for name in factors
    }
    return factors, results, notes


def _compromise(runs: Runs) -> Found:
    """Take the harmonic mean of the squared factors, as Xavier's of 1/fan_in and 1/fan_out."""
    ahead, _, notes = _forward(runs)
    back, more, _ = runs.backward()
    factors = {
        name: steady(math.sqrt(2 / (ahead[name] ** -2 + back[name] ** -2)))
        for name in ahead.keys() & back.keys()
    }
    before, after = runs.run({}).uses, runs.run(factors).uses
    results = {name: _Result(seconds(before[name]), seconds(after[name])) for name in factors}
    return factors, results, [*dict.fromkeys((*notes, *more))]


def _rows(
    runs: Runs, factors: Mapping[str, float], results: Mapping[str, _Result]
) -> Iterable[CalibrationRow]:
    scaled, along = runs.with_biases(factors), runs.along or {}
    for row in runs.anatomy.rows:
        name = row.name
        if name in factors:
            yield _row(name, factors[name], results[name])
        elif name in scaled:
            yield CalibrationRow(name, scaled[name], why=f"{ALONG}{min(along[name])}")
        elif name in runs.aims.biases:
            several = len(along.get(name, ())) > 1
            yield CalibrationRow(name, why="a bias of several weights" if several else UNWEIGHTED)
        elif not row.buffer:
            yield CalibrationRow(name, why=runs.aims.reasons[name])


def _row(name: str, factor: float, found: _Result) -> CalibrationRow:
    before, after, uses = _mean(found.before), _mean(found.after), len(found.after)
    if not found.targets:
        return CalibrationRow(name, factor, before, after, uses=uses)
    off = off_target(found.after, found.targets)
    return CalibrationRow(name, factor, before, after, _mean(found.targets), uses, off)


def _mean(numbers: list[float]) -> float:
    """Return the geometric mean of those that aren't 0."""
    found = [number for number in numbers if number]
    if not all(map(math.isfinite, found)):
        return math.inf
    return math.exp(math.fsum(map(math.log, found)) / len(found)) if found else 0.0


def _notes(anatomy: Anatomy) -> list[str]:
    if anatomy.graph is not None:
        return []
    reason = f" ({anatomy.reason})" if anatomy.reason else ""
    by_types = "residual ends and gates were found by module types alone, where they were found"
    return [f"The data flow isn't known{reason}: {by_types}."]


def _check_alone() -> None:
    if is_one_of_many():
        raise SignalError(
            "each process would rescale the weights by its own batch: calibrate before "
            "torch.distributed is initialized, or on one process, and send its weights to the rest"
        )


def _check_choice(what: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        names = " or ".join(map(repr, known))
        raise SignalError(f"{what}={value!r:.80}: pass {names}.{nearest(value, known)}")
