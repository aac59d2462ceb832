"""Layers that were set to 0 on purpose: scores of experts, and what is used without a gradient."""

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi

WIDTH = 16
CARRIED = "keeps the value 0: something else carries the signal"


class Mixture(nn.Module):
    """Experts that are chosen by sigmoids of scores."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.first, self.gate, self.norm = nn.Linear(WIDTH, WIDTH), gate, nn.LayerNorm(WIDTH)
        self.up = nn.Parameter(torch.randn(4, WIDTH, 32))
        self.down = nn.Parameter(torch.randn(4, 32, WIDTH))
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.norm(x)
        shares = self.gate(y).sigmoid()
        chosen = shares.topk(2, -1).indices
        shares = shares.gather(-1, chosen)
        shares = shares / shares.sum(-1, keepdim=True)
        for n in range(2):
            inner = torch.bmm(y[:, None], self.up[chosen[:, n]]).relu()
            x = x + shares[:, n : n + 1] * torch.bmm(inner, self.down[chosen[:, n]])[:, 0]
        return self.head(x)


class Scores(nn.Module):
    """A router whose weight is its class's own: zeros are a placeholder."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight)


def test_a_layer_that_prefers_no_expert_stands() -> None:
    net = Mixture(nn.Linear(WIDTH, 4, bias=False))
    nn.init.zeros_(net.get_parameter("gate.weight"))
    row = gi.plan(net, "standard", inputs=torch.randn(5, WIDTH))["gate.weight"]
    assert (row.kind, row.kept, row.why) == ("router", True, CARRIED)


def test_a_placeholder_of_scores_is_drawn() -> None:
    row = gi.plan(Mixture(Scores()), "standard", inputs=torch.randn(5, WIDTH))["gate.weight"]
    assert (row.kind, row.kept) == ("router", False)


class Boxes(nn.Module):
    """An output that is also read by the next layer, with a gradient or without."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.body, self.boxes = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.places, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
        nn.init.zeros_(self.boxes.weight)
        self.cut = cut

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x).relu()
        found = self.boxes(h)
        places = self.places((found.detach() if self.cut else found).sigmoid())
        return self.out(h + places), found


@pytest.mark.parametrize("cut", [True, False])
def test_an_output_of_zeros_stands_if_the_next_layer_gives_it_no_gradient(cut: bool) -> None:
    row = gi.plan(Boxes(cut), "standard", inputs=torch.randn(5, WIDTH))["boxes.weight"]
    assert row.kept is cut


def test_zeros_whose_only_way_is_cut_are_drawn() -> None:
    net = Boxes(cut=True)
    plan = gi.plan(nn.Sequential(net, First()), "standard", inputs=torch.randn(5, WIDTH))
    assert not plan["0.boxes.weight"].kept


class First(nn.Module):
    def forward(self, several: tuple[Tensor, Tensor]) -> Tensor:
        return several[0]
