"""Recipes that take over a small model's laws and learning rates: muP and CompleteP."""

from __future__ import annotations

from goodinit.recipes.base import Base, BaseLike
from goodinit.recipes.library.general import standard
from goodinit.recipes.recipe import Recipe


def mup(base: BaseLike = None, law: Recipe | None = None) -> Recipe:
    """muP: what is tuned on a narrow base model holds for this wider one.

    ==================  =====================  ==============  ==============
    parameter           std                    Adam's rate     SGD's rate
    ==================  =====================  ==============  ==============
    hidden weights      base's / sqrt(m_in)    / m_in          * m_out / m_in
    output weights      base's / m_in          / m_in          / m_in
    input weights,      base's                 as it is        * m_out
    embeddings
    biases, norms       base's                 as it is        * m_out
    ==================  =====================  ==============  ==============

    Yang et al. 2022 (2203.03466), table 3: the form without multipliers, equal to table 8's, of
    the package mup, in each step of training. m_in is how much larger a weight's fan_in is than
    the base's, m_out the same of fan_out. What grows is found by comparing the two models, shape
    by shape; nothing is stored on parameters. At the base's own width this is the recipe ``law``.

    ``gi.mup.param_groups(model, plan, lr=...)`` has the learning rates. A plan reports what no
    draw can do (GI151): a tied head needs its output times 1/m, attention whose head dimension
    grows needs 1/d. Without ``base`` the model is its own base.

    Args:
        base: the base model, a function that makes it, or the width of its hidden layers.
        law: the recipe of the base; standard.

    Example:
        >>> from torch import nn
        >>> from goodinit.plans.plan import plan
        >>> def net(width):
        ...     return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 2))
        >>> wide = plan(net(1024), mup(base=lambda: net(64)))
        >>> round(wide["2.weight"].std / plan(net(64))["2.weight"].std * 16, 6)
        1.0
    """
    law = standard() if law is None else law
    return Recipe(law.rules, "mup", law.name, Base("mup", base))


def completep(
    base: BaseLike = None, layers: int | None = None, law: Recipe | None = None
) -> Recipe:
    """CompleteP: muP, and the same by depth: each residual branch counts 1/m_L.

    ==========================  =============================  ================================
    parameter                   std                            Adam's rate
    ==========================  =============================  ================================
    ends of residual branches   base's / (sqrt(m_in) m_L)      / (m_in m_L)
    biases and norms of ends    base's / m_L                   / m_L
    all others                  as in ``mup``                  as in ``mup``
    ==========================  =============================  ================================

    Dey et al. 2025 (2505.01618), table 1 with alpha 1: x + branch(x) / m_L, with m_L times the
    base's number of layers. Here the factor is in what ends the branch, which is the same in each
    step of training. EleutherAI/nanoGPT-mup, branch completep, has the factor in model.py. Where a
    branch ends in nothing that is drawn, the plan says so (GI151).

    Args:
        base: the base model, a function that makes it, or the width of its hidden layers.
        layers: its number of layers, if ``base`` is a width.
        law: the recipe of the base; standard.

    Example:
        >>> completep(base=256, layers=2).base
        Base(rule='completep', of=256, layers=2)
    """
    law = standard() if law is None else law
    return Recipe(law.rules, "completep", law.name, Base("completep", base, layers))
