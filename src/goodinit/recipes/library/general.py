"""Recipes for any model, and the rules that all share: all but the weights of layers."""

from __future__ import annotations

from typing import Literal

from torch import nn

from goodinit.errors import RecipeError, nearest
from goodinit.recipes.deferred import BesideRows, BranchNorm, Neutral, ReluGain, StackGain
from goodinit.recipes.reasons import NOTHING_KNOWN, OWN_VALUES
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, Selector, sel
from goodinit.schemes import (
    HeNormal,
    HeUniform,
    Keep,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Ones,
    Orthogonal,
    Scheme,
    TorchDefault,
    VarianceScaling,
    XavierNormal,
    XavierUniform,
    Zeros,
)

Distribution = Literal["normal", "uniform"]
WEIGHTS: Selector = sel.kind("linear", "conv", "recurrent") & ~sel.part("bias")
"""Weights of linear layers, convolutions and RNNs, and projections."""


def library(where: Selector, scheme: Scheme, why: str = "") -> Rule:
    """Return a rule that may match nothing, and yields to what a class set on purpose."""
    return Rule(where, scheme, why, library=True)


def family_rule(where: Selector, scheme: Scheme, why: str = "") -> Rule:
    """Return a rule for what only one family has: it may match nothing, and draws what it does."""
    return Rule(where, scheme, why, optional=True)


ADAPTERS: Selector = sel.kind("adapter")

REST: tuple[Rule, ...] = (
    library(sel.all(), Keep(), NOTHING_KNOWN),
    library(sel.kind("token"), Normal(0.02), "small beside the signal"),
    library(sel.kind("position"), BesideRows(Normal(0.02))),
    library(
        sel.kind("embedding"),
        Normal(1.0).scaled(fan_in=-0.5),
        "one row is looked up: LeCun with fan_in 1, or c^2 where it is multiplied by c",
    ),
    library(
        sel.kind("embedding") & sel.part("head"),
        Normal(1.0).scaled(fan_out=-0.5),
        "also the output projection: 1/sqrt(width) makes the first logits N(0, 1)",
    ),
    library(sel.kind("router"), VarianceScaling(0.1), "routes nearly evenly at first"),
    library(sel.kind("norm"), Neutral(), "changes nothing at first"),
    library(sel.kind("scale"), Keep(), OWN_VALUES),
    library(sel.kind("scale") & sel.type(nn.PReLU), TorchDefault(), "a slope, not a factor"),
    library(sel.part("bias"), Zeros(), "no offset at first"),
    library(sel.kind("ssm"), Keep(), NOTHING_KNOWN),
    library(sel.kind("adapter"), Keep(), NOTHING_KNOWN),
    library(ADAPTERS & sel.part("in"), VarianceScaling(1 / 3, "fan_in", "uniform"), "as in PEFT"),
    library(ADAPTERS & sel.part("out"), Zeros(), "changes nothing at first"),
)
STATE: Rule = library(
    sel.kind("recurrent") & sel.part("recurrent"),
    Orthogonal(),
    "keeps the norm of the state over time",
)
_TORCHS_SECOND = sel.type(nn.LSTM, nn.LSTMCell) & sel.attr("bias_hh*")
FORGET: Rule = library(
    sel.kind("recurrent") & sel.part("bias") & sel.block("forget") & ~_TORCHS_SECOND,
    Ones(),
    "the cell remembers at first; once, for torch adds two biases",
)


def standard() -> Recipe:
    """The default of goodinit: every signal starts with second moment near 1.

    ============================================  =============================================
    weights followed by relu, leaky_relu, prelu,  ``HeNormal`` with the function's exact gain
    rrelu or relu6
    others of plain stacks, with their function   N(0, q/fan_in) with the function's own q
    those of plain stacks of 10 layers or more    ``Orthogonal`` with the same variance
    other weights of layers and projections       ``LeCunNormal()``, N(0, 1/fan_in)
    those that end a residual branch              ``LeCunNormal`` times (2 depth)^-1/2
    norms (not batch norm) that end one           (2 depth)^-1/2
    hidden-hidden weights of RNNs                 ``Orthogonal()``, gate by gate
    forget gates of LSTMs                         bias 1 (``bias_ih``'s, for torch adds two)
    all other biases                              0
    embeddings                                    N(0, 1), N(0, 1/c^2) where c multiplies them
    embeddings tied with the output projection    N(0, 1/width)
    positions added to an embedding's rows        as large as those
    other positions, tokens                       N(0, .02^2)
    norms                                         neutral: 1, or 0 where 1 is added
    other scales                                  kept
    PReLU's slope                                 .25, as torch has it
    routers of experts                            N(0, .1/fan_in)
    adapters, state space parameters, unknown     kept (on meta: unresolved, and named)
    what a class set on purpose (docs/recipes.md) kept
    padding rows                                  0
    ============================================  =============================================

    In a plain stack nothing but activations lies between the weights: no norm, no residual sum.
    Its q makes the function's output have second moment 1: 2.155 for gelu, 2.430 for silu (with
    LeCun's 1, 20 layers leave 1e-11). A bounded function keeps 1 before it: 2.536 for tanh. The
    slope of the variance map, 1.084 for gelu, 1.147 for silu, multiplies errors layer by layer:
    a plan says how many layers that allows (GI136). Where it makes a factor of 20, q is that of
    large signals, 2, which decay, but train. So do orthogonal matrices in deep stacks (digits,
    40 layers: silu .86 instead of .76, relu .87 instead of .77; docs/default.md).

    Why (2 depth)^-1/2 at residual ends: a stream that 2 depth branches add to has second moment
    1 + 2 depth * (1 / 2 depth) = 2 at its end, whatever the depth (GPT-2; Radford et al. 2019).

    Why N(0, 1/width) for a tied table: the logits, width products with a normalized input, are
    N(0, 1), and the first cross-entropy is ln V + 1/2.

    Sources: He et al. 2015; LeCun et al. 1998; Poole et al. 2016 (slope); Saxe et al. 2014
    (orthogonal); Jozefowicz et al. 2015 (forget gate); Fedus et al. 2021, section 2.4 (router).

    >>> standard().rules[-1].where == FORGET.where
    True
    """
    weights = (
        library(WEIGHTS, StackGain(HeNormal(), LeCunNormal()), "keeps the signal's second moment"),
        library(
            WEIGHTS & sel.ends_residual(),
            LeCunNormal().times(2**-0.5).scaled(depth=-0.5),
            "ends a residual branch: 2 depth of them add up to 1",
        ),
        library(sel.kind("norm") & sel.part("out"), BranchNorm(), "ends a residual branch"),
        STATE,
        FORGET,
    )
    return Recipe((*REST, *weights), "standard")


