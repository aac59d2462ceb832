"""Every reference model against upstream's own draw; `make test` has the quick ones."""

import pytest
import torch
from tests.recipes.agreement import COMPARISONS, drawn_as_upstream, identified, unresolved_on_meta
from tests.recipes.families import FAMILIES, Family

import goodinit as gi
from goodinit.anatomy import read
from goodinit.plans.other_family import find_other_family

pytestmark = pytest.mark.battery
SLOW = [family for family in FAMILIES if not family.fast]


@pytest.mark.parametrize("family", SLOW, ids=lambda family: family.name)
def test_agrees_with_upstream(family: Family) -> None:
    drawn_as_upstream(family)


@pytest.mark.parametrize("family", SLOW, ids=lambda family: family.name)
def test_is_complete_on_meta(family: Family) -> None:
    assert all(row.frozen for row in unresolved_on_meta(family))  # Whisper's sinusoids


# How many layers another stack has isn't read off a stack's values.
FOUND = [family for family in FAMILIES if "decoder_layers" not in family.options]


@pytest.mark.parametrize("family", FOUND, ids=lambda family: family.name)
def test_is_found_from_upstreams_values(family: Family) -> None:
    identified(family)


def test_the_level_is_for_all_parameters() -> None:
    with torch.device("meta"):
        models = [family.build() for family in FAMILIES]
    assert 2 * sum(len(list(model.parameters())) for model in models) <= COMPARISONS


# llama's law, in models that have what LLaMA's kind hasn't: a plan says so, as an info.
OTHER_KINDS = {"lfm2 by its name"}
OF_THE_KIND = [family for family in FAMILIES if family.name not in OTHER_KINDS]


@pytest.mark.parametrize("family", OF_THE_KIND, ids=lambda family: family.name)
def test_the_model_is_of_the_recipes_family(family: Family) -> None:
    with torch.device("meta"):
        model = family.build()
    recipe = gi.recipe(family.recipe, **family.options)
    for inputs in (family.inputs(), None):
        assert not [*find_other_family(recipe, read(model, inputs, ""))]
