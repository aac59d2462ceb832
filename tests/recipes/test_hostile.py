"""Random and hostile files of recipes and plans: each is read, or refused with its place.

650 of each, and 5,850 in the battery: valid files with bytes, words and lines changed; files of
the right shape with wrong things in them. While one is read, nothing is imported, compiled, run or
opened. What is read must be of use: a recipe can be planned with, a plan shown and saved.
``test_costly.py`` has the files that are made to cost much.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import io
import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from tests.forks import MAY_FORK, in_a_fork
from tests.steps import within
from torch import nn

import goodinit as gi
from goodinit.anatomy.rows import KINDS, PARTS
from goodinit.errors import PlanFileError, RecipeFileError
from goodinit.recipes.deferred import ReluGain

BATTERY = pytest.mark.battery
# Examples of each sort, by seeds, which draw cheaply.
CHANGED = pytest.mark.parametrize("examples", [400, pytest.param(4100, marks=BATTERY)])
WRONG = pytest.mark.parametrize("examples", [125, pytest.param(1750, marks=BATTERY)])
IDS = ["recipes", "plans"]
SECONDS = 0.5  # of the processor, for a file of some kilobytes; a hundredth is usual

# ---------------------------------------------------------------------------- what is watched

EVENTS: list[str] = []  # whatever Python reports while a file is read
WATCHING = False
HARMLESS = ("object.__getattr__", "sys._getframe", "gc.", "builtins.id")


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if WATCHING and not event.startswith(HARMLESS):
        EVENTS.append(f"{event} {arguments!r:.100}")


def hooked(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a process of its own, in which Python calls the hook.

    A hook can't be taken away again. Even an idle one would slow all tests that follow: setting a
    field of a frozen dataclass is an event, and there are millions.
    """

    @functools.wraps(test)
    def forked(**arguments: object) -> None:
        def run() -> None:
            sys.addaudithook(hook)
            test(**arguments)

        in_a_fork(run)

    return MAY_FORK(forked)


@contextmanager
def watched() -> Iterator[None]:
    global WATCHING  # noqa: PLW0603
    EVENTS.clear()
    modules = len(sys.modules)
    WATCHING = True
    try:
        yield
    finally:
        WATCHING = False
    assert not EVENTS
    assert len(sys.modules) == modules


def read(
    load: Callable[[str], object], name: str, raw: bytes, seconds: float = SECONDS
) -> gi.Recipe | gi.Plan | gi.GoodinitError:
    """What a file of that name holds, or the error that refuses it; and nothing else happens."""
    disk = mock.patch.multiple(
        Path, open=lambda path, mode: io.BytesIO(raw), read_bytes=lambda path: raw
    )
    with disk, watched():
        gc.disable()  # a full collection goes over all that earlier tests left behind
        start = time.thread_time()
        try:
            found = load(name)
        except gi.GoodinitError as error:
            found = error
        took = time.thread_time() - start
        gc.enable()
    assert within(took, seconds), f"{took:.2f} s"
    return found


RECIPE_PLACE = (
    r"(rule [1-9]\d*(, [^:]+)?: .|(rule|name|why|goodinit_recipe): .|[\w-]+: unknown|'.*': unknown"
    r"|not a recipe: .|no rule: .|not UTF-8 text \(.*at line [1-9]\d*\)|(more than|nested) ."
    r"|not valid TOML: .*(\(at (line [1-9]\d*, column [1-9]\d*|end of document)\)|digits)$)"
)


def use_recipe(raw: bytes, seconds: float = SECONDS) -> str:
    """Read a recipe and use it; "" where it was valid, else the message."""
    found = read(gi.Recipe.load, "x.toml", raw, seconds)
    if isinstance(found, RecipeFileError):
        assert re.match(rf"x\.toml: {RECIPE_PLACE}", str(found)), found
        assert len(str(found)) < 2000
        return str(found)
    assert isinstance(found, gi.Recipe), found
    assert gi.Recipe.from_toml(found.to_toml()) == found
    try:
        str(gi.plan(NET, found))
    except gi.GoodinitError as error:
        str(error)
    return ""


