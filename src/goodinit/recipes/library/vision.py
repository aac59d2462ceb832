"""Recipes for images."""

from __future__ import annotations

from typing import Literal

from goodinit.recipes.by_place import MimeticOut
from goodinit.recipes.library.general import REST, WEIGHTS, choice, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import sel
from goodinit.schemes import Normal, TorchDefault, VarianceScaling, XavierUniform, Zeros
from goodinit.schemes.mimetic import Mimetic


def dcgan() -> Recipe:
    """Convolutions N(0, .02^2); BatchNorm's weight N(1, .02^2), its bias 0; the rest torch's own.

    Radford et al. 2016 (1511.06434), section 4; ``weights_init`` in pytorch/examples,
    dcgan/main.py. A much-copied version draws BatchNorm's weight around 0: that is a bug.

    Example:
        >>> dcgan().rules[-2].scheme
        Normal(std=0.02, mean=1)
    """
    convs = sel.kind("conv") & ~sel.part("bias")
    norms = sel.kind("norm")
    rules = (
        library(sel.all(), TorchDefault(), "torch's own, which DCGAN's code leaves"),
        library(convs, Normal(0.02)),
        library(norms & sel.part("weight"), Normal(0.02, mean=1.0)),
        library(norms & sel.part("bias"), Zeros()),
    )
    return Recipe(rules, "dcgan")


def vit(flavour: Literal["timm", "flax"] = "timm") -> Recipe:
    """A vision transformer's initialization, by one of two upstream codes.

    ==============  ==========================  =======================================
    what            "timm"                      "flax"
    ==============  ==========================  =======================================
    linear          N(0, .02^2)                 Xavier uniform
    patches         torch's own                 LeCun normal, cut at 2 sigma
    positions       N(0, .02^2)                 N(0, .02^2)
    class token     N(0, 1e-6^2)                0
    head            as linear                   0
    biases          0 (patches: torch's own)    0
    ==============  ==========================  =======================================

    timm/models/vision_transformer.py: its ``trunc_normal_`` cuts at +-2, which for std .02 is
    100 sigma, nowhere. google-research/vision_transformer vit_jax/models_vit.py: its MLP biases
    are N(0, 1e-6^2), a millionth, which is 0 here.

    Args:
        flavour: "timm" or "flax".

    Example:
        >>> vit("flax").rules[-1].text
        "kind('token') | part('head') -> Zeros()"
    """
    choice("vit", "flavour", flavour, ("timm", "flax"))
    convs = sel.kind("conv")
    if flavour == "timm":
        rules = (
            library(WEIGHTS, Normal(0.02)),
            library(convs, TorchDefault(), "timm leaves the patch projection to torch"),
            library(sel.kind("token"), Normal(1e-6)),
        )
    else:
        patches = VarianceScaling(1.0, "fan_in", "truncated")
        rules = (
            library(WEIGHTS, XavierUniform()),
            library(convs & ~sel.part("bias"), patches),
            library(sel.kind("token") | sel.part("head"), Zeros()),
        )
    return Recipe((*REST, *rules), "vit")


def mimetic(
    head_dim: int = 64,
    alpha: float = 0.7,
    beta: float = 0.7,
    out_alpha: float = 0.4,
    out_beta: float = 0.4,
) -> Recipe:
    """A vision transformer's attention as training leaves it; the rest as ``vit``.

    ==============================  ====================================================
    W_q W_k^T of each head          .7 Z + .7 I, cut to its largest singular values
    W_v W_o                         .4 Z - .4 I
    all others                      as in ``vit``
    ==============================  ====================================================

    Z is from N(0, 1/width); each half has the singular vectors of its side, times the roots of the
    singular values. So each position attends to itself at first, and what is added takes away
    from it. Trockman & Kolter 2023 (2305.09828), section 3, for vision transformers with positions
    that are sines: these are the model's to make. Matrices must be square, and need ``inputs``
    where q, k and v are known by the data flow alone. Each head takes two decompositions.

    Args:
        head_dim: channels of a head.
        alpha: of Z in W_q W_k^T.
        beta: of I in W_q W_k^T.
        out_alpha: of Z in W_v W_o.
        out_beta: of I in W_v W_o, which is subtracted.

    Example:
        >>> mimetic().rules[-2].scheme
        Mimetic(role='v', alpha=0.4, beta=0.4)
    """

    def of(role: str) -> Mimetic:
        mine = (alpha, beta) if role in ("q", "k") else (out_alpha, out_beta)
        return Mimetic(role, head_dim, *mine)

    rules = [library(WEIGHTS & sel.part(role), of(role)) for role in ("q", "k", "v")]
    out = MimeticOut(Normal(0.02), head_dim, out_alpha, out_beta)
    rules.append(library(WEIGHTS & sel.part("out"), out))
    return Recipe((*vit().rules, *rules), "mimetic")
