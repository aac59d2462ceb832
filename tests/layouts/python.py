"""Kind R: what a forward may do in Python and torch and still run: no error blames the model."""

from __future__ import annotations

import copy
import dataclasses
import io
import itertools
import warnings
from collections import OrderedDict
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as fn

import goodinit as gi

from .layout import Layout, Net, Verdict, graded, holds

X = (6, 24)


class Pair(NamedTuple):
    first: torch.Tensor
    second: dict[str, torch.Tensor]


def judge(layout: Layout) -> Verdict:
    """Both layers around it are read as what they are."""
    module = layout.make()
    with torch.random.fork_rng(devices=[]):
        module(*layout.draw())  # it runs
    plan = gi.plan(module, "standard", inputs=layout.draw())
    rows = [plan["a.weight"], plan["b.weight"]]
    fans = [24, layout.options.get("fan", 24)]
    told = [f"{row.name} {row.kind} {row.fan_in}" for row, fan in zip(rows, fans, strict=True)
            if row.kind != "linear" or row.fan_in != pytest.approx(fan, rel=0.02)]  # fmt: skip
    return graded(not told, not any(row.guessed for row in rows), "; ".join(told))


def between(function, **options):
    """A layer, the function, a layer; ``fan`` is the second one's, where it isn't 24."""

    def make():
        return Net(lambda m, x: m.b(function(m, m.a(x))), a=nn.Linear(24, 24), b=nn.Linear(24, 5))

    make.__name__ = function.__name__
    holds("R", X, judge, **options)(make)
    return function


@between
def type_by_name(m, x):
    return x + torch.ones(24).type(x.type())


@between
def type_as(m, x):
    return torch.ones(24).type_as(x) * x


@between
def to_its_device(m, x):
    return torch.ones(24).to(x.device) + x.to(torch.device("cpu"))


@between
def to_like(m, x):
    return torch.ones(24, dtype=torch.double).to(x) + x


@between
def module_to_device(m, x):
    m.a.to(x.device)
    return x


@between
def module_to_device_by_name(m, x):
    m.to("cpu")
    return x


@between
def module_to_like(m, x):
    m.b.to(device=x.device, dtype=x.dtype)
    return x


@between
def module_to_float(m, x):
    return m.float() and x.float()


@between
def old_constructors(m, x):
    return x + x.new(6, 24).zero_() + x.new_tensor([1.0]) + x.new_ones(24)


@between
def type_checks(m, x):
    assert isinstance(x, torch.FloatTensor)
    assert x.dtype is torch.float32
    assert not x.is_cuda
    return x


@between
def device_in_a_string(m, x):
    return x * (2.0 if str(x.device).startswith("cuda") else 1.0)


@between
def autocast(m, x):
    with torch.autocast(x.device.type, enabled=False):
        return x.float()


@between
def branch_on_a_value(m, x):
    return x * 2 if x.abs().max() > 0 else x


@between
def item(m, x):
    return x / max(x.abs().max().item(), 1e-6)


@between
def to_list(m, x):
    return x * sum(x.mean(0).tolist())


@between
def round_trip_through_numpy(m, x):
    return x + torch.from_numpy(np.tanh(x.detach().numpy()))


@between
def array_of_a_tensor(m, x):
    return x + float(np.asarray(x.detach()).mean())


@between
def gradient_inside(m, x):
    with torch.enable_grad():
        z = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(z.square().sum(), z)
    return x + slope


def force(layer, x):
    """The gradient of an energy."""
    with torch.enable_grad():
        z = x if x.requires_grad else x.detach().requires_grad_()
        return torch.autograd.grad(layer(z).sin().sum(), z, create_graph=True)[0]


@holds("R", X, judge)
def gradient_of_a_layer():
    layers = {"a": nn.Linear(24, 24), "energy": nn.Linear(24, 24), "b": nn.Linear(24, 5)}
    return Net(lambda m, x: m.b(force(m.energy, m.a(x))), **layers)


@between
def functional_gradient(m, x):
    return x + torch.func.vmap(torch.func.grad(lambda z: z.sin().sum()))(x)


@between
def numbers_in_a_vmap(m, x):
    return torch.func.vmap(lambda z: z * z.mean() + torch.tensor(0.5) * z[0])(x)


@between
def numbers_of_a_batch(m, x):
    """A vmap over numbers: each is a tensor without a value of its own."""
    rates = torch.linspace(0.1, 1, 24)
    return torch.func.vmap(lambda rate, z: torch.exp(-rate) * z, in_dims=(0, 1), out_dims=1)(
        rates, x
    )


@between
def associative_scan(m, x):
    """A parallel scan by halving, as of S5."""

    def scan(a, b):
        if len(a) < 2:
            return a, b
        odd_a, odd_b = scan(a[:-1:2] * a[1::2], a[1::2] * b[:-1:2] + b[1::2])
        even_a = torch.cat([a[:1], odd_a[: len(a[2::2])] * a[2::2]])
        even_b = torch.cat([b[:1], a[2::2] * odd_b[: len(a[2::2])] + b[2::2]])
        weave = lambda e, o: torch.stack([e, o], 1).flatten(0, 1)  # noqa: E731
        return weave(even_a, odd_a), weave(even_b, odd_b)

    line = x.reshape(-1)[:128]
    _, states = scan(torch.full((128,), 0.9), line)
    return x + states.mean()


