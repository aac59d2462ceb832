"""Random orthogonal matrices."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import torch
from torch import Tensor

from goodinit.threads import one_thread

__all__ = ["haar"]

COLUMNS = 512
"""Columns of a matrix that one thread works out; part of what the bits are."""


def haar(gauss: Tensor) -> Tensor:
    """Return Haar-distributed orthogonal matrices made of Gaussian ones, [count, rows, columns].

    Rows or columns are orthonormal, whichever are fewer. Stewart's method (1980): column k of the
    Gaussian matrix, from its diagonal down, is the vector whose reflection H_k a QR decomposition
    would meet there, for what lies right of it is independent of it and stays Gaussian. So
    Q = H_1 ... H_n D needs no decomposition; D holds the signs that make R's diagonal positive,
    without which Q is not Haar (Mezzadri, 2007).

    On a CPU blocks of columns are worked out side by side, with one thread each, so that the bits
    don't depend on how many threads there are.
    """
    if gauss.dim() == 2:
        return haar(gauss.unsqueeze(0)).squeeze(0)
    if gauss.shape[-2] < gauss.shape[-1]:
        return haar(gauss.mT).mT
    if gauss.device.type != "cpu":
        vectors, factors, signs = _reflections(gauss)
        return _product(vectors, factors) * signs
    threads = torch.get_num_threads()
    with one_thread():
        vectors, factors, signs = _reflections(gauss)
        out = torch.empty_like(vectors)
        tasks = list(_tasks(out.shape, threads))

        @torch.no_grad()  # is a thread's, not the process's
        def work(task: tuple[slice, int, int]) -> None:
            some, start, stop = task
            v, f = vectors[some, :, :stop], factors[some, :stop]
            if start == 0:
                made = _product(v, f)
            else:  # column j of H_1 ... H_n is that of H_1 ... H_j
                unit = torch.zeros_like(out[some, :, start:stop])
                unit[:, start:stop].diagonal(dim1=-2, dim2=-1).fill_(1)
                made = torch.ormqr(v, f, unit)
            torch.mul(made, signs[some, :, start:stop], out=out[some, :, start:stop])

        if threads == 1 or len(tasks) == 1:
            for task in tasks:
                work(task)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, tasks))
    return out


def _tasks(shape: torch.Size, threads: int) -> Iterator[tuple[slice, int, int]]:
    """Yield (matrices, first column, last column + 1), the dearest first."""
    count, _, columns = shape
    starts = range(0, columns, COLUMNS)[::-1]
    # Of small matrices each task takes many: what a task holds isn't part of the bits, columns are.
    step = 1 if len(starts) > 1 else -(-count // threads) or 1
    for start in starts:
        for one in range(0, count, step):
            yield slice(one, one + step), start, min(start + COLUMNS, columns)


def _product(vectors: Tensor, factors: Tensor) -> Tensor:
    return cast("Tensor", torch.linalg.householder_product(vectors, factors))  # pyright: ignore[reportUnknownMemberType]


def _reflections(gauss: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return Householder vectors as LAPACK keeps them, their factors, and the signs [.., 1, n]."""
    vectors = gauss.tril()
    first = vectors.diagonal(dim1=-2, dim2=-1)
    # R's diagonal, of the sign that loses no digits.
    norms = cast("Tensor", torch.linalg.vector_norm(vectors, dim=-2))
    diagonal = norms.copysign(-first)
    factors = (diagonal - first) / diagonal
    vectors = vectors / (first - diagonal).unsqueeze(-2)
    return vectors, factors, diagonal.sign().unsqueeze(-2)
