"""Recipes for codecs of sound."""

from __future__ import annotations

from goodinit.recipes.deferred import TorchFans
from goodinit.recipes.library.convnets import CONVS, layer_scale_rule
from goodinit.recipes.library.decoders import TABLES
from goodinit.recipes.library.general import REST, WEIGHTS, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import sel
from goodinit.schemes import Constant, HeNormal, Normal, TorchDefault


def mimi(layer_scale: float = 0.01) -> Recipe:
    """Mimi: convolutions He normal, their biases torch's own; its transformers N(0, .02^2).

    Défossez et al. 2024 (2410.00037); transformers modeling_mimi.py, ``_init_weights``:
    ``kaiming_normal_`` with torch's fans, also for transposed convolutions. LayerScale .01; one
    that holds a value keeps it. EnCodec's convolutions have weight norm, under which transformers
    loses that law, and its own code has none: they are ``recipe("torch_default")``.

    Args:
        layer_scale: value of a LayerScale on meta.

    Example:
        >>> mimi().rules[-3].scheme
        TorchFans(law=HeNormal())
    """
    rules = (
        library(WEIGHTS | TABLES, Normal(0.02)),
        library(sel.kind("conv") & sel.part("bias"), TorchDefault(), "left to PyTorch"),
        library(CONVS, TorchFans(HeNormal())),
        layer_scale_rule(layer_scale),
        library(sel.name("*layer_scale*"), Constant(layer_scale), "each branch starts small"),
    )
    return Recipe((*REST, *rules), "mimi")
