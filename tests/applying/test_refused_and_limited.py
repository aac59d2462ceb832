"""Memory that two parameters share, plans of other classes, `only=`, frozen parameters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import goodinit as gi
from goodinit.errors import ExpandedParameterError, PlanError, RecipeError


class Sharing(nn.Module):
    """Two parameters on one memory: from ``first`` on, and from ``second`` on."""

    def __init__(self, make_first, make_second, device: str = "cpu") -> None:
        super().__init__()
        memory = torch.zeros(12, 10, device=device)
        self.a, self.b = nn.Parameter(make_first(memory)), nn.Parameter(make_second(memory))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        (lambda m: m[:6], lambda m: m[4:], True),
        (lambda m: m, lambda m: m[3], True),
        (lambda m: m[:, :6], lambda m: m[:, 5:], True),
        (lambda m: m[::2], lambda m: m[2:5], True),
        (lambda m: m[:2], lambda m: m.view(torch.int32)[1:3].view(torch.float32), True),
        (lambda m: m[:6], lambda m: m[6:], False),
        (lambda m: m[::2], lambda m: m[1::2], False),
        (lambda m: m[:, :5], lambda m: m[:, 5:], False),
    ],
)
def test_parameters_that_overlap_are_refused(first, second, overlap, device) -> None:
    model = Sharing(first, second, device)
    if overlap:
        with pytest.raises(ExpandedParameterError, match=r"a and b overlap in memory.*clone\(\)"):
            gi.plan(model, {"*": gi.Normal(0.1)})
        assert gi.plan(model, {"*": gi.Normal(0.1)}, keep="b")["b"].kept
    else:
        assert gi.plan(model, {"*": gi.Normal(0.1)}).ok


@pytest.mark.parametrize(
    ("planned", "other"),
    [
        (nn.Conv2d(4, 4, 3), nn.ConvTranspose2d(4, 4, 3)),
        (nn.ConvTranspose1d(4, 4, 3), nn.Conv1d(4, 4, 3)),
        (nn.Linear(8, 4, bias=False), nn.Embedding(4, 8)),
    ],
)
def test_a_plan_of_another_class_is_refused(planned: nn.Module, other: nn.Module) -> None:
    plan = gi.plan(planned, "he")
    says = f"weight: class {type(planned).__name__} in the plan, {type(other).__name__} in"
    with pytest.raises(PlanError, match=says):
        gi.apply_(other, plan)


def test_a_class_whose_axes_mean_the_same_is_no_other() -> None:
    class MyLinear(nn.Linear):
        pass

    gi.apply_(MyLinear(3, 2), gi.plan(nn.Linear(3, 2), "he"))
    gi.apply_(nn.SyncBatchNorm(3), gi.plan(nn.BatchNorm1d(3), "he"))


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, x])

    def right_inverse(self, x: Tensor) -> Tensor:
        return x[: len(x) // 2]


def test_a_parametrization_that_changes_the_shape() -> None:
    layer = nn.Linear(4, 8)
    parametrize.register_parametrization(layer, "weight", Doubled(), unsafe=True)
    plan = gi.plan(layer, "he")
    assert plan["weight"].shape == (8, 4)
    gi.apply_(layer, plan, seed=0)
    assert torch.equal(layer.weight[:4], layer.weight[4:])


def test_only_what_is_named_is_written() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    net(torch.randn(9, 4))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    plan = gi.init_(net, gi.Normal(0.02), only="2.*", seed=0)
    changed = [k for k, v in net.state_dict().items() if not torch.equal(v, before[k])]
    assert changed == [row.name for row in plan if not row.kept] == ["2.weight", "2.bias"]
    assert plan["0.weight"].why == "not in only="
    whole = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    gi.init_(whole, gi.Normal(0.02), seed=0)
    assert torch.equal(whole[2].weight, net[2].weight)  # as if all had been drawn
    both = gi.plan(net, "he", only=["0.*", "2.*"], keep="2.bias")
    assert [row.name for row in both if not row.kept] == ["0.weight", "0.bias", "2.weight"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"only": "2"}, r"only='2' names nothing that the model has. Did you mean '2\.\*'"),
        ({"only": ["2.wieght"]}, "Did you mean '2.weight'"),
        ({"only": [3]}, "only takes names or globs"),
        ({"keep": "0"}, r"keep='0' names nothing that the model has. Did you mean '0\.\*'"),
    ],
)
def test_a_name_that_matches_nothing_is_refused(given, says) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(RecipeError, match=says):
        gi.init_(net, "he", **given)


def frozen_backbone() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    net[0].requires_grad_(False)
    return net


def test_frozen_parameters_that_are_drawn_are_a_finding() -> None:
    def severities(model: nn.Module, recipe, **more) -> list[str]:
        return [f.severity for f in gi.plan(model, recipe, **more).findings if f.code == "GI138"]

    assert severities(frozen_backbone(), {nn.Linear: gi.XavierUniform()}) == ["warning"]
    assert severities(frozen_backbone(), {"0.*": gi.Zeros()}) == ["info"]  # asked for by name
    assert severities(frozen_backbone().requires_grad_(False), "he") == ["info"]
    assert severities(frozen_backbone(), "he") == []  # a library recipe keeps them
    assert severities(frozen_backbone(), {nn.Linear: gi.Zeros()}, only="2.*") == []
    with torch.device("meta"):
        empty = frozen_backbone()
    assert severities(empty, {nn.Linear: gi.XavierUniform()}) == []  # there is nothing to lose
