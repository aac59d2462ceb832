"""Remedies that are lines of code fix their finding when they are pasted; others are words.

``make battery`` tries each line of over 120 ill models under every recipe of the library;
``make test`` tries a sample of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import pytest
import torch
from tests.battery.ill import ILL
from torch import nn

import goodinit as gi
from goodinit.explanation.explain import explained
from goodinit.signal.measure import measured

RECIPES = ("standard", "torch_default", "he", "xavier", "lecun", "orthogonal", "dcgan", "gpt2",
           "lstm", "vit")  # fmt: skip
# The second look at a model needs no remedies, which take most of the time.
VERBS = {"measure": (gi.measure, measured), "explain": (gi.explain, explained)}
SAMPLE = (
    ("relu, 6 layers", "torch_default"),
    ("siren, 5 layers", "standard"),
    ("standardized, 5 layers", "standard"),
)


class Tried(NamedTuple):
    """A finding whose remedy is code, or words, and whether the code fixed it."""

    label: str
    code: str
    remedy: str
    is_code: bool
    fixed: bool


def is_code(remedy: str) -> bool:
    try:
        compile(remedy, "remedy", "exec")
    except SyntaxError:
        return False
    return True


@lru_cache(maxsize=1)
def planned(model: str, recipe: str) -> gi.Plan:
    net, inputs = ILL[model]()
    return gi.plan(net, recipe, inputs=inputs)


def drawn(model: str, recipe: str) -> tuple[nn.Module, object]:
    torch.manual_seed(0)
    net, inputs = ILL[model]()
    gi.apply_(net, planned(model, recipe), seed=0)
    return net, inputs


def tried(model: str, recipe: str, verbs: Iterable[str] = VERBS) -> Iterator[Tried]:
    """Paste each remedy that is code into a fresh model, and look for the finding again."""
    for verb in verbs:
        look, look_again = VERBS[verb]
        net, inputs = drawn(model, recipe)
        left: dict[str, set[str]] = {}  # by remedy: several findings may have the same
        for finding in look(net, inputs).findings:
            label, remedy = f"{verb} of {model}, {recipe}", finding.remedy
            if not is_code(remedy):
                yield Tried(label, finding.code, remedy, False, False)
                continue
            if remedy not in left:
                net, inputs = drawn(model, recipe)
                exec(remedy, {"gi": gi, "model": net, "inputs": inputs})
                left[remedy] = {f.code for f in look_again(net, inputs).findings}
            yield Tried(label, finding.code, remedy, True, finding.code not in left[remedy])


def check(pairs: Iterable[tuple[str, str]]) -> list[Tried]:
    """Return all that was tried; what was pasted has fixed its finding."""
    found = [one for model, recipe in pairs for one in tried(model, recipe)]
    assert not [one for one in found if one.is_code and not one.fixed]
    return found


def test_a_sample_of_lines_fixes_what_they_are_for() -> None:
    found = check(SAMPLE)
    assert {one.is_code for one in found} == {True, False}


@pytest.mark.battery
def test_every_line_fixes_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(ILL) > 120
    found = check((model, recipe) for model in ILL for recipe in RECIPES)
    lines = [one for one in found if one.is_code]
    by_code = Counter(one.code for one in lines)
    with capsys.disabled():
        print(f"\n{len(ILL)} models, {len(RECIPES)} recipes: {len(found)} findings")
        print(f"{len(lines)} have a line of code, and it fixes them; the others have words")
        for code in sorted({one.code for one in found}):
            total = sum(one.code == code for one in found)
            print(f"{code}: {by_code[code]} lines, {total - by_code[code]} words")
