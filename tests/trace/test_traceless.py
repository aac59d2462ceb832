"""A trace leaves no trace: what a model is and has is the same afterwards, also after an error."""

from __future__ import annotations

import collections
import gc
import random
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import goodinit as gi
from goodinit.anatomy import read
from goodinit.errors import TraceError
from goodinit.trace import attributes


class Everything(nn.Module):
    """Keeps things on itself, draws random numbers, writes to buffers and to its input."""

    def __init__(self, fail: bool = False, ask: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.raw = nn.Parameter(torch.randn(6, 6))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("average", torch.zeros(6))
        self.register_buffer("later", None)
        self.cache: dict[str, Tensor] = {}
        self.history: list[Tensor] = []
        self.mask: Tensor | None = None
        self.calls = 0
        self.fail, self.ask = fail, ask

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        self.steps += 1
        self.average.lerp_(x.detach().mean(0), 0.1)
        self.later = x.detach()
        self.calls += 1
        self.cache["x"] = x
        self.history.append(x)
        self.mask = torch.ones(6, 6).tril()
        self.attention = (x @ self.raw).softmax(-1)
        if self.ask and x.sum().item() > 1e9:
            return x
        y = functional.dropout(self.norm(self.linear(x)), 0.5, self.training)
        y = y + torch.randn_like(y) * random.random()
        if self.fail:
            raise RuntimeError("half way")
        return y @ self.raw


def photograph(model: nn.Module) -> dict[str, object]:
    """Return all that could have changed, in a form that can be compared."""

    def plain(value: object) -> object:
        if isinstance(value, Tensor):
            return id(value), value._version, value.tolist(), value.requires_grad, value.device
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        return repr(value) if isinstance(value, (int, float, str, bool)) else id(value)

    shot: dict[str, object] = {}
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            shot[f"{name}.{key}"] = (id(value), plain(value))
        for key, parameter in module._parameters.items():
            if parameter is not None:
                shot[f"{name}.{key}.grad"] = plain(parameter.grad)
                shot[f"{name}.{key}.data_ptr"] = parameter.data_ptr()
                shot[f"{name}.{key}.grad_fn"] = parameter.grad_fn is None
    hooks = torch.nn.modules.module
    for table in ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks"):
        shot[table] = len(getattr(hooks, table))
    shot["torch random"] = torch.get_rng_state().tolist()
    shot["python random"] = random.getstate()
    shot["grad mode"] = torch.is_grad_enabled()
    shot["fast path"] = torch.backends.mha.get_fastpath_enabled()
    shot["modes"] = torch.overrides._len_torch_function_stack()
    return shot


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [key for key in {**before, **after} if before.get(key) != after.get(key)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("ask", [False, True], ids=["meta", "real"])
@pytest.mark.parametrize("fail", [False, True], ids=["returns", "raises"])
def test_nothing_is_left(training, ask, fail):
    model = Everything(fail, ask).train(training)
    model.linear.weight.grad = torch.ones(6, 6)
    model.raw.grad = torch.zeros(6, 6)
    model.norm.eval()
    x = torch.randn(4, 6)
    values, version = x.clone(), x._version
    before = photograph(model)
    if fail:
        with pytest.raises(TraceError, match="half way"):
            read(model, x)
    else:
        assert read(model, x).how == ("real" if ask else "meta")
    assert not changed(before, photograph(model))
    assert not hasattr(model, "attention")
    assert torch.equal(x, values)
    assert x._version == version


def test_the_photograph_sees_a_run():
    """A test of the test: a plain run changes all of this."""
    model = Everything()
    before = photograph(model)
    model(torch.randn(4, 6))
    assert {*changed(before, photograph(model))} == {
        "._buffers", ".cache", ".history", ".mask", ".calls", ".attention", "norm._buffers",
        "torch random", "python random",
    }  # fmt: skip


def test_the_model_runs_and_trains_after_a_trace():
    model = Everything()
    x = torch.randn(4, 6)
    read(model, x)
    assert model.calls == 0
    model(x.clone()).sum().backward()
    assert model.raw.grad is not None
    assert model.calls == 1


def test_grads_of_inputs_and_graphs_are_untouched():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    leaf = torch.randn(5, 3, requires_grad=True)
    x = leaf * 2
    read(net, x)
    assert leaf.grad is None
    assert x.grad_fn is not None
    net(x).sum().backward()
    assert leaf.grad is not None


def test_inputs_written_in_place_stay():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, batch, tokens=None):
            batch["x"] += 1
            batch["x"][:, 0] = 0
            tokens[tokens > 3] = 0
            return self.linear(batch["x"]) * tokens

    for model in (Writes(), Writes().to("meta")):
        x, tokens = torch.randn(3, 4), torch.arange(4)
        same, same_tokens = x.clone(), tokens.clone()
        read(model, ({"x": x}, tokens))
        assert torch.equal(x, same)
        assert torch.equal(tokens, same_tokens)
        assert (x._version, tokens._version) == (0, 0)


def test_parameters_written_in_the_forward_stay():
    """Weight clipping, a moving target: writes to parameters, in place and through .data."""

    class Clips(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.target = nn.Parameter(torch.randn(4, 4), requires_grad=False)

        def forward(self, x):
            with torch.no_grad():
                self.target.mul_(0.9).add_(self.linear.weight, alpha=0.1)
                self.linear.weight.clamp_(-0.01, 0.01)
                self.linear.bias.data = torch.zeros(4)
                self.linear.bias.data.fill_(3.0)
            return self.linear(x) @ self.target + x.sum()

    model = Clips()
    x = torch.randn(2, 4)
    before = photograph(model)
    read(model, x)
    assert not changed(before, photograph(model))


def test_parameters_stay_where_the_model_runs_for_real():
    class Clips(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))

        def forward(self, x):
            with torch.no_grad():
                self.weight.clamp_(-0.01, 0.01)
            return x @ self.weight if x.sum().item() < 1e9 else x

    model = Clips()
    x = torch.randn(2, 4)
    before = photograph(model)
    assert read(model, x).how == "real"
    assert not changed(before, photograph(model))


def test_a_module_moved_in_the_forward_stays():
    """``self.router.to(dtype)`` in the forward, as Switch Transformers does it."""

    class Moves(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            self.linear = self.linear.to(torch.float32)
            return self.linear.half().float()(x)

    model = Moves()
    x = torch.randn(2, 4)
    before = photograph(model)
    assert read(model, x).how == "meta"
    assert not changed(before, photograph(model))


def test_hooks_of_the_user_stay_and_see_no_more_than_a_run():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    seen: list[str] = []
    net[0].register_forward_hook(lambda *_: seen.append("hook"))
    before = dict(net[0]._forward_hooks)
    read(net, torch.randn(2, 3))
    assert dict(net[0]._forward_hooks) == before
    assert len(seen) <= 1


def test_numpy_random_state_stays():
    numpy = pytest.importorskip("numpy")

    class Augments(nn.Linear):
        def forward(self, x):
            return super().forward(x * numpy.random.rand())

    before = numpy.random.get_state()[1].tolist(), numpy.random.get_state()[2]
    assert read(Augments(3, 3), torch.randn(2, 3)).how == "meta"
    after = numpy.random.get_state()[1].tolist(), numpy.random.get_state()[2]
    assert before == after


def test_a_cached_table_is_not_left_on_meta():
    """RoPE's table is built on the first call: one from a trace would break the next run."""

    class Rope(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)
            self.table = None

        def forward(self, x):
            if self.table is None:
                self.table = torch.arange(4.0, dtype=x.dtype, device=x.device).cos()
            return self.linear(x) * self.table

    model = Rope()
    read(model, torch.randn(2, 4))
    assert model.table is None
    assert model(torch.randn(2, 4)).device.type == "cpu"


class Holder:
    """An object of a model's own that keeps what it sees."""

    def __init__(self):
        self.last = None
        self.seen = []


def caches():
    """Return (empty container, how a model keeps a tensor in it) of each kind."""

    def by_key(container, tensor):
        container["last"] = tensor

    def at_end(container, tensor):
        container.append(tensor)

    def on_itself(holder, tensor):
        holder.last = tensor
        holder.seen.append(tensor)

    mappings = (dict, collections.OrderedDict, collections.Counter, collections.UserDict)
    yield from ((make, by_key) for make in mappings)
    yield lambda: collections.defaultdict(list), by_key
    yield from ((make, at_end) for make in (list, collections.deque, collections.UserList))
    yield lambda: collections.deque(maxlen=1), at_end
    yield set, lambda container, tensor: container.add(tensor)
    yield Holder, on_itself


@pytest.mark.parametrize("nest", [lambda x: x, lambda x: {"by layer": [x]}], ids=["own", "nested"])
@pytest.mark.parametrize(("make", "keep"), list(caches()))
def test_what_a_run_kept_in_a_container_is_gone(make, keep, nest):
    """A tensor on meta that stays in a cache breaks the next real call."""

    class Caching(nn.Linear):
        def forward(self, x):
            keep(self.cache, x := super().forward(x))
            return x

    model = Caching(3, 3)
    model.cache = make()
    model.held = nest(model.cache)
    keep(model.cache, before := torch.ones(()))
    copy = vars(model.cache).copy() if make is Holder else list(model.cache)
    read(model, torch.randn(2, 3))
    after = vars(model.cache) if make is Holder else list(model.cache)
    assert after == copy
    kept = model.cache.seen if make is Holder else [before]
    assert kept[0] is before


def test_a_container_that_did_not_change_is_not_written_to():
    class Careful(dict):
        def clear(self):
            raise AssertionError("cleared")

    model = nn.Linear(3, 3)
    model.table = Careful(a=1)
    read(model, torch.randn(2, 3))
    assert model.table == {"a": 1}


def test_a_container_that_contains_itself():
    model = nn.Linear(3, 3)
    model.loop = []
    model.loop.append(model.loop)
    read(model, torch.randn(2, 3))
    assert model.loop[0] is model.loop


def test_what_each_of_many_modules_holds_is_restored(monkeypatch):
    """The bound on what is searched counts what lies below the modules' own attributes."""
    monkeypatch.setattr(attributes, "MOST", 0)
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(3)))
    for layer in model:
        layer.cache = []
        layer.register_forward_hook(lambda module, args, out: module.cache.append(out))
    read(model, torch.randn(2, 3))
    assert [layer.cache for layer in model] == [[], [], []]


