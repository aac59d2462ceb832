"""The fans of every kind of layer, by hand; from the module types and from the data flow alike.

fan_in is what one output adds up, fan_out what one input feeds: taps that a stride leaves out
count by the share of positions in which they meet, and a group sees its own channels alone.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import goodinit as gi

FANS: list[tuple[nn.Module, tuple[int, ...], float, float]] = [
    (nn.Linear(6, 10), (2, 6), 6, 10),
    (nn.Conv1d(6, 10, 3), (2, 6, 12), 6 * 3, 10 * 3),
    (nn.Conv2d(6, 10, (3, 5)), (2, 6, 12, 12), 6 * 15, 10 * 15),
    (nn.Conv3d(2, 4, 2), (2, 2, 5, 5, 5), 2 * 8, 4 * 8),
    (nn.Conv2d(6, 10, 3, stride=2), (2, 6, 12, 12), 6 * 9, 10 * 9 / 4),
    (nn.Conv2d(6, 10, 4, stride=(1, 2)), (2, 6, 12, 12), 6 * 16, 10 * 16 / 2),
    (nn.Conv2d(8, 12, 3, groups=4), (2, 8, 12, 12), 2 * 9, 3 * 9),
    (nn.Conv2d(8, 12, 4, stride=2, groups=4), (2, 8, 12, 12), 2 * 16, 3 * 16 / 4),
    (nn.Conv1d(8, 8, 5, groups=8), (2, 8, 12), 5, 5),
    (nn.Conv1d(8, 24, 5, groups=8, stride=5), (2, 8, 20), 5, 3),
    (nn.Conv1d(6, 10, 3, dilation=2), (2, 6, 12), 6 * 3, 10 * 3),
    (nn.ConvTranspose1d(6, 10, 3), (2, 6, 12), 6 * 3, 10 * 3),
    (nn.ConvTranspose2d(6, 10, 4, stride=2), (2, 6, 5, 5), 6 * 16 / 4, 10 * 16),
    (nn.ConvTranspose2d(8, 12, 4, stride=2, groups=4), (2, 8, 5, 5), 2 * 16 / 4, 3 * 16),
    (nn.ConvTranspose1d(8, 24, 6, stride=3, groups=8), (2, 8, 5), 6 / 3, 3 * 6),
]


def name(case: object) -> str:
    return repr(case) if isinstance(case, nn.Module) else ""


@pytest.mark.parametrize(("module", "shape", "fan_in", "fan_out"), FANS, ids=name)
def test_by_type_and_by_flow(
    module: nn.Module, shape: tuple[int, ...], fan_in: float, fan_out: float
) -> None:
    for inputs in (None, torch.ones(shape)):
        row = gi.plan(module, "he", inputs=inputs)["weight"]
        assert (row.fan_in, row.fan_out) == (fan_in, fan_out)


@pytest.mark.parametrize(("module", "shape", "fan_in", "fan_out"), FANS, ids=name)
def test_by_flow_alone(
    module: nn.Module, shape: tuple[int, ...], fan_in: float, fan_out: float
) -> None:
    """A bare parameter, and the function that the module calls."""

    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(module.weight.detach())

        def forward(self, x: Tensor) -> Tensor:
            if isinstance(module, nn.Linear):
                return functional.linear(x, self.w)
            kind = type(module).__name__  # Conv2d -> conv2d, ConvTranspose2d -> conv_transpose2d
            call = getattr(functional, kind.replace("Transpose", "_transpose").lower())
            options = {"stride": module.stride, "groups": module.groups}
            return call(x, self.w, dilation=module.dilation, **options)

    row = gi.plan(Bare(), "he", inputs=torch.ones(shape))["w"]
    assert (row.fan_in, row.fan_out) == (fan_in, fan_out)


@pytest.mark.parametrize(
    ("module", "weight", "fans"),
    [
        (nn.Embedding(20, 6), "weight", {"": (1, 6)}),
        (nn.Bilinear(3, 4, 5), "weight", {"": (3 * 4, (5 * 4 + 5 * 3) / 2)}),  # of its two inputs
        (nn.MultiheadAttention(6, 2), "in_proj_weight", dict.fromkeys("qkv", (6, 6))),
        (nn.MultiheadAttention(6, 2, kdim=4), "k_proj_weight", {"": (4, 6)}),
        (nn.LSTM(3, 5), "weight_ih_l0", dict.fromkeys(("in", "forget", "cell", "out"), (3, 5))),
        (nn.LSTM(3, 5), "weight_hh_l0", dict.fromkeys(("in", "forget", "cell", "out"), (5, 5))),
        (nn.GRU(3, 5), "weight_ih_l0", dict.fromkeys(("reset", "update", "new"), (3, 5))),
        (
            nn.LSTM(3, 5, proj_size=2),
            "weight_hh_l0",
            dict.fromkeys(("in", "forget", "cell", "out"), (2, 5)),
        ),
    ],
    ids=name,
)
def test_blocks_by_type(
    module: nn.Module, weight: str, fans: dict[str, tuple[float, float]]
) -> None:
    row = gi.plan(module, "he")[weight]
    assert {block.name: (block.fan_in, block.fan_out) for block in row.parts()} == fans
