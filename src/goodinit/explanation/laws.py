"""Whether a block's values are what a scheme draws there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from goodinit.errors import GoodinitError
from goodinit.explanation.reading import Part
from goodinit.explanation.statistics import likelihood, p_value
from goodinit.schemes import (
    AddNoise,
    DeltaOrthogonal,
    Dirac,
    Drawn,
    Function,
    Identity,
    Keep,
    Layout,
    Orthogonal,
    Scheme,
)
from goodinit.streams import Law

__all__ = ["Fit", "fit", "law_of", "orthogonal_gain"]

SURE = 20.0
"""Log-density, a value, of what holds exactly: more than any law that only allows for it."""

VECTORS = 24  # how many rows of a matrix are held against one another
WHOLE = 2**22  # a matrix that is compared value by value has at most so many


@dataclass(frozen=True, slots=True)
class Fit:
    """How a scheme fits a block.

    Attributes:
        says: whether it says anything of it; what is kept may be anything.
        holds: whether the values are consistent with it.
        score: log-likelihood, of all values read.
    """

    says: bool
    holds: bool = False
    score: float = 0.0


def fit(part: Part, scheme: Scheme, level: float) -> Fit:
    """Return whether a block's values are consistent with a scheme.

    Args:
        part: what was read.
        scheme: with numbers, as a plan has it.
        level: probability with which each block may be rejected wrongly.
    """
    match scheme:
        case Keep() | AddNoise():
            return Fit(says=False)
        case Orthogonal() | DeltaOrthogonal():
            holds = _is_orthogonal(part, scheme)
        case Identity() | Dirac():
            holds = _is_ones(part, scheme)
        case Function():
            holds = _is_computed(part, scheme)
        case _:
            return _by_law(part, scheme, level)
    return Fit(True, holds, SURE * part.sample.n if holds else 0.0)


def law_of(part: Part, scheme: Scheme) -> Law | float | None:
    """Return the law that a scheme draws from here, or the one number; None where neither is."""
    try:
        mean, std = scheme.moments(part.site)
        if std == 0:
            return mean
        return scheme.law(part.site) if isinstance(scheme, Drawn) else None
    except GoodinitError:
        return None


def _by_law(part: Part, scheme: Scheme, level: float) -> Fit:
    law = law_of(part, scheme)
    sample = part.sample
    if law is None:
        return Fit(says=not isinstance(scheme, Drawn))
    if not isinstance(law, Law):
        holds = sample.constant and sample.low == _rounded(law, part.values.dtype)
        return Fit(True, holds, SURE * sample.n if holds else 0.0)
    if sample.constant and sample.size > 1:
        return Fit(says=True)
    if law not in part.p:
        part.p[law] = p_value(sample, law, level)
    # Rows that are exactly orthogonal were drawn by no law of independent numbers.
    holds = part.p[law] >= level and orthogonal_gain(part) is None
    return Fit(True, holds, sample.n * likelihood(sample, law) if holds else 0.0)


def _rounded(value: float, dtype: torch.dtype) -> float:
    return torch.tensor(value, dtype=torch.float32).to(dtype).item()


# Matrices.


def orthogonal_gain(part: Part) -> float | None:
    """Return g where the rows or columns, whichever are fewer, are orthogonal and of length g."""
    if not part.orthogonal:
        part.orthogonal = (_orthogonal_gain(part),)
    return part.orthogonal[0]


def _orthogonal_gain(part: Part) -> float | None:
    vectors = _vectors(part) if part.sample.finite and not part.sample.zeros else None
    few = 2 if _slack(part) < 1e-3 else 4  # of a half dtype a pair may be so by chance
    if vectors is None or vectors.shape[-2] < few:
        return None
    gain = math.sqrt(vectors[0, 0].square().sum().item())
    away = _away_from_orthogonal(vectors, gain)
    return gain if gain > 0 and away <= _slack(part) else None


def _is_orthogonal(part: Part, scheme: Orthogonal | DeltaOrthogonal) -> bool:
    try:
        std = scheme.moments(part.site)[1]
    except GoodinitError:
        return False
    sample = part.sample
    if not sample.finite or std == 0 or (sample.zeros and isinstance(scheme, Orthogonal)):
        return False  # the identity isn't random
    # Its mean square is exact; of a part, not more spread than that of independent numbers.
    slack = _slack(part) + (5 * math.sqrt(2 / sample.n) if sample.n < sample.size else 0.0)
    if abs(sample.second / std**2 - 1) > slack:
        return False  # dear to look closer, and not needed
    vectors = _vectors(part, centre=isinstance(scheme, DeltaOrthogonal))
    return vectors is not None and _away_from_orthogonal(vectors, scheme.gain) <= _slack(part)


def _slack(part: Part) -> float:
    return 1e-4 + 4 * part.sample.eps


def _away_from_orthogonal(vectors: Tensor, gain: float) -> float:
    gram = vectors @ vectors.mT / (gain**2 or 1.0)
    return (gram - torch.eye(vectors.shape[-2], dtype=gram.dtype)).abs().max().item()


def _vectors(part: Part, centre: bool = False) -> Tensor | None:
    """Return some of the shorter side's vectors of the first few matrices, [count, some, long].

    With ``centre`` those of the tap in the middle, if all other taps are 0.
    """
    layout = part.site.layout
    if layout is None or layout.lookup or not layout.outputs or not layout.inputs:
        return None
    if layout.groups > 1 and centre:
        return None
    try:
        view = layout.unfold(part.values.detach())
    except RuntimeError:
        return None
    batch = len(layout.batch) + 1
    rows = math.prod(view.shape[batch : batch + len(layout.outputs)])
    matrices = view.reshape(-1, *view.shape[batch:])[:4]
    if centre:
        taps = math.prod(view.shape[batch + len(layout.outputs) + len(layout.inputs) :])
        by_tap = matrices.reshape(len(matrices), rows, -1, taps).double().cpu()
        middle = _centre(part, layout)
        if by_tap.abs().sum((0, 1, 2)).count_nonzero() != (by_tap[..., middle] != 0).any():
            return None
        matrices = by_tap[..., middle]
    matrices = matrices.reshape(len(matrices), rows, -1)
    if not matrices.numel():
        return None
    if matrices.shape[-2] > matrices.shape[-1]:
        matrices = matrices.mT
    step = max(matrices.shape[-2] // VECTORS, 1)
    return matrices[:, ::step][:, :VECTORS].double().cpu()


def _centre(part: Part, layout: Layout) -> int:
    centre = 0
    for axis in layout.window:
        centre = centre * part.values.shape[axis] + part.values.shape[axis] // 2
    return centre


def _is_ones(part: Part, scheme: Identity | Dirac) -> bool:
    values = part.values
    if values.numel() > WHOLE:
        return False
    try:
        scheme.check(part.site)
        wanted = torch.zeros(values.shape)
        scheme.fill_(wanted, _no_draw, part.site)
    except GoodinitError:
        return False
    return torch.equal(values.float().cpu(), wanted.to(values.dtype).float())


def _is_computed(part: Part, scheme: Function) -> bool:
    values = part.values
    if values.numel() > WHOLE:
        return False
    wanted = torch.empty(values.shape)
    try:
        scheme.fill_(wanted, _no_draw, part.site)
    except GoodinitError:
        return False
    slack = 4 * part.sample.eps
    return torch.allclose(values.float().cpu(), wanted, rtol=slack, atol=slack)


def _no_draw(out: Tensor, law: Law, purpose: str = "") -> None:
    raise AssertionError(f"nothing is drawn for {tuple(out.shape)}: {law} {purpose}")
