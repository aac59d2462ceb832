"""Files made to cost much: each is read or refused in bounded time and memory."""

from __future__ import annotations

import itertools
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.steps import within
from torch import nn

import goodinit as gi
from goodinit.errors import PlanFileError, RecipeFileError
from goodinit.recipes.toml import LARGEST, LONGEST_NAME, MOST_DOTTED, MOST_RULES

# A recipe's file takes half a second at worst on an idle machine. Here others may run beside it.
SECONDS = 3.0
BYTES = 400  # of memory for each byte of a file; a dictionary's item takes a hundred
SMALL = 2**14  # bytes: tracemalloc is slow, and memory goes with the size

Maker = Callable[[int], bytes]


def filled(start: str, unit: str | Callable[[int], str], end: str = "") -> Maker:
    """A maker of files of just under a size: of units, by number, between a start and an end."""

    def make(size: int) -> bytes:
        if isinstance(unit, str):  # a hundred thousand units, of which each would take as long
            many = (size - len((start + end).encode())) // len(unit.encode())
            return (start + unit * many + end).encode()
        units: list[bytes] = []
        left = size - len((start + end).encode())
        for number in itertools.count():
            units.append(unit(number).encode())
            left -= len(units[-1])
            if left < 0:
                break
        return start.encode() + b"".join(units[:-1]) + end.encode()

    return make


def rules(scheme: str, where: str = '"*"', most: int = 10**9) -> Maker:
    """A maker of files of rules; ``{n}`` is the rule's number."""
    rule = f"[[rule]]\nwhere = {where}\n{scheme}\n"
    return filled(HEAD, lambda n: rule.replace("{n}", str(n)) if n < most else "# no more\n")


HEAD = "goodinit_recipe = 1\n"
RULE = HEAD + '[[rule]]\nscheme = "Ones"\n'
ONES = 'scheme = "Ones"'
RECIPES: dict[str, Maker] = {
    "array": filled(HEAD + "a = [", "1,", "]"),
    "lines": filled("", "\n"),
    "comments": filled("", "#\n"),
    "one comment": filled(HEAD + "#", "x"),
    "brackets": filled("", "["),
    "arrays in arrays": filled("a = ", "["),
    "tables in tables": filled("a = ", "{a="),
    "a dotted key": filled("", "a.", "a = 1"),
    "a dotted header": filled("[", "a.", "a]"),
    "keys": filled(HEAD, lambda n: f"k{n} = 1\n"),
    "quoted keys": filled(HEAD, lambda n: f'"\\n{n}" = 1\n'),
    "deep keys": filled(HEAD, lambda n: f"a.b.c.d.e.f.g.h.i.j.k.l.m.n.k{n} = []\n"),
    "headers": filled(HEAD, lambda n: f"[t{n}]\n"),
    "deep headers": filled(HEAD, lambda n: f"[a.b.c.d.e.f.g.h.i.j.k.l.m.n.k{n}]\n"),
    "empty rules": filled(HEAD, "[[rule]]\n"),
    "tables of rules": filled(HEAD, "[[rule]]\n[rule.where]\n"),
    "rules": rules(ONES),
    "inline rules": filled(HEAD + "rule = [", '{ where = "*", scheme = "Ones" },\n', "]"),
    "slopes": rules('scheme = "HeNormal"\nnonlinearity = "leaky_relu"\na = 1.{n}', most=MOST_RULES),
    "cuts": rules('scheme = "TruncatedNormal"\nstd = 1\ncut = 1.{n}', most=MOST_RULES),
    "long globs": rules(ONES, f'"{"*a" * (LONGEST_NAME // 2)}"'),
    "sets in globs": rules(ONES, f'"{"[" * LONGEST_NAME}"'),
    "long types": rules(ONES, f'{{ type = "{"a." * (LONGEST_NAME // 2 - 1)}a" }}'),
    "types": rules(ONES, '{ type = "Linear" }', most=MOST_RULES),
    "any": filled(RULE + "where.any = [", '"a",', "]"),
    "every": filled(RULE + "where.every = [", "{ all = true },", "]"),
    "kinds": filled(RULE + "where.kind = [", '"norm",', "]"),
    "inline keys": filled(HEAD + "a = {", lambda n: f"k{n} = {{}},", "x = 1}"),
    "escapes": filled(HEAD + 'name = "', "\\n", '"'),
    "texts": filled(HEAD + "a = [", '"\\u0041",', "]"),
    "keys as deep as may be": filled(HEAD, lambda n: f"{'a.' * (MOST_DOTTED - 1)}k{n} = 1\n"),
    "escaped quotes": filled("", '\\"'),
    "open texts": filled("", '\\"""'),
    "quotes": filled("", '"'),
    "apostrophes": filled("", "'"),
    "a number": filled(HEAD + "a = ", "9"),
    "a hexadecimal number": filled(HEAD + "a = 0x", "f"),
    "a number with underscores": filled(HEAD + "a = ", "9_", "9"),
    "floats": filled(HEAD + "a = [", "1e5,", "]"),
    "dates": filled(HEAD + "a = [", "1979-05-27T07:32:00.999999-07:00,", "]"),
    "zeros": filled("", "\0"),
    "not UTF-8": lambda size: b"\xff" * size,
}