@between
def jacobian(m, x):
    return x + torch.autograd.functional.jacobian(lambda z: z.sin().sum(0), x.detach()).sum((0, 1))


@between
def numbers_of_a_vmap(m, x):
    rows = torch.vmap(lambda row, number: row * number)(x, torch.arange(len(x)) / 100)
    return rows.reshape(x.shape)


@between
def without_gradient(m, x):
    with torch.no_grad():
        scale = x.norm()
    return x / scale


@between
def inference_mode(m, x):
    with torch.inference_mode():
        size = x.shape[0]
    return x / size


@between
def checkpoint_of_the_old_kind(m, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.utils.checkpoint.checkpoint(torch.sin, x, use_reentrant=True)


@between
def copied_module(m, x):
    copy.deepcopy(m.b)(x)
    return x


@between
def saved_to_a_buffer(m, x):
    torch.save(m.state_dict(), io.BytesIO())
    return x


@between
def state_on_the_module(m, x):
    m.last = x.detach()
    m.register_buffer("seen", x.detach().mean(0))
    return x + m.seen


@between
def running_average(m, x):
    if not hasattr(m, "average"):
        m.average = torch.zeros(24)
    m.average = 0.9 * m.average + 0.1 * x.detach().mean(0)
    return x - m.average


@between
def weight_changed_in_place(m, x):
    """A norm constraint on the next layer's weight, as in EEGNet."""
    with torch.no_grad():
        m.b.weight.data = torch.renorm(m.b.weight.data, 2, 0, 1.0)
    return x


@between
def rows_chosen_by_value(m, x):
    return torch.cat([x[x[:, 0] > 0], x[x[:, 0] <= 0]])


@between
def nonzero(m, x):
    rows = (x.sum(1) > -1e9).nonzero(as_tuple=True)[0]
    return x[rows]


@between
def masked_select_and_scatter(m, x):
    mask = x > 0
    return x.masked_scatter(mask, x.masked_select(mask) * 2)


@between
def unique_rows(m, x):
    _, inverse = torch.unique((x[:, 0] > 0).long(), return_inverse=True)
    return x + inverse[:, None]


@between
def sorted_and_back(m, x):
    values, order = x.sort(-1)
    return torch.zeros_like(x).scatter(-1, order, values)


@between
def topk_of_features(m, x):
    values, where = x.topk(8, dim=-1)
    return torch.zeros_like(x).scatter_(-1, where, values)


@between
def histogram(m, x):
    counts = torch.bincount((x[:, 0] > 0).long(), minlength=2)
    return x / counts.sum()


@between
def sparse_inside(m, x):
    adjacency = torch.eye(6).to_sparse()
    return torch.sparse.mm(adjacency, x)


@between
def sizes_as_tensors(m, x):
    size = torch.tensor(x.shape)
    return x.view(*size.tolist()) / size.prod()


@between
def named_tuples(m, x):
    pair = Pair(x, OrderedDict(y=x))
    return pair.first + pair.second["y"]


@between
def a_dataclass(m, x):
    @dataclasses.dataclass
    class Out:
        hidden: torch.Tensor

    return dataclasses.replace(Out(x), hidden=x * 2).hidden


@between
def a_generator(m, x):
    return sum(itertools.islice((x * k for k in itertools.count(1)), 3))


@between
def default_dtype_changed(m, x):
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return (x.double() + torch.ones(24)).float()
    finally:
        torch.set_default_dtype(before)


@between
def seeded_inside(m, x):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        noise = torch.randn(x.shape)
    return x + noise


@between
def a_generator_of_numbers(m, x):
    generator = torch.Generator(device=x.device).manual_seed(0)
    return x + torch.randn(x.shape, generator=generator, device=x.device)


@between
def eigenvalues(m, x):
    return x + torch.linalg.eigvalsh(x.T @ x)


@between
def assignment_problem(m, x):
    from scipy.optimize import linear_sum_assignment

    _, columns = linear_sum_assignment(torch.cdist(x, x).detach().numpy())
    return x[torch.as_tensor(columns)]


@between
def data_parallel(m, x):
    return nn.DataParallel(nn.Identity())(x)


@between
def hooks(m, x):
    found = []
    handle = m.a.register_forward_hook(lambda _, __, y: found.append(y))
    y = m.a(x)
    handle.remove()
    return y + found[0]


@partial(between, fan=24 * 0.5 + 1 + 2 * 0.4)  # E[relu(x)^2] is 1/2, E[relu(x)] is .4
def packed_bits(m, x):
    bits = (x > 0).to(torch.uint8)
    return x * bits.bool() + fn.one_hot(bits.sum(1).long() % 24, 24)


@between
def views_of_bytes(m, x):
    return x.view(torch.int32).view(torch.float32)
