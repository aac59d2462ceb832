"""Recipes for diffusion models."""

from __future__ import annotations

from goodinit.recipes.deferred import TorchFans
from goodinit.recipes.library.convnets import LINEAR
from goodinit.recipes.library.decoders import ENDS
from goodinit.recipes.library.general import REST, WEIGHTS, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, sel
from goodinit.schemes import Keep, Normal, Ones, VarianceScaling, XavierUniform, Zeros


def dit(faithful: bool = False) -> Recipe:
    """DiT: Xavier uniform, labels and the time MLP N(0, .02^2), modulation and output 0.

    Peebles & Xie 2023 (2212.09748), section 3.2 (adaLN-Zero); facebookresearch/DiT models.py,
    ``initialize_weights``. Patches are drawn as a linear layer. Fixed sinusoidal positions are
    kept. The time MLP and the modulation are found by their names there, ``t_embedder`` and
    ``adaLN_modulation``; the output is the head.

    Args:
        faithful: whether the packed projection to q, k and v is drawn as one matrix, as in their
            code: .71 of the std that Xavier's law gives each of the three.

    Example:
        >>> dit().rules[-1].text
        "part('head') -> Zeros()"
    """
    modulation = sel.name("*adaLN_modulation*")
    packed: tuple[Rule, ...] = ()
    if faithful:
        packed = (library(LINEAR, TorchFans(XavierUniform()), "packed weights as one matrix"),)
    rules = (
        library(WEIGHTS, XavierUniform()),
        *packed,
        library(sel.kind("embedding") | sel.name("*t_embedder*.weight"), Normal(0.02)),
        family_rule(modulation, Zeros(), "each block is the identity at first"),
        library(sel.part("head"), Zeros(), "predicts 0 at first"),
    )
    return Recipe((*REST, *rules), "dit")


def ddpm() -> Recipe:
    """A diffusion UNet: Xavier uniform, residual branches and the output nearly 0.

    ==========================  ========================================
    weights                     Xavier uniform, with torch's fans
    ends of residual branches   the same, times 1e-5
    output                      the same, times 1e-5
    biases; norms               0; 1
    ==========================  ========================================

    Ho et al. 2020 (2006.11239); hojonathanho/diffusion diffusion_tf/nn.py: a scale of 0 stands
    for a variance of 1e-10 / fan. diffusers' UNets are left to torch: that is
    ``recipe("torch_default")``. openai/guided-diffusion unet.py sets the last convolutions to 0
    in the constructor; such zeros stand.

    Example:
        >>> ddpm().rules[-1].scheme.law
        VarianceScaling(scale=1e-10, mode='fan_avg', distribution='uniform')
    """
    last = ENDS | (WEIGHTS & sel.part("head"))
    nearly = TorchFans(VarianceScaling(1e-10, "fan_avg", "uniform"))
    rules = (library(WEIGHTS, TorchFans(XavierUniform())), library(last, nearly, "nearly 0"))
    return Recipe((*REST, *rules), "ddpm")


def stylegan2(lr_multiplier: float = 0.01) -> Recipe:
    """StyleGAN2 and 3: all weights N(0, 1), divided by sqrt(fan_in) when they are used.

    ==========================================  ===================================
    weights, the constant input                 N(0, 1)
    weights of the mapping network (by name)    N(0, 1/lr_multiplier^2)
    its embedding of classes (by name)          N(0, 1)
    biases of the styles (by name: affine)      1
    other biases; strength of the noise         0
    StyleGAN3's input.affine: weight, bias      0; its constructor's 1, 0, 0, 0
    ==========================================  ===================================

    Karras et al. 2020 (1912.04958) and 2018 (1710.10196, section 4.1, equalized learning rate);
    NVlabs/stylegan2-ada-pytorch training/networks.py: the forward multiplies a weight by
    lr_multiplier/sqrt(fan_in), so that its learning rate is the same in each layer.

    Args:
        lr_multiplier: of the mapping network.

    Example:
        >>> stylegan2().rules[-6].scheme
        Normal(std=100)
    """
    mapping = WEIGHTS & sel.name("*mapping.*") & ~sel.name("*mapping.embed.*")
    turned = sel.name("*input.affine.*")
    rules = (
        library(WEIGHTS, Normal(1.0), "divided in the forward"),
        library(mapping, Normal(1 / lr_multiplier), "learns slower"),
        family_rule(sel.attr("const"), Normal(1.0), "the constant input"),
        family_rule(sel.name("*affine.bias"), Ones(), "styles start at 1"),
        family_rule(sel.attr("noise_strength"), Zeros(), "no noise at first"),
        family_rule(turned & sel.attr("weight"), Zeros(), "no turn, no shift at first"),
        family_rule(turned & sel.attr("bias"), Keep(), "no turn, no shift at first"),
    )
    return Recipe((*REST, *rules), "stylegan2")
