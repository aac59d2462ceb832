"""Activations with the products that they take the sum of, by types as by the flow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from goodinit.anatomy import read
from goodinit.anatomy.bends import Bend, Term, bends


def linear(bias: bool = True) -> nn.Linear:
    return nn.Linear(4, 4, bias=bias)


def stack(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


def text(model: nn.Module, inputs: torch.Tensor | None = None) -> list[str]:
    anatomy = read(model, inputs)
    names = [row.name for row in anatomy.rows]
    return [
        f"{one.function} {[(names[t.param], t.before) for t in one.terms]} "
        f"{[names[param] for param, _ in one.biases]}"
        for one in bends(anatomy)
    ]


TWO = ["tanh [('0.weight', -1)] ['0.bias']", "relu [('2.weight', 0)] ['2.bias']"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (stack(linear(), nn.Tanh(), linear(), nn.ReLU(), linear()), TWO),
        (stack(linear(), nn.Tanh(), linear(), nn.ReLU()), TWO[:1]),  # what the last one takes
        (stack(linear(), nn.Tanh(), linear(), nn.ReLU(), linear(), nn.LayerNorm(4)), TWO[:1]),
        (
            stack(linear(False), nn.Sigmoid(), linear(), nn.Dropout(), nn.ELU(2.0), linear()),
            ["sigmoid [('0.weight', -1)] []", "elu(2) [('2.weight', 0)] ['2.bias']"],
        ),
        (
            stack(stack(linear(), nn.Tanh(), linear(), nn.ReLU(), linear()), nn.LayerNorm(4),
                  stack(linear(), nn.Tanh(), linear(), nn.Tanh(), linear())),
            ["tanh [('0.0.weight', -1)] ['0.0.bias']", "tanh [('2.0.weight', -1)] ['2.0.bias']",
             "tanh [('2.2.weight', 1)] ['2.2.bias']"],
        ),
        (stack(linear(), linear()), []),
        (stack(nn.LayerNorm(4), nn.Embedding(3, 4)), []),
    ],
)  # fmt: skip
def test_by_types(model: nn.Module, expected: list[str]) -> None:
    assert text(model) == expected


def test_by_types_as_by_the_flow() -> None:
    model = stack(linear(), nn.Tanh(), linear(), nn.ReLU(), linear())
    x = torch.ones(2, 4)
    assert text(model, x) == text(model)
    flow, types = bends(read(model, x)), bends(read(model))
    assert flow == types
    assert types == (
        Bend("tanh", (Term(0, 1.0, -1, -1),), ((1, 1.0),), False, False),
        Bend("relu", (Term(2, 1.0, 0, -1),), ((3, 1.0),), False, False),
    )


def test_raw_stacks_are_not_known_by_types() -> None:
    raw = nn.Module()
    raw.w, raw.v = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))
    assert bends(read(raw)) == ()
    layers = stack(linear(), nn.Tanh(), linear(), nn.Tanh(), linear())
    layers[0].weight = nn.Parameter(torch.randn(3, 4, 4))  # no linear layer's any more
    assert text(layers) == ["tanh [('2.weight', -1)] ['2.bias']"]


def test_where_nothing_but_the_last_takes_a_result() -> None:
    found = bends(read(stack(linear(), nn.Tanh(), linear(), nn.Tanh()), torch.ones(2, 4)))
    assert [one.is_last for one in found] == [False, True]
    assert [[t.before for t in one.terms] for one in found] == [[-1], [0]]
