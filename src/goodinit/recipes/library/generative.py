"""Recipes for generative models."""

from __future__ import annotations

from goodinit.recipes.library.shared import library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import sel
from goodinit.schemes import Normal, TorchDefault, Zeros

__all__ = ["dcgan"]


def dcgan() -> Recipe:
    """Convolutions N(0, .02^2); BatchNorm's weight N(1, .02^2), its bias 0; the rest torch's own.

    Radford et al. 2016 (1511.06434), section 4; ``weights_init`` in pytorch/examples,
    dcgan/main.py. A much-copied version draws BatchNorm's weight around 0: that is a bug.
    """
    convs = sel.kind("conv") & ~sel.part("bias")
    norms = sel.kind("norm")
    rules = (
        library(sel.all(), TorchDefault(), "not touched by DCGAN"),
        library(convs, Normal(0.02)),
        library(norms & sel.part("weight"), Normal(0.02, mean=1.0)),
        library(norms & sel.part("bias"), Zeros()),
    )
    return Recipe(rules, "dcgan")
