"""Bad inputs and odd surroundings: a clear error or an answer, and no trace left."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.signal.ways import WAYS, normal, squared
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

import goodinit as gi
from goodinit.errors import GoodinitError, LazyParameterError, MetaModelError, SignalError


def norms() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(8, 3)
    )


@contextmanager
def without_a_trace(net: nn.Module) -> Iterator[None]:
    first = next(net.parameters())
    first.grad = torch.ones_like(first)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    attributes = [dict(vars(module)) for module in net.modules()]
    modes = [module.training for module in net.modules()]
    random, enabled = torch.get_rng_state(), torch.is_grad_enabled()
    yield
    assert all(torch.equal(net.state_dict()[name], value) for name, value in state.items())
    assert [dict(vars(module)) for module in net.modules()] == attributes
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(p.grad is None for p in list(net.parameters())[1:])
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled() == enabled
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert not any(p._backward_hooks for p in net.parameters())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_left_behind(way: str, training: bool) -> None:
    net = norms().train(training)
    with without_a_trace(net):
        WAYS[way](net, normal(4, 8))


class Fails(nn.Module):
    """Raises forward or backward, after its BatchNorm and its dropout."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.net, self.where, self.runs = norms(), where, 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        x = self.net(x)
        if self.where == "forward":
            raise RuntimeError("half-way")
        out = x.exp()
        total = out * 1
        out.zero_()  # exp's backward pass needs what it returned
        return total


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_nothing_is_left_behind_by_a_raise(way: str, where: str) -> None:
    net = Fails(where)
    with without_a_trace(net), pytest.raises(SignalError, match=r"raised"):
        WAYS[way](net, normal(4, 8))


def test_nothing_is_left_behind_by_a_loss_that_raises() -> None:
    def loss(out: Tensor) -> Tensor:
        raise ValueError("no loss")

    net = norms()
    for way in (gi.measure, gi.theory.independence):
        with without_a_trace(net), pytest.raises(SignalError, match="no loss"):
            way(net, normal(4, 8), loss)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_refused(way: str) -> None:
    run = WAYS[way]
    net, x = nn.Linear(8, 8), normal(4, 8)
    for model, inputs, error, match in (
        (net, x[:0], SignalError, "batch is empty"),
        (nn.LazyLinear(8), x, LazyParameterError, "no shape yet"),
        (nn.Linear(8, 8, device="meta"), x, MetaModelError, "apply_"),
        (net, torch.ones(4, 8, dtype=torch.long), SignalError, "raised"),
        (net, (), SignalError, "raised"),
        (net, {"x": x}, SignalError, "raised"),
        (norms(), x[:1], SignalError, "more than 1 value"),  # BatchNorm's own word
    ):
        with pytest.raises(error, match=match):
            run(model, inputs)
    with torch.inference_mode():
        made, given = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), normal(4, 8)
        with pytest.raises(SignalError, match="leave it"):
            run(net, x)
    for model, inputs in ((made, x), (net, given)):
        with pytest.raises(SignalError, match=r"made under torch\.inference_mode"):
            run(model, inputs)


def test_nan_inputs() -> None:
    net, x = nn.Linear(8, 8), normal(4, 8) * math.nan
    assert [finding.code for finding in gi.measure(net, x).findings] == ["GI101"]
    with pytest.raises(SignalError, match="inputs are NaN or infinite"):
        WAYS["independence"](net, x)
    with pytest.raises(SignalError, match=r"isn't finite: see goodinit\.measure"):
        gi.theory.jacobian_spectrum(nn.Sequential(net, nn.Tanh()), x)


@dataclasses.dataclass
class Output:
    logits: Tensor
    count: int = 3


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Output:
        return Output(self.layer(self.layer(x)))


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.inner, self.reentrant = nn.Linear(8, 8), nn.Linear(8, 8), reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return checkpoint(lambda y: F.relu(self.inner(y)), x, use_reentrant=self.reentrant)


def test_surroundings() -> None:
    x = normal(4, 8)
    net = norms()
    with torch.no_grad():  # the caller's
        for way in WAYS.values():
            way(net, x)
    with torch.autocast("cpu", torch.bfloat16):
        for way in WAYS.values():
            way(net, x)
    for wrapped in (torch.compile(net, backend="eager"), nn.DataParallel(net)):
        for way in WAYS.values():
            way(wrapped, x)
    assert [row.key for row in gi.measure(Nested(), x).rows] == ["layer:linear", "layer:linear#2"]
    assert len(gi.theory.independence(Nested(), x, lambda out: out.logits.sum()).rows) == 2
    assert gi.theory.jacobian_spectrum(Nested(), x).shape == (4, 8)
    assert gi.measure(net, x.double().float().to_sparse().to_dense()).ok
    assert gi.measure(nn.Linear(8, 8), torch.eye(8).to_sparse()).rows