class Held:
    """Something of one run, as an activation or an open checkpoint."""


HELD: list[weakref.ref[Held]] = []  # not a model's: what a run adds to that is taken back


class Failing(nn.Linear):
    """Fails on meta, or everywhere, and notes what its runs hold."""

    def __init__(self, ask: bool) -> None:
        super().__init__(4, 4)
        self.ask = ask

    def forward(self, x: Tensor) -> Tensor:
        held = Held()
        HELD.append(weakref.ref(held))
        y = super().forward(x)
        if self.ask:
            return y if y.sum().item() < 1e9 else x
        raise RuntimeError("half way")


@pytest.mark.parametrize("ask", [True, False])
@pytest.mark.parametrize(
    "verb",
    [
        lambda model, x: gi.plan(model, "he", inputs=x),
        gi.measure,
        gi.calibrate_,
        gi.explain,
        lambda model, x: gi.forecast(model, x, gi.plan(model, "he")),
    ],
    ids=["plan", "measure", "calibrate_", "explain", "forecast"],
)
def test_a_failed_run_is_freed_at_once(verb: Callable[..., Any], ask: bool) -> None:
    """Not when the collector comes: until then torch before 2.13 keeps a checkpoint's hooks."""
    HELD.clear()
    raised = False
    gc.disable()
    try:
        verb(Failing(ask), torch.ones(2, 4))
    except gi.GoodinitError:
        raised = True
    finally:
        alive = [held() is not None for held in HELD]
        gc.enable()
    assert raised is not ask
    assert len(alive) >= 2
    assert not any(alive)
