"""Networks that are dead, identical or explode where no layer holds a parameter; healthy kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.signal.made import Calls, constant, linears, shifted, tensors, zeroed
from torch import Tensor, nn

import goodinit as gi
from goodinit.signal.measure import measured

F = nn.functional
L, S = nn.Linear, nn.Sequential
WIDTH = 32


def judged(net: nn.Module, *inputs: Tensor, **options: Any) -> dict[str, gi.Finding]:
    """Return the findings that aren't mere information, by code."""
    found = measured(net, inputs, **options).findings
    return {finding.code: finding for finding in found if finding.severity != "info"}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


# Units that are one unit: GI123.


def pooled(conv: nn.Module) -> nn.Module:
    return S(conv, nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), L(8 * 16, 4))


IDENTICAL: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "all constant": (
        *(lambda: constant(S(L(6, 9), nn.Tanh(), L(9, 9), nn.Tanh(), L(9, 3))), (16, 6)),
        "error",
    ),
    "one constant": (lambda: S(constant(L(6, 9)), nn.Tanh(), L(9, 3)), (16, 6), "warning"),
    "equal rows, other biases": (
        lambda: S(equal_rows(L(6, 9)), nn.GELU(), L(9, 3)),
        *((16, 6), "warning"),
    ),
    "kernels": (lambda: pooled(constant(nn.Conv2d(3, 8, 3, padding=1))), (8, 3, 4, 4), "warning"),
    "a raw matrix": (
        lambda: Calls(lambda m, x: m.o(x @ m.w), w=nn.Parameter(torch.ones(6, 9)), o=L(9, 3)),
        *((16, 6), "warning"),
    ),
    "a recurrent layer": (
        lambda: Calls(lambda m, x: m.o(m.r(x)[0]), r=constant(nn.GRU(6, 9)), o=L(9, 3)),
        *((16, 4, 6), "warning"),
    ),
}


def equal_rows(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape[1]).expand_as(layer.weight))
    return layer


@pytest.mark.parametrize("name", IDENTICAL)
def test_units_that_do_the_same(name: str) -> None:
    build, shape, severity = IDENTICAL[name]
    found = judged(build(), torch.randn(shape))
    assert found["GI123"].severity == severity


def test_units_of_frozen_averages_are_meant() -> None:
    net = S(constant(L(6, 9)).requires_grad_(False), L(9, 3))
    assert "GI123" not in judged(net, torch.randn(16, 6))


# Weights of zeros: GI122.

TOWERS: dict[str, tuple[Callable[[], nn.Module], str | None]] = {
    "all": (lambda: zeroed(S(L(6, 9), nn.Tanh(), L(9, 9), nn.Tanh(), L(9, 3))), "error"),
    "the last two": (lambda: S(L(6, 9), nn.Tanh(), zeroed(L(9, 9)), nn.GELU(), zeroed(L(9, 3))),
                     "error"),
    "before relu": (lambda: S(zeroed(L(6, 9)), nn.ReLU(), L(9, 3)), "error"),
    "before tanh": (lambda: S(zeroed(L(6, 9)), nn.Tanh(), L(9, 3)), "warning"),
    "a head": (lambda: S(L(6, 9), nn.Tanh(), zeroed(L(9, 3))), None),
    "a wide head and a bias": (lambda: S(L(6, 9), nn.Tanh(), only_weight(L(9, 30))), None),
}  # fmt: skip


def only_weight(layer: nn.Module) -> nn.Module:
    nn.init.zeros_(layer.weight)
    return layer


@pytest.mark.parametrize("name", TOWERS)
def test_zeros_in_a_trunk(name: str) -> None:
    build, severity = TOWERS[name]
    found = judged(build(), torch.randn(16, 6))
    if severity is None:
        assert not found
    else:
        assert found["GI122"].severity == severity


class Branch(nn.Module):
    def __init__(self, zeros: str) -> None:
        super().__init__()
        self.norm, self.a, self.b = nn.LayerNorm(WIDTH), L(WIDTH, WIDTH), L(WIDTH, WIDTH)
        for name in zeros:
            zeroed(getattr(self, name))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(F.gelu(self.a(self.norm(x))))


@pytest.mark.parametrize(("zeros", "ill"), [("", False), ("b", False), ("a", False), ("ab", True)])
def test_zeros_in_a_branch(zeros: str, ill: bool) -> None:
    net = S(L(6, WIDTH), Branch(zeros), Branch(zeros), L(WIDTH, 3))
    found = judged(net, torch.randn(16, 6))
    assert [f.severity for f in found.values() if f.code == "GI122"] == ["error"] * ill


def test_zeros_that_wait_for_others_are_no_finding() -> None:
    """An adapter's zeros get no gradient while a zero gate is before the sum, and then they do."""
    gate = nn.Parameter(torch.zeros(WIDTH))
    net = Calls(lambda m, x: m.head(x + m.gate * m.b(m.a(x))), gate=gate, a=L(WIDTH, 4),
                b=L(4, WIDTH), head=zeroed(L(WIDTH, 3)))  # fmt: skip
    assert not judged(net, torch.randn(16, WIDTH))


# Outputs that are one value: GI104.


