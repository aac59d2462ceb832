"""`gi.select_weights`: entries of a larger model's weights, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.errors import CallError, CheckpointError


def stack(width: int, layers: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*[nn.Linear(width, width) for _ in range(layers)])


def test_evenly_spaced_entries_of_the_first_layers() -> None:
    large, small = stack(24, 4), stack(8, 2)
    plan = gi.load_(small, gi.select_weights(small, large.state_dict()), seed=0)
    for new, old in zip(small, large, strict=False):
        assert torch.equal(new.weight, old.weight[::3, ::3])
        assert torch.equal(new.bias, old.bias[::3])
    assert all(row.kept for row in plan)
    odd = stack(7, 2)
    index = torch.tensor([0, 4, 8, 12, 15, 19, 23])  # round(23/6 n)
    gi.load_(odd, gi.select_weights(odd, large.state_dict()), seed=0)
    assert torch.equal(odd[0].weight, large[0].weight[index][:, index])


def test_packed_parts_one_by_one_and_more_layers_than_there_are() -> None:
    large, small = nn.MultiheadAttention(30, 2), nn.MultiheadAttention(8, 2)
    chosen = gi.select_weights(small, large.state_dict())
    index = torch.linspace(0, 29, 8, dtype=torch.float64).round().long()
    for part in range(3):
        rows = large.in_proj_weight[30 * part :][index]
        assert torch.equal(chosen["in_proj_weight"][8 * part : 8 * part + 8], rows[:, index])
    deeper = stack(8, 3)
    plan = gi.load_(deeper, gi.select_weights(deeper, stack(16, 1).state_dict()), "he", seed=0)
    assert [row.name for row in plan if not row.kept and row.part != "bias"] == [
        "1.weight", "2.weight"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("checkpoint", "text"),
    [
        ({"0.weight": torch.ones(4, 9)}, "larger along each axis"),
        ({"0.weight": torch.ones(9)}, "larger along each axis"),
        ({"fc.weight": torch.ones(9, 9)}, "no key of the checkpoint"),
        ({}, "with values in it"),
    ],
)
def test_refused(checkpoint: dict[str, torch.Tensor], text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        gi.select_weights(stack(8, 1), checkpoint)


def test_layers_are_evenly_spaced_where_they_are_asked_for() -> None:
    def deep(layers: int, width: int) -> nn.Module:
        net = nn.Module()
        net.stem = nn.Linear(3, width)
        net.blocks = nn.ModuleList(nn.Sequential(nn.Linear(width, width)) for _ in range(layers))
        return net

    large, small = deep(7, 8), deep(3, 4)
    chosen = gi.select_weights(small, large.state_dict(), layers="even")
    for number, there in ((0, 0), (1, 3), (2, 6)):
        taken = large.blocks[there][0].weight[::2, ::2]
        assert torch.equal(chosen[f"blocks.{number}.0.weight"], taken)
    assert torch.equal(chosen["stem.weight"], large.stem.weight[::2])
    first = gi.select_weights(small, large.state_dict())
    assert torch.equal(first["blocks.2.0.weight"], large.blocks[2][0].weight[::2, ::2])
    with pytest.raises(CallError, match="'first' or 'even'"):
        gi.select_weights(small, large.state_dict(), layers="last")
