"""Promise 6: names don't matter. Data flow tells what a parameter is, not ``c_proj``."""

from __future__ import annotations

import random
from functools import cache

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from goodinit.anatomy import read

from . import zoo, zoo_hf
from .renamed import rename

# Words that would mislead whoever reads them.
WORDS = (
    "weight bias q k v out gate head norm embed position router expert lora ln c_proj wo up down "
    "conv linear attn mlp scale patch cls token layer block x y z running_mean"
).split()

NAMES = [
    *(pytest.param(name, marks=zoo.marks(name)) for name in zoo.PLAIN),
    *(pytest.param(f"hf-{name}", marks=zoo_hf.marks(name)) for name in zoo_hf.HF),
]


def fresh_names(rng):
    """Return a source of names: some mislead, some mean nothing, none comes twice."""
    seen = set()

    def new_name():
        while True:
            length = rng.randint(1, 8)
            name = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz_") for _ in range(length))
            if rng.random() < 0.5:
                name = rng.choice(WORDS) + "_" + name
            if name not in seen and name.isidentifier() and not name.startswith("__"):
                seen.add(name)
                return f"{name}_r"  # no name that nn.Module has already

    return new_name


def build(name):
    return zoo_hf.build(name[3:]) if name.startswith("hf-") else zoo.build(name)


@cache
def rows_as_built(name):
    return read(*build(name)).rows


def facets(rows):
    """Return what is known of each row, but for its name and how it is known."""
    return [
        (row.shape, f.kind, f.part, row.sites(), f.layout, f.blocks,
         f.layer, f.depth, f.width, f.activation, f.ends_residual, f.guessed, len(row.tied))
        for row in rows
        for f in [row.facets]
    ]  # fmt: skip


def assert_alike(before, after):
    pairs = zip(before, facets(before), facets(after), strict=True)
    wrong = [f"{row.name}: {a} -> {b}" for row, a, b in pairs if a != b]
    assert not wrong, "\n" + "\n".join(wrong)


def parameters(model, inputs):
    """Without nn.BatchNorm2d's own buffers, whose renamed names its type doesn't know."""
    return [row for row in read(model, inputs).rows if not row.buffer]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=1, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**32 - 1))
def test_renaming_changes_nothing(name, seed):
    before = rows_as_built(name)
    model, inputs = build(name)
    rename(model, fresh_names(random.Random(seed)))
    after = read(model, inputs).rows
    assert_alike(before, after)
    kept = {"mlp", "dcgan_generator", "dcgan_discriminator"}  # of torch's modules alone
    assert ([row.name for row in before] == [row.name for row in after]) == (name in kept)


@pytest.mark.parametrize("name", [n for n in zoo.PLAIN if n not in ("lstm", "seq2seq")])
@settings(max_examples=1, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**32 - 1))
def test_renaming_the_parameters_of_torchs_modules_changes_nothing(name, seed):
    """``nn.Linear`` with a matrix called ``c``: its type no longer knows it, the flow does."""
    model, inputs = build(name)
    before = parameters(model, inputs)
    rename(model, fresh_names(random.Random(seed)), torchs=True)
    assert_alike(before, parameters(model, inputs))


def test_a_renamed_model_computes_the_same():
    """A test of the renamer."""
    for name in [*zoo.PLAIN, "hf-gpt2", "hf-t5", "hf-mixtral", "hf-wav2vec2", "hf-swin"]:
        model, inputs = build(name)
        model.eval()
        call = (lambda m, x: m(**x)) if isinstance(inputs, dict) else (lambda m, x: m(*x))
        given_inputs = inputs if isinstance(inputs, (dict, tuple)) else (inputs,)
        with torch.no_grad():
            before = call(model, given_inputs)
            after = call(rename(model, fresh_names(random.Random(0))), given_inputs)
        if isinstance(inputs, dict):
            before, after = before[0], after[0]
        assert torch.equal(before, after), name
