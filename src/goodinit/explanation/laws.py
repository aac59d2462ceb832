"""Whether a block's values are consistent with a scheme."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from goodinit.errors import GoodinitError
from goodinit.explanation.reading import Part
from goodinit.explanation.statistics import log_density, p_value, read_sample
from goodinit.schemes import (
    DeltaOrthogonal,
    Dirac,
    Drawn,
    Function,
    Identity,
    Layout,
    LogRange,
    Orthogonal,
    Ramp,
    Scheme,
)
from goodinit.schemes.mimetic import Mimetic
from goodinit.schemes.scheme import FromValues
from goodinit.schemes.state_space import Transformed
from goodinit.streams import Law

EXACT = 20.0
"""Log-density per value of an exact match (orthogonal, identity, a constant).

Larger than that of any law with a std above 1e-9, so that an exact match wins.
"""

VECTORS = 24  # rows of a matrix whose pairwise products are computed: 276 pairs leave no doubt
MATRICES = 4  # of a stack, whose rows are checked for orthogonality
MOST_COMPARED = 2**22  # values: a larger matrix isn't compared element by element, to save memory
ROUNDING = 1e-4  # orthogonality error that is allowed in any dtype; float32 itself reaches 1e-6
HALF = 1e-3  # a slack beyond it means float16 or bfloat16
GRID = 4097  # points at which a smooth function is inverted: an error of 1e-7
FLOAT32 = 2.0**-23  # values are computed there, whatever dtype holds them
ERRORS = 5.0  # standard errors that the mean square of a sample may be off


@dataclass(frozen=True, slots=True)
class Fit:
    """How a scheme fits a block.

    Attributes:
        says: whether the scheme predicts anything: Keep allows any values.
        holds: whether the values are consistent with it.
        score: log-likelihood of the values read.
    """

    says: bool
    holds: bool = False
    score: float = 0.0


def fit(part: Part, scheme: Scheme, level: float) -> Fit:
    """Return how a resolved scheme fits; a true one is rejected with probability ``level``."""
    match scheme:
        case Mimetic():
            holds = _is_mimetic(part, scheme)
        case FromValues():
            return Fit(says=False)
        case Orthogonal() | DeltaOrthogonal():
            holds = _is_orthogonal(part, scheme)
        case Identity() | Dirac() | Function() | LogRange() | Ramp():
            holds = _is_computed(part, scheme)
        case Transformed():
            return _by_transform(part, scheme, level)
        case _:
            return _by_law(part, scheme, level)
    return Fit(True, holds, EXACT * part.sample.n if holds else 0.0)


def law_of(part: Part, scheme: Scheme) -> Law | float | None:
    """Return the law that a scheme draws from here, or its constant; None if it has neither."""
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
        rounded = torch.tensor(law, dtype=torch.float32, device="cpu").to(part.values.dtype).item()
        holds = sample.constant and sample.low == rounded
        return Fit(True, holds, EXACT * sample.n if holds else 0.0)
    if sample.constant and sample.size > 1:
        return Fit(says=True)
    if law not in part.p:
        part.p[law] = p_value(sample, law, level)
    # Independent values are never exactly orthogonal.
    holds = part.p[law] >= level and orthogonal_gain(part) is None
    return Fit(True, holds, sample.n * log_density(sample, law) if holds else 0.0)


def _by_transform(part: Part, scheme: Transformed, level: float) -> Fit:
    """Test the numbers that the values were made from against U(0, 1)."""
    grid = torch.linspace(0, 1, GRID, dtype=torch.float64, device="cpu")
    ends = scheme.transform(grid)
    values, sample = part.sample.values, part.sample
    slack = 4 * max(sample.eps, FLOAT32) * ends.abs().max()
    if not sample.finite or sample.low < ends[0] - slack or sample.high > ends[-1] + slack:
        return Fit(says=True)
    above = torch.searchsorted(ends, values).clamp(1, GRID - 1)
    slope = (ends[above] - ends[above - 1]).clamp(min=slack.item()) * (GRID - 1)
    chance = grid[above - 1] + (values - ends[above - 1]) / slope
    p = p_value(read_sample(chance.clamp(0, 1)), Law.uniform(0, 1), level)
    score = -sample.n * slope.log().mean().item()
    return Fit(True, p >= level, score if p >= level else 0.0)


# Matrices.


def orthogonal_gain(part: Part) -> float | None:
    """Return g if the rows (or columns, if fewer) are orthogonal and of length g, else None."""
    if not part.orthogonal:
        part.orthogonal = (_orthogonal_gain(part),)
    return part.orthogonal[0]


def _orthogonal_gain(part: Part) -> float | None:
    vectors = _vectors(part) if part.sample.finite and not part.sample.zeros else None
    if vectors is None or vectors.shape[-2] < _fewest(part):
        return None
    gain = math.sqrt(vectors[0, 0].square().sum().item())
    distance = _distance_from_orthogonal(vectors, gain)
    return gain if gain > 0 and distance <= _slack(part) else None


def _is_orthogonal(part: Part, scheme: Orthogonal | DeltaOrthogonal) -> bool:
    try:
        std = scheme.moments(part.site)[1]
    except GoodinitError:
        return False
    sample = part.sample
    if not sample.finite or std == 0 or (sample.zeros and isinstance(scheme, Orthogonal)):
        return False  # the identity isn't random
    # The mean square of the whole is exact; that of a sample varies at most as if independent.
    slack = _slack(part) + (ERRORS * math.sqrt(2 / sample.n) if sample.n < sample.size else 0.0)
    if abs(sample.second / std**2 - 1) > slack:
        return False  # spares the products below
    vectors = _vectors(part, center=isinstance(scheme, DeltaOrthogonal))
    if vectors is None:
        return False
    if isinstance(scheme, Orthogonal) and vectors.shape[-2] >= _fewest(part):
        known = orthogonal_gain(part)  # once for all recipes
        return known is not None and abs(known / scheme.gain - 1) <= _slack(part)
    return _distance_from_orthogonal(vectors, scheme.gain) <= _slack(part)


def _is_mimetic(part: Part, scheme: Mimetic) -> bool:
    """Whether the rows of the first head are orthogonal, with several lengths that fall."""
    layout = part.site.layout
    if layout is None or part.values.dim() != 2 or not part.sample.finite:
        return False
    matrix = part.values.mT if layout.outputs == (1,) else part.values  # [out, in]
    rows = matrix.mT if scheme.role == "out" else matrix
    rows = rows[: min(scheme.head_dim, VECTORS)].detach().double().cpu()
    lengths = rows.square().sum(1).sqrt()
    if not bool((lengths > 0).all()) or not bool((lengths.diff() < 0).all()):
        return False
    return _distance_from_orthogonal((rows / lengths[:, None])[None], 1.0) <= _slack(part)


def _fewest(part: Part) -> int:
    """Return how many orthogonal rows can't be chance; in half precision two may look so."""
    return 2 if _slack(part) < HALF else 4


