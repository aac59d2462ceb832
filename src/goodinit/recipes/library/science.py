"""Recipes for molecules, proteins and graphs."""

from __future__ import annotations

import math

from goodinit.recipes.by_place import XavierOverHeads
from goodinit.recipes.deferred import TorchFans
from goodinit.recipes.library.decoders import ENDS
from goodinit.recipes.library.general import REST, WEIGHTS, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Selector, sel
from goodinit.schemes import (
    Constant,
    Normal,
    Ones,
    VarianceScaling,
    XavierUniform,
    Zeros,
)

SOFTPLUS_INVERSE_OF_1 = math.log(math.expm1(1.0))


def alphafold() -> Recipe:
    """AlphaFold's linear layers: LeCun, He or Xavier by their task, gates open, outputs 0.

    ==========================================  =============================================
    queries, keys, values                       Xavier uniform
    weights before a relu                       N(0, 2/fan_in), cut at 2 sigma
    gates (before a sigmoid that multiplies)    0, bias 1: sigmoid .731
    ends of residual branches                   0
    last weights of heads (by name: aux_heads)  0
    queries, keys, values of points (name: ipa) N(0, 1/fan_in), cut at 2 sigma
    other weights                               N(0, 1/fan_in), cut at 2 sigma
    head_weights (by name), of the points       softplus of it is 1
    ==========================================  =============================================

    The std is that after the cut. Jumper et al. 2021, supplement 1.11.4; aqlaboratory/openfold
    openfold/model/primitives.py, ``Linear``. Each block is the identity at first. Which weights
    are gates and ends is found in the data flow: ``inputs`` are needed. transformers' EsmFold
    draws LeCun's and He's laws without the cut.

    Example:
        >>> alphafold().rules[-2].scheme
        Ones()
    """
    lecun = VarianceScaling(1.0, "fan_in", "truncated")
    gates: Selector = sel.followed_by("sigmoid") & ~sel.part("head")
    rules = (
        library(WEIGHTS, lecun),
        library(
            WEIGHTS & sel.followed_by("relu"), VarianceScaling(2.0, "fan_in", "truncated"), "He"
        ),
        library(WEIGHTS & sel.part("q", "k", "v"), XavierUniform()),
        library(WEIGHTS & sel.part("q", "k", "v") & sel.name("*ipa.*"), lecun),
        library(ENDS, Zeros(), "each block is the identity at first"),
        library(
            WEIGHTS & sel.name("*aux_heads.*") & ~sel.followed_by("relu"),
            Zeros(),
            "predicts evenly",
        ),
        library(WEIGHTS & gates, Zeros(), "a gate by its bias alone at first"),
        library(sel.gate_bias(), Ones(), "open at first: sigmoid(1) is .731"),
        family_rule(sel.attr("head_weights"), Constant(SOFTPLUS_INVERSE_OF_1)),
    )
    return Recipe((*REST, *rules), "alphafold")


def e3nn() -> Recipe:
    """e3nn: all weights N(0, 1); each product divides by the square root of its paths and fans.

    Geiger & Smidt 2022 (2207.09453), section 3; e3nn/o3/_tensor_product/_tensor_product.py,
    e3nn/o3/_linear.py and e3nn/nn/_fc.py: normalization is in the forward, so that each
    component has variance 1. Biases 0. Also right for other layers that divide by
    sqrt(fan_in) when they are called (the NTK parametrization).

    Example:
        >>> e3nn().rules[-1].text
        "kind('linear', 'conv', 'recurrent', 'other') & ~part('bias') -> Normal(std=1)"
    """
    weights = sel.kind("linear", "conv", "recurrent", "other") & ~sel.part("bias")
    return Recipe((*REST, library(weights, Normal(1.0), "divided in the forward")), "e3nn")


def gat() -> Recipe:
    """Graph attention: Xavier uniform, also for the vectors of attention; biases 0.

    Veličković et al. 2018 (1710.10903), section 3.3; torch_geometric nn/conv/gat_conv.py and
    nn/inits.py, ``glorot``: a weight to several heads counts as one matrix, and vectors of shape
    (1, heads, features) have the fans heads and features. They are found by name: att_src,
    att_dst, att_edge, att.

    Example:
        >>> gat().rules[-1].text
        "attr('att') -> XavierOverHeads()"
    """
    over_heads = XavierOverHeads()
    rules = (
        library(WEIGHTS, TorchFans(XavierUniform())),
        family_rule(sel.attr("att_*"), over_heads, "scores of nodes"),
        family_rule(sel.attr("att"), over_heads, "scores of pairs"),
    )
    return Recipe((*REST, *rules), "gat")
