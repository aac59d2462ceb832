"""Rules, recipes, and the recipes of the library by name."""

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