def test_checkpoints_are_measured_and_elsewhere_refused() -> None:
    x = normal(4, 8)
    assert gi.measure(Checkpointed(False), x).rows[-1].backward is not None
    for reentrant in (True, False):
        with pytest.raises(SignalError, match="checkpointing must be off"):
            WAYS["independence"](Checkpointed(reentrant), x)
    with pytest.raises(SignalError, match="backward pass raised"):
        gi.theory.jacobian_spectrum(Checkpointed(True), x)


def test_ddp_is_unwrapped() -> None:
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        net, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU()), normal(4, 8)
        wrapped = nn.parallel.DistributedDataParallel(net)
        assert gi.measure(wrapped, x) == gi.measure(net, x)
        assert next(net.parameters()).grad is None
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("loss", [None, squared])
def test_twice_is_the_same(loss: Callable[[Any], Tensor] | None) -> None:
    net, x = norms(), normal(16, 8)
    torch.manual_seed(1)
    assert gi.measure(net, x, loss) == gi.measure(net, x, loss)  # dropout and all


def test_frozen_models() -> None:
    net, x = norms().requires_grad_(False), normal(4, 8)
    with pytest.raises(SignalError, match=r"backward=False, or call model.requires_grad_\(\)"):
        gi.measure(net, x)
    assert gi.measure(net, x, backward=False).rows
    WAYS["independence"](net, x)
    assert not any(p.requires_grad for p in net.parameters())


def test_batch_norms_in_eval_mode_without_statistics_have_no_findings() -> None:
    """What they divide by is 1, which says nothing of how training starts."""
    parts = [p for _ in range(30) for p in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())]
    net, x = nn.Sequential(*parts), normal(16, 64)
    gi.init_(net, "xavier", seed=0)
    signal = gi.measure(net.eval(), x)
    assert signal.findings == ()
    assert "none have been taken" in signal.notes[0]
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.num_batches_tracked.fill_(1)  # so it says: then it is the signal that there is
    assert "GI108" in {finding.code for finding in gi.measure(net, x).findings}


def test_errors_have_one_root() -> None:
    assert issubclass(SignalError, GoodinitError)


class SecondHalf(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both, self.last = nn.Linear(8, 8), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.both(x).split(4, -1)[1])


def test_results_that_are_not_used_have_no_gradient() -> None:
    signal = gi.measure(SecondHalf(), normal(4, 8))
    assert signal["both:linear"].backward is not None
    assert signal["last:linear"].backward is not None
    last = gi.measure(nn.LSTM(8, 8), normal(6, 4, 8), lambda out: out[1][0].square().mean())
    assert all(gradient.ratio for gradient in last.gradients)


@pytest.mark.parametrize("way", WAYS)
def test_inputs_stay_where_a_model_begins_in_place(way: str) -> None:
    x = normal(8, 8)
    before, version = x.clone(), x._version
    WAYS[way](nn.Sequential(nn.Linear(8, 8), nn.ReLU(inplace=True)), x)
    assert x._version == version  # nothing was written, and nothing put back
    WAYS[way](nn.Sequential(nn.LeakyReLU(0.1, inplace=True), nn.Linear(8, 8)), x)
    assert torch.equal(x, before)


def test_whose_error_it_is() -> None:
    with pytest.raises(SignalError, match="the loss raised: ZeroDivisionError"):
        gi.measure(norms(), normal(4, 8), lambda out: out.sum() * (1 / 0))
    with pytest.raises(SignalError, match="the model raised in 0: RuntimeError"):
        gi.measure(norms(), normal(4, 9))
    with pytest.raises(MetaModelError, match="an input is on the meta device"):
        gi.measure(norms(), torch.empty(4, 8, device="meta"))
    with pytest.raises(GoodinitError, match=r"measuring takes a torch\.nn\.Module"):
        gi.measure(lambda x: x, normal(4, 8))
    with pytest.raises(SignalError, match="at least one recipe"):
        gi.compare(norms(), normal(4, 8), [])
    with pytest.raises(SignalError, match="NaN or infinite"):
        gi.theory.independence(norms(), normal(4, 8) / 0, squared, redraws=2)


def test_inputs_that_are_all_zero_are_said() -> None:
    net = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64))
    signal = gi.measure(net, torch.zeros(4, 8))
    assert "All inputs are 0" in signal.notes[0]
    assert "GI104" not in [finding.code for finding in signal.findings]


def test_one_line_mends_all_biases_that_dominate() -> None:
    net = nn.Sequential(*[p for _ in range(20) for p in (nn.Linear(64, 64), nn.ReLU())])
    gi.init_(net, "torch_default", seed=0)
    model, inputs = net, normal(32, 64)
    (found,) = (f for f in gi.measure(model, inputs).findings if f.code == "GI132")
    exec(found.remedy, {"gi": gi, "model": model, "inputs": inputs})
    assert gi.measure(model, inputs).ok
