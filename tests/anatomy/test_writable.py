"""What can't be written to, and what a parametrization does to a scale."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm

from goodinit.anatomy.names import Slot, slots
from goodinit.anatomy.writable import (
    check_module,
    check_unsharded,
    check_writable,
    fixes_scale,
    is_number,
    is_shard,
    normalizes,
)
from goodinit.errors import (
    DtypeError,
    EmptyParameterError,
    ExpandedParameterError,
    MetaModelError,
    ModelError,
    ParametrizationError,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore:.*not writable:UserWarning"
)


class Halved(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 2


class Doubled(Halved):
    def right_inverse(self, x: Tensor) -> Tensor:
        return x * 2


def slot(tensor: Tensor) -> Slot:
    net = nn.Module()
    net.register_parameter("p", nn.Parameter(tensor, requires_grad=False))
    return Slot("p", net, "p", (net.p,))


def read_only() -> Tensor:
    values = np.zeros(4, dtype=np.float32)
    values.flags.writeable = False
    return torch.from_numpy(values)


def made_in_inference() -> Tensor:
    with torch.inference_mode():
        return torch.zeros(4)


@pytest.mark.parametrize(
    ("tensor", "error", "text"),
    [
        (torch.zeros(0), EmptyParameterError, r"p has size 0, shape \(0,\)"),
        (torch.zeros(3, 1).expand(3, 4), ExpandedParameterError, r"strides \(1, 0\)"),
        (torch.zeros(9).as_strided((3, 3), (2, 1)), ExpandedParameterError, r"strides \(2, 1\)"),
        (torch.eye(3).to_sparse(), DtypeError, "p is sparse"),
    ],
)
def test_what_can_not_be_written(tensor: Tensor, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        check_writable(slot(tensor))


def test_what_was_made_in_inference_mode_is_written_inside_alone() -> None:
    one = Slot("p", nn.Module(), "p", (made_in_inference(),))
    with pytest.raises(ModelError, match="was made in torch"):
        check_writable(one)
    with torch.inference_mode():
        check_writable(one)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(3), torch.zeros(4, 4)[:, ::2], torch.zeros(4, 4).T, torch.zeros(8)[2:5],
        torch.zeros(0, 3), torch.zeros(9).as_strided((3, 3), (1, 3)), torch.tensor(1.0),
        torch.zeros(3, 4, device="meta"), torch.from_numpy(np.zeros(4)),
    ],
    ids=str,
)  # fmt: skip
def test_what_can_be_written(tensor: Tensor) -> None:
    check_writable(slot(tensor))


def test_a_shard_of_size_0_lies_beside_no_layer_of_size_0() -> None:
    assert is_shard(slot(torch.zeros(0)))
    assert not is_shard(slot(torch.zeros(0, 3)))
    assert not is_shard(slot(torch.zeros(3)))
    for shape, shards in (((0, 3), [False, False]), ((3, 0), [False, True])):
        layer = nn.Module()  # of no outputs, so that its bias has size 0 by design; of no inputs
        layer.weight, layer.bias = nn.Parameter(torch.zeros(shape)), nn.Parameter(torch.zeros(0))
        assert [is_shard(one) for one in slots(layer)] == shards


@pytest.mark.parametrize(
    ("wrap", "fixed", "by_its_norm"),
    [
        (lambda m: m, "", False),
        (lambda m: prune.l1_unstructured(m, "weight", 0.5), "what is pruned stays zero", False),
        (spectral_norm, "spectral_norm divides", True),
        (parametrizations.spectral_norm, "spectral_norm divides", True),
        (parametrizations.orthogonal, "orthogonal makes", False),
        (parametrizations.weight_norm, "", True),
        (nn.utils.weight_norm, "", True),
        (lambda m: parametrize.register_parametrization(m, "weight", Doubled()), "", False),
    ],
)
def test_what_a_parametrization_does_to_a_scale(
    wrap: Callable[[nn.Module], nn.Module], fixed: str, by_its_norm: bool
) -> None:
    one = next(s for s in slots(wrap(nn.Linear(4, 4))) if s.attr == "weight")
    assert fixes_scale(one).startswith(fixed)
    assert bool(fixes_scale(one)) == bool(fixed)
    assert normalizes(one) is by_its_norm


def test_a_parametrization_is_written_through_its_inverse() -> None:
    def of(step: nn.Module) -> Slot:
        layer = nn.Linear(4, 4)
        parametrize.register_parametrization(layer, "weight", step)
        return next(s for s in slots(layer) if s.attr == "weight")

    check_writable(of(Doubled()))
    with pytest.raises(ParametrizationError, match=r"weight goes through Halved, which has no"):
        check_writable(of(Halved()))
    for orthogonal_map, writable in (("householder", True), ("cayley", False)):
        layer = parametrizations.orthogonal(
            nn.Linear(4, 4), orthogonal_map=orthogonal_map, use_trivialization=False
        )
        one = next(s for s in slots(layer) if s.attr == "weight")
        if writable:
            check_writable(one)
        else:
            with pytest.raises(ParametrizationError, match="_Orthogonal"):
                check_writable(one)
    check_writable(next(s for s in slots(parametrizations.orthogonal(nn.Linear(4, 4)))
                        if s.attr == "weight"))  # fmt: skip


def test_numbers_have_a_floating_point() -> None:
    found = [is_number(t) for t in (torch.half, torch.float8_e5m2, torch.cfloat, torch.int8)]
    assert found == [True, True, True, False]


def test_a_part_is_not_planned_alone() -> None:
    check_unsharded(slot(torch.zeros(3)))
    parameter = nn.Parameter(torch.empty(0))
    parameter.ds_shape, parameter.ds_tensor = torch.Size((2, 3)), torch.zeros(6)
    net = nn.Module()
    net.p = parameter
    (one,) = slots(net)
    with pytest.raises(EmptyParameterError, match=r"split by ZeRO-3, and this .* 0 to 6"):
        check_unsharded(one)
    with pytest.raises(EmptyParameterError, match="size 0"):
        check_writable(one)


def test_a_fake_tensor_is_not_written() -> None:
    fake = pytest.importorskip("torch._subclasses.fake_tensor")
    with fake.FakeTensorMode():
        tensor = torch.zeros(3)
    with pytest.raises(MetaModelError, match="p is a FakeTensor"):
        check_writable(Slot("p", nn.Module(), "p", (tensor,)))


LAYER = nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("given", "what", "said"),
    [
        (nn.ReLU, "plan", "the class ReLU: call it. Pass ReLU()"),
        (nn.Linear, "plan", "the class Linear: call it. Pass Linear(...)"),
        (functools.partial(nn.ReLU), "plan", "a function: call it. Pass function()"),
        (LAYER.forward, "plan", "its forward. Pass the model itself"),
        ([nn.ReLU()], "plan", "[ReLU()]. Pass torch.nn.ModuleList(layers)"),
        ((nn.ReLU(),), "plan", "(ReLU(),). Pass torch.nn.ModuleList(layers)"),
        ([nn.ReLU(), 3], "plan", "[ReLU(), 3]. Pass the module that has these parameters"),
        ({"a": 3}, "plan", "{'a': 3}. Pass the module that has these parameters"),
        ({nn.ReLU()}, "plan", "{ReLU()}"),
        (LAYER.weight, "plan", "Pass the module that holds it, such as model.fc"),
        (torch.ones(2), "plan", "Pass the model first"),
        (torch.ones(2), "explain", "Pass the module that holds it, such as model.fc"),
        (np.ones(2), "explain", "Pass the module that holds these values"),
        ("gpt2", "explain", "'gpt2'. Pass the model first"),
        (Path("gpt2"), "plan", "Pass the model first"),
        (SimpleNamespace(rows=()), "plan", "namespace(rows=()). Pass the model first"),
        (np.ones(2), "plan", "Pass the module that holds these values"),
        (len, "plan", "Pass the torch.nn.Module that it calls"),
        (3, "plan", "got 3"),
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_what_is_no_module(given: object, what: str, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        check_module(given, what)
    assert str(caught.value).startswith(f"{what} takes a torch.nn.Module, got ")
    assert str(caught.value).endswith(said)


def test_a_module_is_given_back() -> None:
    assert check_module(LAYER, "plan") is LAYER