class Step(torch.autograd.Function):
    """A spike, with the gradient of a sigmoid."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * x.sigmoid() * (1 - x.sigmoid())


def spiking(threshold: float) -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        u, count = torch.zeros(len(x), 3), torch.zeros(len(x), 3)
        for _ in range(5):
            u = 0.9 * u + m.b(Step.apply(m.a(x) - threshold))
            count = count + Step.apply(u - threshold)
        return count

    return Calls(run, a=L(6, WIDTH), b=L(WIDTH, 3))


def ended(end: Any, bias: float, outputs: int = 3) -> nn.Module:
    return Calls(
        lambda m, x: end(m.net(x)), net=S(L(6, 9), nn.ReLU(), shifted(L(9, outputs), bias))
    )


CONSTANT: dict[str, Callable[[], nn.Module]] = {
    "threshold": lambda: ended(nn.Threshold(9.0, 0.0), 0.0),
    "hardtanh": lambda: ended(F.hardtanh, 20.0),
    "relu6": lambda: ended(F.relu6, 20.0),
    "relu": lambda: ended(F.relu, -20.0),
    "clamp": lambda: ended(lambda y: y.clamp(-1, 1) * 2, -20.0),
    "softmax of one": lambda: ended(lambda y: y.softmax(-1), 0.0, 1),
    "sign": lambda: ended(torch.sign, 20.0),
    "spikes": lambda: spiking(50.0),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_an_output_that_is_one_value(name: str) -> None:
    backward = name != "sign"
    assert "GI104" in judged(CONSTANT[name](), torch.randn(64, 6), backward=backward)


VARYING: dict[str, Callable[[], nn.Module]] = {
    "hardtanh": lambda: ended(F.hardtanh, 0.0),
    "relu": lambda: ended(F.relu, 0.0),
    "spikes": lambda: spiking(0.1),
    "a head of zeros": lambda: Calls(lambda m, x: m.b(F.relu(m.a(x))).tanh(), a=L(6, 9),
                                     b=zeroed(L(9, 3))),
    "a gate of zero": lambda: Calls(lambda m, x: m.a(x) * m.g, a=L(6, 9),
                                    g=nn.Parameter(torch.zeros(()))),
    "a mask beside it": lambda: Calls(lambda m, x: (m.a(x), (x > -99).float()), a=L(6, 3)),
    "a log-determinant of 0": lambda: Calls(
        lambda m, x: (x * m.a(x).tanh().exp(), m.a(x).tanh().sum(-1)), a=zeroed(L(6, 6))),
}  # fmt: skip


@pytest.mark.parametrize("name", VARYING)
def test_an_output_that_is_not(name: str) -> None:
    assert not judged(VARYING[name](), torch.randn(64, 6))


# What multiplies a signal is a layer, whatever holds it: GI102 and GI103.


def by_sample(m: Any, x: Tensor, z: Tensor) -> Tensor:
    for layer in m.ls:
        x = F.relu(torch.einsum("bi,boi->bo", x, layer(z).view(-1, WIDTH, WIDTH)))
    return x


def generated(m: Any, x: Tensor, z: Tensor) -> Tensor:
    for layer in m.ls:
        x = F.relu(F.linear(x, layer(z[0]).view(WIDTH, WIDTH)))
    return x


def modulated(m: Any, x: Tensor, z: Tensor) -> Tensor:
    for layer in m.ls:
        x = x * layer(z)
    return x


def buffers(m: Any, x: Tensor, z: Tensor) -> Tensor:
    for n in range(8):
        x = F.relu(x @ getattr(m, f"w{n}"))
    return m.o(x)


def by_hand(m: Any, x: Tensor, z: Tensor) -> Tensor:
    for w in m.ws:
        x = F.elu((x[:, :, None] * w).sum(1))
    return x


def scaled(m: Any, x: Tensor, z: Tensor) -> Tensor:
    for w in m.ws:
        x = x * w
    return x


def factors(m: Any, x: Tensor, z: Tensor) -> Tensor:
    for w in m.ws:
        x = F.relu(x @ (w @ w.T))
    return x


def deep(kind: str, factor: float) -> nn.Module:
    """Eight layers, each of which multiplies the second moment by about ``factor``."""
    std = (factor / WIDTH) ** 0.5
    if kind in ("generated", "by_sample"):
        return Calls(globals()[kind], ls=linears(8, 16, WIDTH**2, std / 4 * 2**0.5))
    if kind == "modulated":
        return Calls(modulated, ls=linears(8, 16, WIDTH, factor**0.5 / 4))
    if kind == "buffers":
        weights = {f"w{n}": w for n, w in enumerate(tensors(8, std * 2**0.5, WIDTH, WIDTH))}
        return Calls(buffers, **weights, o=L(WIDTH, 3))
    if kind == "scaled":
        ws = [factor**0.5 * torch.ones(WIDTH) for _ in range(8)]
    elif kind == "factors":
        ws = tensors(8, std**0.5 * 2**0.25 * 4**-0.25, WIDTH, 4)
    else:
        ws = tensors(8, std, WIDTH, WIDTH)
    return Calls(globals()[kind], ws=nn.ParameterList(map(nn.Parameter, ws)))


KINDS = ("generated", "by_sample", "modulated", "buffers", "by_hand", "scaled", "factors")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("factor", "code"), [(40.0, "GI103"), (1 / 40, "GI102"), (1.0, None)])
def test_weights_that_no_call_takes_as_parameters(
    kind: str, factor: float, code: str | None
) -> None:
    backward = kind != "buffers"
    net, x, z = deep(kind, factor), torch.randn(64, WIDTH), torch.randn(64, 16)
    found = judged(net, x, z, backward=backward).keys() & {"GI102", "GI103"}
    assert found == ({code} if code else set())
