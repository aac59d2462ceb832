"""A few values far out of a law that all others follow: timm's +-2, bits that flipped."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch

from goodinit.explanation.reading import Part
from goodinit.explanation.statistics import CHUNK, Sample

__all__ = ["beyond", "trimmed"]

FAR = 8.0  # standard deviations; of 1e12 normal numbers none lies beyond
FEW = 0.01


def trimmed(part: Part) -> Sample | None:
    """Return the sample without what lies further than eight standard deviations out.

    The standard deviation is that of the middle half. None where nothing or too much lies there.
    """
    sample = part.sample
    values = sample.values
    n = len(values)
    if n < 100 or not sample.finite:
        return None
    middle = values[n // 2].item()
    spread = (values[3 * n // 4] - values[n // 4]).item() / 1.349
    low, high = middle - FAR * spread, middle + FAR * spread
    if spread <= 0 or (sample.low >= low and sample.high <= high):
        return None
    count, least, most = _inside(part, low, high)
    inside = values[(values >= low) & (values <= high)]
    if sample.size - count > FEW * sample.size:
        return None
    return replace(
        sample,
        size=count,
        low=least,
        high=most,
        n=len(inside),
        mean=inside.mean().item(),
        second=inside.square().mean().item(),
        values=inside,
    )


def beyond(part: Part, core: Sample) -> dict[float, int]:
    """Return the values outside of a trimmed sample, with how often each of the ends occurs."""
    ends = {part.sample.low, part.sample.high} - {core.low, core.high}
    return {end: sum(int((piece == end).sum()) for piece in _chunks(part)) for end in sorted(ends)}


@torch.no_grad()
def _inside(part: Part, low: float, high: float) -> tuple[int, float, float]:
    count, least, most = 0, math.inf, -math.inf
    for piece in _chunks(part):
        values = piece[(piece >= low) & (piece <= high)]
        if values.numel():
            count += values.numel()
            least, most = min(least, values.min().item()), max(most, values.max().item())
    return count, least, most


def _chunks(part: Part) -> list[torch.Tensor]:
    values = part.values.float() if part.values.dtype.itemsize == 1 else part.values
    if not values.dim():
        return [values]
    size = max(CHUNK * len(values) // values.numel(), 1)
    return list(cast("tuple[torch.Tensor, ...]", values.split(size)))
