"""`PlannedValues`: what a plan would write into a model's tensors, one at a time, on request.

``apply_`` fills a model; this computes the same bits for one stored tensor and keeps nothing, so a
model larger than memory can be run.
"""

# torch has no public way to a module's own tensors.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from goodinit.anatomy.held import recorded
from goodinit.anatomy.names import Slot
from goodinit.anatomy.writable import check_writable
from goodinit.applying.validate import unresolved_error
from goodinit.applying.write import fill_part_, fill_row_, is_elementwise, write_
from goodinit.errors import MetaModelError, ModelError, UnresolvedError
from goodinit.plans.checkpoint import corner_of
from goodinit.plans.rows import PlanRow, needs_old
from goodinit.streams import Part, Stream

Copied = Mapping[str, Sequence[Tensor | None]]


class PlannedValues:
    """What the stored tensors of a model would hold after a plan was applied.

    Args:
        found: the model's slots.
        rows: the plan's rows, by the slots' names; where there is none the values are kept.
        stream: of the plan's seed.
        device: where the values are to be.
        copied: values of a checkpoint, by slot, one for each stored tensor.

    Raises:
        MetaModelError: a parameter or buffer on meta that nothing gives a value.
        UnresolvedError: a parameter on meta whose value the plan keeps.
        ModelError: a parameter that ``apply_`` would not write either.

    Example:
        >>> from goodinit.anatomy.names import slots
        >>> from goodinit.schemes import Ones
        >>> with torch.device("meta"):
        ...     found = slots(nn.Linear(2, 3))
        >>> row = PlanRow("weight", (3, 2), torch.float32, "Linear", "linear", "weight", Ones())
        >>> values = PlannedValues(found[:1], {"weight": row}, Stream(0), torch.device("cpu"))
        >>> values.of("weight", 0)
        tensor([[1., 1.],
                [1., 1.],
                [1., 1.]])
    """

    def __init__(
        self,
        found: Sequence[Slot],
        rows: Mapping[str, PlanRow],
        stream: Stream,
        device: torch.device,
        copied: Copied | None = None,
    ) -> None:
        self._found = {slot.name: slot for slot in found}
        self._rows = {name: row for name, row in rows.items() if not row.kept}
        self._stream = stream
        self._device = device
        self._copied = copied or {}
        self._last: tuple[str, tuple[Tensor, ...]] = ("", ())
        self._check(rows)
        for name in self._rows:
            check_writable(self._found[name])
            _check_whole(self._found[name], self._rows[name])

    def _check(self, rows: Mapping[str, PlanRow]) -> None:
        lost = [
            slot
            for slot in self._found.values()
            if slot.name not in self._rows or needs_old(self._rows[slot.name])
            if any(self._old(slot, n) is None for n in range(len(slot.tensors)))
        ]
        for buffer in (True, False):
            names = [slot.name for slot in lost if slot.buffer is buffer]
            if names:
                raise _lost_error(names, buffer, planned=bool(rows))

    def is_own(self, name: str, number: int) -> bool:
        """Return whether a stored tensor's value is what the model holds now."""
        tensor = self._found[name].tensors[number]
        return name not in self._rows and not tensor.is_meta and not self._from_file(name, number)

    def row(self, name: str) -> PlanRow | None:
        """Return the row by which a slot is drawn; None if its value is kept."""
        return self._rows.get(name)

    def of(self, name: str, number: int) -> Tensor:
        """Return a new tensor with the value of one of a slot's stored tensors."""
        slot, row = self._found[name], self._rows.get(name)
        if row is not None and slot.how != "plain":
            if self._last[0] != name:
                self._last = (name, self._written(slot, row).tensors)
            return self._last[1][number]
        out = self._empty(slot.tensors[number])
        with torch.no_grad():
            if row is None or needs_old(row):
                old = cast("Tensor", self._old(slot, number))
                corner_of(out, old).copy_(old)
            if row is not None:
                fill_row_(out, row, self._stream)
        return out

    def has_rows(self, name: str, number: int) -> bool:
        """Return whether ``rows`` gives rows of a stored matrix at their own cost."""
        slot, row = self._found[name], self._rows.get(name)
        tensor = slot.tensors[number]
        if slot.how != "plain" or tensor.dim() != 2 or not tensor.is_contiguous():
            return False
        if row is None:
            old = self._old(slot, number)
            return old is not None and old.shape == tensor.shape
        return not needs_old(row) and is_elementwise(row)

    def rows(self, name: str, number: int, start: int, stop: int) -> Tensor:
        """Return a new tensor with rows of a stored matrix, the bits that ``of`` has there."""
        slot, row = self._found[name], self._rows.get(name)
        like = slot.tensors[number]
        out = torch.empty(stop - start, like.shape[1], dtype=like.dtype, device=self._device)
        with torch.no_grad():
            if row is None:
                out.copy_(cast("Tensor", self._old(slot, number))[start:stop])
            else:
                box = (((start, stop),), ((0, like.shape[1]),))
                fill_part_(out, row, self._stream, Part(row.shape, box))
        return out

    @contextmanager
    def in_buffers(self) -> Generator[None]:
        """Let buffers hold what the plan or the checkpoint means them to hold.

        Those on meta get memory in the meantime; what others held, the caller puts back. The
        estimates that a spectral norm keeps of its weight belong to what applying writes.
        """
        replaced: list[tuple[nn.Module, str, Tensor]] = []
        try:
            for name, slot in self._found.items():
                if slot.buffer and slot.tensor.is_meta:
                    value = self.of(name, 0)
                    replaced += [(owner, attr, slot.tensor) for owner, attr in slot.places]
                    for owner, attr in slot.places:
                        owner._buffers[attr] = value
                elif slot.buffer:
                    self._write(slot)
                elif slot.how != "plain" and name in self._rows:
                    self._write_estimates(slot)
            yield
        finally:
            for owner, attr, before in replaced:
                owner._buffers[attr] = before

    @torch.no_grad()
    def _write(self, slot: Slot) -> None:
        for number, tensor in enumerate(slot.tensors):
            if not self.is_own(slot.name, number):
                tensor.copy_(self.of(slot.name, number))

    @torch.no_grad()
    def _write_estimates(self, slot: Slot) -> None:
        here = dict(_buffers(slot))
        if here:
            there = dict(_buffers(self._written(slot, self._rows[slot.name])))
            for name, tensor in here.items():
                tensor.copy_(there[name])

    def _old(self, slot: Slot, number: int) -> Tensor | None:
        """Return the value from before the plan; None on meta."""
        tensor = slot.tensors[number]
        if self._from_file(slot.name, number):
            return self._copied[slot.name][number]
        return recorded(tensor) if tensor.is_meta else tensor.detach()

    def _from_file(self, name: str, number: int) -> bool:
        return name in self._copied and self._copied[name][number] is not None

    def _empty(self, tensor: Tensor) -> Tensor:
        size, stride = tensor.size(), tensor.stride()
        return torch.empty_strided(size, stride, dtype=tensor.dtype, device=self._device)

    def _written(self, slot: Slot, row: PlanRow) -> Slot:
        """Return a twin of a parametrized slot, with memory, into which the row was written."""
        twin = _twin(slot, [self._twin_of(slot, n) for n in range(len(slot.tensors))])
        write_((row,), {row.name: twin}, self._stream)
        return twin

    def _twin_of(self, slot: Slot, number: int) -> nn.Parameter:
        old, out = self._old(slot, number), self._empty(slot.tensors[number])
        if old is not None:
            out.copy_(old)
        return nn.Parameter(out, slot.tensors[number].requires_grad)


