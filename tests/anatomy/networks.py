"""Small networks, one function each: sums, products, attentions, cells and gates in many forms.

How each is read is in ``networks.txt``; ``test_networks.py`` says more.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

SHAPES = {
    **dict.fromkeys("abcdef", (8, 8)), "wide": (8, 16), "tall": (16, 8), "pack": (24, 8),
    "out": (8, 3), "down": (8, 2), "up": (2, 8), "p": (8,), "r": (8,), "s": (), "w": (3,),
    "table": (11, 8), "k": (8, 8, 3, 3), "m": (8, 8, 3, 3), "one": (8, 8, 1, 1),
    "stack": (3, 8, 8), "cube": (3, 4, 8), "seen": (5, 8), "gates": (16, 32),
    "into": (8, 32), "back": (8, 32), "bias": (32,),
    "square": (5, 5), "pile": (3, 8, 8), "flat": (1, 32), "pair": (2,),
}  # fmt: skip
ZEROS = {
    "z": (8, 8), "zz": (8, 8), "n": (8,), "nn": (5, 8), "zup": (2, 8), "zdown": (8, 2),
    "zt": (11, 8), "zk": (8, 8, 3, 3),
}  # fmt: skip
BUFFERS = {
    "mask": (torch.arange(8) < 6).float(), "row": torch.arange(8.0) / 4, "ids": torch.arange(5),
    "mix": torch.linspace(-1, 1, 25).sin().view(5, 5) * 2, "keep": torch.eye(8) / 2,
}  # fmt: skip


RANDOM = torch.Generator().manual_seed(7)
VALUES = {name: torch.randn(shape, generator=RANDOM) / 4 for name, shape in SHAPES.items()}
VALUES |= {name: torch.zeros(shape) for name, shape in ZEROS.items()}
VALUES |= {"tiny": VALUES["a"] / 100, "small": VALUES["a"] / 20}


class Net(nn.Module):
    """The parameters and buffers that a function names, or those that it calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function
        named = names_in(function)
        for name, value in VALUES.items():
            if name in named:
                setattr(self, name, nn.Parameter(value))
        for name, value in BUFFERS.items():
            if name in named:
                self.register_buffer(name, value)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self, *inputs)


def names_in(function: Callable[..., Any]) -> set[str]:
    """Return the names in a function's code and in that of the functions that it names."""
    names, codes = set[str](), [function.__code__]
    while codes:
        code = codes.pop()
        new = {*code.co_names, *code.co_freevars} - names
        names |= new
        codes += [one for one in code.co_consts if isinstance(one, CodeType)]
        known = (function.__globals__.get(name) for name in new)
        codes += [one.__code__ for one in known if isinstance(one, FunctionType)]
    return names


ONES = torch.ones(2, 5, 8)
X, XY = (ONES,), (ONES, ONES.clone())
MAPS = (torch.ones(2, 8, 6, 6),)
IDS = (torch.tensor([[1, 2, 0, 4, 3]]),)

Case = tuple[tuple[Tensor, ...], Callable[..., Any]]
CASES: dict[str, Case] = {}


def network(inputs: tuple[Tensor, ...], name: str = "") -> Callable[[Callable[..., Any]], Any]:
    """Add a network by the name of its function."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        key = (name or function.__name__).replace("_", " ")
        assert key not in CASES, key
        CASES[key] = inputs, function
        return function

    return add


def norm(x: Tensor, weight: Tensor | None = None) -> Tensor:
    return fn.layer_norm(x, x.shape[-1:], weight)


def mlp(x: Tensor, first: Tensor, last: Tensor) -> Tensor:
    return (x @ first).relu() @ last


def short(inputs: tuple[Tensor, ...], **functions: Callable[..., Any]) -> None:
    """Add networks of one expression."""
    for name, function in functions.items():
        network(inputs, name)(function)