def torch_default() -> Recipe:
    """PyTorch's own: what each module's ``reset_parameters`` draws.

    Linear layers and convolutions: ``kaiming_uniform_(a=sqrt(5))``, which is
    U(+-1/sqrt(fan_in)), a third of LeCun's variance, for weights and biases alike. The often
    quoted ``a=sqrt(3)`` would be U(+-sqrt(1.5/fan_in)), half of LeCun's variance:
    ``Rule(nn.Linear, HeUniform("leaky_relu", a=math.sqrt(3)))``. Parameters that torch has no
    law for are kept. Source: torch/nn/modules/linear.py and others, each ``reset_parameters``.

    Example:
        >>> torch_default().rules[0].text
        'all() -> TorchDefault()'
    """
    return Recipe((library(sel.all(), TorchDefault(), "PyTorch's own"),), "torch_default")


def he(
    distribution: Distribution = "normal",
    nonlinearity: str | None = None,
    mode: Literal["fan_in", "fan_out", "fan_avg"] = "fan_in",
) -> Recipe:
    """Var(w) = gain^2 / fan for weights, biases 0, everything else as in ``standard``.

    He et al. 2015 (1502.01852), equations 10 and 14.

    Args:
        distribution: "normal" or "uniform".
        nonlinearity: whose gain; None takes that of the relu-like function which follows a
            weight, where one is known to, and relu's elsewhere.
        mode: "fan_in" keeps the signal, "fan_out" the gradient.

    Example:
        >>> he("uniform", nonlinearity="relu", mode="fan_out").rules[-1].scheme
        HeUniform(mode='fan_out')
    """
    cls = {"normal": HeNormal, "uniform": HeUniform}[_distribution("he", distribution)]
    if nonlinearity is None:
        relu = cls(mode=mode)
        return by_scheme("he", ReluGain(relu, relu), "He et al. 2015")
    return by_scheme("he", cls(nonlinearity, mode=mode), "He et al. 2015")


def xavier(distribution: Distribution = "uniform", gain: float = 1.0) -> Recipe:
    """Var(w) = gain^2 * 2/(fan_in + fan_out), biases 0, everything else as in ``standard``.

    Glorot & Bengio 2010, equation 16.

    Example:
        >>> xavier("normal").rules[-1].scheme
        XavierNormal()
    """
    cls = {"normal": XavierNormal, "uniform": XavierUniform}[_distribution("xavier", distribution)]
    return by_scheme("xavier", cls(gain), "Glorot & Bengio 2010")


def lecun(distribution: Distribution = "normal") -> Recipe:
    """Var(w) = 1/fan_in, biases 0, everything else as in ``standard``.

    LeCun et al. 1998, "Efficient BackProp", equation 16.

    Example:
        >>> lecun().rules[-1].scheme
        LeCunNormal()
    """
    cls = {"normal": LeCunNormal, "uniform": LeCunUniform}[_distribution("lecun", distribution)]
    return by_scheme("lecun", cls(), "LeCun et al. 1998")


def orthogonal(gain: float = 1.0) -> Recipe:
    """Haar-random orthogonal weights, block by block; everything else as in ``standard``.

    Saxe et al. 2014 (1312.6120). ``gain=2**.5`` for relu.

    Example:
        >>> orthogonal(gain=2**0.5).rules[-1].scheme
        Orthogonal(gain=1.41421)
    """
    return by_scheme("orthogonal", Orthogonal(gain), "Saxe et al. 2014")


def by_scheme(name: str, scheme: Scheme, why: str = "") -> Recipe:
    """Return the recipe that draws weights by one scheme, and the rest as in standard."""
    return Recipe((*REST, library(WEIGHTS, scheme, why)), name)


def lone_scheme(scheme: Scheme) -> Recipe:
    """Return the recipe that a scheme given alone stands for: its rule is the user's own."""
    return Recipe((*REST, Rule(WEIGHTS, scheme, optional=True)), repr(scheme))


def choice(recipe: str, option: str, value: object, known: tuple[str, ...]) -> str:
    """Return the value of an option if it is known.

    Raises:
        RecipeError: it isn't; the nearest one is suggested.
    """
    if isinstance(value, str) and value in known:
        return value
    raise RecipeError(
        f"recipe({recipe!r}, {option}={value!r}): {option} is one of {', '.join(known)}."
        f"{nearest(value, known)}"
    )


def _distribution(recipe: str, value: object) -> str:
    return choice(recipe, "distribution", value, ("normal", "uniform"))
