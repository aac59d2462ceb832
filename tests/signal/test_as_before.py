"""What a model does to itself and to its inputs while it is measured is undone."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.signal.ways import WAYS, normal, squared
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

import goodinit as gi
from goodinit.errors import PlanError, SignalError
from goodinit.trace.snapshot import Snapshot


class Writes(nn.Module):
    """Writes to a frozen parameter, in one of many ways."""

    def __init__(self, write: Callable[[Writes], object], fail: bool = False) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8).requires_grad_(False)
        self.table = nn.Embedding(4, 8, max_norm=0.1)
        self.write, self.fail = write, fail

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.write(self)
        y = self.a(x).tanh() + self.b(x).detach()
        if self.fail:
            raise RuntimeError("half-way")
        return y


@torch.library.custom_op(
    "goodinit_tests::halve", mutates_args=("x",), schema="(Tensor(a!) x) -> ()"
)
def halve(x: Tensor) -> None:
    x.mul_(0.5)


def assigned(net: Writes) -> None:
    net.b.weight.data = net.b.weight.data * 0.9
    net.b.weight.data.add_(1)


WRITES: dict[str, Callable[[Writes], object]] = {
    "momentum": lambda net: net.b.weight.mul_(0.9).add_(net.a.weight, alpha=0.1),
    "operator": lambda net: net.b.weight.__iadd__(1.0),
    "data": lambda net: net.b.weight.data.mul_(0.9),
    "another memory": assigned,
    "another dtype": lambda net: setattr(net.table.weight, "data", net.table.weight.double()),
    "a view": lambda net: net.b.weight.t()[0].zero_(),
    "item": lambda net: net.b.weight.__setitem__(0, 1.0),
    "out": lambda net: torch.mul(net.a.weight, 2, out=net.b.weight),
    "several": lambda net: torch._foreach_mul_(list(net.b.parameters()), 0.5),
    "set": lambda net: net.b.weight.set_(torch.ones(8, 8)),
    "init": lambda net: nn.init.ones_(net.b.weight),
    "max_norm": lambda net: net.table(torch.arange(4)),
    "operator of one's own": lambda net: halve(net.b.weight),
    "packet": lambda net: torch.ops.goodinit_tests.halve(net.b.weight),
    "inplace": lambda net: F.relu(net.b.weight, inplace=True),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fail", [False, True], ids=["returns", "raises"])
def test_parameters_that_the_forward_writes(way: str, write: str, fail: bool) -> None:
    net = Writes(WRITES[write], fail)
    before = copy.deepcopy(net.state_dict())
    places = [p.data_ptr() for p in net.parameters()]
    if fail:
        with pytest.raises(SignalError, match="half-way"):
            WAYS[way](net, normal(4, 8))
    else:
        WAYS[way](net, normal(4, 8))
    for name, value in net.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name]), name
    assert [p.data_ptr() for p in net.parameters()] == places
    assert [p.requires_grad for p in net.parameters()] == [True, True, False, False, True]
    net.fail, net.write = False, lambda _: None
    net(normal(4, 8)).sum().backward()


def test_only_what_is_written_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters may fill the memory."""
    kept: list[Snapshot] = []
    put_back = Snapshot.put_back
    monkeypatch.setattr(Snapshot, "put_back", lambda self: (kept.append(self), put_back(self)))
    net = Writes(WRITES["momentum"])
    gi.measure(net, normal(4, 8))
    copied = {id(o.tensor) for one in kept for o in one._kept.values() if o.values is not None}
    assert id(net.b.weight) in copied
    assert not {id(p) for p in net.parameters() if p is not net.b.weight} & copied


class Averages(nn.Module):
    """Updates a buffer, a plain tensor and a frozen parameter with the graph on them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.shown = nn.Linear(8, 8), torch.zeros(8)
        self.register_buffer("ema", torch.zeros(8))
        self.register_buffer("repeated", torch.ones(1).expand(8))
        self.slow = nn.Parameter(torch.zeros(8), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.layer(x)
        for tensor in (self.ema, self.shown, self.slow):
            tensor.mul_(0.9).add_(0.1 * h.mean(0))
        return h - self.ema * self.repeated


@pytest.mark.parametrize("way", WAYS)
def test_tensors_that_are_updated_with_a_graph(way: str) -> None:
    net = Averages()
    WAYS[way](net, normal(4, 8))
    for tensor in (net.ema, net.shown, net.slow):
        assert tensor.is_leaf
        assert not tensor.requires_grad
        assert not tensor.any()
    net(normal(4, 8)).sum().backward()


def test_a_graph_of_the_caller_s_stays_good() -> None:
    """Buffers are put back, and torch doesn't take that for a change."""
    net, x = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), normal(4, 8)
    total = net.eval()(x).sum()
    gi.measure(net, x)
    total.backward()


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(lambda y: self.layer(y).relu(), x, use_reentrant=True)


