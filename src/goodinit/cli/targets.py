"""Find the model that TARGET names on the command line.

==========================  ===================================================================
``demo:NAME``               one of goodinit's small demo models
``hf:TYPE``                 a transformers architecture, from its default configuration
``config.json``             the same from a file, or from a folder that contains one
``timm:NAME``               a timm model, without its pretrained weights
``torchvision:NAME``        a torchvision model, without its pretrained weights
``package.module:factory``  a function or class that builds the module, or the module itself
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

from goodinit.cli import model_libraries
from goodinit.cli.output import CommandError, stdout_to_stderr, user_traceback
from goodinit.demos import models
from goodinit.errors import nearest
from goodinit.trace import Inputs

Arguments = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Target:
    """A model that can be built.

    Attributes:
        text: the words on the command line.
        make: builds the model; each call builds a new one.
        example: returns inputs for a model that was built, or None.
    """

    text: str
    make: Callable[[], object]
    example: Callable[[nn.Module], Inputs | None]


def find_target(text: str, args: Sequence[str] = ()) -> Target:
    """Return the model that TARGET names. Builds nothing.

    ``args`` are ``key=value`` each: arguments of the factory or fields of the configuration.

    Raises:
        CommandError: there is no such model, library or module, or it takes no such argument.

    Example:
        >>> find_target("demo:mlp", ["width=8"]).make()[0]
        Linear(in_features=64, out_features=8, bias=True)
    """
    given = dict(map(parse_argument, args))
    make, example = _find_factory(text, given)
    full = shlex.join([text, *(word for arg in args for word in ("--arg", arg))])
    return Target(full, make, example)


def parse_argument(text: str) -> tuple[str, object]:
    """Return key and value of ``key=value``; the value is a Python literal, true, false or a text.

    >>> parse_argument("depth=3"), parse_argument("bias=false"), parse_argument("act=gelu")
    (('depth', 3), ('bias', False), ('act', 'gelu'))
    """
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise CommandError(f"--arg: {text!r} isn't of the form key=value")
    if value in ("true", "false"):
        return key, value == "true"
    try:
        return key, cast("object", ast.literal_eval(value))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return key, value


def _find_factory(
    text: str, given: Arguments
) -> tuple[Callable[[], object], Callable[[nn.Module], Inputs | None]]:
    if text.endswith(".json") or Path(text).is_dir():
        return model_libraries.hf_model_from_file(Path(text), given)
    kind, colon, name = text.partition(":")
    match kind if colon and name else "":
        case "demo":
            if name not in models.__all__:
                near, known = nearest(name, models.__all__), ", ".join(models.__all__)
                raise CommandError(f"there is no demo {name!r}.{near} Known: {known}")
            return _checked_factory(text, getattr(models, name), given), _lightning_example
        case "hf":
            return model_libraries.hf_model(name, given)
        case "timm":
            return model_libraries.timm_model(name, given)
        case "torchvision":
            return model_libraries.torchvision_model(name, given)
        case "":
            raise CommandError(f"{text!r} names no model.{_target_hint(text)} {_TARGET_FORMS}")
        case _:
            factory = _get_attribute(_import_module(kind, name), name)
            return _checked_factory(text, factory, given), _lightning_example


_TARGET_FORMS = (
    "A target is demo:NAME, hf:TYPE, a config.json, timm:NAME, torchvision:NAME or "
    "package.module:factory"
)


def _target_hint(text: str) -> str:
    name = text.strip(":")
    if name in models.__all__:
        return f" Did you mean 'demo:{name}'?"
    if name == "demo":
        return f" There are {', '.join(f'demo:{name}' for name in models.__all__)}."
    if text.endswith(".py"):
        return f" Did you mean '{Path(text).stem}:factory'?"
    found = model_libraries.libraries_with(name)
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""


def _import_module(name: str, factory: str) -> ModuleType:
    """Import a module; the current folder is searched first. Its own errors show its traceback.

    ``factory`` is what it should have, for the error: it may be a model of a library.
    """
    if name.endswith(".py"):
        raise CommandError(f"{name} is a file: name the module, as in '{Path(name).stem}:factory'")
    if not all(part.isidentifier() for part in name.split(".")):
        raise CommandError(f"{name!r} is not the dotted name of a module. {_TARGET_FORMS}")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        with stdout_to_stderr():
            return model_libraries.with_torchvision_operators(lambda: importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_failure(name, error) from error
        raise CommandError(_missing_module(name, error.name, factory)) from error
    except (Exception, SystemExit) as error:
        raise _import_failure(name, error) from error


def _missing_module(name: str, missing: str, factory: str) -> str:
    parent = missing.rpartition(".")[0]
    known = _modules_in(parent)
    where = f" in {parent}" if parent else f"; the current folder, {Path.cwd()}, is searched first"
    asked = f" (needed for {name!r})" if name != missing else ""
    near = nearest(missing, known) or _target_hint(factory)
    return f"there is no module {missing!r}{asked}{where}.{near}"


def _modules_in(parent: str) -> list[str]:
    """Return the names of the modules in a package, or in the current folder."""
    paths = getattr(sys.modules.get(parent), "__path__", ()) if parent else [str(Path.cwd())]
    start = f"{parent}." if parent else ""
    return [f"{start}{module.name}" for module in pkgutil.iter_modules(paths)]


def _import_failure(name: str, error: BaseException) -> CommandError:
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return CommandError(f"importing {name} raised {line}", user_traceback(error))


def _get_attribute(module: ModuleType, path: str) -> object:
    found: Any = module
    for name in path.split("."):
        if not hasattr(found, name):
            known = [n for n in cast("Iterable[str]", dir(found)) if not n.startswith("_")]
            where = getattr(found, "__name__", type(found).__name__)
            raise CommandError(f"{where} has no {name!r}.{nearest(name, known)}")
        found = getattr(found, name)
    return found


def _checked_factory(text: str, factory: object, given: Arguments) -> Callable[[], object]:
    """Return a function that builds the module, after checking its arguments."""
    if isinstance(factory, nn.Module):
        if given:
            raise CommandError(f"{text} is already a module, which takes no --arg")
        return lambda: factory
    if not callable(factory):
        kind = type(factory).__name__
        raise CommandError(f"{text} is a {kind}, neither a module nor a function that builds one")
    _check_arguments(text, factory, given)
    make = partial(factory, **given)
    return lambda: model_libraries.with_torchvision_operators(make)


def _check_arguments(text: str, factory: Callable[..., object], given: Arguments) -> None:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return  # some built-in functions have no signature
    try:
        signature.bind(**given)
    except TypeError as error:
        unknown = [key for key in given if key not in signature.parameters]
        near = "".join(nearest(key, signature.parameters) for key in unknown)
        known = ", ".join(signature.parameters) or "none"
        raise CommandError(f"--arg: {error}.{near} {text} takes {known}") from error


def _lightning_example(model: nn.Module) -> Inputs | None:
    """Return the inputs in ``example_input_array``, the attribute that Lightning uses."""
    return getattr(model, "example_input_array", None)
