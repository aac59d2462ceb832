"""What a trace reports: one call of a public torch function, and where it happened."""

# Methods that an observer has are documented in Observer.
# ruff: noqa: D102

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a torch function, as its caller wrote it.

    Attributes:
        path: dotted path of the innermost module that is running.
        function: the plain name: "linear", "add", "T" (of the property); without the trailing
            underscore of in-place forms.
        inplace: whether the first argument was written to.
        args: positional arguments.
        kwargs: keyword arguments.
        result: what it returned.
        func: the function itself.
    """

    path: str
    function: str
    inplace: bool
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: object
    func: Callable[..., Any] | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among its arguments, in order."""
        return tensors_of(self.args, self.kwargs)


class Observer(Protocol):
    """Listens to a trace. It may keep no tensor longer than the call that passed it."""

    def source(self, original: Tensor, stand_in: Tensor) -> None:
        """A tensor that no call made (a parameter, an input) enters as ``stand_in``."""

    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        """A module begins to run on these positional arguments."""

    def leave(self, path: str, module: nn.Module, result: object) -> None:
        """A module returned."""

    def call(self, call: Call) -> None:
        """A torch function returned."""


class NullObserver:
    """An observer that ignores everything."""

    def source(self, original: Tensor, stand_in: Tensor) -> None: ...
    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None: ...
    def leave(self, path: str, module: nn.Module, result: object) -> None: ...
    def call(self, call: Call) -> None: ...


class GuardedObserver:
    """Passes everything on to an observer, and keeps the first exception that it raises.

    A model may catch what is raised inside it, and whoever runs the model takes an exception for
    the model's own. ``check`` raises it again: a bug of the observer isn't a reason to run the
    model in another way, or to blame it.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._error: Exception | None = None

    def check(self) -> None:
        """Raise what the observer raised."""
        if self._error is not None:
            raise self._error

    def source(self, original: Tensor, stand_in: Tensor) -> None:
        self._pass_on(self._observer.source, original, stand_in)

    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._pass_on(self._observer.enter, path, module, args)

    def leave(self, path: str, module: nn.Module, result: object) -> None:
        self._pass_on(self._observer.leave, path, module, result)

    def call(self, call: Call) -> None:
        self._pass_on(self._observer.call, call)

    def change(self, change: Callable[..., object], func: Callable[..., Any], call: Call) -> object:
        """Let ``change`` run a call. What ``func`` raises is the model's, anything else a bug."""
        models: list[Exception] = []

        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return func(*args, **kwargs)
            except Exception as error:
                models.append(error)
                raise

        try:
            return change(run, call)
        except Exception as error:
            ours = not any(error is each for each in models) and type(error).__name__ != EARLY_STOP
            if ours and self._error is None:
                self._error = error
            raise
        finally:
            models.clear()  # an error holds this frame

    def _pass_on(self, method: Callable[..., None], *args: object) -> None:
        if self._error is not None:
            return  # the model went on, and the observer doesn't know what it missed
        try:
            method(*args)
        except RecursionError:  # the model's error: its modules nest too deep for Python's stack
            raise
        except Exception as error:
            self._error = error
            raise


class HookError(Exception):
    """A bug in a hook of the backward pass that an observer has registered: its cause."""


def observing_hook(observe: Callable[[Tensor | None], None]) -> Callable[[Tensor | None], None]:
    """Return a hook for the backward pass that raises its own bugs as HookError."""

    def hook(gradient: Tensor | None) -> None:
        try:
            observe(gradient)
        except Exception as error:
            raise HookError from error

    return hook


EARLY_STOP = "_StopRecomputationError"
"""What a checkpoint raises, in whatever call saves the last tensor, to end a second run."""

# How deep results and arguments are searched for tensors. Models nest three or four levels (a cache
# of layers of pairs). The bound stops at structures that contain themselves; deeper tensors are
# missed.
NESTING = 8

