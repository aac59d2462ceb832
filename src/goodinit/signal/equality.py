"""Which parts of a tensor are equal: units that do the same, an output that never changes."""

from __future__ import annotations

import torch
from torch import Tensor

from goodinit._common.memory import without_repeats

ROUNDINGS = 64  # of a dtype: sums of the same products in another order
LEAST_MOVE = 16  # times that: a smaller change over the samples is rounding itself


@torch.no_grad()
def holds_one_number(x: Tensor) -> bool:
    """Return whether all numbers are the same one.

    >>> holds_one_number(torch.zeros(2, 3)), holds_one_number(torch.eye(2))
    (True, False)
    """
    flat = without_repeats(x.detach()).flatten()
    if not flat.numel() or flat[0] != flat[-1]:
        return False
    return bool((flat == flat[0]).all())


@torch.no_grad()
def is_zero(x: Tensor) -> bool:
    """Return whether all numbers are 0.

    >>> is_zero(torch.zeros(2, 3)), is_zero(torch.eye(2))
    (True, False)
    """
    return not without_repeats(x.detach()).any()


@torch.no_grad()
def is_the_same_for_all(x: Tensor, samples: int) -> bool:
    """Return whether all samples have the same numbers, bit for bit.

    >>> is_the_same_for_all(torch.ones(4, 2), 0), is_the_same_for_all(torch.eye(2), 0)
    (True, False)
    """
    return bool((x == x.narrow(samples, 0, 1)).all())


@torch.no_grad()
def units_are_equal(x: Tensor, features: int) -> bool:
    """Return whether all units have the same numbers, not all 0, within rounding.

    >>> units_are_equal(torch.ones(4, 2), 1), units_are_equal(torch.eye(2), 1)
    (True, False)
    """
    return _are_equal(x, features, centered=False)


@torch.no_grad()
def units_move_as_one(x: Tensor, features: int) -> bool:
    """Return whether units differ by a number at most, such as their biases, for all inputs.

    >>> x = torch.tensor([[0.0, 5.0], [1.0, 6.0]])
    >>> units_move_as_one(x, 1), units_move_as_one(2 * torch.eye(2), 1)
    (True, False)
    """
    return _are_equal(x, features, centered=True)


@torch.no_grad()
def units_move_apart(x: Tensor, features: int) -> bool:
    """Return whether units differ by more than a number each, and by more than rounding.

    >>> x = torch.tensor([[0.0, 5.0], [1.0, 6.0]])
    >>> units_move_apart(x, 1), units_move_apart(2 * torch.eye(2), 1)
    (False, True)
    """
    units = x.detach().movedim(features, 0).flatten(1).float()
    limit = ROUNDINGS * torch.finfo(x.dtype).eps * units.abs().amax().item()
    units = units - units[:, :1]
    return (units - units[:1]).abs().amax().item() > LEAST_MOVE * limit


def _are_equal(x: Tensor, features: int, centered: bool) -> bool:
    count = x.shape[features]
    if count < 2 or not x.is_floating_point():
        return False
    x = x.detach()
    few = _differences(x.narrow(features, 0, 2), features, centered)
    # Nearly all layers end here, after two of their units.
    return few and (count == 2 or _differences(x, features, centered))


def _differences(x: Tensor, features: int, centered: bool) -> bool:
    """Return whether units move, and all by the same."""
    small = torch.finfo(x.dtype).eps
    units = x.movedim(features, 0).flatten(1).float()
    limit = ROUNDINGS * small * units.abs().amax().item()
    if centered:
        units = units - units[:, :1]
    moves = units[0].abs().amax().item()
    most = (units - units[:1]).abs().amax().item()
    return moves > LEAST_MOVE * limit and most <= limit
