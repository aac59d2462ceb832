"""The values of each parameter, read once, block by block, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from goodinit.anatomy import Anatomy, Block, Row, read
from goodinit.anatomy.logical_values import logical_value
from goodinit.anatomy.names import Slot
from goodinit.anatomy.writable import check_float, check_module
from goodinit.errors import MetaModelError
from goodinit.explanation.statistics import Sample, read_sample
from goodinit.schemes import Site
from goodinit.streams import Law
from goodinit.streams.part import slices, whole_box
from goodinit.trace import Inputs


@dataclass(slots=True)
class Part:
    """One block of a parameter, or a whole parameter, and what was read of it.

    Attributes:
        block: its name and place.
        site: its shape and fans, as a scheme gets them.
        values: a view of the block.
        sample: statistics of the values.
        p: p-values of the laws tried so far.
        orthogonal: a cache: what ``laws.orthogonal_gain`` returned, in a tuple of one; empty until
            it is called.
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
class ParameterValues:
    """One parameter with its values.

    Attributes:
        row: its anatomy.
        slot: where it lives in the model.
        parts: its blocks; empty if it can't be judged.
        whole: the parameter as one part; the same as its only block if it has one.
        why_not: why it can't be judged, or "".
    """

    row: Row
    slot: Slot
    parts: tuple[Part, ...] = ()
    whole: Part | None = None
    why_not: str = ""

    @property
    def matrix(self) -> bool:
        """Whether it is a weight: a matrix, kernel or table rather than a bias, norm or scale."""
        return self.row.facets.layout is not None and self.row.facets.part != "bias"

    @property
    def sample(self) -> Sample:
        """Statistics of the whole, for a parameter that can be judged."""
        assert self.whole is not None
        return self.whole.sample

    @property
    def constant(self) -> bool:
        """Whether all its values are equal."""
        return self.whole is not None and self.whole.sample.constant


def _check_memory(anatomy: Anatomy) -> None:
    """Raise if a parameter has no values.

    Raises:
        MetaModelError: it is on meta, or a FakeTensor.
    """
    for slot in anatomy.slots:
        for tensor in slot.tensors:
            if not slot.buffer and (tensor.is_meta or type(tensor).__name__ == "FakeTensor"):
                raise MetaModelError(
                    f"{slot.name} is on meta and has no values to explain: build or load the model "
                    f"on a real device. gi.plan(model, recipe) shows what a recipe would draw"
                )


def read_model(
    model: nn.Module, inputs: Inputs | None, verb: str
) -> tuple[Anatomy, list[ParameterValues]]:
    """Return what a model is and the values that it holds; raise where it can't be read."""
    check_module(model, verb)
    check_float(model)
    anatomy = read(model, inputs)
    _check_memory(anatomy)
    pairs = zip(anatomy.rows, anatomy.slots, strict=True)
    return anatomy, [_read_parameter(row, slot) for row, slot in pairs if not row.buffer]


def _read_parameter(row: Row, slot: Slot) -> ParameterValues:
    why_not = _unreadable(slot)
    if why_not:
        return ParameterValues(row, slot, why_not=why_not)
    tensor = logical_value(slot)
    zero_rows = row.facets.zero_rows
    sites = row.sites()
    parts = tuple(
        _read_part(block, site, tensor, zero_rows, len(sites))
        for block, site in sites
        if all(stop > start for start, stop in block.box)
    )
    if len(parts) <= 1:
        return ParameterValues(row, slot, parts, parts[0] if parts else None)
    box = whole_box(tensor.shape)
    whole = _read_part(Block("", box), Site.of(row.shape, row.facets.layout), tensor, zero_rows, 1)
    return ParameterValues(row, slot, parts, whole)


def _read_part(
    block: Block, site: Site, tensor: Tensor, zero_rows: tuple[int, ...], share: int
) -> Part:
    view = tensor[slices(block.box)] if block.box else tensor
    whole_rows = zero_rows if view.shape == tensor.shape else ()
    return Part(block, site, view, read_sample(view, whole_rows, share))


def _unreadable(slot: Slot) -> str:
    """Return why a parameter's values can't be judged, or ""."""
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
