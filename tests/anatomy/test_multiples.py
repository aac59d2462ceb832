"""Signals as multiples of others: compared with numbers, on random chains of calls."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from tests.dataflow.test_calls import Net, graph_of
from torch import Tensor
from torch.nn import functional as fn

from goodinit.anatomy.multiples import Multiple, Multiples
from goodinit.dataflow import linear

CHAINS, SAMPLES = 40, 4096
ERROR = 5 * (2 / SAMPLES) ** 0.5  # five standard errors of a mean of squares of N(0, 1)

# What isn't in the same place twice is taken to have nothing in common: one of these in a chain.
VARIED: list[Callable[[Tensor, float], Tensor]] = [
    lambda y, c: y * torch.linspace(-1, c, y.shape[-1]),
    lambda y, c: y.masked_fill(torch.arange(y.shape[-1]) % 3 == 0, 0.0),
    lambda y, c: torch.cat([y, torch.full((*y.shape[:-1], 2), c)], -1),
    lambda y, c: torch.cat([torch.zeros(*y.shape[:-1], 1), y, c * y], -1),
    lambda y, c: fn.pad(y, (1, 2), value=c),
    lambda y, c: sum(y.chunk(2, -1)),
    lambda y, c: y.flip(-1) + c * y,
    lambda y, c: y + c,
    lambda y, c: c - y,
    lambda y, c: y - c / 2,
]
SAME: list[Callable[[Tensor, float], Tensor]] = [
    lambda y, c: y * c,
    lambda y, c: y / c,
    lambda y, c: -y,
    lambda y, c: torch.cat([y, y], -1),
    lambda y, c: y.mT.contiguous().mT.unsqueeze(1).squeeze(1),
]
OWN: list[Callable[[Tensor, float], Tensor]] = [
    lambda y, c: y - c * y,
    lambda y, c: torch.lerp(y, y * 2, c),
]


def drawn(rng: random.Random) -> Callable[[Tensor], Tensor]:
    calls = [rng.choice(SAME + OWN), rng.choice(VARIED), rng.choice(SAME)]
    pairs = [(call, rng.choice([0.5, -2.0, 3.0])) for call in calls]

    def run(y: Tensor) -> Tensor:
        for call, c in pairs:
            y = call(y, c)
        return y

    return run


def before(run: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Multiple, str]:
    """Return what a linear layer behind a function takes, and the call that it is a multiple of."""
    width = run(x[:1]).shape[-1]
    net = Net(lambda m, x: fn.linear(run(x), m.long[:1].expand(2, width)))
    graph = graph_of(net, x[:3])
    made, root = Multiples(graph, lambda _: False, lambda _: None).before(len(graph.nodes) - 1)
    return made, root.function


def test_what_a_product_takes_is_what_numbers_say() -> None:
    rng = random.Random(0)
    x = torch.randn(SAMPLES, 8, generator=torch.Generator().manual_seed(0))
    for number in range(CHAINS):
        run = drawn(rng)
        made, root = before(run, x)
        start = run(torch.zeros_like(x))
        square = (run(x) - start).square().mean().item()
        assert root == "source"
        assert made.square == pytest.approx(square, rel=ERROR), number
        assert made.added == pytest.approx(start.square().mean().item(), rel=1e-5), number


def of_halves(run: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: run(*x.chunk(2, -1))


@pytest.mark.parametrize(
    ("run", "square"),
    [
        (lambda x: sum(x.chunk(2, -1)), 2.0),
        (lambda x: sum(x.split(2, -1)), 4.0),
        (lambda x: x.chunk(2, -1)[0] + x.chunk(2, -1)[1], 2.0),  # by two calls
        (of_halves(lambda a, b: a + b), 2.0),
        (of_halves(lambda a, b: a + a), 4.0),
        (of_halves(lambda a, b: a - b / 2), None),
        (of_halves(lambda a, b: a - a / 2), None),  # as above, for all we see
        (lambda x: x - x / 2, 0.25),
        (lambda x: (y := torch.cat([2 * x, 2 * x], -1)) - 3 * y, 16.0),
    ],
)
def test_parts_of_a_signal_have_nothing_in_common(run, square: float | None) -> None:
    assert before(run, torch.ones(3, 8))[0].square == square


@pytest.mark.parametrize(("most", "added"), [(8, 4.0), (7, 0.0)])
def test_constants_are_read_up_to_a_size(most: int, added: float, monkeypatch) -> None:
    monkeypatch.setattr(linear, "MOST_ADDED", most)
    made, _ = before(lambda x: x + torch.full((8,), 2.0), torch.ones(3, 8))
    assert made == Multiple(added=added)


MASKED = Multiple(0.25, None, 0.5, False)
MOVED = Multiple(moved=(3,))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Multiple().times(-2.0), Multiple(4.0, -2.0)),
        (Multiple(4.0, 2.0, 0.5).times(3.0), Multiple(36.0, 6.0, 4.5)),
        (MASKED.times(2.0), Multiple(1.0, None, 2.0, False)),
        (Multiple(4.0, 2.0, 0.5).varied(0.25), Multiple(1.0, None, 0.125, False)),
        (Multiple(None, None, 0.5).varied(0.25), Multiple(None, None, 0.125, False)),
        (Multiple(4.0, 2.0, 0.5).varied(None), Multiple(None, None, 0.5, False)),
        (Multiple(4.0, 2.0, 0.5).plus(Multiple(9.0, -3.0, 1.0), False), Multiple(1.0, -1.0, 1.5)),
        (Multiple(4.0, 2.0).plus(Multiple(9.0, -3.0), True), Multiple(13.0, None)),
        (Multiple().plus(MOVED, False), Multiple(2.0, None)),
        (MOVED.plus(MOVED, False), Multiple(4.0, 2.0, moved=(3,))),
        (MASKED.plus(Multiple(), False), Multiple(1.25, None, 0.5, False)),
        (MASKED.plus(Multiple(None, None), False), Multiple(None, None, 0.5, False)),
        (Multiple(None, None).plus(MASKED, False), Multiple(None, None, 0.5, False)),
    ],
)
def test_sums_and_products_of_multiples(made: Multiple, expected: Multiple) -> None:
    assert made == expected
