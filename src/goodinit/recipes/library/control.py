"""Recipes for reinforcement learning."""

from __future__ import annotations

from goodinit.recipes.library.general import REST, WEIGHTS, family_rule, library
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Selector, sel
from goodinit.schemes import Constant, Orthogonal


def _named(first: str, *others: str) -> Selector:
    found = sel.name(first)
    for glob in others:
        found = found | sel.name(glob)
    return found


POLICY: Selector = _named("*actor*", "*policy*", "*action*", "*pi.*", "*logits*", "*mu.*")
VALUE: Selector = _named("*critic*", "*value*", "*vf*", "v.*", "*.v.*")


def ppo(
    gain: float = 2**0.5, policy_gain: float = 0.01, value_gain: float = 1.0, log_std: float = 0.0
) -> Recipe:
    """PPO: orthogonal weights, the policy's head small, biases 0.

    ====================================  ===============
    weights                               Orthogonal(gain)
    the policy's head                     Orthogonal(.01)
    the value's head                      Orthogonal(1)
    other heads                           Orthogonal(1)
    log_std, logstd (by name)             0
    ====================================  ===============

    Huang et al. 2022, "The 37 implementation details of PPO", detail 2; CleanRL ppo.py,
    ``layer_init``; stable-baselines3 common/policies.py. A head is the last weight before the
    model's output; whose it is, no data flow shows: names with actor, policy, action, pi,
    logits or mu are the policy's, those with critic, value, vf or v the value's.

    Args:
        gain: of hidden layers; sqrt(2).
        policy_gain: of the policy's head: all actions equally likely at first.
        value_gain: of the value's head.
        log_std: value of the policy's log standard deviation.

    Example:
        >>> ppo(policy_gain=0.1).rules[-2].scheme
        Orthogonal(gain=0.1)
    """
    heads = WEIGHTS & sel.part("head")
    rules = (
        library(WEIGHTS, Orthogonal(gain), "Huang et al. 2022"),
        library(heads, Orthogonal(value_gain), "a head: neither a policy's nor a value's by name"),
        library(heads & VALUE, Orthogonal(value_gain), "the value's head"),
        library(heads & POLICY & ~VALUE, Orthogonal(policy_gain), "the policy's head"),
        family_rule(sel.attr("*log*std*"), Constant(log_std), "the policy's spread"),
    )
    return Recipe((*REST, *rules), "ppo")
