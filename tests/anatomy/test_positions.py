"""Positions beside tokens: as large as the rows that they are added to."""

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.anatomy import read

WIDTH, LENGTH = 16, 5
IDS = torch.zeros(2, LENGTH, dtype=torch.long)
X = torch.zeros(2, LENGTH, WIDTH)


class Model(nn.Module):
    """One residual layer over tokens and positions."""

    def __init__(self, table: bool = True, tied: bool = False, factor: float = 1.0) -> None:
        super().__init__()
        self.words = nn.Embedding(50, WIDTH)
        self.factor = factor
        self.places = nn.Embedding(10, WIDTH) if table else nn.Parameter(torch.randn(1, 10, WIDTH))
        self.norm, self.layer = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 50, bias=False)
        if tied:
            self.head.weight = self.words.weight

    def rows(self, ids: Tensor) -> Tensor:
        count = ids.shape[1]
        if isinstance(self.places, nn.Embedding):
            return self.places(torch.arange(count))
        return self.places[:, :count]

    def forward(self, ids: Tensor) -> Tensor:
        x = nn.functional.dropout(self.words(ids) * self.factor + self.rows(ids), 0.0)
        return self.head(self.norm(x + self.layer(x)))


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize(
    ("tied", "factor", "std"),
    [
        (False, 1.0, 1.0),
        (False, 4.0, 1.0),  # rows of N(0, 1/16), times 4
        (True, 1.0, WIDTH**-0.5),
        (True, 2.0, 2 * WIDTH**-0.5),  # the logits' scale stays, whatever the rows become
    ],
)
def test_positions_are_as_large_as_the_rows_beside_them(
    table: bool, tied: bool, factor: float, std: float
) -> None:
    model = Model(table, tied, factor)
    row = gi.plan(model, "standard", inputs=IDS)["places.weight" if table else "places"]
    assert row.kind == "position"
    assert row.std == pytest.approx(std, rel=1e-12)


class Patches(nn.Module):
    """Positions of a vision transformer: nothing is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Linear(8, WIDTH)
        self.places = nn.Parameter(torch.randn(1, LENGTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.patches(x) + self.places


class Relative(nn.Module):
    """Tokens, and a table of distances that is added to the scores only."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.places = nn.Embedding(2 * LENGTH, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x, place = self.words(ids), torch.arange(ids.shape[1])
        bias = self.places(place[:, None] - place[None] + LENGTH)[..., 0]
        scores = self.q(x) @ self.k(x).transpose(1, 2) / WIDTH**0.5 + bias
        return scores.softmax(-1) @ self.v(x)


@pytest.mark.parametrize(
    ("model", "inputs", "name"),
    [(Patches(), torch.randn(2, LENGTH, 8), "places"), (Relative(), IDS, "places.weight")],
)
def test_other_positions_are_small(model: nn.Module, inputs: Tensor, name: str) -> None:
    row = gi.plan(model, "standard", inputs=inputs)[name]
    assert row.kind == "position"
    assert row.std == 0.02


class Joined(nn.Module):
    """What a layer makes of no input is joined to one: a token through a norm, a whole table."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.norm = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.LayerNorm(WIDTH)
        self.table, self.layer = nn.Embedding(3, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        token = self.norm(self.token).expand(len(x), 1, WIDTH)
        rows = self.table.weight[None].expand(len(x), 3, WIDTH)
        return self.layer(torch.cat([token, rows, x], 1))


def test_what_no_input_has_reached_yet() -> None:
    found = {row.name: (row.facets.kind, row.facets.part) for row in read(Joined(), X).rows}
    assert found == {
        "token": ("token", "weight"), "norm.weight": ("norm", "weight"),
        "norm.bias": ("norm", "bias"), "table.weight": ("position", "weight"),
        "layer.weight": ("linear", "head"), "layer.bias": ("linear", "bias"),
    }  # fmt: skip
