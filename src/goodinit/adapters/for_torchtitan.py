"""The adapter for torchtitan: ``init_states`` (formerly ``init_weights``) for a model class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from goodinit.anatomy.names import slots
from goodinit.applying.apply import apply_, init_
from goodinit.errors import ModelError
from goodinit.plans.plan import Plan
from goodinit.recipes import as_recipe
from goodinit.recipes.by_name import RecipeLike
from goodinit.trace import Inputs

HOOKS = ("init_states", "init_weights")
"""The methods that torchtitan's trainer calls after ``to_empty``; the second before version 0.3."""


def torchtitan(
    recipe: RecipeLike | Plan, *, inputs: Inputs | None = None, seed: int | None = None
) -> Callable[..., None]:
    """Return an ``init_states`` method that initializes a whole model from a recipe.

    Assign it in the class body of a root model, a subclass of a torchtitan model. It first calls
    the inherited ``init_states``, which ties what ``to_empty`` untied and computes the buffers,
    and then does ``gi.init_(model, recipe, seed=seed)``. What the recipe keeps has torchtitan's
    values. The plan is stored as ``model.init_plan``.

    torchtitan calls it on what a process holds: a stage, with DTensors. For more than one process
    pass the plan of the whole model instead of a recipe, and a seed.

    Args:
        recipe: as for ``gi.plan``; or the plan of the whole model, made on meta before it is split
            or read by ``gi.Plan.load``. Each process then draws its part of it.
        inputs: as for ``gi.plan``.
        seed: as for ``gi.init_``; the same number in each process.

    Raises:
        GoodinitError: when called, as for ``gi.init_``; ModelError if the class inherits no
            ``init_states``, and for DTensors: plan the whole model before it is split.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> class Module(nn.Module):  # stands for torchtitan.protocols.model.BaseModel
        ...     def init_states(self, *, buffer_device=None):
        ...         pass
        >>> class Net(Module):
        ...     init_states = torchtitan("he", seed=0)
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc = nn.Linear(4, 2)
        >>> with torch.device("meta"):
        ...     net = Net()
        >>> net.to_empty(device="cpu").init_states()
        >>> net.fc.bias.tolist(), net.init_plan["fc.weight"].fan_in
        ([0.0, 0.0], 4)
    """
    planned = recipe if isinstance(recipe, Plan) else None
    rules = None if isinstance(recipe, Plan) else as_recipe(recipe)

    def init_states(self: Any, buffer_device: torch.device | None = None) -> None:
        _inherited(self, init_states)(self, buffer_device=buffer_device)
        if planned is not None:
            here = {name for slot in slots(self) for name in (slot.name, *slot.tied)}
            part = any(row.name not in here for row in planned)  # a pipeline stage
            self.init_plan = apply_(self, planned, seed=seed, part=part)
        elif rules is not None:
            self.init_plan = init_(self, rules, inputs=inputs, seed=seed)

    return init_states


def _inherited(model: nn.Module, override: Callable[..., None]) -> Callable[..., None]:
    """Return the method that a method overrides, under either of the two names."""
    for hook in HOOKS:
        found = [vars(cls)[hook] for cls in type(model).__mro__ if hook in vars(cls)]
        if override in found[:-1]:
            return found[found.index(override) + 1]
    raise ModelError(
        f"{type(model).__name__} inherits no {' or '.join(HOOKS)}, which adapters.torchtitan calls "
        f"first: assign it in the class body of a subclass of a torchtitan model, or use "
        f"gi.init_(model, recipe)"
    )
