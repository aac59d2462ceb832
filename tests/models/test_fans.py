"""Promise 3 inside whole models: under LeCun each projection keeps the second moment.

Each weight is drawn from N(0, 1/fan_in) of its own blocks; hooks compare E[y^2] with E[x^2] at
every projection, on what really flows there. Given the input X [rows, in], the output over W
has E[y^2] = E[x^2], and of s = sum y^2 over rows and the m independent outputs the variance is
2 tr(G^2) / m with G = X X^T: correlated rows count less. The tolerance is five of these.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from goodinit.anatomy import read

from . import zoo, zoo_hf

SIGMAS = 5.0


def build(name):
    return zoo_hf.build(name[3:]) if name.startswith("hf-") else zoo.build(name)


def lecun_(model, inputs, seed=0, scale=1.0):
    """Draw every weight from N(0, 1/fan_in) of its block; biases are zero, norms neutral."""
    # Not the seed of the zoo: its embeddings are the first numbers of seed 0.
    generator = torch.Generator().manual_seed(1000 + seed)
    tensors = dict(model.named_parameters())
    drawn: set[int] = set()
    with torch.no_grad():
        for row in read(model, inputs).rows:
            tensor = tensors.get(row.name)
            sites = row.sites()
            if tensor is None or sites[0][1].fan_in is None or row.facets.kind == "embedding":
                continue
            for block, site in sites:
                box = tuple(slice(a, b) for a, b in block.box)
                values = torch.randn(block.shape, generator=generator)
                tensor[box] = values * (scale * site.fan_in**-0.5)
            drawn.add(id(tensor))
        for module in model.modules():
            bias = getattr(module, "bias", None)
            if isinstance(bias, nn.Parameter):
                bias.zero_()
    return drawn


class Projections(TorchFunctionMode):
    """Compares what goes into and comes out of each product with a drawn weight."""

    def __init__(self, drawn: set[int]) -> None:
        super().__init__()
        self.drawn = drawn
        self.ratios: list[tuple[str, float, float]] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        with torch._C.DisableTorchFunction():
            if name == "linear" and id(args[1]) in self.drawn:
                self.compare(name, args[0], result, args[1].shape[0])
            elif name == "addmm" and id(args[2]) in self.drawn:
                self.compare(name, args[1], result, args[2].shape[1])
            elif name == "matmul" and id(args[1]) in self.drawn:
                self.compare(name, args[0], result, args[1].shape[-1])
            elif name == "bmm" and id(args[1]) in self.drawn:
                for x, y in zip(args[0], result, strict=True):
                    self.compare(name, x, y, y.shape[-1])
            elif name == "conv2d" and id(args[1]) in self.drawn:
                self.convolution(args, result)
        return result

    def compare(self, name: str, x: Tensor, y: Tensor, outputs: int) -> None:
        x, y = x.reshape(-1, x.shape[-1]).double(), y.reshape(-1, y.shape[-1]).double()
        gram = x @ x.T
        relative = math.sqrt(2 * float((gram**2).sum()) / outputs) / float(gram.trace())
        self.ratios.append((name, float(y.square().mean() / x.square().mean()), relative))

    def convolution(self, args: tuple, y: Tensor) -> None:
        """Of windows that lie inside the image: those on its border see zeros."""
        x, weight, _, stride, padding, _, groups = (*args, *(None,) * 7)[:7]
        stride, padding, groups = stride or (1, 1), padding or (0, 0), groups or 1
        height, width = weight.shape[2:]
        skip = [-(-p // s) for p, s in zip(padding, stride, strict=True)]
        if any(p % s for p, s in zip(padding, stride, strict=True)):
            return  # the windows of both grids don't meet
        if height > x.shape[2] or width > x.shape[3]:
            return  # no window lies inside
        columns = functional.unfold(x, (height, width), stride=stride)  # no padding: inside only
        columns = columns.transpose(1, 2).reshape(-1, columns.shape[1]).double()
        rows = (x.shape[2] - height) // stride[0] + 1
        cells = (x.shape[3] - width) // stride[1] + 1
        y = y[:, :, skip[0] : skip[0] + rows, skip[1] : skip[1] + cells]
        y = y.permute(0, 2, 3, 1).reshape(columns.shape[0], -1).double()
        each, out = columns.shape[1] // groups, y.shape[1] // groups
        second = variance = 0.0
        for group in range(groups):
            part = columns[:, group * each : (group + 1) * each]
            gram = part @ part.T
            second += float(gram.trace()) / each * out
            variance += 2 * float((gram**2).sum()) * out / each**2
        ratio = float(y.square().sum()) / second
        self.ratios.append(("conv2d", ratio, math.sqrt(variance) / second))


def check(model, inputs, drawn):
    arguments = inputs if isinstance(inputs, (dict, tuple)) else (inputs,)
    probe = Projections(drawn)
    model.eval()
    with torch.no_grad(), probe:
        model(**arguments) if isinstance(arguments, dict) else model(*arguments)
    return probe.ratios


NAMES = [
    *("mlp", "convnet", "resnet_basic", "vit", "gpt", "gpt_right", "llama", "moe"),
    *("hf-gpt2", "hf-llama", "hf-bert", "hf-convnext", "hf-clip"),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_projection_keeps_the_second_moment(name):
    model, inputs = build(name)
    ratios = check(model, inputs, lecun_(model, inputs))
    assert len(ratios) >= 4
    wrong = [(n, r, s) for n, r, s in ratios if abs(r - 1) > SIGMAS * s]
    assert not wrong


@pytest.mark.parametrize("name", ["vit", "gpt_right", "moe"])
def test_a_wrong_fan_is_noticed(name):
    """A test of the test: half of the variance fails it nearly everywhere."""
    model, inputs = build(name)
    ratios = check(model, inputs, lecun_(model, inputs, scale=0.5))
    missed = [r for _, r, s in ratios if abs(r - 1) <= SIGMAS * s]
    assert len(missed) < len(ratios) / 3


def test_the_mean_over_all_models_is_one():
    """All projections of all models together: a systematic 3 % would show."""
    total = weight = 0.0
    for name in NAMES:
        model, inputs = build(name)
        for seed in range(2):
            for _, ratio, sigma in check(model, inputs, lecun_(model, inputs, seed)):
                total += (ratio - 1) / sigma**2
                weight += 1 / sigma**2
    assert abs(total / weight) < SIGMAS / math.sqrt(weight)
    assert SIGMAS / math.sqrt(weight) < 0.03
