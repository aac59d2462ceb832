"""Recipes for adapters beside a pretrained model."""

from __future__ import annotations

from typing import Literal

from goodinit.errors import RecipeError
from goodinit.recipes.deferred import LowRankPart
from goodinit.recipes.library.general import ADAPTERS, choice
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, sel
from goodinit.schemes import Keep, Normal, VarianceScaling, Zeros
from goodinit.schemes.low_rank import METHODS

Init = Literal["default", "gaussian", "pissa", "olora", "orthogonal"]
_INITS = ("default", "gaussian", *METHODS)
ELSEWHERE = {
    "corda": "needs a batch, and a recipe has none: call peft's preprocess_corda(model, "
    "lora_config, run_model=...) before get_peft_model",
    "eva": "needs a batch, and a recipe has none: call peft's "
    "initialize_lora_eva_weights(model, dataloader) after get_peft_model",
    "loftq": "quantizes the base weight, which goodinit doesn't: pass init_lora_weights='loftq' "
    "and loftq_config= to peft's LoraConfig",
}


def lora(init: Init = "default") -> Recipe:
    """LoRA's matrices A and B beside a weight W, in W x + s B A x; everything else is kept.

    ============  ==========================  ====================  =========
    init          A                           B                     W
    ============  ==========================  ====================  =========
    "default"     U(+-1/sqrt(fan_in))         0                     kept
    "gaussian"    N(0, 1/r^2), r the rank     0                     kept
    "pissa"       sqrt(S/s) V^T               U sqrt(S/s)           W - s B A
    "olora"       the first r rows of R       r columns of Q        W - s B A
    "orthogonal"  drawn, with B A = 0         as A                  kept
    ============  ==========================  ====================  =========

    U, S and V belong to the r largest singular values of W; W = Q R.

    The model computes at first what it computed without the adapter. Hu et al. 2021
    (2106.09685), Meng et al. 2024 (2404.02948), Büyükakyüz 2024 (2406.01775); peft
    tuners/lora/layer.py, whose values of "pissa" and "olora" are the same. Adapters, and s, are
    found in the data flow: ``inputs`` are needed. A model without adapters is refused.

    Args:
        init: as above. ``LoraConfig(init_lora_weights=)`` has the same words.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from goodinit.plans.plan import plan
        >>> class Adapted(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.base = nn.Linear(8, 6)
        ...         self.a, self.b = nn.Linear(8, 2, bias=False), nn.Linear(2, 6, bias=False)
        ...
        ...     def forward(self, x):
        ...         return self.base(x) + 2.0 * self.b(self.a(x))
        >>> made = plan(Adapted(), lora("pissa"), inputs=torch.ones(3, 8))
        >>> made["base.weight"].why
        'W - 2 B A: what the adapter adds is taken out, so that outputs stay as they are'
    """
    if init in ELSEWHERE:
        raise RecipeError(f"recipe('lora', init={init!r}) {ELSEWHERE[init]}")
    choice("lora", "init", init, _INITS)
    kept = Rule(sel.all(), Keep(), "the base model stays as it is", optional=True)
    down, up = ADAPTERS & sel.part("in"), ADAPTERS & sel.part("out")
    if init in METHODS:
        scheme = LowRankPart(init)
        rules = [Rule(down, scheme), Rule(up, scheme)]
        if init != "orthogonal":
            rules.append(Rule(sel.adapted(), scheme))
        return Recipe((kept, *rules), "lora")
    law = VarianceScaling(1 / 3, "fan_in", "uniform")
    first = law if init == "default" else Normal(1.0).scaled(fan_out=-1.0)
    zero = Rule(up, Zeros(), "changes nothing at first")
    return Recipe((kept, Rule(down, first, "as in PEFT"), zero), "lora")
