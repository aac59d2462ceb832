"""What a scheme that depends on the row becomes, on rows made by hand."""

import math

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.anatomy.rows import Adapter, Block, Facets, Row
from goodinit.errors import SchemeError
from goodinit.recipes.by_place import (
    EvenSteps,
    Fixup,
    LayerRamp,
    TallOrthogonal,
    UnitRows,
    XavierOverHeads,
)
from goodinit.recipes.deferred import (
    BesideRows,
    BranchNorm,
    Deferred,
    DropUpcycling,
    FirstLayer,
    LowRankPart,
    Neutral,
    ReluGain,
    StackGain,
    TorchFans,
)
from goodinit.schemes import Layout, Scheme
from goodinit.schemes.grown import DropUnits
from goodinit.schemes.low_rank import LowRank

LINEAR = Layout(outputs=(0,), inputs=(1,))
GROUPED = Layout(outputs=(0,), inputs=(1,), window=(2,), groups=4, stride=2)
HE, LECUN = gi.HeNormal(), gi.LeCunNormal()
RELU, STACK = ReluGain(HE, LECUN), StackGain(HE, LECUN)
OUT = gi.HeNormal(mode="fan_out")


def row(*shape: int, dtype: torch.dtype = torch.float32, **facets: object) -> Row:
    return Row("w", shape or (8, 8), dtype, nn.Linear, Facets(**{"layout": LINEAR, **facets}))


def stack(activation: str, plain: int, *shape: int, **more: object) -> Row:
    return row(*shape, activation=activation, plain=plain, **more)


def leaky(a: float) -> Scheme:
    return gi.HeNormal("leaky_relu", a=a)


def link(role: str, factor: float | None = 2.0) -> Row:
    return row(adapter=Adapter(role, "base.w", "a.w", "b.w", factor))


def low_rank(role: str) -> Scheme:
    return LowRank("pissa", role, base="base.w", down="a.w", up="b.w", factor=2.0)


def blocks(*names: str) -> tuple[Block, ...]:
    return tuple(Block(name, ((4 * n, 4 * n + 4), (0, 8))) for n, name in enumerate(names))


