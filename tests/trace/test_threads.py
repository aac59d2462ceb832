"""Threads that plan, draw, measure and explain at the same time don't see each other."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn import functional

import goodinit as gi
from goodinit._common.threads import one_thread, use_one_thread

ROUNDS = 3


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.second(functional.gelu(self.first(x)))


class Noisy(nn.Module):
    """Draws an integer, asks for its value, and warns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x):
        warnings.warn("a model's own", stacklevel=1)
        shift = int(torch.randint(1, 3, ()))
        return torch.relu(self.layer(x)).roll(shift, 0)


class Asks(nn.Linear):
    def forward(self, x):
        y = super().forward(x)
        return y if y.sum().item() < 1e9 else x


def model_of(number: int) -> tuple[nn.Module, torch.Tensor, str]:
    """Return a model, its input and a recipe; another for each thread."""
    width = 8 + 2 * number
    x = torch.randn(6, width, generator=torch.Generator().manual_seed(number))
    layers = [
        lambda: nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3)),
        lambda: nn.Sequential(*(Residual(width) for _ in range(3))),
        lambda: Noisy(width),
        lambda: nn.Sequential(Asks(width, width), nn.Tanh(), nn.Linear(width, 2)),
        lambda: nn.TransformerEncoderLayer(width, 2, 16, batch_first=True).eval(),
        lambda: nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()),
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(width, width))),
        lambda: nn.Sequential(nn.Linear(width, 64), nn.SiLU(), nn.Linear(64, width)),
    ]
    recipe = ["standard", "he", "xavier", "orthogonal"][number % 4]
    return layers[number](), x[:, None] if number == 4 else x, recipe


def results(number: int, given: tuple[nn.Module, torch.Tensor, str]) -> list[object]:
    """Return everything that one thread learns about its model in one round."""
    model, x, recipe = given
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    plan = gi.plan(model, recipe, inputs=x)
    gi.init_(model, recipe, inputs=x, seed=number)
    values = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # A real run that draws may take the ninth thread's numbers back: docs/limits.md.
    signal = gi.measure(model.layer if isinstance(model, Noisy) else model, x)
    explanation = gi.explain(model, inputs=x)
    assert all(torch.equal(values[n], t) for n, t in model.state_dict().items())
    bits = {name: tensor.tolist() for name, tensor in values.items()}
    return [plan.how, plan.to_dict(), bits, signal.to_dict(), explanation.to_dict()]


def differing(a: object, b: object, place: str = "") -> Iterator[tuple[str, object, object]]:
    """Yield (place, a's, b's) where two nests of lists and dicts differ."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for key in a:
            yield from differing(a[key], b[key], f"{place}.{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for number, pair in enumerate(zip(a, b, strict=True)):
            yield from differing(*pair, f"{place}[{number}]")
    elif a != b:
        yield place, a, b


class Others(threading.Thread):
    """A user's own thread: draws, warns and runs a model while the rest of us work."""

    def __init__(self) -> None:
        super().__init__()
        self.stop = threading.Event()
        self.model = nn.Linear(4, 4, bias=False)
        nn.init.eye_(self.model.weight)
        self.own: list[float] = []
        self.default: list[float] = []
        self.outputs: list[torch.Tensor] = []
        self.warned = 0
        self.error: Exception | None = None

    def run(self) -> None:
        generator = torch.Generator().manual_seed(5)
        try:
            while not self.stop.wait(0.001):
                self.own.append(torch.rand((), generator=generator).item())
                self.default.append(torch.rand(()).item())
                self.outputs.append(self.model(torch.ones(1, 4)))
                warnings.warn("a user's own", stacklevel=1)
        except Exception as error:
            self.error = error


def settle(together: threading.Barrier) -> None:
    """Use torch before another thread sets torch's number of threads, and sums' last bits."""
    torch.get_num_threads()
    together.wait()


def switches() -> list[object]:
    hooks = nn.modules.module
    return [
        torch.backends.mha.get_fastpath_enabled(),
        torch.get_num_threads(),
        gc.isenabled(),
        list(warnings.filters),
        len(hooks._global_forward_hooks),
        len(hooks._global_forward_pre_hooks),
        torch.is_grad_enabled(),
    ]


@pytest.mark.filterwarnings("always")
def test_eight_threads_get_what_one_gets_and_a_ninth_notices_nothing():
    # Built beforehand: torch draws the first weights from the default generator.
    models = [[model_of(number) for number in range(8)] for _ in range(1 + ROUNDS)]
    alone = list(map(results, range(8), models.pop()))
    before = switches()
    with warnings.catch_warnings(record=True) as warned:
        ninth = Others()
        torch.manual_seed(11)
        ninth.start()
        with ThreadPoolExecutor(8, initializer=settle, initargs=(threading.Barrier(8),)) as pool:
            rounds = [list(pool.map(results, range(8), each)) for each in models]
        ninth.stop.set()
        ninth.join()
    assert ninth.error is None
    for found in rounds:
        for number in range(8):
            assert not list(differing(alone[number], found[number])), number
    assert switches() == before
    own = torch.Generator().manual_seed(5)
    assert ninth.own == [torch.rand((), generator=own).item() for _ in ninth.own]
    assert len(ninth.own) > 10
    assert all(torch.equal(y, torch.ones(1, 4)) for y in ninth.outputs)
    torch.manual_seed(11)
    assert ninth.default == [torch.rand(()).item() for _ in ninth.default]
    texts = [str(warning.message) for warning in warned]
    assert texts.count("a user's own") == len(ninth.own)
    assert "a model's own" not in texts


def test_one_thread_is_one_threads_own():
    """A thread that starts meanwhile has as many as the process; nested and parallel use too."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread(), ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
            with one_thread():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
        with one_thread(), ThreadPoolExecutor(1, initializer=use_one_thread) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)
