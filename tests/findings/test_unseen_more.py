"""Outputs that a last weight makes too wide, units that are there twice, attention by forecast."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.explanation.explain import explained
from goodinit.signal.measure import measured

from .unseen_more import ILL, MORE

pytestmark = pytest.mark.filterwarnings("ignore")

ALIKE, WIDE, ONE_HOT = {"GI123 warning"}, {"GI112 warning"}, {"GI142 warning"}
# What measuring finds, and explain with inputs; infos too.
SAID: dict[str, tuple[set[str], set[str]]] = {
    "clamped_labels": ({"GI143 warning"}, set()),
    "twin_heads_of_torchs_attention": (ALIKE, ALIKE),
    "twin_channels": (ALIKE, ALIKE),
    "twin_columns": (ALIKE, ALIKE),
    "saturated_convolutions": ({"GI107 warning"}, {"GI107 warning"}),
    "loud_head_of_a_vit": (WIDE, WIDE),
    "loud_bilinear": (WIDE, WIDE),
    "loud_cross_attention": (ONE_HOT, ONE_HOT),
    "loud_towers": (WIDE, WIDE | {"GI127 info"}),
    "capped_logits": (set(), set()),
    "equalized_head": (set(), set()),
    "masked_actions": (set(), set()),
    "widened_while_trained": ({"GI123 info"}, {"GI123 info"}),
    "bilinear_upsampling": (set(), set()),
}


def said(found: gi.Signal | gi.Explanation) -> set[str]:
    return {f"{finding.code} {finding.severity}" for finding in found.findings}


@pytest.mark.parametrize("name", SAID)
def test_measuring_and_explaining(name: str) -> None:
    torch.manual_seed(0)
    model, inputs, loss = MORE[name]()
    measures, explains = SAID[name]
    assert said(measured(model, inputs, loss)) == measures
    assert said(explained(model, inputs)) == explains


@pytest.mark.parametrize(
    ("name", "codes"),
    [("loud_cross_attention", {"GI112", "GI142"}), ("loud_probabilities", {"GI112"}),
     ("loud_pixels", {"GI112"}), ("quiet_factors", {"GI112"})],
)  # fmt: skip
def test_a_plan_of_normal_weights_says_so_and_its_rules_help(name: str, codes: set[str]) -> None:
    torch.manual_seed(0)
    model, inputs, _ = MORE[name]()
    layers = nn.Linear, nn.Conv2d, nn.Embedding
    recipe = gi.Recipe(
        tuple(gi.Rule(gi.sel.type(cls), gi.Normal(1.0), optional=True) for cls in layers)
    )
    plan = gi.plan(model, recipe, inputs=inputs)
    assert {f.code for f in plan.findings if f.severity == "warning"} == codes
    for finding in plan.findings:
        if finding.code in codes:
            rule = eval(finding.remedy.split(": ", 1)[1], {"gi": gi, "recipe": recipe})
            left = gi.plan(model, rule, inputs=inputs).findings
            assert finding.code not in {f.code for f in left}


class Experts(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.router, self.first = nn.Linear(width, 4), nn.Linear(width, width)
        self.experts = nn.Parameter(torch.empty(4, width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shares = self.router(x).softmax(-1)
        return torch.einsum("bd,edh,be->bh", self.first(x).relu(), self.experts, shares)


@pytest.mark.parametrize("exact", [False, True])
def test_a_forecast_shows_one_row_of_a_matrix_and_takes_it_for_no_copy(exact: bool) -> None:
    with gi.skeleton():
        model = Experts(384)
    x = torch.randn(8, 384, generator=torch.manual_seed(0))
    found = gi.forecast(model, x, gi.plan(model, "standard", inputs=x), exact=exact)
    assert said(found) == set()


@cache
def alarms(name: str) -> dict[str, set[str]]:
    torch.manual_seed(0)
    model, inputs, loss = MORE[name]()
    results = {
        "measure": gi.measure(model, inputs, loss),
        "explain": gi.explain(model, inputs),
        "explain without inputs": gi.explain(model),
    }
    return {
        who: {f.code for f in result.findings if f.severity != "info"}
        for who, result in results.items()
    }


@pytest.mark.battery
def test_all_that_are_ill_are_found() -> None:
    assert {name for name in ILL if not alarms(name)["measure"]} == set()


@pytest.mark.battery
def test_healthy_ones_are_left_alone() -> None:
    healthy = MORE.keys() - ILL
    assert {name: alarms(name) for name in healthy if any(alarms(name).values())} == {}
