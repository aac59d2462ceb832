"""Planning costs so much per parameter and per module, however many there are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.steps import LINEAR, steps
from torch import nn

import goodinit as gi

DEEP = 1100  # modules in each other: more than Python's stack


def raw(n: int) -> nn.Module:
    """Matrices and vectors of many shapes, as parameters of one module."""
    net = nn.Module()
    for i in range(n):
        shape = (2 + i % 50, 3 + i % 7) if i % 2 else (2 + i % 50,)
        net.register_parameter(f"p{i}", nn.Parameter(torch.empty(shape)))
    return net


def listed(n: int) -> nn.Module:
    return nn.ParameterList(torch.empty(2, 2) for _ in range(n))


def keyed(n: int) -> nn.Module:
    return nn.ParameterDict({f"p{i}": torch.empty(2, 2) for i in range(n)})


def stacked(n: int) -> nn.Module:
    net = nn.Module()
    for i in range(n):
        net.register_parameter(f"p{i}", nn.Parameter(torch.empty(2, 8, 2 * (8 + i % 2))))
    return net


class Expert(nn.Module):
    def __init__(self, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.up, self.down, self.inner = nn.Linear(2, 4), nn.Linear(4, 2), inner


class RawExpert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Parameter(torch.empty(2, 4)), nn.Parameter(torch.empty(4, 2))


def experts(n: int) -> nn.Module:
    return nn.ModuleList(Expert() for _ in range(n))


def raw_experts(n: int) -> nn.Module:
    return nn.ModuleList(RawExpert() for _ in range(n))


def tied(n: int) -> nn.Module:
    layer = nn.Linear(2, 2)
    return nn.ModuleList(layer for _ in range(n))


def flat(n: int) -> nn.Module:
    return nn.Sequential(*(nn.Linear(2, 2) for _ in range(n)))


def chain(n: int) -> nn.Module:
    """Sequentials in each other."""
    net = nn.Sequential(nn.Linear(2, 2))
    for _ in range(n):
        net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), net)
    return net


def nest(n: int) -> nn.Module:
    """Modules of one class, each inside the one before."""
    net = Expert()
    for _ in range(n - 1):
        net = Expert(net)
    return net


# Some 50,000 lines of Python each.
MODELS: list[tuple[Callable[[int], nn.Module], int]] = [
    *((raw, 100), (listed, 100), (keyed, 100), (stacked, 50)),
    *((experts, 12), (raw_experts, 25), (tied, 250), (flat, 25), (chain, 25), (nest, 12)),
]


@pytest.mark.parametrize(("make", "n"), MODELS, ids=[make.__name__ for make, _ in MODELS])
def test_four_times_the_model_costs_no_more_than_four_times_as_much(
    make: Callable[[int], nn.Module], n: int
) -> None:
    with torch.device("meta"):
        small, large = make(n), make(4 * n)
    gi.plan(small)  # imports, and what is kept from then on
    assert steps(lambda: gi.plan(large)) < LINEAR * steps(lambda: gi.plan(small))


def test_modules_nest_deeper_than_pythons_stack() -> None:
    with torch.device("meta"):
        row, other = chain(DEEP), nest(DEEP)
    weights = [row for row in gi.plan(row) if row.part != "bias"]
    assert [row.activation for row in weights] == ["relu"] * DEEP + [None]
    assert [row.name for row in gi.plan(other)][-1] == "inner." * (DEEP - 1) + "down.bias"
