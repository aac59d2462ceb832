"""Recipes for state space models."""

from __future__ import annotations

import math
from typing import Literal

from goodinit.errors import RecipeError
from goodinit.recipes.by_place import EvenSteps
from goodinit.recipes.library.decoders import ENDS, llama
from goodinit.recipes.library.general import ADAPTERS, REST, WEIGHTS, choice, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, Selector, sel
from goodinit.schemes import (
    Constant,
    LogRange,
    LogUniform,
    Normal,
    Ones,
    Scheme,
    StepBias,
    TorchDefault,
    Uniform,
    VarianceScaling,
    Zeros,
)

Flavour = Literal["state-spaces", "hf"]
_FLAVOURS = ("state-spaces", "hf")
_SSM: Selector = sel.kind("ssm")
_STEPS = "steps log-uniform from .001 to .1"


def mamba(flavour: Flavour = "state-spaces", std: float = 0.02, by_depth: bool = True) -> Recipe:
    """Mamba: S4D-Real's decay rates, log-uniform steps, torch's own law for weights.

    ============================  ==============================================
    A_log                         log(1), ..., log(n) for each channel
    dt_proj's bias                softplus of it log-uniform from .001 to .1
    dt_proj's weight              U(+-1/sqrt(fan_in))
    D                             1
    ends of residual branches     U(+-1/sqrt(fan_in)) / sqrt(L), L the layers
    other weights                 U(+-1/sqrt(fan_in)), torch's own
    embedding                     N(0, std^2)
    ============================  ==============================================

    Gu & Dao 2023 (2312.00752), section 3.6; state-spaces/mamba mamba_ssm/modules/mamba_simple.py
    and models/mixer_seq_simple.py. With these laws the model can be built on meta. Decay rates
    and steps are found in the data flow, or by their names A_log, D, dt_proj and dt_bias.

    Args:
        flavour: "state-spaces", or "hf", transformers modeling_mamba.py: in_proj and x_proj
            N(0, std^2), the convolution's bias 0; its config's std is .1.
        std: of the embedding; of the input projections too for "hf".
        by_depth: whether ends of residual branches are divided by sqrt(L); with False it is
            transformers' default, ``rescale_prenorm_residual=False``.

    Example:
        >>> print(mamba().rules[-3].text)
        attr('A_log') -> LogRange()
    """
    choice("mamba", "flavour", flavour, _FLAVOURS)
    step = sel.name("*dt_proj.weight")
    rules = (library(step, VarianceScaling(1 / 3, "fan_in", "uniform"), "U(+-1/sqrt(dt_rank))"),)
    return Recipe((*REST, *_common(flavour, std, by_depth), *rules, *_own(LogRange())), "mamba")


def mamba2(flavour: Flavour = "state-spaces", std: float = 0.02, by_depth: bool = True) -> Recipe:
    """Mamba-2: as ``mamba``, with one decay rate per head from U(1, 16).

    Dao & Gu 2024 (2405.21060); state-spaces/mamba mamba_ssm/modules/mamba2.py.

    Args:
        flavour: "state-spaces", or "hf", transformers modeling_mamba2.py: rates 1, 2, ... head by
            head, which isn't the paper's law; weights as in ``mamba("hf")``.
        std: of the embedding; of the input projection and the head too for "hf".
        by_depth: as in ``mamba``.

    Example:
        >>> print(mamba2().rules[-3].text)
        attr('A_log') -> LogUniform()
    """
    choice("mamba2", "flavour", flavour, _FLAVOURS)
    rates = LogUniform() if flavour == "state-spaces" else LogRange()
    return Recipe((*REST, *_common(flavour, std, by_depth), *_own(rates)), "mamba2")


def gated_deltanet(flavour: Literal["qwen", "kimi"] = "qwen", std: float = 0.02) -> Recipe:
    """Gated DeltaNet, Qwen3-Next and Kimi Linear: decoders as ``llama``, with decay rates.

    ======================================  ======================  ======================
    what                                    "qwen"                  "kimi"
    ======================================  ======================  ======================
    A_log                                   log U(.01, 16), a head  log U(1, 16), a head
    dt_bias                                 1                       steps .001 to .1
    weights, tables, router, experts        N(0, std^2)             N(0, std^2)
    norms, or those that count from 1       1, or 0                 1, or 0
    ======================================  ======================  ======================

    Yang et al. 2024 (2412.06464); transformers modeling_qwen3_next.py, modeling_qwen3_5.py and
    modeling_kimi_linear.py, ``_init_weights``. Steps are log-uniform, as in ``mamba2``. The
    published code of Gated DeltaNet has U(0, 16), whose log may be minus infinity, and such steps.

    Args:
        flavour: "qwen", or "kimi".
        std: ``initializer_range`` of transformers' config.

    Example:
        >>> [rule.text for rule in gated_deltanet().rules[-2:]]
        ["attr('A_log') -> LogUniform(low=0.01)", "attr('dt_bias') -> Ones()"]
    """
    choice("gated_deltanet", "flavour", flavour, ("qwen", "kimi"))
    qwen = flavour == "qwen"
    steps, why = (Ones(), "softplus(1) at first") if qwen else (StepBias(), _STEPS)
    own = (
        family_rule(sel.attr("A_log"), LogUniform(0.01 if qwen else 1.0), "decay rates"),
        family_rule(sel.attr("dt_bias"), steps, why),
    )
    return Recipe((*llama(std=std).rules, *own), "gated_deltanet")


