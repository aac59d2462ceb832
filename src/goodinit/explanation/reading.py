"""What lies in each parameter: its values read once, block by block, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.weight_norm import WeightNorm

from goodinit.anatomy import Anatomy, Block, Row
from goodinit.anatomy.names import Slot, in_eval
from goodinit.anatomy.writable import fixes_scale
from goodinit.errors import MetaModelError
from goodinit.explanation.statistics import Sample, take
from goodinit.schemes import Site
from goodinit.streams import Law

__all__ = ["Part", "Seen", "check_memory", "logical", "see", "weight_normed"]


@dataclass(slots=True)
class Part:
    """One block of a parameter (or the whole of one), and what was read of it.

    Attributes:
        block: its name and place.
        site: where a scheme would draw.
        values: the block itself, a view.
        sample: what was read.
        p: p-values of the laws that were tried.
        orthogonal: what ``laws.orthogonal_gain`` found, in a tuple of one; empty before.
    """

    block: Block
    site: Site
    values: Tensor
    sample: Sample
    p: dict[Law, float] = field(default_factory=dict[Law, float])
    orthogonal: tuple[float | None, ...] = ()

    @property
    def gain(self) -> float | None:
        """Standard deviation times sqrt(fan_in): 1 keeps a signal's second moment."""
        fan = self.site.fan_in
        return None if fan is None else self.sample.std * fan**0.5


@dataclass(slots=True)
class Seen:
    """One parameter with its values.

    Attributes:
        row: what it is.
        slot: where it lives.
        parts: its blocks; empty where it can't be judged.
        whole: of the parameter as one, where it has several blocks; else that of its one part.
        why_not: why it can't be judged, or "".
    """

    row: Row
    slot: Slot
    parts: tuple[Part, ...] = ()
    whole: Part | None = None
    why_not: str = ""

    @property
    def matrix(self) -> bool:
        """Whether it multiplies or is looked up: what a recipe is about."""
        return self.row.facets.layout is not None and self.row.facets.part != "bias"

    @property
    def constant(self) -> bool:
        """Whether all of its values are the same number."""
        return self.whole is not None and self.whole.sample.constant


def check_memory(anatomy: Anatomy) -> None:
    """Raise where a parameter has no values.

    Raises:
        MetaModelError: it is on meta, or a FakeTensor.
    """
    for slot in anatomy.slots:
        for tensor in slot.tensors:
            if not slot.buffer and (tensor.is_meta or type(tensor).__name__ == "FakeTensor"):
                raise MetaModelError(
                    f"{slot.name} is on meta and has no values to explain: build the model with "
                    f"memory, or load it; gi.plan(model, recipe) says what a recipe would draw"
                )


def see(anatomy: Anatomy) -> list[Seen]:
    """Return every parameter with what lies in it, in registration order."""
    pairs = zip(anatomy.rows, anatomy.slots, strict=True)
    return [_see(row, slot) for row, slot in pairs if not row.buffer]


def _see(row: Row, slot: Slot) -> Seen:
    why_not = _unreadable(slot)
    if why_not:
        return Seen(row, slot, why_not=why_not)
    tensor = logical(slot)
    zero_rows = row.facets.zero_rows
    sites = row.sites()
    parts = tuple(
        _part(block, site, tensor, zero_rows, len(sites))
        for block, site in sites
        if all(stop > start for start, stop in block.box)
    )
    if len(parts) <= 1:
        return Seen(row, slot, parts, parts[0] if parts else None)
    box = tuple((0, size) for size in tensor.shape)
    whole = _part(Block("", box), Site.of(row.shape, row.facets.layout), tensor, zero_rows, 1)
    return Seen(row, slot, parts, whole)


def _part(block: Block, site: Site, tensor: Tensor, zero_rows: tuple[int, ...], share: int) -> Part:
    view = tensor[tuple(slice(*ends) for ends in block.box)] if block.box else tensor
    whole_rows = zero_rows if view.shape == tensor.shape else ()
    return Part(block, site, view, take(view, whole_rows, share))


def _unreadable(slot: Slot) -> str:
    """Return why a parameter's values have no law of real numbers, or ""."""
    for tensor in slot.tensors:
        cls = type(tensor).__name__
        if tensor.layout is not torch.strided:
            return f"sparse ({str(tensor.layout).removeprefix('torch.')}): not judged"
        if tensor.is_quantized or not tensor.is_floating_point():
            return f"{str(tensor.dtype).removeprefix('torch.')}: not judged"
        if not tensor.numel():
            return "holds no values"
        if cls in ("DTensor", "FunctionalTensor"):
            return f"a {cls}: not judged"
    return ""


def logical(slot: Slot) -> Tensor:
    """Return the value that recipes are written about; nothing is counted or cached by it.

    Behind spectral_norm, orthogonal and pruning it is what was drawn, not what is made of it:
    their result has no law. weight_norm's is g v/|v|, which may be another than the attribute.
    """
    if slot.how == "plain" or fixes_scale(slot):
        return slot.tensor.detach()
    if slot.how == "weight_norm":
        return weight_normed(slot)
    lists = slot.owner.parametrizations
    assert isinstance(lists, nn.ModuleDict)
    with torch.no_grad(), in_eval(lists[slot.attr]):
        value = slot.read()
    return value.detach() if value.is_floating_point() else slot.tensor.detach()


@torch.no_grad()
def weight_normed(slot: Slot) -> Tensor:
    """Return g v/|v| of torch.nn.utils.weight_norm, and leave the attribute alone."""
    hooks = cast("dict[int, object]", slot.owner._forward_pre_hooks).values()
    hook = next(h for h in hooks if isinstance(h, WeightNorm) and h.name == slot.attr)
    return cast("Tensor", hook.compute_weight(slot.owner))
