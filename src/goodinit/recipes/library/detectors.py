"""Recipes for object detectors and for models that segment."""

from __future__ import annotations

from typing import Literal

from torch import nn

from goodinit.recipes.by_place import XavierOverHeads
from goodinit.recipes.deferred import TorchFans
from goodinit.recipes.library.convnets import CONVS, LINEAR
from goodinit.recipes.library.decoders import ENDS, TABLES
from goodinit.recipes.library.general import REST, WEIGHTS, choice, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Selector, sel
from goodinit.schemes import (
    HeNormal,
    LeCunUniform,
    Normal,
    PriorBias,
    TorchDefault,
    XavierUniform,
    Zeros,
)

PYRAMID: Selector = sel.name("*fpn*") | sel.name("*neck*")
HEADS: Selector = sel.name("*head*")
CLASSES: Selector = HEADS & (sel.name("*cls*.bias") | sel.name("*class*logits*.bias"))


def retinanet(prior: float = 0.01) -> Recipe:
    """RetinaNet and other dense detectors: small heads, class biases at a prior.

    ==========================================  ===========================================
    backbone                                    as ``resnet``
    feature pyramid (by name: fpn, neck)        U(+-sqrt(3/fan_in))
    heads (by name: head)                       N(0, .01^2)
    biases of their classes (by name: cls)      -ln((1 - prior)/prior): sigmoid of it is prior
    other biases                                0
    ==========================================  ===========================================

    Lin et al. 2017 (1708.02002), section 4.1: without the prior, background boxes make the first
    losses large. torchvision/models/detection/retinanet.py and
    ops/feature_pyramid_network.py; mmdetection's heads have the same law.

    Args:
        prior: the probability of an object at first.

    Example:
        >>> retinanet().rules[-1].scheme
        PriorBias(p=0.01)
    """
    towers = HEADS & sel.kind("conv", "linear") & ~sel.part("bias")
    rules = (
        library(CONVS, TorchFans(HeNormal(mode="fan_out"))),
        library(LINEAR, TorchDefault(), "PyTorch's own"),
        library(PYRAMID & CONVS, LeCunUniform(), "kaiming_uniform_(a=1)"),
        library(towers, Normal(0.01)),
        library(CLASSES, PriorBias(prior), "few boxes hold an object"),
    )
    return Recipe((*REST, *rules), "retinanet")


def detr() -> Recipe:
    """DETR: the transformer Xavier uniform, with q, k and v as one matrix; queries N(0, 1).

    ==========================================  ===========================================
    attention and feed-forward weights          Xavier uniform, with torch's fans
    queries                                     N(0, 1)
    backbone                                    as ``resnet``
    projection after it (by name), heads        torch's own
    biases of attention; of other layers        0; torch's own
    ==========================================  ===========================================

    Carion et al. 2020 (2005.12872), section A.4; facebookresearch/detr models/transformer.py,
    ``_reset_parameters``, which is that of ``torch.nn.Transformer``, and models/detr.py.
    transformers' DETR has N(0, .02^2) throughout.

    Example:
        >>> detr().rules[-3].scheme
        TorchFans(law=XavierUniform())
    """
    # The first layer's attention among queries: no data goes in, and nothing shows its fans.
    blind = sel.name("*attn.*") & sel.kind("other")
    transformer = LINEAR & (sel.part("q", "k", "v", "in", "gate") | ENDS)
    rules = (
        library(sel.kind("linear", "conv"), TorchDefault(), "PyTorch's own"),
        library(CONVS & ~sel.name("*input_proj*"), TorchFans(HeNormal(mode="fan_out"))),
        library(sel.kind("embedding", "position", "token"), Normal(1.0), "queries"),
        library(transformer, TorchFans(XavierUniform()), "packed weights as one matrix"),
        library(blind & ~sel.attr("*bias"), XavierOverHeads(), "its input isn't data"),
        library(blind & sel.attr("*bias"), Zeros(), "no offset at first"),
    )
    return Recipe((*REST, *rules), "detr")


def sam(flavour: Literal["facebook", "hf"] = "facebook", scale: float = 1.0) -> Recipe:
    """Segment Anything: PyTorch's own law, positions and relative positions 0.

    ==========================================  ====================  =============
    what                                        "facebook"            "hf"
    ==========================================  ====================  =============
    weights                                     torch's own           N(0, .02^2)
    biases                                      torch's own           0
    tokens, prompts                             N(0, 1)               N(0, .02^2)
    pos_embed, rel_pos_h, rel_pos_w (by name)   0                     0
    positional_embedding (by name)              N(0, scale^2)         N(0, scale^2)
    ==========================================  ====================  =============

    Kirillov et al. 2023 (2304.02643); facebookresearch/segment-anything
    segment_anything/modeling/image_encoder.py and mask_decoder.py.

    Args:
        flavour: "facebook", or "hf", transformers modeling_sam.py.
        scale: of the random frequencies; half the width in transformers' config.

    Example:
        >>> sam().rules[-2].text
        "attr('rel_pos_[hw]') -> Zeros()"
    """
    choice("sam", "flavour", flavour, ("facebook", "hf"))
    tables = TABLES | sel.type(nn.Embedding)  # prompts are added whole
    if flavour == "facebook":
        rules = (
            library(WEIGHTS | (sel.part("bias") & ~sel.kind("norm")), TorchDefault()),
            library(tables, Normal(1.0)),
        )
    else:
        rules = (library(WEIGHTS | tables, Normal(0.02)),)
    places = (
        family_rule(sel.attr("pos_embed"), Zeros(), "no place at first"),
        family_rule(sel.attr("rel_pos_[hw]"), Zeros(), "no preference at first"),
        family_rule(sel.attr("positional_embedding"), Normal(scale), "frequencies"),
    )
    return Recipe((*REST, *rules, *places), "sam")
