"""Recipes for images."""

from __future__ import annotations

from typing import Literal

from goodinit.recipes.library.general import REST, WEIGHTS, choice, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import sel
from goodinit.schemes import Normal, TorchDefault, VarianceScaling, XavierUniform, Zeros


def dcgan() -> Recipe:
    """Convolutions N(0, .02^2); BatchNorm's weight N(1, .02^2), its bias 0; the rest torch's own.

    Radford et al. 2016 (1511.06434), section 4; ``weights_init`` in pytorch/examples,
    dcgan/main.py. A much-copied version draws BatchNorm's weight around 0: that is a bug.

    Example:
        >>> dcgan().rules[-2].scheme
        Normal(std=0.02, mean=1)
    """
    convs = sel.kind("conv") & ~sel.part("bias")
    norms = sel.kind("norm")
    rules = (
        library(sel.all(), TorchDefault(), "torch's own, which DCGAN's code leaves"),
        library(convs, Normal(0.02)),
        library(norms & sel.part("weight"), Normal(0.02, mean=1.0)),
        library(norms & sel.part("bias"), Zeros()),
    )
    return Recipe(rules, "dcgan")


def vit(flavour: Literal["timm", "flax"] = "timm") -> Recipe:
    """A vision transformer's initialization, by one of two upstream codes.

    ==============  ==========================  =======================================
    what            "timm"                      "flax"
    ==============  ==========================  =======================================
    linear          N(0, .02^2)                 Xavier uniform
    patches         torch's own                 LeCun normal, cut at 2 sigma
    positions       N(0, .02^2)                 N(0, .02^2)
    class token     N(0, 1e-6^2)                0
    head            as linear                   0
    biases          0 (patches: torch's own)    0
    ==============  ==========================  =======================================

    timm/models/vision_transformer.py: its ``trunc_normal_`` cuts at +-2, which for std .02 is
    100 sigma, nowhere. google-research/vision_transformer vit_jax/models_vit.py: its MLP biases
    are N(0, 1e-6^2), a millionth, which is 0 here.

    Args:
        flavour: "timm" or "flax".

    Example:
        >>> vit("flax").rules[-1].text
        "kind('token') | part('head') -> Zeros()"
    """
    choice("vit", "flavour", flavour, ("timm", "flax"))
    convs = sel.kind("conv")
    if flavour == "timm":
        rules = (
            library(WEIGHTS, Normal(0.02)),
            library(convs, TorchDefault(), "timm leaves the patch projection to torch"),
            library(sel.kind("token"), Normal(1e-6)),
        )
    else:
        patches = VarianceScaling(1.0, "fan_in", "truncated")
        rules = (
            library(WEIGHTS, XavierUniform()),
            library(convs & ~sel.part("bias"), patches),
            library(sel.kind("token") | sel.part("head"), Zeros()),
        )
    return Recipe((*REST, *rules), "vit")
