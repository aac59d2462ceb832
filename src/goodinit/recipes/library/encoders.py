"""Recipes for text encoders, and for encoders with decoders."""

from __future__ import annotations

from typing import Literal

from goodinit.recipes.deferred import TorchFans
from goodinit.recipes.library.decoders import ENDS, TABLES
from goodinit.recipes.library.general import REST, WEIGHTS, choice, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import sel
from goodinit.schemes import (
    HeNormal,
    LeCunNormal,
    Normal,
    TorchDefault,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
)


def bert(flavour: Literal["hf", "google"] = "hf", std: float = 0.02) -> Recipe:
    """BERT and RoBERTa: N(0, std^2) for weights and tables, biases 0, padding rows 0.

    Devlin et al. 2019. transformers modeling_bert.py and modeling_roberta.py; fairseq's
    RoBERTa, ``init_bert_params``, has the same law.

    Args:
        flavour: "hf" as above. "google" is the released code, google-research/bert modeling.py:
            cut at 2 sigma, which leaves .880 of the std: .0176 instead of .02.
        std: ``initializer_range`` of both.

    Example:
        >>> bert("google").rules[-1].scheme
        TruncatedNormal(std=0.02)
    """
    choice("bert", "flavour", flavour, ("hf", "google"))
    law = Normal(std) if flavour == "hf" else TruncatedNormal(std)
    return Recipe((*REST, library(WEIGHTS | TABLES | sel.kind("router"), law)), "bert")


def modernbert(std: float = 0.02, cut: float = 2.0) -> Recipe:
    """ModernBERT: N(0, std^2) cut at 2 sigma, ends of residual branches N(0, std^2/(2 L)), cut.

    ==========================================  ==================================
    weights, token embedding                    N(0, std^2)
    ends of residual branches                   N(0, std^2/(2 L)), L layers
    dense layer and decoder of the head (name)  the same
    classifier                                  N(0, 1/width)
    ==========================================  ==================================

    Warner et al. 2024 (2412.13663), appendix A.2, "Megatron initialization"; transformers
    modeling_modernbert.py, ``_init_weights``. The std is that before the cut, which leaves .880
    of it. A head that is tied with the token embedding has its law.

    Args:
        std: ``initializer_range`` of transformers' config.
        cut: ``initializer_cutoff_factor``, in std.

    Example:
        >>> modernbert().rules[-4].scheme
        TruncatedNormal(std=0.0141421).scaled(depth=-0.5)
    """
    ends = TruncatedNormal(std / 2**0.5, cut=cut).scaled(depth=-0.5)
    classifier = WEIGHTS & sel.part("head") & ~sel.kind("embedding")
    rules = (
        library(WEIGHTS | TABLES, TruncatedNormal(std, cut=cut)),
        library(ENDS, ends, "ends a residual branch: 2 depth of them add up"),
        library(WEIGHTS & sel.name("*head.dense*"), ends, "as the ends"),
        library(classifier, TruncatedNormal(1.0, cut=cut).scaled(fan_in=-0.5)),
        library(classifier & sel.name("*decoder.weight"), ends, "as the ends"),
    )
    return Recipe((*REST, *rules), "modernbert")


def t5(head_dim: int = 64) -> Recipe:
    """T5: N(0, 1/fan_in) for weights, queries head_dim times less, the embedding N(0, 1).

    ==============================================  ==============================
    queries                                         N(0, 1/(fan_in head_dim))
    all other weights                               N(0, 1/fan_in)
    token embedding, head                           N(0, 1)
    relative position bias                          N(0, 1/width)
    ==============================================  ==============================

    T5 doesn't divide its scores by sqrt(head_dim): its queries are that much smaller. A tied
    head's logits are multiplied by width^-1/2 in the forward. Raffel et al. 2020 (1910.10683);
    transformers modeling_t5.py, ``_init_weights``. The bias's table is found by its name there,
    ``relative_attention_bias``; its width is known with ``inputs``.

    Args:
        head_dim: ``d_kv`` of transformers' configs.

    Example:
        >>> t5(head_dim=128).rules[-3].scheme
        Normal(std=0.0883883).scaled(fan_in=-0.5)
    """
    relative = sel.name("*relative_attention_bias*")
    rules = (
        library(WEIGHTS, LeCunNormal()),
        library(
            WEIGHTS & sel.part("q"),
            Normal(head_dim**-0.5).scaled(fan_in=-0.5),
            "scores aren't divided by sqrt(head_dim)",
        ),
        library(sel.kind("embedding") | sel.part("head"), Normal(1.0)),
        library(relative, Normal(1.0).scaled(width=-0.5)),
    )
    return Recipe((*REST, *rules), "t5")


