"""Schemes for a grown parameter's new rows: computed from the checkpoint's old ones."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.errors import SchemeError


class Net(nn.Module):
    """A tied vocabulary with a head's bias."""

    def __init__(self, tokens: int, width: int = 6) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(tokens, width), nn.Linear(width, tokens)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(x))


def grown(scheme: gi.Scheme, old: int = 400, new: int = 2400, seed: int = 0):
    torch.manual_seed(0)
    small = Net(old)
    with torch.no_grad():
        small.embed.weight.copy_(torch.randn(old, 6) @ torch.randn(6, 6) + 3.0)
    model = Net(new)
    entries = {"embed.weight": scheme, "head.bias": gi.LikeRows(share=0.0)}
    return small, model, gi.load_(model, small.state_dict(), entries, seed=seed)


def test_new_rows_have_the_mean_and_the_covariance_of_the_old() -> None:
    small, model, plan = grown(gi.LikeRows())
    old, rows = small.embed.weight.double(), model.embed.weight[400:].double()
    assert torch.equal(model.embed.weight[:400], small.embed.weight)
    error = old.std(0) / 2000**0.5
    assert ((rows.mean(0) - old.mean(0)).abs() < 5 * error).all()
    wanted, found = (torch.cov(x.T, correction=0) for x in (old, rows))
    spread = (wanted.diag()[:, None] * wanted.diag() + wanted**2).sqrt() / 2000**0.5
    assert ((found - wanted).abs() < 5 * spread).all()
    assert torch.allclose(model.head.bias[400:], small.head.bias.mean())
    assert (model.head.bias[400:] == model.head.bias[400]).all()
    assert [(b.name, b.scheme) for b in plan["embed.weight"].blocks] == [
        ("old", gi.Keep()), ("new", gi.LikeRows()),
    ]  # fmt: skip
    assert gi.Plan.from_dict(json.loads(json.dumps(plan.to_dict()))).rows == plan.rows
    assert plan.ok


