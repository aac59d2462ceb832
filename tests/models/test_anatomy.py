"""The anatomy of each model of the zoo, against what a domain expert says of it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from goodinit.anatomy import KINDS, PARTS, Anatomy, read

from . import zoo, zoo_hf
from .expected import E, differences

NAMES = [*zoo.PLAIN, *(f"hf-{name}" for name in zoo_hf.HF)]
ONE_OF_EACH_KIND = [
    *(pytest.param(name, marks=zoo.marks(name)) for name in zoo.PLAIN),
    *(pytest.param(f"hf-{name}", marks=zoo_hf.marks(name)) for name in zoo_hf.HF),
]

# Guessed though inputs are given, each for a reason.
STILL_GUESSED = {
    "hf-wav2vec2": {"wav2vec2.masked_spec_embed"},  # used in training only
}

# Buffers have no values on meta: the root of the width, which multiplies the table's rows.
GUESSED_ON_META = {"hf-gemma": {"model.embed_tokens.weight"}}


def build(name, device="cpu"):
    return zoo_hf.build(name[3:], device) if name.startswith("hf-") else zoo.build(name, device)


@cache
def anatomies(name) -> tuple[nn.Module, Anatomy, Anatomy]:
    """Return a model and its anatomy with and without inputs."""
    model, inputs = build(name)
    return model, read(model, inputs), read(model)


def test_every_model_has_a_table():
    assert sorted(E) == sorted(NAMES)


def test_a_table_that_is_wrong_is_noticed():
    """A test of the test: one word changed in a line, or a line too many or too few."""
    rows = anatomies("vit")[1].rows
    lines = E["vit"].lines
    for old, new in (
        ("in=48", "in=49"), ("patch  ", "head  "), ("act=gelu", ""), ("q,k,v", "q,v,k"),
        ("out=32 blocks", "out=96 blocks"), ("cls  ", "clss  "), ("linear out ", "linear weight "),
        ("n=1", "n=0"),
    ):  # fmt: skip
        assert differences(replace(E["vit"], lines=lines.replace(old, new, 1)), rows), old
    assert differences(replace(E["vit"], depth=4), rows)


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_facets_are_an_experts(name):
    _, with_inputs, _ = anatomies(name)
    wrong = differences(E[name], with_inputs.rows)
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_runs_on_meta_unless_it_cannot(name):
    _, with_inputs, without = anatomies(name)
    assert without.how == "module types"
    assert (with_inputs.how, with_inputs.reason) == ("meta", "")


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_each_parameter_and_buffer_has_one_row(name):
    model, with_inputs, without = anatomies(name)
    tensors = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    buffers = dict(model.named_buffers(remove_duplicate=False))
    for anatomy in (with_inputs, without):
        names: list[str] = []
        for row in anatomy.rows:
            names += [*(row.stored or [row.name]), *row.tied]
            stored = [tensors[n] for n in row.stored or [row.name]]
            assert row.buffer == (row.name in buffers)
            assert row.frozen == (not row.buffer and not stored[0].requires_grad)
            assert row.dtype == stored[0].dtype
            if not row.stored:
                assert row.shape == tuple(stored[0].shape)
                assert all(tensors[tie].data_ptr() == stored[0].data_ptr() for tie in row.tied)
        assert sorted(names) == sorted(tensors)
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_rows_are_well_formed(name):
    _, with_inputs, without = anatomies(name)
    for anatomy in (with_inputs, without):
        for row in anatomy.rows:
            facets = row.facets
            assert facets.kind in KINDS
            assert facets.part in PARTS
            assert row.buffer == (facets.part == "buffer")
            assert facets.evidence, row.name
            if facets.layer is not None:
                assert 0 <= facets.layer < facets.depth
            if facets.layout is not None:
                layout = facets.layout
                axes = layout.outputs + layout.inputs + layout.window + layout.batch
                assert sorted(axes) == list(range(len(row.shape))), row.name
            count = torch.zeros(row.shape, dtype=torch.int)
            for block in facets.blocks:
                count[tuple(slice(a, b) for a, b in block.box)] += 1
            if facets.blocks:
                assert (count == 1).all(), (row.name, facets.blocks)


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_with_inputs_nothing_is_guessed(name):
    _, with_inputs, _ = anatomies(name)
    guessed = {row.name for row in with_inputs.rows if row.facets.guessed}
    assert guessed == STILL_GUESSED.get(name, set())


@pytest.mark.parametrize("name", ONE_OF_EACH_KIND)
def test_meta_model_reads_alike(name):
    """A model without weights has the anatomy of one with them."""
    _, with_inputs, _ = anatomies(name)
    model, inputs = build(name, "meta")
    rows = read(model, inputs).rows
    for row, other in zip(with_inputs.rows, rows, strict=True):
        if row.name in GUESSED_ON_META.get(name, ()):
            assert other.facets.guessed
            known = replace(other.facets, guessed=False, doubt="")
            assert row.facets == known
            continue
        assert (row.name, row.facets) == (other.name, other.facets)


def test_reading_twice_reads_the_same():
    for name in ("vit", "moe", "hf-mixtral"):
        model, inputs = build(name)
        assert read(model, inputs) == read(model, inputs)