def use_plan(raw: bytes, seconds: float = SECONDS) -> str:
    """Read a plan and use it; "" where it was valid, else the message."""
    found = read(gi.Plan.load, "x.json", raw, seconds)
    if isinstance(found, PlanFileError):
        place = r"line [1-9]\d*|^x\.json: ([\w.\[\]]+): |nested too deep"
        assert re.search(place, str(found)), found
        assert len(str(found)) < 2000
        return str(found)
    assert isinstance(found, gi.Plan), found
    assert gi.Plan.from_dict(found.to_dict()) == found
    str(found)
    return ""


# ------------------------------------------------------------------------- valid files, changed

NET = nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.ReLU(), nn.BatchNorm1d(6), nn.LSTM(6, 5))
MINE = '''# every kind of line
"goodinit_recipe" = 1
name = "mine" # not "yours"
why = """
[[rule]]
two lines\\""" """

[[rule]]
where = { kind = ["linear", "conv"], not = { part = "bias" }, all = true }
scheme = "Normal"
std = 0.02
scaled = { depth = -0.5, width = 1 }

[[rule]]
where.any = [
    "*.bias", # a glob
    { attr = "w*", ends_residual = true },
    { every = [{ followed_by = "relu" }, { not = "h.[0-9].*" }] },
]
scheme = 'ReluGain'
he = { scheme = "HeUniform", nonlinearity = "leaky_relu", a = 0.1 }
why = 'first'
optional = true
[rule.otherwise]
scheme = "TruncatedNormal"
std = 1e-3
cut = [-2, +3.0]

[[rule]]
where = { type = ["Linear", "torch.nn.LSTM"], block = "for*" }
scheme = "Dirac"
groups = 2
'''
RECIPES = [MINE, *(gi.recipe(name).to_toml() for name in ("dcgan", "torch_default", "lstm"))]
PLANS = [
    json.dumps(gi.plan(net, recipe).to_dict(), indent=indent)
    for net, recipe, indent in (
        (nn.GRU(3, 2, bias=False), "lstm", 1),
        (nn.Sequential(nn.Embedding(5, 4, padding_idx=1), nn.Linear(4, 3)), "standard", None),
        (nn.Sequential(nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)), "dcgan", 1),
    )
]
WORDS = [
    *("nan", "-inf", "1e999", "-1", "0", "9" * 99, "9" * 5000, "0x" + "f" * 90, "1_0", "+", "true"),
    *("1979-05-27", "07:32:00", "[]", "{}", "[[", "]]", "[", "]", "{", "}", "=", ".", ",", "#"),
    *('"', "'", '"""', "'''", "\\", "\n", "\r", "\r\n", "\t", "\0", "\ufeff", "\u2028", "é" * 9),
    *('""', '"x"', "''", '"\\u0000"', '"\\ud800"', '"' + "*a" * 99 + '"', '"[[z-a]!"', '"[!]"'),
    *("where", "scheme", "std", "scaled", "why", "rule", "not", "any", "every", "all", "when"),
    *("[[rule]]", "[rule]", "[rule.where]", "[[rule.where]]", "rule = [", "where = { ", "a.b.c"),
    *('"Function"', '"Neutral"', '"Keep"', '"Scaled"', '"Sparse"', '"DeltaOrthogonal"', "f", ":"),
    *('"os.system"', '"transformers.GPT2Model"', '"torch.onnx.x"', '"__import__"', "this", "\x7f"),
    *('"*"', '"norm"', '"bias"', '"relu"', '"Linear"', '{ all = true }', '["a"]', '{ not = "a" }'),
    *("NaN", "Infinity", "null", '{"a": 1, "a": 2}', '"meta"', '"onnx"', "[" * 99, "[0, 5]"),
    *("1e400", "9223372036854775808", "-0.0", "1.5", "5e-324", '"std": 1,', '"scheme": "Keep"'),
]  # fmt: skip


PIECE = re.compile(rb"[\w.*-]+|[^\w\s]")


