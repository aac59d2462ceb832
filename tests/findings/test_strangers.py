"""Fifteen kinds of networks that users write: what is said of each, with a fault and without."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from goodinit.explanation.explain import explained
from goodinit.signal.measure import measured

from .strangers import STRANGERS, is_ill

pytestmark = pytest.mark.filterwarnings("ignore")

# Faults that neither sees, and why.
UNSEEN = {
    "toy_diffusion_ill": "how large one of the inputs is beside the others isn't judged",
    "retina_ill": "a first binary cross-entropy isn't judged, and the bias of a head is a prior",
    "translator_ill": "torch's attention returns zeros for a row without positions: no fault of it",
}
# Alarms on healthy ones. The first sums its logits over 15 steps, which is much; the second has
# cosines of vectors of 24 numbers, which are wider than those of the hundreds that it is made for.
FALSE = {"spikes": {"GI110"}, "clip": {"GI110"}}
# What explain adds to measuring, or lacks.
BY_EXPLAIN = {
    "gan_ill": {"GI134"},
    "segmenter_ill": {"GI132"},
    "deterministic_policy_ill": {"GI107"},
    "nerf_ill": {"GI132"},
}
SAMPLE = ("spikes_ill", "clip_ill", "deterministic_policy_ill", "elman")


@cache
def warned(name: str) -> dict[str, set[str]]:
    torch.manual_seed(0)
    model, inputs, loss = STRANGERS[name]()
    results = {"measure": measured(model, inputs, loss), "explain": explained(model, inputs)}
    return {
        who: {f.code for f in result.findings if f.severity != "info"}
        for who, result in results.items()
    }


def check(name: str) -> None:
    found = warned(name)
    assert found["explain"] == BY_EXPLAIN.get(name, set())
    if is_ill(name):
        assert bool(found["measure"] | found["explain"]) is (name not in UNSEEN)
    else:
        assert found["measure"] == FALSE.get(name, set())


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample(name: str) -> None:
    check(name)


def test_a_comparison_that_cuts_the_gradient_is_named() -> None:
    torch.manual_seed(0)
    model, inputs, _ = STRANGERS["spikes_ill"]()
    (found,) = (f for f in measured(model, inputs).findings if f.code == "GI109")
    assert found.severity == "warning"
    assert "surrogate" in found.remedy
    model, inputs, _ = STRANGERS["spikes"]()
    assert "GI109" not in {f.code for f in measured(model, inputs).findings}


def test_the_temperature_is_named_that_makes_logits_too_large() -> None:
    torch.manual_seed(0)
    model, inputs, loss = STRANGERS["clip_ill"]()
    (found,) = (f for f in measured(model, inputs, loss).findings if f.code == "GI110")
    assert found.remedy.startswith("start scale smaller")


@pytest.mark.battery
@pytest.mark.parametrize("name", STRANGERS)
def test_all(name: str) -> None:
    check(name)
