"""The public functions, with an answer to calls whose arguments don't fit."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar, cast

from torch import Tensor, nn

from goodinit._common.unfit_arguments import unfit_arguments
from goodinit.errors import CallError, UnknownRecipeError, nearest
from goodinit.recipes.by_name import maker
from goodinit.schemes import Scheme

# What other libraries call the parameters.
_SYNONYMS = {
    "batch": "inputs",
    "criterion": "loss",
    "data": "inputs",
    "example_inputs": "inputs",
    "exclude": "keep",
    "ignore": "keep",
    "include": "only",
    "init": "recipe",
    "input": "inputs",
    "input_data": "inputs",
    "loss_fn": "loss",
    "model": "target",
    "module": "target",
    "random_state": "seed",
    "recipe": "plan",
    "scheme": "recipe",
    "seed": "seeds",
    "skip": "keep",
    "state_dict": "checkpoint",
    "x": "inputs",
}
_SHAPES = frozenset(("input_shape", "input_size", "shape"))  # of inputs that are to be made
_TARGETS = frozenset(("label", "labels", "target", "targets", "y"))  # which a loss needs

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
    surplus = args[len(positional) :]
    texts = [value for value in (given.get("recipes"), *surplus) if isinstance(value, str)]
    if "recipes" in given and len(texts) > 1:
        given["recipes"] = texts
    for value in surplus:  # by keyword only
        name = _meant(value)
        if name in known:
            given.setdefault(name, value)
    if "generator" in kwargs and "seed" in known:
        given["seed"] = 0
    if "loss" in known and not _TARGETS.isdisjoint(kwargs):
        given["loss"] = None
    shape = next((value for name, value in kwargs.items() if name in _SHAPES), None)
    if "inputs" in known and isinstance(shape, tuple):
        given["inputs"] = cast("object", shape)
    needed = [n for n, p in known.items() if p.default is p.empty and n not in given]
    parts = [_text(name, given.get(name)) for name in positional if name in given or name in needed]
    options = {name: value for name, value in renamed.items() if name not in known}
    recipe = given.get("recipe", "he")
    if "recipe" in known and "std" in options:
        parts[1:2] = [f"gi.Normal(std={options['std']!r})"]
    elif "recipe" in known and isinstance(recipe, str) and _is_recipe(recipe):
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
    several: Sequence[object] = ()
    if isinstance(value, (list, tuple)):
        several = value = cast("Sequence[object]", value)
    if name == "inputs" and several and all(isinstance(each, int) for each in several):
        return f"torch.randn({', '.join(map(str, several))})"
    if name == "loss" and isinstance(value, nn.Module):
        return f"lambda out: torch.nn.{type(value).__name__}()(out, y)"
    if name == "loss" and not callable(value):
        return "lambda out: torch.nn.functional.cross_entropy(out, y)"
    if name == "plan" and isinstance(value, str):
        return f"gi.plan(model, {value!r})"
    if several and all(isinstance(each, str) for each in several):
        return repr(several)
    if name == "recipes" and not isinstance(value, str):
        return "['he', 'xavier']"
    if isinstance(value, (str, int, float)) and name not in ("model", "target", "inputs"):
        return repr(value)
    if isinstance(value, Scheme):
        return f"gi.{value!r}"
    return "model" if name == "target" else name


def _is_recipe(name: str) -> bool:
    try:
        return bool(maker(name))
    except UnknownRecipeError:
        return False
