"""What is wrong with a call, by the signature of what was called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from goodinit.errors import CallError

P = ParamSpec("P")
R = TypeVar("R")


def answering(
    function: Callable[P, R], say: Callable[[str, tuple[object, ...], Mapping[str, object]], str]
) -> Callable[P, R]:
    """Return a function that raises CallError where its arguments don't fit.

    ``say`` makes the error's text from what is wrong and the arguments.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            wrong = unfit_arguments(function, args, kwargs)
            if not wrong or isinstance(error, CallError):
                raise
            raise CallError(say(wrong, args, kwargs)) from None

    return call


def answered(line: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a method so that a call whose arguments don't fit says what to write.

    >>> class Jar:
    ...     @answered("Jar('jam')")
    ...     def __init__(self, what): ...
    >>> Jar()
    Traceback (most recent call last):
    goodinit.errors.CallError: Jar: missing a required argument: 'what'. Write Jar('jam')
    """

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        name = method.__qualname__.removesuffix(".__init__")
        return answering(method, lambda wrong, _, __: f"{name}: {wrong}. Write {line}")

    return decorate


def unfit_arguments(
    function: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> str:
    """Return why a function can't be called with these arguments, or "" if it can.

    >>> unfit_arguments(len, (1, 2), {})
    'too many positional arguments'
    >>> unfit_arguments(len, (1,), {"size": 2})
    "unknown argument 'size'"
    """
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError as error:
        return str(error).replace("got an unexpected keyword argument", "unknown argument")
    return ""
