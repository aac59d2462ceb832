"""Recipes for object detectors."""

from __future__ import annotations

from goodinit.recipes.deferred import TorchFans
from goodinit.recipes.library.convnets import CONVS, LINEAR
from goodinit.recipes.library.general import REST, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Selector, sel
from goodinit.schemes import HeNormal, LeCunUniform, Normal, PriorBias, TorchDefault

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
