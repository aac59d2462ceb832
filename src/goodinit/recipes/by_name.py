"""Recipes by name: the initializations of papers and of their code.

==================  ======================================================================
name                what
==================  ======================================================================
standard            goodinit's own default
torch_default       what PyTorch itself draws
he, kaiming         Var(w) = 2/fan_in, or the gain of the function that follows
xavier, glorot      Var(w) = 2/(fan_in + fan_out)
lecun               Var(w) = 1/fan_in
orthogonal          Haar-random orthogonal matrices
dcgan               Radford et al. 2016
gpt2                Radford et al. 2019, as Hugging Face or OpenAI have it
lstm                Keras' defaults
vit                 as timm or Flax have it
==================  ======================================================================
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from os import PathLike
from typing import cast

from torch import nn

from goodinit.errors import RecipeError, UnknownRecipeError, nearest
from goodinit.recipes.first_guesses import meant_recipe, meant_scheme
from goodinit.recipes.library.general import (
    he,
    lecun,
    lone_scheme,
    orthogonal,
    standard,
    torch_default,
    xavier,
)
from goodinit.recipes.library.language import gpt2, lstm
from goodinit.recipes.library.vision import dcgan, vit
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, sel
from goodinit.schemes import Keep, Scheme

__all__ = ["RecipeLike", "as_recipe", "maker", "names", "recipe"]

# A Mapping is invariant in its keys: {"*.bias": ...} is no Mapping[str | type, Scheme].
RecipeLike = (
    Recipe
    | str
    | PathLike[str]
    | Scheme
    | Mapping[type[nn.Module], Scheme]
    | Mapping[str, Scheme]
    | Mapping[type[nn.Module] | str, Scheme]
)
"""A recipe, its name, its file, a scheme, or a mapping from module types or globs to schemes."""

_RECIPES: Mapping[str, Callable[..., Recipe]] = {
    "dcgan": dcgan,
    "glorot": xavier,
    "gpt2": gpt2,
    "he": he,
    "kaiming": he,
    "lecun": lecun,
    "lstm": lstm,
    "orthogonal": orthogonal,
    "standard": standard,
    "torch_default": torch_default,
    "vit": vit,
    "xavier": xavier,
}


def recipe(name: str, **options: object) -> Recipe:
    """Return a recipe by name.

    Args:
        name: one of ``names()``.
        options: the recipe's options, such as ``distribution="uniform"`` for he.

    Raises:
        UnknownRecipeError: no recipe of that name; the nearest are suggested.
        RecipeError: an option that the recipe doesn't have, or a value that it doesn't accept.

    Example:
        >>> recipe("he", distribution="uniform").name
        'he'
        >>> recipe("xaiver")
        Traceback (most recent call last):
        goodinit.errors.UnknownRecipeError: no recipe is called 'xaiver'. Did you mean 'xavier'?...
    """
    build = maker(name)
    known = list(inspect.signature(build).parameters)
    for option in options:
        if option not in known:
            has = f"its options are {', '.join(known)}" if known else "it has no options"
            raise RecipeError(f"recipe({name!r}, {option}=...): {has}.{nearest(option, known)}")
    return build(**options).with_options(options)


def maker(name: str) -> Callable[..., Recipe]:
    """Return the function that makes a recipe: its docstring and parameters are the options.

    Raises:
        UnknownRecipeError: no recipe of that name; the nearest are suggested.

    >>> maker("kaiming") is maker("he")
    True
    """
    is_text = isinstance(name, str)  # pyright: ignore[reportUnnecessaryIsInstance]
    if is_text and name in _RECIPES:
        return _RECIPES[name]
    near = nearest(name, _RECIPES) if is_text else ""
    known = f"no recipe is called {name!r}.{near} Known: {', '.join(_RECIPES)}"
    scheme = meant_scheme(name) if is_text else ""
    if scheme:
        known = f"{name!r} is no recipe, but a scheme. Write gi.init_(model, {scheme})"
    raise UnknownRecipeError(known)


def names() -> tuple[str, ...]:
    """Return the names of all recipes, in order.

    >>> "he" in names()
    True
    """
    return tuple(_RECIPES)


def as_recipe(value: object) -> Recipe:
    """Return the recipe that a value stands for.

    Args:
        value: a Recipe; its name, with options or without (``"he:mode=fan_out"``); its file, a
            path or a text that ends in ".toml"; a scheme, for the weights of linear layers,
            convolutions and RNNs, with everything else as in ``standard``; or a mapping from
            module types or globs to schemes, which changes only what it names (a type's scheme
            is for its weights, not for its biases). The last entry that matches wins.

    Raises:
        RecipeFileError: a file that can't be read or holds no valid recipe; names the place.
        RecipeError: something else.

    Example:
        >>> from torch import nn
        >>> from goodinit.schemes import Constant, XavierUniform
        >>> print(as_recipe({nn.Linear: XavierUniform(), "*.bias": Constant(0.01)}))
        mapping
          all() | part('buffer') -> Keep()
          type(Linear) & ~part('bias') -> XavierUniform()
          name('*.bias') -> Constant(value=0.01)
    """
    match value:
        case Recipe():
            return value
        case PathLike():
            return Recipe.load(cast("PathLike[str]", value))
        case str():
            return Recipe.load(value) if value.endswith(".toml") else _with_options(value)
        case Scheme():
            return lone_scheme(value)
        case Mapping():
            return _from_mapping(cast("Mapping[object, object]", value))
        case _:
            line = meant_recipe(value)
            raise RecipeError(
                f"a recipe is a gi.Recipe, a name such as 'he', a file such as 'mine.toml', a "
                f"scheme such as gi.XavierUniform(), or a mapping from module types or globs to "
                f"schemes; got {value!r:.200}{f'. Write {line}' if line else ''}"
            )


def _with_options(text: str) -> Recipe:
    """Return the recipe of a name, or of a name with options: ``"he:mode=fan_out"``."""
    name, colon, rest = text.partition(":")
    if not colon:
        return recipe(text)
    options: dict[str, object] = {}
    for pair in rest.split(","):
        key, sign, value = pair.partition("=")
        if not sign or not key.strip():
            raise RecipeError(f"{text!r}: {pair!r} is no option. Write 'he:mode=fan_out'")
        try:
            options[key.strip()] = cast("object", ast.literal_eval(value.strip()))
        except (ValueError, SyntaxError):  # a text without quotes, or true and false
            plain = value.strip()
            options[key.strip()] = {"true": True, "false": False}.get(plain, plain)
    return recipe(name, **options)


def _from_mapping(mapping: Mapping[object, object]) -> Recipe:
    if not mapping:
        raise RecipeError("the mapping is empty: it would change nothing")
    kept = Rule(sel.all() | sel.part("buffer"), Keep(), "the mapping doesn't name it", True)
    rules = (Rule(cast("str", where), cast("Scheme", of)) for where, of in mapping.items())
    return Recipe((kept, *rules), "mapping")
