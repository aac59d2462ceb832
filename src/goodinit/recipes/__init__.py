"""Rules, recipes, and the recipes of the library by name."""

from goodinit._common.public_names import listing as _listing
from goodinit.recipes.by_name import as_recipe, maker, names, recipe
from goodinit.recipes.deferred import Deferred, DropUpcycling, Neutral, ReluGain, StackGain
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, Selector, sel

__all__ = [
    "Deferred",
    "DropUpcycling",
    "Neutral",
    "Recipe",
    "ReluGain",
    "Rule",
    "Selector",
    "StackGain",
    "as_recipe",
    "maker",
    "names",
    "recipe",
    "sel",
]
__dir__ = _listing(__all__)


def __getattr__(name: str) -> object:
    """Raise: what registries of others have is a function here."""
    lines = {"all": "names()", "get": "recipe('he')", "list": "names()"}
    known = lines.get(name) or (f"recipe({name!r})" if name in names() else "")
    hint = f". Write gi.{'recipes.' if known == 'names()' else ''}{known}" if known else ""
    raise AttributeError(f"module 'goodinit.recipes' has no attribute {name!r}{hint}")
