"""What the cast of a checkpoint's values to the model's dtypes did to them: GI137."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

import torch
from torch import Tensor

from goodinit.anatomy.names import Slot
from goodinit.findings import Finding
from goodinit.findings.casts import what_a_cast_lost


def find_casts(
    copied: Mapping[str, list[Tensor | None]],
    found: Mapping[str, Slot],
    parts: Container[str] = (),
) -> Iterator[Finding]:
    """Yield a finding for each parameter that doesn't hold what the checkpoint has.

    Args:
        copied: the checkpoint's values, which have been copied.
        found: where they are now.
        parts: names of which this process holds a part: no values are compared.
    """
    for name, sources in copied.items():
        slot = found[name]
        for tensor, source in zip(slot.tensors, sources, strict=True):
            if source is not None and source.dtype != tensor.dtype:
                read = source.is_meta or name in parts  # in parts, from a folder
                yield from _find_cast(name, tensor, source, slot.buffer, read)


def _find_cast(
    name: str, tensor: Tensor, source: Tensor, buffer: bool, read: bool
) -> Iterator[Finding]:
    names = f"{source.dtype} in the checkpoint and {tensor.dtype} here"
    if tensor.is_floating_point() and not source.is_floating_point():
        if not buffer:
            cause = f"its values are {names}, as those of a quantized weight or a mask are"
            fix = "multiply codes by their scale; pass value.to(torch.float32) if they are weights"
            yield Finding("GI137", "warning", name, cause, fix)
        return
    if read:
        return
    if tensor.dim() != source.dim():  # stacked copies of one matrix
        tensor = tensor[0]
    elif tensor.shape != source.shape:
        tensor = tensor[tuple(slice(0, size) for size in source.shape)]
    if not tensor.is_floating_point():
        if not torch.equal(tensor.to(source.dtype), source.to(tensor.device)):
            fix = "round the values yourself, or take them out of the checkpoint"
            yield Finding("GI137", "warning", name, f"its values are {names}: rounded", fix)
        return
    if torch.finfo(tensor.dtype).tiny > torch.finfo(source.dtype).tiny:
        lost = what_a_cast_lost(*_count_lost(tensor, source.to(tensor.device)))
        if lost is not None:
            severity, what = lost
            fix = f"keep the parameter in {source.dtype}, or scale the values"
            yield Finding("GI137", severity, name, f"its values are {names}: {what}", fix)


def _count_lost(tensor: Tensor, source: Tensor) -> tuple[int, float]:
    """Return how many finite values became infinite, and the share of those not 0 that became 0."""
    here = tensor if tensor.dtype.itemsize > 1 else tensor.float()  # float8 has few operations
    there = source if source.dtype.itemsize > 1 else source.float()
    infinite = int((~here.isfinite() & there.isfinite()).sum())
    held = int((there != 0).sum())
    zeros = int(((here == 0) & (there != 0)).sum())
    return infinite, zeros / held if held else 0.0
