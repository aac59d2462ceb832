"""Recipes for decoder-only language models."""

from __future__ import annotations

import math
from typing import Literal

from goodinit.errors import RecipeError
from goodinit.recipes.library.general import REST, WEIGHTS, choice, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, Selector, sel
from goodinit.schemes import (
    Constant,
    Normal,
    Ramp,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    XavierNormal,
    Zeros,
)

ENDS: Selector = WEIGHTS & sel.ends_residual()
TABLES: Selector = sel.kind("embedding", "position", "token")
_TIED: Selector = sel.kind("embedding") & sel.part("head")
_OLMO_CORE = ("normal", "llama", "llama_depth", "normalized", "fan_in")
_ADD_UP = "ends a residual branch: 2 depth of them add up"


def llama(flavour: Literal["hf", "torchtitan"] = "hf", std: float = 0.02) -> Recipe:
    """LLaMA, Mistral, Qwen and other decoders of that kind, by one of two upstream codes.

    ========================  ===================  ============================================
    what                      "hf"                 "torchtitan"
    ========================  ===================  ============================================
    token embedding           N(0, std^2)          N(0, 1)
    q, k, v, gate projection  N(0, std^2)          N(0, std^2)
    up projection, outputs    N(0, std^2)          N(0, std^2/(2 (l + 1))), l the layer from 0
    of both branches
    head                      N(0, std^2)          N(0, 1/width), cut at 3 sigma
    router of experts         N(0, std^2)          N(0, std^2/(2 (l + 1)))
    norms; biases             1; 0                 1; 0
    ========================  ===================  ============================================

    A tied table has the embedding's law in "hf", the head's in "torchtitan". Touvron et al. 2023
    don't say; DeepSeek-V3 was trained with std .006 (2412.19437, section 4.2). transformers' base
    ``_init_weights`` (modeling_utils.py) has no scaling by depth.
    torchtitan/models/llama3/__init__.py, ``_build_llama3_layers``: its ``trunc_normal_`` cuts at
    +-2, which for these std is nowhere.

    Args:
        flavour: "hf" or "torchtitan".
        std: ``initializer_range`` of transformers' configs.

    Example:
        >>> llama(std=0.01).rules[-1].text
        "kind('embedding', 'position', 'token') -> Normal(std=0.01)"
    """
    choice("llama", "flavour", flavour, ("hf", "torchtitan"))
    plain = (library(WEIGHTS | sel.kind("router"), Normal(std)), library(TABLES, Normal(std)))
    if flavour == "hf":
        return Recipe((*REST, *plain), "llama")
    by_layer = Normal(std / math.sqrt(2)).scaled(layer=-0.5)
    rules = (
        *plain,
        library(sel.kind("embedding"), Normal(1.0)),
        library(sel.kind("linear") & sel.part("in"), by_layer, "torchtitan's w3"),
        library(sel.kind("router"), by_layer),
        library(ENDS, by_layer, "ends a residual branch: smaller with each layer"),
        library(sel.part("head"), TruncatedNormal(1.0, cut=3.0).scaled(fan_in=-0.5)),
    )
    tied = TruncatedNormal(1.0, cut=3.0).scaled(fan_out=-0.5)
    return Recipe((*REST, *rules, library(_TIED, tied, "tied: the head's law")), "llama")


def gpt_oss(std: float = 0.02) -> Recipe:
    """gpt-oss: as ``llama``; the sinks of its attention and the router's bias are drawn as well.

    transformers modeling_gpt_oss.py, ``_init_weights``: N(0, std^2) for all weights, tables and
    experts, for ``sinks`` (one logit per head that takes a share of the attention) and for the
    router's bias. Other biases 0, norms 1.

    Args:
        std: ``initializer_range`` of transformers' config.

    Example:
        >>> [rule.text for rule in gpt_oss().rules[-2:]]
        ["attr('sinks') -> Normal(std=0.02)", "name('*router.bias') -> Normal(std=0.02)"]
    """
    own = (
        family_rule(sel.attr("sinks"), Normal(std), "logits of attention to nothing"),
        library(sel.name("*router.bias"), Normal(std), "drawn in their code"),
    )
    return Recipe((*llama(std=std).rules, *own), "gpt_oss")


