"""Running a model for real, with gradients, and leaving it as it was."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from goodinit._common.module_tree import buffers_of, modules_of, parameters_of
from goodinit.trace.around import module_stack, state_restored
from goodinit.trace.calls import Call, GuardedObserver, Observer, name_of
from goodinit.trace.meta import FAST_PATH, QUERIES
from goodinit.trace.process import ONE_RUN, RandomNumbers
from goodinit.trace.snapshot import Snapshot

Change = Callable[[Callable[..., Any], Call], object]


class _Listener(TorchFunctionMode):
    """Shows each call of a public torch function to an observer, and lets it run."""

    def __init__(
        self,
        observer: GuardedObserver,
        change: Change | None,
        snapshot: Snapshot,
        numbers: RandomNumbers,
    ) -> None:
        super().__init__()
        self.path: list[str] = [""]
        self._observer = observer
        self._change = change
        self._snapshot = snapshot
        self._numbers = numbers

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name, inplace = name_of(func)
        if name in QUERIES:
            if func is not torch.autograd.grad or self._change is None:
                return func(*args, **kwargs)
            call = Call(self.path[-1], name, inplace, args, kwargs, None, func)
            return self._observer.change(self._change, func, call)
        if name == FAST_PATH:
            return False
        self._snapshot.before(func, name, inplace, args, kwargs)
        with self._numbers.noticed(name, args, kwargs):
            if self._change is None:
                result = func(*args, **kwargs)
            else:
                call = Call(self.path[-1], name, inplace, args, kwargs, None, func)
                result = self._observer.change(self._change, func, call)
        self._observer.call(Call(self.path[-1], name, inplace, args, kwargs, result))
        return result


@contextmanager
def real_run(
    model: nn.Module, grad: bool = True, inputs: Iterable[Tensor] = ()
) -> Generator[Callable[..., Any]]:
    """Give a function ``run(observer, names, call, change=None)`` that runs the model for real.

    ``call`` is what runs under the observer. ``change`` takes a torch function and its call, and
    returns what the call's result is to be. With ``grad`` results can be differentiated. At the
    end the model's tensors, their gradients, attributes, mode and random state are restored, and
    so are the inputs given here, also if something raised.

    Example:
        >>> class Names:
        ...     def call(self, call): print(call.path, call.function)
        ...     def enter(self, path, module, args): ...
        ...     def leave(self, path, module, result): ...
        ...     def source(self, original, stand_in): ...
        >>> net = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
        >>> x, paths = torch.ones(1, 3), {id(net[0]): "0", id(net[1]): "1"}
        >>> with real_run(net) as run:
        ...     y = run(Names(), paths, lambda: net(x))
        0 linear
        1 tanh
    """

    def run(
        observer: Observer,
        names: Mapping[int, str],
        call: Callable[[], object],
        change: Change | None = None,
    ) -> object:
        guard = GuardedObserver(observer)
        guards.append(guard)
        listener = _Listener(guard, change, snapshot, numbers)
        with module_stack(listener.path, guard, names), listener:
            return call()

    devices = sorted({t.device for t in parameters_of(model) if t.is_cuda}, key=str)
    given = list(inputs)
    guards: list[GuardedObserver] = []
    with (
        state_restored(model, devices) as numbers,
        gradients_restored([*parameters_of(model), *given]),
        tensors_restored(model, given) as snapshot,
        torch.set_grad_enabled(grad),
    ):
        try:
            yield run
        finally:
            for guard in guards:
                guard.check()


@contextmanager
def tensors_restored(model: nn.Module, inputs: Iterable[Tensor]) -> Generator[Snapshot]:
    """Restore the values and flags of a model's tensors and its inputs."""
    with ONE_RUN:
        given, buffers = list(inputs), list(buffers_of(model))
        at_once = [*buffers, *(t for t in given if t.layout is torch.strided)]
        held = [value for module in modules_of(model) for value in vars(module).values()]
        attributes = [value for value in held if isinstance(value, Tensor)]
        several = [*parameters_of(model), *buffers, *attributes, *given]
        with torch.no_grad():
            snapshot = Snapshot(several, at_once)
        try:
            yield snapshot
        finally:
            snapshot.put_back()


@contextmanager
def gradients_restored(tensors: Iterable[Tensor]) -> Generator[None]:
    """Remove the gradients of tensors, and put them back at the end."""
    before = [(t, t.grad) for t in tensors]
    for tensor, _ in before:
        tensor.grad = None
    try:
        yield
    finally:
        for tensor, gradient in before:
            tensor.grad = gradient
