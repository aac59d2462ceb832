"""What several files here share."""

import pytest

from goodinit.explanation.tried import library_recipes

FAMILIES = {"dcgan", "gpt2", "lstm"}


@pytest.fixture
def few_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare values with 21 recipes of 136: findings depend on the weights alone.

    These are the recipes for any model, and the families' whose models are in ``test_findings.py``.
    """
    few = tuple(one for one in library_recipes() if one.general or one.name in FAMILIES)
    monkeypatch.setattr("goodinit.explanation.candidates.library_recipes", lambda: few)
