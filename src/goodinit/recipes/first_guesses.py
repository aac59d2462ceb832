"""What people pass instead of a scheme or a recipe, and the line of code that they mean."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping
from os import PathLike
from typing import Any, cast

from torch import Tensor, nn

from goodinit.errors import nearest
from goodinit.schemes import Scheme
from goodinit.schemes.corrected_call import corrected_call
from goodinit.schemes.fields import one_line
from goodinit.schemes.reader import SCHEMES

_CHECKPOINTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_CAPITAL = re.compile(r"(?<=[a-z])([A-Z])")  # where a word begins in RandomNormal

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
    "identity": "gi.Identity()",
    "ones": "gi.Ones()",
    "orthogonal": "gi.Orthogonal()",
    "random_normal": "gi.Normal(std=0.02)",
    "random_uniform": "gi.Uniform(-0.1, 0.1)",
    "sparse": "gi.Sparse(sparsity=0.1)",
    "trunc_normal": "gi.TruncatedNormal(std=0.02)",
    "truncated_normal": "gi.TruncatedNormal(std=0.02)",
    "uniform": "gi.Uniform(-0.1, 0.1)",
    "variance_scaling": "gi.VarianceScaling()",
    "xavier_normal": "gi.XavierNormal()",
    "xavier_uniform": "gi.XavierUniform()",
    "zeros": "gi.Zeros()",
}
# Names of recipes, which aren't schemes.
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
    "analyze": "gi.measure(model, inputs)",
    "assert_healthy": "gi.testing.assert_healthy(model, inputs)",
    "available_recipes": "gi.recipes.names()",
    "calculate_gain": "gi.gain('relu')",
    "check": "gi.measure(model, inputs)",
    "describe": "gi.plan(model)",
    "diagnose": "gi.measure(model, inputs)",
    "init_weights": "gi.init_(model)",
    "initialise": "gi.init_(model)",
    "initialize": "gi.init_(model)",
    "initializers": "gi.schemes",
    "inspect": "gi.explain(model)",
    "lint": "gi.explain(model)",
    "list_recipes": "gi.recipes.names()",
    "lsuv": "gi.calibrate_(model, inputs)",
    "manual_seed": "gi.init_(model, seed=0)",
    "plot": "gi.measure(model, inputs).to_html('signal.html')",
    "report": "gi.measure(model, inputs).to_html('signal.html')",
    "reset_parameters": "gi.init_(model, 'torch_default')",
    "save": "plan.save('plan.json')",
    "seed": "gi.init_(model, seed=0)",
    "seed_everything": "gi.init_(model, seed=0)",
    "set_seed": "gi.init_(model, seed=0)",
    "summary": "gi.plan(model)",
    "verify": "gi.measure(model, inputs)",
}


def meant_name(name: str, known: Collection[str]) -> str:
    """Return what a name of the package that doesn't exist stands for, as a sentence, or "".

    >>> meant_name("init", ["init_"]), meant_name("he", [])
    ('. Write gi.init_', '. Write gi.recipe("he")')
    >>> meant_name("xavier_uniform_", []), meant_name("RandomNormal", [])
    ('. Write gi.nn.init.xavier_uniform_', '. Write gi.Normal(std=0.02)')
    """
    if f"{name}_" in known:
        return f". Write gi.{name}_"
    plain = _CAPITAL.sub(r"_\1", name).lower().strip("_")
    if plain in _FUNCTIONS:
        return f". Write {_FUNCTIONS[plain]}"
    if name.endswith("_") and hasattr(nn.init, name):
        return f". Write gi.nn.init.{name}"
    if name in _OF_RECIPES:
        return f'. Write gi.recipe("{name}")'
    same = [other for other in known if other.lower() == name.lower()]
    line = f"gi.{same[0]}" if same else _SCHEMES.get(plain) or _OF_RECIPES.get(plain, "")
    if line:
        return f". Write {line}"
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
    return one_line(value)


def meant_entry(where: object, value: object) -> str:
    """Return the entry of a mapping that a value stands for, as a sentence, or "".

    >>> meant_entry("*.bias", 0)
    ". Write {'*.bias': gi.Constant(0)}"
    >>> from goodinit.schemes import HeNormal, Zeros
    >>> meant_entry(nn.Linear, (HeNormal(), Zeros()))
    ". Write {nn.Linear: gi.HeNormal(), gi.sel.type(nn.Linear) & gi.sel.part('bias'): gi.Zeros()}"
    """
    key = f"nn.{where.__name__}" if isinstance(where, type) else repr(where)
    if isinstance(value, Mapping) and isinstance(where, str):
        return _entries(where, cast("Mapping[object, object]", value))
    value = cast("object", value)
    both = _weight_and_bias(value)
    if both and isinstance(where, (type, str)):
        weight, bias = (f"gi.{one!r}" for one in both)
        if isinstance(where, str):
            return _entries(where, dict(zip(("weight", "bias"), both, strict=True)))
        return f". Write {{{key}: {weight}, gi.sel.type({key}) & gi.sel.part('bias'): {bias}}}"
    first = meant_scheme(where) if callable(where) and not isinstance(where, type) else ""
    first = f"gi.{where!r}" if isinstance(where, Scheme) else first
    if first and isinstance(value, str):  # in the wrong order
        return f". Write gi.Rule({value!r}, {first})"
    line = _values_of(value) or meant_scheme(value)
    return f". Write {{{key}: {line}}}" if line else ""


def _entries(module: str, schemes: Mapping[object, object]) -> str:
    """Return the entries of a mapping for the parameters of one module, as a sentence, or ""."""
    path = module.rstrip(".*")
    named = [f"'{path}.{n}': gi.{of!r}" for n, of in schemes.items() if isinstance(of, Scheme)]
    return f". Write {{{', '.join(named)}}}" if named else ""


def _weight_and_bias(value: object) -> tuple[Scheme, Scheme] | None:
    """Return the two schemes of a pair, or of a mapping with the keys weight and bias."""
    if isinstance(value, Mapping):
        value = list(cast("Mapping[object, object]", value).values())
    pair = tuple(cast("list[object]", value)) if isinstance(value, (list, tuple)) else ()
    both = [one for one in pair if isinstance(one, Scheme)]
    return (both[0], both[1]) if len(pair) == 2 == len(both) else None


def _values_of(value: object) -> str:
    """Return the code of the scheme that draws nothing: fixed values, or those of the class."""
    if value is None:
        return "gi.Keep()"
    if isinstance(value, Tensor):
        return "gi.Function(lambda site: tensor)"
    if hasattr(value, "__array__"):
        return "gi.Function(lambda site: torch.as_tensor(array))"
    return ""


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
    if value is None or isinstance(value, bool):
        return "gi.init_(model)"
    if isinstance(value, int) and value >= 1:
        return f"gi.init_(model, seed={value})"
    if isinstance(value, (int, float)):
        return f"gi.init_(model, gi.Normal(std={abs(value) or 0.02:g}))"
    if isinstance(value, Tensor):
        return "gi.init_(model, inputs=inputs)"
    if hasattr(value, "__array__"):
        return "gi.init_(model, inputs=torch.as_tensor(inputs).float())"
    if isinstance(value, nn.Module):
        return "gi.load_(model, other.state_dict())"
    kind = type(value).__name__
    if kind == "Plan":
        return "gi.apply_(model, plan)"
    if kind == "Rule":
        return "gi.init_(model, gi.recipe('standard').override(rule))"
    if hasattr(value, "matches"):
        return "gi.init_(model, {selector: gi.HeNormal()})"
    several = _several(value)
    if several:
        return several
    scheme = meant_scheme(value)
    if scheme:
        return f"gi.init_(model, {scheme})"
    is_function = callable(value) and not isinstance(value, type)
    return "model.apply(function)" if is_function else ""


def meant_call(value: object) -> str:
    """Return the call that takes what is passed to ``recipe`` instead of a name."""
    if isinstance(value, PathLike):
        path = str(cast("PathLike[str]", value))
        return meant_file(path) or f"gi.Recipe.load({path!r})"
    if isinstance(value, str):
        return meant_file(value) or f"gi.init_(model, {value!r})"
    if isinstance(value, Scheme):
        return f"gi.init_(model, gi.{value!r})"
    if isinstance(value, Mapping):
        return "gi.init_(model, mapping)"
    return "gi.init_(model, recipe)" if hasattr(value, "rules") else meant_recipe(value)


def instead_of_plan(value: object) -> str:
    """Return what takes a value that isn't a plan, as a sentence.

    >>> instead_of_plan("he")
    "gi.init_ takes a recipe. Write gi.init_(model, 'he')"
    """
    return f"gi.init_ takes a recipe. Write {meant_call(value) or 'gi.init_(model, recipe)'}"


def _several(value: object) -> str:
    """Return the call that a list stands for: of names, of rules, or of pairs."""
    given = cast("list[object]", value) if isinstance(value, (list, tuple)) else []
    if not given:
        return ""
    if all(isinstance(one, str) for one in given):
        *others, last = given
        many = f"gi.compare(model, inputs, {list(given)!r})"
        return many if others else f"gi.init_(model, {last!r})"
    if isinstance(given[0], Mapping):
        return "gi.init_(model, gi.Recipe([gi.Rule(where, scheme), ...]))"
    if isinstance(given[0], tuple):
        return "gi.init_(model, dict(rules))"
    is_rule = type(given[0]).__name__ == "Rule"
    return "gi.init_(model, gi.recipe('standard').override(*rules))" if is_rule else ""


def meant_file(path: str) -> str:
    """Return the call that reads a file which isn't a recipe, by its ending, or "".

    >>> meant_file("plan.json")
    "gi.apply_(model, gi.Plan.load('plan.json'))"
    """
    if path.endswith(".json"):
        return f"gi.apply_(model, gi.Plan.load({path!r}))"
    return f"gi.load_(model, {path!r})" if path.endswith(_CHECKPOINTS) else ""
