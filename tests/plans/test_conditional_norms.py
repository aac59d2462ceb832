"""Tables of a norm's scales and shifts for each class keep what they start as."""

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi

WIDTH = 16


class Conditional(nn.Module):
    """A norm whose scale and shift are rows of tables, as in conditional batch norms."""

    def __init__(self, packed: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.embed = nn.Linear(WIDTH, WIDTH)
        self.packed = packed
        self.scale, self.shift = nn.Embedding(5, WIDTH), nn.Embedding(5, WIDTH)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)
        self.both = nn.Embedding(5, 2 * WIDTH, padding_idx=0)
        with torch.no_grad():
            self.both.weight[1:] = torch.tensor([1.0, 0.0]).repeat_interleave(WIDTH)

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        x = self.norm(self.embed(x))
        if self.packed:
            scale, shift = self.both(kind).chunk(2, -1)
        else:
            scale, shift = self.scale(kind), self.shift(kind)
        return x * scale + shift


INPUTS = (torch.randn(3, WIDTH), torch.tensor([1, 4, 2]))


@pytest.mark.parametrize("inputs", [INPUTS, None])
def test_tables_of_scales_stand(inputs: tuple[Tensor, Tensor] | None) -> None:
    plan = gi.plan(Conditional(packed=False), "standard", inputs=inputs)
    assert plan["scale.weight"].kept
    why = "keeps the value 1: one value, where others hold random ones"
    assert plan["scale.weight"].why.startswith(why)
    assert plan["shift.weight"].kept


@pytest.mark.parametrize("inputs", [INPUTS, None])
def test_tables_of_equal_rows_stand(inputs: tuple[Tensor, Tensor] | None) -> None:
    row = gi.plan(Conditional(packed=True), "standard", inputs=inputs)["both.weight"]
    assert row.kept
    assert row.why.startswith("keeps its values: a pattern, where others hold random ones")


def test_a_model_set_to_one_value_is_drawn() -> None:
    net = nn.Sequential(nn.Embedding(5, WIDTH), nn.Linear(WIDTH, 3))
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.1)
    assert not gi.plan(net, "standard")["0.weight"].kept


def test_tables_of_values_are_drawn_whatever_two_rows_hold() -> None:
    table = nn.Embedding(5, WIDTH)
    with torch.no_grad():
        table.weight[3] = table.weight[4]
    assert not gi.plan(nn.Sequential(table, nn.Linear(WIDTH, 3)), "standard")["0.weight"].kept
