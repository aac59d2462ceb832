"""What must be true of a tensor before anything is written to it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from typing import cast

import torch
from torch import Tensor, nn

from goodinit._common.dtensors import is_dtensor
from goodinit._common.memory import is_writable, overlaps
from goodinit._common.module_tree import modules_of, named_parameters_of
from goodinit._common.unfit_arguments import unfit_arguments
from goodinit.anatomy.names import Slot
from goodinit.errors import (
    DtypeError,
    EmptyParameterError,
    ExpandedParameterError,
    MetaModelError,
    ModelError,
    ParametrizationError,
)
from goodinit.schemes.fields import short_repr

# These parametrizations keep only the direction or a factor of what is written through them.
_FIXING = {
    "_SpectralNorm": "spectral_norm divides the weight by its largest singular value",
    "_Orthogonal": "orthogonal makes the weight orthogonal",
}

_PLAIN = (Tensor, nn.Parameter)
_READS_VALUES = ("explain", "identify")  # a tensor that these get is a weight, and no input

PLAN_FIRST = (
    "Plan the model before it is split, plan = gi.plan(model, recipe); split it; then "
    "gi.apply_(model, plan, seed=0) draws each process's part. keep= leaves it as it is"
)


def check_module(model: object, what: str) -> nn.Module:
    """Return the model; raise ModelError if it isn't a module."""
    if isinstance(model, nn.Module):
        return model
    given, line = short_repr(model), ""
    owner = getattr(model, "__self__", None)
    if isinstance(owner, nn.Module):  # a method of one, such as forward
        given, line = f"its {getattr(model, '__name__', 'method')}", "the model itself"
    elif isinstance(model, (type, functools.partial)):
        made = cast("Callable[..., object]", model)
        name = getattr(made, "__name__", "function")
        given = f"the class {name}: call it" if isinstance(model, type) else "a function: call it"
        line = f"{name}({'...' if unfit_arguments(made, (), {}) else ''})"
    elif isinstance(model, (list, tuple)) and all(
        isinstance(part, nn.Module) for part in cast("list[object]", model)
    ):
        line = "torch.nn.ModuleList(layers)"
    elif isinstance(model, (Mapping, Iterator, list, tuple, torch.optim.Optimizer)):
        line = "the module that has these parameters"
    elif isinstance(model, nn.Parameter) or (isinstance(model, Tensor) and what in _READS_VALUES):
        line = "the module that holds it, such as model.fc"
    elif isinstance(model, (str, Tensor, PathLike)) or hasattr(model, "rows"):
        line = "the model first"
    elif hasattr(model, "__array__"):
        line = "the module that holds these values"
    elif callable(model):
        line = "the torch.nn.Module that it calls"
    fix = f". Pass {line}" if line else ""
    raise ModelError(f"{what} takes a torch.nn.Module, got {given:.200}{fix}")


def check_float(model: nn.Module) -> None:
    """Raise if all weights of a model are quantized: packed, they aren't parameters."""
    packed = next(iter(packed_modules(model)), None)
    if packed is not None and next(iter(named_parameters_of(model)), None) is None:
        raise ModelError(
            f"the model is quantized, its {packed} holds packed weights and no parameters: "
            f"initialize the float model, and quantize it afterwards"
        )


def packed_modules(model: nn.Module) -> list[str]:
    """Return the classes of modules whose weights are quantized and packed, no parameters."""
    kinds = (type(module) for module in modules_of(model))
    return [kind.__name__ for kind in kinds if "quantized" in kind.__module__.split(".")]


def check_unsharded(slot: Slot) -> None:
    """Raise where a process holds a part: nobody here sees what the whole is, or holds.

    A DTensor on meta has its whole shape, and no values that a plan could miss.
    """
    if slot.flat is not None:
        raise EmptyParameterError(
            f"{slot.name} is split by {slot.flat.by}, and this process holds elements "
            f"{slot.flat.start} to {slot.flat.stop}. {PLAN_FIRST}"
        )
    for tensor in slot.tensors:
        if is_dtensor(tensor) and not tensor.is_meta:
            raise MetaModelError(
                f"{slot.name} is a DTensor, of which a process sees its own part only. {PLAN_FIRST}"
            )


