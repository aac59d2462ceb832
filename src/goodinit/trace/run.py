"""Running a model once, without a trace left behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from goodinit._common.module_tree import modules_of, parameters_of
from goodinit.errors import TraceError
from goodinit.trace.around import module_stack, state_restored
from goodinit.trace.calls import (
    GuardedObserver,
    NullObserver,
    Observer,
    map_tensors,
    tensors_of,
)
from goodinit.trace.input_hints import hint_for_inputs
from goodinit.trace.meta import MetaTracer
from goodinit.trace.real_run import real_run

OURS = "goodinit could not follow the run: "
"""How the reason begins where a model runs, and only a trace of it fails."""
OR_WITHOUT = ", or leave inputs out: then goodinit uses module types and shapes"
"""What helps where inputs may be left out."""

ObserverT = TypeVar("ObserverT", bound=Observer)
Inputs = Tensor | tuple[Any, ...] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trace:
    """How a model was run.

    Attributes:
        how: "meta" (without weights), "real" (with the model's own) or "not run".
        reason: why it was not run on meta, or "".
        output: what the model returned.
    """

    how: str
    reason: str
    output: object


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a model raised, without its frames: these hold activations and open checkpoints.

    Attributes:
        reason: the type and the first line of the error.
        lacks_values: whether it asked for values that aren't there on meta, by torch's message.
    """

    reason: str
    lacks_values: bool


def trace(
    model: nn.Module,
    inputs: Inputs,
    make_observer: Callable[[], ObserverT],
    names: Mapping[int, str],
    *,
    meta_only: bool = False,
) -> tuple[Trace, ObserverT]:
    """Run a model once and show each of its calls to an observer.

    On meta first. If the model asks for values that aren't there (how many tokens go to each
    expert), with its own weights, if it has any. Parameters, buffers, inputs, attributes, mode,
    gradients and random state are restored.

    Args:
        model: any module; not changed.
        inputs: a tensor, a tuple of positional or a mapping of keyword arguments.
        make_observer: makes a fresh observer for each attempt.
        names: id of a module -> its dotted path.
        meta_only: whether not to run the model for real if it can't run on meta.

    Returns:
        How it was run, and the observer of that run.

    Raises:
        TraceError: the model raises also by itself, and not because values are missing.
    """
    observer, output, failure = _attempt(model, inputs, make_observer, names, real=False)
    if failure is None:
        return Trace("meta", "", output), observer
    reason = failure.reason
    if meta_only:
        return Trace("not run", reason, None), make_observer()
    if not any(p.is_meta for p in parameters_of(model)):
        observer, output, failure = _attempt(model, inputs, make_observer, names, real=True)
        if failure is None:
            return Trace("real", reason, output), observer
        reason = failure.reason
    elif failure.lacks_values:
        return Trace("not run", reason, None), make_observer()
    _check_alone(model, inputs)
    return Trace("not run", OURS + reason, None), make_observer()


def _check_alone(model: nn.Module, inputs: Inputs) -> None:
    """Run a model without an observer; on meta if it has no weights.

    Raises:
        TraceError: the model raises.
    """
    meta = any(p.is_meta for p in parameters_of(model))

    def copy(tensor: Tensor) -> Tensor:
        return tensor.detach().to("meta") if meta else tensor.detach().clone()

    def call() -> object:
        for module in modules_of(model):  # so that the buffers are not written to
            owned = module._buffers
            owned.update({k: None if b is None else copy(b) for k, b in owned.items()})
        return model(*args, **kwargs)

    args, kwargs = arguments(inputs)
    args, kwargs = map_tensors((args, dict(kwargs)), copy)
    try:
        with real_run(model, grad=torch.is_grad_enabled()) as run:
            run(NullObserver(), {}, call)
    except Exception as error:
        hint = hint_for_inputs(inputs, str(error))
        raise TraceError(
            f"the model raised on these inputs: {first_line(error)}. Check that model(inputs) "
            f"runs{OR_WITHOUT}{hint and '.'}{hint}"
        ) from error


def first_line(error: BaseException) -> str:
    """Return the type and the first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _attempt(
    model: nn.Module,
    inputs: Inputs,
    make_observer: Callable[[], ObserverT],
    names: Mapping[int, str],
    *,
    real: bool,
    grad: bool = False,
) -> tuple[ObserverT, object, _Failure | None]:
    """Run a model once; return its observer, and what the model returned or raised."""
    args, kwargs = arguments(inputs)
    observer = make_observer()
    guard = GuardedObserver(observer)
    home = next((p.device for p in parameters_of(model) if not p.is_meta), torch.device("cpu"))
    output, failure = None, None
    with state_restored(model) as numbers, torch.set_grad_enabled(grad):
        tracer = MetaTracer(guard, tensors_of(args, kwargs), home, real, numbers)
        try:
            with module_stack(tracer.path, guard, names), tracer:
                output = model(*args, **kwargs)
        except Exception as error:
            missing = isinstance(error, NotImplementedError) or "meta tensor" in str(error).lower()
            failure = _Failure(first_line(error), missing)
    guard.check()
    if failure is not None and tracer.differentiates and not grad:  # a gradient in its forward
        return _attempt(model, inputs, make_observer, names, real=real, grad=True)
    return observer, output, failure


def arguments(inputs: Inputs) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return the positional and the keyword arguments that a model is called with."""
    if isinstance(inputs, Mapping):
        return (), inputs
    if isinstance(inputs, tuple):
        return inputs, {}
    return (inputs,), {}
