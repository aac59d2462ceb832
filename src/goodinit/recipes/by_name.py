"""Recipes by name: the initializations of papers and of their code.

``goodinit recipes`` lists them, each with the first line of its docstring; docs/recipes.md compares
them. other_names.py has other names that people type.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from os import PathLike
from types import ModuleType
from typing import cast

from torch import Tensor, nn

from goodinit.errors import RecipeError, UnknownRecipeError, nearest
from goodinit.recipes.first_guesses import meant_call, meant_file, meant_recipe, meant_scheme
from goodinit.recipes.library import (
    adapters,
    audio,
    contrastive,
    control,
    convnets,
    decoders,
    detectors,
    encoders,
    general,
    generative,
    implicit,
    language,
    mambas,
    masked_images,
    mup,
    recurrent_decoders,
    rwkv,
    science,
    vision,
    vision_transformers,
    without_norms,
)
from goodinit.recipes.other_names import ALIASES, NO_RECIPES
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, sel
from goodinit.schemes import Keep, Scheme
from goodinit.schemes.fields import one_line

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

_LIBRARY: Mapping[ModuleType, str] = {
    adapters: "lora",
    audio: "mimi",
    contrastive: "clip siglip",
    control: "ppo",
    convnets: "convnext densenet efficientnet resnet vgg",
    decoders: "deepnorm gpt_oss llama megatron nanochat neox olmo",
    detectors: "detr retinanet sam",
    encoders: "bert modernbert switch t5 wav2vec2",
    general: "he lecun orthogonal standard torch_default xavier",
    generative: "ddpm dit stylegan2",
    implicit: "instant_ngp nerf siren",
    language: "gpt2 lstm",
    mambas: "gated_deltanet hybrid mamba mamba2 s4d",
    masked_images: "beit hiera mae vjepa2",
    mup: "completep mup",
    recurrent_decoders: "hyena retnet xlstm",
    rwkv: "rwkv4 rwkv5 rwkv6 rwkv7",
    science: "alphafold e3nn gat",
    vision: "dcgan mimetic vit",
    vision_transformers: "deit dinov2 mixer swin",
    without_norms: "fixup tfixup",
}
"""The recipes in each file of the library: functions by these names."""

_SECOND_NAMES = {"glorot": "xavier", "kaiming": "he"}  # as well known as the first
_MADE_BY: Mapping[str, Callable[..., Recipe]] = {
    name: getattr(module, name) for module, names in _LIBRARY.items() for name in names.split()
}
_RECIPES: Mapping[str, Callable[..., Recipe]] = {
    name: _MADE_BY[_SECOND_NAMES.get(name, name)] for name in sorted({*_MADE_BY, *_SECOND_NAMES})
}

GENERAL: tuple[str, ...] = (
    *("glorot", "he", "kaiming", "lecun", "orthogonal", "standard", "torch_default", "xavier"),
)
"""The recipes for any model."""

_OF_A_BASE = ("completep", "mup")  # of another recipe, as a second model's width has it
FAMILIES: tuple[str, ...] = tuple(name for name in _RECIPES if name not in (*GENERAL, *_OF_A_BASE))
"""Those for a family of models."""

# The size of a model after its name: "-base-uncased", "_b_16", "-7b", "_tiny_patch16_224".
_SIZE = re.compile(
    r"[-_ ](tiny|mini|small|base|medium|large|huge|giant|x+l|(un)?cased|[btslh]\d?|patch\d+"
    r"|\d+(\.\d+)?(x\d+)?[bm])([-_ ]\d+)*$"
)


def recipe(name: str, **options: object) -> Recipe:
    """Return a recipe by name.

    Args:
        name: one of ``names()``, or of ``ALIASES``: ``"he_normal"``, ``"nanogpt"``.
        options: the recipe's options, such as ``distribution="uniform"`` for he.

    Raises:
        UnknownRecipeError: no recipe of that name; says what to call instead, or the nearest.
        RecipeError: an option that the recipe doesn't have, or a value that it doesn't accept.

    Example:
        >>> recipe("he", distribution="uniform").name
        'he'
        >>> recipe("xaiver")
        Traceback (most recent call last):
        goodinit.errors.UnknownRecipeError: no recipe is called 'xaiver'. Did you mean 'xavier'...
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        line = meant_call(name)
        fix = f". Write {line}" if line else ""
        raise UnknownRecipeError(f"gi.recipe takes the name of a recipe, got {one_line(name)}{fix}")
    build = maker(name)
    known = list(inspect.signature(build).parameters)
    for option in options:
        if option not in known:
            has = f"its options are {', '.join(known)}" if known else "it has no options"
            line = nearest(option, known) or f" Write gi.recipe({name!r})"
            raise RecipeError(f"recipe({name!r}, {option}=...): {has}.{line}")
    given = {**ALIASES.get(_known(name), ("", {}))[1], **options}
    law = {"law": as_recipe(cast("RecipeLike", given["law"]))} if "law" in given else {}
    return build(**given | law).with_options(given)


