"""What the cast of a checkpoint's values to the model's dtypes did to them: GI137."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from goodinit.anatomy.names import Slot
from goodinit.applying.loaded import pieces_of
from goodinit.applying.shards import Shard
from goodinit.findings import Finding
from goodinit.findings.casts import what_a_cast_lost
from goodinit.plans.checkpoint import corner_of


def find_casts(
    copied: Mapping[str, list[Tensor | None]],
    found: Mapping[str, Slot],
    shards: Mapping[str, Shard] = MappingProxyType({}),
) -> Iterator[Finding]:
    """Yield a finding for each parameter that doesn't hold what the checkpoint has.

    Args:
        copied: the checkpoint's values, which have been copied.
        found: where they are now.
        shards: what this process holds of parameters that are split: of these it sees its part.
    """
    for name, sources in copied.items():
        slot = found[name]
        for tensor, source in zip(slot.tensors, sources, strict=True):
            if source is not None and source.dtype != tensor.dtype:
                if source.is_meta:  # read from a folder in parts: torch has cast them
                    pairs = None
                elif name in shards:
                    pairs = list(pieces_of(shards[name], source))
                else:
                    one = tensor[0] if tensor.dim() != source.dim() else corner_of(tensor, source)
                    pairs = [(one, source)]  # of stacked copies of one matrix, the first
                yield from _find_cast(name, tensor, source, slot.buffer, pairs)


def _find_cast(
    name: str,
    tensor: Tensor,
    source: Tensor,
    buffer: bool,
    pairs: list[tuple[Tensor, Tensor]] | None,
) -> Iterator[Finding]:
    names = f"{source.dtype} in the checkpoint and {tensor.dtype} here"
    if tensor.is_floating_point() and not source.is_floating_point():
        if not buffer:
            cause = f"its values are {names}, as those of a quantized weight or a mask are"
            fix = "multiply codes by their scale; pass value.to(torch.float32) if they are weights"
            yield Finding("GI137", "warning", name, cause, fix)
        return
    if pairs is None:
        return
    if not tensor.is_floating_point():
        if not all(torch.equal(to.to(of.dtype), of.to(to.device)) for to, of in pairs):
            fix = "round the values yourself, or take them out of the checkpoint"
            yield Finding("GI137", "warning", name, f"its values are {names}: rounded", fix)
        return
    if torch.finfo(tensor.dtype).tiny > torch.finfo(source.dtype).tiny:
        lost = what_a_cast_lost(*_count_lost(pairs))
        if lost is not None:
            severity, what = lost
            fix = f"keep the parameter in {source.dtype}, or scale the values"
            yield Finding("GI137", severity, name, f"its values are {names}: {what}", fix)


def _count_lost(pairs: list[tuple[Tensor, Tensor]]) -> tuple[int, float]:
    """Return how many finite values became infinite, and the share of those not 0 that became 0."""
    infinite = held = zeros = 0
    for tensor, source in pairs:
        here = tensor if tensor.dtype.itemsize > 1 else tensor.float()  # float8 has few operations
        there = (source if source.dtype.itemsize > 1 else source.float()).to(here.device)
        infinite += int((~here.isfinite() & there.isfinite()).sum())
        held += int((there != 0).sum())
        zeros += int(((here == 0) & (there != 0)).sum())
    return infinite, zeros / held if held else 0.0