def switch(head_dim: int = 64, faithful: bool = False) -> Recipe:
    """Switch Transformer: T5's law with a tenth of its variance, cut at 2 sigma.

    ==============================================  ==============================
    weights, router, experts                        N(0, .1/fan_in), cut
    queries                                         N(0, .1/(fan_in head_dim)), cut
    token embedding, head                           N(0, 1)
    relative position bias                          N(0, 1/width)
    ==============================================  ==============================

    Fedus, Zoph & Shazeer 2021 (2101.03961), section 2.4: s = .1 instead of T5's 1 makes training
    stable. The std is that before the cut, which leaves .880 of it. What isn't in the paper is as
    in ``t5``.

    Args:
        head_dim: ``d_kv`` of transformers' configs.
        faithful: whether as in transformers modeling_switch_transformers.py: s is 1 and not cut,
            the router N(0, 1), and an expert's second weight N(0, 1/width).

    Example:
        >>> switch().rules[-4].scheme
        TruncatedNormal(std=0.316228).scaled(fan_in=-0.5)
    """
    law = Normal(1.0) if faithful else TruncatedNormal(0.1**0.5)
    rules = [
        library(sel.kind("router"), Normal(1.0) if faithful else law.scaled(fan_in=-0.5)),
        library(WEIGHTS, law.scaled(fan_in=-0.5), "Fedus et al. 2021"),
        library(
            WEIGHTS & sel.part("q"),
            law.times(head_dim**-0.5).scaled(fan_in=-0.5),
            "scores aren't divided by sqrt(head_dim)",
        ),
        library(sel.kind("embedding") | sel.part("head"), Normal(1.0)),
        library(sel.name("*relative_attention_bias*"), Normal(1.0).scaled(width=-0.5)),
    ]
    if faithful:
        experts = ENDS & sel.name("*expert*")
        rules.append(library(experts, Normal(1.0).scaled(fan_out=-0.5), "as in their code"))
    return Recipe((*REST, *rules), "switch")


def wav2vec2(std: float = 0.02, faithful: bool = False) -> Recipe:
    """wav2vec 2.0, HuBERT: He normal for the waveform's convolutions, N(0, .02^2) after them.

    ==============================================  ==================================
    convolutions of the feature encoder             He normal
    projection after them (by name)                 torch's own, bias too
    convolution of positions (by name: pos_conv)    N(0, 4/(window width))
    transformer, head                               N(0, std^2)
    masked_spec_embed (by name)                     U(0, 1)
    ==============================================  ==================================

    Baevski et al. 2020 (2006.11477); fairseq models/wav2vec/wav2vec2.py and
    modules/transformer_sentence_encoder.py, ``init_bert_params``. The convolution of positions
    has weight norm: it is written through it.

    Args:
        std: ``initializer_range`` of transformers' config.
        faithful: whether as in transformers modeling_wav2vec2.py, where the law of that
            convolution is lost under weight norm: it is torch's own. Its HuBERT draws the
            projection N(0, std^2).

    Example:
        >>> wav2vec2().rules[-2].scheme
        TorchFans(law=VarianceScaling(scale=4, mode='fan_out'))
    """
    positions = sel.name("*pos_conv*") & ~sel.part("bias")
    own = TorchDefault() if faithful else TorchFans(VarianceScaling(4.0, "fan_out", "normal"))
    projection = sel.name("*feature_projection.projection.*") | sel.name("*post_extract_proj.*")
    rules = (
        library(WEIGHTS | TABLES, Normal(std)),
        library(sel.kind("conv") & ~sel.part("bias"), HeNormal()),
        library(sel.kind("conv") & sel.part("bias") & ~sel.name("*pos_conv*"), TorchDefault()),
        family_rule(projection, TorchDefault(), "left to PyTorch"),
        library(positions, own, "kernel and channels count"),
        family_rule(sel.attr("masked_spec_embed"), Uniform(0.0, 1.0), "for masked frames"),
    )
    return Recipe((*REST, *rules), "wav2vec2")
