"""The contract of the recipes of model families, on reference models; one row each in families.py.

The battery compares all of them with upstream's draws; here those that are quick.
"""

import json
import re

import pytest
import torch
from tests.recipes.agreement import (
    differences,
    drawn_as_upstream,
    identified,
    planned,
    unresolved_on_meta,
)
from tests.recipes.families import FAMILIES, Family

import goodinit as gi
from goodinit.errors import UnknownRecipeError
from goodinit.recipes.by_name import ALIASES, NO_RECIPES, maker

FAST = [family for family in FAMILIES if family.fast]
GENERAL = {"glorot", "he", "kaiming", "lecun", "orthogonal", "standard", "torch_default", "xavier"}
ELSEWHERE = {"dcgan", "lstm"}  # in test_headlines.py
OF_A_BASE = {"completep", "mup"}  # in tests/mup; of the base itself their law is another recipe's
BESIDE = {"lora"}  # in test_lora.py


def test_every_family_is_compared() -> None:
    here = {ALIASES.get(family.recipe, (family.recipe,))[0] for family in FAMILIES}
    assert here == set(gi.recipes.names()) - GENERAL - ELSEWHERE - OF_A_BASE - BESIDE


@pytest.mark.parametrize("family", FAST, ids=lambda family: family.name)
def test_agrees_with_upstream(family: Family) -> None:
    plan = drawn_as_upstream(family)
    assert gi.Plan.from_dict(json.loads(json.dumps(plan.to_dict()))).rows == plan.rows


@pytest.mark.parametrize("family", FAST, ids=lambda family: family.name)
def test_is_complete_on_meta(family: Family) -> None:
    assert all(row.frozen for row in unresolved_on_meta(family))


@pytest.mark.parametrize("name", ["nanochat", "mixer of flax"])
def test_is_found_from_upstreams_values(name: str) -> None:
    identified(next(family for family in FAMILIES if family.name == name))  # all: the battery


@pytest.mark.parametrize("name", sorted(GENERAL | ELSEWHERE))
def test_a_general_recipe_is_found_from_values(name: str) -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(16 * 36, 32), torch.nn.Tanh(), torch.nn.Linear(32, 40),
    )  # fmt: skip
    net = torch.nn.LSTM(20, 30) if name == "lstm" else net
    gi.init_(net, name, seed=0)
    found = gi.identify(net)
    assert f'"{ {"glorot": "xavier", "kaiming": "he"}.get(name, name) }"' in (
        found.call,
        *found.also,
    )
    assert found.ok


def test_another_law_is_seen() -> None:
    llama, bert = (next(f for f in FAMILIES if f.name == name) for name in ("llama", "bert"))
    torch.manual_seed(0)
    for family, other in ((llama, gi.recipe("gpt2")), (bert, gi.recipe("bert", flavour="google"))):
        upstream = family.build()
        mine, _ = planned(family, upstream)
        gi.init_(mine, other, inputs=family.inputs(), seed=2)
        assert len(differences(upstream, mine)) >= 4


@pytest.mark.parametrize("name", gi.recipes.names())
def test_a_recipe_has_a_source_and_an_example_and_fits_into_a_file(name: str) -> None:
    doc = maker(name).__doc__ or ""
    assert re.search(r"\b(19|20)\d\d\b|\w\.py\b", doc), "no paper and no upstream file"
    assert ">>> " in doc
    recipe = gi.recipe(name)
    assert gi.Recipe.from_toml(recipe.to_toml()).rules == recipe.rules


def test_other_names() -> None:
    for name, (target, options) in ALIASES.items():
        assert gi.recipe(name) == gi.recipe(target, **options), name
        assert gi.recipe(name).options == options, name
    assert ALIASES.keys().isdisjoint(gi.recipes.names())


def test_spelling_of_names() -> None:
    assert gi.recipe("GPT-NeoX") == gi.recipe("neox")
    assert gi.recipe("he_normal", mode="fan_out") == gi.recipe("he", mode="fan_out")
    assert gi.recipe("he_uniform") != gi.recipe("he_normal")
    spelled = ("GPT-2", "Llama_2", "HeNormal", "vit_b_16", "bert-base-uncased", "mixtral-8x7b")
    meant = ("gpt2", "llama2", "he_normal", "vit", "bert", "mixtral")
    assert [gi.recipe(name) for name in spelled] == [gi.recipe(name) for name in meant]
    assert gi.recipe("swin-v2-tiny") == gi.recipe("swin", v2=True)


def test_each_spelling_is_of_one_name() -> None:
    known = [*gi.recipes.names(), *ALIASES, *NO_RECIPES]
    assert len({name.replace("_", "") for name in known}) == len(known)


@pytest.mark.parametrize(
    "name", ["rwkv-8", "resnet-b-c", "gpt", "vit_", "-base", "", "bert base x"]
)
def test_another_version_or_a_half_name_is_no_known_name(name: str) -> None:
    with pytest.raises(UnknownRecipeError):
        gi.recipe(name)


def test_what_is_no_recipe_says_what_to_call() -> None:
    for name, answer in NO_RECIPES.items():
        with pytest.raises(UnknownRecipeError, match=re.escape(f"{name!r} {answer}")):
            gi.recipe(name)
    assert NO_RECIPES.keys().isdisjoint([*ALIASES, *gi.recipes.names()])


def test_siren_says_where_it_cannot_know_the_first_layer() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 64), torch.nn.Linear(64, 1))
    blind = gi.plan(net, "siren")
    assert "pass inputs=" in blind["0.weight"].why
    assert [f.code for f in blind.findings if f.code == "GI113"]
    assert "pass inputs=" not in gi.plan(net, "siren", inputs=torch.ones(3, 2))["0.weight"].why


def test_heads_of_ppo_are_known_by_name() -> None:
    def heads(**names: int) -> dict[str, float]:
        net = torch.nn.ModuleDict({key: torch.nn.Linear(8, out) for key, out in names.items()})
        net.forward = lambda x: [part(x) for part in net.values()]  # type: ignore[method-assign]
        rows = gi.plan(net, "ppo", inputs=torch.ones(2, 8))
        return {key: rows[f"{key}.weight"].scheme.gain for key in names}

    assert heads(action_net=3, value_net=1) == {"action_net": 0.01, "value_net": 1.0}
    assert heads(actor=3, critic=1) == {"actor": 0.01, "critic": 1.0}
    assert heads(out=3) == {"out": 1.0}