def changed(text: str, seed: int) -> bytes:
    """A text with one to four of its words, lines and bytes changed."""
    chance = random.Random(seed)
    raw = text.encode()
    for _ in range(chance.randint(1, 4)):
        if not raw:
            break
        lines, at = raw.split(b"\n"), chance.randrange(len(raw))
        line = chance.randrange(len(lines))
        start, stop = found.span() if (found := PIECE.search(raw, at)) else (at, at)
        word = chance.choice(WORDS).encode()
        match chance.randrange(12):
            case 0 | 1 | 2 | 3:
                raw = raw[:start] + word + raw[stop:]
            case 4:
                raw = raw[:start] + word + raw[start:]
            case 5 | 6:  # another word of the file
                other = PIECE.search(raw, chance.randrange(len(raw)))
                raw = raw[:start] + (other[0] if other else b"") + raw[stop:]
            case 7:
                raw = b"\n".join(lines[:line] + lines[line + 1 :])
            case 8:
                raw = b"\n".join(lines[: line + 1] + lines[line:])
            case 9:
                raw = b"\n".join(lines[line:] + lines[:line])
            case 10:
                raw = raw[:at] + chance.randbytes(1) + raw[at + 1 :]
            case _:
                raw = raw[:at]
    return raw


def run(each: Callable[[], None], outcomes: list[str]) -> None:
    """Run a Hypothesis test, and see that it tried both what is valid and what isn't."""
    each()
    valid = outcomes.count("")
    assert min(valid, len(outcomes) - valid) > len(outcomes) / 50, (valid, len(outcomes))


@CHANGED
@pytest.mark.parametrize(("bases", "use"), [(RECIPES, use_recipe), (PLANS, use_plan)], ids=IDS)
@hooked
def test_valid_files_changed(bases: list[str], use: Callable[[bytes], str], examples: int) -> None:
    outcomes: list[str] = []

    @given(st.integers(0, len(bases) - 1), st.integers(0, 2**64 - 1))
    @settings(max_examples=examples)
    def each(base: int, seed: int) -> None:
        raw = changed(bases[base], seed)
        note(repr(raw))
        outcomes.append(use(raw))

    run(each, outcomes)


# ------------------------------------------------------- the right shape, with wrong things in it

NUMBERS = [1, 0, -1, 2, 0.5, 1e300, -1e308, 1e200, 5e-324, 1e-30, 2**63, 10**50, True, False]
TEXTS = ["", "*", "*.bias", "[a", "relu", "leaky_relu", "fan_out", "uniform", "norm", "conv", "q"]
TEXTS += ["bias", "weight", "Linear", "Conv1d", "torch.nn.LSTM", "a.b", "x" * 400, "in", "\x00"]
TEXTS += ["%s.{}", "1" * 5000, "²", "layer.7%"]
SCHEMES = [*gi.schemes.reader.SCHEMES, "Neutral", "ReluGain", "Function", "normal"]
FIELDS = "std mean low high cut corrected value scale mode distribution gain nonlinearity a".split()
FIELDS += "groups sparsity share scaled he otherwise why optional x".split()
WHERES = "all name attr type kind part block ends_residual followed_by not any every".split()


def any_value(chance: random.Random, keys: list[str], levels: int = 3) -> object:
    """A number, a text, or lists and tables of them."""
    match chance.randrange(10 if levels else 6):
        case 0 | 1 | 2:
            return chance.choice(NUMBERS)
        case 3 | 4 | 5:
            return chance.choice(TEXTS)
        case 6 | 7:
            return [any_value(chance, keys, levels - 1) for _ in range(chance.randrange(4))]
        case _:
            names = chance.sample(keys, chance.randrange(4))
            return {name: any_value(chance, keys, levels - 1) for name in names}


def likely(chance: random.Random, field: str) -> object:
    """A value that a field may take, or nearly."""
    if chance.random() < 0.15:
        return any_value(chance, FIELDS)
    match field:
        case "mode":
            return chance.choice(["fan_in", "fan_out", "fan_avg"])
        case "distribution":
            return chance.choice(["normal", "uniform", "truncated"])
        case "nonlinearity":
            return chance.choice(["relu", "leaky_relu", "tanh", "gelu"])
        case "corrected" | "optional":
            return chance.random() < 0.5
        case "cut":
            bounds = [chance.choice(NUMBERS), chance.choice(NUMBERS)]
            return chance.choice([1, 2.0, [-1, 2], [0.5, 40], [-9, -8.5], 5e-324, 1e308, bounds])
        case "scaled":
            return {chance.choice(["depth", "layer", "width", "fan_in"]): chance.choice(NUMBERS)}
        case "he" | "otherwise":
            return any_scheme(chance, ["HeNormal", "HeUniform", "Normal", "Ones"])
        case _:
            return chance.choice([1, 2, 0.5, 0.02, 0, -1, 1e-9, 1e30, chance.choice(NUMBERS)])


