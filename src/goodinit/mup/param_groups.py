"""`param_groups`: the learning rates of a muP plan, as an optimizer takes them."""

from __future__ import annotations

from typing import Any, Literal, cast

from torch import Tensor, nn

from goodinit._common.text import several
from goodinit.anatomy.names import Slot, slots
from goodinit.anatomy.writable import check_module
from goodinit.errors import CallError, PlanError
from goodinit.plans.plan import Plan
from goodinit.plans.rows import PlanRow, Rates

OPTIMIZERS = ("adamw", "adam", "sgd")


def param_groups(
    model: nn.Module,
    plan: Plan,
    *,
    lr: float,
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw",
    weight_decay: float = 0.0,
    eps: float = 1e-8,
) -> list[dict[str, Any]]:
    """Return a model's parameters in groups with the learning rates of muP or CompleteP.

    lr, weight_decay and eps are those of the base model. Each group has its own ``lr``; a
    ``weight_decay`` by which lr times weight_decay is the base's, as in the package mup and in
    CompleteP's table 1; and, of Adam, an ``eps`` that follows the size of the gradient.

    Args:
        model: the one that was planned. Parameters that require no gradient are left out.
        plan: of ``gi.recipe("mup", base=...)`` or "completep"; a loaded one too.
        lr: learning rate of the base model.
        optimizer: "adamw" (and others that normalize the gradient and decay weights apart),
            "adam" (that add the decay to the gradient, or none), or "sgd", with momentum or not.
        weight_decay: of the base model. Where it is added to Adam's gradient, no table has it.
        eps: of the base model's Adam.

    Raises:
        PlanError: a plan of another recipe or model, or a parameter that has no single rate.
        CallError: another optimizer; weight decay with "adam".

    Example:
        >>> import torch
        >>> import goodinit as gi
        >>> def net(width):
        ...     return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 2))
        >>> model = net(256)
        >>> plan = gi.init_(model, gi.recipe("mup", base=lambda: net(64)), seed=0)
        >>> groups = gi.mup.param_groups(model, plan, lr=1e-3, weight_decay=0.1)
        >>> [(group["lr"], group["weight_decay"]) for group in groups]
        [(0.001, 0.1), (0.00025, 0.4), (0.001, 0.1)]
        >>> optimizer = torch.optim.AdamW(groups)
    """
    check_module(model, "param_groups")
    _check_optimizer(optimizer, weight_decay)
    rows = {row.name: row for row in plan}
    found = [slot for slot in slots(model, plan.prefix) if not slot.buffer]
    missing = [slot.name for slot in found if slot.name not in rows]
    if missing:
        raise PlanError(f"the plan is of another model: it has no {several(missing)}")
    groups: dict[tuple[float, float, float], dict[str, Any]] = {}
    for slot in found:
        for tensor, rates in _rates(rows[slot.name], slot):
            factor = _factor(rates, optimizer, slot.name)
            key = (lr * factor, weight_decay / factor, eps * _eps(rates, optimizer))
            groups.setdefault(key, _group(key, optimizer))["params"].append(tensor)
    return list(groups.values())


def _check_optimizer(optimizer: str, weight_decay: float) -> None:
    if optimizer not in OPTIMIZERS:
        raise CallError(f"optimizer is one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    if optimizer == "adam" and weight_decay:
        raise CallError(
            "Adam adds weight decay to the gradient, for which muP has no table. Write "
            "optimizer='adamw' and use torch.optim.AdamW"
        )


def _group(key: tuple[float, float, float], optimizer: str) -> dict[str, Any]:
    rate, decay, eps = key
    group: dict[str, Any] = {"params": [], "lr": rate, "weight_decay": decay}
    return group if optimizer == "sgd" else group | {"eps": eps}


def _rates(row: PlanRow, slot: Slot) -> list[tuple[Tensor, Rates]]:
    """Return the tensors that train of a parameter, each with its rates."""
    trained = [tensor for tensor in slot.tensors if tensor.requires_grad]
    if not trained:
        return []
    if row.rates is None:
        raise PlanError(
            f"{row.name} has no learning rate in this plan: it is of another recipe. Write plan = "
            f"gi.init_(model, gi.recipe('mup', base=lambda: Net(width=64)))"
        )
    same = Rates(1.0, 1.0, 1.0)
    if row.rates != same and _is_weight_norm(row, slot):
        lengths, directions = slot.tensors
        both = [(lengths, _of_lengths(row.rates)), (directions, row.rates)]
        return [(tensor, rates) for tensor, rates in both if tensor.requires_grad]
    if len(slot.tensors) > 1 and row.rates != same:
        raise PlanError(
            f"{row.name} is computed from {len(slot.tensors)} tensors by {slot.how}, and muP has "
            f"no table of their rates: remove the parametrization, or make the groups yourself"
        )
    return [(tensor, row.rates) for tensor in trained]


def _is_weight_norm(row: PlanRow, slot: Slot) -> bool:
    """Whether a weight is g v / |v|, with a length g for each of its outputs."""
    if slot.how == "parametrized":
        lists = cast("nn.ModuleDict", slot.owner.parametrizations)[slot.attr]
        steps = [type(step).__name__ for step in lists.children()]
        if steps != ["_WeightNorm"]:
            return False
    elif slot.how != "weight_norm":
        return False
    outputs = () if row.layout is None else row.layout.outputs
    lengths = slot.tensors[0]
    return outputs == tuple(axis for axis, size in enumerate(lengths.shape) if size > 1)


def _of_lengths(rates: Rates) -> Rates:
    """Return the rates of the lengths of weight norm, from those of the weight.

    A length multiplies its output as the weight of a norm does: Adam's rate is the base's, SGD's
    times m_out, which is what the weight's two rates differ by. Directions are drawn with the
    weight's own size and change as it does.
    """
    if rates.adam is None or rates.sgd is None:
        return Rates(1.0, None, rates.eps)
    grown = rates.sgd / rates.adam
    return Rates(1.0, grown, 1 / grown)


def _factor(rates: Rates, optimizer: str, name: str) -> float:
    factor = rates.sgd if optimizer == "sgd" else rates.adam
    if factor is None:
        fix = "use AdamW" if optimizer == "sgd" else "split it into one parameter for each block"
        raise PlanError(
            f"{name} has no single rate for {optimizer}: its blocks grew by different sizes, or "
            f"the recipe is published for Adam alone. Instead, {fix}"
        )
    return factor


def _eps(rates: Rates, optimizer: str) -> float:
    if optimizer == "sgd":
        return 1.0
    # Blocks of one parameter may differ in it; a smaller epsilon is never too large.
    return 1.0 if rates.eps is None else rates.eps
