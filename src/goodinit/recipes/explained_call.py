"""The public functions, with an answer to calls whose arguments don't fit."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import ParamSpec, TypeVar

from torch import Tensor

from goodinit._common.unfit_arguments import unfit_arguments
from goodinit.errors import CallError, nearest
from goodinit.recipes.by_name import maker, names
from goodinit.schemes import Scheme

__all__ = ["explained"]

# What other libraries call the parameters.
_SYNONYMS = {
    "batch": "inputs",
    "init": "recipe",
    "input": "inputs",
    "model": "target",
    "module": "target",
    "random_state": "seed",
    "scheme": "recipe",
    "state_dict": "checkpoint",
    "x": "inputs",
}

P = ParamSpec("P")
R = TypeVar("R")


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function whose TypeError about its arguments says what to write instead.

    Example:
        >>> def init_(model, recipe="standard", *, seed=None): ...
        >>> explained(init_)(None, "he", mode="fan_out")
        Traceback (most recent call last):
        goodinit.errors.CallError: init_: unknown argument 'mode'. Write gi.init_(model, ...
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            wrong = unfit_arguments(function, args, kwargs)
            if not wrong or isinstance(error, CallError):
                raise
            line = _line(function, args, kwargs)
            near = "" if "gi.recipe(" in line else _near(function, kwargs)
            raise CallError(f"{function.__name__}: {wrong}.{near} Write {line}") from None

    return call


def _near(function: Callable[..., object], kwargs: Mapping[str, object]) -> str:
    known = list(inspect.signature(function).parameters)
    if any(_SYNONYMS.get(name) in known for name in kwargs if name not in known):
        return ""  # the line says it
    return next((nearest(name, known) for name in kwargs if name not in known), "")


def _line(
    function: Callable[..., object], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> str:
    """Return a call near to the given one whose arguments fit; what isn't plain is a name."""
    known = inspect.signature(function).parameters
    positional = [p.name for p in known.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    renamed = {n if n in known else _SYNONYMS.get(n, n): value for n, value in kwargs.items()}
    given = dict(zip(positional, args, strict=False)) | {
        name: value for name, value in renamed.items() if name in known
    }
    for value in args[len(positional) :]:  # by keyword only
        name = _meant(value)
        if name in known:
            given.setdefault(name, value)
    if "generator" in kwargs and "seed" in known:
        given["seed"] = 0
    needed = [n for n, p in known.items() if p.default is p.empty and n not in given]
    parts = [_text(name, given.get(name)) for name in positional if name in given or name in needed]
    options = {name: value for name, value in renamed.items() if name not in known}
    recipe = given.get("recipe", "he")
    if "recipe" in known and isinstance(recipe, str) and recipe in names():
        options = {
            n: v for n, v in options.items() if n in inspect.signature(maker(recipe)).parameters
        }
        if options:
            text = ", ".join(f"{name}={value!r}" for name, value in options.items())
            parts[1:2] = [f"gi.recipe({recipe!r}, {text})"]
    parts += [f"{n}={_text(n, v)}" for n, v in given.items() if n not in positional]
    return f"gi.{function.__name__}({', '.join(parts)})"


def _meant(value: object) -> str:
    """Return the keyword that a surplus positional argument is for."""
    if isinstance(value, Tensor):
        return "inputs"
    return "seed" if isinstance(value, int) and not isinstance(value, bool) else ""


def _text(name: str, value: object) -> str:
    if isinstance(value, (str, int, float)) and name not in ("model", "target", "inputs"):
        return repr(value)
    if isinstance(value, Scheme):
        return f"gi.{value!r}"
    return "model" if name == "target" else name
