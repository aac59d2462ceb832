"""One module's own rows of a plan for a whole model: for frameworks that go module by module."""

# torch has no public way to a module's own children.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from goodinit.anatomy.names import slots
from goodinit.anatomy.writable import check_writable
from goodinit.applying.materialize import materialize_
from goodinit.applying.validate import check_match, check_memory, device_of
from goodinit.applying.write import write_
from goodinit.plans.plan import Plan
from goodinit.streams import stream_of

__all__ = ["apply_own_"]


def apply_own_(
    module: nn.Module,
    plan: Plan,
    path: str,
    seed: int | None = None,
    materialize: str | torch.device | None = None,
) -> None:
    """Write what a plan of a whole model has for one module, and nothing of its children.

    Args:
        module: a module of the planned model.
        plan: the plan of the whole model. A tied row is drawn under its one name, wherever its
            tensor is met.
        path: where the module is in that model, as ``anatomy.names.walk`` has it.
        seed: as for ``apply_``; the same one for each module gives what ``apply_`` gives.
        materialize: as for ``apply_``. With a device only what is on meta is drawn, for what
            isn't was there before.

    Raises:
        PlanError: the module isn't as planned.
        ModelError: a parameter that can't be written, or has no memory.
        WriteError: a write failed half-way.

    Example:
        >>> from goodinit.recipes.recipe import Recipe
        >>> from goodinit.recipes.rule import Rule, sel
        >>> from goodinit.plans.plan import plan
        >>> from goodinit.schemes import Ones
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
        >>> planned = plan(net, Recipe([Rule(sel.all(), Ones())]))
        >>> apply_own_(net[1], planned, "1", seed=0)
        >>> net[1].weight.sum().item(), bool((net[0].weight == 1).all())
        (6.0, False)
    """
    stream = stream_of(seed)
    device = None if materialize is None else device_of(materialize)
    with _alone(module):
        own = {plan[slot.name].name: slot for slot in slots(module, path)}
        if device is not None:
            own = {name: s for name, s in own.items() if any(t.is_meta for t in s.tensors)}
        # Ties to other modules aren't seen from here.
        rows = tuple(
            replace(plan[name], tied=slot.tied, stored=slot.stored) for name, slot in own.items()
        )
        part = replace(plan, rows=rows)
        check_match(part, own)
        check_memory(part, own, device, set())
        for row in rows:
            if not row.kept:
                check_writable(own[row.name])
        if device is not None:
            materialize_(module, device)
        write_(rows, own, stream)


@contextmanager
def _alone(module: nn.Module) -> Generator[None]:
    """Take a module's children away for a moment; parametrizations stay."""
    children = module._modules
    own = {name: child for name, child in children.items() if name == "parametrizations"}
    vars(module)["_modules"] = own
    try:
        yield
    finally:
        vars(module)["_modules"] = children
