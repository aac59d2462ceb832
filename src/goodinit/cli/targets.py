"""Which model a word on the command line names.

==========================  ===================================================================
``demo:NAME``               a small model of goodinit's own
``hf:TYPE``                 a transformers architecture, from its default configuration
``config.json``             the same from a file, or from a folder that holds one
``timm:NAME``               a model of timm, without its weights
``torchvision:NAME``        a model of torchvision, without its weights
``package.module:factory``  a function or class that makes the module, or the module itself
==========================  ===================================================================
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from goodinit.cli import libraries
from goodinit.cli.output import CommandError, aside, their_traceback
from goodinit.demos import models
from goodinit.errors import nearest
from goodinit.trace import Inputs

__all__ = ["Target", "argument", "find"]

Arguments = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Target:
    """A model that can be built.

    Attributes:
        text: what was written on the command line.
        make: builds it; called anew, it builds another.
        example: inputs that fit a model that was built, or None.
    """

    text: str
    make: Callable[[], object]
    example: Callable[[nn.Module], Inputs | None]


def find(text: str, args: Sequence[str] = ()) -> Target:
    """Return the model that a word names; nothing is built yet.

    Args:
        text: the word, as in the table above.
        args: ``key=value`` each: arguments of the factory, fields of the configuration.

    Raises:
        CommandError: there is no such model, library or module, or it takes no such argument.

    Example:
        >>> find("demo:mlp", ["width=8"]).make()[0]
        Linear(in_features=64, out_features=8, bias=True)
    """
    given = dict(map(argument, args))
    make, example = _find(text, given)
    full = shlex.join([text, *(word for arg in args for word in ("--arg", arg))])
    return Target(full, make, example)


def argument(text: str, option: str = "--arg") -> tuple[str, object]:
    """Return key and value of ``key=value``; a value is a Python or TOML literal, else a text.

    >>> argument("depth=3"), argument("bias=false"), argument("act=gelu")
    (('depth', 3), ('bias', False), ('act', 'gelu'))
    """
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise CommandError(f"{option}: {text!r} isn't of the form key=value")
    if value in ("true", "false"):
        return key, value == "true"
    try:
        return key, cast("object", ast.literal_eval(value))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return key, value


def _find(
    text: str, given: Arguments
) -> tuple[Callable[[], object], Callable[[nn.Module], Inputs | None]]:
    if text.endswith(".json") or Path(text).is_dir():
        return libraries.config_file(Path(text), given)
    kind, colon, name = text.partition(":")
    match kind if colon and name else "":
        case "demo":
            return _call(text, _demo(name), given), _own_example
        case "hf":
            return libraries.architecture(name, given)
        case "timm":
            return libraries.timm_model(name, given)
        case "torchvision":
            return libraries.torchvision_model(name, given)
        case "":
            raise CommandError(f"{text!r} names no model.{_hint(text)} {_FORMS}")
        case _:
            return _call(text, _attribute(_module(kind), name), given), _own_example


_FORMS = (
    "A target is demo:NAME, hf:TYPE, a config.json, timm:NAME, torchvision:NAME or "
    "package.module:factory"
)


def _hint(text: str) -> str:
    name = text.strip(":")
    if name in models.__all__:
        return f" Did you mean 'demo:{name}'?"
    if name == "demo":
        return f" There are {', '.join(f'demo:{name}' for name in models.__all__)}."
    if text.endswith(".py"):
        return f" Did you mean '{Path(text).stem}:factory'?"
    return ""


def _demo(name: str) -> Callable[..., object]:
    if name not in models.__all__:
        near = nearest(name, models.__all__)
        raise CommandError(f"no demo is called {name!r}.{near} Known: {', '.join(models.__all__)}")
    return getattr(models, name)


def _module(name: str) -> ModuleType:
    """Import a module, the current folder first; a failure inside it is shown as its own."""
    if name.endswith(".py"):
        raise CommandError(f"{name} is a file: name the module, as in '{Path(name).stem}:factory'")
    if not all(part.isidentifier() for part in name.split(".")):
        raise CommandError(f"{name!r} is no module's dotted name. {_FORMS}")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        with aside():
            return libraries.mended(lambda: importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(name, error) from error
        raise CommandError(_no_module(name, error.name)) from error
    except (Exception, SystemExit) as error:
        raise _failed(name, error) from error


def _no_module(name: str, missing: str) -> str:
    parent = missing.rpartition(".")[0]
    known = _modules_below(parent)
    where = f" in {parent}" if parent else f"; the current folder, {Path.cwd()}, is searched first"
    asked = f" (asked for as {name!r})" if name != missing else ""
    return f"there is no module {missing!r}{asked}{where}.{nearest(missing, known)}"


def _modules_below(parent: str) -> list[str]:
    """Return the names beside a module that is missing."""
    if not parent:
        found = pkgutil.iter_modules([str(Path.cwd())])
        return [module.name for module in found]
    paths = getattr(sys.modules.get(parent), "__path__", ())
    return [f"{parent}.{module.name}" for module in pkgutil.iter_modules(paths)]


def _failed(name: str, error: BaseException) -> CommandError:
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return CommandError(f"importing {name} raised {line}", their_traceback(error))


def _attribute(module: ModuleType, path: str) -> object:
    found: Any = module
    for name in path.split("."):
        if not hasattr(found, name):
            known = [n for n in cast("Iterable[str]", dir(found)) if not n.startswith("_")]
            where = getattr(found, "__name__", type(found).__name__)
            raise CommandError(f"{where} has no {name!r}.{nearest(name, known)}")
        found = getattr(found, name)
    return found


def _call(text: str, factory: object, given: Arguments) -> Callable[[], object]:
    """Return what makes the module; arguments that can't be passed are refused here."""
    if isinstance(factory, nn.Module):
        if given:
            raise CommandError(f"{text} is a module already, which takes no --arg")
        return lambda: factory
    if not callable(factory):
        raise CommandError(
            f"{text} is {_a(factory)}, neither a module nor a function that makes one"
        )
    _check_arguments(text, factory, given)
    make = partial(factory, **given)
    return lambda: libraries.mended(make)


def _check_arguments(text: str, factory: Callable[..., object], given: Arguments) -> None:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return  # something built in, which doesn't tell its arguments
    try:
        signature.bind(**given)
    except TypeError as error:
        unknown = [key for key in given if key not in signature.parameters]
        near = "".join(nearest(key, signature.parameters) for key in unknown)
        raise CommandError(
            f"--arg: {error}.{near} {text} takes {', '.join(signature.parameters) or 'none'}"
        ) from error


def _a(value: object) -> str:
    return f"a {type(value).__name__}"


def _own_example(model: nn.Module) -> Inputs | None:
    """Return the example that the model carries itself, under Lightning's name for it."""
    return getattr(model, "example_input_array", None)
