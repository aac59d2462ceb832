"""Plans calibrated without weights give what `calibrate_` gives with them."""

import pytest
import torch
from tests.signal.ways import normal
from torch import nn
from torch.nn.utils import parametrizations

import goodinit as gi
from goodinit.errors import PlanError, UnresolvedError

X = normal(32, 16)


class Net(nn.Module):
    """Plain, residual, parametrized, shared, packed and stacked weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = parametrizations.weight_norm(nn.Linear(16, 16))
        self.again = nn.Linear(16, 16)
        self.glu = nn.Linear(16, 32)
        self.experts = nn.Parameter(torch.randn(3, 16, 16))
        self.scale = nn.Parameter(torch.full((16,), 0.5))
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x).tanh()
        x = self.again(self.again(x).tanh()).tanh()
        x = x + torch.stack([x @ expert for expert in self.experts]).mean(0)
        return self.head(nn.functional.glu(self.glu(x)) * self.scale)


def built() -> nn.Module:
    torch.manual_seed(0)
    with gi.skeleton():
        return Net()


@pytest.mark.parametrize("recipe", ["he", "orthogonal"])
def test_a_plan_is_calibrated_as_the_weights_would_be(recipe: str) -> None:
    model = built()
    plan = gi.plan(model, recipe, inputs=X)
    found = gi.calibrated(plan, model, X, seed=3)
    assert all(parameter.is_meta for parameter in model.parameters())
    theirs = built()
    gi.apply_(theirs, plan, seed=3, materialize="cpu")
    factors = {row.name: row.factor for row in gi.calibrate_(theirs, X)}
    ours = built()
    gi.apply_(ours, found, seed=3, materialize="cpu")
    assert factors["glu.weight"] != 1
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7, msg=name)
    for row in found:
        if factors.get(row.name, 1) != 1 and row.std:
            assert row.std == pytest.approx(plan[row.name].std * factors[row.name], rel=1e-5)
            assert "calibrated on a batch" in row.why
        elif factors.get(row.name, 1) == 1:
            assert row == plan[row.name]
    assert gi.Plan.from_dict(found.to_dict()) == found


def test_what_has_no_values_is_refused() -> None:
    model = built()
    plan = gi.plan(model, "he")
    with pytest.raises(PlanError, match="calibrated takes a Plan"):
        gi.calibrated("he", model, X)
    with pytest.raises(PlanError, match="isn't this model's"):
        gi.calibrated(plan, nn.Linear(16, 4), X)
    with torch.device("meta"):
        lost = Net()
    with pytest.raises(UnresolvedError, match="scale"):
        gi.calibrated(gi.plan(lost, "he", inputs=X), lost, X)
