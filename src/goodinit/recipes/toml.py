"""Recipes to TOML and back. A file may come from anywhere: nothing in it is run or imported.

    goodinit_recipe = 1
    name = "mine"

    [[rule]]
    where = { kind = ["linear", "conv"], not = { part = "bias" } }
    scheme = "Normal"
    std = 0.02
    scaled = { depth = -0.5 }
    why = "small"

``where`` is a glob, or a table of conditions that must all hold. A scheme's fields stand beside
its name. A syntax error names the line; any other error names the place, such as
``rule 3, where.any, item 2, kind``, where rules and items are counted from 1.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from os import PathLike
from pathlib import Path
from typing import NoReturn, TypeVar, cast

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from goodinit.errors import RecipeError, RecipeFileError, SchemeError, nearest
from goodinit.recipes import rule as rules
from goodinit.recipes.base import Base
from goodinit.recipes.by_place import NAMED
from goodinit.recipes.class_lookup import module_type, type_name
from goodinit.recipes.recipe import Recipe
from goodinit.recipes.rule import Rule, Selector, sel
from goodinit.schemes import Function, Scaled, Scheme, from_dict
from goodinit.schemes.fields import short_repr
from goodinit.schemes.reader import SCHEMES

VERSION = 1
# What follows bounds the time and the stack that a hostile file can cost; recipes that people
# write are far below it.
LARGEST = 2**17  # bytes of a file
LONGEST_NAME = 300  # characters of a glob (matching is quadratic in them) or of a class's name
MOST_DOTTED = 50  # names joined by dots: tomllib takes time quadratic in the parts of a key
MOST_RULES = 500  # each costs time on each parameter of a model
MOST_CONDITIONS = 100  # of one rule: each may be a level of the tree of selectors

_TOO_DEEP = "nested too deeply"
_TOO_LARGE = f"more than {LARGEST} bytes, the most that is read of a recipe"
_TOP_KEYS = ("goodinit_recipe", "name", "why", "base", "rule")
_FLAGS = ("optional", "library")
_RULE_KEYS = ("where", "scheme", "scaled", "why", *_FLAGS)
_WHERE_KEYS = (
    *("all", "name", "attr", "type", "kind", "part", "block", "ends_residual", "last_norm"),
    *("head_bias", "gate_bias", "adapted", "followed_by"),
    *("not", "any", "every"),
)
# Longer quoted parts need no bound: few of them fit into a file.
_PART = r"""(?: [\w-]+ | "(?: [^"\\\n] | \\. ){0,100}" | '[^'\n]{0,100}' )"""
_MANY_DOTTED = re.compile(
    rf"(?<! [\w-] ) {_PART} (?: [ \t]* \. [ \t]* {_PART} ){{{MOST_DOTTED}}}", re.VERBOSE
)

_KNOWN: Mapping[str, type[Scheme]] = {**SCHEMES, **NAMED}
T = TypeVar("T")

Place = tuple[str | int, ...]
"""Keys and, counted from 0, numbers in lists: ``("rule", 2, "where", "kind")``."""


# reading


def loads(text: str, source: str = "") -> Recipe:
    r"""Return the recipe in a TOML text: the function behind ``Recipe.from_toml``.

    Example:
        >>> loads('goodinit_recipe = 1\n[[rule]]\nwhere = { kind = "nrom" }\nscheme = "Ones"')
        Traceback (most recent call last):
        goodinit.errors.RecipeFileError: rule 1, where.kind: sel.kind('nrom'): known are linear, ...
    """
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RecipeError(
            f"from_toml takes a text, got {short_repr(text)}; Recipe.load reads a file"
        )
    try:
        return _read_recipe(_parse(text))
    except RecipeFileError as error:
        raise RecipeFileError(f"{source}: {error}" if source else str(error)) from error.__cause__
    except RecursionError:
        raise RecipeFileError(f"{source}: {_TOO_DEEP}" if source else _TOO_DEEP) from None