def _slack(part: Part) -> float:
    return ROUNDING + 4 * part.sample.eps


def _distance_from_orthogonal(vectors: Tensor, gain: float) -> float:
    gram = vectors @ vectors.mT / (gain**2 or 1.0)
    return (
        (gram - torch.eye(vectors.shape[-2], dtype=gram.dtype, device=gram.device))
        .abs()
        .max()
        .item()
    )


def _vectors(part: Part, center: bool = False) -> Tensor | None:
    """Return rows (columns, if fewer) of the first matrices, as [matrix, row, element].

    With ``center`` those of a kernel's center tap, if all other taps are 0.
    """
    layout = part.site.layout
    if layout is None or not layout.outputs or not layout.inputs:
        return None
    if layout.groups > 1 and center:
        return None
    try:
        view = layout.unfold(part.values.detach())
    except RuntimeError:
        return None
    batch = len(layout.batch) + 1
    rows = math.prod(view.shape[batch : batch + len(layout.outputs)])
    matrices = view.reshape(-1, *view.shape[batch:])[:MATRICES]
    if center:
        taps = math.prod(view.shape[batch + len(layout.outputs) + len(layout.inputs) :])
        by_tap = matrices.reshape(len(matrices), rows, -1, taps).double().cpu()
        middle = _center_tap(part, layout)
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


def _center_tap(part: Part, layout: Layout) -> int:
    center = 0
    for axis in layout.window:
        center = center * part.values.shape[axis] + part.values.shape[axis] // 2
    return center


def _is_computed(part: Part, scheme: Identity | Dirac | Function | LogRange | Ramp) -> bool:
    values = part.values
    if values.numel() > MOST_COMPARED:
        return False
    wanted = torch.zeros(values.shape, device="cpu")
    try:
        if not isinstance(scheme, Function | LogRange | Ramp):
            scheme.check(part.site)
        scheme.fill_(wanted, _no_draw, part.site)
    except GoodinitError:
        return False
    if not isinstance(scheme, Function | LogRange | Ramp):
        return torch.equal(values.float().cpu(), wanted.to(values.dtype).float())
    slack = 4 * part.sample.eps
    return torch.allclose(values.float().cpu(), wanted, rtol=slack, atol=slack)


def _no_draw(out: Tensor, law: Law, purpose: str = "") -> None:
    raise AssertionError(f"nothing is drawn for {tuple(out.shape)}: {law} {purpose}")