def check_writable(slot: Slot) -> None:
    """Raise where a write to a parameter would be lost, or is impossible."""
    for tensor in slot.tensors:
        if _is_ordinary(tensor):
            continue
        _check_kind(slot.name, tensor)
        if not is_writable(tensor):
            raise ModelError(
                f"{slot.name} lies in read-only memory, such as a mapped file: give the module "
                f"a copy, nn.Parameter(p.detach().clone()), or name it in keep="
            )
        if tensor.is_inference() and not torch.is_inference_mode_enabled():
            raise ModelError(
                f"{slot.name} was made in torch.inference_mode and can't be written outside of "
                f"it: build the model outside, or initialize it inside"
            )
        if is_shard(slot):
            raise EmptyParameterError(
                f"{slot.name} has size 0, shape {tuple(tensor.shape)}: a write to it would be "
                f"lost. If it is a part of a larger one, as under ZeRO-3, plan the whole model and "
                f"pass gi.apply_ parts=; else name it in keep="
            )
        if overlaps(tensor):
            raise ExpandedParameterError(
                f"{slot.name} has elements that share memory, shape {tuple(tensor.shape)} and "
                f"strides {tensor.stride()}: make it contiguous first, "
                f"nn.Parameter(p.detach().clone(memory_format=torch.contiguous_format))"
            )
    if slot.how == "parametrized":
        _check_parametrization(slot)


def is_shard(slot: Slot) -> bool:
    """Whether a parameter of size 0 is a shard of one elsewhere (ZeRO-3 leaves shape (0,)).

    Others have size 0 by design: DINOv3 without register tokens, a layer of no outputs.
    """
    if slot.flat is not None:
        return True
    if slot.tensor.shape != (0,):
        return False
    siblings = slot.owner.parameters(recurse=False)
    return not any(p.dim() > 1 and p.shape[0] == 0 for p in siblings)


def is_number(dtype: torch.dtype) -> bool:
    """Whether it is of numbers that a law has: real or complex, of floating point."""
    return dtype.is_floating_point or dtype.is_complex


def fixes_scale(slot: Slot) -> str:
    """Return what a parametrization does to the scale of what is written, or ""."""
    if slot.how == "pruned":
        return "what is pruned stays zero"
    if slot.how == "spectral_norm":
        return _FIXING["_SpectralNorm"]
    names = [type(step).__name__ for step in _steps(slot)]
    return next((_FIXING[name] for name in names if name in _FIXING), "")


def normalizes(slot: Slot) -> bool:
    """Whether the weight is divided by its own norm, so that it can't be 0."""
    if slot.how in ("weight_norm", "spectral_norm"):
        return True
    return any(type(s).__name__ in ("_WeightNorm", "_SpectralNorm") for s in _steps(slot))


def _is_ordinary(tensor: Tensor) -> bool:
    """Whether a tensor needs no further check: nearly all of a model's thousands don't."""
    return (
        type(tensor) in _PLAIN
        and tensor.layout is torch.strided
        and tensor.numel() > 0
        and tensor.is_contiguous()
        and not tensor.is_inference()
        and tensor.untyped_storage().resizable()  # torch's own memory, not a file's
    )


def _check_kind(name: str, tensor: Tensor) -> None:
    cls = type(tensor).__name__
    if cls == "FakeTensor":
        raise MetaModelError(
            f"{name} is a {cls}, which goodinit doesn't write to: initialize the plain "
            f"model before it is converted, or name it in keep="
        )
    if tensor.layout != torch.strided:
        raise DtypeError(
            f"{name} is sparse ({tensor.layout}): initialize it dense and convert it, or name "
            f"it in keep="
        )


def _check_parametrization(slot: Slot) -> None:
    for step in _steps(slot):
        name = type(step).__name__
        frozen_map = name == "_Orthogonal" and not hasattr(step, "base")
        frozen_map = frozen_map and "householder" not in str(getattr(step, "orthogonal_map", ""))
        if frozen_map or not hasattr(step, "right_inverse"):
            raise ParametrizationError(
                f"{slot.name} goes through {name}, which has no right_inverse to write "
                f"through: give it one, initialize before parametrizing, or name it in keep="
            )


def _steps(slot: Slot) -> list[nn.Module]:
    if slot.how != "parametrized":
        return []
    lists = slot.owner.parametrizations
    assert isinstance(lists, nn.ModuleDict)
    return list(lists[slot.attr].children())
