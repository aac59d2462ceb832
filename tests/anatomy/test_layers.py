"""Layer numbers and depths: along stacks, by the flow and by the tree of modules."""

from __future__ import annotations

import pytest
import torch
from tests.steps import LINEAR, steps
from torch import nn

from goodinit.anatomy import read


class Block(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.first = nn.Linear(width, 2 * width)
        self.second = nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.second(torch.relu(self.first(x)))


class Other(Block):
    pass


def places(model, inputs=None):
    """Return name of each matrix -> (layer, depth)."""
    rows = read(model, inputs).rows
    return {r.name: (r.facets.layer, r.facets.depth) for r in rows if len(r.shape) > 1}


def layers(model, inputs=None, which="first.weight"):
    return [place for name, place in places(model, inputs).items() if name.endswith(which)]


X = torch.randn(2, 3, 4)
both = pytest.mark.parametrize("inputs", [None, X], ids=["types", "flow"])


@both
def test_a_stack(inputs):
    model = nn.Sequential(nn.Linear(4, 4), *(Block() for _ in range(3)), nn.Linear(4, 2))
    assert layers(model, inputs) == [(0, 3), (1, 3), (2, 3)]
    assert places(model, inputs)["0.weight"] == (None, 3)
    assert places(model, inputs)["4.weight"] == (None, 3)


@both
def test_stages_number_on(inputs):
    model = nn.Sequential(
        nn.Sequential(Block(), Block()), nn.Sequential(Block(), Block(), Block()),
    )  # fmt: skip
    assert layers(model, inputs) == [(n, 5) for n in range(5)]


def test_execution_order_rules_not_registration():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(Block() for _ in range(3))

        def forward(self, x):
            for block in reversed(self.blocks):
                x = block(x)
            return x

    assert layers(Backwards(), X) == [(2, 3), (1, 3), (0, 3)]


def test_layers_as_attributes_count_with_inputs():
    class Attributes(nn.Module):
        def __init__(self):
            super().__init__()
            self.b, self.a, self.c = Block(), Block(), Block()

        def forward(self, x):
            return self.c(self.b(self.a(x)))

    found = places(Attributes(), X)
    assert [found[f"{n}.first.weight"] for n in "abc"] == [(0, 3), (1, 3), (2, 3)]


def test_an_encoder_and_a_decoder_are_two_stacks():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.ModuleList(Block() for _ in range(2))
            self.decoder = nn.ModuleList(Other() for _ in range(4))

        def forward(self, x, y):
            for block in self.encoder:
                x = block(x)
            for block in self.decoder:
                y = block(y) + x.mean()
            return y

    found = layers(Both(), (X, X))
    assert found == [(0, 2), (1, 2), (0, 4), (1, 4), (2, 4), (3, 4)]


def test_two_towers_are_two_stacks():
    class Towers(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Sequential(*(Block() for _ in range(2)))
            self.b = nn.Sequential(*(Block() for _ in range(3)))

        def forward(self, x, y):
            return self.a(x) @ self.b(y).transpose(-1, -2)

    assert layers(Towers(), (X, X)) == [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]


def test_experts_side_by_side_are_no_layers():
    class Expert(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)

        def forward(self, x):
            return self.down(torch.relu(self.up(x)))

    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.experts = nn.ModuleList(Expert() for _ in range(3))

        def forward(self, x):
            return x + sum(expert(self.first(x)) for expert in self.experts)

    model = nn.Sequential(Mixture(), Mixture())
    assert layers(model, X) == [(0, 2), (1, 2)]
    assert layers(model, X, "up.weight") == [(0, 2)] * 3 + [(1, 2)] * 3


def test_a_shared_layer_has_its_first_place():
    block = Block()
    found = places(nn.Sequential(block, Block(), block), X)
    assert found["0.first.weight"][0] == 0


def test_mixed_kinds_of_layers_number_along_the_flow():
    """As in a hybrid of attention and state space: two classes, one stack."""
    model = nn.Sequential(Block(), Other(), Block(), Other())
    assert layers(model, X) == [(0, 4), (1, 4), (2, 4), (3, 4)]


def test_without_layers_each_weight_is_one():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    assert list(places(model, X).values()) == [(0, 3), (1, 3), (2, 3)]
    biases = [r.facets.layer for r in read(model, X).rows if len(r.shape) == 1]
    assert biases == [0, 1, 2]


def test_one_block_alone():
    found = places(nn.Sequential(nn.Linear(4, 4), Block()), X)
    assert all(depth == 1 for _, depth in found.values())  # its one residual sum
    unknown = places(nn.Sequential(nn.Linear(4, 4), Block()))
    assert set(unknown.values()) == {(None, None)}


@both
def test_a_list_within_a_layer_is_no_stack_of_layers(inputs):
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.ModuleList(
                nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2)) for _ in "ab"
            )
            self.first = nn.Linear(4, 4)

        def forward(self, x):
            return x + self.first(torch.cat([head(x) for head in self.heads], -1))

    model = nn.Sequential(Wide(), Wide(), Wide())
    assert layers(model, inputs) == [(0, 3), (1, 3), (2, 3)]
    assert set(layers(model, inputs, "heads.1.0.weight")) == {(0, 3), (1, 3), (2, 3)}


