"""Recipes for vision transformers that learn from masked images."""

from __future__ import annotations

import math
from typing import Literal

from goodinit.recipes.library.convnets import layer_scale_rule
from goodinit.recipes.library.decoders import ENDS
from goodinit.recipes.library.general import REST, WEIGHTS, choice, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Selector, sel
from goodinit.schemes import Constant, Normal, TorchDefault, XavierUniform, Zeros

PLACES: Selector = sel.kind("position", "token")


def beit(
    flavour: Literal["microsoft", "hf"] = "microsoft",
    layer_scale: float = 0.1,
    head_scale: float = 1e-3,
) -> Recipe:
    """BEiT and EVA-02: N(0, .02^2), ends of branches smaller with each layer, LayerScale .1.

    ===========================  =============================  ====================
    what                         "microsoft"                    "hf"
    ===========================  =============================  ====================
    linear                       N(0, .02^2)                    N(0, .02^2)
    tokens, positions            N(0, .02^2)                    0
    ends of residual branches    N(0, .02^2/(2 (l + 1)))        N(0, .02^2)
    relative positions (name)    0                              0
    patches                      torch's own                    N(0, .02^2)
    head                         N(0, .02^2) head_scale         N(0, .02^2)
    ===========================  =============================  ====================

    l is the layer from 0. Bao et al. 2021 (2106.08254), section 2.5; microsoft/unilm
    beit/modeling_finetune.py, ``fix_init_weight``, and timm/models/beit.py and eva.py.
    A LayerScale that holds a value keeps it.

    Args:
        flavour: "microsoft", or "hf", transformers modeling_beit.py, which has no scaling by
            depth.
        layer_scale: value of a LayerScale on meta: .1 in base models, 1e-5 in large ones.
        head_scale: factor on the classifier of "microsoft".

    Example:
        >>> beit().rules[-4].scheme
        Normal(std=0.0141421).scaled(layer=-0.5)
    """
    choice("beit", "flavour", flavour, ("microsoft", "hf"))
    tables = library(sel.name("*relative_position_bias*"), Zeros(), "no preference at first")
    end = layer_scale_rule(layer_scale)
    rules = [library(WEIGHTS | PLACES, Normal(0.02))]
    if flavour == "hf":
        rules.append(library(PLACES, Zeros(), "as in their code"))
        return Recipe((*REST, *rules, tables, end), "beit")
    by_layer = Normal(0.02 / math.sqrt(2)).scaled(layer=-0.5)
    rules += [
        library(sel.kind("conv"), TorchDefault(), "left to PyTorch"),
        library(ENDS, by_layer, "ends a residual branch: smaller with each layer"),
        library(WEIGHTS & sel.part("head"), Normal(0.02).times(head_scale), "small at first"),
    ]
    return Recipe((*REST, *rules, tables, end), "beit")


def mae(flavour: Literal["facebook", "hf"] = "facebook") -> Recipe:
    """Masked autoencoders: Xavier uniform, patches as a linear layer; tokens N(0, .02^2).

    He et al. 2021 (2111.06377), appendix A.1; facebookresearch/mae models_mae.py,
    ``initialize_weights``. Each of q, k and v is drawn by its own fans. Fixed positions are kept.

    Args:
        flavour: "facebook", or "hf", transformers modeling_vit_mae.py: weights N(0, .02^2), and
            the class and mask tokens end at 0.

    Example:
        >>> mae().rules[-1].text
        "kind('token') -> Normal(std=0.02)"
    """
    choice("mae", "flavour", flavour, ("facebook", "hf"))
    facebook = flavour == "facebook"
    rules = (
        library(WEIGHTS, XavierUniform() if facebook else Normal(0.02)),
        library(sel.kind("token"), Normal(0.02) if facebook else Zeros()),
    )
    return Recipe((*REST, *rules), "mae")


def vjepa2(flavour: Literal["facebook", "hf"] = "facebook") -> Recipe:
    """V-JEPA 2: N(0, .02^2), ends of branches smaller with each layer; mask tokens 0.

    Assran et al. 2025 (2506.09985); facebookresearch/vjepa2 src/models/vision_transformer.py and
    predictor.py, ``_init_weights`` and ``_rescale_blocks``: ends of residual branches are
    N(0, .02^2/(2 (l + 1))), l the layer from 0. Patches are N(0, .02^2) too. Biases 0, norms 1.
    A predictor after the encoder continues its layer numbers: initialize it separately.

    Args:
        flavour: "facebook", or "hf", transformers modeling_vjepa2.py: without the layer.

    Example:
        >>> vjepa2().rules[-1].scheme
        Normal(std=0.0141421).scaled(layer=-0.5)
    """
    choice("vjepa2", "flavour", flavour, ("facebook", "hf"))
    rules = [
        library(WEIGHTS | PLACES, Normal(0.02)),
        family_rule(sel.attr("mask_tokens"), Zeros(), "stand for what is masked"),
    ]
    if flavour == "facebook":
        by_layer = Normal(0.02 / math.sqrt(2)).scaled(layer=-0.5)
        rules.append(library(ENDS, by_layer, "ends a residual branch: smaller with each layer"))
    return Recipe((*REST, *rules), "vjepa2")


def hiera(flavour: Literal["facebook", "hf"] = "facebook", head_scale: float = 1e-3) -> Recipe:
    """Hiera: N(0, .02^2), biases of linear layers and norms .02.

    ==========================================  ====================  ====================
    what                                        "facebook"            "hf"
    ==========================================  ====================  ====================
    weights, positions                          N(0, .02^2)           N(0, .02^2)
    biases of linear layers, of norms           .02                   .02
    biases of patches                           torch's own           .02
    head: weight, bias                          head_scale times it   N(0, .02^2), .02
    ==========================================  ====================  ====================

    Ryali et al. 2023 (2306.00989); facebookresearch/hiera hiera/hiera.py, ``_init_weights``: one
    number, .02, for the std and for biases.

    Args:
        flavour: "facebook", or "hf", transformers modeling_hiera.py.
        head_scale: factor on the classifier of "facebook".

    Example:
        >>> hiera().rules[-1].scheme
        Constant(value=2e-05)
    """
    choice("hiera", "flavour", flavour, ("facebook", "hf"))
    biases = sel.part("bias")
    rules = [
        library(WEIGHTS | PLACES, Normal(0.02)),
        library(biases, Constant(0.02), "as in their code"),
    ]
    if flavour == "facebook":
        rules += [
            library(sel.kind("conv") & biases, TorchDefault(), "left to PyTorch"),
            library(WEIGHTS & sel.part("head"), Normal(0.02).times(head_scale), "small at first"),
            library(sel.head_bias(), Constant(0.02 * head_scale), "small at first"),
        ]
    return Recipe((*REST, *rules), "hiera")
