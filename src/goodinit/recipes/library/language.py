"""Recipes for text."""

from __future__ import annotations

from typing import Literal

from goodinit.recipes.library.general import FORGET, REST, STATE, WEIGHTS, choice, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import sel
from goodinit.schemes import Normal, XavierUniform


def gpt2(flavour: Literal["hf", "openai"] = "hf", std: float = 0.02) -> Recipe:
    """Weights and tables N(0, std^2), residual ends N(0, std^2/(2 depth)), biases 0; std .02.

    Radford et al. 2019, section 2.3; ``_init_weights`` in transformers' modeling_gpt2.py and in
    karpathy/nanoGPT.

    Args:
        flavour: "hf" as above. "openai" is the released code, openai/gpt-2 src/model.py: no
            scaling of residual ends, and positions N(0, .01^2).
        std: ``initializer_range`` of transformers' config.

    Example:
        >>> gpt2().rules[-1].scheme
        Normal(std=0.0141421).scaled(depth=-0.5)
    """
    choice("gpt2", "flavour", flavour, ("hf", "openai"))
    tables = sel.kind("embedding", "token", "router")
    rules = (
        library(WEIGHTS | tables, Normal(std)),
        library(sel.kind("position"), Normal(0.01 if flavour == "openai" else std)),
    )
    if flavour == "hf":
        ends = Normal(std / 2**0.5).scaled(depth=-0.5)
        why = "ends a residual branch: 2 depth of them add up"
        rules = (*rules, library(WEIGHTS & sel.ends_residual(), ends, why))
    return Recipe((*REST, *rules), "gpt2")


def lstm() -> Recipe:
    """Glorot uniform from the input, orthogonal from the state, biases 0, forget gates 1.

    Keras' defaults (keras/src/layers/rnn/lstm.py), gate by gate: Keras takes the four gates for
    one matrix, which makes its Glorot bound sqrt(6/(in + 4 units)) and the singular values of
    each gate about 1/2. Torch adds two biases: the 1 stands in ``bias_ih`` alone. Everything
    else as in ``standard``. Cells written by hand get the same where inputs show them. Forget gate:
    Jozefowicz et al. 2015.

    Example:
        >>> lstm().rules[-1].scheme
        Ones()
    """
    weights = library(WEIGHTS, XavierUniform())
    return Recipe((*REST, weights, STATE, FORGET), "lstm")
