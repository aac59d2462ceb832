"""Every recipe of the library, with each of its options: what values are compared with."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Literal, get_args, get_origin, get_type_hints

from goodinit.recipes import maker, names, recipe
from goodinit.recipes.by_name import FAMILIES, GENERAL
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule

Options = Mapping[str, object]

_OPTIONS: Mapping[str, tuple[Options, ...]] = {
    "he": (
        {"distribution": "uniform"},
        {"mode": "fan_out"},
        {"distribution": "uniform", "mode": "fan_out"},
        {"nonlinearity": "relu"},
        {"nonlinearity": "relu", "distribution": "uniform"},
        {"nonlinearity": "relu", "mode": "fan_out"},
    ),
    "xavier": ({"distribution": "normal"}, {"gain": 2**0.5}, {"gain": 5 / 3}),
    "lecun": ({"distribution": "uniform"},),
    "orthogonal": ({"gain": 2**0.5},),
    "standard": (),
    "torch_default": (),
}
"""Options of the general recipes that are tried besides the defaults; none is fitted."""

_FIRST = (
    *("torch_default", "he", "xavier", "lecun", "orthogonal"),
    *("gpt2", "llama", "vit", "lstm", "standard"),
)
"""Preferred where several recipes draw the same laws on a model: the plainest first."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One recipe with its options.

    Attributes:
        name: of the recipe.
        options: other than its defaults.
        recipe: what they make.
    """

    name: str
    options: Options
    recipe: Recipe

    @property
    def general(self) -> bool:
        """Whether the recipe is for any model, not for a family."""
        return self.name in _OPTIONS

    @property
    def call(self) -> str:
        """How it is written: ``"he"`` in quotes, or ``gi.recipe("he", mode="fan_out")``."""
        given = "".join(f", {key}={_text(value)}" for key, value in self.options.items())
        return f'gi.recipe("{self.name}"{given})' if given else f'"{self.name}"'


@cache
def library_recipes() -> tuple[Tried, ...]:
    """Return each recipe with each of its flavours, once, the plainest first.

    >>> [one.call for one in library_recipes() if one.name == "resnet"][:2]
    ['"resnet"', 'gi.recipe("resnet", small_head=True)']
    """
    found: dict[Callable[..., Recipe], str] = {}
    for name in (*_FIRST, *names()):
        found.setdefault(maker(name), name)
    every = [
        Tried(name, options, _shared(recipe(name, **options)))
        for make, name in found.items()
        if name in (*GENERAL, *FAMILIES)
        for options in _flavours(name, make)
    ]
    # A family's defaults before another one's flavours.
    every.sort(key=lambda one: bool(one.options) and not one.general)
    return tuple({one.recipe.rules: one for one in reversed(every)}.values())[::-1]


def numeric_options(tried: Tried) -> Mapping[str, float]:
    """Return the numbers that a family's recipe takes, with their defaults.

    >>> numeric_options(library_recipes()[0])
    {}
    """
    return {} if tried.general else _numbers_of(tried.name)


@cache  # to evaluate annotations takes as long as to plan with the recipe
def _numbers_of(name: str) -> Mapping[str, float]:
    make = maker(name)
    hints = get_type_hints(make)
    numbers = {
        option: parameter.default
        for option, parameter in inspect.signature(make).parameters.items()
        if hints[option] in (int, float) and parameter.default > 0
    }
    return MappingProxyType(numbers)


def with_option(tried: Tried, option: str, value: float) -> Tried:
    """Return a recipe with another number for one of its options."""
    options = {**tried.options, option: value}
    return Tried(tried.name, options, _made(tried.name, **options))


# Some 40 of them are tried on each model. typed: 1 and 1.0 are other options.
@lru_cache(maxsize=256, typed=True)
def _made(name: str, **options: object) -> Recipe:
    return _shared(recipe(name, **options))


def _shared(made: Recipe) -> Recipe:
    """Return a recipe whose rules are the same objects as those of other recipes, where equal."""
    rules = map(_first_equal, made.rules)
    return Recipe(rules, made.name, made.why, made.base).with_options(made.options)


@lru_cache(maxsize=1024)  # the library has some 300 rules; a fitted number makes a few of its own
def _first_equal(rule: Rule) -> Rule:
    return rule


def _flavours(name: str, make: Callable[..., Recipe]) -> Iterator[Options]:
    """Yield the options of a recipe: the defaults, then each choice among words or yes and no."""
    yield {}
    if name in _OPTIONS:
        yield from _OPTIONS[name]
        return
    parameters, hints = inspect.signature(make).parameters, get_type_hints(make)
    choices = {key: _choices(hint) for key, hint in hints.items() if key in parameters}
    keys = [key for key, words in choices.items() if words]
    for words in itertools.product(*(choices[key] for key in keys)):
        options = {
            key: word
            for key, word in zip(keys, words, strict=True)
            if word != parameters[key].default
        }
        if options:
            yield options


def _choices(hint: object) -> tuple[object, ...]:
    if hint is bool:
        return (False, True)
    return get_args(hint) if get_origin(hint) is Literal else ()


def _text(value: object) -> str:
    if isinstance(value, float):
        known = {2**0.5: "2**.5", 5 / 3: "5/3"}
        near = (text for exact, text in known.items() if math.isclose(exact, value))
        return next(near, f"{value:g}")
    return f'"{value}"' if isinstance(value, str) else repr(value)
