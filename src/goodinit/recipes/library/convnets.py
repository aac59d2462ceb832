"""Recipes for convolutional networks."""

from __future__ import annotations

from typing import Literal

from goodinit.recipes.deferred import TorchFans
from goodinit.recipes.library.general import REST, WEIGHTS, choice, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, Selector, sel
from goodinit.schemes import (
    Constant,
    HeNormal,
    Normal,
    Scheme,
    TorchDefault,
    VarianceScaling,
    Zeros,
)

CONVS: Selector = sel.kind("conv") & ~sel.part("bias")
LINEAR: Selector = sel.kind("linear") & ~sel.part("bias")
Fans = Literal["torch", "exact"]


def resnet(zero_last_gamma: bool = False, fans: Fans = "torch", small_head: bool = False) -> Recipe:
    """ResNet: convolutions N(0, 2/fan_out), batch norm 1 and 0, the classifier torch's own.

    He et al. 2015 (1512.03385 and 1502.01852, equation 14); torchvision/models/resnet.py,
    timm/models/resnet.py. Convolutions with a bias (squeeze and excitation) keep torch's law for
    it. RegNet (Radosavovic et al. 2020; torchvision/models/regnet.py) is ``small_head=True``;
    timm's divides fan_out by the groups.

    Args:
        zero_last_gamma: whether the last norm of each residual branch starts at 0, so that each
            block is the identity at first (Goyal et al. 2017, section 5.1). timm does so by
            default, torchvision with ``zero_init_residual=True``. Needs ``inputs``.
        fans: "torch", as published: the stride of a convolution doesn't count, nor do its groups.
            "exact" counts both, so that the gradient's second moment holds.
        small_head: whether the classifier is N(0, .01^2) and its bias 0; otherwise torch's own.

    Example:
        >>> resnet(zero_last_gamma=True).rules[-1].text
        'last_norm() -> Zeros()'
    """
    choice("resnet", "fans", fans, ("torch", "exact"))
    law = HeNormal(mode="fan_out")
    scheme: Scheme = TorchFans(law) if fans == "torch" else law
    rules = (
        library(CONVS, scheme),
        library(sel.kind("conv") & sel.part("bias"), TorchDefault(), "PyTorch's own"),
        library(LINEAR, Normal(0.01))
        if small_head
        else library(sel.kind("linear"), TorchDefault(), "PyTorch's own"),
    )
    last: tuple[Rule, ...] = ()
    if zero_last_gamma:
        last = (library(sel.last_norm(), Zeros(), "each block is the identity at first"),)
    return Recipe((*REST, *rules, *last), "resnet")


def vgg(fans: Fans = "torch") -> Recipe:
    """VGG and MobileNetV2: convolutions N(0, 2/fan_out), the classifier N(0, .01^2).

    torchvision/models/vgg.py, mobilenetv2.py and mobilenetv3.py; Simonyan & Zisserman 2015
    (1409.1556) drew N(0, .01^2) throughout, and trained shallow networks first. Biases 0, batch
    norm 1 and 0.

    Args:
        fans: "torch", as published: the stride of a convolution doesn't count, nor do its groups.
            "exact" counts both.

    Example:
        >>> vgg().rules[-1].scheme
        Normal(std=0.01)
    """
    choice("vgg", "fans", fans, ("torch", "exact"))
    law = HeNormal(mode="fan_out")
    scheme: Scheme = TorchFans(law) if fans == "torch" else law
    return Recipe((*REST, library(CONVS, scheme), library(LINEAR, Normal(0.01))), "vgg")


def densenet() -> Recipe:
    """DenseNet: convolutions N(0, 2/fan_in), the classifier torch's own with bias 0.

    Huang et al. 2017 (1608.06993); torchvision/models/densenet.py.

    Example:
        >>> densenet().rules[-1].text
        "kind('linear') & ~part('bias') -> TorchDefault()"
    """
    rules = (library(CONVS, HeNormal()), library(LINEAR, TorchDefault(), "PyTorch's own"))
    return Recipe((*REST, *rules), "densenet")


def efficientnet(flavour: Literal["google", "torchvision"] = "google") -> Recipe:
    """EfficientNet, MobileNetV3 and MnasNet: N(0, 2/fan_out), the classifier U(+-1/sqrt(classes)).

    Tan & Le 2019 (1905.11946); tensorflow/tpu efficientnet_model.py,
    ``conv_kernel_initializer`` and ``dense_kernel_initializer``, whose fan_out for a depthwise
    convolution is its window, k^2. timm's ``_init_weight_goog`` has the same law.

    Args:
        flavour: "google", or "torchvision", torchvision/models/efficientnet.py: its fan_out of a
            depthwise convolution is k^2 times the channels, so that the std is .083 instead of
            .471 in the first block of B0. That isn't the paper's law.

    Example:
        >>> efficientnet().rules[-2].scheme
        TorchFans(law=HeNormal(mode='fan_out'), grouped=True)
    """
    choice("efficientnet", "flavour", flavour, ("google", "torchvision"))
    law = TorchFans(HeNormal(mode="fan_out"), grouped=flavour == "google")
    classifier = VarianceScaling(1 / 3, "fan_out", "uniform")
    return Recipe((*REST, library(CONVS, law), library(LINEAR, classifier)), "efficientnet")


def convnext(layer_scale: float = 1e-6, head_scale: float = 1.0) -> Recipe:
    """ConvNeXt: N(0, .02^2) for all weights, biases 0, LayerScale 1e-6.

    Liu et al. 2022 (2201.03545), appendix A.1; facebookresearch/ConvNeXt models/convnext.py,
    timm/models/convnext.py, torchvision/models/convnext.py. Their ``trunc_normal_`` cuts at +-2,
    which for std .02 is 100 sigma, nowhere. A LayerScale that holds a value keeps it. Global
    response norms of ConvNeXt V2 (Woo et al. 2023, 2301.00808), by their name ``grn``, are 0.

    Args:
        layer_scale: value of a LayerScale on meta.
        head_scale: factor on the classifier; .001 when they finetune.

    Example:
        >>> convnext(head_scale=0.001).rules[-3].scheme
        Normal(std=2e-05)
    """
    head = WEIGHTS & sel.part("head")
    rules = (
        library(WEIGHTS, Normal(0.02)),
        library(head, Normal(0.02).times(head_scale)),
        layer_scale_rule(layer_scale),
        library(sel.name("*grn*"), Zeros(), "global response norm: the identity at first"),
    )
    return Recipe((*REST, *rules), "convnext")


def layer_scale_rule(value: float) -> Rule:
    """Return the rule for LayerScale: one that holds a value keeps it."""
    return library(sel.kind("scale"), Constant(value), "LayerScale: each branch starts small")