def maker(name: str) -> Callable[..., Recipe]:
    """Return the function that makes a recipe: its docstring and parameters are the options.

    Raises:
        UnknownRecipeError: no recipe of that name; the nearest are suggested.

    >>> maker("kaiming") is maker("he")
    True
    """
    is_text = isinstance(name, str)  # pyright: ignore[reportUnnecessaryIsInstance]
    plain = _known(name) if is_text else ""
    plain = ALIASES[plain][0] if plain in ALIASES else plain
    if plain in _RECIPES:
        return _RECIPES[plain]
    if plain in NO_RECIPES:
        raise UnknownRecipeError(f"{name!r} {NO_RECIPES[plain]}")
    near = nearest(name, (*_RECIPES, *ALIASES))
    before, bracket, options = name.rstrip(")").partition("(") if is_text else ("", "", "")
    if bracket and _known(before) in _RECIPES:
        near = f" Did you mean {f'{before}:{options}'.rstrip(':')!r}?"
    known = f"no recipe is called {name!r}.{near} Known: {', '.join(_RECIPES)}"
    scheme = meant_scheme(name) if is_text else ""
    if scheme:
        known = f"{name!r} isn't a recipe, but a scheme. Write gi.init_(model, {scheme})"
    raise UnknownRecipeError(known)


def _known(name: str) -> str:
    """Return the known name that a spelling stands for, with a model's size or without, or "".

    >>> _known("GPT-2"), _known("vit_b_16"), _known("rwkv-8")
    ('gpt2', 'vit', '')
    """
    rest = name.lower()
    while rest:
        if (known := _SPELLINGS.get(_letters(rest))) is not None:
            return known
        shorter = _SIZE.sub("", rest)
        rest = shorter if shorter != rest else ""
    return ""


def _letters(name: str) -> str:
    # A last underscore is torch.nn.init's: those names are schemes.
    return re.sub(r"[-_ .](?!$)", "", name)


_SPELLINGS = {_letters(name): name for name in (*_RECIPES, *ALIASES, *NO_RECIPES)}


def names() -> tuple[str, ...]:
    """Return the names of all recipes, in order.

    >>> "he" in names()
    True
    """
    return tuple(_RECIPES)


def as_recipe(value: object) -> Recipe:
    """Return the recipe that a value denotes.

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
        case PathLike() | str() if line := meant_file(str(cast("str", value))):
            raise RecipeError(f"{str(cast('str', value))!r} isn't a recipe. Write {line}")
        case PathLike():
            return Recipe.load(cast("PathLike[str]", value))
        case str():
            return Recipe.load(value) if value.endswith(".toml") else _with_options(value)
        case Scheme():
            return general.lone_scheme(value)
        case Mapping():
            return _from_mapping(cast("Mapping[object, object]", value))
        case _:
            line = meant_recipe(value)
            raise RecipeError(
                f"a recipe is a gi.Recipe, a name such as 'he', a file such as 'mine.toml', a "
                f"scheme such as gi.XavierUniform(), or a mapping from module types or globs to "
                f"schemes; got {one_line(value)}{f'. Write {line}' if line else ''}"
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
            raise RecipeError(f"{text!r}: {pair!r} isn't an option. Write 'he:mode=fan_out'")
        try:
            options[key.strip()] = cast("object", ast.literal_eval(value.strip()))
        except (ValueError, SyntaxError, MemoryError, RecursionError):  # a text, true or false
            plain = value.strip()
            options[key.strip()] = {"true": True, "false": False}.get(plain, plain)
    return recipe(name, **options)


def _from_mapping(mapping: Mapping[object, object]) -> Recipe:
    if not mapping:
        line = "gi.init_(model, {'*.bias': gi.Zeros()})"
        raise RecipeError(f"the mapping is empty: it would change nothing. Write {line}")
    if all(isinstance(value, Tensor) for value in mapping.values()):
        raise RecipeError("a state dict isn't a recipe. Write gi.load_(model, state_dict)")
    kept = Rule(sel.all() | sel.part("buffer"), Keep(), "the mapping doesn't name it", True)
    rules = (Rule(cast("str", where), cast("Scheme", of)) for where, of in mapping.items())
    return Recipe((kept, *rules), "mapping")
