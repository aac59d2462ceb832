"""Recipes for residual networks without norms."""

from __future__ import annotations

import math
from typing import Literal

from goodinit.recipes.by_place import Fixup
from goodinit.recipes.deferred import Neutral
from goodinit.recipes.library.convnets import Fans
from goodinit.recipes.library.decoders import ENDS
from goodinit.recipes.library.general import REST, WEIGHTS, choice, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Selector, sel
from goodinit.schemes import HeNormal, Normal, Scheme, XavierUniform, Zeros


def fixup(fans: Fans = "torch") -> Recipe:
    """Fixup: residual networks without norms; each block is the identity at first.

    ==========================================  ==========================================
    the last weight of a residual branch        0
    its other weights, m - 1 of them            He normal, fan_out, times L^(-1/(2m - 2))
    other weights                               He normal, fan_out
    classifier                                  0
    biases (one number each); multipliers       0; kept, or 1 on meta
    ==========================================  ==========================================

    L is the number of residual branches: 8 in a ResNet-18, m 2 in a basic block, 3 in a bottleneck.
    Zhang, Dauphin & Ma 2019 (1901.09321), section 3; hongyizhang/Fixup
    imagenet/models/fixup_resnet_imagenet.py (its stem is left to torch). Branches are found in
    the data flow: ``inputs`` are needed.

    Args:
        fans: "torch", as published: the stride of a convolution doesn't count, nor do its groups.
            "exact" counts both.

    Example:
        >>> fixup().rules[-1].text
        "part('head') -> Zeros()"
    """
    choice("fixup", "fans", fans, ("torch", "exact"))
    rules = (
        library(WEIGHTS, Fixup(HeNormal(mode="fan_out"), exact=fans == "exact")),
        family_rule(sel.kind("scale"), Neutral(), "multipliers"),
        family_rule(sel.part("bias"), Zeros(), "no offset at first"),
        library(sel.part("head"), Zeros(), "all classes alike at first"),
    )
    return Recipe((*REST, *rules), "fixup")


def tfixup(part: Literal["encoder", "decoder"] = "encoder", faithful: bool = False) -> Recipe:
    """T-Fixup: transformers without layer norm and warmup; Xavier, smaller with depth.

    ==============================================  ================  ================
    what, of N layers                               in an encoder     in a decoder
    ==============================================  ================  ================
    value, output and feed-forward weights          .67 N^-1/4        (9 N)^-1/4
    of a layer: Xavier uniform, times
    token embedding: N(0, 1/width), times           (9 N)^-1/4        (9 N)^-1/4
    queries, keys, all others                       Xavier uniform    Xavier uniform
    ==============================================  ================  ================

    Huang et al. 2020, "Improving Transformer Optimization Through Better Initialization",
    section 3.2; layer6ai-labs/T-Fixup fairseq/models/transformer.py, ``fixup_initialization``.

    Args:
        part: what a model is that has one stack. In a model with both, weights whose names have
            "encoder." or "decoder." are that stack's.
        faithful: whether queries and keys are 1/sqrt(2) of that, as fairseq draws them.

    Example:
        >>> tfixup("decoder").rules[-3].scheme
        XavierUniform(gain=0.57735).scaled(depth=-0.25)
    """
    choice("tfixup", "part", part, ("encoder", "decoder"))
    laws: dict[str, Scheme] = {
        "encoder": XavierUniform(0.67).scaled(depth=-0.25),
        "decoder": XavierUniform(9**-0.25).scaled(depth=-0.25),
    }
    other = "decoder" if part == "encoder" else "encoder"
    inner: Selector = ENDS | (WEIGHTS & sel.part("v", "in", "gate"))
    rows = Normal(9**-0.25).scaled(depth=-0.25, fan_out=-0.5)
    rules = [
        library(WEIGHTS, XavierUniform()),
        library(inner, laws[part], "a residual branch: smaller with depth"),
        library(inner & sel.name(f"*{other}.*"), laws[other], f"the {other}'s branches"),
        library(sel.kind("embedding"), rows, "smaller with depth"),
    ]
    if faithful:
        less = XavierUniform(math.sqrt(0.5))
        rules.append(library(WEIGHTS & sel.part("q", "k"), less, "as fairseq draws them"))
    return Recipe((*REST, *rules), "tfixup")
