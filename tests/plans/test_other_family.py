"""A family's recipe on a model of another kind: GI141."""

from __future__ import annotations

import re

import pytest
from tests.recipes.families import FAMILIES
from torch import nn

import goodinit as gi
from goodinit.demos import models
from goodinit.recipes.by_name import FAMILIES as FAMILY_RECIPES
from goodinit.recipes.by_name import GENERAL


def finding(model: nn.Module, recipe: str | gi.Recipe, inputs: object = None) -> str:
    found = gi.plan(model, recipe, inputs=inputs).findings
    return next((str(one) for one in found if one.code == "GI141"), "")


@pytest.mark.parametrize(
    ("recipe", "kind", "nothing"),
    [
        ("gpt2", "resnet", "kind('embedding', 'token', 'router')"),
        ("nanochat", "resnet", "kind('embedding')"),
        ("resnet", "gpt", "kind('conv') & ~part('bias')"),
        ("lstm", "gpt", "kind('recurrent') & part('recurrent')"),
        ("dcgan", "mlp", "kind('norm') & part('weight')"),
        ("rwkv7", "gpt", "attr('[wavg]1')"),
        ("s4d", "gpt", "attr('log_dt') or attr('log_A_real')"),
        ("xlstm", "resnet", "name('*igate*.weight')"),
        ("ppo", "gpt", "name('*critic*')"),
        ("gat", "mlp", "attr('att_*') or attr('att')"),
        ("fixup", "mlp", "ends_residual()"),
    ],
)
def test_rules_that_found_nothing_and_recipes_that_fit(recipe, kind, nothing) -> None:
    model = getattr(models, kind)()
    text = finding(model, recipe, model.example_input_array)
    assert nothing in text
    fits = {
        "resnet": ("'resnet'", "'efficientnet'"),
        "gpt": ("'gpt2'", "'llama'"),
        "mlp": ("'standard'",),
    }
    assert all(name.strip("'") in text for name in fits[kind])
    assert "'standard'" in text


@pytest.mark.parametrize("recipe", FAMILY_RECIPES)
def test_what_is_suggested_has_nothing_to_complain_of(recipe: str) -> None:
    model = models.mlp()
    if recipe == "lora":  # an error instead: nothing would be drawn
        return
    suggested = re.findall(r"these: ([\w, ]+);", finding(model, recipe))
    assert not any(finding(model, other) for names in suggested for other in names.split(", "))


def test_no_finding_where_the_recipe_belongs_or_fits_any_model() -> None:
    for family in FAMILIES:
        if family.name in ("nanochat", "siren", "mixer of flax", "alphafold", "tfixup", "gat"):
            recipe = gi.recipe(family.recipe, **family.options)
            assert not finding(family.build(), recipe, family.inputs()), family.name
    assert not finding(nn.TransformerEncoderLayer(8, 2), "gpt2")  # a part has no tables
    for recipe in GENERAL:
        assert not finding(models.mlp(), recipe)
    assert not finding(models.mlp(), gi.Recipe([gi.Rule("*", gi.Normal(0.02))], "gpt2"))
