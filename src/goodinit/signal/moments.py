"""Moments of one tensor: how large its values are, and how alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from goodinit.streams import Law, Stream

POSITIONS = 128  # of a sample that are compared, if there are over 4 times as many
# Squares of float32 numbers in norms beyond these may overflow, or underflow: 1e38, 1e-38.
LEAST_NORM, LARGEST_NORM = 1e-15, 1e15
GOLDEN = (math.sqrt(5) - 1) / 2
EXACT = 1024  # the smaller side up to which the Gram matrix is computed: 4 MB
PROBES = 64  # of a sketch: a standard error of 18 % at most
MASK = -1e30  # attention masks write smaller numbers: float32's minimum, or -inf


class Axes(NamedTuple):
    """Which axis of a tensor is which; None where it has none.

    Attributes:
        samples: the axis along which the batch lies.
        features: the axis of channels. All others are positions.
    """

    samples: int | None
    features: int | None


@dataclass(frozen=True, slots=True)
class Moments:
    """The moments of a signal at one call.

    Attributes:
        mean: mean of all values.
        second: mean of their squares.
        across_samples: mean cosine of two samples; None for one sample, or if they are merged.
        across_positions: mean cosine of two positions of a sample; None without positions. Of
            more than 512 positions, 128 are compared, spread evenly.
        error: standard error of log(second) due to the finite batch; None for one sample.
        bad: how many values are NaN or infinite.
        idle: share of units that are dead (relu and its like) or of values that are saturated
            (tanh, sigmoid), or of rows that are one-hot (softmax, attention); None for other
            functions.
        rank: effective rank, (sum of lambda)^2 / sum of lambda^2 over the eigenvalues of the
            features' second moments, over samples and positions; None unless asked for.
    """

    mean: float
    second: float
    across_samples: float | None = None
    across_positions: float | None = None
    error: float | None = None
    bad: int = 0
    idle: float | None = None
    rank: float | None = None


def moments_of(
    x: Tensor,
    axes: Axes,
    batch: int,
    idle: float | None = None,
    *,
    masks: bool = False,
    rank: bool = False,
) -> Moments:
    """Return the moments of a tensor.

    Args:
        x: floating or complex, not empty.
        axes: of ``x``; the axis of samples may hold several rows of each, one sample's together.
        batch: number of samples.
        idle: copied into the result.
        masks: whether values below -1e30, and -inf, belong to an attention mask and count as 0.
        rank: whether to compute the effective rank.

    Example:
        >>> x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
        >>> found = moments_of(x, Axes(0, 1), batch=3)
        >>> round(found.mean, 4), round(found.second, 4), round(found.across_samples, 4)
        (0.6667, 1.0, 0.3333)
    """
    # A caller's autocast would compute the products of the cosines in half precision.
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return _moments(x, axes, batch, idle, masks, rank)


def _moments(
    x: Tensor, axes: Axes, batch: int, idle: float | None, masks: bool, rank: bool
) -> Moments:
    x = torch.view_as_real(x.detach()).flatten(-2) if x.is_complex() else x.detach()
    if x.dtype not in (torch.float32, torch.float64):
        x = x.float()
    rows, features_last = _arranged(x, axes, batch)
    flat = rows.reshape(len(rows), -1)
    norms = cast("Tensor", torch.linalg.vector_norm(flat, dim=1))
    if not (largest := norms.amax().item()) < LARGEST_NORM:
        if masks and bool((hidden := x < MASK).any()):
            return _moments(x.masked_fill(hidden, 0), axes, batch, idle, False, rank)
        bad = int(x.numel() - x.isfinite().sum().item())
        if bad:
            return Moments(math.nan, math.nan, bad=bad, idle=idle)
    if x.dtype == torch.float32 and (largest > LARGEST_NORM or 0 < largest < LEAST_NORM):
        return _moments(x.double(), axes, batch, idle, False, rank)
    vectors = rows if features_last else rows.mT
    each = norms.double().square() / flat.shape[1]
    second = each.mean().item()
    alone = axes.samples is None or batch < 2
    error = None if alone or not second else each.std().item() / second / math.sqrt(batch)
    return Moments(
        mean=x.mean().item(),
        second=second,
        across_samples=None if alone else _cosine(flat[None], norms[None]),
        across_positions=_across_positions(vectors),
        error=error,
        idle=idle,
        rank=effective_rank(vectors.reshape(-1, vectors.shape[2])) if rank else None,
    )


def _arranged(x: Tensor, axes: Axes, batch: int) -> tuple[Tensor, bool]:
    """Return a view [samples, positions, features] or [samples, features, positions], and which.

    Without an axis of features, all numbers belong to one position.
    """
    if axes.samples is None:
        rows, features = x.unsqueeze(0), None if axes.features is None else axes.features + 1
    else:
        rows = x.movedim(axes.samples, 0)
        features = axes.features
        if features is not None and features < axes.samples:
            features += 1
        if len(rows) != batch:
            rows = rows.reshape(batch, -1, *rows.shape[1:])
            features = None if features is None else features + 1
    if features is None or rows.dim() < 2:
        return rows.reshape(len(rows), 1, -1), True
    if features == rows.dim() - 1:
        return rows.reshape(len(rows), -1, rows.shape[-1]), True
    return rows.movedim(features, 1).reshape(len(rows), rows.shape[features], -1), False


def _across_positions(rows: Tensor) -> float | None:
    places, features = rows.shape[1:]
    if places < 2 or features < 2:
        return None
    if places > 4 * POSITIONS:
        # Multiples of the golden ratio keep step with no row of an image, and don't coincide.
        steps = torch.arange(POSITIONS, dtype=torch.float64, device=rows.device) * GOLDEN % 1
        rows = rows[:, (steps * places).long()]
    if rows.stride(2) == 1:
        norms = cast("Tensor", torch.linalg.vector_norm(rows, dim=2))
    else:  # vector_norm is slow across memory
        norms = rows.square().sum(2).sqrt()
    return _cosine(rows, norms)


def _cosine(rows: Tensor, norms: Tensor) -> float | None:
    """Return the mean cosine of two vectors of a group, without those that are 0.

    |sum u|^2 = n + sum of the cosines of all pairs. ``rows`` are [groups, n, size], ``norms``
    [groups, n].
    """
    lengths = torch.where(norms > 0, 1 / norms, 0.0)
    total = torch.bmm(lengths.unsqueeze(1), rows).squeeze(1)
    count = (norms > 0).sum(1).double()
    pairs = count * (count - 1)
    if not pairs.any():
        return None
    sums = cast("Tensor", torch.linalg.vector_norm(total, dim=1)).double().square() - count
    return max(-1.0, min(1.0, (sums.sum() / pairs.sum()).item()))


def effective_rank(x: Tensor) -> float | None:
    """Return (sum of lambda)^2 / sum of lambda^2, the lambdas being eigenvalues of ``x.T @ x``.

    It is 1 if all rows point the same way or the opposite, and n if n directions carry the same;
    of N rows drawn independently it is less than N. The sum of squares is |x.T @ x|^2, exactly
    where a side has up to 1,024; else mean |x.T @ x @ g|^2 over 64 Gaussian vectors g
    (Hutchinson), with a relative standard error of at most sqrt(2/64) = 18 %, reached where the
    rank is 1, and less the larger it is.

    Args:
        x: [rows, features].

    Returns:
        None of a matrix that is 0.

    Example:
        >>> round(effective_rank(torch.eye(5)), 6), effective_rank(torch.ones(7, 3))
        (5.0, 1.0)
    """
    largest = x.abs().amax()
    if not largest or not largest.isfinite():
        return None
    x = (x / largest).float()
    total = x.square().sum(dtype=torch.float64).item()
    if min(x.shape) <= EXACT:
        gram = x.T @ x if x.shape[1] <= x.shape[0] else x @ x.T
        return total**2 / gram.square().sum(dtype=torch.float64).item()
    probes = Stream(0).draw("effective_rank", Law.normal(), (x.shape[1], PROBES)).to(x.device)
    squares = (x.T @ (x @ probes)).square().sum(dtype=torch.float64).item() / PROBES
    return total**2 / squares