def deepnorm(decoder_layers: int = 0) -> Recipe:
    """DeepNorm: Xavier, smaller with depth for the values, feed-forward layers and outputs.

    =============================================  ==================================
    query and key projections                      N(0, 2/(fan_in + fan_out))
    value, feed-forward and output projections     that times gain^2
    tables                                         N(0, 1/width)
    =============================================  ==================================

    Wang et al. 2022 (2203.00555), figure 2: in an encoder or a decoder of L layers the gain is
    (8 L)^-1/4. Beside each other, in a model of an encoder of N layers and a decoder of M, it is
    .87 (N^4 M)^-1/16 and (12 M)^-1/4. It belongs to post-norm layers whose stream is multiplied
    before each addition, by (2 L)^1/4, or .81 (N^4 M)^1/16 and (3 M)^1/4, which is a matter of
    ``forward``. microsoft/torchscale's encoder has 1.15 in the place of .87.

    Args:
        decoder_layers: M of a model with both; weights whose names have "decoder." are its own.

    Example:
        >>> deepnorm().rules[-1].scheme
        XavierNormal(gain=0.594604).scaled(depth=-0.25)
    """
    if decoder_layers < 0:
        raise RecipeError(f"recipe('deepnorm', decoder_layers={decoder_layers!r}): 0 or more")
    inside = WEIGHTS & sel.part("v", "in", "gate")
    gain = 0.87 * decoder_layers ** (-1 / 16) if decoder_layers else 8**-0.25
    rules = [
        library(sel.kind("embedding"), Normal(1.0).scaled(fan_out=-0.5), "a row has length 1"),
        library(WEIGHTS, XavierNormal()),
        *(
            library(where, XavierNormal(gain).scaled(depth=-0.25), "a residual branch")
            for where in (inside, ENDS)
        ),
    ]
    if decoder_layers:
        decoders = XavierNormal(12**-0.25).scaled(depth=-0.25)
        where = (inside | ENDS) & sel.name("*decoder.*")
        rules.append(library(where, decoders, "(12 M)^-1/4"))
    return Recipe((*REST, *rules), "deepnorm")


def neox() -> Recipe:
    """GPT-NeoX and Pythia: small init for all weights, Wang init for the ends of branches.

    Small init, N(0, 2/(5 width)): Nguyen & Salazar 2019 (1910.05895), section 3.2. Wang init,
    N(0, (2/(L sqrt(width)))^2), L the number of layers: Wang & Komatsuzaki 2021 (GPT-J).
    EleutherAI/gpt-neox megatron/model/init_functions.py, ``small_init_init_method`` and
    ``wang_init_method``. Tables and head: small init. Biases 0, norms 1.

    transformers' GPT-NeoX draws N(0, .02^2) throughout: that is ``recipe("llama")``.

    Example:
        Pythia-160m has width 768: std .0228, and with 12 layers .0060 for the ends.

        >>> round((2 / 5 / 768) ** 0.5, 4), round(2 / 12 / 768**0.5, 4)
        (0.0228, 0.006)
        >>> neox().rules[-1].scheme
        Normal(std=2).scaled(depth=-1, fan_out=-0.5)
    """
    small = Normal(math.sqrt(2 / 5))
    rules = (
        library(WEIGHTS | sel.kind("router"), small.scaled(fan_in=-0.5), "small init"),
        library(TABLES & sel.part("table", "head"), small.scaled(fan_out=-0.5), "small init"),
        library(ENDS, Normal(2.0).scaled(depth=-1.0, fan_out=-0.5), "Wang init: fan_out is width"),
    )
    return Recipe((*REST, *rules), "neox")


