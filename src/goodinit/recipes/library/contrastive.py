"""Recipes for models that compare images with texts."""

from __future__ import annotations

import math

from goodinit.recipes.by_place import UnitRows
from goodinit.recipes.deferred import TorchFans
from goodinit.recipes.library.decoders import ENDS, TABLES
from goodinit.recipes.library.general import REST, WEIGHTS, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import sel
from goodinit.schemes import Constant, Normal, VarianceScaling, XavierUniform
from goodinit.schemes.quadrature import truncated_moments

TEMPERATURE = math.log(1 / 0.07)  # Radford et al. 2021, section 2.5
SIGLIP_SCALE, SIGLIP_BIAS = math.log(10), -10.0  # Zhai et al. 2023, section 3.2


def clip(faithful: bool = False) -> Recipe:
    """CLIP: N(0, 1/width), ends of residual branches by depth, the temperature 1/.07.

    ==================================  =================================================
    tables; patches                     N(0, .02^2)
    class token                         N(0, 1/width)
    q, k, v; last projections           N(0, 1/width)
    first feed-forward weight           N(0, 1/(2 width))
    ends of residual branches           N(0, 1/(2 L width)), L the layers of that tower
    logit_scale (by name)               ln(1/.07)
    ==================================  =================================================

    Radford et al. 2021 (2103.00020); openai/CLIP clip/model.py, ``initialize_parameters``, of the
    text tower. (Its positions are N(0, .01^2), and its vision transformer is left to torch.)

    Args:
        faithful: whether as in transformers modeling_clip.py, ``_init_weights``, where attention
            has the factor (2 L)^-1/2 in q, k and v instead of the output projection (which is
            found by its name there, ``out_proj``).

    Example:
        >>> clip().rules[-2].scheme
        Normal(std=0.707107).scaled(depth=-0.5, fan_out=-0.5)
    """
    by_width = Normal(1.0).scaled(fan_in=-0.5)
    by_depth = Normal(2**-0.5).scaled(depth=-0.5, fan_out=-0.5)
    rules = [
        library(TABLES, Normal(0.02)),
        library(sel.kind("token"), UnitRows()),
        library(WEIGHTS, by_width),
        library(WEIGHTS & sel.part("patch"), Normal(0.02)),
        library(WEIGHTS & sel.part("in"), Normal(2**-0.5).scaled(fan_in=-0.5)),
        library(ENDS, by_depth, "ends a residual branch: 2 depth of them add up"),
    ]
    if faithful:
        smaller = Normal(2**-0.5).scaled(depth=-0.5, fan_in=-0.5)
        rules.append(library(WEIGHTS & sel.part("q", "k", "v"), smaller, "as in their code"))
        rules.append(library(ENDS & sel.name("*out_proj*"), by_width, "as in their code"))
    scale = family_rule(
        sel.attr("logit_scale"), Constant(2.6592 if faithful else TEMPERATURE), "1/.07"
    )
    return Recipe((*REST, *rules, scale), "clip")


def siglip(faithful: bool = False) -> Recipe:
    """SigLIP: Xavier uniform, tables N(0, 1/width), patches LeCun normal; scale 10, bias -10.

    ==================================  =================================================
    attention and feed-forward weights  Xavier uniform
    biases of feed-forward weights      N(0, 1e-6^2), by their names: ``mlp``
    tables                              N(0, 1/width)
    probe (by name)                     U(+-sqrt(3/width))
    patches, head                       LeCun normal, cut at 2 sigma
    logit_scale, logit_bias (by name)   ln 10, -10
    ==================================  =================================================

    Zhai et al. 2023 (2303.15343); google-research/big_vision models/vit.py and
    models/proj/image_text/two_towers.py.

    Args:
        faithful: whether as in transformers modeling_siglip.py: its ``lecun_normal_`` is 1.137
            times too large (it corrects for a cut at 2 sigma, and cuts at +-2), the packed q, k
            and v of the pooling head count as one matrix, its output isn't Xavier's, and
            ``logit_scale`` and ``logit_bias`` are 0.

    Example:
        >>> siglip().rules[-1].scheme
        Constant(value=-10)
    """
    lecun = VarianceScaling(1.0, "fan_in", "truncated")
    scale, bias = SIGLIP_SCALE, SIGLIP_BIAS
    rules = [
        library(WEIGHTS, XavierUniform()),
        library(sel.name("*mlp*.bias"), Normal(1e-6)),
        library(TABLES, UnitRows(), "as Flax draws tables"),
        library(sel.attr("probe"), UnitRows("uniform"), "Xavier on one row"),
    ]
    if faithful:
        lost = truncated_moments(-2.0, 2.0)[1]  # of the std, that they correct and don't lose
        lecun = VarianceScaling(lost**-2, "fan_in", "normal")
        scale = bias = 0.0
        packed = WEIGHTS & sel.name("*in_proj_weight")
        rules.append(library(packed, TorchFans(XavierUniform()), "packed weights as one matrix"))
        rules.append(library(sel.name("*head.attention.out_proj.weight"), lecun))
    own = (
        library(WEIGHTS & (sel.part("patch", "head") | sel.name("*patch_embedding*")), lecun),
        family_rule(sel.attr("logit_scale"), Constant(scale), "the temperature"),
        family_rule(sel.attr("logit_bias"), Constant(bias), "most pairs don't match"),
    )
    return Recipe((*REST, *rules, *own), "siglip")
