"""Every reference model against upstream's own draw; `make test` has the quick ones."""

import pytest
import torch
from tests.recipes.agreement import COMPARISONS, differences, planned
from tests.recipes.families import FAMILIES, Family

pytestmark = pytest.mark.battery
SLOW = [family for family in FAMILIES if not family.fast]


@pytest.mark.parametrize("family", SLOW, ids=lambda family: family.name)
def test_agrees_with_upstream(family: Family) -> None:
    torch.manual_seed(0)
    upstream = family.build()
    mine, plan = planned(family, upstream)
    assert differences(upstream, mine) == {}
    assert not [f for f in plan.findings if f.severity == "error"]


@pytest.mark.parametrize("family", SLOW, ids=lambda family: family.name)
def test_is_complete_on_meta(family: Family) -> None:
    import goodinit as gi

    with torch.device("meta"):
        model = family.build()
    recipe = gi.recipe(family.recipe, **family.options)
    plan = gi.plan(model, recipe, inputs=family.inputs())
    assert not [row.name for row in plan if row.unresolved and not row.buffer]


def test_the_level_is_for_all_parameters() -> None:
    with torch.device("meta"):
        models = [family.build() for family in FAMILIES]
    assert 2 * sum(len(list(model.parameters())) for model in models) <= COMPARISONS