def _twin(slot: Slot, tensors: list[nn.Parameter]) -> Slot:
    """Return a slot of a module that has its own copy of what stores and computes one weight."""
    stored = {id(old): new for old, new in zip(slot.tensors, tensors, strict=True)}
    owner = object.__new__(type(slot.owner))
    vars(owner).update(vars(slot.owner))
    owner._parameters = {n: stored.get(id(t), t) for n, t in slot.owner._parameters.items()}
    owner._buffers = {n: None if t is None else t.clone() for n, t in slot.owner._buffers.items()}
    owner._modules = {}
    if slot.how != "parametrized":  # the attribute that a hook computes from these
        vars(owner)[slot.attr] = torch.empty_like(tensors[-1])
    else:
        lists = cast("nn.ModuleDict", slot.owner.parametrizations)
        memo = dict(stored)  # deepcopy puts these in place of the tensors on meta
        copied = copy.deepcopy(lists[slot.attr], memo)
        owner._modules["parametrizations"] = nn.ModuleDict({slot.attr: copied})
    return replace(slot, owner=owner, tensors=tuple(tensors))


def _buffers(slot: Slot) -> list[tuple[str, Tensor]]:
    if slot.how == "parametrized":
        lists = cast("nn.ModuleDict", slot.owner.parametrizations)
        entry = cast("parametrize.ParametrizationList", lists[slot.attr])
        return list(entry.named_buffers())
    owned = slot.owner._buffers
    return [(n, t) for n, t in owned.items() if t is not None and n.startswith(f"{slot.attr}_")]


def _check_whole(slot: Slot, row: PlanRow) -> None:
    if slot.how != "plain" and needs_old(row):
        raise ModelError(
            f"{slot.name} is kept in part and computed from other tensors: gi.apply_ writes it, "
            f"into a model with memory"
        )


def _lost_error(names: list[str], buffer: bool, planned: bool) -> MetaModelError | UnresolvedError:
    listed = ", ".join(names)
    if buffer:
        return MetaModelError(
            f"{listed}: buffers on the meta device, whose values were never computed: build the "
            f"model inside `with gi.skeleton():`, which computes what isn't random; with random "
            f"buffers, such as spectral_norm's, it needs memory"
        )
    if not planned:
        return MetaModelError(
            f"{listed}: on the meta device, without values: pass plan=gi.plan(model, recipe), "
            f"which draws them"
        )
    return unresolved_error(listed, names[0])
