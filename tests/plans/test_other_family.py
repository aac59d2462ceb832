"""A family's recipe on a model of another kind: GI141."""

from __future__ import annotations

import re

import pytest
from tests.recipes.families import FAMILIES
from torch import nn

import goodinit as gi
from goodinit.anatomy import read
from goodinit.demos import models
from goodinit.plans.other_family import find_other_family, possible_families
from goodinit.recipes.by_name import FAMILIES as FAMILY_RECIPES
from goodinit.recipes.by_name import GENERAL
from goodinit.recipes.made_of import MADE_OF, MADE_WITHOUT

CONVOLUTIONAL = "densenet efficientnet resnet vgg"
DECODERS = "bert deepnorm gpt2 llama megatron modernbert nanochat neox olmo"
OWN = {
    "mlp": "nerf",
    "cnn": f"dcgan {CONVOLUTIONAL}",
    "resnet": f"dcgan ddpm {CONVOLUTIONAL}",
    "lstm": "lstm",
    "gpt": DECODERS,
    "moe": f"{DECODERS} switch",
}


def finding(model: nn.Module, recipe: str | gi.Recipe, inputs: object = None) -> str:
    found = gi.plan(model, recipe, inputs=inputs).findings
    return next((str(one) for one in found if one.code == "GI141"), "")


@pytest.mark.parametrize("kind", OWN)
def test_every_recipe_on_every_kind_of_model(kind: str) -> None:
    model = getattr(models, kind)()
    anatomy = read(model, model.example_input_array, "")
    found = {
        name: [str(one) for one in find_other_family(gi.recipe(name), anatomy)]
        for name in FAMILY_RECIPES
        if name != "lora"  # an error instead: nothing would be drawn
    }
    assert [name for name, texts in found.items() if not texts] == OWN[kind].split()
    whole = {name for name, has_all in possible_families(anatomy).items() if has_all}
    assert whole >= {*OWN[kind].split(), "lora"}
    for (text,) in filter(None, found.values()):
        (names,) = re.findall(r"these: ([\w, ]+?)(?: and \d+ more)?;", text)
        assert set(names.split(", ")) <= set(OWN[kind].split())


@pytest.mark.parametrize(
    ("recipe", "kind", "nothing"),
    [
        ("gpt2", "resnet", "nothing matches kind('embedding'); such models have no kind('conv')"),
        ("lstm", "gpt", "nothing matches kind('recurrent')"),
        ("rwkv7", "gpt", "nothing matches attr('[wavg]1')"),
        ("siren", "mlp", "nothing matches followed_by('sin')"),
        ("clip", "mlp", "ends_residual() or kind('norm') or attr('logit_scale')"),
        ("alphafold", "gpt", "nothing matches gate_bias()"),
        ("fixup", "resnet", "such models have no kind('norm')"),
        ("e3nn", "mlp", "no number divides what most of the weights pass on"),
    ],
)
def test_what_a_plan_says(recipe: str, kind: str, nothing: str) -> None:
    model = getattr(models, kind)()
    text = finding(model, recipe, model.example_input_array)
    assert nothing in text
    assert "'standard'" in text


def test_what_a_model_may_be_of() -> None:
    """True of a family of which it has all, False where names alone differ."""
    model = models.mlp()
    found = possible_families(read(model, model.example_input_array, ""))
    assert (found["nerf"], found["ppo"]) == (True, False)
    assert found.keys().isdisjoint({"e3nn", "bert", "resnet", "fixup"})
    blind = possible_families(read(model))
    assert (blind["nerf"], blind["ppo"], blind["e3nn"], blind["fixup"]) == (True, False, True, True)
    assert blind.keys().isdisjoint({"bert", "resnet"})
    part = nn.TransformerEncoderLayer(8, 2)  # the tables before it are elsewhere
    assert possible_families(read(part))["bert"] is True


def test_without_inputs_only_what_is_known_is_said() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Sigmoid(), nn.Linear(8, 4))
    assert "nothing matches kind('conv')" in finding(net, "vit")
    assert "nothing matches followed_by('sin')" in finding(net, "siren")
    assert not finding(net, "fixup")  # branches and gates are of the data flow
    assert not finding(nn.Linear(4, 4), "siren")
    assert not finding(net, "nerf")


def test_no_finding_where_the_recipe_belongs_or_fits_any_model() -> None:
    for family in FAMILIES:
        if family.name in ("nanochat", "siren", "mixer of flax", "alphafold", "tfixup", "gat"):
            recipe = gi.recipe(family.recipe, **family.options)
            assert not finding(family.build(), recipe, family.inputs()), family.name
            assert not finding(family.build(), recipe), family.name
    assert not finding(nn.TransformerEncoderLayer(8, 2), "gpt2")  # a part has no tables
    for recipe in GENERAL:
        assert not finding(models.mlp(), recipe)
    assert not finding(models.mlp(), gi.Recipe([gi.Rule("*", gi.Normal(0.02))], "gpt2"))


def test_every_family_says_what_its_models_are_made_of() -> None:
    assert tuple(sorted(MADE_OF)) == tuple(sorted(FAMILY_RECIPES))
    assert set(MADE_WITHOUT) < set(MADE_OF)
