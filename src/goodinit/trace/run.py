"""Running a model once, without a trace left behind."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from goodinit.errors import TraceError
from goodinit.trace.calls import Observer, tensors_in
from goodinit.trace.generators import generators_restored
from goodinit.trace.meta import MetaTracer

__all__ = ["Inputs", "Trace", "arguments", "module_stack", "state_restored", "trace"]

ObserverT = TypeVar("ObserverT", bound=Observer)
Inputs = Tensor | tuple[Any, ...] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trace:
    """How a model was run.

    Attributes:
        how: "meta" (without weights), "real" (with the model's own) or "not run".
        reason: why not the way before, if so.
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

    On meta first; where the model asks for values that aren't there (how many tokens go to each
    expert), with its own weights, if it has any. Parameters, buffers, inputs, attributes, mode,
    grads and random state are as before afterwards.

    Args:
        model: any module; not changed.
        inputs: a tensor, a tuple of positional or a mapping of keyword arguments.
        make_observer: makes a fresh observer for each attempt.
        names: id of a module -> its dotted path.
        meta_only: whether to leave it at that where the model can't run on meta.

    Returns:
        How it was run, and the observer of that run.

    Raises:
        TraceError: the model raised, and not because it lacked values.
    """
    args, kwargs = arguments(inputs)
    observer = make_observer()
    try:
        return Trace("meta", "", _run(model, args, kwargs, observer, names, real=False)), observer
    except Exception as error:
        first = error
    reason = _line(first)
    if meta_only:
        return Trace("not run", reason, None), make_observer()
    if not any(p.is_meta for p in model.parameters()):
        observer = make_observer()
        try:
            output = _run(model, args, kwargs, observer, names, real=True)
            return Trace("real", reason, output), observer
        except Exception as error:
            reason, first = _line(error), error
    elif _lacks_values(first):
        return Trace("not run", reason, None), make_observer()
    raise TraceError(
        f"the model raised on these inputs: {reason}. Check that model(inputs) runs, or leave "
        f"inputs out: then module types and shapes tell what they can"
    ) from first


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _lacks_values(error: Exception) -> bool:
    """Whether a model on meta failed because it asked for values: torch says so in words."""
    return isinstance(error, NotImplementedError) or "meta tensor" in str(error).lower()


def _run(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    observer: Observer,
    names: Mapping[int, str],
    real: bool,
) -> object:
    home = next((p.device for p in model.parameters() if not p.is_meta), torch.device("cpu"))
    ghost = MetaTracer(observer, tensors_in((args, dict(kwargs))), home, real)
    with state_restored(model), module_stack(ghost.path, observer, names), torch.no_grad(), ghost:
        return model(*args, **kwargs)


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
    """Follow which module is running, by global hooks: no module is touched."""

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        path = names.get(id(module), running[-1])
        running.append(path)
        observer.enter(path, module, args)

    def leave(module: nn.Module, _: tuple[Any, ...], result: object) -> None:
        observer.leave(running.pop(), module, result)

    with ExitStack() as stack:
        for handle in (
            hooks.register_module_forward_pre_hook(enter),
            hooks.register_module_forward_hook(leave),
        ):
            stack.callback(handle.remove)
        yield


@contextmanager
def state_restored(model: nn.Module) -> Generator[None]:
    """Put back the attributes of every module, and random states, also of generators there.

    Models keep things on themselves while they run: a cached mask, the last attention map.
    What a ghostly run kept would break the next real one.
    """
    saved = [(vars(module), vars(module).copy()) for module in model.modules()]
    held = [
        (value, value.copy())
        for attributes, _ in saved
        for value in attributes.values()
        if type(value) in (dict, list, set)
    ]
    state = random.getstate()
    numpy: Any = sys.modules.get("numpy")
    numpy_state = numpy.random.get_state() if numpy else None
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        # A rehearsal: what a model warns of, it says again when it runs in earnest.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(torch.random.fork_rng(devices=[]))  # pyright: ignore[reportUnknownArgumentType]
        own = [value for attributes, _ in saved for value in attributes.values()]
        stack.enter_context(generators_restored(own))
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        # The fast path of nn.MultiheadAttention is one fused call that shows nothing.
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
            random.setstate(state)
            if numpy:
                numpy.random.set_state(numpy_state)
            for container, content in [*held, *saved]:
                _refill(container, content)


def _refill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, list):
        container.extend(content)
    else:
        container.update(content)
