"""Random orthogonal matrices."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, cast

import torch
from torch import Tensor

from goodinit._common.threads import one_thread, use_one_thread

COLUMNS = 512
"""Columns of a matrix that one thread computes. A change of it may change the last bits."""

PANEL = 128
"""Reflections that are applied together. A change of it changes the last bits."""


def haar(gauss: Tensor) -> Tensor:
    """Return Haar-distributed orthogonal matrices from Gaussian ones, [count, rows, columns].

    Rows or columns are orthonormal, whichever are fewer. Stewart's method (1980): column k of the
    Gaussian matrix, from its diagonal down, is the vector of the reflection H_k that a QR
    decomposition would find, because the columns right of it are independent and stay Gaussian.
    So Q = H_1 ... H_n D needs no decomposition. D has the signs that make R's diagonal positive;
    without it Q is not Haar-distributed (Mezzadri, 2007).

    On a CPU blocks of columns are computed in parallel, with one thread each, so that the bits
    don't depend on the number of threads. ``gauss`` is overwritten.
    """
    if gauss.dim() == 2:
        return haar(gauss.unsqueeze(0)).squeeze(0)
    if gauss.shape[-2] < gauss.shape[-1]:
        return haar(gauss.mT).mT
    if gauss.device.type != "cpu":
        vectors, factors, signs = _reflections_(gauss)
        return _product(vectors, factors).mul_(signs)
    threads = torch.get_num_threads()
    with one_thread():
        vectors, factors, signs = _reflections_(gauss)
        out = torch.empty_like(vectors)
        large = vectors.shape[-1] > COLUMNS
        each = zip(vectors, factors, strict=True) if large else ()
        panels = [list(_panels(v, of)) for v, of in each]

        @torch.no_grad()  # is a thread's, not the process's
        def work(task: tuple[slice, int, int]) -> None:
            some, start, stop = task
            part = out[some, :, start:stop]
            if large:
                only: int = some.start
                _columns_(part[0], panels[only], start)
            else:
                part.copy_(_product(vectors[some], factors[some]))
            part.mul_(signs[some, :, start:stop])

        tasks = list(_tasks(out.shape, threads))
        if threads == 1 or len(tasks) == 1:
            for task in tasks:
                work(task)
        else:
            with ThreadPoolExecutor(threads, initializer=use_one_thread) as pool:
                list(pool.map(work, tasks))
    return out


def haar_box_(out: Tensor, gauss: Tensor, rows: slice, columns: slice, gain: float) -> None:
    """Write some rows and columns of the matrix ``gain * haar(gauss)``; only these are kept.

    The bits are those of ``haar``; a few columns are computed at a time. ``gauss`` is overwritten.
    """
    if gauss.shape[0] < gauss.shape[1]:
        haar_box_(out.mT, gauss.mT, columns, rows, gain)
        return
    if gauss.device.type != "cpu" or gauss.shape[1] <= COLUMNS:
        out.copy_(haar(gauss).mul_(gain)[rows, columns])
        return
    with one_thread():
        vectors, factors, signs = _reflections_(gauss)
        panels = list(_panels(vectors, factors))
        block = torch.empty_like(vectors[:, :COLUMNS])  # its strides, too
        for start in range(0, vectors.shape[1], COLUMNS):
            stop = min(start + COLUMNS, vectors.shape[1])
            first, last = max(start, columns.start), min(stop, columns.stop)
            if first < last:
                some = block[:, : stop - start]
                _columns_(some, panels, start)
                some.mul_(signs[:, start:stop]).mul_(gain)
                here = out[:, first - columns.start : last - columns.start]
                here.copy_(some[rows, first - start : last - start])


def _tasks(shape: torch.Size, threads: int) -> Iterator[tuple[slice, int, int]]:
    """Yield (matrices, first column, last column + 1), the slowest first."""
    count, _, columns = shape
    starts = range(0, columns, COLUMNS)[::-1]
    # A task takes many small matrices; how many doesn't change the bits.
    step = 1 if len(starts) > 1 else -(-count // threads)
    for start in starts:
        for one in range(0, count, step):
            yield slice(one, one + step), start, min(start + COLUMNS, columns)


def _product(vectors: Tensor, factors: Tensor) -> Tensor:
    return cast("Tensor", torch.linalg.householder_product(vectors, factors))  # pyright: ignore[reportUnknownMemberType]


class _Panel(NamedTuple):
    """Consecutive reflections as one: H_first ... H_last-1 = I - V T V^T (Schreiber, Van Loan).

    Attributes:
        first: index of the first.
        vectors: V, from row ``first`` down.
        inverse: of T, upper triangular: V^T V above the diagonal, 1 / factor on it.
    """

    first: int
    vectors: Tensor
    inverse: Tensor


def _panels(vectors: Tensor, factors: Tensor) -> Iterator[_Panel]:
    for first in range(0, vectors.shape[-1], PANEL):
        v = vectors[first:, first : first + PANEL]
        inverse = (v.mT @ v).triu_()
        inverse.diagonal().copy_(1 / factors[first : first + PANEL])
        yield _Panel(first, v, inverse)


def _columns_(out: Tensor, panels: list[_Panel], start: int) -> None:
    """Write some columns of H_1 ... H_n, [rows, columns from ``start`` on], the last H first."""
    out.zero_()
    out[start:].diagonal().fill_(1)
    for first, v, inverse in reversed(panels):
        # Columns left of ``first`` are 0 where these reflections act, and stay 0.
        some = out[first:, max(0, first - start) :]
        if some.shape[1]:
            some.addmm_(v, _solve(inverse, v.mT @ some), alpha=-1)


def _solve(upper: Tensor, right: Tensor) -> Tensor:
    return cast("Tensor", torch.linalg.solve_triangular(upper, right, upper=True))  # pyright: ignore[reportUnknownMemberType]


def _reflections_(gauss: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the vectors, with ones on the diagonal, their factors, and the signs [.., 1, n]."""
    vectors = gauss
    for start in range(0, gauss.shape[-1], COLUMNS):  # torch copies what doesn't lie row by row
        gauss[..., start : start + COLUMNS].tril_(-start)
    diagonal = vectors.diagonal(dim1=-2, dim2=-1)
    first = diagonal.clone()
    # R's diagonal, with the sign that loses no digits.
    norms = cast("Tensor", torch.linalg.vector_norm(vectors, dim=-2)).copysign_(-first)
    vectors.div_((first - norms).unsqueeze(-2))
    diagonal.fill_(1)
    return vectors, (norms - first) / norms, norms.sign().unsqueeze(-2)
