"""Outliers: a few values far outside the normal law that all others follow.

For example the +-2 of timm's ``trunc_normal_``, or flipped bits.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from goodinit.explanation.reading import Part
from goodinit.explanation.statistics import Sample, p_value, pieces
from goodinit.findings.broken import FAR_IN_STDS, are_outliers, has_enough_values
from goodinit.streams import Law

QUARTILES = 1.349  # distance of a normal law's quartiles, in standard deviations


def without_outliers(part: Part, level: float) -> Sample | None:
    """Return the sample without values more than ``FAR_IN_STDS`` standard deviations out.

    The standard deviation is estimated from the quartiles. Returns None if there are no such
    values or too many, or if the rest isn't normal: a heavy tail has no outliers.
    """
    sample = part.sample
    values = sample.values
    n = len(values)
    if not has_enough_values(n) or not sample.finite:
        return None
    middle = values[n // 2].item()
    spread = (values[3 * n // 4] - values[n // 4]).item() / QUARTILES
    low, high = middle - FAR_IN_STDS * spread, middle + FAR_IN_STDS * spread
    if spread <= 0 or (sample.low >= low and sample.high <= high):
        return None
    count, least, most, nearest = _scan(part, low, middle, high)
    inside = values[(values >= low) & (values <= high)]
    far = max(most - middle, middle - least)
    if not are_outliers(1 - count / sample.size, nearest, far):
        return None
    core = replace(
        sample,
        size=count,
        low=least,
        high=most,
        n=len(inside),
        mean=inside.mean().item(),
        second=inside.square().mean().item(),
        values=inside,
        row_spreads=(),  # these include the outliers
    )
    return core if p_value(core, Law.normal(core.mean, core.std), level) >= level else None


def outlier_counts(part: Part, core: Sample) -> dict[float, int]:
    """Return the minimum and maximum outside ``core``, and how often each occurs."""
    ends = {part.sample.low, part.sample.high} - {core.low, core.high}
    return {
        end: sum(int((piece == end).sum()) for piece in pieces(part.values)) for end in sorted(ends)
    }


@torch.no_grad()
def _scan(part: Part, low: float, middle: float, high: float) -> tuple[int, float, float, float]:
    """Return count, minimum and maximum of the values inside, and how near the others come."""
    count, least, most, nearest = 0, math.inf, -math.inf, math.inf
    for piece in pieces(part.values):
        values = piece[(piece >= low) & (piece <= high)]
        if values.numel():
            count += values.numel()
            least, most = min(least, values.min().item()), max(most, values.max().item())
        outside = piece[(piece < low) | (piece > high)]
        if outside.numel():
            nearest = min(nearest, (outside - middle).abs().min().item())
    return count, least, most, nearest
