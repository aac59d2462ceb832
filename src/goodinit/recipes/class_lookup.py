"""Module types by name, among the modules that are already imported. Imports nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import cast

from torch import nn

from goodinit.errors import RecipeError, nearest


def module_type(name: str) -> type[nn.Module]:
    """Return the module type of a name: "torch.nn.Linear", "Linear", "package.module.Class".

    Raises:
        RecipeError: no such class is loaded. Names what to import, or the nearest classes.

    Example:
        >>> module_type("torch.nn.Linear") is module_type("Linear") is nn.Linear
        True
    """
    full = name if "." in name else f"torch.nn.{name}"
    found = _find_loaded(full)
    if issubclass(type(found), type) and issubclass(cast("type", found), nn.Module):
        return cast("type[nn.Module]", found)
    module, _, plain = full.rpartition(".")
    known = [key for key, value in vars(nn).items() if isinstance(value, type)]
    if plain in known:
        fix = f"Did you mean 'torch.nn.{plain}'?"
    elif module in sys.modules:
        near = nearest(plain, known) if module == "torch.nn" else ""
        fix = f"{module} has no module class of that name.{near}"
    else:
        fix = f"Import {module} before the recipe is read: a file imports nothing"
    raise RecipeError(f"no class {name!r} is loaded. {fix}")


def type_name(cls: type[nn.Module]) -> str:
    """Return the name by which ``module_type`` finds a class; torch.nn's short one if it has one.

    Raises:
        RecipeError: a class that isn't in a module under its name, e.g. one made in a function.

    Example:
        >>> type_name(nn.Linear)
        'torch.nn.Linear'
    """
    if vars(nn).get(cls.__name__) is cls:
        return f"torch.nn.{cls.__name__}"
    name = f"{cls.__module__}.{cls.__qualname__}"
    if _find_loaded(name) is not cls:
        raise RecipeError(f"the class {name} can't be found by that name: define it in a module")
    return name


def _find_loaded(name: str) -> object:
    """Return what a dotted name stands for in the modules that are loaded, or None."""
    path, dot, last = name.rpartition(".")
    inner = [last]
    while dot and path not in sys.modules:
        path, dot, last = path.rpartition(".")
        inner.insert(0, last)
    found: object = sys.modules.get(path)
    for step in inner:
        found = _members(found).get(step)
    return found


def _members(holder: object) -> Mapping[str, object]:
    """Return the names in a module or a class, without running any of its code.

    ``getattr`` would call a module's ``__getattr__``, which may import, and a lazy module imports
    itself at any access; ``isinstance`` may read an attribute too.
    """
    if issubclass(type(holder), ModuleType):
        return cast("Mapping[str, object]", object.__getattribute__(holder, "__dict__"))
    if issubclass(type(holder), type):
        return cast("Mapping[str, object]", type.__getattribute__(cast("type", holder), "__dict__"))
    return {}
