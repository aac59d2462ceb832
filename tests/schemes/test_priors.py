"""`PriorBias`: the bias at which a head starts with what is known of its targets."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi
from goodinit.errors import CallError, RecipeError, SchemeError, UnusedRuleError
from goodinit.schemes import Site, priors

SHARES = (0.7, 0.2, 0.1)


class Detector(nn.Module):
    """Two heads; the classes come out as shares."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3)
        self.one = nn.Conv2d(8, 6, 1)
        self.two = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.body(x).relu()
        return {"one": self.one(x).flatten(2).sigmoid(), "two": self.two(x)}


IMAGES = torch.ones(2, 3, 8, 8)


def with_prior(scheme: gi.Scheme, where: str = "") -> gi.Recipe:
    heads = gi.sel.head_bias()
    return gi.recipe("he").override(gi.Rule(heads & gi.sel.name(where) if where else heads, scheme))


def test_retinanet() -> None:
    plan = gi.plan(Detector(), with_prior(gi.PriorBias(0.01), "one.*"), inputs=IMAGES)
    assert plan["one.bias"].mean == pytest.approx(-math.log(0.99 / 0.01), rel=1e-12)
    assert plan["two.bias"].scheme == plan["body.bias"].scheme == gi.Zeros()
    assert plan.ok


def test_one_prior_for_two_heads_is_a_finding() -> None:
    plan = gi.plan(Detector(), with_prior(gi.PriorBias(0.01)), inputs=IMAGES)
    (finding,) = (f for f in plan.findings if f.code == "GI150")
    assert (finding.severity, finding.where) == ("warning", "one.bias, two.bias")
    assert "gi.sel.head_bias() & gi.sel.name('one.*')" in finding.remedy


@pytest.mark.parametrize("last", [nn.Identity(), nn.LogSoftmax(-1), nn.Softmax(-1)])
def test_the_first_loss_is_the_entropy_of_the_classes(last: nn.Module) -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3), last)
    x = torch.randn(1000, 4, generator=torch.manual_seed(0))
    recipe = with_prior(gi.PriorBias(SHARES)).override(gi.Rule("2.weight", gi.Normal(1e-4)))
    plan = gi.init_(net, recipe, inputs=x, seed=0, materialize="cpu")
    assert gi.Plan.from_dict(plan.to_dict()) == plan
    assert gi.Recipe.from_toml(recipe.to_toml()) == recipe
    targets = torch.arange(3).repeat_interleave(torch.tensor([700, 200, 100]))

    def loss(y: Tensor) -> Tensor:
        y = y.log() if isinstance(last, nn.Softmax) else y
        return nn.functional.cross_entropy(y, targets)

    signal = gi.measure(net, x, loss)
    found = signal.first_loss
    assert found is not None
    assert found.by_frequency == pytest.approx(-sum(p * math.log(p) for p in SHARES))
    assert found.value == pytest.approx(found.by_frequency, abs=1e-4)
    assert (found.classes, found.blind) == (3, math.log(3))
    assert found.text() in " ".join(signal.to_text().split())


def test_a_mean_target() -> None:
    net = nn.Sequential(nn.Linear(4, 2))
    means = gi.PriorBias([22.5, -3.0], link="identity")
    gi.init_(net, with_prior(means), inputs=torch.ones(2, 4), seed=0)
    assert net[0].bias.tolist() == [22.5, -3.0]
    several = gi.PriorBias([0.5, 0.9], link="sigmoid")
    gi.init_(net, with_prior(several), inputs=torch.ones(2, 4), seed=0)
    assert net[0].bias.sigmoid().tolist() == pytest.approx([0.5, 0.9])


def test_counts_are_frequencies() -> None:
    assert gi.PriorBias([900, 90, 10]) == gi.PriorBias((0.9, 0.09, 0.01))
    assert gi.PriorBias(torch.tensor([3, 1])).p == (0.75, 0.25)
    rounded = (0.334, 0.333, 0.3335)  # frequencies as they are written down, and stay
    assert gi.PriorBias(rounded).p == rounded
    bias = torch.empty(3, dtype=torch.float64)
    gi.PriorBias(rounded).fill_(bias, None, Site((3,)))  # type: ignore[arg-type]
    assert bias.exp().tolist() == pytest.approx([p / sum(rounded) for p in rounded], rel=1e-12)
    assert gi.PriorBias([0.5, 0.501]).p == (0.5, 0.501)
    with pytest.raises(SchemeError, match=r"add up to 1, and these to 1\.0011"):
        gi.PriorBias([0.5, 0.5011])
    assert gi.PriorBias([1, 1]).p == (0.5, 0.5)


def test_a_list_has_at_most_as_many_classes_as_a_file_may_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(priors, "MOST_CLASSES", 3)
    assert gi.PriorBias(SHARES).p == SHARES
    with pytest.raises(SchemeError, match="p is one number, or a number for each output"):
        gi.PriorBias((0.4, 0.3, 0.2, 0.1))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: gi.PriorBias(3.0), "link='identity'"),
        (lambda: gi.PriorBias(0.0), "between 0 and 1"),
        (lambda: gi.PriorBias([0.9, 0.9]), "add up to 1, and these to 1.8"),
        (lambda: gi.PriorBias([5, 0, 1]), "class 1 has 0"),
        (lambda: gi.PriorBias([0.5, 1.5], link="sigmoid"), "between 0 and 1"),
        (lambda: gi.PriorBias(0.1, link="softmax"), "frequency of each class"),
        (lambda: gi.PriorBias([0.1]), "a number for each output"),
        (lambda: gi.PriorBias(0.1, link="probit"), "must be one of"),
        (lambda: gi.PriorBias(0.1).times(2.0), "no factor changes it"),
    ],
)
def test_misuse(make, says: str) -> None:
    with pytest.raises(SchemeError, match=says):
        make()


def test_what_does_not_fit() -> None:
    with pytest.raises(CallError, match=r"Write gi\.PriorBias\(p=0\.01\)"):
        gi.PriorBias()  # type: ignore[call-arg]
    with pytest.raises(SchemeError, match=r"one\.bias: PriorBias has 3 numbers, and this bias 6"):
        gi.plan(Detector(), with_prior(gi.PriorBias(SHARES)), inputs=IMAGES)
    with pytest.raises(SchemeError, match=r"one\.weight: .* this is a weight"):
        gi.plan(Detector(), {"one.weight": gi.PriorBias(0.1)}, inputs=IMAGES)
    with pytest.raises(UnusedRuleError, match="which layers are heads; pass"):
        gi.plan(Detector(), with_prior(gi.PriorBias(0.1)))
    headless = nn.Linear(3, 2, bias=False)
    with pytest.raises(UnusedRuleError, match="bias=True"):
        gi.plan(headless, with_prior(gi.PriorBias(0.1)), inputs=torch.ones(2, 3))
    with pytest.raises(RecipeError, match="which biases are a head's"):
        Detector().apply(with_prior(gi.PriorBias(0.1)).each)