# The plain names of operators and aliases.
_ALIASES = {
    "add": "__radd__",
    "bitwise_and": "__and__",
    "bitwise_or": "__or__",
    "bitwise_xor": "__xor__",
    "cat": "concat concatenate",
    "div": "divide true_divide",
    "expand": "expand_as",
    "movedim": "moveaxis",
    "mul": "__rmul__ multiply",
    "neg": "negative",
    "rdiv": "__rtruediv__",
    "reshape": "reshape_as",
    "setitem": "__setitem__",
    "sub": "subtract",
    "to": "type_as float half bfloat16 double type",
    "transpose": "swapaxes swapdims",
    "view": "view_as",
}
_SAME = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
_OPERATORS = {"add", "sub", "mul", "matmul", "truediv", "div", "pow", "and", "or", "xor"}


def name_of(function: Callable[..., object]) -> tuple[str, bool]:
    """Return (plain name, whether it works in place) of a torch function.

    >>> import torch
    >>> name_of(torch.nn.functional.relu_), name_of(torch.Tensor.__iadd__)
    (('relu', True), ('add', True))
    >>> name_of(torch.Tensor.T.__get__)
    ('T', False)
    """
    name = getattr(function, "__name__", type(function).__name__)
    if type(function).__name__ == "OpOverload" and str(function).startswith("aten."):
        name = name.partition(".")[0]  # what exported graphs call
    if name in ("__get__", "__set__"):
        getter = getattr(function, "__self__", None)
        return getattr(getter, "__name__", name), name == "__set__"
    if name in _SAME:
        return _SAME[name], name == "__setitem__"
    if name.startswith("__") and name.endswith("__"):
        bare = name[2:-2]
        if bare.startswith("i") and bare[1:] in _OPERATORS:
            return "div" if bare == "itruediv" else bare[1:], True
        return {"truediv": "div"}.get(bare, bare), False
    inplace = name.endswith("_") and not name.endswith("__")
    bare = name.strip("_") if inplace else name
    return _SAME.get(bare, bare), inplace


# What most arguments are that hold no tensor: looked up, as a test for a mapping takes longer.
_ATOMS = frozenset(
    (int, float, bool, str, bytes, type(None), slice, type(...), torch.dtype, torch.device)
)


def tensors_in(value: object, depth: int = 0) -> Iterator[Tensor]:
    """Yield the tensors in a nest of tuples, lists, mappings and dataclasses, in order.

    >>> import torch
    >>> [t.item() for t in tensors_in({"a": (torch.tensor(1), [torch.tensor(2)])})]
    [1, 2]
    """
    if isinstance(value, Tensor):
        yield value
    elif type(value) in _ATOMS or depth > NESTING:
        return
    elif isinstance(value, (tuple, list)):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            yield from tensors_in(item, depth + 1)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, (str, bytes, int, float)):
        return
    elif isinstance(value, Mapping):
        for item in value.values():  # pyright: ignore[reportUnknownVariableType]
            yield from tensors_in(item, depth + 1)  # pyright: ignore[reportUnknownArgumentType]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for item in dataclasses.fields(value):
            yield from tensors_in(getattr(value, item.name, None), depth + 1)


def map_tensors(value: Any, change: Callable[[Tensor], Tensor], depth: int = 0) -> Any:
    """Return a nest of tuples, lists and mappings with its tensors changed."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) not in _ATOMS and depth <= NESTING:
        if type(value) in (tuple, list):
            return type(value)([map_tensors(item, change, depth + 1) for item in value])
        if isinstance(value, Mapping):
            items = cast("Mapping[Any, Any]", value).items()
            return {key: map_tensors(item, change, depth + 1) for key, item in items}
    return value


def tensors_of(args: Iterable[object], kwargs: Mapping[str, object]) -> list[Tensor]:
    """Return the tensors among a call's arguments, as ``tensors_in((args, kwargs))`` yields them.

    >>> import torch
    >>> [t.item() for t in tensors_of((torch.tensor(1), 2), {"a": [torch.tensor(3)]})]
    [1, 3]
    """
    found: list[Tensor] = []
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            found.append(value)
        elif type(value) not in _ATOMS:
            found += tensors_in(value, 2)
    return found


def map_arguments(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], change: Callable[[Tensor], Tensor]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a call's arguments with their tensors changed, as ``map_tensors`` of both does."""
    changed: list[Any] = [
        change(v) if isinstance(v, Tensor) else map_tensors(v, change, 2) for v in args
    ]
    return (*changed,), {key: map_tensors(v, change, 2) for key, v in kwargs.items()}
