"""Recipes for text encoders, and for encoders with decoders."""

from __future__ import annotations

from typing import Literal

from goodinit.recipes.library.decoders import TABLES
from goodinit.recipes.library.general import REST, WEIGHTS, choice, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import sel
from goodinit.schemes import LeCunNormal, Normal, TruncatedNormal

__all__ = ["bert", "t5"]


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
