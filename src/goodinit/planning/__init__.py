"""Recipe to plan to model: what is to be drawn where, why, and the drawing itself.

The functions ``plan``, ``apply_``, ``init_`` and ``diff`` live in the modules of these names.
"""

from __future__ import annotations

from goodinit.planning.deferred import Deferred, Neutral, ReluGain
from goodinit.planning.recipe import Recipe
from goodinit.planning.rule import Rule, Selector, sel

__all__ = ["Deferred", "Neutral", "Recipe", "ReluGain", "Rule", "Selector", "sel"]
