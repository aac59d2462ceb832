"""Every model of the zoo, drawn: what lies in each tensor is what its row says."""

from __future__ import annotations

import itertools
import math
from operator import attrgetter

import pytest
import torch

import goodinit as gi

from . import zoo, zoo_hf
from .test_anatomy import NAMES, build

# Kurtosis of each law; a matrix scheme's elements are weakly dependent, and no more spread.
KURTOSIS = {"uniform": 1.8, "normal": 3.0}
RECIPES = ["standard", "he", "xavier", "torch_default", "gpt2", "orthogonal"]
BATTERY = pytest.mark.battery
REPEATED = zoo.MORE | {f"hf-{name}" for name in zoo_hf.MORE}
# Each kind of model with one recipe, and each recipe with four kinds; all pairs in the battery.
CHOSEN = set(zip([name for name in NAMES if name not in REPEATED], itertools.cycle(RECIPES)))
PAIRS = [
    pytest.param(name, recipe, marks=() if (name, recipe) in CHOSEN else BATTERY)
    for name in NAMES
    for recipe in RECIPES
]


def z_scores(row, values):
    """Yield (block, z of the mean, z of the second moment about it) of what was drawn."""
    for block, (_, mean, std) in zip(
        [b for b in row.parts() if not isinstance(b.scheme, gi.Keep)], row.moments(), strict=True
    ):
        part = values[tuple(slice(*ends) for ends in block.box)].detach().double()
        if row.zero_rows:
            part = part[[i for i in range(len(part)) if i not in row.zero_rows]]
        if std == 0:
            yield block, 0.0 if torch.all(part == torch.tensor(mean).to(values.dtype)) else 99, 0.0
            continue
        n = part.numel()
        kappa = KURTOSIS["uniform"] if "Uniform" in type(block.scheme).__name__ else 3.0
        second = (part - mean).square().mean().item() / std**2
        yield (
            block,
            (part.mean().item() - mean) * math.sqrt(n) / std,
            (second - 1) / math.sqrt((kappa - 1) / n),
        )


@pytest.mark.parametrize(("name", "recipe"), PAIRS)
def test_moments_are_the_planned_ones(name, recipe):
    model, inputs = build(name)
    plan = gi.init_(model, recipe, inputs=inputs, seed=3)
    names = {n for n, _ in model.named_parameters(remove_duplicate=False)}
    names |= {n for n, _ in model.named_buffers(remove_duplicate=False)}
    covered = {n for row in plan for n in (row.name, *row.tied, *row.stored)}
    assert names <= covered
    for row in plan:
        if row.kept or row.stored:
            continue
        for block, mean, second in z_scores(row, attrgetter(row.name)(model)):
            assert abs(mean) < 5, (row.name, block.name, mean)
            if math.prod(block.shape) >= 30:  # the second moment of few is far from normal
                assert -5 < second < 6, (row.name, block.name, second)


def test_a_wrong_std_is_noticed():
    """A test of the test: 2 % more on one large weight."""
    model, inputs = zoo.build("gpt")
    plan = gi.init_(model, "standard", inputs=inputs, seed=3)
    row = max(plan, key=lambda row: row.size)
    values = torch.randn(400, 400) * 1.02
    from dataclasses import replace

    wide = replace(row, shape=(400, 400), blocks=(), scheme=gi.Normal(1.0), zero_rows=())
    assert max(abs(z) for _, _, z in z_scores(wide, values)) > 5


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=BATTERY if name in REPEATED or number % 2 else ())
        for number, name in enumerate(NAMES)
    ],
)
def test_the_same_bits_from_a_skeleton_on_another_thread_count(name):
    model, inputs = build(name)
    gi.init_(model, "standard", inputs=inputs, seed=5)
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        with gi.skeleton():
            ghost, _ = build(name)
        plan = gi.plan(ghost, "standard", inputs=inputs)
        kept = [row.name for row in plan if row.unresolved]
        if kept:  # what only the constructor knows can't be had from a skeleton
            with pytest.raises(gi.GoodinitError, match=kept[0]):
                gi.apply_(ghost, plan, seed=5, materialize="cpu")
            return
        gi.apply_(ghost, plan, seed=5, materialize="cpu")
    finally:
        torch.set_num_threads(threads)
    drawn, again = dict(model.named_parameters()), dict(ghost.named_parameters())
    assert drawn.keys() == again.keys()
    for parameter, value in drawn.items():
        assert torch.equal(value, again[parameter]), parameter


def test_twenty_architectures_and_more():
    assert len(zoo_hf.HF) >= 20