def megatron(std: float = 0.02) -> Recipe:
    """N(0, std^2) for weights and tables, N(0, std^2/(2 L)) for the ends of residual branches.

    Shoeybi et al. 2019 (1909.08053); Megatron-LM megatron/core/utils.py, ``init_method_normal``
    and ``scaled_init_method_normal``, L the number of layers. Biases 0, norms 1.

    Args:
        std: ``--init-method-std``; .02 by default there, .006 in GPT-3-sized runs.

    Example:
        >>> megatron(std=0.01).rules[-1].scheme
        Normal(std=0.00707107).scaled(depth=-0.5)
    """
    rules = (
        library(WEIGHTS | TABLES | sel.kind("router"), Normal(std)),
        library(ENDS, Normal(std / math.sqrt(2)).scaled(depth=-0.5), _ADD_UP),
    )
    return Recipe((*REST, *rules), "megatron")


def olmo(
    flavour: Literal[
        "mitchell", "normal", "llama", "llama_depth", "normalized", "fan_in"
    ] = "mitchell",
    std: float = 0.02,
) -> Recipe:
    """OLMo's "mitchell": N(0, 1/fan_in), less at the ends of branches with each layer.

    =============  =============  ==============  ==============  ==========================
    flavour        embedding      q, k, v, gate   up projection   ends of residual branches
    =============  =============  ==============  ==============  ==========================
    "mitchell"     N(0, 1/width)  N(0, 1/fan_in)  N(0, 1/fan_in)  N(0, 1/(2 fan_in (l + 1)))
    "normal"       N(0, std^2)    N(0, std^2)     N(0, std^2)     N(0, std^2)
    "llama"        N(0, 1)        N(0, std^2)     as the ends     N(0, std^2/(2 L))
    "llama_depth"  N(0, 1)        N(0, std^2)     as the ends     N(0, std^2/(2 (l + 1)))
    "normalized"   N(0, 1/width)  N(0, 1/width)   N(0, 1/width)   N(0, 1/(2 L width))
    "fan_in"       N(0, 1)        N(0, 1/fan_in)  N(0, 1/fan_in)  N(0, 1/fan_in)
    =============  =============  ==============  ==============  ==========================

    Cut at 3 sigma, except for embeddings of the last four; the std is that before the cut, which
    leaves .987 of it. l is the layer from 0 of L. The head is N(0, 1/width), in "normal"
    N(0, std^2). Experts and their router are as the ends in "llama" and "llama_depth".
    Groeneveld et al. 2024 (2402.00838); allenai/OLMo olmo/model.py, ``reset_parameters``. OLMo 2
    was trained with "normal" (2501.00656, section 3.2). The last four: allenai/OLMo-core
    src/olmo_core/nn/transformer/init.py. Biases 0, norms 1.

    Args:
        flavour: a row of the table.
        std: of the flavours that have one.

    Example:
        >>> olmo().rules[-1].scheme
        TruncatedNormal(std=0.707107, cut=3).scaled(layer=-0.5, fan_in=-0.5)
    """
    choice("olmo", "flavour", flavour, ("mitchell", *_OLMO_CORE))
    return Recipe((*REST, *_olmo(flavour, std)), "olmo")