BECOMES: list[tuple[Deferred, Row, Scheme]] = [
    (Neutral(), row(part="bias", neutral=1.0), gi.Zeros()),
    (Neutral(), row(neutral=None), gi.Keep()),
    (Neutral(), row(neutral=1.0), gi.Ones()),
    (Neutral(), row(neutral=0.0), gi.Zeros()),
    (Neutral(), row(neutral=2.5), gi.Constant(2.5)),
    (BranchNorm(), row(neutral=1.0, depth=8), gi.Constant(0.25)),
    (BranchNorm(), row(neutral=0.0, depth=8), gi.Constant(-0.75)),
    (BranchNorm(), row(neutral=1.0, depth=None), gi.Ones()),
    (BranchNorm(), row(neutral=None, depth=8), gi.Keep()),
    (BesideRows(gi.Normal(0.1)), row(beside=0.25), gi.Normal(0.5)),
    (BesideRows(gi.Normal(0.1)), row(beside=None), gi.Normal(0.1)),
    # He's law with the gain of what follows, for functions that grow like relu.
    (RELU, row(activation="relu"), HE),
    (RELU, row(activation="relu6"), gi.HeNormal("relu6")),
    (RELU, row(activation="rrelu"), gi.HeNormal("rrelu")),
    (RELU, row(activation="leaky_relu"), leaky(0.01)),
    (RELU, row(activation="leaky_relu(0.2)"), leaky(0.2)),
    (RELU, row(activation="leaky_relu(-0.2, True)"), leaky(-0.2)),
    (RELU, row(activation="leaky_relu(1e-05)"), leaky(1e-5)),
    (RELU, row(activation="prelu"), leaky(0.25)),
    (RELU, row(activation="prelu(0.1)"), leaky(0.1)),
    (RELU, row(activation="tanh"), LECUN),
    (RELU, row(activation=None), LECUN),
    (RELU, row(activation="relu", squared=True), LECUN),
    (ReluGain(OUT, LECUN), row(activation="relu6"), gi.HeNormal("relu6", mode="fan_out")),
    (STACK, row(activation="tanh", plain=0), LECUN),
    (STACK, stack("relu", 9), HE),
    (STACK, stack("relu", 9, squared=True), LECUN),
    (STACK, stack("relu", 10), gi.Orthogonal(math.sqrt(2))),
    (STACK, stack("relu", 10, 8, 16), gi.Orthogonal(math.sqrt(2))),
    (STACK, stack("relu", 10, 16, 8), HE),  # of unit rows it would keep half of the signal
    (STACK, stack("relu", 10, 8, 8192), gi.Orthogonal(math.sqrt(2))),
    (STACK, stack("relu", 10, 8, 8193), HE),
    (STACK, stack("relu", 10, dtype=torch.cfloat), HE),
    (STACK, stack("relu", 10, layout=None), HE),
    (STACK, stack("relu", 10, layout=Layout(inputs=(1,))), HE),
    (STACK, stack("relu", 10, blocks=blocks("q", "k")), HE),
    # torch's fans: no stride, no groups.
    (TorchFans(OUT), row(8, 2, 3, layout=GROUPED), gi.Normal(math.sqrt(2 / 24))),
    (TorchFans(OUT, grouped=True), row(8, 2, 3, layout=GROUPED), gi.Normal(math.sqrt(2 / 6))),
    (TorchFans(HE), row(8, 2, 3, layout=GROUPED), gi.Normal(math.sqrt(2 / 6))),
    (TorchFans(OUT), row(8, layout=None), OUT),
    (TorchFans(OUT), row(8, layout=Layout(outputs=(0,))), OUT),
    (FirstLayer(HE, LECUN), row(takes_input=True), HE),
    (FirstLayer(HE, LECUN), row(takes_input=False), LECUN),
    (FirstLayer(HE, LECUN), row(takes_input=None), LECUN),
    # The hidden units of an expert are outputs of the first projections, inputs of the last.
    (DropUpcycling(0.25), row(part="in"), DropUnits(0.25, "outputs")),
    (DropUpcycling(), row(part="gate"), DropUnits(0.5, "outputs")),
    (DropUpcycling(), row(part="out"), DropUnits(0.5, "inputs")),
    (DropUpcycling(), row(ends_residual=True), DropUnits(0.5, "inputs")),
    (DropUpcycling(), row(blocks=blocks("expert0.in", "expert1.in")), DropUnits(0.5, "outputs")),
    (DropUpcycling(), row(blocks=blocks("expert0.out", "expert1.out")), DropUnits(0.5, "inputs")),
    *((LowRankPart("pissa"), link(role), low_rank(role)) for role in ("base", "in", "out")),
    (Fixup(OUT, exact=True), row(8, 2, 3, layout=GROUPED), OUT),
    (Fixup(OUT), row(8, 2, 3, layout=GROUPED), gi.Normal(math.sqrt(2 / 24))),
    (Fixup(OUT, exact=True), row(ends_residual=True, branch=(2, 16)), gi.Zeros()),
    (Fixup(HE, exact=True), row(ends_residual=False, branch=(2, 16)), HE.times(0.25)),
    (Fixup(HE, exact=True), row(ends_residual=False, branch=(3, 16)), HE.times(0.5)),
    (Fixup(HE, exact=True), row(ends_residual=False, branch=(1, 16)), HE.times(1 / 16)),
    (LayerRamp(1.0, 0.0), row(layer=1, depth=4), gi.Ramp(1.0, 0.0, 0.75)),
    (LayerRamp(1.0, 0.0, "behind"), row(layer=1, depth=5), gi.Ramp(1.0, 0.0, 0.25)),
    (EvenSteps(0.5), row(3, 5), gi.Ramp(0.0, 2.0)),
    (EvenSteps(0.5), row(2, 3, 5, layout=None), gi.Ramp(0.0, 2.0)),
    (UnitRows(), row(3, 16), gi.Normal(0.25)),
    (UnitRows(), row(2, 3, 16, layout=None), gi.Normal(0.25)),
    (UnitRows(), row(16, layout=None), gi.Normal(0.25)),
    (UnitRows("uniform"), row(3, 12), gi.Uniform(-0.5, 0.5)),
    (XavierOverHeads(), row(1, 2, 4), gi.Uniform(-1.0, 1.0)),
    (TallOrthogonal(0.5), row(16, 4), gi.Orthogonal(1.0)),
    (TallOrthogonal(0.5), row(4, 16), gi.Orthogonal(0.5)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("scheme", "on", "becomes"), BECOMES, ids=[f"{n}-{c[0]!r}" for n, c in enumerate(BECOMES)]
)
def test_on_a_row(scheme: Deferred, on: Row, becomes: Scheme) -> None:
    made = scheme.on(on)[0]
    site = on.sites()[0][1]
    assert type(made) is type(becomes)
    assert repr(made) == repr(becomes)  # the sixth digit: square roots round
    if not isinstance(made, (gi.Keep, DropUnits, LowRank)) and site.fan_in is not None:
        assert made.moments(site) == pytest.approx(becomes.moments(site), rel=1e-12)


@pytest.mark.parametrize(
    ("activation", "plain", "scale"),
    [
        ("tanh", 2, 2.5362),  # 1/E[tanh^2], which is bounded
        ("tanh", 10, None),
        ("gelu", 2, 2.1551),  # E[gelu(sqrt(q) z)^2] = 1
        # 1.0838^37 is below 20, ^38 is above: from then on that of large signals, 2.
        ("gelu", 38, None),
        ("gelu", 39, 2.0),
    ],
)
def test_a_plain_stack_has_the_gain_of_its_function(
    activation: str, plain: int, scale: float | None
) -> None:
    made, why = STACK.on(stack(activation, plain))
    assert isinstance(made, gi.Orthogonal) is (scale is None)
    assert bool(why)
    if scale is not None:
        assert made == gi.VarianceScaling(scale)


def test_a_row_says_why() -> None:
    whys = {
        FirstLayer(HE, LECUN).on(row(takes_input=None))[1]: "pass inputs=",
        RELU.on(row(activation="relu", squared=True))[1]: "square of a relu",
        LowRankPart("pissa").on(link("in"))[1]: "together with b.w",
        LowRankPart("pissa").on(link("out"))[1]: "together with a.w",
        LowRankPart("pissa").on(link("base"))[1]: "W - 2 B A",
        Fixup(HE).on(row(ends_residual=None))[1]: "pass inputs=",
        Fixup(HE).on(row(ends_residual=False))[1]: "in no residual branch",
        Fixup(HE).on(row(ends_residual=False, branch=(2, 0)))[1]: "in no residual",
        Fixup(HE).on(row(ends_residual=False, branch=(3, 16)))[1]: "3 weights in each of 16",
    }
    assert [text for why, text in whys.items() if text not in why] == []


@pytest.mark.parametrize(
    ("scheme", "on", "says"),
    [
        (LowRankPart("pissa"), row(), r"W x \+ s B A x in the data flow"),
        (LowRankPart("pissa"), link("in", None), "isn't known, or base.w has two adapters"),
        (DropUpcycling(), row(), "which axis are the hidden units"),
        (LayerRamp(1.0, 0.0), row(layer=None, depth=4), "needs to know the layer"),
        (LayerRamp(1.0, 0.0), row(layer=1, depth=None), "needs to know the layer"),
        (EvenSteps(1.0), Row("w", (), torch.float32, nn.Linear, Facets()), "a number has none"),
        (UnitRows(), Row("w", (), torch.float32, nn.Linear, Facets()), "a number has none"),
        (XavierOverHeads(), row(4), "two axes"),
        (TallOrthogonal(), row(4), "is for a matrix"),
    ],
)
def test_what_a_row_does_not_show(scheme: Deferred, on: Row, says: str) -> None:
    with pytest.raises(SchemeError, match=says):
        scheme.on(on)
