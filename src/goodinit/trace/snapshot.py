"""`Snapshot`: tensors as they were before a run, to be restored after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from goodinit._common.memory import without_repeats
from goodinit.trace.calls import tensors_in


@dataclass(slots=True)
class _Original:
    """A tensor as it was.

    Attributes:
        tensor: itself.
        alias: the same memory, whatever ``.data`` is set to. What is written through it isn't
            counted as a change of the tensor, so that the caller's graphs stay valid.
        leaf: whether it had no history.
        requires_grad: whether it required a gradient.
        values: a copy, once there is one.
    """

    tensor: Tensor
    alias: Tensor
    leaf: bool
    requires_grad: bool
    values: Tensor | None = None

    def copy(self) -> None:
        if self.values is None:
            self.values = without_repeats(self.alias).clone()

    def put_back(self) -> None:
        tensor = self.tensor
        if self.values is not None:
            without_repeats(self.alias).copy_(self.values)
        if _place(tensor) != _place(self.alias):
            tensor.data = self.alias
        # What a view has from a graph can't be taken from it again.
        if self.leaf and not tensor.is_leaf and not tensor._is_view():
            tensor.detach_()
        if tensor.is_leaf and tensor.requires_grad != self.requires_grad:
            tensor.requires_grad_(self.requires_grad)


class Snapshot:
    """Tensors as they were before a run.

    Parameters may fill the memory, and few models write to them: they are copied when a call is
    about to write. Running statistics are written by functions whose names don't show it: buffers
    (``at_once``) are copied at once.
    """

    def __init__(self, several: Iterable[Tensor], at_once: Iterable[Tensor]) -> None:
        self._kept: dict[int, _Original] = {}
        self._by_memory: dict[int, list[_Original]] = {}
        for tensor in several:
            if id(tensor) in self._kept:
                continue
            # The values of a sparse tensor can't be reached through .data.
            alias = tensor.data if tensor.layout is torch.strided else tensor
            original = _Original(tensor, alias, tensor.is_leaf, tensor.requires_grad)
            self._kept[id(tensor)] = original
            self._by_memory.setdefault(_memory(tensor), []).append(original)
        for tensor in at_once:
            self._kept[id(tensor)].copy()

    def before(
        self,
        func: Callable[..., Any],
        name: str,
        inplace: bool,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Copy what a call is about to write to."""
        for tensor in tensors_written(func, name, inplace, args, kwargs):
            for original in self._by_memory.get(_memory(tensor), ()):
                with torch.no_grad():
                    original.copy()

    @torch.no_grad()
    def put_back(self) -> None:
        """Make values, memory and flags what they were."""
        for original in self._kept.values():
            original.put_back()


def tensors_written(
    func: Callable[..., Any],
    name: str,
    inplace: bool,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Iterator[Tensor]:
    """Yield the tensors that a call is about to write to."""
    if inplace and name == "data":
        return  # a different storage; this one is kept
    if inplace or kwargs.get("inplace"):
        # The fused step of an optimizer writes to most of its lists.
        yield from tensors_in((args if name.startswith("fused") else args[:1]) or kwargs)
    if kwargs.get("out") is not None:
        yield from tensors_in(kwargs["out"])
    if kwargs.get("max_norm") is not None:  # an embedding that renormalizes rows
        yield from tensors_in(args)
    # The schema of a custom operator says what it writes to.
    schema = getattr(getattr(func, "default", func), "_schema", None)
    for at, argument in enumerate(schema.arguments if schema else ()):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from tensors_in(args[at] if at < len(args) else kwargs.get(argument.name))


def _memory(tensor: Tensor) -> int:
    """Return what views of a tensor share with it."""
    if tensor.layout is not torch.strided:
        return id(tensor)
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # a wrapper, as inside of torch.func.vmap
        return id(tensor)


def _place(tensor: Tensor) -> tuple[object, ...]:
    if tensor.layout is not torch.strided:
        return ()
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype
