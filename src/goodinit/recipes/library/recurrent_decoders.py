"""Recipes for language models without attention: xLSTM, RetNet and Hyena."""

from __future__ import annotations

import math

from goodinit.recipes.library.decoders import ENDS, TABLES
from goodinit.recipes.library.general import REST, WEIGHTS, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Selector, sel
from goodinit.schemes import (
    Constant,
    Normal,
    Ramp,
    TorchDefault,
    XavierUniform,
    Zeros,
)

IN_AND_FORGET: Selector = sel.name("*igate*.weight") | sel.name("*fgate*.weight")


def xlstm(faithful: bool = False) -> Recipe:
    """xLSTM: small init, Wang init for the ends of branches; gates that remember.

    ==========================================  =============================
    weights, embedding, head                    N(0, 2/(5 width))
    ends of residual branches                   N(0, 4/(L^2 width)), L the layers
    input gates: weight, bias                   0, -10
    forget gates: weight, bias                  0, from 3 to 6 over the heads
    ==========================================  =============================

    At first nothing is written (exp(-10)), and .953 to .998 of the state is kept. Gates are found
    by name: igate, fgate. Beck et al. 2024 (2405.04517) and 2025 (2503.13427), whose 7B model has
    the -10; the first code, NX-AI/xlstm blocks/mlstm/cell.py, draws the input gates' bias from
    N(0, .1^2).

    Args:
        faithful: whether as in transformers modeling_xlstm.py, which takes every name with "gate"
            for a gate: the output gate's weight and that of the feed-forward layer are 0 too, so
            that feed-forward layers add nothing at first. Its Wang init of ``proj_down`` goes by
            that layer's own fan_in.

    Example:
        >>> xlstm().rules[-1].text
        "name('*fgate*.bias') -> Ramp(start=3, stop=6)"
    """
    small = Normal(math.sqrt(2 / 5))
    wang = Normal(2.0).scaled(depth=-1.0, fan_out=-0.5)
    rules = [
        library(WEIGHTS, small.scaled(fan_in=-0.5), "small init"),
        library(sel.kind("embedding"), small.scaled(fan_out=-0.5), "small init"),
        library(ENDS, wang, "Wang init: fan_out is width"),
    ]
    if faithful:
        own = Normal(2.0).scaled(depth=-1.0, fan_in=-0.5)
        rules.append(library(ENDS & sel.name("*proj_down*"), own, "Wang init by its fan_in"))
    gates = sel.name("*gate*.weight") if faithful else IN_AND_FORGET
    own_rules = (
        family_rule(gates, Zeros(), "a gate by its bias alone at first"),
        family_rule(sel.name("*igate*.bias"), Constant(-10.0), "writes nothing at first"),
        family_rule(sel.name("*fgate*.bias"), Ramp(3.0, 6.0), "remembers at first"),
    )
    return Recipe((*REST, *rules, *own_rules), "xlstm")


def retnet(output_gain: float = 1.0) -> Recipe:
    """RetNet: retention Xavier uniform, small before the product; feed-forward torch's own.

    ==========================================  ====================================
    q, k, v and gate of the retention (name)    Xavier uniform, times 2^-2.5
    its output (by name)                        Xavier uniform, times output_gain
    feed-forward weights                        U(+-1/sqrt(fan_in)), torch's own
    embedding, head                             N(0, 1/width)
    ==========================================  ====================================

    Sun et al. 2023 (2307.08621); microsoft/torchscale torchscale/component/
    multiscale_retention.py, ``reset_parameters``, and architecture/retnet.py. Retention has no
    softmax to be known by: its weights are found by their names there. The embedding is
    multiplied by sqrt(width) in the forward.

    Args:
        output_gain: 1 in torchscale 0.3.0; .5 in its repository since November 2023.

    Example:
        >>> retnet().rules[-2].scheme
        XavierUniform(gain=0.176777)
    """
    rules = (
        library(WEIGHTS, TorchDefault(), "PyTorch's own"),
        library(sel.kind("embedding"), Normal(1.0).scaled(fan_out=-0.5)),
        library(WEIGHTS & sel.part("head"), Normal(1.0).scaled(fan_in=-0.5)),
        library(sel.name("*retention.[qkvg]_proj.weight"), XavierUniform(2**-2.5)),
        library(sel.name("*retention.out_proj.weight"), XavierUniform(output_gain)),
    )
    return Recipe((*REST, *rules), "retnet")


def hyena(std: float = 0.02, omega: float = 10.0) -> Recipe:
    """Hyena: as GPT-2, also in the network that makes the filters; short filters torch's own.

    ==========================================  ====================================
    weights, tables                             N(0, std^2)
    ends of residual branches                   N(0, std^2/(2 L)), L the layers
    short convolutions: weight and bias         torch's own
    filter_fn.bias (by name)                    N(0, 1)
    freq (by name), in sin(freq x)              omega
    ==========================================  ====================================

    Poli et al. 2023 (2302.10866); HazyResearch/safari src/models/sequence/long_conv_lm.py,
    ``_init_weights``, and hyena.py.

    Args:
        std: ``initializer_range``.
        omega: ``w``, the frequency of the filters' activations; one that holds a value keeps it.

    Example:
        >>> hyena().rules[-2].text
        "name('*filter_fn.bias') -> Normal(std=1)"
    """
    ends = Normal(std / math.sqrt(2)).scaled(depth=-0.5)
    rules = (
        library(WEIGHTS | TABLES, Normal(std)),
        library(sel.kind("conv"), TorchDefault(), "PyTorch's own"),
        library(ENDS, ends, "ends a residual branch: 2 depth of them add up"),
        family_rule(sel.name("*filter_fn.bias"), Normal(1.0), "the skip connection"),
        library(sel.attr("freq"), Constant(omega), "of sin(freq x)"),
    )
    return Recipe((*REST, *rules), "hyena")
