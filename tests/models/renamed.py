"""Rename a model's attributes at random, as an author with other taste would have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

_KEEPS_ITS_NAMES = (nn.ModuleList, nn.Sequential, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
"""Containers: their names are numbers, or part of how the model calls them."""

_READS_ITS_NAMES = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
"""Modules of torch that look their parameters up by name; with all that is below them."""


def rename(model: nn.Module, new_name: Callable[[], str], torchs: bool = False) -> nn.Module:
    """Rename the submodules, parameters and buffers of every class, and the class, in place.

    Instances of one class get the same new names, as if its source had been edited. The
    forward still finds the old ones: by ``__getattr__``, on a subclass made for it.

    Args:
        model: changed.
        new_name: gives a fresh identifier on each call.
        torchs: rename the parameters of torch's own modules too (``weight``, ``bias``).

    Returns:
        The model.
    """
    subclasses: dict[type, type] = {}
    aliases: dict[type, dict[str, str]] = {}
    spared: set[int] = set()
    for module in model.modules():
        if isinstance(module, _READS_ITS_NAMES):
            spared.update(id(part) for part in module.modules())
    for module in list(model.modules()):
        cls = type(module)
        own = cls.__module__.startswith("torch.nn")
        if id(module) in spared or isinstance(module, _KEEPS_ITS_NAMES) or (own and not torchs):
            continue
        names = aliases.setdefault(cls, {})
        tables = ("_modules", "_parameters", "_buffers") if not own else ("_parameters",)
        for table in tables:
            entries = getattr(module, table)
            renamed = {names.setdefault(name, new_name()): x for name, x in entries.items()}
            entries.clear()
            entries.update(renamed)
        if "_buffers" in tables:
            module._non_persistent_buffers_set = {
                names[name] for name in module._non_persistent_buffers_set
            }
        if cls not in subclasses:
            subclasses[cls] = type(new_name().title(), (cls,), {"__getattr__": _finder(cls, names)})
        module.__class__ = subclasses[cls]
    return model


def _finder(cls: type, names: dict[str, str]) -> Callable[[Any, str], Any]:
    def find(self: Any, name: str) -> Any:
        return cls.__getattr__(self, names.get(name, name))  # type: ignore[attr-defined]

    return find
