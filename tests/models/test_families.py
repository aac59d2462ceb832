"""Families of transformers: their residual ends, and the stream's size after 24 layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import goodinit as gi

from .families import ENDS, FAMILIES, build

pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own

LAYERS = 24
# Before norms, after them, before and after, beside each other, encoder and decoder.
SAMPLE = "llama gemma2 gpt_neox bart".split()

# 1 from the start, and what 2 depth branches add. The start is the mean of so few numbers (2 texts
# of 16 words, tables of 99 rows, images of 16 patches) that it differs from 1 by up to a tenth;
# the norm before the first block of a post-norm model makes it 1 exactly.
LEAST, MOST = 0.9, 4.0


def test_there_are_enough():
    assert len(set(FAMILIES)) == len(FAMILIES) > 75
    assert len(ENDS) >= 25
    assert set(SAMPLE) | set(ENDS) <= set(FAMILIES)


@pytest.mark.parametrize("name", ENDS)
def test_residual_ends_are_those_written_by_hand(name):
    model, inputs = build(name, 3)  # the third of recurrent_gemma attends
    rows = [row for row in gi.plan(model, "standard", inputs=inputs) if not row.buffer]
    found = {row.name for row in rows if row.ends_residual}
    written = {
        row.name
        for row in rows
        if row.name.removesuffix(".weight").endswith(ENDS[name]) and len(row.shape) > 1
    }
    assert found == written
    assert all(row.ends_residual is not None for row in rows if row.name in written)


def last_of_streams(model: nn.Module) -> list[nn.Module]:
    """Return the last layer of each stack."""
    lists = (m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == LAYERS)
    return [layers[-1] for layers in lists]


def second_moments(name: str) -> list[float]:
    model, inputs = build(name, LAYERS)
    gi.init_(model, "standard", inputs=inputs, seed=0)
    found: list[float] = []

    def measure(_module: nn.Module, _args: object, result: object) -> None:
        stream = result[0] if isinstance(result, tuple) else result
        assert isinstance(stream, Tensor)
        found.append(stream.square().mean().item())

    for layer in last_of_streams(model):
        layer.register_forward_hook(measure)
    with torch.no_grad():
        model(**inputs)
    return found


@pytest.mark.parametrize("name", SAMPLE)
def test_the_stream_keeps_its_size(name):
    found = second_moments(name)
    assert found
    assert all(LEAST < moment < MOST for moment in found), found


@pytest.mark.battery
@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(SAMPLE)))
def test_the_stream_of_every_family_keeps_its_size(name):
    found = second_moments(name)
    assert found
    assert all(LEAST < moment < MOST for moment in found), found