@pytest.mark.parametrize("made", [False, True])
def test_gradients_of_inputs_stay_beside_reentrant_checkpoints(made: bool) -> None:
    leaf = normal(4, 8).requires_grad_()
    leaf.grad = torch.ones(4, 8)
    x = leaf.exp() if made else leaf
    signal = gi.measure(Checkpointed(), x)
    assert all(gradient.ratio for gradient in signal.gradients)
    assert torch.equal(leaf.grad, torch.ones(4, 8))
    x.sum().backward()  # the caller's own graph is still there


class Force(nn.Module):
    """Differentiates by its input, and freezes a part of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.a.bias.requires_grad_(False)
        self.b.bias.requires_grad = False
        x.requires_grad_()
        (force,) = torch.autograd.grad(self.b(self.a(x).tanh()).sum(), x, create_graph=True)
        return force


@pytest.mark.parametrize("way", WAYS)
def test_flags_that_the_forward_sets(way: str) -> None:
    net, x = Force(), normal(4, 8)
    WAYS[way](net, x)
    assert not x.requires_grad
    assert all(p.requires_grad for p in net.parameters())


class Trains(nn.Module):
    """Goes a step of its own in its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        self.layer(x).square().sum().backward()
        return self.layer(x)


def test_gradients_stay_where_the_forward_runs_backward() -> None:
    net = Trains()
    net.layer.weight.grad = torch.ones(8, 8)
    gi.measure(net, normal(4, 8))
    assert torch.equal(net.layer.weight.grad, torch.ones(8, 8))
    assert net.layer.bias.grad is None


class Draws(nn.Module):
    """Draws from generators of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.torch, self.python = torch.Generator().manual_seed(0), random.Random(0)
        self.numpy, self.old = np.random.default_rng(0), np.random.RandomState(0)

    def drawn(self) -> float:
        noise = torch.rand(1, generator=self.torch).item()
        return noise + self.python.random() + self.numpy.random() + self.old.rand()

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.drawn()


@pytest.mark.parametrize("way", WAYS)
def test_generators_of_the_model_s_own(way: str) -> None:
    net = Draws()
    WAYS[way](net, normal(4, 8))
    assert net.drawn() == Draws().drawn()


class Clamps(nn.Module):
    """Writes to integers that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(4, 8), nn.Linear(8, 8)

    def forward(self, ids: Tensor, x: Tensor) -> Tensor:
        return self.layer(self.table(ids.clamp_(max=3)) + x)


@pytest.mark.parametrize("way", WAYS)
def test_integers_that_are_given(way: str) -> None:
    ids = torch.arange(8)
    WAYS[way](Clamps(), (ids, normal(8, 8)))
    assert torch.equal(ids, torch.arange(8))


class _Raises(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        raise ValueError("no way back")


class Back(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return _Raises.apply(super().forward(x))


@pytest.mark.parametrize("way", WAYS)
def test_any_error_of_the_backward_pass_is_the_model_s(way: str) -> None:
    with pytest.raises(SignalError, match="the backward pass raised: ValueError: no way back"):
        WAYS[way](Back(8, 8), normal(4, 8))


class OneHot(nn.Linear):
    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(F.one_hot(ids, 8).float())


class Spectrum(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(super().forward(x))


def test_what_is_wrong_is_said() -> None:
    net, x, ids = nn.Linear(8, 8), normal(4, 8), torch.arange(4)
    with pytest.raises(SignalError, match="no input is floating, and no embedding"):
        gi.theory.independence(OneHot(8, 8), ids, squared)
    with pytest.raises(PlanError, match=r"plan='he' is no Plan: gi\.init_ and gi\.plan"):
        gi.theory.independence(net, x, squared, plan="he")
    for redraws in ("8", 2.5):
        with pytest.raises(SignalError, match=r"redraws=.* isn't a whole number"):
            gi.theory.independence(net, x, squared, redraws=redraws)
    for seeds in ("2", 1.5):
        with pytest.raises(SignalError, match=r"seeds=.* isn't a whole number"):
            gi.compare(net, x, ["he"], seeds=seeds)
    with pytest.raises(SignalError, match="returns only complex tensors"):
        gi.measure(Spectrum(8, 8), x)


@pytest.mark.parametrize("loss", [lambda y: y.detach().sum(), lambda y: y.argmax()])
def test_losses_without_a_way_back(loss: Callable[[Tensor], Tensor]) -> None:
    for way in (gi.measure, gi.theory.independence):
        with pytest.raises(SignalError, match="loss doesn't depend on the model's output in a way"):
            way(nn.Linear(8, 8), normal(4, 8), loss)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_nested_inputs(way: str, layout: torch.layout) -> None:
    x = torch.nested.nested_tensor([normal(2, 8), normal(3, 8)], layout=layout)
    with pytest.raises(SignalError, match=r"nested tensor.*pad it"):
        WAYS[way](nn.Linear(8, 8), x)
