"""`measure`: run a model on a batch, and report what became of the signal and the gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from typing import Any

from torch import Tensor, nn

from goodinit._common.late import late
from goodinit._common.progress import progress_line
from goodinit._common.torch_private import BatchNorm
from goodinit.anatomy.names import slots, walk
from goodinit.applying.trials import Memo, Trials
from goodinit.errors import SignalError
from goodinit.findings import Finding
from goodinit.signal.batch_axis import FewerSamples, batch_of
from goodinit.signal.checks import (
    LOSS_TAKES,
    Loss,
    backward_error,
    check_graph,
    check_runnable,
    check_scalar,
    unwrapped,
)
from goodinit.signal.loss_findings import worst_first_loss
from goodinit.signal.observer import MomentsObserver
from goodinit.signal.parameters import ParameterTensors, Weights, nodes_of
from goodinit.signal.paths import paths_to_rows
from goodinit.signal.projection import projection
from goodinit.signal.rows import Gradient, Signal
from goodinit.signal.signal_findings import find_in_signal
from goodinit.trace.calls import tensors_in, tensors_of
from goodinit.trace.input_hints import hint_for_inputs
from goodinit.trace.real_run import real_run, tensors_restored
from goodinit.trace.run import Inputs, arguments, first_line

TAKES_A_LOSS = ": measure takes loss=, a function of what it returns that returns a real number"
FROZEN = (
    "nothing that the model returns depends on a parameter that requires a gradient: measure with "
    "backward=False, or call model.requires_grad_()"
)


@progress_line("measuring")
def measure(
    model: nn.Module,
    inputs: Inputs,
    loss: Loss | None = None,
    *,
    backward: bool = True,
    rank: bool = False,
    weights: str | PathLike[str] | Mapping[str, object] | None = None,
) -> Signal:
    """Run a model on a batch and return what became of the signal, one row per call.

    The model runs as it is: in its mode, with its dropout, under the caller's autocast. It runs
    once on meta, which shows the axis of the samples, and once for real. Parameters, buffers,
    gradients, random state, attributes and mode are restored, also if the model raises. No
    activation is kept beyond what the backward pass keeps. Where a line of code may fix a finding,
    it is run on a copy of the model, which is measured as well: the remedy is that line if the
    finding is gone, and words otherwise.

    Args:
        model: with weights, on any device; compiled or wrapped for data parallelism is unwrapped.
        inputs: a tensor, a tuple of positional arguments or a mapping of keyword arguments; the
            batch along the first axis. The cosine across samples needs two.
        loss: called with the output; returns a scalar. Without one the gradient comes from a
            random projection of all floating outputs: only how it changes has a meaning.
        backward: whether to measure gradients.
        rank: whether to measure the effective rank of each row as well, which costs more.
        weights: a state dict or the path of a checkpoint, as for ``load_``. Each parameter is read
            at the call that takes it, so the model may be on meta (``gi.skeleton``), and the file
            larger than memory. No remedy is tried then.

    Returns:
        Rows in execution order, gradients of parameters, and findings.

    Raises:
        MetaModelError: the model has no weights.
        CheckpointError: values in ``weights`` that can't be read, or don't fit.
        SignalError: the model or the loss raised, the loss isn't a scalar, nothing floating comes
            out, or nothing of it depends on a parameter.

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> net = nn.Sequential(*[nn.Linear(256, 256, bias=False), nn.ReLU()] * 1)
        >>> plan = gi.init_(net, "he", seed=0)
        >>> signal = gi.measure(net, torch.randn(64, 256, generator=torch.manual_seed(0)))
        >>> [(row.key, round(row.forward.second, 1)) for row in signal]
        [('0:linear', 2.0), ('1:relu', 1.0)]
        >>> signal.ok
        True
    """
    if weights is not None:
        from_file = late("goodinit.forecasting.from_file:measured_from_file")
        return from_file(model, inputs, weights, loss, backward=backward, rank=rank)
    fewer = FewerSamples()
    signal = measured(model, inputs, loss, backward=backward, rank=rank, fewer=fewer)
    return with_tried_remedies(signal, model, inputs, loss, backward=backward, fewer=fewer)


def with_tried_remedies(
    signal: Signal,
    model: nn.Module,
    inputs: Inputs,
    loss: Loss | None = None,
    *,
    backward: bool = True,
    shared: Memo | None = None,
    fewer: FewerSamples | None = None,
) -> Signal:
    """Return what ``measured`` returned, with remedies that were tried on copies of the model.

    ``shared``: what is known of lines that draw the whole model, for several draws of one.
    ``fewer``: what is known of its axis of samples.
    """
    model = unwrapped(model)
    known = fewer or FewerSamples()

    def judge(copied: nn.Module) -> Sequence[Finding]:
        return measured(copied, inputs, loss, backward=backward, fewer=known).findings

    tried = Trials(model, inputs, signal.findings, judge, shared=shared)
    return replace(signal, findings=tried.findings())


def measured(
    model: nn.Module,
    inputs: Inputs,
    loss: Loss | None = None,
    *,
    backward: bool = True,
    rank: bool = False,
    fewer: FewerSamples | None = None,
) -> Signal:
    """Measure as ``measure`` does; the remedies are not tried, and say in words what helps.

    ``fewer``: what is known of the axis of samples, from this model or one that it is a copy of.
    """
    model = unwrapped(model)
    weights = Weights(check_runnable(model, inputs, loss))
    return measured_with(weights, model, inputs, loss, backward=backward, rank=rank, fewer=fewer)


def measured_with(
    weights: Weights,
    model: nn.Module,
    inputs: Inputs,
    loss: Loss | None,
    *,
    backward: bool,
    rank: bool = False,
    fewer: FewerSamples | None = None,
) -> Signal:
    """Measure a model that was checked, with parameters from ``weights``."""
    found = slots(model)
    paths = {id(module): path for path, module in reversed(list(walk(model)))}
    batch = batch_of(inputs)
    with tensors_restored(model, ()):  # set_() passes by a trace unseen
        shapes = (fewer or FewerSamples()).shapes(model, inputs, batch, paths)
    params = ParameterTensors(weights)
    given = list(tensors_in(arguments(inputs)))
    observer = MomentsObserver(found, given, batch, shapes, rank, params, weights.concentration)
    ran = _run(model, inputs, loss, backward, observer, paths, weights)
    notes = (*_notes(batch, shapes, observer, ran.reentrant), *ran.unset, *weights.notes())
    to_rows = paths_to_rows(observer.rows)
    rows = observer.finished_rows([math.sqrt(path.variance) for path in to_rows])
    value = ran.loss if loss is not None else None
    first = worst_first_loss(observer.entropies) if loss is not None else None
    signal = Signal(
        rows, tuple(ran.gradients), loss=value, batch=batch, notes=notes, first_loss=first
    )
    made = ParameterTensors(weights, computed=True)
    findings = find_in_signal(signal, observer, to_rows, made, bool(ran.unset))
    return replace(signal, findings=tuple(findings))


@dataclass(slots=True)
class _Ran:
    """What a run showed beside its rows.

    Attributes:
        loss: its value; None where there was no backward pass and no loss.
        gradients: of the parameters.
        reentrant: whether reentrant checkpoints hid some.
        unset: what is said of norms without statistics.
    """

    loss: float | None = None
    gradients: list[Gradient] = field(default_factory=list[Gradient])
    reentrant: bool = False
    unset: list[str] = field(default_factory=list[str])


def _run(
    model: nn.Module,
    inputs: Inputs,
    loss: Loss | None,
    backward: bool,
    observer: MomentsObserver,
    paths: Mapping[int, str],
    weights: Weights,
) -> _Ran:
    """Run the model for real, forward and backward, and let go of the graph."""
    args, kwargs = arguments(inputs)
    given = tensors_of(args, kwargs)
    ran = _Ran()
    output = total = None
    try:
        with real_run(model, grad=backward, inputs=given) as run, weights.around(observer):
            ran.unset = list(_unset_norms(model))
            running = "the model"
            try:
                output = run(observer, paths, lambda: model(*args, **kwargs), weights.change)
                observer.returned(output)
                running, observer.last = "the loss", ""
                if backward or loss is not None:
                    total = _loss_of(
                        output, loss, partial(run, change=weights.change), observer, paths
                    )
            except SignalError:
                raise
            except Exception as error:
                where = f" in {observer.last}" if observer.last else ""
                hint = LOSS_TAKES if running == "the loss" else hint_for_inputs(inputs, str(error))
                hint = hint and f".{hint}"
                raise SignalError(f"{running} raised{where}: {first_line(error)}{hint}") from error
            if total is not None:
                ran.loss, ran.reentrant = total.item(), _is_reentrant(total)
            if backward and total is not None:
                check_graph(total, output, FROZEN)
                ran.gradients = _gradients(weights, total, given, run, ran.reentrant)
        return ran
    finally:
        output = total = None
        observer.release()


def _gradients(
    weights: Weights, total: Tensor, given: list[Tensor], run: Any, reentrant: bool
) -> list[Gradient]:
    try:
        return weights.gradients(total, given, run, reentrant)
    except SignalError:
        raise
    except Exception as error:
        do = "measure with backward=False leaves it out"
        if reentrant:  # in a forecast, one within another has no values
            do = f"checkpoint(..., use_reentrant=False) may work, and {do}"
        raise backward_error(error, do) from error


def _loss_of(
    output: object, loss: Loss | None, run: Any, observer: MomentsObserver, names: Mapping[int, str]
) -> Tensor:
    """Return the loss, or a random projection of the floating outputs."""
    if loss is not None:
        return check_scalar(run(observer, names, lambda: loss(output)))
    return projection(output, TAKES_A_LOSS)


def _is_reentrant(total: Tensor) -> bool:
    """Return whether the graph has a reentrant checkpoint, which ``autograd.grad`` refuses."""
    return any("Checkpoint" in node.name() for node in nodes_of(total))


def _notes(
    batch: int, fewer: Mapping[str, tuple[int, ...]], observer: MomentsObserver, reentrant: bool
) -> Iterator[str]:
    if observer.empty_inputs:
        yield "All inputs are 0: what is measured is what the biases make."
    if batch < 2:
        yield "One sample: cosines across samples and errors need two or more."
    elif not fewer:
        yield (
            "The model can't be run on meta with fewer samples: the first axis is that of the "
            "samples where its size is the batch's."
        )
    if observer.unseen:
        listed = ", ".join(observer.unseen)
        yield f"Made by code that shows no calls (scripted, a custom Function): {listed}."
    if reentrant:
        yield "Reentrant checkpoints hide the gradients inside: checkpoint(use_reentrant=False)."


def _unset_norms(model: nn.Module) -> Iterator[str]:
    for name, module in walk(model):
        if isinstance(module, BatchNorm) and not module.training:
            counted, mean = module.num_batches_tracked, module.running_mean
            # A file without the counter leaves it at 0; a mean that isn't was taken.
            if counted is not None and not counted and (mean is None or not mean.any()):
                yield (
                    f"{name} is in eval mode, where it divides by running statistics, and none "
                    "have been taken, so that the signal has no findings: model.train() shows "
                    "what training starts from."
                )
                return
