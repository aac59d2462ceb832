"""Second moments of computed numbers: of rows, of differences of rows, of gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from goodinit.dataflow.replay import Computed
from goodinit.dataflow.signs import Signs

# Relative error of float32 sums, with a margin: what is smaller counts as equal.
EQUAL = 1e-3

# Outputs that differ (at the start of a causal sum there are fewer terms) are asked all at once,
# with random signs, where there are enough parameters for an error of 2 %.
MANY, SIGNS = 256, 16

# How many outputs are asked for their gradients; fewer where each takes many numbers.
OUTPUTS = (2, 24)
ELEMENTS_ASKED = 2**25


def second_moment(
    computed: Computed,
    values: Mapping[int, Tensor | Signs],
    drawn: Iterable[int],
    random: torch.Generator,
) -> list[float]:
    """Return |dy/dp|^2 of some outputs y, summed over the parameters p that are drawn.

    Where each element of p meets one input of size 1, this is the number of those: an integer.
    """
    leaves = {n: _leaf(values[n]) for n in drawn}
    try:
        row = computed({**values, **leaves})
        if not row.requires_grad:
            return []
        found: list[float] = []
        low, high = OUTPUTS
        most = max(low, min(high, ELEMENTS_ASKED // computed.elements))
        chosen = torch.randperm(row.numel(), generator=random, device="cpu")[:most]
        found += (_of_gradients(row[index], leaves.values()) for index in chosen)
        if are_unlike(found) and sum(leaf.numel() for leaf in leaves.values()) >= MANY:
            return _by_signs(row, list(leaves.values()), random)
        return found
    except RuntimeError:  # an operator without a backward
        return []


def _leaf(value: Tensor | Signs) -> Tensor:
    tensor = value.tensor() if isinstance(value, Signs) else value.detach().clone()
    return tensor.requires_grad_()


def are_unlike(found: Sequence[float]) -> bool:
    """Whether numbers differ by more than the error of their sums."""
    return max(found) - min(found) > EQUAL * max(found)


def _by_signs(row: Tensor, leaves: list[Tensor], random: torch.Generator) -> list[float]:
    """Return the mean over all outputs, several times: the gradients of sums with random signs."""
    found: list[float] = []
    for _ in range(SIGNS):
        signs = torch.randint(0, 2, row.shape, generator=random, device="cpu").mul_(2).sub_(1)
        whole = _of_gradients(row, leaves, signs.to(row.dtype))
        found.append(whole / row.numel())
    return found


def _of_gradients(output: Tensor, leaves: Iterable[Tensor], grad: Tensor | None = None) -> float:
    """Return the sum of the squares of all gradients, of which none is kept."""
    gradients = torch.autograd.grad(
        output, list(leaves), grad, retain_graph=True, materialize_grads=True, allow_unused=True
    )
    return sum(map(square, gradients))


def distance(a: Tensor, b: Tensor, times: float) -> float:
    """Return |a - times b|^2."""
    pairs = zip(_parts(a), _parts(b), strict=True)
    return sum(_norm(torch.sub(x, y, alpha=times)) ** 2 for x, y in pairs)


# Sums are in float64, by parts: a copy of a whole row would take its memory again.
PART = 2**18


def square(row: Tensor, *terms: tuple[float, Tensor | None]) -> float:
    """Return |row + a sum of multiples of others|^2; None stands for zeros."""
    total = 0.0
    others = [(factor, term) for factor, term in terms if term is not None]
    for parts in zip(_parts(row), *(_parts(term) for _, term in others), strict=True):
        part = parts[0]
        for (factor, _), other in zip(others, parts[1:], strict=True):
            part = part.add(other, alpha=factor)
        total += _norm(part) ** 2
    return total


def _norm(part: Tensor) -> float:
    """Return the length of a vector, summed in float64 without a copy."""
    real = torch.view_as_real(part) if part.is_complex() else part
    return float(cast("Tensor", torch.linalg.vector_norm(real, dtype=torch.float64)))


def difference_in_size(a: Tensor, b: Tensor, zero: Tensor | None, times: float) -> float:
    """Return |(|a - zero| - |b - zero| / times)|^2."""
    zeros = _parts(a.new_zeros(1).expand_as(a) if zero is None else zero)
    parts = zip(_parts(a), _parts(b), zeros, strict=True)
    return sum(
        _norm((x - z).abs_().sub_((y - z).abs_(), alpha=1 / times)) ** 2 for x, y, z in parts
    )


def _parts(row: Tensor) -> Iterator[Tensor]:
    flat = row.reshape(-1)
    return (flat[start : start + PART] for start in range(0, flat.numel(), PART))