def hybrid(
    flavour: Literal["bamba", "zamba2", "nemotron_h"] = "bamba", std: float = 0.02
) -> Recipe:
    """Bamba, Falcon-H1, Granite 4 and Jamba: attention beside state spaces, as ``llama``.

    ==================================  ==============  ==================  ====================
    what                                "bamba"         "zamba2"            "nemotron_h"
    ==================================  ==============  ==================  ====================
    A_log                               log 1, log 2,   as "bamba"          as "bamba"
                                        ... in a row
    dt_bias                             1               steps .001 to .1    steps .001 to .1
    D                                   1               1                   1
    out_proj of state spaces (by name)  N(0, std^2)     N(0, std^2)         torch's / sqrt(L)
    other weights, tables, experts      N(0, std^2)     N(0, std^2)         N(0, std^2)
    ==================================  ==============  ==================  ====================

    The row is that of the heads, of the states in Jamba. Steps are log-uniform, as in ``mamba2``,
    which has the laws of that paper. transformers modeling_bamba.py, modeling_falcon_h1.py,
    modeling_granitemoehybrid.py, modeling_jamba.py, modeling_zamba2.py and modeling_nemotron_h.py,
    ``_init_weights``. Biases, dt_proj's too, 0.

    Args:
        flavour: "bamba" and those beside it, or "zamba2", or "nemotron_h".
        std: ``initializer_range`` of transformers' config.

    Example:
        >>> [rule.text for rule in hybrid().rules[-2:]]
        ["attr('D') -> Ones()", "attr('dt_bias') -> Ones()"]
    """
    choice("hybrid", "flavour", flavour, ("bamba", "zamba2", "nemotron_h"))
    rules = [*llama(std=std).rules]
    if flavour == "zamba2":
        rules.append(library(ADAPTERS, Normal(std), "trained with the rest"))
    if flavour == "nemotron_h":
        torchs = VarianceScaling(1 / 3, "fan_in", "uniform").scaled(depth=-0.5)
        rules.append(library(ENDS & sel.name("*out_proj.weight"), torchs, "smaller with depth"))
    steps, why = (Ones(), "softplus(1) at first") if flavour == "bamba" else (StepBias(), _STEPS)
    own = (
        family_rule(sel.attr("A_log"), LogRange(), "decay rates"),
        family_rule(sel.name("*dt_proj.bias"), Zeros(), "softplus(0) at first"),
        family_rule(sel.attr("D"), Ones(), "the skip connection"),
        family_rule(sel.attr("dt_bias"), steps, why),
    )
    return Recipe((*rules, *own), "hybrid")


def s4d(low: float = 1e-3, high: float = 0.1) -> Recipe:
    """S4D-Lin: a diagonal state space, rates -1/2 + i pi n; torch's own law for weights.

    ============================  ==============================================
    log_dt                        U(log .001, log .1)
    log_A_real                    log(1/2)
    A_imag                        pi n, n from 0
    C, real and imaginary parts   N(0, 1/2)
    D                             N(0, 1)
    other weights                 U(+-1/sqrt(fan_in)), torch's own
    ============================  ==============================================

    Gu et al. 2022 (2206.11893), section 4; state-spaces/s4 models/s4/s4d.py. The parameters of
    the state space are found by these names.

    Args:
        low: the smallest step.
        high: the largest step.

    Example:
        >>> print(s4d().rules[-3].text)
        attr('A_imag') -> EvenSteps(step=3.14159)
    """
    if not 0 < low < high:
        raise RecipeError(f"recipe('s4d', low={low!r}, high={high!r}): 0 < low < high")
    own = (
        ("log_dt", Uniform(math.log(low), math.log(high)), "steps log-uniform"),
        ("log_A_real", Constant(math.log(0.5)), "decay rates"),
        ("A_imag", EvenSteps(math.pi), "frequencies"),
        ("C", Normal(0.5**0.5), "reads the state"),
        ("D", Normal(1.0), "the skip connection"),
    )
    rules = (family_rule(sel.attr(attr), scheme, why) for attr, scheme, why in own)
    weights = library(WEIGHTS | sel.part("bias"), TorchDefault(), "PyTorch's own")
    return Recipe((*REST, weights, *rules), "s4d")


def _common(flavour: Flavour, std: float, by_depth: bool) -> tuple[Rule, ...]:
    torchs = VarianceScaling(1 / 3, "fan_in", "uniform")
    convs = sel.kind("conv")
    if flavour == "state-spaces":
        rules = (library(convs, TorchDefault(), "PyTorch's own"), library(WEIGHTS, torchs))
    else:
        rules = (
            library(WEIGHTS, Normal(std)),
            library(convs & ~sel.part("bias"), torchs, "PyTorch's own"),
        )
    why = "ends a residual branch: depth of them add up"
    ends = library(ENDS, torchs.scaled(depth=-0.5) if by_depth else torchs, why if by_depth else "")
    return (*rules, library(sel.kind("embedding"), Normal(std)), ends)


def _own(rates: Scheme) -> tuple[Rule, ...]:
    """Return the rules for what only these models have, whatever it holds."""
    bias = sel.attr("dt_bias") | sel.name("*dt_proj.bias") | (_SSM & sel.part("bias"))
    bias = bias & ~sel.name("*in_proj.bias")  # a part of it is added to the steps
    return (
        library(sel.name("*in_proj.bias"), Zeros(), "no offset at first"),
        family_rule(_SSM & ~sel.part("bias"), rates, "decay rates"),
        family_rule(sel.attr("A_log"), rates, "decay rates"),
        family_rule(sel.attr("D"), Ones(), "the skip connection"),
        family_rule(bias, StepBias(), _STEPS),
    )