def load(path: str | PathLike[str]) -> Recipe:
    """Return the recipe in a file, UTF-8: the function behind ``Recipe.load``."""
    source = str(path)
    try:
        with Path(path).open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # a ValueError is a path with a NUL in it
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise RecipeFileError(f"{source!r} can't be read: {reason}") from error
    if len(raw) > LARGEST:
        raise RecipeFileError(f"{source}: {_TOO_LARGE}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8 text ({error.reason}, at line {line}); save it as UTF-8"
        raise RecipeFileError(f"{source}: {what}") from error
    return loads(text, source)


def _parse(text: str) -> dict[str, object]:
    """Return the data in a TOML text, which is bounded first."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise RecipeFileError("half of a surrogate pair, which isn't a character") from error
    if size > LARGEST:
        _refuse((), _TOO_LARGE)
    text = text.removeprefix("\ufeff")
    if found := _MANY_DOTTED.search(text):
        line = text.count("\n", 0, found.start()) + 1
        _refuse((), f"more than {MOST_DOTTED} names joined by dots (at line {line})")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = re.search(r" \(at [^()]*\)$", message)
        what, where = (message[: place.start()], place[0]) if place else (message, "")
        raise RecipeFileError(f"not valid TOML: {what:.200}{where}") from error
    except ValueError as error:  # Python refuses to convert thousands of digits
        raise RecipeFileError("not valid TOML: a number has too many digits") from error


def _read_recipe(data: dict[str, object]) -> Recipe:
    if "goodinit_recipe" not in data:
        _refuse((), f"not a recipe: a recipe's file starts with goodinit_recipe = {VERSION}")
    version = data["goodinit_recipe"]
    if version != VERSION or isinstance(version, (bool, float)):
        this = f"this goodinit reads version {VERSION}, not {short_repr(version)}"
        _refuse(("goodinit_recipe",), this)
    _check_keys(data, _TOP_KEYS, ())
    if "rule" not in data:
        _refuse((), "no rule: a recipe has at least one, under [[rule]]")
    tables = data["rule"]
    if not isinstance(tables, list) or not tables:
        _refuse(("rule",), "each rule stands under a line [[rule]], with two brackets")
    given = cast("list[object]", tables)
    if len(given) > MOST_RULES:
        _refuse(("rule",), f"{len(given)} rules, and at most {MOST_RULES} are read")
    read = [_read_rule(table, ("rule", number)) for number, table in enumerate(given)]
    texts = (_read_text(data.get(key, ""), (key,), empty=True) for key in ("name", "why"))
    name, why = texts
    return Recipe(read, name, why, _read_base(data["base"]) if "base" in data else None)


def _read_base(data: object) -> Base:
    """Return what a recipe such as muP's compares a model with, from numbers."""
    place: Place = ("base",)
    if not isinstance(data, dict):
        _refuse(place, f"a table such as {{ rule = 'mup', of = 64 }} is expected, not {data!r:.80}")
    table = cast("dict[str, object]", data)
    _check_keys(table, ("rule", "of", "layers"), place)
    rule = table.get("rule")
    if rule not in ("mup", "completep"):
        _refuse((*place, "rule"), f"it is mup or completep, not {short_repr(rule)}")
    numbers = {key: table.get(key) for key in ("of", "layers")}
    for key, value in numbers.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            _refuse((*place, key), f"a whole number from 1 is expected, not {short_repr(value)}")
    try:
        return Base(rule, **cast("dict[str, int | None]", numbers))
    except RecipeError as error:
        _refuse(place, str(error))


def _read_rule(data: object, place: Place) -> Rule:
    if not isinstance(data, dict):
        _refuse(place, f"a rule is a table with where and scheme, not {short_repr(data)}")
    table = cast("dict[str, object]", data)
    kind = _KNOWN.get(str(table.get("scheme")))
    kinds = [kind] if kind else _KNOWN.values()  # an unknown scheme may have any field
    fields = {field.name: None for kind in kinds for field in dataclasses.fields(kind)}
    _check_keys(table, (*_RULE_KEYS, *fields), place)
    for key in ("where", "scheme"):
        if key not in table:
            _refuse(place, f"{key} is missing")
    if _count_conditions(table["where"]) > MOST_CONDITIONS:
        many = f"more than {MOST_CONDITIONS} conditions: make several rules of it"
        _refuse((*place, "where"), many)
    where = _read_selector(table["where"], (*place, "where"))
    why = _read_text(table.get("why", ""), (*place, "why"), empty=True)
    flags: dict[str, bool] = {}
    for key in _FLAGS:
        flag = flags[key] = cast("bool", table.get(key, False))
        if not isinstance(flag, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            _refuse((*place, key), f"true or false is expected, not {short_repr(flag)}")
    given = {key: table[key] for key in table if key not in ("where", "why", *_FLAGS)}
    try:
        return Rule(where, from_dict(given, more=NAMED), why, **flags)
    except SchemeError as error:
        _refuse((*place, *(error.field or ("scheme",))), str(error))


def _check_keys(table: Iterable[str], known: tuple[str, ...], place: Place) -> None:
    for key in table:
        if key not in known:
            what = f"unknown: it is none of {', '.join(known)}.{nearest(key, known)}"
            _refuse((*place, key), what)


def _count_conditions(data: object) -> int:
    """Return how many selectors a table stands for, at most: each may be a level of a tree."""
    if isinstance(data, dict):
        data = [*cast("dict[str, object]", data).values()]
    items = cast("list[object]", data) if isinstance(data, list) else []
    return sum(map(_count_conditions, items)) + 1


def _read_selector(data: object, place: Place) -> Selector:
    if isinstance(data, str):
        return sel.name(_read_text(data, place))
    if not isinstance(data, dict):
        _refuse(place, f"a glob or a table of conditions is expected, not {short_repr(data)}")
    table = cast("dict[str, object]", data)
    if "when" in table:
        _refuse((*place, "when"), "when is code, which no file holds: set it in Python")
    _check_keys(table, _WHERE_KEYS, place)
    if not table:
        _refuse(place, "no condition: for every parameter it is { all = true }")
    parts = [_read_condition(key, value, (*place, key)) for key, value in table.items()]
    return reduce(rules.Both, parts)


def _read_condition(key: str, value: object, place: Place) -> Selector:
    match key:
        case _ if key in rules.FACTS:
            if value is not True:
                _refuse(place, f"write true or leave it out; not = {{ {key} = true }} negates it")
            return getattr(sel, key)()
        case "name" | "attr" | "block":
            make = {"name": sel.name, "attr": sel.attr, "block": sel.block}[key]
            return make(_read_text(value, place))
        case "type":
            return sel.type(*_make_each(module_type, _read_texts(value, place)))
        case "kind" | "part" | "followed_by":
            make = {"kind": sel.kind, "part": sel.part, "followed_by": sel.followed_by}[key]
            texts = _read_texts(value, place)
            _make_each(make, texts)  # one by one, to name the place of the one that is wrong
            return make(*(text for text, _ in texts))
        case "not":
            return rules.Not(_read_selector(value, place))
        case _:
            made = [_read_selector(item, at) for item, at in _read_list(value, place)]
            return reduce(rules.Either if key == "any" else rules.Both, made)


def _make_each(make: Callable[[str], T], texts: list[tuple[str, Place]]) -> list[T]:
    made: list[T] = []
    for text, place in texts:
        try:
            made.append(make(text))
        except RecipeError as error:
            _refuse(place, str(error))
    return made


def _read_list(value: object, place: Place) -> list[tuple[object, Place]]:
    if not isinstance(value, list):
        _refuse(place, f"a text or a list is expected, not {short_repr(value)}")
    items = [(item, (*place, number)) for number, item in enumerate(cast("list[object]", value))]
    return items or _refuse(place, "the list is empty")


def _read_texts(value: object, place: Place) -> list[tuple[str, Place]]:
    """Return a text or a list of texts as a list, each with its place."""
    given = [(value, place)] if isinstance(value, str) else _read_list(value, place)
    return [(_read_text(item, at), at) for item, at in given]


def _read_text(value: object, place: Place, *, empty: bool = False) -> str:
    if not isinstance(value, str):
        _refuse(place, f"a text is expected, not {short_repr(value)}")
    if not empty and not value:
        _refuse(place, "the text is empty")
    if not empty and len(value) > LONGEST_NAME:
        _refuse(place, f"{len(value)} characters, and a name has at most {LONGEST_NAME}")
    return value


def _refuse(place: Place, what: str) -> NoReturn:
    raise RecipeFileError(f"{_place_name(place)}: {what}" if place else what) from None


def _place_name(place: Place) -> str:
    """Return a place for people, who count from 1: ``rule 3, where.any, item 1, kind``."""
    name = ""
    for before, step in zip((None, *place[:-1]), place, strict=True):
        if isinstance(step, int):
            name += f" {step + 1}" if before == "rule" else f", item {step + 1}"
        else:
            key = step if re.fullmatch(r"[\w-]{1,40}", step) else short_repr(step)
            joint = "." if isinstance(before, str) else ", " if name else ""
            name += joint + key
    return name


# writing


def dumps(recipe: Recipe) -> str:
    """Return a recipe as TOML, which ``loads`` reads back as an equal one.

    It is the function behind ``Recipe.to_toml``.
    """
    top: dict[str, object] = {"goodinit_recipe": VERSION}
    top |= {key: value for key in ("name", "why") if (value := getattr(recipe, key)) != ""}
    at, fix = f"recipe {recipe.name!r:.100}", ""
    try:
        if recipe.base is not None:
            top["base"] = _base_data(recipe.base)
        text = _table_lines(top)
        fix = ". Write the recipe without the rule, and add it in Python: recipe.override(rule)"
        for number, rule in enumerate(recipe.rules, 1):
            at = f"rule {number} of recipe {recipe.name!r:.100}, {rule.text:.200}"
            text += f"\n[[rule]]\n{_table_lines(_rule_data(rule))}"
    except (RecipeError, SchemeError) as error:
        raise RecipeError(f"{at}: {error}{fix}") from error
    except RecursionError as error:
        raise RecipeError(f"{at}: too deeply nested to be written down") from error
    try:
        same = loads(text) == recipe
    except RecipeFileError as error:
        raise RecipeError(f"recipe {recipe.name!r:.100} would not be read back: {error}") from error
    if not same:
        raise RecipeError(f"recipe {recipe.name!r:.100} would be read back as another one")
    return text


def _base_data(base: Base) -> dict[str, object]:
    if not isinstance(base.of, int | None):
        raise RecipeError("a base model can't be written to a file; its width can, base=64")
    numbers: dict[str, object] = {"of": base.of, "layers": base.layers}
    return {"rule": base.rule} | {key: value for key, value in numbers.items() if value is not None}


def _rule_data(rule: Rule) -> dict[str, object]:
    data = {"where": _where_data(rule.where), **_scheme_data(rule.scheme)}
    texts = {"why": rule.why} if rule.why else {}
    flag = "library" if rule.library else "optional" if rule.optional else ""
    return data | texts | ({flag: True} if flag else {})


def _scheme_data(scheme: Scheme) -> dict[str, object]:
    """Return a scheme's name, its fields but those of default value, and its powers."""
    plain = scheme.scheme if isinstance(scheme, Scaled) else scheme
    kind = type(plain)
    if _KNOWN.get(kind.__name__) is not kind and kind is not Function:
        raise SchemeError(f"{kind.__name__} is a class of your own, and files know goodinit's")
    data = scheme.to_dict()
    for field in dataclasses.fields(plain):
        value: object = getattr(plain, field.name)
        if isinstance(value, Scheme):
            data[field.name] = _scheme_data(value)
        elif repr(value) == repr(field.default):  # not ==, for 0.0 and -0.0
            del data[field.name]
    return data


def _where_data(where: Selector) -> str | dict[str, object]:
    """Return a glob, or a table that is read as the same tree of selectors."""
    if isinstance(where, rules.Name):
        return where.glob
    chain = _operands(where, rules.Both)
    table: dict[str, object] = {}
    for number, selector in enumerate(chain):
        key, value = _condition_data(selector)
        if key in table:  # no key stands twice in one table
            return {"every": [table, *map(_where_data, chain[number:])]}
        table[key] = value
    return table


def _operands(where: Selector, joint: type[rules.Both | rules.Either]) -> list[Selector]:
    """Return [a, b, c] of ``(a & b) & c``."""
    chain: list[Selector] = []
    while isinstance(where, joint):
        chain.append(where.right)
        where = where.left
    return [where, *reversed(chain)]


def _condition_data(where: Selector) -> tuple[str, object]:
    match where:
        case rules.Type():
            return "type", _one_or_list(tuple(map(type_name, where.classes)))
        case (
            rules.Kind() | rules.Part() | rules.FollowedBy()
            | rules.Name() | rules.Attr() | rules.BlockNamed()
        ):  # fmt: skip
            return where.word, _one_or_list(where.values)
        case rules.Not():
            return "not", _where_data(where.inner)
        case rules.Either():
            return "any", list(map(_where_data, _operands(where, rules.Either)))
        case rules.Both():
            return "every", list(map(_where_data, _operands(where, rules.Both)))
        case rules.Fact():
            return where.word, True
        case rules.When():
            raise RecipeError("sel.when holds code, which can't be written to a file")
        case _:
            raise RecipeError(f"{type(where).__name__} is a selector of your own")


def _one_or_list(texts: tuple[object, ...]) -> object:
    return texts[0] if len(texts) == 1 else list(texts)


def _table_lines(table: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in table.items())


def _toml_value(value: object) -> str:
    """Return a value as TOML, on one line."""
    match value:
        case str():
            if re.search("[\ud800-\udfff]", value):
                raise RecipeError(f"{short_repr(value)} has half of a surrogate pair, no character")
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case bool():
            return "true" if value else "false"
        case int() if abs(value) < 2**63:
            return repr(value)
        case float() if math.isfinite(value):
            return repr(value)
        case list():
            return f"[{', '.join(map(_toml_value, cast('list[object]', value)))}]"
        case dict():
            table = cast("dict[str, object]", value)
            pairs = ", ".join(f"{key} = {_toml_value(item)}" for key, item in table.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            raise RecipeError(f"{short_repr(value)} can't be written to a file")