@pytest.mark.parametrize("wrap", ["compile", "checkpoint"])
def test_wrapped_layers_count_alike(wrap):
    blocks = [Block() for _ in range(3)]
    if wrap == "compile":
        model = nn.Sequential(*(torch.compile(block, backend="eager") for block in blocks))
    else:
        module = "torch.distributed.algorithms._checkpoint.checkpoint_wrapper"
        wrapper = pytest.importorskip(module).checkpoint_wrapper
        model = nn.Sequential(*(wrapper(block) for block in blocks))
    for inputs in (None, X):
        assert layers(model, inputs) == [(0, 3), (1, 3), (2, 3)]


def test_many_layers_cost_in_proportion():
    x = torch.randn(2, 2)
    with torch.device("meta"):
        few, many = (nn.Sequential(*(Block(2) for _ in range(n))) for n in (10, 40))
    assert layers(many, x)[-1] == (39, 40)
    assert steps(lambda: layers(many, x)) < LINEAR * steps(lambda: layers(few, x))


class TwoStreams(nn.Module):
    """As in SAM: the keys' stream takes what an attention makes of the queries' alone."""

    def __init__(self, size=8):
        super().__init__()
        for name in "qkvoefab":
            setattr(self, name, nn.Linear(size, size))
        self.norms = nn.ModuleList(nn.LayerNorm(size) for _ in range(3))

    def forward(self, x, y, places):
        x = self.norms[0](x + self.b(torch.relu(self.a(x))))
        keys = self.k(y + places)
        x = x + self.o((self.q(x + places) @ keys.mT).softmax(-1) @ self.v(y))
        x = self.norms[1](x)
        scores = self.e(y + places) @ self.f(x + places).mT
        return x, self.norms[2](y + scores.softmax(-1) @ x)


def test_no_depth_is_less_than_1():
    rows = read(TwoStreams(), tuple(torch.randn(2, 5, 8) for _ in range(3))).rows
    assert {row.facets.depth for row in rows} == {1}


class Tower(nn.Module):
    """Blocks that aren't modules, and what comes before and after."""

    def __init__(self, blocks, width=4):
        super().__init__()
        self.start, self.end = nn.Linear(width, width), nn.Linear(width, width)
        self.up = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))

    def forward(self, x):
        x = self.start(x)
        for up, down in zip(self.up, self.down, strict=True):
            x = x + down(torch.relu(up(x)))
        return self.end(x)


def test_each_of_two_towers_has_its_own_depth():
    class Dual(nn.Module):
        def __init__(self, make):
            super().__init__()
            self.a, self.b = make(4), make(12)

        def forward(self, x, y):
            return self.a(x) @ self.b(y).transpose(-1, -2)

    def row_of_blocks(count):
        return nn.Sequential(nn.Linear(4, 4), *(Block() for _ in range(count)), nn.Linear(4, 4))

    found = places(Dual(Tower), (X, X.clone()))
    assert {found[f"a.{n}.weight"][1] for n in ("start", "up.0", "down.3", "end")} == {2}
    assert {found[f"b.{n}.weight"][1] for n in ("start", "up.0", "down.11", "end")} == {6}
    found = places(Dual(row_of_blocks), (X, X.clone()))
    assert {found[f"a.{n}.weight"][1] for n in ("1.first", "4.second")} == {4}
    assert {found[f"b.{n}.weight"][1] for n in ("1.first", "12.second")} == {12}


@both
def test_a_stage_of_one_block_is_a_layer(inputs):
    """Its class comes in rows elsewhere; so it is one beside a plain layer of its own."""
    model = nn.Sequential(nn.Sequential(Block(), Block()), nn.Sequential(Block()))
    assert layers(model, inputs) == [(0, 3), (1, 3), (2, 3)]
    model = nn.Sequential(nn.Sequential(Block(), Block()), nn.Sequential(Other()))
    assert layers(model, inputs) == [(0, 2), (1, 2), (None, 2)]


@both
def test_another_class_in_the_same_list_is_a_layer(inputs):
    """The block that halves the resolution."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(Other(), Block(), Block()))
    assert layers(model, inputs) == [(0, 3), (1, 3), (2, 3)]


class Chosen(nn.Module):
    """Blocks in a list, run by a function of them and the input."""

    def __init__(self, count, run):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(count))
        self.run = run

    def forward(self, x):
        return self.run(self.blocks, x)


@pytest.mark.parametrize(
    ("count", "run", "expected"),
    [
        (3, lambda b, x: b[2](b[0](x) + b[1](x)), [(0, 1), (0, 2), (1, 2)]),  # the nearest
        (3, lambda b, x: b[2](b[1](x)) + b[0](x), [(0, 1), (0, 2), (1, 2)]),
        (2, lambda b, x: b[0](x) * b[1](x), [(None, 1), (None, 1)]),
    ],
)
def test_what_follows_what(count, run, expected):
    assert layers(Chosen(count, run), X) == expected