def test_fewer_old_rows_than_features_and_none_of_the_covariance() -> None:
    small, model, _ = grown(gi.LikeRows(), old=3, new=9)
    rows = model.embed.weight[3:] - small.embed.weight.mean(0)
    basis = small.embed.weight - small.embed.weight.mean(0)
    left = rows - rows @ torch.linalg.pinv(basis) @ basis
    assert left.abs().max() < 1e-5  # new rows lie in the plane of the old ones
    _, model, _ = grown(gi.LikeRows(share=0.0))
    assert (model.embed.weight[400:] == model.embed.weight[400]).all()
    small, model, _ = grown(gi.LikeRows(share=1e-9))  # transformers' default
    away = (model.embed.weight[400:] - small.embed.weight.mean(0)).abs()
    assert 0 < away.max() < 1e-2
    first, again, other = (grown(gi.LikeRows(), seed=seed)[1].embed.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_rows_of_pieces() -> None:
    pieces = [[3, 17], [5], [0, 1, 2]]
    small, model, plan = grown(gi.PieceMeans(pieces), new=403)
    for row, numbers in zip(model.embed.weight[400:], pieces, strict=True):
        assert torch.allclose(row, small.embed.weight[numbers].mean(0), rtol=1e-6)
    assert torch.equal(model.embed.weight[401], small.embed.weight[5])
    assert gi.Plan.from_dict(json.loads(json.dumps(plan.to_dict()))).rows == plan.rows
    recipe = gi.Recipe([gi.Rule("*", gi.PieceMeans(pieces))])
    assert gi.Recipe.from_toml(recipe.to_toml()).rules == recipe.rules


@pytest.mark.parametrize(
    ("scheme", "old", "text"),
    [
        (gi.PieceMeans([[1]]), 400, "1 rows, and 3 are new"),
        (gi.PieceMeans([[0], [1], [400]]), 400, "row 400, and the checkpoint's are 0 to 399"),
        (gi.LikeRows(), 0, "there are none"),
    ],
)
def test_refused_before_anything_is_written(scheme: gi.Scheme, old: int, text: str) -> None:
    model = Net(403)
    before = model.embed.weight.detach().clone()
    keep = Net(old).state_dict() if old else ()
    with pytest.raises(SchemeError, match=text):
        gi.init_(model, {"embed.weight": scheme}, keep=keep, seed=0)
    assert torch.equal(model.embed.weight, before)


def test_rows_that_can_not_be() -> None:
    wide = Net(10, 8)
    with pytest.raises(SchemeError, match="is for new rows, and"):
        gi.load_(wide, {"embed.weight": torch.ones(8, 6)}, {"embed.weight": gi.LikeRows()})
    for pieces in ([], [[]], [[-1]], [[1.5]], 3, [3]):
        with pytest.raises(SchemeError, match="a list of old rows for each new one"):
            gi.PieceMeans(pieces)
    with pytest.raises(SchemeError, match="share"):
        gi.LikeRows(share=-1.0)


class Experts(nn.Module):
    """Stacked feed-forward layers, each token through all of them."""

    def __init__(self, count: int, width: int = 8, hidden: int = 20) -> None:
        super().__init__()
        shapes = {"gate": (hidden, width), "up": (hidden, width), "down": (width, hidden)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(count, *shape)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = (torch.einsum("bi,eoi->beo", x, w) for w in (self.gate, self.up))
        y = torch.einsum("beo,eio->bei", nn.functional.silu(gate) * up, self.down)
        return x + y.sum(1)


def test_a_share_of_each_experts_units_is_drawn_anew() -> None:
    torch.manual_seed(0)
    dense = {name: p[0].detach() for name, p in Experts(1).named_parameters()}
    model = Experts(4)
    plan = gi.load_(
        model, dense, {"*": gi.DropUpcycling(share=0.25)}, inputs=torch.ones(3, 8), seed=0
    )
    for expert in range(4):
        changed = {name: model.get_parameter(name)[expert] != w for name, w in dense.items()}
        units = changed["gate"].all(1)
        assert units.sum() == 5  # of 20
        assert torch.equal(changed["gate"], units[:, None].expand(20, 8))
        assert torch.equal(changed["up"], units[:, None].expand(20, 8))
        assert torch.equal(changed["down"], units.expand(8, 20))
        old, new = dense["up"][units], model.up[expert][units]
        assert new.std().item() == pytest.approx(old.std().item(), rel=5 / 80**0.5)
    assert not torch.equal(model.gate[0], model.gate[1])
    assert plan.ok
    assert gi.Plan.from_dict(json.loads(json.dumps(plan.to_dict()))).rows == plan.rows
    with pytest.raises(SchemeError, match="pass inputs="):
        gi.load_(model, dense, {"*": gi.DropUpcycling()}, seed=0)
    with pytest.raises(SchemeError, match="a stack of copies of one layer"):
        gi.init_(model, {"*": gi.DropUpcycling()}, inputs=torch.ones(3, 8), seed=0)


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(8, 20, bias=False) for _ in range(2))
        self.down = nn.Linear(20, 8, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


def _plain() -> nn.Module:
    layers = nn.Linear(8, 20, bias=False), nn.ReLU(), nn.Linear(20, 8, bias=False)
    return nn.Sequential(*layers)


class Routed(nn.Module):
    """Experts in a list, each with its own tokens."""

    def __init__(self, make=FeedForward) -> None:
        super().__init__()
        self.router = nn.Linear(8, 4, bias=False)
        self.experts = nn.ModuleList(make() for _ in range(4))
        for expert in self.experts:  # what a checkpoint's layer was loaded into
            expert.load_state_dict(self.experts[0].state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, chosen = self.router(x).softmax(-1).topk(2)
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            token, rank = torch.where(chosen == number)
            y.index_add_(0, token, expert(x[token]) * weights[token, rank, None])
        return x + y


@pytest.mark.parametrize("make", [FeedForward, _plain])
def test_units_of_experts_in_a_list(make) -> None:
    torch.manual_seed(0)
    model = Routed(make)
    old = {name: w.detach().clone() for name, w in model.experts[0].named_parameters()}
    x = torch.randn(16, 8)
    plan = gi.init_(model, {"experts.*": gi.DropUpcycling(share=0.25)}, inputs=x, seed=0)
    dropped = []
    for expert in model.experts:
        changed = {name: w != old[name] for name, w in expert.named_parameters()}
        *to_hidden, from_hidden = changed.values()
        units = to_hidden[0].all(1)
        assert units.sum() == 5
        assert all(torch.equal(w, units[:, None].expand(20, 8)) for w in to_hidden)
        assert torch.equal(from_hidden, units.expand(8, 20))
        dropped.append(units)
    assert len({tuple(units.tolist()) for units in dropped}) == 4
    assert plan["router.weight"].kept
    assert gi.Plan.from_dict(json.loads(json.dumps(plan.to_dict()))).rows == plan.rows


class Crossed(nn.Module):
    """Experts whose projections are in two lists."""

    def __init__(self) -> None:
        super().__init__()
        self.ups = nn.ModuleList(nn.Linear(8, 20, bias=False) for _ in range(2))
        self.downs = nn.ModuleList(nn.Linear(20, 8, bias=False) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = zip(self.ups, self.downs, strict=True)
        return x + sum(down(torch.relu(up(x))) for up, down in both)


def test_experts_that_are_no_modules_are_refused() -> None:
    model = nn.Sequential(Crossed())
    with pytest.raises(SchemeError, match="no module has its expert's weights alone"):
        gi.plan(model, {"*": gi.DropUpcycling()}, inputs=torch.ones(3, 8))
