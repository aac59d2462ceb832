"""Running a model for real, with gradients, without a trace left behind."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from goodinit.trace.calls import Call, Observer, name_of
from goodinit.trace.ghost import QUERIES
from goodinit.trace.run import as_before, told

__all__ = ["live"]

Change = Callable[[Callable[..., Any], Call], object]


class _Listener(TorchFunctionMode):
    """Shows each call of a public torch function to an observer, and lets it run."""

    def __init__(self, observer: Observer, change: Change | None) -> None:
        super().__init__()
        self.path: list[str] = [""]
        self._observer = observer
        self._change = change

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
            return func(*args, **kwargs)
        if self._change is None:
            result = func(*args, **kwargs)
        else:
            result = self._change(func, Call(self.path[-1], name, inplace, args, kwargs, None))
        self._observer.call(Call(self.path[-1], name, inplace, args, kwargs, result))
        return result


@contextmanager
def live(
    model: nn.Module, grad: bool = True, inputs: Iterable[Tensor] = ()
) -> Generator[Callable[..., Any]]:
    """Give a function ``run(observer, names, call, change=None)`` that runs the model for real.

    ``call`` is what is run under the observer; ``change``, given a torch function and its call,
    returns what shall be the result. With ``grad`` what is made may be differentiated. Afterwards
    buffers, attributes, mode and random state are as before, and the inputs that are named, also if
    something raised; gradients are left alone by whoever uses ``torch.autograd.grad``.

    Example:
        >>> class Names:
        ...     def call(self, call): print(call.path, call.function)
        ...     def enter(self, path, module, args): ...
        ...     def leave(self, path, module, result): ...
        ...     def source(self, original, stand_in): ...
        >>> net = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
        >>> x, paths = torch.ones(1, 3), {id(net[0]): "0", id(net[1]): "1"}
        >>> with live(net) as run:
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
        listener = _Listener(observer, change)
        with told(listener.path, observer, names), listener:
            return call()

    devices = sorted({t.device for t in model.parameters() if t.is_cuda}, key=str)
    with (
        as_before(model),
        _buffers_as_before(model),
        _inputs_as_before(inputs),
        torch.random.fork_rng(devices=devices),  # pyright: ignore[reportUnknownArgumentType]
        torch.set_grad_enabled(grad),
    ):
        yield run


@contextmanager
def _buffers_as_before(model: nn.Module) -> Generator[None]:
    """Put back what a model writes into its buffers: running means, counters, caches."""
    before: list[tuple[Tensor, Tensor]] = [(b, b.detach().clone()) for b in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, old in before:
                if buffer.shape == old.shape:
                    buffer.copy_(old)
                else:
                    buffer.set_(old)  # pyright: ignore[reportUnknownMemberType, reportArgumentType, reportCallIssue]


@contextmanager
def _inputs_as_before(inputs: Iterable[Tensor]) -> Generator[None]:
    """Put back what a model that begins in place has written over."""
    strided = [t for t in inputs if t.layout is torch.strided]
    before = [(t, t._version, t.detach().clone()) for t in strided]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, version, old in before:
                if tensor._version != version:
                    tensor.copy_(old)
