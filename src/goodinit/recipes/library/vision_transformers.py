"""Recipes for vision transformers and mixers, besides ``vit``."""

from __future__ import annotations

import math
from typing import Literal

from goodinit.recipes.library.convnets import CONVS, LINEAR, layer_scale_rule
from goodinit.recipes.library.general import REST, WEIGHTS, choice, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import sel
from goodinit.schemes import Constant, Normal, TorchDefault, VarianceScaling, XavierUniform, Zeros


def swin(v2: bool = False) -> Recipe:
    """Swin: linear weights and tables of relative positions N(0, .02^2), patches torch's own.

    Liu et al. 2021 (2103.14030); microsoft/Swin-Transformer models/swin_transformer.py,
    timm/models/swin_transformer.py. Their ``trunc_normal_`` cuts std .02 at 100 sigma, nowhere.
    Biases 0, norms 1. torchvision's draws its feed-forward weights by Xavier, which isn't the
    paper's law.

    Args:
        v2: whether for Swin V2 (2111.09883): norms that end a branch 0, which needs ``inputs``,
            and ``logit_scale`` (by name) ln 10; timm/models/swin_transformer_v2.py.

    Example:
        >>> swin().rules[-1].text
        "kind('conv') -> TorchDefault()"
        >>> swin(v2=True).rules[-2].text
        'last_norm() -> Zeros()'
    """
    tables = sel.kind("position", "embedding", "token")
    rules = [
        library(WEIGHTS | tables, Normal(0.02)),
        library(sel.kind("conv"), TorchDefault(), "left to PyTorch"),
    ]
    if v2:
        scale = library(sel.attr("logit_scale"), Constant(math.log(10)), "cosines times 10")
        rules += [library(sel.last_norm(), Zeros(), "each block is the identity at first"), scale]
    return Recipe((*REST, *rules), "swin")


def deit(layer_scale: float = 1e-4, flavour: Literal["facebook", "timm"] = "facebook") -> Recipe:
    """DeiT, DeiT III and CaiT: N(0, .02^2) for weights, positions and tokens, LayerScale small.

    Touvron et al. 2021 (2012.12877, 2103.17239 for LayerScale); facebookresearch/deit models.py,
    models_v2.py and cait_models.py. Patches are torch's own. A LayerScale that holds a value
    keeps it.

    Args:
        layer_scale: value of a LayerScale on meta: 1e-4 in DeiT III; CaiT has 1e-1 to 18 layers,
            1e-5 to 24, 1e-6 beyond.
        flavour: "facebook", or "timm", timm/models/deit.py: ``cls_token`` N(0, 1e-6^2).

    Example:
        >>> deit(layer_scale=1e-5).rules[-1].scheme
        Constant(value=1e-05)
    """
    choice("deit", "flavour", flavour, ("facebook", "timm"))
    tokens = sel.kind("position", "token")
    small = (library(sel.attr("cls_token"), Normal(1e-6)),) if flavour == "timm" else ()
    rules = (
        library(WEIGHTS | tokens, Normal(0.02)),
        library(sel.kind("conv"), TorchDefault(), "left to PyTorch"),
        *small,
        layer_scale_rule(layer_scale),
    )
    return Recipe((*REST, *rules), "deit")


def dinov2(layer_scale: float = 1e-5, flavour: Literal["facebook", "hf"] = "facebook") -> Recipe:
    """DINOv2: N(0, .02^2), class and register tokens N(0, 1e-6^2), LayerScale 1e-5.

    Oquab et al. 2023 (2304.07193); facebookresearch/dinov2 models/vision_transformer.py,
    ``init_weights``, and timm's models of that name. Patches are torch's own, the mask token 0.
    A LayerScale that holds a value keeps it.

    Args:
        layer_scale: value of a LayerScale on meta; 1 in transformers' configs.
        flavour: "facebook", or "hf", transformers modeling_dinov2.py: patches and the class token
            N(0, .02^2).

    Example:
        >>> dinov2().rules[-2].text
        "attr('mask_token') -> Zeros()"
    """
    choice("dinov2", "flavour", flavour, ("facebook", "hf"))
    rules = [library(WEIGHTS | sel.kind("position", "token"), Normal(0.02))]
    if flavour == "facebook":
        rules.append(library(sel.kind("conv"), TorchDefault(), "left to PyTorch"))
        rules.append(library(sel.kind("token"), Normal(1e-6)))
    mask = family_rule(sel.attr("mask_token"), Zeros(), "stands for what is masked")
    return Recipe((*REST, *rules, mask, layer_scale_rule(layer_scale)), "dinov2")


def mixer(flavour: Literal["flax", "timm"] = "flax") -> Recipe:
    """MLP-Mixer: LeCun normal cut at 2 sigma, biases 0, the head 0.

    Tolstikhin et al. 2021 (2105.01601); google-research/vision_transformer
    vit_jax/models_mixer.py, which leaves weights to Flax's default.

    Args:
        flavour: "flax", or "timm", timm/models/mlp_mixer.py: linear weights Xavier uniform,
            biases of feed-forward layers N(0, 1e-6^2).

    Example:
        >>> mixer().rules[-1].text
        "part('head') -> Zeros()"
    """
    choice("mixer", "flavour", flavour, ("flax", "timm"))
    lecun = VarianceScaling(1.0, "fan_in", "truncated")
    rules = [
        library(CONVS, lecun),
        library(LINEAR, lecun if flavour == "flax" else XavierUniform()),
    ]
    if flavour == "timm":
        rules.append(library(sel.name("*mlp*.bias"), Normal(1e-6)))
    head = library(sel.part("head"), Zeros(), "all classes alike at first")
    return Recipe((*REST, *rules, head), "mixer")
