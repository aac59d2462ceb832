"""Planning costs so much per parameter and per module, however many there are."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

import goodinit as gi

TIMES = 4  # how much larger the second model is
# Four times the model takes 4 times as long where the cost is linear, 16 times where it is
# quadratic: the limit is between, at the same factor from both.
LIMIT = 8.0
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


def seconds(model: nn.Module) -> float:
    start = time.process_time()
    gi.plan(model)
    return time.process_time() - start


# The sizes take some .02 s each: far more than a clock's tick.
MODELS: list[tuple[Callable[[int], nn.Module], int]] = [
    *((raw, 400), (listed, 400), (keyed, 400), (stacked, 200)),
    *((experts, 100), (raw_experts, 200), (tied, 2000), (flat, 200), (chain, 100), (nest, 50)),
]


@pytest.mark.parametrize(("make", "n"), MODELS, ids=[make.__name__ for make, _ in MODELS])
def test_four_times_the_model_takes_no_more_than_four_times_as_long(
    make: Callable[[int], nn.Module], n: int
) -> None:
    with torch.device("meta"):
        small, large = make(n), make(TIMES * n)
    gi.plan(small)
    first = second = float("inf")
    for _ in range(3):  # the least of each, since noise only adds
        first, second = min(first, seconds(small)), min(second, seconds(large))
        if second < LIMIT * first:
            break
    assert second < LIMIT * first


def test_modules_nest_deeper_than_pythons_stack() -> None:
    with torch.device("meta"):
        row, other = chain(DEEP), nest(DEEP)
    weights = [row for row in gi.plan(row) if row.part != "bias"]
    assert [row.activation for row in weights] == ["relu"] * DEEP + [None]
    assert [row.name for row in gi.plan(other)][-1] == "inner." * (DEEP - 1) + "down.bias"
