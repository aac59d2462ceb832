"""The rules that recipes share: all but the weights of layers."""

from __future__ import annotations

from torch import nn

from goodinit.recipes.deferred import Neutral
from goodinit.recipes.reasons import NOTHING_KNOWN
from goodinit.recipes.rule import Rule, Selector, sel
from goodinit.schemes import Keep, Normal, Scheme, TorchDefault, VarianceScaling, Zeros

__all__ = ["REST", "WEIGHTS", "library"]

WEIGHTS: Selector = sel.kind("linear", "conv", "recurrent") & ~sel.part("bias")
"""Weights of linear layers, convolutions and RNNs, and projections."""


def library(where: Selector, scheme: Scheme, why: str = "") -> Rule:
    """Return a rule that may match nothing: models differ."""
    return Rule(where, scheme, why, optional=True)


ADAPTERS: Selector = sel.kind("adapter")

REST: tuple[Rule, ...] = (
    library(sel.all(), Keep(), NOTHING_KNOWN),
    library(sel.kind("position", "token"), Normal(0.02), "small beside the signal"),
    library(sel.kind("embedding"), Normal(1.0), "one row is looked up: LeCun with fan_in 1"),
    library(
        sel.kind("embedding") & sel.part("head"),
        Normal(1.0).scaled(fan_out=-0.5),
        "also the output projection: 1/sqrt(width) makes the first logits N(0, 1)",
    ),
    library(sel.kind("router"), VarianceScaling(0.1), "routes nearly evenly at first"),
    library(sel.kind("norm", "scale"), Neutral(), "changes nothing at first"),
    library(sel.kind("scale") & sel.type(nn.PReLU), TorchDefault(), "a slope, not a factor"),
    library(sel.part("bias"), Zeros(), "no offset at first"),
    library(sel.kind("ssm"), Keep(), NOTHING_KNOWN),
    library(sel.kind("adapter"), Keep(), NOTHING_KNOWN),
    library(ADAPTERS & sel.part("in"), VarianceScaling(1 / 3, "fan_in", "uniform"), "as in PEFT"),
    library(ADAPTERS & sel.part("out"), Zeros(), "changes nothing at first"),
)
