"""Recipes for adapters beside a pretrained model."""

from __future__ import annotations

from typing import Literal

from goodinit.recipes.deferred import LowRankPart
from goodinit.recipes.library.general import ADAPTERS, choice
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, sel
from goodinit.schemes import Keep, Normal, VarianceScaling, Zeros
from goodinit.schemes.low_rank import WRITES

Init = Literal["default", "gaussian", "pissa", "olora", "orthogonal", "eva", "corda", "loftq"]
_INITS = ("default", "gaussian", "pissa", "olora", "orthogonal", "eva", "corda", "loftq")


def lora(
    init: Init = "default",
    corda_method: Literal["ipm", "kpm"] = "ipm",
    loftq_iter: int = 1,
    faithful: bool = False,
) -> Recipe:
    """LoRA's matrices A and B beside a weight W, in W x + s B A x; everything else is kept.

    ============  ==========================  ====================  =========
    init          A                           B                     W
    ============  ==========================  ====================  =========
    "default"     U(+-1/sqrt(fan_in))         0                     kept
    "gaussian"    N(0, 1/r^2), r the rank     0                     kept
    "pissa"       sqrt(S/s) V^T               U sqrt(S/s)           W - s B A
    "olora"       the first r rows of R       r columns of Q        W - s B A
    "orthogonal"  drawn, with B A = 0         as A                  kept
    "eva"         where W's inputs vary most  0                     kept
    "corda"       sqrt(S/s) V^T C^-1          U sqrt(S/s)           W - s B A
    "loftq"       sqrt(S/s) V^T               U sqrt(S/s)           NF4 of W
    ============  ==========================  ====================  =========

    U, S and V belong to the r largest singular values of W; with "corda" to those of W C, where C
    is E[x x^T] of W's inputs; with "loftq" to those of what W loses by 4 bits. W = Q R.

    The model computes at first what it computed without the adapter; with "loftq" nearly that. Hu
    et al. 2021 (2106.09685); schemes/low_rank.py has the other papers. Values are those of peft's
    tuners/lora, except for "loftq". Adapters, and s, are found in the data flow: pass ``inputs``.
    For "eva" and "corda" they are a batch with more positions than the rank, which stays as it is.

    Args:
        init: as above. ``LoraConfig(init_lora_weights=)`` has the same words.
        corda_method: "kpm" takes the smallest singular values: it keeps what the batch samples.
        loftq_iter: how often "loftq" quantizes W - s B A and decomposes the rest.
        faithful: whether "loftq" leaves s out, as peft utils/loftq_utils.py does.

    Example:
        >>> from torch import nn, ones
        >>> from goodinit.plans.plan import plan
        >>> class Adapted(nn.ModuleDict):
        ...     def forward(self, x):
        ...         return self["base"](x) + 2.0 * self["b"](self["a"](x))
        >>> net = Adapted({"base": nn.Linear(8, 6), "a": nn.Linear(8, 2), "b": nn.Linear(2, 6)})
        >>> plan(net, lora("pissa"), inputs=ones(3, 8))["base.weight"].why
        'W - 2 B A: what the adapter adds is taken out, so that outputs stay as they are'
    """
    choice("lora", "init", init, _INITS)
    choice("lora", "corda_method", corda_method, ("ipm", "kpm"))
    kept = Rule(sel.all(), Keep(), "the base model stays as it is", optional=True)
    down, up = ADAPTERS & sel.part("in"), ADAPTERS & sel.part("out")
    zero = Rule(up, Zeros(), "changes nothing at first")
    if init in ("default", "gaussian"):
        law = VarianceScaling(1 / 3, "fan_in", "uniform")
        first = law if init == "default" else Normal(1.0).scaled(fan_out=-1.0)
        return Recipe((kept, Rule(down, first, "as in PEFT"), zero), "lora")
    method = "corda_kpm" if (init, corda_method) == ("corda", "kpm") else init
    quantized = init == "loftq"
    scheme = LowRankPart(method, loftq_iter if quantized else 1, faithful and quantized)
    where = {"in": down, "out": up, "base": sel.adapted()}
    rules = [Rule(where[role], scheme) for role in ("in", "out", "base") if role in WRITES[method]]
    return Recipe((kept, *([] if "out" in WRITES[method] else [zero]), *rules), "lora")
