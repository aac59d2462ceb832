"""A whole model's plan, written module by module as a framework comes by."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import nn

from goodinit.anatomy.names import walk
from goodinit.anatomy.writable import check_module
from goodinit.applying.own import apply_own_
from goodinit.errors import ModelError
from goodinit.plans.plan import Plan

__all__ = ["writer"]


def writer(
    model: nn.Module,
    plan: Plan,
    seed: int,
    materialize: str | torch.device | None = None,
) -> Callable[[nn.Module, str], None]:
    """Return a function that writes one module's own rows; its second argument names it.

    Modules are known by identity, under the paths that they have now: wrappers that come between
    later change nothing. Only the modules are remembered, and weakly, so that what FSDP frees is
    free.
    """
    kind = type(model).__name__  # the model itself mustn't be held
    paths: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()
    for path, module in walk(model):
        paths.setdefault(module, path)

    def write(module: nn.Module, name: str) -> None:
        path = paths.get(check_module(module, "an adapter's function"))
        if path is None:
            called = f"{name}, a {type(module).__name__}," if name else f"a {type(module).__name__}"
            raise ModelError(
                f"{called} isn't part of the {kind} that was planned: make the "
                f"function after the model is complete"
            )
        apply_own_(module, plan, path, seed, materialize)

    return write
