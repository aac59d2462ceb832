"""What plans and their differences look like, whole: rows made by hand, with every mark there is.

After a change on purpose, run this file, which writes texts.txt, and read the difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from string import ascii_letters

import pytest
import torch
from torch import nn

import goodinit as gi
from goodinit.findings import Finding
from goodinit.plans.plan_cells import drawn_text, fans_text, what_text
from goodinit.plans.plan_table import _level, _Reasons
from goodinit.plans.rows import PlanBlock, PlanRow, Rates
from goodinit.schemes import Layout

FILE = Path(__file__).parent / "texts.txt"
LINEAR = Layout(outputs=(0,), inputs=(1,))
STACKED = Layout(outputs=(1,), inputs=(2,), batch=(0,))
NORMAL = gi.Normal(0.02)


def row(name: str = "w", shape: tuple[int, ...] = (4, 4), **more: object) -> PlanRow:
    given = {"owner": "Linear", "kind": "linear", "part": "weight", "scheme": NORMAL, **more}
    if given.get("layout"):
        fan_in, fan_out = given["layout"].fans(shape)
        given = {"fan_in": fan_in, "fan_out": fan_out, **given}
    return PlanRow(name, shape, torch.float32, **{"rule": "all() -> Normal(0.02)", **given})


def block(name: str, start: int, stop: int, scheme: gi.Scheme = NORMAL) -> PlanBlock:
    return PlanBlock(name, ((start, stop), (0, 4)), 4.0, float(stop - start), scheme)


QKV = (block("q", 0, 4), block("k", 4, 8, gi.Zeros()), block("v", 8, 12, gi.Keep()))
EVERY = (
    row("table", (9, 4), kind="embedding", part="head", tied=("head.weight",), zero_rows=(0, 3)),
    row("packed", (12, 4), layout=LINEAR, blocks=QKV, scheme=None, fan_in=None, fan_out=None,
        rule="block('q') -> Normal(0.02)\nblock('k') -> Zeros()\nkeep", why="keys wait; loaded"),
    row("alike", (8, 4), layout=LINEAR, blocks=(block("gate", 0, 4), block("in", 4, 8)),
        why="both of one law"),
    row("five", (20, 4), layout=LINEAR, blocks=tuple(block(f"e{n}", 4 * n, 4 * n + 4)
                                                     for n in range(5))),
    row("once", layout=LINEAR, blocks=(block("q", 0, 4),), frozen=True, guessed=True),
    row("grown", (6, 4), layout=LINEAR, grown_from=(5, 4), why="the first rows are loaded"),
    row("copies", (3, 4, 4), layout=STACKED, grown_from=(4, 4), scheme=gi.AddNoise()),
    row("conv.weight", (4, 4, 3), kind="conv", stored=("conv.original0", "conv.original1")),
    row("missing", scheme=gi.Keep(), unresolved=True, rule="", why="no rule, and no memory"),
    row("mean", scheme=gi.Normal(0.5, mean=0.25), depth=3, layer=1, ends_residual=True),
    row("bias", (4,), part="bias", scheme=gi.Constant(0.125), activation="relu"),
    row("kept.0", (4,), scheme=gi.Keep(), rule="keep -> Keep()", why="loaded already"),
    row("kept.1", (4,), scheme=gi.Keep(), rule="keep -> Keep()", why="loaded already"),
    row("kept.2", (4,), scheme=gi.Keep(), rule="keep -> Keep()", why="trained", frozen=True),
    row("kept.tied", (4,), scheme=gi.Keep(), rule="keep -> Keep()", tied=("kept.other",)),
    row("stats.0", (4,), kind="norm", part="buffer", buffer=True, scheme=gi.Zeros(), rule="",
        why="statistics start again", frozen=True),
    row("stats.1", (4,), kind="norm", part="buffer", buffer=True, scheme=gi.Ones(), rule="",
        why="statistics start again", frozen=True),
    row("mup", layout=LINEAR, rates=Rates(0.5, None, 2.0), shadowed=("w -> Ones()",)),
)  # fmt: skip
FOUND = (
    Finding("GI113", "info", "w", "it is so", "leave it"),
    Finding("GI111", "warning", "w", "it is ill", "draw it anew"),
)
PLAN = gi.Plan(EVERY, "mine", "meta", "", FOUND, seed=3)


def many(names: int, shapes: int, constants: int) -> gi.Plan:
    """Lines of a table: as many names, shapes of one name in layers, and constants."""
    rows = [row(f"{ascii_letters[n]}.weight", why=f"reason {n}") for n in range(names)]
    rows += [row(f"h.{n}.w", (4, n + 1), layout=LINEAR) for n in range(shapes)]
    rows += [row(f"{ascii_letters[n]}.b", (4,), part="bias", scheme=gi.Zeros())
             for n in range(constants)]  # fmt: skip
    return gi.Plan(tuple(rows), "many", "meta")


BEFORE = gi.Plan((
    row("gone.0", layout=LINEAR), row("gone.1", layout=LINEAR),
    row("law.0"), row("law.1"), row("law.x"), row("rule.0"),
    row("shape", (4, 4), tied=("a",)), row("point", ()),
    row("packed", (12, 4), blocks=QKV, scheme=None),
    row("names", (12, 4), blocks=QKV, scheme=None), row("split", (12, 4), blocks=QKV),
    row("flat", (12, 4)), row("same"), row("grown", grown_from=(3, 4), tied=("a", "b")),
))  # fmt: skip
AFTER = gi.Plan((
    row("law.0", scheme=gi.HeNormal(), layout=LINEAR, rule="other", why="of another"),
    row("law.1", scheme=gi.HeNormal(), layout=LINEAR), row("law.x", scheme=gi.Ones()),
    row("rule.0", rule="other", why="of another"),
    row("shape", (5, 4), tied=(), zero_rows=(1,), frozen=True), row("point", (1,)),
    row("packed", (12, 4), blocks=(*QKV[:2], replace(QKV[2], scheme=gi.Ones())), scheme=None),
    row("names", (12, 4), blocks=QKV[:2], scheme=None), row("split", (12, 4), blocks=QKV[1:]),
    row("flat", (12, 4), blocks=QKV, scheme=None), row("same"),
    row("new", blocks=QKV, scheme=None), row("grown", zero_rows=(0, 3)),
))  # fmt: skip


def html(result: gi.Plan | gi.Diff) -> str:
    """The page without attributes, which are those of all tables; a line for each row."""
    bare = re.sub(r"<(\w+)[^>]*>", r"<\1>", result._repr_html_()).replace("<wbr>", "")
    return bare.replace("</tr>", "</tr>\n").replace("</li>", "</li>\n")


def texts() -> Iterator[tuple[str, str]]:
    yield "a plan", PLAN.to_text()
    yield "a plan in full", PLAN.to_text(full=True)
    yield "a plan as HTML", html(PLAN)
    yield "a plan as data", "\n".join(map(str, PLAN.to_dict()["rows"]))
    yield "a plan of nothing", gi.Plan(()).to_text()
    yield "a plan of many rows", many(1, 19, 12).to_text()
    yield "a plan of more", many(20, 3, 3).to_text()
    for title, found in {
        "a difference": gi.diff(BEFORE, AFTER), "back": gi.diff(AFTER, BEFORE),
    }.items():  # fmt: skip
        yield title, found.to_text()
        yield f"{title}, in full", found.to_text(full=True)
        yield f"{title} as HTML", html(found)
    yield "a difference as data", json.dumps(gi.diff(BEFORE, AFTER).to_dict(), sort_keys=True)
    yield "rows", "\n".join(map(repr, (*EVERY, *gi.diff(BEFORE, AFTER))))


def written() -> str:
    return "\n".join(f"=== {title}\n{text}\n" for title, text in texts())


def test_plans_and_differences_look_as_before() -> None:
    assert written() == FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("scheme", "shown"),
    [
        (gi.Zeros(), "0"),
        (gi.Ones(), "1"),
        (gi.Constant(0.5), "0.5"),
        (gi.Keep(), "kept"),
        (gi.Normal(0.02), "Normal"),
        (gi.Normal(0.02, mean=1.0), "Normal(mean=1)"),
        (gi.VarianceScaling(2.0), "VarianceScaling"),
        (gi.Uniform(-0.5, 0.5), "Uniform(±0.5)"),
        (gi.Uniform(0.25, 0.5), "Uniform(low=0.25, high=0.5)"),
        (gi.Orthogonal(), "Orthogonal"),
        (None, "by block"),
    ],
    ids=repr,
)
def test_how_a_law_is_shown(scheme: gi.Scheme | None, shown: str) -> None:
    assert drawn_text(replace(row(), scheme=scheme)) == shown


@pytest.mark.parametrize(
    ("one", "what", "fans"),
    [
        (row(), "linear", ""),
        (row(part="out", layout=LINEAR), "linear out", "4>4"),
        (row(kind="router", part="router"), "router", ""),
        (row(kind="embedding", part="table"), "embedding", ""),
        (row(layout=LINEAR, fan_in=None, fan_out=None), "linear", "by block"),
        (row(layout=LINEAR, fan_in=None), "linear", "by block"),
        (row(layout=LINEAR, fan_out=1.5), "linear", "4>1.5"),
    ],
)
def test_what_and_fans(one: PlanRow, what: str, fans: str) -> None:
    assert (what_text(one), fans_text(one)) == (what, fans)


@pytest.mark.parametrize(
    ("sizes", "level"),
    [
        ((18, 0, 0), 0), ((17, 0, 9), 1), ((17, 9, 0), 2),
        ((19, 0, 0), 3), ((18, 0, 9), 3), ((18, 9, 0), 3),
    ],
)  # fmt: skip
def test_a_table_has_as_much_detail_as_fits_a_screen(sizes, level: int) -> None:
    """18 lines below the head do: constants share one from level 1 on, shapes from level 2 on."""
    rows = many(*sizes).rows
    assert _level(rows, _Reasons(rows, full=False)) == level


def test_a_row_is_frozen_plain_data() -> None:
    net = nn.Linear(2, 2)
    (weight, _) = gi.plan(net, "he").rows
    assert weight.parts() == (PlanBlock("", ((0, 2), (0, 2)), 2, 2, gi.HeNormal()),)
    assert (weight.size, weight.kept, weight.mean) == (4, False, 0.0)


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