def _olmo(flavour: str, std: float) -> tuple[Rule, ...]:
    everything, routers = WEIGHTS | TABLES | sel.kind("router"), sel.kind("router")
    if flavour == "normal":
        return (library(everything, TruncatedNormal(std, cut=3.0)),)
    whole, half = TruncatedNormal(1.0, cut=3.0), TruncatedNormal(math.sqrt(0.5), cut=3.0)
    heads = WEIGHTS & sel.part("head") & ~sel.kind("embedding")
    if flavour == "mitchell":
        rules = (
            library(WEIGHTS | routers, whole.scaled(fan_in=-0.5)),
            library(TABLES & sel.part("table", "head"), whole.scaled(fan_out=-0.5)),
            library(ENDS, half.scaled(layer=-0.5, fan_in=-0.5), "smaller with each layer"),
        )
    elif flavour == "fan_in":
        rules = (
            library(WEIGHTS | routers, whole.scaled(fan_in=-0.5)),
            library(TABLES, Normal(1.0)),
        )
    elif flavour == "normalized":
        rules = (
            library(WEIGHTS | routers, whole.scaled(fan_in=-0.5)),
            library(TABLES, Normal(1.0).scaled(fan_out=-0.5)),
            library(ENDS, half.scaled(depth=-0.5, fan_out=-0.5), "its fan_out is the width"),
        )
    else:
        powers = {"depth": -0.5} if flavour == "llama" else {"layer": -0.5}
        ends = TruncatedNormal(std * math.sqrt(0.5), cut=3.0).scaled(**powers)
        up = sel.kind("linear") & sel.part("in")
        rules = (
            library(WEIGHTS, TruncatedNormal(std, cut=3.0)),
            library(TABLES, Normal(1.0)),
            library(up | ENDS | routers, ends, "smaller by depth"),
            library(heads, whole.scaled(fan_in=-0.5)),
        )
    return rules


def nanochat(embedding_std: float = 0.8, fc_scale: float = 0.4) -> Recipe:
    """Nanochat: every residual branch starts at 0, the head near it.

    =====================================  ================================================
    token embedding                        N(0, .8^2)
    q, k, v                                U(+-sqrt(3/width)), N(0, 1/width)'s variance
    feed-forward inputs                    .4 times that
    value embeddings (by name)             U(+-sqrt(3/width))
    gates: ve_gate, smear_gate (by name)   U(0, .02)
    ends of residual branches              0
    head                                   N(0, .001^2)
    resid_lambdas, x0_lambdas (by name)    1.15 to 1.05, .2 to .05 over the layers
    smear_lambda, backout_lambda (name)    0, .2
    =====================================  ================================================

    karpathy/nanochat nanochat/gpt.py, ``init_weights``. The first cross-entropy is ln V to
    three digits. From January to March 2026 the embedding was N(0, 1) and feed-forward inputs
    were as q: ``nanochat(1.0, 1.0)``. transformers' NanoChat is ``recipe("llama")`` with the
    output of the attention divided by sqrt(2 L).

    Args:
        embedding_std: of the token embedding.
        fc_scale: factor on feed-forward inputs.

    Example:
        >>> nanochat().rules[-7].text
        "part('head') & ~kind('embedding') -> Normal(std=0.001)"
    """
    uniform = VarianceScaling(1.0, "fan_in", "uniform")
    by_width = VarianceScaling(1.0, "fan_out", "uniform")
    rules = (
        library(WEIGHTS, uniform),
        library(WEIGHTS & sel.part("in", "gate"), uniform.times(fc_scale), "smaller than q, k, v"),
        library(sel.kind("embedding"), Normal(embedding_std)),
        library(sel.kind("embedding") & sel.name("*value_embed*"), by_width),
        library(ENDS, Zeros(), "each block is the identity at first"),
        library(sel.part("head") & ~sel.kind("embedding"), Normal(0.001)),
        family_rule(sel.name("*ve_gate.weight"), Uniform(0.0, 0.02), "slightly open"),
        family_rule(sel.name("*smear_gate.weight"), Uniform(0.0, 0.02), "slightly open"),
        family_rule(sel.attr("resid_lambdas"), Ramp(1.15, 1.05), "weaker with the layer"),
        family_rule(sel.attr("x0_lambdas"), Ramp(0.2, 0.05), "the embedding's share"),
        family_rule(sel.attr("smear_lambda"), Zeros(), "no smear at first"),
        family_rule(sel.attr("backout_lambda"), Constant(0.2)),
    )
    return Recipe((*REST, *rules), "nanochat")
