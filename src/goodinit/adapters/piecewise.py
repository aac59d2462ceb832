"""Write the plan of a whole model module by module, when a framework asks for it."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import nn

from goodinit.anatomy.names import walk
from goodinit.anatomy.writable import check_module
from goodinit.applying.apply import apply_own_
from goodinit.errors import ModelError
from goodinit.plans.plan import Plan


def module_writer(
    model: nn.Module, plan: Plan, seed: int, materialize: str | torch.device | None = None
) -> Callable[..., None]:
    """Return ``write(module, name="")``, which writes one module's own rows; names are for errors.

    Modules are recognized by identity, under the paths that they have now, so that wrappers added
    later don't matter. They are referenced weakly, so that FSDP can free them.
    """
    kind = type(model).__name__  # a reference to the model itself would keep it alive
    paths: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
    for path, module in walk(model):
        paths.setdefault(module, path)

    def write(module: nn.Module, name: str = "") -> None:
        path = paths.get(check_module(module, "an adapter's function"))
        if path is None:
            named = f"{name}, a {type(module).__name__}," if name else f"a {type(module).__name__}"
            raise ModelError(
                f"{named} isn't part of the {kind} that was planned: create the function after "
                f"the model is complete"
            )
        apply_own_(module, plan, path, seed=seed, materialize=materialize)

    return write