def any_scheme(chance: random.Random, names: list[str]) -> dict[str, object]:
    """A scheme with most of the fields that it has, and sometimes another."""
    name = chance.choice(names)
    kind = {**gi.schemes.reader.SCHEMES, "ReluGain": ReluGain}.get(name)
    has = [field.name for field in dataclasses.fields(kind)] if kind else []
    given = [field for field in has if chance.random() < 0.9]
    given += [field for field in FIELDS if chance.random() < 0.01]
    return {"scheme": name, **{field: likely(chance, field) for field in given}}


def any_where(chance: random.Random, levels: int = 3) -> object:
    if chance.random() < 0.1:
        return any_value(chance, WHERES)
    where: dict[str, object] = {}
    for key in chance.sample(WHERES if levels else WHERES[:9], chance.randint(1, 2)):
        match key:
            case "all" | "ends_residual":
                where[key] = True
            case "kind":
                where[key] = chance.sample(KINDS, 2)
            case "part":
                where[key] = chance.choice(PARTS)
            case "not":
                where[key] = any_where(chance, levels - 1)
            case "any" | "every":
                where[key] = [any_where(chance, levels - 1) for _ in range(chance.randint(1, 3))]
            case _:
                where[key] = chance.choice(TEXTS)
    return where if where or chance.random() < 0.1 else "*"


def toml(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case str():
            return json.dumps(value)
        case _:
            return str(value).lower()


def any_recipe(chance: random.Random) -> bytes:
    rules = [
        {"where": any_where(chance), **any_scheme(chance, SCHEMES)}
        for _ in range(chance.randint(1, 2))
    ]
    if chance.random() < 0.3:
        return f"goodinit_recipe = 1\nrule = {toml(rules)}\n".encode()
    lines = ["goodinit_recipe = 1"]
    for rule in rules:
        lines += ["[[rule]]", *(f"{key} = {toml(value)}" for key, value in rule.items())]
    return "\n".join(lines).encode()


def places(data: object) -> Iterator[tuple[object, object]]:
    """Every (container, key) in nested data."""
    pairs = enumerate(data) if isinstance(data, list) else getattr(data, "items", list)()
    for key, value in pairs:
        yield data, key
        yield from places(value)


def any_plan(chance: random.Random) -> bytes:
    """A valid plan in which one to three things are others, or gone, or swapped."""
    data = json.loads(chance.choice(PLANS))
    for _ in range(chance.randint(1, 3)):
        found = list(places(data))
        container, key = chance.choice(found)
        match chance.randrange(8), container[key]:
            case 0, _:
                del container[key]
            case 1, _:
                other, name = chance.choice(found)
                container[key] = json.loads(json.dumps(other[name]))
            case 2, _:
                container[key] = any_value(chance, ["std", "scheme", "name", "outputs", "box"])
            case _, bool(value):
                container[key] = not value
            case _, int() | float():
                container[key] = chance.choice([0, 1, 2, 3, 4, 6, 7, 12, *NUMBERS])
            case _, str():
                container[key] = chance.choice([*TEXTS, *KINDS, *PARTS, "float16", "int64", "onnx"])
            case _, list(value):
                container[key] = chance.choice([value * 2, value[1:], value[::-1], [value]])
            case _:
                container[key] = any_scheme(chance, SCHEMES)
    return json.dumps(data).encode()


@WRONG
@pytest.mark.parametrize(("make", "use"), [(any_recipe, use_recipe), (any_plan, use_plan)], ids=IDS)
@hooked
def test_wrong_things_in_the_right_shape(
    make: Callable[[random.Random], bytes], use: Callable[[bytes], str], examples: int
) -> None:
    outcomes: list[str] = []

    @given(st.integers(0, 2**64 - 1))
    @settings(max_examples=examples)
    def each(seed: int) -> None:
        raw = make(random.Random(seed))
        note(repr(raw))
        outcomes.append(use(raw))

    run(each, outcomes)
