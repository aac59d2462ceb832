"""Rules in a plan's remedies are printed if the plan by them lacks the finding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.plans.tried_rules import MOST_RULES


def net(layers: int = 1) -> nn.Sequential:
    hidden = [part for _ in range(layers) for part in (nn.Linear(8, 8), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(8, 3))


def remedies(plan: gi.Plan, code: str) -> list[str]:
    return [finding.remedy for finding in plan.findings if finding.code == code]


def wide_biases(layers: int) -> gi.Recipe:
    names = [f"{2 * number}.bias" for number in range(layers)]
    return gi.recipe("he").override(*(gi.Rule(name, gi.Normal(9.0)) for name in names))


@pytest.mark.parametrize("layers", [1, MOST_RULES])
def test_a_line_takes_the_finding_away(layers: int) -> None:
    recipe = wide_biases(layers)
    (remedy,) = remedies(gi.plan(net(layers), recipe), "GI132")
    words, _, line = remedy.partition(": ")
    assert words == "draw it smaller"
    fixed = eval(line, {"gi": gi, "recipe": recipe})
    assert not remedies(gi.plan(net(layers), fixed), "GI132")


def test_many_rules_are_words() -> None:
    layers = MOST_RULES + 1
    assert remedies(gi.plan(net(layers), wide_biases(layers)), "GI132") == ["draw it smaller"]


def test_a_recipe_of_the_library_is_called_by_its_name() -> None:
    old = nn.Embedding(100, 8)
    nn.init.normal_(old.weight, 0, 0.5)
    (remedy,) = remedies(gi.load_(nn.Embedding(104, 8), old.state_dict(), "gpt2", seed=0), "GI118")
    line = remedy.partition(": ")[2]
    assert line.startswith("gi.recipe('gpt2').override(gi.Rule('weight', gi.Normal(std=")
    again = gi.load_(nn.Embedding(104, 8), old.state_dict(), eval(line, {"gi": gi}), seed=0)
    assert not remedies(again, "GI118")


@pytest.mark.parametrize("kind", ["scale", "other"])
def test_values_of_a_class_are_named_by_a_rule_if_it_draws_them(kind: str) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.gain = nn.Linear(8, 8), nn.Parameter(torch.full((8,), 1e-5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.layer(x)
            return y * self.gain if kind == "scale" else y * self.gain.exp()

    x = torch.randn(2, 8)
    (remedy,) = remedies(gi.plan(Scaled(), "he", inputs=x), "GI119")
    words, _, line = remedy.partition(": ")
    assert words == "none; to draw them again, name them in rules of your own"
    assert bool(line) is (kind == "scale")
    if line:
        plan = gi.plan(Scaled(), eval(line, {"gi": gi}), inputs=x)
        assert plan["gain"].scheme == gi.Ones()
