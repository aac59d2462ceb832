"""An observer's own bug is raised as what it is, however the model is run."""

from __future__ import annotations

import traceback

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.errors import SignalError
from goodinit.signal.observer import MomentsObserver
from goodinit.theory import observers
from goodinit.theory.observers import GradientObserver
from goodinit.trace import trace
from goodinit.trace.calls import NullObserver
from goodinit.trace.real_run import real_run

METHODS = ("source", "enter", "leave", "call")


def index_out_of_range(*_: object) -> None:
    raise IndexError


def index_out_of_range_of_a_gradient(tensor: torch.Tensor) -> float:
    """Fail at what has no graph, as a gradient; a weight is measured when the model runs."""
    if tensor.requires_grad:
        return 1.0
    raise IndexError


def faulty(method: str) -> NullObserver:
    """Return an observer with a bug in one method."""
    observer = NullObserver()
    setattr(observer, method, index_out_of_range)
    return observer


class Asks(nn.Linear):
    """Runs for real only: it looks at a value."""

    def forward(self, x):
        return super().forward(x) if x.sum().item() < 1e9 else x


class Catches(nn.Module):
    """Tries one way, and takes another where that raises."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        try:
            return self.layer(x)
        except Exception:
            return x


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", [nn.Linear(4, 4), Asks(4, 4), Catches()], ids=type)
def test_a_trace_raises_an_observers_bug(model, method):
    made = []

    def make() -> NullObserver:
        # A model that asks for values is first tried on meta, with an observer in order.
        bug = method if made or not isinstance(model, Asks) else "nothing"
        made.append(faulty(bug))
        return made[-1]

    with pytest.raises(IndexError) as caught:
        trace(model, torch.randn(2, 4), make, {})
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "index_out_of_range"
    assert len(made) == 1 + isinstance(model, Asks)


@pytest.mark.parametrize("method", ["enter", "leave", "call"])
@pytest.mark.parametrize("model", [nn.Linear(4, 4), Catches()], ids=type)
def test_a_real_run_raises_an_observers_bug(model, method):
    x = torch.randn(2, 4)

    def blame_the_model() -> None:
        with real_run(model) as run:
            try:
                run(faulty(method), {}, lambda: model(x))
            except Exception as error:
                raise SignalError("the model raised") from error

    with pytest.raises(IndexError):
        blame_the_model()


@pytest.mark.parametrize("method", ["enter", "leave", "call"])
def test_measure_does_not_blame_the_model_for_it(method, monkeypatch):
    monkeypatch.setattr(MomentsObserver, method, index_out_of_range)
    with pytest.raises(IndexError):
        gi.measure(nn.Linear(4, 4), torch.randn(2, 4))


def test_measure_does_not_blame_the_backward_pass(monkeypatch):
    monkeypatch.setattr(MomentsObserver, "_gradient_arrived", index_out_of_range)
    with pytest.raises(IndexError):
        gi.measure(nn.Linear(4, 4), torch.randn(2, 4))


@pytest.mark.parametrize("method", ["change", "_layer", "_multiply", "_arrival"])
def test_independence_does_not_blame_the_model(method, monkeypatch):
    monkeypatch.setattr(GradientObserver, method, index_out_of_range)
    with pytest.raises(IndexError):
        gi.theory.independence(nn.Linear(4, 4), torch.randn(8, 4), lambda y: y.square().sum())


def test_independence_does_not_blame_the_backward_pass(monkeypatch):
    monkeypatch.setattr(observers, "squared_norm", index_out_of_range_of_a_gradient)
    with pytest.raises(IndexError):
        gi.theory.independence(nn.Linear(4, 4), torch.randn(8, 4), lambda y: y.square().sum())


def test_the_model_s_own_exception_stays_the_model_s():
    with pytest.raises(SignalError, match="mat1 and mat2"):
        gi.theory.independence(nn.Linear(5, 4), torch.randn(8, 4), lambda y: y.square().sum())


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_of_a_run_with_a_faulty_observer(method):
    model, x = nn.Linear(4, 4), torch.randn(2, 4)
    hooks = len(nn.modules.module._global_forward_hooks)
    with pytest.raises(IndexError):
        trace(model, x, lambda: faulty(method), {})
    assert len(nn.modules.module._global_forward_hooks) == hooks
    assert torch.overrides._len_torch_function_stack() == 0
    assert gi.plan(model, inputs=x).how == "meta"
