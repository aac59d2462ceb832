"""Parts of a packed weight lie along its outputs, wherever the product has them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as fn

import goodinit as gi


class Net(nn.Module):
    def __init__(self, function, rows):
        super().__init__()
        self.w = nn.Parameter(torch.randn(rows, 8))
        self.out = nn.Linear(8, 8)
        self.function = function

    def forward(self, x):
        return self.out(self.function(self.w, x).mT)


def attention(qkv):
    q, k, v = (part.mT for part in qkv.chunk(3, -2))
    return fn.scaled_dot_product_attention(q, k, v).mT


PACKED = {
    "W @ x, glu": (lambda w, x: fn.glu(w @ x.mT, -2), ["in", "gate"]),
    "W @ x, gate": (lambda w, x: _gated((w @ x.mT).chunk(2, -2)), ["gate", "in"]),
    "einsum, glu": (lambda w, x: fn.glu(torch.einsum("oi,bti->bot", w, x), 1), ["in", "gate"]),
    "W @ x, attention": (lambda w, x: attention(w @ x.mT), ["q", "k", "v"]),
}


def _gated(pair):
    return torch.sigmoid(pair[0]) * pair[1]


@pytest.mark.parametrize(("function", "parts"), PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("steps", [5, 12, 40])  # fewer than outputs, and more
def test_parts_are_along_the_outputs(function, parts, steps):
    net = Net(function, 8 * len(parts))
    blocks = gi.plan(net, inputs=torch.randn(2, steps, 8))["w"].blocks
    assert [block.name for block in blocks] == parts
    assert [block.box[0] for block in blocks] == [(8 * i, 8 * i + 8) for i in range(len(parts))]
    assert gi.explain(net, inputs=torch.randn(2, steps, 8))["w"].name == "w"


def aten(x, w):
    return torch.convolution(x, w, None, [1], [1], [1], False, [0], 1)


@pytest.mark.parametrize("convolve", [lambda x, w: fn.conv1d(x, w, padding=1), aten])
def test_parts_of_a_kernel_lie_along_its_channels(convolve):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(12, 8, 3))

        def forward(self, x):
            return fn.glu(convolve(x, self.w), 1)

    row = gi.plan(Gated(), "lecun", inputs=torch.randn(2, 8, 6))["w"]
    assert [(block.name, block.box[0]) for block in row.blocks] == [
        ("in", (0, 6)),
        ("gate", (6, 12)),
    ]
