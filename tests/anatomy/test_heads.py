"""Tied tables: which of them multiply as well, and by what number besides."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.anatomy import read
from goodinit.anatomy.attention_scores import attention_scores
from goodinit.anatomy.heads import head_factors, multiplies
from goodinit.anatomy.multipliers import attention_scales
from goodinit.anatomy.names import slots


class Tied(nn.Module):
    """A table, and another module of the same weight."""

    def __init__(self, other: nn.Module, run: Callable[..., Tensor]) -> None:
        super().__init__()
        self.table, self.other, self.run = nn.Embedding(9, 16), other, run
        other.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.run(self, self.table(ids))


def linear() -> nn.Module:
    return nn.Linear(16, 9, bias=False)


@pytest.mark.parametrize(
    ("other", "expected"), [(linear(), True), (nn.Embedding(9, 16), False)], ids=["head", "table"]
)
def test_a_table_multiplies_where_another_module_has_it(other: nn.Module, expected: bool) -> None:
    """GI112 is of logits: two tables of one weight have none."""
    net = Tied(other, lambda m, x: x)
    assert [multiplies(slot) for slot in slots(net)] == [expected]
    assert not multiplies(next(iter(slots(nn.Linear(3, 3)))))
    plan = gi.plan(net, {"*": gi.Normal(9.0)})
    assert ("GI112" in [finding.code for finding in plan.findings]) is expected


@pytest.mark.parametrize(
    ("run", "factors"),
    [
        (lambda m, x: m.other(x), {"table.weight": 1.0}),
        (lambda m, x: m.other(x * 0.25), {"table.weight": 0.25}),
        (lambda m, x: m.other(x) / 4, {"table.weight": 0.25}),
        (lambda m, x: m.other(x * 0.5) * 3, {"table.weight": 1.5}),
        (lambda m, x: m.other(x * x.mean()) + 2, {"table.weight": 1.0}),
        (lambda m, x: x, {}),
    ],
)
def test_the_numbers_around_a_tied_head(run, factors: dict[str, float]) -> None:
    net, ids = Tied(linear(), run), torch.tensor([[1, 2, 3]])
    assert head_factors(read(net, ids)) == factors
    assert head_factors(read(net)) == {}


def test_a_head_of_its_own_has_no_factor() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    assert head_factors(read(net, torch.ones(2, 4))) == {}


@pytest.mark.parametrize(
    "scores",
    [
        lambda q, k: q.sum(1, keepdim=True) @ k.mT,
        lambda q, k: q @ k.sum(1, keepdim=True).mT,
        lambda q, k: torch.einsum("bhid,bhjd->bij", q, k)[:, None],
    ],
    ids=["queries", "keys", "einsum"],
)
def test_heads_that_are_added_up_count_in_a_score(scores: Callable[..., Tensor]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(32, 32) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            made = (layer(x) for layer in (self.q, self.k, self.v))
            q, k, v = (one.unflatten(-1, (4, 8)).transpose(1, 2) for one in made)
            return (scores(q, k) / 32**0.5).softmax(-1) @ v

    net = Net()
    (scale,) = attention_scales(read(net, torch.zeros(2, 5, 32)), net)
    assert scale == (32, pytest.approx(32**-0.5))


def test_torchs_attention_divides_by_the_root_of_a_heads_width() -> None:
    net, x = nn.MultiheadAttention(36, 4, batch_first=True), torch.zeros(2, 5, 36)
    apart = nn.MultiheadAttention(36, 4, kdim=6, vdim=7, batch_first=True)
    for anatomy in (read(net), read(net, (x, x, x))):
        assert attention_scales(anatomy, net) == ((9, 1 / 3),)
    assert attention_scores(read(net)) == ()
    (one,) = attention_scores(read(net, (x, x, x)))
    assert one == ("in_proj_weight", "in_proj_weight", 9, 1 / 3, 5)
    (one,) = attention_scores(read(apart, (x, x[..., :6], x[..., :7])))
    assert one == ("q_proj_weight", "k_proj_weight", 9, 1 / 3, 5)
    assert one.std(0.5, 2.0) == 1.0


class Attending(nn.Module):
    """Attention of one head, whose keys may be laid out with their features first."""

    def __init__(self, by) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.by = by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.by(self.q(x), self.k(x), self.v(x))


@pytest.mark.parametrize(
    "by",
    [
        lambda q, k, v: (q @ k.mT).softmax(-1) @ v,
        lambda q, k, v: (q @ k.transpose(1, 2).contiguous()).softmax(-1) @ v,
        lambda q, k, v: torch.einsum("bqd,bdk->bqk", q, k.movedim(1, 2)).softmax(-1) @ v,
        nn.functional.scaled_dot_product_attention,
        lambda q, k, v: (q[:, None] @ k[:, None].mT).softmax(-1)[:, 0] @ v,
    ],
)
def test_positions_are_counted_however_keys_lie(by) -> None:
    (one,) = attention_scores(read(Attending(by), torch.zeros(2, 5, 8)))
    assert (one.dimension, one.positions) == (8, 5)