ROW = json.dumps(gi.plan(nn.Linear(2, 2, bias=False), "he").to_dict()["rows"][0])
PLAN = '{"goodinit_plan": 1, "recipe": "", "how": "", "prefix": "", "seed": null, '
PLAN += '"findings": [], "rows": '
BLOCK = (
    '{"name": "", "box": [[%d, %d]], "fan_in": null, "fan_out": null, "scheme": {"scheme": "%s"}}'
)


def row(**changes: str) -> str:
    """A row as JSON, with texts of JSON in some of its fields."""
    fields = {key: json.dumps(value) for key, value in json.loads(ROW).items()}
    return "{" + ", ".join(f'"{key}": {value}' for key, value in (fields | changes).items()) + "}"


def in_row(key: str, unit: str | Callable[[int], str], last: str, **changes: str) -> Maker:
    """A maker of plans with one row, a field of which is a long list."""
    start, end = row(**{"layout": "null", **changes, key: "[MANY]"}).split("MANY")
    return filled(PLAN + "[" + start, unit, last + end + "]}")


PLANS: dict[str, Maker] = {
    "lists in lists": filled("", "["),
    "objects in objects": filled("", '{"a":'),
    "numbers": filled("[", "1,", "1]"),
    "a number": filled('{"goodinit_plan": ', "9", "}"),
    "a float": filled('{"goodinit_plan": 0.', "9", "}"),
    "an exponent": filled('{"goodinit_plan": 1e', "9", "}"),
    "one text": filled('{"goodinit_plan": "', "x", '"}'),
    "escapes": filled('{"goodinit_plan": "', "\\u0000", '"}'),
    "keys": filled("{", lambda n: f'"k{n}": 1,', '"x": 1}'),
    "a key that is there twice": filled("{", lambda n: f'"k{n}": 1,', '"k0": 1}'),
    "a long key": filled('{"', "x", '": 1}'),
    "rows": filled(
        PLAN + "[", lambda n: row(name=f'"{n}"') + ",\n", row(name='"last"') + "]}"
    ),
    "rows of one name": filled(PLAN + "[", row() + ",\n", row() + "]}"),
    "axes": in_row("shape", "9223372036854775807, ", "1"),
    "zero rows": in_row("zero_rows", "1, ", "1"),
    "tied": in_row("tied", lambda n: f'"{n}", ', '"last"'),
    "blocks": in_row(
        "blocks", lambda n: BLOCK % (n, n + 1, "Ones") + ",", BLOCK % (0, 1, "Ones"),
        shape="[1000000]", scheme="null",
    ),
    "long box": in_row(
        "blocks", "1, ", BLOCK % (0, 1, "Ones"), shape="[1000000]", scheme="null",
    ),
    "slopes": filled(
        PLAN + "[",
        lambda n: row(
            name=f'"{n}"',
            scheme=f'{{"scheme": "HeNormal", "nonlinearity": "leaky_relu", "a": 1.{n}}}',
        ) + ",\n",
        row(name='"last"') + "]}",
    ),
    "large orthogonal": lambda size: (
        PLAN + "[" + row(shape=f"[{2**62}, {2**62}]", scheme='{"scheme": "Orthogonal"}') + "]}"
    ).encode(),
    "large sparse": lambda size: (
        PLAN + "["
        + row(shape=f"[{2**62}, 3]", scheme='{"scheme": "Sparse", "sparsity": 0.5, "std": 1}')
        + "]}"
    ).encode(),
    "large dirac": lambda size: (
        PLAN + "["
        + row(shape=f"[{2**62}, 3, 3]", scheme=f'{{"scheme": "Dirac", "groups": {2**61}}}')
        + "]}"
    ).encode(),
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads that wait for one another on a busy machine are charged for waiting."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def outcome(load: Callable[[str], object], path: Path) -> object:
    try:
        return load(str(path))
    except (RecipeFileError, PlanFileError) as error:
        return error


def check(load: Callable[[str], object], make: Maker, path: Path) -> None:
    path.write_bytes(make(LARGEST))
    start = time.thread_time()
    found = outcome(load, path)
    assert within(time.thread_time() - start, SECONDS)
    if isinstance(found, gi.GoodinitError):
        assert len(str(found)) < 2000
    path.write_bytes(make(SMALL))
    tracemalloc.start()
    try:
        outcome(load, path)
        assert tracemalloc.get_traced_memory()[1] < BYTES * SMALL
    finally:
        tracemalloc.stop()


# The reader meets these as it meets others here: left to the battery.
ALIKE = {
    *("lines", "comments", "keys as deep as may be", "deep headers", "headers", "tables of rules"),
    *("empty rules", "inline rules", "cuts", "every", "kinds", "types", "quoted keys"),
    *("escaped quotes", "texts", "a hexadecimal number", "dates"),
}


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=[pytest.mark.battery] * (what in ALIKE)) for what in RECIPES]
)
def test_recipes(what: str, tmp_path: Path) -> None:
    check(gi.Recipe.load, RECIPES[what], tmp_path / "x.toml")


@pytest.mark.parametrize("what", PLANS)
def test_plans(what: str, tmp_path: Path) -> None:
    check(gi.Plan.load, PLANS[what], tmp_path / "x.json")
