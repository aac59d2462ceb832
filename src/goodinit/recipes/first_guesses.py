"""What people pass instead of a scheme or a recipe, and the line of code that they mean."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Any, cast

from torch import Tensor, nn

from goodinit.errors import nearest
from goodinit.schemes import Scheme
from goodinit.schemes.corrected_call import corrected_call
from goodinit.schemes.reader import SCHEMES

# The functions of torch.nn.init and Keras' names, without the last underscore.
_SCHEMES: Mapping[str, str] = {
    "constant": "gi.Constant(0.0)",
    "dirac": "gi.Dirac()",
    "eye": "gi.Identity()",
    "glorot_normal": "gi.XavierNormal()",
    "glorot_uniform": "gi.XavierUniform()",
    "he_normal": "gi.HeNormal()",
    "he_uniform": "gi.HeUniform()",
    "kaiming_normal": "gi.HeNormal()",
    "kaiming_uniform": "gi.HeUniform()",
    "lecun_normal": "gi.LeCunNormal()",
    "lecun_uniform": "gi.LeCunUniform()",
    "normal": "gi.Normal(std=0.02)",
    "ones": "gi.Ones()",
    "orthogonal": "gi.Orthogonal()",
    "sparse": "gi.Sparse(sparsity=0.1)",
    "trunc_normal": "gi.TruncatedNormal(std=0.02)",
    "truncated_normal": "gi.TruncatedNormal(std=0.02)",
    "uniform": "gi.Uniform(-0.1, 0.1)",
    "xavier_normal": "gi.XavierNormal()",
    "xavier_uniform": "gi.XavierUniform()",
    "zeros": "gi.Zeros()",
}
# Names of recipes, which are no schemes.
_OF_RECIPES = {
    "glorot": "gi.XavierUniform()",
    "he": "gi.HeNormal()",
    "kaiming": "gi.HeNormal()",
    "lecun": "gi.LeCunNormal()",
    "torch_default": "gi.TorchDefault()",
    "xavier": "gi.XavierUniform()",
}
# What other libraries, or habit, call the public functions.
_FUNCTIONS = {
    "check": "gi.measure(model, inputs)",
    "initialize": "gi.init_(model)",
    "initialize_": "gi.init_(model)",
    "lsuv": "gi.calibrate_(model, inputs)",
    "lsuv_": "gi.calibrate_(model, inputs)",
    "manual_seed": "gi.init_(model, seed=0)",
    "seed": "gi.init_(model, seed=0)",
    "summary": "gi.plan(model)",
}


def meant_name(name: str, known: Collection[str]) -> str:
    """Return what a name of the package that doesn't exist stands for, as a sentence, or "".

    >>> meant_name("init", ["init_"]), meant_name("he", [])
    ('. Write gi.init_', '. Write gi.recipe("he")')
    """
    if f"{name}_" in known:
        return f". Write gi.{name}_"
    if name in _FUNCTIONS:
        return f". Write {_FUNCTIONS[name]}"
    if name in _OF_RECIPES:
        return f'. Write gi.recipe("{name}")'
    near = nearest(name, known)
    return f".{near}" if near else ""


def meant_scheme(value: object) -> str:
    """Return the code of the scheme that a value stands for, or "".

    >>> from torch import nn
    >>> from goodinit.schemes import XavierUniform
    >>> meant_scheme(nn.init.xavier_uniform_), meant_scheme(XavierUniform), meant_scheme("he")
    ('gi.XavierUniform()', 'gi.XavierUniform()', 'gi.HeNormal()')
    >>> meant_scheme(0.01)
    'gi.Constant(0.01)'
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"gi.Constant({value!r})"
    if isinstance(value, functools.partial):
        return _with_arguments(cast("functools.partial[Any]", value))
    name = value if isinstance(value, str) else getattr(value, "__name__", "")
    if isinstance(value, type):
        if not issubclass(value, Scheme):
            return ""
        lines = [line for line in _SCHEMES.values() if line.startswith(f"gi.{name}(")]
        return next(iter(lines), f"gi.{name}()")
    plain = str(name).lower().replace(" ", "_").strip("_")
    return _SCHEMES.get(plain) or _OF_RECIPES.get(plain, "")


def described(value: object) -> str:
    """Return what a wrong part of a rule is, in words.

    >>> described(Scheme)
    'the class Scheme: call it, Scheme(...)'
    """
    if isinstance(value, type):
        return f"the class {value.__name__}: call it, {value.__name__}(...)"
    if isinstance(value, nn.Module | Tensor):
        return f"a {type(value).__name__} itself: name it by its path in the model, 'fc.weight'"
    return repr(value)


def meant_entry(where: object, value: object) -> str:
    """Return the entry of a mapping that a value stands for, as a sentence, or "".

    >>> meant_entry("*.bias", 0)
    ". Write {'*.bias': gi.Constant(0)}"
    """
    line = meant_scheme(value)
    key = f"nn.{where.__name__}" if isinstance(where, type) else repr(where)
    return f". Write {{{key}: {line}}}" if line else ""


def _with_arguments(value: functools.partial[Any]) -> str:
    """Return the scheme of a function of torch.nn.init, with the arguments that it has."""
    line = meant_scheme(value.func)
    kind = SCHEMES.get(line.removeprefix("gi.").partition("(")[0])
    if kind is None or not value.keywords:
        return line
    return corrected_call(kind, (), value.keywords, ()) or line


def meant_recipe(value: object) -> str:
    """Return the call that a value passed as a recipe stands for, or "".

    >>> meant_recipe(0.02)
    'gi.init_(model, gi.Normal(std=0.02))'
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"gi.init_(model, gi.Normal(std={abs(value) or 0.02:g}))"
    several = cast("list[object]", value) if isinstance(value, (list, tuple)) else []
    if several:
        first = several[0]
        if isinstance(first, Mapping):
            return "gi.init_(model, gi.Recipe([gi.Rule(where, scheme), ...]))"
        if isinstance(first, tuple):
            return "gi.init_(model, dict(rules))"
        if type(first).__name__ == "Rule":
            return "gi.init_(model, gi.Recipe(rules))"
    scheme = meant_scheme(cast("object", value))
    if scheme:
        return f"gi.init_(model, {scheme})"
    is_function = callable(cast("object", value)) and not isinstance(value, type)
    return "model.apply(function)" if is_function else ""
