"""The values that a module computes with, where a parametrization stands before what is stored."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.weight_norm import WeightNorm

from goodinit.anatomy.names import Slot, in_eval
from goodinit.anatomy.writable import fixes_scale


def logical_value(slot: Slot) -> Tensor:
    """Return the value that recipes describe, without side effects on its parametrization.

    Under spectral_norm, orthogonal and pruning it is the stored tensor: the computed one follows
    no law. Under weight_norm it is g v/|v|, which may differ from the stale attribute.
    """
    if slot.how == "plain" or fixes_scale(slot):
        return slot.tensor.detach()
    if slot.how == "weight_norm":
        return weight_normed(slot)
    lists = slot.owner.parametrizations
    assert isinstance(lists, nn.ModuleDict)
    with torch.no_grad(), in_eval(lists[slot.attr]):
        value = slot.read()
    return value.detach() if value.is_floating_point() else slot.tensor.detach()


@torch.no_grad()
def weight_normed(slot: Slot) -> Tensor:
    """Return g v/|v| under torch.nn.utils.weight_norm; the attribute stays unchanged."""
    hooks = cast("dict[int, object]", slot.owner._forward_pre_hooks).values()
    hook = next(h for h in hooks if isinstance(h, WeightNorm) and h.name == slot.attr)
    return cast("Tensor", hook.compute_weight(slot.owner))
