"""Running a model once, without a trace left behind."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from goodinit.errors import TraceError
from goodinit.trace.attributes import Attributes
from goodinit.trace.calls import GuardedObserver, Observer, tensors_in
from goodinit.trace.meta import MetaTracer
from goodinit.trace.process import ONE_RUN, RandomNumbers, process_restored

__all__ = ["Inputs", "Trace", "arguments", "first_line", "module_stack", "state_restored", "trace"]

ObserverT = TypeVar("ObserverT", bound=Observer)
Inputs = Tensor | tuple[Any, ...] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trace:
    """How a model was run.

    Attributes:
        how: "meta" (without weights), "real" (with the model's own) or "not run".
        reason: why it was not run on meta, if so.
        output: what the model returned.
    """

    how: str
    reason: str
    output: object


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
        TraceError: the model raised, and not because values were missing.
    """
    args, kwargs = arguments(inputs)
    observer, output, error = _attempt(model, args, kwargs, make_observer, names, real=False)
    if error is None:
        return Trace("meta", "", output), observer
    reason = first_line(error)
    if meta_only:
        return Trace("not run", reason, None), make_observer()
    if not any(p.is_meta for p in model.parameters()):
        observer, output, error = _attempt(model, args, kwargs, make_observer, names, real=True)
        if error is None:
            return Trace("real", reason, output), observer
        reason = first_line(error)
    elif _lacks_values(error):
        return Trace("not run", reason, None), make_observer()
    raise TraceError(
        f"the model raised on these inputs: {reason}. Check that model(inputs) runs, or leave "
        f"inputs out: then goodinit uses module types and shapes"
    ) from error


def first_line(error: Exception) -> str:
    """Return the type and the first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _lacks_values(error: Exception) -> bool:
    """Whether a model on meta failed because it asked for values, by torch's message."""
    return isinstance(error, NotImplementedError) or "meta tensor" in str(error).lower()


def _attempt(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    make_observer: Callable[[], ObserverT],
    names: Mapping[int, str],
    real: bool,
) -> tuple[ObserverT, object, Exception | None]:
    """Run a model once; return its observer, and what the model returned or raised."""
    observer = make_observer()
    guard = GuardedObserver(observer)
    home = next((p.device for p in model.parameters() if not p.is_meta), torch.device("cpu"))
    output, raised = None, None
    with state_restored(model) as numbers, torch.no_grad():
        tracer = MetaTracer(guard, tensors_in((args, dict(kwargs))), home, real, numbers)
        try:
            with module_stack(tracer.path, guard, names), tracer:
                output = model(*args, **kwargs)
        except Exception as error:
            raised = error
    guard.check()
    return observer, output, raised


def arguments(inputs: Inputs) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return the positional and the keyword arguments that a model is called with."""
    if isinstance(inputs, Mapping):
        return (), inputs
    if isinstance(inputs, tuple):
        return inputs, {}
    return (inputs,), {}


@contextmanager
def module_stack(
    running: list[str], observer: Observer, names: Mapping[int, str]
) -> Generator[None]:
    """Follow which module is running, by global hooks: no module is changed.

    The hooks see every thread's modules; those of other threads are left out.
    """
    thread = get_ident()

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        if get_ident() != thread:
            return
        path = names.get(id(module), running[-1])
        running.append(path)
        observer.enter(path, module, args)

    def leave(module: nn.Module, _: tuple[Any, ...], result: object) -> None:
        if get_ident() == thread:
            observer.leave(running.pop(), module, result)

    with ExitStack() as stack:
        for handle in (
            hooks.register_module_forward_pre_hook(enter),
            hooks.register_module_forward_hook(leave),
        ):
            stack.callback(handle.remove)
        yield


@contextmanager
def state_restored(
    model: nn.Module, devices: Iterable[torch.device] = ()
) -> Generator[RandomNumbers]:
    """Put back the attributes of every module, the process's state and random generators.

    Models keep things on themselves while they run: a cached mask, the last attention map.
    What a run on meta kept would break the next real one.

    Args:
        model: what is run.
        devices: those whose default generators the run draws from.
    """
    with ONE_RUN:
        attributes = Attributes(model.modules())
        with process_restored(attributes.values, devices) as numbers:
            try:
                yield numbers
            finally:
                attributes.put_back()
