"""A class's own matrix of zeros, without inputs: what its name says of it."""

import pytest
import torch
from torch import nn

import goodinit as gi

WIDTH = 16


class Beside(nn.Module):
    """An attention with a matrix of zeros of its own."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.register_parameter(name, nn.Parameter(torch.zeros(shape)))


def planned(name: str, shape: tuple[int, ...]):
    return gi.plan(nn.Sequential(Beside(name, shape), nn.Linear(WIDTH, 3)), "standard")[f"0.{name}"]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("rel_pos_h", (7, WIDTH)),
        ("relative_position_bias_table", (9, 4)),
        ("positions", (5, WIDTH)),
        ("mem_kv", (2, 2, 3, 8)),
        ("attn_mask", (12, 12)),
        ("raw_scales", (4, 1, 3)),
        ("log_std", (64, 2)),
        ("shifts", (5, 6)),
        ("affine", (5, 4, 4)),
    ],
)
def test_names_of_what_is_added_or_multiplies(name: str, shape: tuple[int, ...]) -> None:
    row = planned(name, shape)
    assert row.kept
    assert row.why.startswith("keeps the value 0: by its name no signal passes through it")
    assert row.guessed


@pytest.mark.parametrize(
    "name", ["w", "weight", "rescaled", "w_pos", "position_proj", "mem_weights"]
)
def test_names_of_weights_and_names_that_tell_nothing(name: str) -> None:
    assert planned(name, (WIDTH, WIDTH)).std


def test_values_are_drawn_whatever_their_name() -> None:
    beside = Beside("rel_pos", (7, WIDTH))
    nn.init.normal_(beside.get_parameter("rel_pos"))
    net = nn.Sequential(beside, nn.Linear(WIDTH, 3))
    assert gi.plan(net, "standard")["0.rel_pos"].std


def test_a_list_has_the_name() -> None:
    net = nn.Sequential(nn.Linear(WIDTH, 3))
    net.positions = nn.ParameterList([nn.Parameter(torch.zeros(4, WIDTH)) for _ in range(2)])
    assert gi.plan(net, "standard")["positions.1"].kept
