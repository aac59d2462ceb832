"""Memory for models on meta."""

# torch has no public way to a module's own tensors.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import weakref
from typing import Any, cast

import torch
from torch import Tensor, nn

from goodinit._common.dtensors import is_dtensor
from goodinit._common.module_tree import modules_of
from goodinit._common.torch_private import storage_key
from goodinit.anatomy.held import RECORDED
from goodinit.errors import MetaModelError


def materialize_(model: nn.Module, device: torch.device) -> None:
    """Give every parameter and buffer on meta memory of its own; the values are undefined.

    The memory is swapped into the tensors (``torch.utils.swap_tensors``), which stay the same
    objects: ties stay, and optimizers, hooks, attributes, lists of parameters and an RNN's flat
    weights stay valid. Setting new parameters on the modules, as ``to_empty`` does, would lose
    all of these. Tensors that share storage still share it afterwards; strides, dtype and
    ``requires_grad`` don't change.

    Raises:
        MetaModelError: a tensor that can't be swapped because something else refers to it.
    """
    storages: dict[int, torch.UntypedStorage] = {}
    done: set[int] = set()
    for module in modules_of(model):
        flat = _drop_weak_references(module)
        for owned in (module._parameters, module._buffers):
            for attr, tensor in owned.items():
                if tensor is not None and tensor.is_meta and id(tensor) not in done:
                    done.add(id(tensor))
                    name = f"{type(module).__name__}.{attr}"
                    if is_dtensor(tensor):  # of its own part only
                        new = torch.empty_like(tensor, device=device, requires_grad=False)
                    else:
                        new = _window(tensor, storages, device)
                    _swap(tensor, new, name)
        if flat:
            refs = [w if w is None else weakref.ref(w) for w in flat]
            vars(module)["_flat_weight_refs"] = refs


def _drop_weak_references(module: nn.Module) -> list[Tensor | None]:
    """Remove an RNN's weak references, which prevent a swap; return what they refer to."""
    if not isinstance(module, nn.RNNBase):
        return []
    vars(module)["_flat_weight_refs"] = []
    return list(module._flat_weights)


def _window(
    tensor: Tensor, storages: dict[int, torch.UntypedStorage], device: torch.device
) -> Tensor:
    """Return the tensor's window on the new storage that replaces its own."""
    key = storage_key(tensor)
    if key not in storages:
        size = tensor.untyped_storage().nbytes()
        storages[key] = torch.UntypedStorage(size, device=device)
    empty = torch.empty(0, dtype=tensor.dtype, device=device)
    return empty.set_(storages[key], tensor.storage_offset(), tensor.shape, tensor.stride())


def _swap(tensor: Tensor, new: Tensor, name: str) -> None:
    if isinstance(tensor, nn.Parameter):
        new = nn.Parameter(new, tensor.requires_grad)
    else:
        new.requires_grad_(tensor.requires_grad)
    cast("Any", new).__class__ = type(tensor)
    for name_of_fact, fact in vars(tensor).items():
        if name_of_fact != RECORDED:
            vars(new).setdefault(name_of_fact, fact)
    try:
        torch.utils.swap_tensors(tensor, new)
    except RuntimeError as error:
        raise MetaModelError(
            f"{name} can't be given memory: {error}. Delete what refers to it (the outputs of a "
            f"run on meta, compiled code), or build the model again"
        ) from error
